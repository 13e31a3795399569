//! What the hub needs to know of the rest of the server, and tells it.

use async_trait::async_trait;
use lap_platform::model::SessionId;
use lap_platform::sandbox::SandboxName;
use lap_wire::control::{Attention, ExitStatus, WireError};

/// Where a session's terminal is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The sandbox it runs in.
    pub sandbox: SandboxName,
    /// The program's id there.
    pub program: String,
}

/// The rest of the server, as the hub sees it. What is told here must return at once.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Where a session's terminal is, or why it has none now.
    async fn locate(&self, session: SessionId) -> Result<Location, WireError>;

    /// So many people look at it now, and so many of them may type, at any server.
    fn viewers(&self, session: SessionId, count: u32, interactive: u32);

    /// The program wants something, or no longer does.
    fn attention(&self, session: SessionId, state: Attention, text: Option<String>);

    /// Somebody typed, or the program printed; at most once a second each.
    fn activity(&self, session: SessionId, typed: bool);

    /// Whether the terminal is being recorded.
    fn recording(&self, session: SessionId, on: bool);

    /// The program has ended. Returns once the session is dead for whoever asks: viewers are told then.
    async fn ended(&self, session: SessionId, status: &ExitStatus);

    /// Everybody who still reads has the end of it: its sandbox may go.
    fn delivered(&self, session: SessionId);
}
