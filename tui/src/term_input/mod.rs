//! What a terminal sends: reading it, and writing it for a program in a pane.

mod decode;
mod encode;
#[cfg(test)]
mod encode_table;
mod event;
mod functional;
mod mouse;
mod parse;

pub use encode::{KeyModes, encode_key, kitty};
pub use event::{InputEvent, Key};
pub use mouse::{encode_mouse, takes_mouse};
pub use parse::{Parser, Token, What};
