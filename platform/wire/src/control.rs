//! The JSON of control frames. On channel 0 it is about the connection; on any other about that channel, and stands in
//! order with that channel's output, so that a resize or an exit is where it belongs in the stream.

use serde::{Deserialize, Serialize};

use crate::flow::Since;
use crate::frame::{Frame, FrameType};
use crate::ids::{ChannelId, Epoch};
use crate::keeper::{Call, Reply};
use crate::limits::{MAX_COLS, MAX_MESSAGE, MAX_ROWS, MIN_SIZE};

/// A terminal's size in cells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// The size, if it is one a terminal can have ([`crate::limits`]).
    #[must_use]
    pub fn checked(cols: u16, rows: u16) -> Option<Size> {
        let ok = (MIN_SIZE..=MAX_COLS).contains(&cols) && (MIN_SIZE..=MAX_ROWS).contains(&rows);
        ok.then_some(Size { cols, rows })
    }

    /// Whether [`Size::checked`] would give it.
    #[must_use]
    pub fn is_valid(self) -> bool {
        Size::checked(self.cols, self.rows).is_some()
    }
}

impl Default for Size {
    fn default() -> Size {
        Size { cols: 80, rows: 24 }
    }
}

/// What a viewer may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Watch only: never writes, never counts for the size.
    View,
    /// Watch and type.
    Interact,
    /// Type only: no output is sent. The same as `interact` with `output: false`, which is to be used instead.
    Input,
}

/// Whose seat a channel at a keeper is. A server says so of each of its viewers; a channel without one is nobody's, and
/// counts for no presence, size or answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewerSeat {
    /// What other viewers see it called, at most [`crate::limits::MAX_NAME`] bytes.
    pub name: String,
    /// The same for all viewers of one person: 1 to [`crate::limits::MAX_SEAT`] bytes, see [`is_plain`].
    pub person: String,
    /// Random, and the same when the server opens it again: the same bounds. Whoever opens with it takes its place.
    pub seat: String,
}

/// Whether a name for machines is as long as it may be and can stand in JSON as it is: printable ASCII but `"` and `\`.
#[must_use]
pub fn is_plain(name: &str, max: usize) -> bool {
    (1..=max).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// Which of a program's streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// What the terminal shows; for a program on pipes, its standard output.
    #[default]
    Output,
    /// The standard error of a program on pipes.
    Stderr,
}

/// Opens a channel to a terminal. Begin with [`Open::new`] and change what differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// At a server: the session's id. At a keeper: the program's id.
    pub session: String,
    /// Which stream of it.
    #[serde(default)]
    pub stream: Stream,
    /// What this viewer may do.
    pub mode: Mode,
    /// The viewer's size; without one it does not count for the terminal's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Where it was when it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Bytes it may be sent beyond what it acknowledged; 0 for the default.
    #[serde(default)]
    pub window: u32,
    /// Bytes of scrollback a snapshot should carry.
    #[serde(default)]
    pub scrollback: u32,
    /// Hidden channels are sent no output until they are visible.
    #[serde(default = "yes")]
    pub visible: bool,
    /// Names the sender's input stream, the same over reconnects ([`crate::input`]); without one nothing can be typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Whether it is sent output and snapshots; without them it still hears of everything else.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub output: bool,
    /// To a keeper, from a server only: whose seat this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewer: Option<ViewerSeat>,
}

impl Open {
    /// Output from a snapshot on, looked at, without a size, a seat or a right to type of its own.
    #[must_use]
    pub fn new(session: impl Into<String>, mode: Mode) -> Open {
        Open {
            session: session.into(),
            stream: Stream::Output,
            mode,
            size: None,
            since: None,
            window: 0,
            scrollback: 0,
            visible: true,
            input: None,
            output: true,
            viewer: None,
        }
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// What a viewer wants of the right to type, in sessions where one at a time has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAction {
    /// Take it if it is free.
    Acquire,
    /// Give it back.
    Release,
    /// Take it from whoever has it; that viewer is told.
    Steal,
}

/// Who answers a program's queries to its terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Responder {
    /// The keeper's model: nobody who could answer is there.
    Model,
    /// The active viewer's own terminal.
    Viewer,
}

