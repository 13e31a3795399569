//! Conversations with an agent: what it was asked, what it answered, what it asked back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Attachment, MessageId, PermissionId, SessionId};

/// A message of a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// What is known of it.
    pub info: MessageInfo,
    /// What it says, in order. A part that changes keeps its id.
    pub parts: Vec<Part>,
}

/// What is known of a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageInfo {
    /// Its id.
    pub id: MessageId,
    /// Whose conversation it is of.
    pub session_id: SessionId,
    /// The turn it is of: a question and its answer are of one.
    pub turn_id: Uuid,
    /// Who says it.
    pub role: Role,
    /// Where its turn stands.
    pub status: TurnStatus,
    /// Of a question: how far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// The agent's model.
    pub model: Option<String>,
    /// What the turn took, as far as the program says so.
    pub tokens: Tokens,
    /// What the turn cost, as far as the program says so, in US dollars.
    pub cost: Option<f64>,
    /// Why the answer ended: `end_turn`, `cancelled`, `max_tokens`, `refusal`…
    pub stop_reason: Option<String>,
    /// Why there is no whole answer.
    pub error: Option<String>,
    /// When it was sent.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub created_at: Timestamp,
    /// When the turn began.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub finished_at: Option<Timestamp>,
}

/// Who says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whoever asks.
    User,
    /// The agent.
    Assistant,
}

/// Where a turn stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// It waits for the one before it.
    Queued,
    /// The agent is at it.
    Running,
    /// It has ended.
    Done,
    /// It was ended on somebody's word.
    Cancelled,
    /// It could not be done, or not to its end: the error says why.
    Failed,
}

impl TurnStatus {
    /// Its word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TurnStatus::Queued => "queued",
            TurnStatus::Running => "running",
            TurnStatus::Done => "done",
            TurnStatus::Cancelled => "cancelled",
            TurnStatus::Failed => "failed",
        }
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, TurnStatus::Queued | TurnStatus::Running)
    }
}

/// How far a question has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It is stored, and waits.
    Queued,
    /// It was given to the agent's program.
    Delivered,
    /// The program has begun to answer.
    Confirmed,
    /// The program would not have it, or there is none.
    Refused,
}

/// Tokens of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct Tokens {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cached: Option<u64>,
}

/// A piece of a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// Unique in its message.
    pub id: String,
    /// What it is.
    #[serde(flatten)]
    pub body: PartBody,
}

/// What a piece of a message is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartBody {
    /// Words, Markdown.
    Text {
        /// They.
        text: String,
    },
    /// What the agent thinks.
    Reasoning {
        /// Its words.
        text: String,
    },
    /// Something the agent does.
    Tool {
        /// Which tool, as the agent calls it: `read`, `edit`, `execute`…
        name: String,
        /// What it does, in a few words.
        title: String,
        /// How far it is.
        state: ToolState,
    },
    /// What the agent means to do.
    Plan {
        /// Step by step.
        entries: Vec<PlanEntry>,
    },
    /// A picture.
    Image {
        /// `image/png` and the like.
        mime_type: String,
        /// The bytes in base64; absent where they are no longer kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    /// A file that is named.
    File {
        /// Where it is.
        uri: String,
        /// What it is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

/// How far something is that the agent does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolState {
    /// How far.
    pub status: ToolStatus,
    /// What it was called with, as JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub input: serde_json::Value,
    /// What came of it: text, at most 64 KiB of it, the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Files it has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diffs: Vec<FileDiff>,
}

/// How far something is that the agent does, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ToolStatus {
    Pending,
    Running,
    Completed,
    Error,
}

/// A change of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileDiff {
    /// The file.
    pub path: String,
    /// What it was; absent: it is new. At most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is. At most 64 KiB.
    pub after: String,
}

/// A step of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct PlanEntry {
    pub content: String,
    /// `pending`, `in_progress` or `completed`.
    pub status: String,
}

/// Something an agent asks to be allowed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Permission {
    /// Its id.
    pub id: PermissionId,
    /// Who asks.
    pub session_id: SessionId,
    /// The turn it asks in.
    pub turn_id: Uuid,
    /// What it wants to do, in a few words.
    pub title: String,
    /// The part of the answer it is about, where there is one.
    pub part_id: Option<String>,
    /// What can be answered.
    pub options: Vec<PermissionOption>,
    /// What was answered; absent: it waits.
    pub answer: Option<String>,
    /// When it asked.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub created_at: Timestamp,
}

/// What can be answered to an agent that asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PermissionOption {
    /// Its id.
    pub id: String,
    /// Its words.
    pub name: String,
    /// `allow_once`, `allow_always`, `reject_once` or `reject_always`.
    pub kind: String,
}

/// A message to an agent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// What to say, at most 256 KiB. Or `parts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The same in parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<SendPart>,
    /// Pictures, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Whether it waits where a turn runs, and is sent next. Then it is not waited for.
    #[serde(default)]
    pub queue: bool,
}

/// A part of a message to an agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum SendPart {
    Text { text: String },
    Image { mime_type: String, base64: String },
}

/// An answer to an agent that asks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerPermission {
    /// One of its options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option_id: Option<String>,
    /// Or in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<PermissionOutcome>,
}

/// An answer in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PermissionOutcome {
    /// The first option that allows it.
    Allow,
    /// The first option that rejects it.
    Deny,
    /// No answer: the agent goes on as if nobody were there.
    Cancel,
}

/// What an agent's questions for permission are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PermissionPolicy {
    /// Somebody is asked.
    #[default]
    Ask,
    /// Yes.
    Allow,
    /// No.
    Deny,
}
