//! How a program talks to a lap server.
//!
//! [`Client`] is the REST API, one method per route, with the types of [`crate::model`]. [`Feed`] is the change feed:
//! it reconnects and resumes by itself, so that a list once read stays right without being read again. [`attach`] is
//! the terminals.

mod address;
mod answer;
pub mod attach;
mod error;
mod events;
mod memories;
mod messages;
mod rest;
mod routes;
mod skills;
mod sse;
mod trust;

pub use error::{ApiError, ClientError};
pub use events::{Feed, FeedEvent};
pub use memories::MemoriesQuery;
pub use messages::{Answer, AnswerEvent};
pub use rest::Client;
pub use routes::{AgentsQuery, SessionsQuery};
pub use skills::SkillsQuery;