/// From a client to a server, and from a server to a keeper.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Channel 0, first.
    Hello {
        /// Versions the client speaks, best first.
        versions: Vec<String>,
        /// The client's own name for itself, for presence and logs.
        name: String,
        /// The silence after which it would have a ping be due, where it needs none as often as usual.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heartbeat_ms: Option<u64>,
        /// To a keeper, from a client that a server has granted a terminal: the grant's token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<String>,
    },
    /// Opens this channel.
    Open(Open),
    /// The viewer's size has changed.
    Resize(Size),
    /// The viewer is (not) being looked at.
    Visible {
        /// Whether it is.
        visible: bool,
    },
    /// Send a signal to the program's process group: a name like `SIGINT`.
    Signal {
        /// Its name.
        signal: String,
    },
    /// Nothing more will be typed: closes a program's standard input; on a terminal sends its end-of-file character.
    StdinEof,
    /// A fresh snapshot, please.
    Snapshot {
        /// Bytes of scrollback it should carry.
        scrollback: u32,
    },
    /// The right to type.
    Lease {
        /// What to do with it.
        action: LeaseAction,
    },
    /// To a keeper only: who answers queries on this terminal.
    Responder {
        /// Who does.
        by: Responder,
    },
    /// Channel 0, to a keeper only: somebody types, into a terminal that may be another keeper's.
    Typing,
    /// Ends this channel; the program goes on.
    Close,
    /// Channel 0, to a keeper only.
    Call {
        /// Comes back with the reply.
        request: u64,
        /// What is asked.
        call: Call,
    },
}

/// How an opened channel begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// With the next byte after the viewer's position.
    Exact,
    /// With a snapshot.
    Snapshot,
}

/// How a program ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its exit code, unless a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What a session wants of the people around it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Nothing.
    #[default]
    None,
    /// Nothing: it is at work.
    Working,
    /// An answer.
    WaitingInput,
    /// To be allowed something.
    WaitingPermission,
    /// It rang the bell, or sent a notification.
    Bell,
    /// It has ended.
    Exited,
}

/// Somebody who looks at a terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Viewer {
    /// Distinguishes viewers of one terminal.
    pub id: u64,
    /// What it calls itself.
    pub name: String,
    /// The same for all viewers of one person, and of no other; empty where nobody says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub person: String,
    /// What it may do.
    pub mode: Mode,
    /// Its size, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Whether it is the one whose size counts and who answers queries.
    pub active: bool,
    /// Whether it is you.
    #[serde(default)]
    pub you: bool,
}

/// From a server to a client, and from a keeper to a server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Channel 0, the answer to `hello`.
    Welcome {
        /// The version both speak from here on.
        version: String,
        /// The server's program and version.
        server: String,
        /// Changes when the server's process does.
        instance: Epoch,
        /// A ping is due after this silence.
        heartbeat_ms: u64,
        /// The largest message this side takes.
        max_message: u32,
        /// The most channels on this connection.
        max_channels: u32,
    },
    /// The channel is open.
    Opened {
        /// Whose offsets follow.
        epoch: Epoch,
        /// Where the channel begins: the next output has this offset, or the snapshot stands for it.
        #[serde(deserialize_with = "crate::ids::offset")]
        offset: u64,
        /// How far the program's output had come: answers to queries in output before this are not wanted again.
        #[serde(deserialize_with = "crate::ids::offset")]
        head: u64,
        /// How it begins.
        how: How,
        /// The terminal's size.
        size: Size,
        /// Rises with each change of size.
        size_generation: u32,
        /// How far the sender's input stream has been written: go on from there.
        #[serde(deserialize_with = "crate::ids::offset")]
        input_offset: u64,
        /// What the viewer was granted.
        mode: Mode,
        /// The terminal's title.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// What was missing has been sent: from here on it is live.
    Ready,
    /// The terminal has a new size; a snapshot at that size follows.
    Resized {
        /// The new size.
        size: Size,
        /// Rises with each change.
        size_generation: u32,
    },
    /// These bytes are not sent: the reader was too slow. A snapshot follows.
    Skipped {
        /// The first byte left out.
        #[serde(deserialize_with = "crate::ids::offset")]
        from: u64,
        /// The first byte that comes again.
        #[serde(deserialize_with = "crate::ids::offset")]
        to: u64,
    },
    /// The program has ended, and all its output is before this.
    Exit(ExitStatus),
    /// Who looks at this terminal.
    Presence {
        /// All of them.
        viewers: Vec<Viewer>,
    },
    /// The session wants something, or no longer does.
    Attention {
        /// What.
        state: Attention,
        /// The notification's text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// The program has set its title.
    Title {
        /// The new one.
        title: String,
    },
    /// Who has the right to type.
    Lease {
        /// The viewer that has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<u64>,
        /// Whether that is you.
        mine: bool,
    },
    /// The channel has ended.
    Closed {
        /// Why.
        reason: String,
    },
    /// Channel 0: this side is going away; reconnect and resume.
    Goaway {
        /// Why.
        reason: String,
        /// Wait this long first.
        reconnect_after_ms: u64,
    },
    /// Something was wrong. On a channel, that channel goes on unless `closed` follows.
    Error(WireError),
    /// Channel 0, from a keeper: the answer to a call.
    Reply {
        /// The call's number.
        request: u64,
        /// What came of it.
        reply: Reply,
    },
}

/// An error a person can act on, with a code that never changes its meaning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// Which error.
    pub code: ErrorCode,
    /// What happened, as a sentence.
    pub message: String,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// With `input_gap` and `input_overflow`, always: the offset of the input stream from which to send again.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::ids::optional_offset"
    )]
    pub expected: Option<u64>,
}

