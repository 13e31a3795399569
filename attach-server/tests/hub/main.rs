//! The hub over a real keeper and real programs: who is sent what, and what survives.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

mod agreement;
mod client;
mod end;
mod middle;
mod people;
mod programs;
mod simple;
mod stream;
mod trouble;
mod typist;
mod wire;
mod world;
