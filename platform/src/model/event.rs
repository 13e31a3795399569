//! Changes, as the feed tells them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AgentRow, Memory, Session};

/// One change of the state, as the change feed carries it. The whole row as it is now, so that a reader needs nothing
/// else to keep its list right.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its place in the feed; `Last-Event-ID` asks for what came after it.
    pub id: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub at: Timestamp,
    /// What happened.
    pub kind: ChangeKind,
    /// To what.
    #[serde(flatten)]
    pub resource: Resource,
}

/// What happened to a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It has changed.
    Updated,
    /// It is gone; the row is its last state.
    Deleted,
    /// The feed cannot go back that far: read the lists again. Carries no resource.
    Reset,
}

/// The resource of a change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "resource", content = "data", rename_all = "snake_case")]
pub enum Resource {
    /// An agent.
    Agent(Box<AgentRow>),
    /// A session.
    Session(Box<Session>),
    /// A memory; of a deleted one the text is gone.
    Memory(Box<Memory>),
    /// Nothing: see [`ChangeKind::Reset`].
    None,
}
