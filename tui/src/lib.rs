//! lap in a terminal: the dashboard, panes with live terminals, and the command line.

pub mod attach_cmd;
pub mod cli;
pub mod dashboard;
pub mod embed;
pub(crate) mod own;
pub mod panes;
pub mod term_input;
pub mod terminal;
pub mod unsaved;
pub(crate) mod wrap;
