//! How large a terminal may be and how much it may remember. Everything a program's output can grow has its
//! bound here; what a bound cuts off is cut deterministically, so that a snapshot and its original agree.

/// A terminal's size in cells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Size {
    /// Columns, 1 to [`MAX_COLUMNS`].
    pub cols: u16,
    /// Rows, 1 to [`MAX_ROWS`].
    pub rows: u16,
}

impl Size {
    /// The nearest size a terminal can have.
    pub fn clamped(self) -> Size {
        Size { cols: self.cols.clamp(1, MAX_COLUMNS), rows: self.rows.clamp(1, MAX_ROWS) }
    }
}

impl Default for Size {
    fn default() -> Size {
        Size { cols: 80, rows: 24 }
    }
}

/// The widest terminal, in columns: an 8K screen in a small font.
pub const MAX_COLUMNS: u16 = 1500;
/// The tallest terminal, in rows. With [`MAX_COLUMNS`] it bounds a screen to 12 MB of cells.
pub const MAX_ROWS: u16 = 1000;

/// What one terminal may hold beyond its two screens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Scrollback, in bytes of rows as [`crate::Terminal::scrollback_bytes`] counts them. 0 keeps none.
    pub scrollback_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { scrollback_bytes: DEFAULT_SCROLLBACK_BYTES }
    }
}

/// Scrollback unless told otherwise: 1 MiB, about 1,500 full lines of 80 columns and many more short ones.
pub const DEFAULT_SCROLLBACK_BYTES: usize = 1 << 20;

/// Longest operating system command kept, in bytes; a longer one has no effect. OSC 52 carries a clipboard in
/// base64, all others are far shorter.
pub(crate) const MAX_OSC_BYTES: usize = 256 << 10;
/// Longest device control string kept, in bytes: only DECRQSS and XTGETTCAP are read, both short.
pub(crate) const MAX_DCS_BYTES: usize = 1 << 10;
/// Longest head of a sequence (everything before its final byte), in bytes. `vte` keeps 32 parameters, which
/// fit four times over; a longer head makes the sequence one that is ignored.
pub(crate) const MAX_SEQUENCE_BYTES: usize = 1 << 10;
/// Longest title and icon name, in bytes of UTF-8.
pub(crate) const MAX_TITLE_BYTES: usize = 1 << 10;
/// Titles that can be saved (`CSI 22 t`): xterm's number.
pub(crate) const MAX_SAVED_TITLES: usize = 10;
/// Longest working directory (OSC 7), in bytes: Linux's `PATH_MAX`, and room for `file://host`.
pub(crate) const MAX_DIRECTORY_BYTES: usize = 4096 + 256;
/// Longest hyperlink: address and id together, in bytes. Other terminals take about as much; text under a longer
/// one is no link. It bounds what a screen can hold in the worst case, each cell a link of its own.
pub(crate) const MAX_LINK_BYTES: usize = 2083;
/// Longest text of one cell, base and combining characters, in bytes. What would pass it is dropped.
pub(crate) const MAX_CLUSTER_BYTES: usize = 64;
/// Depth of the kitty keyboard stack of each screen; a push beyond it drops the oldest entry.
pub(crate) const MAX_KEYBOARD_STACK: usize = 8;
/// Events that wait to be taken. The newest is dropped when there is no room.
pub(crate) const MAX_EVENTS: usize = 256;
/// Bytes of text and replies in waiting events.
pub(crate) const MAX_EVENT_BYTES: usize = 1 << 20;
/// Names asked for in one XTGETTCAP that are answered.
pub(crate) const MAX_CAPABILITIES_ASKED: usize = 16;
