//! The API as its clients meet it: a server in this process with a real database and real sandboxes, spoken to over
//! loopback. Every answer is held against `openapi.json`.

// What cannot be had in a test is a failure of it, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agents;
mod auth;
mod bad_input;
mod conformance;
mod disk;
mod document;
mod ends;
mod events;
mod idempotency;
mod killed;
mod killer;
mod limits;
mod memories;
mod messages;
mod sessions;
mod skills;
mod small_machine;
mod startup;
mod support;
mod terminal;
mod tools;
