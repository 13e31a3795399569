//! The model as others use it.
#![allow(clippy::expect_used, reason = "in tests, also outside of test functions")]

mod grammar;
mod judges;
mod law;
mod limits;
mod random;
mod recordings;
mod replies;
mod resize;
mod seeds;
mod skip;
mod view;
