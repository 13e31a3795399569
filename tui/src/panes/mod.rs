//! Live terminals side by side.
//!
//! [`Panes`] is pure state. [`Panes::handle`] takes what happened (keys, the mouse, what the attach connection says)
//! and returns [`Effect`]s: what its owner is to do, mostly commands for the
//! [`AttachClient`](lap_platform::client::attach::AttachClient) it shares with whatever else is on the screen.
//! [`Panes::render`] paints. [`Preview`] is one terminal to look at, without a size or a keyboard of its own.
//!
//! Every key but the prefix belongs to the program in the focused pane.

mod anchor;
mod bindings;
mod hints;
mod input;
#[cfg(test)]
mod key_tests;
mod layout;
mod look;
mod mouse;
mod paint;
mod pane;
mod preview;
mod render;
mod state;
mod style;
#[cfg(test)]
mod tests;
mod types;

pub use preview::Preview;
pub use state::Panes;
pub use style::PaneStyle;
pub use types::{
    ColorDepth, CopiedBy, Effect, HostColors, OuterKeys, PaneEvent, PaneSession, PanesConfig, Place,
    SCROLLBACK_PER_PANE, ShownCursor,
};

pub(crate) use bindings::{name as key_name, same as same_key};
pub(crate) use hints::in_rows;
pub(crate) use render::{paint_terminal, write_line};