impl WireError {
    /// An error that will not go away by trying again.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> WireError {
        WireError { code, message: message.into(), retryable: false, hint: None, expected: None }
    }

    /// The same, worth another try.
    #[must_use]
    pub fn retryable(self) -> WireError {
        WireError { retryable: true, ..self }
    }

    /// The refusal of input, worth another try from this offset on.
    #[must_use]
    pub fn send_again_from(self, offset: u64) -> WireError {
        WireError { retryable: true, expected: Some(offset), ..self }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> WireError {
        WireError { hint: Some(hint.into()), ..self }
    }
}

/// The protocol's errors. A code is never given another meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Bytes that are no frame, or JSON that is no message. The connection ends.
    Malformed,
    /// A message where it makes no sense: `hello` twice, an `open` on an open channel.
    UnexpectedMessage,
    /// No version in common.
    UnsupportedVersion,
    /// The frame's channel is not open.
    ChannelNotOpen,
    /// More channels than a connection may have.
    TooManyChannels,
    /// No such session or program.
    NotFound,
    /// This token may not do that.
    NotAllowed,
    /// The session has no terminal now; the message says in which state it is.
    NotReady,
    /// A view-only viewer typed, or somebody else has the lease.
    NotWritable,
    /// A size of 0, or beyond what a terminal can have.
    BadSize,
    /// No such signal.
    BadSignal,
    /// Input bytes are missing in between: `expected` says where to go on.
    InputGap,
    /// More input than the program takes in: send again from `expected` after the next acknowledgement.
    InputOverflow,
    /// A value out of its bounds; the message names it.
    Invalid,
    /// The program could not be started; the message says why.
    StartFailed,
    /// The sandbox is gone or cannot be reached.
    SandboxLost,
    /// The peer took too long or sent nothing for too long.
    TimedOut,
    /// Too many requests, connections or queued bytes.
    Overloaded,
    /// A fault of this side's; the log has it.
    Internal,
}

/// Why a control frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Not the JSON of a message.
    #[error("not a control message: {0}")]
    Json(#[from] serde_json::Error),
    /// Larger than a message may be.
    #[error("a control message of {0} bytes is over the limit")]
    TooLarge(usize),
}

/// A message as a control frame's payload.
pub fn to_payload<T: Serialize>(message: &T) -> Result<Vec<u8>, ControlError> {
    let payload = serde_json::to_vec(message)?;
    if payload.len() + crate::limits::MAX_HEADER > MAX_MESSAGE {
        return Err(ControlError::TooLarge(payload.len()));
    }
    Ok(payload)
}

/// Reads a control frame's payload.
pub fn from_payload<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, ControlError> {
    Ok(serde_json::from_slice(payload)?)
}

/// A control frame around a payload made by [`to_payload`].
#[must_use]
pub fn frame(channel: ChannelId, offset: u64, payload: &[u8]) -> Frame<'_> {
    Frame::new(FrameType::Control, channel, offset, payload)
}
