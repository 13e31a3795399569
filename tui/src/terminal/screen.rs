//! A whole screen: what is asked of a terminal for a dashboard, and taken back after.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossterm::Command as _;
use crossterm::cursor::SetCursorStyle;
use ratatui::Terminal;
use tokio::task::JoinHandle;

use super::clipboard::{Clipboard, Copied};
use super::signals::stop_self;
use super::{Outlet, ScreenBackend, TerminalError, Tty, install_panic_hook};
use crate::panes::{CopiedBy, HostColors, OuterKeys};

/// Title kept, alternate screen, kitty's keyboard flags on top of what they were, bracketed paste, focus. The screen is
/// cleared: where there is no alternate one, the shell's text stands on it.
const ENTER: &[u8] =
    b"\x1b[22;0t\x1b[?1049h\x1b[0m\x1b[H\x1b[2J\x1b[>5u\x1b[>4;1m\x1b[?2004h\x1b[?1004h\x1b[?25l";
/// The mouse's buttons and drags.
const MOUSE: &[u8] = b"\x1b[?1000h\x1b[?1002h\x1b[?1006h";
/// All of that taken back, in reverse: the keyboard's flags are kept for each screen, so theirs goes first. A sequence
/// that was cut is ended before. Where there is no alternate screen to leave, what comes next stands on an empty one.
const LEAVE: &[u8] =
    b"\x1b\\\x1b[?2026l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[>4m\
\x1b[<1u\x1b[0m\x1b[?25h\x1b[H\x1b[2J\x1b[?1049l\x1b[23;0t";

/// The cursor's form, where it was changed, as the terminal's own settings have it.
const CURSOR_BACK: &[u8] = b"\x1b[0 q";

/// The longest text put into a clipboard; most terminals take about this much in one sequence.
const MAX_COPY: usize = 74_994;
/// How long a terminal may take to say its colours. One that never does says so by answering a later query.
const COLORS_TIMEOUT: Duration = Duration::from_millis(200);

/// The outer terminal's whole screen. Dropping it gives it back.
#[derive(Debug)]
pub struct Screen {
    tty: Rc<Tty>,
    outlet: Outlet,
    reports: Reports,
    clipboard: Clipboard,
    copying: RefCell<Copying>,
    /// Whether the cursor has another form than it was found with.
    cursor_changed: Cell<bool>,
}

/// What is on its way to the clipboard, one at a time.
#[derive(Debug, Default)]
struct Copying {
    now: Option<(JoinHandle<(String, Copied)>, CopiedBy)>,
    next: Option<(String, CopiedBy)>,
}

impl Copying {
    fn begin(&mut self, clipboard: &Clipboard, text: String, by: CopiedBy) {
        let clipboard = clipboard.clone();
        let task = tokio::task::spawn_blocking(move || {
            let copied = clipboard.copy(&text);
            (text, copied)
        });
        self.now = Some((task, by));
    }
}

/// What the terminal is asked to report beside keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reports {
    /// The mouse too.
    Mouse,
    /// Keys alone.
    Keys,
}

impl Reports {
    /// What can be asked for where `STY` has this value: GNU screen, which sets it, holds a lone Escape back for as
    /// long as the mouse is reported.
    #[must_use]
    pub fn around(sty: Option<&str>) -> Reports {
        if sty.is_some() { Reports::Keys } else { Reports::Mouse }
    }
}

impl Screen {
    /// Takes the screen. Needs a running tokio runtime.
    ///
    /// # Errors
    /// Standard input or output is no terminal, or it cannot be set.
    pub fn enter(reports: Reports, clipboard: Clipboard) -> Result<Screen, TerminalError> {
        install_panic_hook();
        // crossterm's own NO_COLOR writes every colour as a reset, which also takes bold and inverse away; what may be
        // coloured is decided by the theme.
        crossterm::style::force_color_output(true);
        let tty = Rc::new(Tty::open()?);
        tty.set_undo(LEAVE);
        let outlet = Outlet::new(tty.clone());
        let screen = Screen {
            tty,
            outlet,
            reports,
            clipboard,
            copying: RefCell::default(),
            cursor_changed: Cell::new(false),
        };
        screen.take()?;
        Ok(screen)
    }

