//! The outer terminal while one session has all of it: what it was told, and how to take that back.
//!
//! Beside the bytes that go straight through, a model of the session's screen is kept. It is fed after they are on
//! their way, and serves for what the stream alone cannot do: to paint the screen again after a message stood on it, to
//! show a terminal of another size than the outer one, and to leave the outer terminal in order.

use lap_vt::{Limits, Terminal};
use lap_wire::control::Size;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::panes::{ColorDepth, PaneStyle, paint_terminal};

/// What a snapshot begins with; too much for a terminal that is somebody's, with a scrollback of its own.
const RESET: &[u8] = b"\x1bc";

/// Everything a program may have set that outlives it, back to what terminals begin with: synchronized output, the
/// alternate screens and each screen's stack of keyboard flags, character sets, insert and origin mode, margins, keys,
/// mouse, paste, focus, palette, cursor.
pub(super) const GENTLE_RESET: &[u8] = b"\x1b[?2026l\x1b[?1049h\x1b[<99u\x1b[?1049l\x1b[<99u\x1b[!p\x1b[?7h\x1b[4l\x1b[20l\x1b[?5l\x1b[?6l\x1b[?1l\x1b>\
\x1b[?9l\x1b[?1000l\x1b[?1001l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?1004l\x1b[?2004l\
\x1b[?2031l\x1b[?2048l\x1b[=0;1u\x1b[>4m\x1b(B\x1b)B\x0f\x1b7\x1b[r\x1b8\x1b[?5W\x1b]8;;\x1b\\\x1b]104\x1b\\\x1b]110\x1b\\\
\x1b]111\x1b\\\x1b]112\x1b\\\x1b[0 q\x1b[0m\x1b[?25h";
/// The title is kept meanwhile.
const KEEP_TITLE: &[u8] = b"\x1b[22;0t";
const TITLE_BACK: &[u8] = b"\x1b[23;0t";
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// The session's screen in the outer terminal.
pub(super) struct Outer {
    /// The outer terminal's size.
    pub(super) size: Size,
    /// The session's.
    pub(super) remote: Size,
    model: Terminal,
    /// Bytes for the outer terminal.
    pub(super) out: Vec<u8>,
    /// A line of ours that stands on the screen.
    notice: Option<String>,
    /// What was there before lap has gone into the outer terminal's scrollback.
    cleared: bool,
    reports_asked: u32,
    /// The last frame, while the session's size is another than the outer terminal's.
    frame: Option<Buffer>,
}

/// `CSI row ; column R`.
fn is_cursor_report(answer: &[u8]) -> bool {
    answer.starts_with(b"\x1b[") && answer.ends_with(b"R") && !answer.starts_with(b"\x1b[?")
}

fn model(size: Size) -> Terminal {
    // Only the screen is ever painted again; the outer terminal keeps its own scrollback.
    Terminal::new(lap_vt::Size { cols: size.cols, rows: size.rows }, Limits { scrollback_bytes: 0 })
}

impl Outer {
    pub(super) fn new(size: Size) -> Outer {
        Outer {
            size,
            remote: size,
            model: model(size),
            out: KEEP_TITLE.to_vec(),
            notice: None,
            cleared: false,
            reports_asked: 0,
            frame: None,
        }
    }

    /// Whether bytes go straight through.
    pub(super) fn is_straight(&self) -> bool {
        self.size == self.remote
    }

    /// The session has another size; a snapshot follows.
    pub(super) fn resized(&mut self, size: Size) {
        self.remote = size;
    }

    /// The whole screen.
    pub(super) fn snapshot(&mut self, bytes: &[u8]) {
        self.model = model(self.remote);
        self.model.set_replies(false);
        self.model.feed(bytes);
        self.model.events().for_each(drop);
        self.model.set_replies(true);
        if self.cleared || !self.is_straight() {
            self.repaint();
        } else {
            // The first time what was on the screen goes into its scrollback, and the session's own after it.
            self.make_room();
            self.out.extend_from_slice(bytes.strip_prefix(RESET).unwrap_or(bytes));
        }
    }

