//! What a server asks of a keeper, on channel 0 of their connection: start programs, list them, end them.
//! Terminals, pipes and files themselves travel on channels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::{Attention, ExitStatus, Mode, Size, WireError};
use crate::ids::{ChannelId, Epoch};

/// A request to a keeper. Each can be sent again without doing anything twice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// Starts a program; one that is there already under that id is left as it is and described.
    Start(ProgramSpec),
    /// All programs.
    Programs,
    /// Sends a signal to a program's process group.
    Signal {
        /// The program.
        id: String,
        /// A name like `SIGTERM`.
        signal: String,
    },
    /// Ends a program (SIGTERM, the grace, SIGKILL to its group) and answers when it is gone.
    Stop {
        /// The program.
        id: String,
        /// Milliseconds between SIGTERM and SIGKILL.
        grace_ms: u64,
    },
    /// The exit status has been stored elsewhere: forget the program, its ring and its model.
    Remove {
        /// The program; it must have ended.
        id: String,
    },
    /// Opens a channel that writes a file: its bytes are `INPUT` on it, `stdin_eof` completes it. The file appears
    /// whole or not at all (written beside its place and renamed).
    WriteFile {
        /// The channel to use.
        channel: ChannelId,
        /// Absolute, or relative to the keeper's working directory; folders are made as needed.
        path: String,
        /// Permission bits, as in chmod.
        mode: u32,
    },
    /// Lets one client in at the keeper's own socket, for one program.
    Grant(Grant),
    /// A grant is no more: connections that came with it end.
    Revoke {
        /// The grant's.
        token: String,
    },
    /// How the keeper is.
    Info,
    /// Ends every program as `Stop` does, then the keeper.
    Shutdown {
        /// Milliseconds between SIGTERM and SIGKILL.
        grace_ms: u64,
    },
}

/// What a client may do that says the token in its `hello`: open that program, as often as
/// [`crate::limits::MAX_GRANTED_CHANNELS`] at a time, and nothing else. It dies with the keeper.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Random, 16 to 128 bytes, see [`crate::control::is_plain`]. A client that comes with it ends the connection of
    /// one that came with it before.
    pub token: String,
    /// The program's id; it must be on a terminal.
    pub program: String,
    /// The most it may open it with: `view` or `interact`.
    pub mode: Mode,
    /// What other viewers see it called, as in [`crate::control::ViewerSeat`].
    pub name: String,
    /// Whose viewer it is, as there.
    pub person: String,
    /// Milliseconds within which a connection must have come; one that has come may stay longer.
    pub within_ms: u64,
}

/// Who decides a terminal's size, among the viewers that may type, are looked at and have told their size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizePolicy {
    /// Whoever typed, resized or came to look last.
    #[default]
    Latest,
    /// Whoever has been there longest.
    Owner,
    /// The fewest columns and the fewest rows of all, so that everybody sees everything.
    Smallest,
    /// Nobody: it keeps the size it was started with.
    Fixed,
}

/// A program to start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// The name it goes by, 1 to 64 of `[A-Za-z0-9._-]`.
    pub id: String,
    /// The program (looked up in the PATH it is given) and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment: nothing of the keeper's own is passed on.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: String,
    /// What it is connected to.
    pub io: ProgramIo,
    /// Bytes of output retained, rounded up to a power of two; 0 for the default.
    #[serde(default)]
    pub ring: u32,
    /// Bytes of scrollback the model keeps; 0 for the default.
    #[serde(default)]
    pub scrollback: u32,
    /// Whose size the terminal has.
    #[serde(default)]
    pub size_policy: SizePolicy,
    /// Whether only the viewer that has the lease may type.
    #[serde(default)]
    pub exclusive_input: bool,
}

impl ProgramSpec {
    /// With every default.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        cwd: impl Into<String>,
        io: ProgramIo,
    ) -> ProgramSpec {
        ProgramSpec {
            id: id.into(),
            argv,
            env,
            cwd: cwd.into(),
            io,
            ring: 0,
            scrollback: 0,
            size_policy: SizePolicy::default(),
            exclusive_input: false,
        }
    }
}

/// What a program is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProgramIo {
    /// A terminal. A reader too slow for it is skipped ahead with a snapshot; the program is not held up.
    Pty {
        /// Its first size.
        size: Size,
    },
    /// Pipes. Nothing is skipped: a full ring holds the program up until a reader acknowledges.
    Pipes,
}

/// A program as the keeper knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub id: String,
    /// Whose offsets its output has.
    pub epoch: Epoch,
    /// Its process id, as the keeper sees it.
    pub pid: u32,
    /// What it is connected to; for a terminal with the size it has now.
    pub io: ProgramIo,
    /// Bytes of output so far.
    pub output: u64,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
    /// How it ended, kept until `Remove`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// The terminal's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it wants.
    #[serde(default)]
    pub attention: Attention,
}

/// How a keeper is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Info {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
    /// The longest its loop has been busy without looking at its descriptors, in microseconds, since the last asking.
    pub busy_us: u64,
    /// Connections it has now.
    pub connections: u32,
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Reply {
    /// To `Start`.
    Started(Program),
    /// To `Programs`.
    Programs {
        /// All of them.
        programs: Vec<Program>,
    },
    /// To `Info`.
    Info(Info),
    /// It is done.
    Done,
    /// It failed.
    Failed(WireError),
}
