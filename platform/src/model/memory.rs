//! What an agent remembers from one session to the next.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AgentId, MemoryId, SessionId};

/// A memory of an agent. It outlives the sessions it is told to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Memory {
    /// Its id.
    pub id: MemoryId,
    /// Whose memory it is.
    pub agent_id: AgentId,
    /// What is remembered, 1 to 16 384 characters.
    pub text: String,
    /// Words to find it by: at most 8, of at most 40 characters.
    pub tags: Vec<String>,
    /// What kind of memory it is.
    #[serde(rename = "type")]
    pub kind: MemoryType,
    /// Those with more are told first, -100 to 100.
    pub priority: i32,
    /// Whether it is told to every session, before all others.
    pub pinned: bool,
    /// Whether it is kept from sessions and searches.
    pub disabled: bool,
    /// How often a session was told it, or an agent's search found it.
    pub times_applied: u64,
    /// When that last happened.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub last_applied_at: Option<Timestamp>,
    /// Where it comes from.
    pub source: MemorySource,
    /// The session it was saved in.
    pub source_session_id: Option<SessionId>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub updated_at: Timestamp,
}

/// Kinds of memories.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemoryType {
    /// How things are done here.
    Convention,
    /// What must not be done, or must be.
    Constraint,
    /// A fact, or where to find one.
    #[default]
    Reference,
    /// How somebody likes it.
    Preference,
}

impl MemoryType {
    /// Its word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryType::Convention => "convention",
            MemoryType::Constraint => "constraint",
            MemoryType::Reference => "reference",
            MemoryType::Preference => "preference",
        }
    }
}

/// Where a memory comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemorySource {
    /// The agent saved it in a session.
    Agent,
    /// A conversation in Slack.
    Slack,
    /// An issue in Linear.
    Linear,
    /// A script.
    #[default]
    Api,
    /// A person at `lap` or at a page.
    Ui,
}

/// A request for a new memory. Limits as in [`Memory`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct MemorySpec {
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `reference` when absent.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemoryType>,
    /// 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// `api` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<MemorySource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_session_id: Option<SessionId>,
}

/// A change to a memory: what is absent stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct MemoryPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemoryType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}
