//! What is known about a session in trouble: evidence gathered side by side, each part failing alone, and what it
//! comes to.

mod evidence;
mod rules;

use std::time::Duration;

use jiff::Timestamp;
use lap_platform::model::{Agent, Diagnosis, Session};
use lap_platform::session::Sessions;
use lap_platform::store::{Store, StoreError};
use tokio::time::timeout;

use crate::agent_form;
use crate::recording::RecordingReader;

/// The longest one part of the evidence may take; all are gathered at the same time, so that the whole takes no longer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Where the evidence is.
pub(crate) struct Sources {
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) recordings: RecordingReader,
}

impl Sources {
    /// Gathers the evidence, and says what is wrong. What cannot be had is missing, and says why.
    pub(crate) async fn diagnose(&self, session: Session) -> Diagnosis {
        let (agent, sandbox, program, last_output) = tokio::join!(
            self.agent_of(&session),
            evidence::sandbox(&self.sessions, &session, PATIENCE),
            evidence::program(&self.sessions, &session, PATIENCE),
            evidence::transcript(&self.recordings, &session, PATIENCE),
        );
        let harness = evidence::harness(&session, program, last_output);
        let detected_issues = rules::detect(&session, &sandbox, &harness, Timestamp::now());
        let timings = session.timings.clone();
        Diagnosis { session, agent, sandbox, harness, timings, detected_issues }
    }

    async fn agent_of(&self, session: &Session) -> Option<Agent> {
        match timeout(PATIENCE, self.store.agents().last_state(session.agent_id)).await {
            Ok(Ok(row)) => Some(agent_form::masked(row.agent)),
            Ok(Err(StoreError::NotFound(_))) | Err(_) => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a session's agent cannot be read");
                None
            }
        }
    }
}
