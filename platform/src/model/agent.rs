//! Agents, and requests to make or change one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AgentId, SkillId};

/// Environment variables by name. In answers the values are masked.
pub type EnvVars = BTreeMap<String, String>;

/// An agent: what a session of it is made from. `env_vars` are masked wherever this leaves the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Unique among agents that are not deleted, 1 to 200 characters.
    pub name: String,
    /// Handed to the model gateway as it is, 1 to 200 characters.
    pub model: String,
    /// Its instructions, at most 256 KiB.
    pub prompt: Option<String>,
    /// Which program it is; fixed for its life.
    pub harness_id: String,
    /// An image instead of the harness's own.
    pub harness_image: Option<String>,
    /// The repository its sessions begin with. A change counts from the next session on.
    pub repo_url: Option<String>,
    /// The branch of it; the remote's own where there is none.
    pub branch: Option<String>,
    /// A pip requirements file, at most 64 KiB.
    pub requirements: Option<String>,
    /// MCP servers given to the harness.
    pub mcp_servers: Vec<McpServer>,
    /// Given to its sandboxes. Write-only: answers carry masked values.
    #[schema(value_type = BTreeMap<String, String>)]
    pub env_vars: EnvVars,
    /// Which hosts a credential among `env_vars` may be sent to.
    pub env_var_hosts: BTreeMap<String, Vec<String>>,
    /// Hosts its sandboxes may reach; empty means no such list.
    pub allow_out: Vec<String>,
    /// Hosts its sandboxes may not reach.
    pub deny_out: Vec<String>,
    /// Skills, in order.
    pub attached_skill_ids: Vec<SkillId>,
    /// Memories put into a session's prompt, 0 to 50.
    pub preload_memory_limit: u32,
    /// What its sandboxes may use.
    pub resources: Resources,
    /// Seconds without activity after which a session of it ends.
    pub idle_timeout_seconds: u64,
    /// The most live sessions of it.
    pub max_sessions: Option<u32>,
    /// Whether its harness has a terminal.
    pub supports_tui: bool,
    /// Rises with every change that alters a sandbox.
    pub config_generation: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub updated_at: Timestamp,
}

impl Agent {
    /// The model of an agent that names none: its program's own choice.
    pub const NO_MODEL: &str = "default";
}

/// An agent in a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentRow {
    /// The agent.
    #[serde(flatten)]
    pub agent: Agent,
    /// Sessions it has had.
    pub session_count: u64,
    /// Whether one of them is `creating` or `ready`.
    pub has_active_session: bool,
}

/// A request for a new agent. Limits as in [`Agent`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// Generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The server's `gateway.default_model` when absent. Without one it is required, but for harnesses that need no
    /// model, such as `shell`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// `opencode` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness_id: Option<String>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness_image: Option<String>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_url: Option<String>,
    /// The remote's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<String>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp_servers: Vec<McpServer>,
    /// At most 50 keys, 16 384 bytes as JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub env_vars: EnvVars,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_var_hosts: BTreeMap<String, Vec<String>>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_out: Vec<String>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny_out: Vec<String>,
    /// De-duplicated, order kept; an unknown one is 404.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skill_ids: Vec<SkillId>,
    /// 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preload_memory_limit: Option<u32>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// 86 400 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
}

/// A change to an agent: what is absent stays. A field that can be null is cleared by `null`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct AgentPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub prompt: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub harness_image: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub repo_url: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub branch: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub requirements: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_servers: Option<Vec<McpServer>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub env_vars: Option<EnvVars>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_var_hosts: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_out: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_out: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill_ids: Option<Vec<SkillId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preload_memory_limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub max_sessions: Option<Option<u32>>,
}

/// Tells an explicit `null` (`Some(None)`) from an absent field (`None`).
pub(super) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// An MCP server given to the harness.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum McpServer {
    /// A name the gateway knows.
    Named(String),
    /// One reached over HTTP.
    Http {
        /// Its name within the harness.
        name: String,
        /// Where it is.
        url: String,
        /// Sent with every request.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// One started beside the harness, spoken to over its standard input and output.
    Command {
        /// Its name within the harness.
        name: String,
        /// The program.
        command: String,
        /// Its arguments.
        #[serde(default)]
        args: Vec<String>,
    },
}

/// What a sandbox asks for and may use at most. Absent parts are the harness's own.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Set aside for it.
    #[serde(default)]
    pub requests: ResourceAmounts,
    /// The most it may take.
    #[serde(default)]
    pub limits: ResourceAmounts,
    /// How containers are isolated (gVisor, Kata); Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class: Option<String>,
}

/// Amounts in Kubernetes' notation: `500m`, `2`; `512Mi`, `4Gi`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceAmounts {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Bytes of disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<String>,
}

/// What a list of agents can be sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentsSort {
    /// When it was made.
    #[default]
    CreatedAt,
    /// Its name, in whatever case.
    Name,
    /// Its harness.
    HarnessId,
    /// How many sessions it has had.
    Sessions,
}
