//! What panes take and give.

use crossterm::event::{KeyCode, KeyModifiers};
use lap_platform::client::attach::{Command, Event};
use ratatui::layout::Position;

use crate::term_input::{InputEvent, Key, kitty};

/// The session a pane shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PaneSession {
    /// Its id.
    pub id: String,
    /// What to call it: the agent's name, the session's title.
    pub name: String,
}

/// Where a new pane goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// To the right of the focused one.
    Right,
    /// Below the focused one.
    Down,
    /// In the place of the focused one.
    Here,
    /// Where there is the most room: for several at once.
    Anywhere,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum PaneEvent {
    /// The outer terminal sent something. Mouse positions are the whole screen's.
    Input(InputEvent),
    /// The attach connection says something. Events of channels that are not a pane's are ignored.
    Attach(Event),
    /// [`Panes::deadline`](super::Panes::deadline) has passed.
    Tick,
}

/// Who copies something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopiedBy {
    /// The person at the keyboard, who is told of it.
    Person,
    /// A program in a session, as often as it likes.
    Program,
}

/// What the owner is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Give this to the attach client.
    Attach(Command),
    /// Put this into the person's clipboard (OSC 52).
    Copy(String, CopiedBy),
    /// Tell the person, briefly.
    Notice(String),
    /// Ring the outer terminal's bell: a program in a pane did.
    Bell,
    /// How the outer terminal is to write keys now, so that the focused program gets what it asked for.
    Keyboard(OuterKeys),
    /// Mouse motion without a button is (not) wanted from the outer terminal.
    MouseMotion(bool),
    /// The person wants a session in a new pane: ask which, then [`Panes::open`](super::Panes::open) it there.
    Choose(Place),
    /// The person wants this session started again: it has ended.
    Restart(PaneSession),
    /// Try to reconnect now ([`AttachClient::retry_now`](lap_platform::client::attach::AttachClient::retry_now)).
    Reconnect,
    /// The person leaves the panes (prefix d); sessions go on.
    Leave,
    /// The last pane has been closed.
    Empty,
}

/// How the outer terminal is to write keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterKeys {
    /// Kitty's flags.
    pub kitty: u8,
    /// xterm's modifyOtherKeys.
    pub modify_other_keys: u16,
    /// Whether the keypad has sequences of its own (DECKPAM).
    pub keypad: bool,
}

impl Default for OuterKeys {
    /// What modified keys can be told apart by, where no program asks for more.
    fn default() -> OuterKeys {
        OuterKeys { kitty: kitty::DISAMBIGUATE | kitty::ALTERNATES, modify_other_keys: 1, keypad: false }
    }
}

impl OuterKeys {
    /// So that nothing is lost of what a program with these modes is to get.
    #[must_use]
    pub fn serving(modes: &lap_vt::Modes) -> OuterKeys {
        let own = OuterKeys::default();
        OuterKeys {
            kitty: own.kitty | modes.kitty_keyboard,
            modify_other_keys: own.modify_other_keys.max(modes.modify_other_keys),
            keypad: modes.application_keypad,
        }
    }
}

/// How panes behave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PanesConfig {
    /// The one key that is lap's own; pressed twice it goes to the program. `Ctrl-]` unless told otherwise: since
    /// telnet the key that leaves a console, and the one that the fewest programs want (vim for tags; no shell, agent
    /// or multiplexer). `Ctrl-b`, `Ctrl-a` and `Ctrl-q` belong to tmux, screen and zellij, around lap or inside it.
    /// Where `]` needs AltGr, `Ctrl-5` is the same byte.
    pub prefix: Key,
    /// Bytes of scrollback of one pane.
    pub scrollback: usize,
    /// The outer terminal's own colours, where they are known: what programs that ask are told.
    pub colors: HostColors,
    /// How many colours may be shown.
    pub depth: ColorDepth,
}

/// The outer terminal's colours, as red, green and blue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostColors {
    /// The text's.
    pub foreground: Option<(u8, u8, u8)>,
    /// The background's.
    pub background: Option<(u8, u8, u8)>,
}

/// What the outer terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ColorDepth {
    /// No colours (NO_COLOR): only bold, underline, inverse.
    Mono,
    /// The palette of 256; true colours are brought to the nearest.
    Palette,
    /// Everything.
    #[default]
    True,
}

/// 8 MiB: about 12,000 full lines of 80 columns.
pub const SCROLLBACK_PER_PANE: usize = 8 << 20;

impl Default for PanesConfig {
    fn default() -> PanesConfig {
        PanesConfig {
            prefix: Key::new(KeyCode::Char(']'), KeyModifiers::CONTROL),
            scrollback: SCROLLBACK_PER_PANE,
            colors: HostColors::default(),
            depth: ColorDepth::default(),
        }
    }
}

/// Where and how to show the outer terminal's cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShownCursor {
    /// On the screen.
    pub position: Position,
    /// Its form.
    pub shape: crossterm::cursor::SetCursorStyle,
}
