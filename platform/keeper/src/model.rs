//! The seam to the terminal model: what the keeper wants of one, and nothing else.

use lap_vt::{AgentState, Limits};
use lap_wire::control::Size;

/// What came out of the model beside the picture.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The answer to a query, to be written to the program.
    Reply(Vec<u8>),
    /// The bell.
    Bell,
    /// A new title.
    Title(String),
    /// A notification.
    Notification(String),
    /// An agent says that it is at work.
    Working,
    /// An agent says that it waits for somebody.
    Waiting,
}

/// A terminal's state.
pub(crate) struct Model {
    terminal: lap_vt::Terminal,
}

impl Model {
    /// A fresh terminal that keeps so many bytes of scrollback, or the model's own default, and answers queries.
    pub(crate) fn new(size: Size, scrollback: Option<usize>) -> Model {
        let limits = scrollback.map_or_else(Limits::default, |bytes| Limits { scrollback_bytes: bytes });
        let mut terminal = lap_vt::Terminal::new(its_size(size), limits);
        terminal.set_replies(true);
        Model { terminal }
    }

    /// The program's output goes on with these bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.terminal.feed(bytes);
    }

    /// The terminal has another size from here on.
    pub(crate) fn resize(&mut self, size: Size) {
        self.terminal.resize(its_size(size));
    }

    /// Whether queries are answered from here on.
    pub(crate) fn set_replies(&mut self, on: bool) {
        self.terminal.set_replies(on);
    }

    /// The escape sequences that turn a fresh terminal of this size into this one, with at most so many bytes of
    /// scrollback.
    pub(crate) fn snapshot(&self, scrollback: usize) -> Vec<u8> {
        self.terminal.snapshot(scrollback)
    }

    /// What has happened since the last call.
    pub(crate) fn events(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.terminal.events().filter_map(|event| match event {
            lap_vt::Event::Reply(bytes) => Some(Event::Reply(bytes)),
            lap_vt::Event::Bell => Some(Event::Bell),
            lap_vt::Event::Title(title) => Some(Event::Title(title)),
            lap_vt::Event::Notification { title, body } => Some(Event::Notification(joined(&title, &body))),
            lap_vt::Event::State(AgentState::Working) => Some(Event::Working),
            lap_vt::Event::State(AgentState::Done | AgentState::Idle) => Some(Event::Waiting),
            // Viewers see these in the output itself, and act on them as they are set up to.
            lap_vt::Event::Clipboard { .. } | lap_vt::Event::Progress(_) => None,
        })
    }
}

fn its_size(size: Size) -> lap_vt::Size {
    lap_vt::Size { cols: size.cols, rows: size.rows }
}

fn joined(title: &str, body: &str) -> String {
    match (title, body) {
        ("", text) | (text, "") => text.to_owned(),
        (title, body) => format!("{title}: {body}"),
    }
}
