//! What a terminal sends: reading it, and writing it for a program in a pane.

mod decode;
mod encode;
#[cfg(test)]
mod encode_table;
mod event;
mod functional;
mod held;
mod latin;
mod mouse;
mod parse;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod recorded;
mod scan;

pub use encode::{KeyModes, encode_key, kitty};
pub use event::{InputEvent, Key};
pub use held::Held;
pub use mouse::{encode_mouse, takes_mouse};
pub use parse::{Parser, Token, What};
