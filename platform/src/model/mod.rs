//! The types of the API. They know nobody: no database, no socket, no clock.

mod agent;
mod death;
mod diagnose;
mod error;
mod event;
mod harness;
mod id;
mod memory;
mod message;
mod page;
mod session;
mod skill;
mod time;
pub mod validate;

pub use agent::{
    Agent, AgentPatch, AgentRow, AgentSpec, AgentsSort, EnvVars, McpServer, ResourceAmounts, Resources,
};
pub use death::{Death, DeathCode};
pub use diagnose::{DetectedIssue, Diagnosis, HarnessEvidence, SandboxEvidence, Severity};
pub use error::{ErrorBody, ErrorDetail, FieldError};
pub use event::{Change, ChangeKind, Resource};
pub use harness::Harness;
pub use id::{AgentId, MemoryId, MessageId, PermissionId, SessionId, SkillId};
pub use lap_wire::control::Attention;
pub use memory::{Memory, MemoryPatch, MemorySource, MemorySpec, MemoryType};
pub use message::{
    AnswerPermission, Delivery, FileDiff, Message, MessageInfo, Part, PartBody, Permission, PermissionOption,
    PermissionOutcome, PermissionPolicy, PlanEntry, Role, SendMessage, SendPart, Tokens, ToolState,
    ToolStatus, TurnStatus,
};
pub use page::{Order, Page};
pub use session::{
    Attachment, CreateSession, ExecRequest, ExecResult, Phase, Session, SessionPatch, SessionStatus, Told,
    ToldSkill, Unsaved, Work,
};
pub use skill::{AttachSkill, Skill, SkillAgent, SkillPatch, SkillSpec, SkillVersion};
