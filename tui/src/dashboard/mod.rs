//! The dashboard: agents and sessions in live lists, what is known about each, and everything that can be done to them.
//!
//! Four parts that know only what they must: [`model`] is plain state, [`update`] what an event makes of it and what is
//! to be done outside, the view a pure function of the model, and IO turns effects into events.

pub mod actions;
pub mod app;
pub mod event;
pub mod key;
pub mod keymap;
pub mod model;
pub mod theme;
pub mod update;
pub mod view;
