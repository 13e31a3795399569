//! Harnesses, as the API lists them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A program an agent can be, and whether the server can start it now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Harness {
    /// What an agent's `harness_id` says.
    pub id: String,
    /// Its name for people: `Claude Code`.
    pub title: String,
    /// Whether it has a terminal.
    pub supports_tui: bool,
    /// Whether the server can start it: on one machine, whether its program is on PATH.
    pub available: bool,
    /// Where its program was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The command that installs it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
    /// What an agent's `model` is when nobody says otherwise; where absent, an agent must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
}
