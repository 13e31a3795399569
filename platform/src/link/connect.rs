//! How a stream to a keeper is made.

use std::sync::Arc;

use async_trait::async_trait;

use crate::sandbox::{Dialed, SandboxError, SandboxName, SandboxRuntime};

/// Makes streams to keepers. Runs on the runtime that [`Links::new`](super::Links::new) was given, never on the links'
/// thread, so it may take its time (TLS, an exec's upgrade); dropping it gives up. One that panics counts as failed.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// A new stream to a sandbox's keeper.
    async fn connect(&self, sandbox: &SandboxName) -> Result<Dialed, ConnectError>;
}

/// Why there is no stream. A sentence each, safe to show.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not now: it is tried again.
    #[error("{0}")]
    Unavailable(String),
    /// There is no such sandbox, or it will not come up: everything that waits for it ends.
    #[error("{0}")]
    Gone(String),
}

#[async_trait]
impl Connect for Arc<dyn SandboxRuntime> {
    async fn connect(&self, sandbox: &SandboxName) -> Result<Dialed, ConnectError> {
        self.dial(sandbox).await.map_err(|error| match error {
            SandboxError::Unavailable(reason) => ConnectError::Unavailable(reason),
            gone => ConnectError::Gone(gone.to_string()),
        })
    }
}
