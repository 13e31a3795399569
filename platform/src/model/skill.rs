//! Skills: texts that tell an agent how something is done, which it reads when it needs them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AgentId, SkillId};

/// A skill. An edit makes a new version, which every agent that has the skill gets at its next session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Skill {
    /// Its id.
    pub id: SkillId,
    /// Its name, by which agents call it: a slug (`a-z`, `0-9` and `-`), unique in the library.
    pub name: String,
    /// When it is of use, in a sentence or two; at most 1 024 characters.
    pub description: String,
    /// The text, Markdown, at most 256 KiB. Absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// 1, and one more with each edit.
    pub version: u64,
    /// Whether it is in the library, or belongs to the one agent it was attached to.
    pub in_library: bool,
    /// Agents that have it, at most 100 of them, by name.
    pub attached_agents: Vec<SkillAgent>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub updated_at: Timestamp,
}

/// An agent that has a skill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct SkillAgent {
    pub id: AgentId,
    pub name: String,
}

/// A version of a skill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SkillVersion {
    /// Which.
    pub version: u64,
    /// Its description then.
    pub description: String,
    /// Its text then. Absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Bytes of that text.
    pub content_bytes: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub created_at: Timestamp,
}

/// A request for a new skill. Limits as in [`Skill`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillSpec {
    /// The front matter's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The front matter's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Markdown, which may begin with front matter of its own.
    pub content: String,
}

/// A change to a skill: what is absent stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct SkillPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// Which skill an agent gets: one of the library, or one that is sent along.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachSkill {
    /// One that there is. Then nothing else is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill_id: Option<SkillId>,
    /// As in [`SkillSpec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As in [`SkillSpec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As in [`SkillSpec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Whether it is put into the library, as it is when absent. Otherwise it belongs to this agent and goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_to_library: Option<bool>,
}
