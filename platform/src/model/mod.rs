//! The types of the API. They know nobody: no database, no socket, no clock.

mod agent;
mod diagnose;
mod error;
mod event;
mod harness;
mod id;
mod page;
mod session;
mod time;
pub mod validate;

pub use agent::{
    Agent, AgentPatch, AgentRow, AgentSpec, AgentsSort, EnvVars, McpServer, ResourceAmounts, Resources,
};
pub use diagnose::{DetectedIssue, Diagnosis, HarnessEvidence, SandboxEvidence, Severity};
pub use error::{ErrorBody, ErrorDetail, FieldError};
pub use event::{Change, ChangeKind, Resource};
pub use harness::Harness;
pub use id::{AgentId, SessionId};
pub use lap_wire::control::Attention;
pub use page::{Order, Page};
pub use session::{
    Attachment, CreateSession, ExecRequest, ExecResult, Phase, Session, SessionPatch, SessionStatus,
};
