//! `lap` on a terminal, as a person has it.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

/// How long anything may take to be seen. Nothing does; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program on a terminal of its own.
pub(crate) struct OnTerminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    seen: String,
    terminal: Box<dyn MasterPty + Send>,
}

impl OnTerminal {
    /// Starts a command on it.
    pub(crate) fn start(command: &Command) -> OnTerminal {
        let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env_clear();
        for (name, value) in command.get_envs() {
            builder.env(name, value.unwrap_or_default());
        }
        builder.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(builder).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keyboard = pair.master.take_writer().unwrap();
        let (sender, output) = sync_channel(64);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        OnTerminal { child, keyboard, output, seen: String::new(), terminal: pair.master }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until these words have come since the last that were waited for. Gives what came before, and them.
    #[track_caller]
    pub(crate) fn shows(&mut self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(words) {
                return self.seen.drain(..at + words.len()).collect();
            }
            match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{words:?} did not come; there was {:?}", self.seen),
            }
        }
    }

    /// Memory the program has in use, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.process_id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Waits until the terminal takes nothing more, as one that nobody reads does.
    #[track_caller]
    pub(crate) fn fills_up(&self) {
        let tty = self.tty();
        let until = Instant::now() + PATIENCE;
        loop {
            let mut writable = [PollFd::new(&tty, PollFlags::OUT)];
            if poll(&mut writable, Some(&Timespec::default())).unwrap() == 0 {
                return;
            }
            assert!(Instant::now() < until, "it is not full yet");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the terminal's driver echoes and waits for whole lines, as a shell finds it.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(self.tty()).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// The program's own side of it.
    fn tty(&self) -> OwnedFd {
        open(self.terminal.tty_name().unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap()
    }

    pub(crate) fn signals(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.process_id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the program has ended, be its terminal read or not.
    #[track_caller]
    pub(crate) fn is_over(&mut self) -> u32 {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the program's end and tells its exit code.
    pub(crate) fn ends(mut self) -> u32 {
        self.child.wait().unwrap().exit_code()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // One that has ended already does not mind.
        let _ = self.child.kill();
    }
}
