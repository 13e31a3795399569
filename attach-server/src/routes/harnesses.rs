//! The catalog of programs an agent can be: answers all of them, those that can be started here first.

use axum::Json;
use axum::extract::State;
use lap_platform::model::{Harness, Page};
use lap_platform::session::Sessions;

use crate::agent_form::Defaults;
use crate::http::auth::{Can, Read};

/// The programs an agent can be; those this server can start come first.
#[utoipa::path(
    get,
    operation_id = "list_harnesses",
    path = "/api/v1/managed_agents/harnesses",
    tag = "agents",
    responses((status = 200, description = "All of them, in one page.", body = Page<Harness>))
)]
pub(super) async fn list(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    State(defaults): State<Defaults>,
) -> Json<Page<Harness>> {
    let data = all(&sessions, &defaults);
    let total = data.len() as u64;
    let limit = Page::<Harness>::MAX_LIMIT;
    Json(Page { data, total, limit, offset: 0, next_cursor: None })
}

/// Looked for when asked: what is installed meanwhile is there without a restart.
fn all(sessions: &Sessions, defaults: &Defaults) -> Vec<Harness> {
    let catalog = sessions.catalog();
    let mut all: Vec<Harness> = catalog
        .iter()
        .map(|harness| {
            let program = harness.detect(sessions.host()).ok();
            Harness {
                id: harness.id.clone(),
                title: harness.name.clone(),
                supports_tui: harness.supports_tui(),
                available: program.is_some(),
                program: program.map(|path| path.display().to_string()),
                install: harness.install.clone(),
                default_model: defaults.model_of(harness),
            }
        })
        .collect();
    all.sort_by_key(|harness| !harness.available);
    all
}
