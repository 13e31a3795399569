//! What is known about a session in trouble: evidence gathered side by side, each part failing alone, and what it
//! comes to.

mod evidence;
mod rules;

use std::time::Duration;

use jiff::Timestamp;
use lap_platform::model::{Agent, Diagnosis, Session};
use lap_platform::store::StoreError;
use tokio::time::timeout;

use crate::agent_form;
use crate::error::ApiError;
use crate::state::AppState;

/// The longest one part of the evidence may take; all are gathered at the same time, so that the whole takes no longer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Gathers it, and says what is wrong.
///
/// # Errors
/// None of its own: what cannot be had is missing in the answer, which says why.
pub(crate) async fn diagnose(state: &AppState, session: Session) -> Result<Diagnosis, ApiError> {
    let (agent, sandbox, (program, last_output)) =
        tokio::join!(agent_of(state, &session), evidence::sandbox(state, &session, PATIENCE), async {
            tokio::join!(
                evidence::program(state, &session, PATIENCE),
                evidence::transcript(state, &session, PATIENCE)
            )
        },);
    let harness = evidence::harness(program, last_output);
    let detected_issues = rules::detect(&session, &sandbox, &harness, Timestamp::now());
    let timings = session.timings.clone();
    Ok(Diagnosis { session, agent, sandbox, harness, timings, detected_issues })
}

async fn agent_of(state: &AppState, session: &Session) -> Option<Agent> {
    match timeout(PATIENCE, state.store().agents().last_state(session.agent_id)).await {
        Ok(Ok(row)) => Some(agent_form::masked(row.agent)),
        Ok(Err(StoreError::NotFound(_))) | Err(_) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a session's agent cannot be read");
            None
        }
    }
}
