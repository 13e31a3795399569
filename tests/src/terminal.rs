//! A program in a terminal of its own, and a person in front of it: types, looks, waits until the screen shows what it
//! should.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lap_vt::{Limits, Size, Terminal};
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// Nothing that is waited for takes this long on the slowest machine; longer means never.
pub const NEVER: Duration = Duration::from_secs(60);

/// What the reading thread and the tests share.
struct Shared {
    screen: Mutex<Screen>,
    changed: Condvar,
}

struct Screen {
    model: Terminal,
    /// Everything the program has written.
    raw: Vec<u8>,
    over: bool,
}

/// A program on a PTY whose screen is a model. Dropping it ends the program.
pub struct TestTerminal {
    shared: Arc<Shared>,
    master: Box<dyn MasterPty + Send>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    child: Box<dyn Child + Send + Sync>,
    reader: Option<JoinHandle<()>>,
}

fn pty_size(size: Size) -> PtySize {
    PtySize { rows: size.rows, cols: size.cols, pixel_width: 0, pixel_height: 0 }
}

impl TestTerminal {
    /// Starts a program in a terminal of this size, which answers queries as terminals do.
    ///
    /// # Errors
    /// There is no PTY, or the program cannot be started.
    pub fn start(command: CommandBuilder, size: Size) -> Result<TestTerminal> {
        let pair = native_pty_system().openpty(pty_size(size)).context("a PTY")?;
        let child = pair.slave.spawn_command(command).context("starting the program")?;
        drop(pair.slave);
        let reader = pair.master.try_clone_reader().context("reading the PTY")?;
        let writer = Arc::new(Mutex::new(pair.master.take_writer().context("writing the PTY")?));
        let model = Terminal::new(size, Limits { scrollback_bytes: 4 << 20 });
        let screen = Mutex::new(Screen { model, raw: Vec::new(), over: false });
        let shared = Arc::new(Shared { screen, changed: Condvar::new() });
        let reader = {
            let (shared, writer) = (shared.clone(), writer.clone());
            std::thread::spawn(move || read(reader, &shared, &writer))
        };
        Ok(TestTerminal { shared, master: pair.master, writer, child, reader: Some(reader) })
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.shared.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Types.
    ///
    /// # Errors
    /// The program is gone.
    pub fn type_in(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(bytes.as_ref())?;
        Ok(writer.flush()?)
    }

    /// The window gets another size. What is on the screen is brought to it as the model does.
    ///
    /// # Errors
    /// The program is gone.
    pub fn resize(&self, size: Size) -> Result<()> {
        self.screen().model.resize(size);
        self.master.resize(pty_size(size))
    }

    /// What is on the screen, a line for each row.
    #[must_use]
    pub fn text(&self) -> String {
        self.screen().model.screen_text()
    }

    /// Looks at the whole terminal.
    pub fn look<T>(&self, at: impl FnOnce(&Terminal) -> T) -> T {
        at(&self.screen().model)
    }

    /// Everything the program has written so far.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.screen().raw.clone()
    }

    /// The program's process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.process_id()
    }

    /// Waits until the terminal is as it should be.
    ///
    /// # Errors
    /// It never is; the error shows the screen.
    pub fn wait(&self, until: &str, is: impl Fn(&Terminal) -> bool) -> Result<()> {
        let deadline = Instant::now() + NEVER;
        let mut screen = self.screen();
        loop {
            if is(&screen.model) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || screen.over {
                let why = if screen.over { "the program has ended" } else { "never" };
                anyhow::bail!("waited until {until}: {why}; the screen:\n{}", screen.model.screen_text());
            }
            screen = self.shared.changed.wait_timeout(screen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a text is on the screen.
    ///
    /// # Errors
    /// It never is; the error shows the screen.
    pub fn wait_text(&self, text: &str) -> Result<()> {
        self.wait(&format!("{text:?} is on the screen"), |model| model.screen_text().contains(text))
    }

    /// Waits until the program has ended and everything it wrote is on the screen.
    ///
    /// # Errors
    /// It never ends.
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + NEVER;
        let mut screen = self.screen();
        while !screen.over {
            let left = deadline.saturating_duration_since(Instant::now());
            anyhow::ensure!(!left.is_zero(), "it never ends; the screen:\n{}", screen.model.screen_text());
            screen = self.shared.changed.wait_timeout(screen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(screen);
        Ok(self.child.wait()?)
    }
}

impl Drop for TestTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read(mut reader: Box<dyn Read + Send>, shared: &Shared, writer: &Mutex<Box<dyn Write + Send>>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        // A PTY whose program has ended answers EIO.
        let n = reader.read(&mut buffer).unwrap_or(0);
        let mut screen = shared.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = buffer.get(..n).unwrap_or_default();
        screen.raw.extend_from_slice(read);
        screen.model.feed(read);
        screen.over = n == 0;
        let replies: Vec<Vec<u8>> = screen
            .model
            .events()
            .filter_map(|event| match event {
                lap_vt::Event::Reply(bytes) => Some(bytes),
                _ => None,
            })
            .collect();
        drop(screen);
        shared.changed.notify_all();
        if n == 0 {
            return;
        }
        // A long paste may hold the writer until the program reads: only who has something to say waits for it.
        if !replies.is_empty() {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writer.write_all(&replies.concat());
            let _ = writer.flush();
        }
    }
}
