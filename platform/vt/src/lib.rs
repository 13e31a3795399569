//! A terminal's state and its exact snapshots. Pure: bytes in, state and bytes out.
//!
//! One model serves the keeper, which answers queries and makes snapshots, and the dashboard's panes, which
//! paint it: what a pane shows is what the keeper holds.
//!
//! The law everything here is measured by: for any stream `S` and any cut `k`, on a fresh terminal of the same
//! size, feeding `S` and feeding `snapshot(S[..k])` and then `S[k..]` make the same terminal, in full state.
//!
//! ```
//! use lap_vt::{Limits, Size, Terminal};
//!
//! let new = || Terminal::new(Size { cols: 20, rows: 4 }, Limits::default());
//! let stream = b"\x1b[1;32mhello\x1b[0m, wor\x1b[4mld";
//! let (before, after) = stream.split_at(19); // inside a sequence
//!
//! let mut whole = new();
//! whole.feed(stream);
//! let mut first = new();
//! first.feed(before);
//! let mut second = new();
//! second.feed(&first.snapshot(usize::MAX));
//! second.feed(after);
//!
//! assert_eq!(whole.diff(&second), None);
//! assert_eq!(second.row(0).map(|row| row.text()).as_deref(), Some("hello, world"));
//! ```
#![forbid(unsafe_code)]

mod cell;
mod charset;
mod collect;
mod colors;
mod csi;
mod cursor;
mod dcs;
mod diff;
mod edit;
mod esc;
mod events;
mod limits;
mod model;
mod modes;
mod osc;
mod print;
mod reply;
mod resize;
mod screen;
mod scrollback;
mod sequence;
mod sgr;
mod skip;
mod snapshot;
mod stream;
mod style;
mod switch;
mod table;
mod terminal;
mod view;
mod width;

pub use colors::{BACKGROUND, CURSOR, Colors, DefaultColors, FOREGROUND, Rgb, standard_palette};
pub use events::{AgentState, Event, Progress};
pub use limits::{DEFAULT_SCROLLBACK_BYTES, Limits, MAX_COLUMNS, MAX_ROWS, Size};
pub use model::Link;
pub use modes::{Modes, MouseEncoding, MouseTracking};
pub use style::{Attributes, Color, Style, Underline};
pub use terminal::Terminal;
pub use view::{CellText, CellView, Cursor, CursorShape, Point, RowView};