    /// More output.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        if self.is_straight() && self.notice.is_none() {
            self.out.extend_from_slice(bytes);
            return;
        }
        // Beside a line of ours nothing may scroll: the screen is painted anew, and the line on it.
        self.feed(bytes);
        if !self.is_straight() {
            self.frame();
        } else if let Some(text) = self.notice.take() {
            self.repaint();
            self.notice(&text);
        }
    }

    /// Tells the model what went straight through.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.model.feed(bytes);
        for event in self.model.events() {
            if let lap_vt::Event::Reply(answer) = event
                && is_cursor_report(&answer)
            {
                self.reports_asked = self.reports_asked.saturating_add(1);
            }
        }
    }

    /// How many cursor reports the program has asked the outer terminal for since this was last asked.
    pub(super) fn take_reports_asked(&mut self) -> u32 {
        std::mem::take(&mut self.reports_asked)
    }

    /// Paints the session's screen from the model: the stream goes on exactly there.
    pub(super) fn repaint(&mut self) {
        self.notice = None;
        self.frame = None;
        self.make_room();
        if self.is_straight() {
            let whole = self.model.snapshot(0);
            self.out.extend_from_slice(whole.strip_prefix(RESET).unwrap_or(&whole));
        } else {
            self.frame();
        }
    }

    /// A line of ours on the last row, until [`Outer::repaint`].
    pub(super) fn notice(&mut self, text: &str) {
        self.notice = Some(text.to_owned());
        let shown: String =
            text.chars().filter(|c| !c.is_control()).take(usize::from(self.size.cols)).collect();
        // What the program is in the middle of must not keep it from being seen.
        let line = format!(
            "\x1b\\\x1b[?2026l\x1b(B\x0f\x1b[4l\x1b[?6l\x1b[r\x1b[{};1H\x1b[0;7m{shown}\x1b[0m\x1b[K",
            self.size.rows
        );
        self.out.extend_from_slice(line.as_bytes());
    }

    pub(super) fn has_notice(&self) -> bool {
        self.notice.is_some()
    }

    /// The outer terminal in order again, the cursor below what the session shows.
    pub(super) fn leave(&self) -> Vec<u8> {
        if !self.cleared {
            return TITLE_BACK.to_vec();
        }
        let mut bytes = b"\x1b\\".to_vec();
        bytes.extend_from_slice(GENTLE_RESET);
        let straight_main = self.is_straight() && !self.model.modes().alternate_screen;
        // Below the last row that has something; a full-screen program's picture is not left behind.
        let row =
            if straight_main { self.model.used_rows().clamp(1, usize::from(self.size.rows)) } else { 1 };
        bytes.extend_from_slice(format!("\x1b[{row};1H").as_bytes());
        bytes.extend_from_slice(if straight_main { b"\r\n\x1b[J" } else { b"\x1b[J" });
        bytes.extend_from_slice(TITLE_BACK);
        bytes
    }

    /// An empty screen in its first state.
    fn make_room(&mut self) {
        self.out.extend_from_slice(b"\x1b\\");
        self.out.extend_from_slice(GENTLE_RESET);
        if !self.cleared {
            self.cleared = true;
            self.out.extend_from_slice(format!("\x1b[{};1H", self.size.rows).as_bytes());
            self.out.resize(self.out.len() + usize::from(self.size.rows), b'\n');
        }
        self.out.extend_from_slice(CLEAR);
    }

    /// A frame of a session of another size: its part around the cursor, painted cell by cell where it differs from
    /// the last.
    fn frame(&mut self) {
        if self.model.modes().synchronized_output && self.frame.is_some() {
            return;
        }
        let area = Rect::new(0, 0, self.size.cols, self.size.rows);
        let mut buffer = Buffer::empty(area);
        let cursor = paint_terminal(&self.model, area, ColorDepth::True, &PaneStyle::default(), &mut buffer);
        let last = self.frame.take().unwrap_or_else(|| Buffer::empty(area));
        // Writing to memory cannot fail.
        let _ = draw(CrosstermBackend::new(&mut self.out), &last, &buffer, cursor);
        self.frame = Some(buffer);
    }
}

fn draw(
    mut backend: CrosstermBackend<&mut Vec<u8>>,
    last: &Buffer,
    next: &Buffer,
    cursor: Option<Position>,
) -> std::io::Result<()> {
    use ratatui::backend::Backend;
    backend.hide_cursor()?;
    backend.draw(last.diff(next).into_iter())?;
    if let Some(cursor) = cursor {
        backend.set_cursor_position(cursor)?;
        backend.show_cursor()?;
    }
    Ok(())
}