    /// Where to draw.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn terminal(&self) -> io::Result<Terminal<ScreenBackend>> {
        Terminal::new(ScreenBackend::new(self.outlet.clone(), self.tty.shared_size()))
    }

    /// Where to read.
    #[must_use]
    pub fn tty(&self) -> &Tty {
        &self.tty
    }

    /// What is written. A frame is drawn only when it has taken the last one ([`Outlet::poll_taken`]).
    #[must_use]
    pub fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Says this on the terminal as the last thing, once it is given back. The terminal is not waited for longer than
    /// for being given back.
    pub fn last_words(&self, words: &str) {
        let mut undo = self.undo();
        undo.extend_from_slice(words.as_bytes());
        undo.extend_from_slice(b"\r\n");
        self.tty.set_undo(&undo);
    }

    /// Writes keys like that.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn keyboard(&self, keys: OuterKeys) -> io::Result<()> {
        let keypad = if keys.keypad { '=' } else { '>' };
        let sequence = format!("\x1b[={};1u\x1b[>4;{}m\x1b{keypad}", keys.kitty, keys.modify_other_keys);
        self.outlet.tell(|told| told.keyboard = Some(sequence.into_bytes()))
    }

    /// Reports (no) motion of the mouse without a button.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn mouse_motion(&self, on: bool) -> io::Result<()> {
        if self.reports == Reports::Keys {
            return Ok(());
        }
        let report: &[u8] = if on { b"\x1b[?1003h" } else { b"\x1b[?1003l\x1b[?1002h" };
        self.outlet.tell(|told| told.mouse = Some(report.to_vec()))
    }

    /// The cursor's form.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn cursor_style(&self, style: SetCursorStyle) -> io::Result<()> {
        let mut sequence = String::new();
        // Writing to a string cannot fail.
        let _ = style.write_ansi(&mut sequence);
        if !self.cursor_changed.get() {
            // What was not changed need not be put back: some terminals' own setting is another than what that gives.
            if matches!(style, SetCursorStyle::DefaultUserShape) {
                return Ok(());
            }
            self.cursor_changed.set(true);
            self.tty.set_undo(&self.undo());
        }
        self.outlet.tell(|told| told.cursor = Some(sequence.into_bytes()))
    }

    /// Rings.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn bell(&self) -> io::Result<()> {
        self.outlet.tell(|told| told.bell = Some(b"\x07".to_vec()))
    }

    /// Puts text into the clipboard, beside everything else; how is said by [`Screen::poll_copied`]. Of what is to be
    /// copied while something is, the last is. Needs a running tokio runtime.
    pub fn copy(&self, text: String, by: CopiedBy) {
        let mut copying = self.copying.borrow_mut();
        if copying.now.is_some() {
            copying.next = Some((text, by));
        } else {
            copying.begin(&self.clipboard, text, by);
        }
    }

    /// Ready when something that a person copied is in the clipboard or on its way there: what to say of it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn poll_copied(&self, cx: &mut Context<'_>) -> Poll<io::Result<String>> {
        loop {
            let mut copying = self.copying.borrow_mut();
            let Some((task, _)) = &mut copying.now else { return Poll::Pending };
            // A task that panicked has copied nothing.
            let (text, copied) = ready!(Pin::new(task).poll(cx)).unwrap_or_default();
            let Some((_, by)) = copying.now.take() else { return Poll::Pending };
            if let Some((text, by)) = copying.next.take() {
                copying.begin(&self.clipboard, text, by);
            }
            drop(copying);
            let copied = match (copied, copy_sequence(&text)) {
                (Copied::ForTerminal, Some(sequence)) => {
                    self.outlet.tell(|told| told.copy = Some(sequence))?;
                    Copied::ForTerminal
                }
                (Copied::ForTerminal, None) => Copied::TooLong,
                (by_program, _) => by_program,
            };
            if by == CopiedBy::Person {
                return Poll::Ready(Ok(copied.words(&text)));
            }
        }
    }

    /// Stops lap as SIGTSTP does by itself, the terminal given back meanwhile. Everything must be drawn anew after.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn suspend(&self) -> io::Result<()> {
        let mut last = self.outlet.take_rest();
        last.extend_from_slice(&self.undo());
        self.tty.suspended(&last, stop_self)?;
        self.take()
    }

    fn take(&self) -> io::Result<()> {
        self.outlet.clone().write_all(ENTER)?;
        if self.reports == Reports::Mouse {
            self.outlet.clone().write_all(MOUSE)?;
        }
        self.outlet.send()
    }

    fn undo(&self) -> Vec<u8> {
        let mut undo = LEAVE.to_vec();
        if self.cursor_changed.get() {
            undo.extend_from_slice(CURSOR_BACK);
        }
        undo
    }
}

/// The sequence that puts text into the terminal's clipboard (OSC 52); nothing where it is too long.
#[must_use]
pub fn copy_sequence(text: &str) -> Option<Vec<u8>> {
    (text.len() <= MAX_COPY).then(|| format!("\x1b]52;c;{}\x1b\\", STANDARD.encode(text)).into_bytes())
}

/// Asks the terminal for its own colours; to be called before it is taken over. Unknown where it does not say.
#[must_use]
pub fn host_colors() -> HostColors {
    let mut options = terminal_colorsaurus::QueryOptions::default();
    options.timeout = COLORS_TIMEOUT;
    match terminal_colorsaurus::color_palette(options) {
        Ok(palette) => HostColors {
            foreground: Some(palette.foreground.scale_to_8bit()),
            background: Some(palette.background.scale_to_8bit()),
        },
        Err(_) => HostColors::default(),
    }
}
