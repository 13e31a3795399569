//! Sessions from their request to their end: a real store, real sandboxes, real keepers and programs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod bring_up;
mod crash;
mod end;
mod erase;
mod exec;
mod idle;
mod killed_exec;
mod panics;
mod reconcile;
mod replicas;
mod told;
