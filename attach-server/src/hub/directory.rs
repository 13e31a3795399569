//! What the hub needs to know of the rest of the server, and tells it.

use async_trait::async_trait;
use lap_platform::model::SessionId;
use lap_platform::sandbox::{KeeperStream, SandboxName};
use lap_wire::control::{Attention, ExitStatus, WireError};

use super::size::SizePolicy;

/// Where a session's terminal is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The sandbox it runs in.
    pub sandbox: SandboxName,
    /// The program's id there.
    pub program: String,
    /// Who decides its size.
    pub size_policy: SizePolicy,
    /// Whether one viewer at a time may type.
    pub exclusive_input: bool,
}

/// The rest of the server, as the hub sees it. What is told here must return at once.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Where a session's terminal is, or why it has none now.
    async fn locate(&self, session: SessionId) -> Result<Location, WireError>;

    /// A new byte stream to a sandbox's keeper.
    async fn connect(&self, sandbox: &SandboxName) -> Result<KeeperStream, WireError>;

    /// So many viewers are attached now, and so many of them may type.
    fn viewers(&self, session: SessionId, count: u32, interactive: u32);

    /// The program wants something, or no longer does.
    fn attention(&self, session: SessionId, state: Attention, text: Option<String>);

    /// Somebody typed, or the program printed; at most once a second each.
    fn activity(&self, session: SessionId, typed: bool);

    /// Whether the terminal is being recorded.
    fn recording(&self, session: SessionId, on: bool);

    /// The program has ended.
    fn exited(&self, session: SessionId, status: &ExitStatus);
}
