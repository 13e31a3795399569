//! What ours is measured beside, and the control: a bare PTY, tmux, and a bridge of node-pty and ws. Each offers two
//! shells on one way.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::line::Line;
use crate::pty::{COLS, Pty, ROWS};
use crate::ws::{Stream, WebSocket};

/// Two shells, each in a PTY of ours with nothing in between. A thread reads the second.
pub(crate) struct Raw {
    shell: Pty,
    other: std::sync::mpsc::SyncSender<Vec<u8>>,
    other_bytes: Arc<AtomicU64>,
}

impl Raw {
    pub(crate) fn start() -> Result<Raw> {
        let mut second = Pty::spawn("sh", &["-i"], &[])?;
        let (other, typed) = std::sync::mpsc::sync_channel::<Vec<u8>>(16);
        let other_bytes = Arc::new(AtomicU64::new(0));
        let count = other_bytes.clone();
        std::thread::spawn(move || {
            let mut sink = Vec::new();
            // Ends with the shell, or with who types into it.
            loop {
                match typed.try_recv() {
                    Ok(bytes) if second.send(&bytes).is_ok() => {}
                    Err(std::sync::mpsc::TryRecvError::Empty) => {}
                    _ => return,
                }
                sink.clear();
                if second.receive(&mut sink, Instant::now() + Duration::from_millis(20)).is_err() {
                    return;
                }
                count.fetch_add(sink.len() as u64, Ordering::Relaxed);
            }
        });
        Ok(Raw { shell: Pty::spawn("sh", &["-i"], &[])?, other, other_bytes })
    }
}

impl Line for Raw {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.shell.send(bytes)
    }

    fn receive(&mut self, out: &mut Vec<u8>, deadline: Instant) -> Result<bool> {
        self.shell.receive(out, deadline)
    }

    fn send_other(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.other.send(bytes.to_vec())?)
    }

    fn other_bytes(&self) -> u64 {
        self.other_bytes.load(Ordering::Relaxed)
    }
}

/// A tmux server of its own with panes side by side, seen through `tmux attach` in a PTY of ours.
pub(crate) struct Tmux {
    name: String,
    outer: Option<Pty>,
}

impl Tmux {
    /// `panes` shells in one window of the usual size; the first is the one typed into.
    pub(crate) fn start(panes: usize) -> Result<Tmux> {
        Tmux::start_sized(panes, COLS, ROWS)
    }

    /// The same in another size.
    pub(crate) fn start_sized(panes: usize, cols: u16, rows: u16) -> Result<Tmux> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("lap-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut tmux = Tmux { name, outer: None };
        let (width, height) = (cols.to_string(), rows.to_string());
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, "sh -i"])?;
        tmux.run(&["set", "-g", "status", "off"])?;
        for _ in 1..panes {
            tmux.run(&["split-window", "-t", "0", "sh -i"])?;
            tmux.run(&["select-layout", "tiled"])?;
        }
        tmux.run(&["select-pane", "-t", "0"])?;
        tmux.outer = Some(Pty::spawn_sized("tmux", &["-L", &tmux.name, "attach"], &[], cols, rows)?);
        Ok(tmux)
    }

    /// Types into a pane without going through the attached client.
    pub(crate) fn type_into(&self, pane: usize, text: &str) -> Result<()> {
        self.run(&["send-keys", "-t", &pane.to_string(), "-l", text])
    }

    /// Presses Enter in so many panes, by one command.
    pub(crate) fn enter_in_all(&self, panes: usize) -> Result<()> {
        let numbers: Vec<String> = (0..panes).map(|pane| pane.to_string()).collect();
        let each =
            numbers.iter().flat_map(|pane| ["send-keys", "-t", pane, "Enter", ";"]).collect::<Vec<_>>();
        self.run(&each[..each.len() - 1])
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let out = Command::new("tmux").args(["-L", &self.name]).args(arguments).stdin(Stdio::null()).output();
        let out = out.context("tmux is not installed")?;
        if !out.status.success() {
            bail!("tmux {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }

    fn outer(&mut self) -> Result<&mut Pty> {
        self.outer.as_mut().context("tmux is not attached")
    }
}

impl Line for Tmux {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.outer()?.send(bytes)
    }

    fn receive(&mut self, out: &mut Vec<u8>, deadline: Instant) -> Result<bool> {
        self.outer()?.receive(out, deadline)
    }

    fn send_other(&mut self, bytes: &[u8]) -> Result<()> {
        self.type_into(1, std::str::from_utf8(bytes)?)
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.outer = None;
        let _ = self.run(&["kill-server"]);
    }
}

/// The bridge's process and a socket to it.
pub(crate) struct Bridge {
    process: Child,
    socket: WebSocket,
    other_bytes: u64,
}

impl Bridge {
    pub(crate) fn start(peers: &Path) -> Result<Bridge> {
        if !peers.join("node_modules/node-pty").is_dir() {
            bail!("node-pty is not installed in {}: run tests/bench, or npm install there", peers.display());
        }
        let mut process = Command::new("node")
            .arg(peers.join("bridge.js"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node is not installed")?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().context("its output")?).read_line(&mut port)?;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.trim().parse()?))?;
        let socket = WebSocket::upgrade(Stream::Tcp(stream), "/", &[])?;
        Ok(Bridge { process, socket, other_bytes: 0 })
    }

    fn write(&mut self, shell: u8, bytes: &[u8]) -> Result<()> {
        self.socket.send(&[&[shell], bytes].concat())
    }
}

impl Line for Bridge {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(0, bytes)
    }

    fn receive(&mut self, out: &mut Vec<u8>, deadline: Instant) -> Result<bool> {
        loop {
            match self.socket.next(deadline)? {
                None => return Ok(false),
                Some([0, bytes @ ..]) => {
                    out.extend_from_slice(bytes);
                    return Ok(true);
                }
                Some(message) => self.other_bytes += message.len() as u64 - 1,
            }
        }
    }

    fn send_other(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(1, bytes)
    }

    fn other_bytes(&self) -> u64 {
        self.other_bytes
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
