//! The API's routes, each described where it is written: the router and the document are gathered from the same list.

mod agents;
mod attach;
mod diagnose;
mod events;
mod exec;
mod fallback;
mod harnesses;
mod health;
mod logs;
mod memories;
mod messages;
mod metrics;
mod openapi_json;
mod page;
mod sessions;
mod skills;
mod work;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::{auth, idempotency, observe, origin, request_id, timeout};
use crate::openapi;
use crate::state::AppState;

/// The routes whose requests may carry attachments.
pub(crate) const WITH_ATTACHMENTS: [&str; 3] = [
    "/api/v1/managed_agents/agents/{agent_id}/session",
    "/api/v1/managed_agents/sessions/{session_id}/message",
    "/api/v1/managed_agents/sessions/{session_id}/message_stream",
];

/// The routes, by who may pass and how long they may take.
pub(crate) struct Routes {
    open: Router<AppState>,
    quick: Router<AppState>,
    waiting: Router<AppState>,
}

/// All routes, and the document's raw material.
pub(crate) fn gather() -> (Routes, OpenApi) {
    // Nobody is asked for a token, or the handler does so itself.
    let open = OpenApiRouter::<AppState>::with_openapi(openapi::base())
        .routes(routes!(health::health))
        .routes(routes!(attach::attach))
        .routes(routes!(attach::tty));
    let quick = OpenApiRouter::default()
        .routes(routes!(agents::list, agents::create))
        .routes(routes!(agents::get, agents::patch, agents::delete))
        .routes(routes!(messages::list))
        .routes(routes!(messages::stream))
        .routes(routes!(messages::permissions))
        .routes(routes!(messages::answer))
        .routes(routes!(memories::list, memories::create))
        .routes(routes!(memories::get, memories::patch, memories::delete))
        .routes(routes!(skills::list, skills::create))
        .routes(routes!(skills::get, skills::patch, skills::delete))
        .routes(routes!(skills::versions))
        .routes(routes!(skills::version))
        .routes(routes!(skills::restore))
        .routes(routes!(skills::attach, skills::detach))
        .routes(routes!(health::runtime))
        .routes(routes!(harnesses::list))
        .routes(routes!(events::all))
        .routes(routes!(events::of_session))
        .routes(routes!(sessions::create))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::get, sessions::patch, sessions::delete))
        .routes(routes!(sessions::stop))
        .routes(routes!(sessions::restart))
        .routes(routes!(sessions::abort))
        .routes(routes!(diagnose::diagnose))
        .routes(routes!(work::get))
        .routes(routes!(work::prompt))
        .routes(routes!(logs::recording))
        .routes(routes!(logs::log))
        .routes(routes!(logs::sandbox_logs))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi_json::openapi));
    // Bounded by what they were asked to do instead of by the clock of all others.
    let waiting = OpenApiRouter::default().routes(routes!(exec::exec)).routes(routes!(messages::send));
    let (open, mut document) = open.split_for_parts();
    let (quick, quick_document) = quick.split_for_parts();
    let (waiting, waiting_document) = waiting.split_for_parts();
    document.merge(quick_document);
    document.merge(waiting_document);
    (Routes { open, quick, waiting }, document)
}

impl Routes {
    /// The finished service: what every request goes through, from the outside in.
    pub(crate) fn into_router(self, state: AppState) -> Router {
        let quick = self.quick.route_layer(from_fn_with_state(state.clone(), timeout::limit));
        let guarded = quick
            .merge(self.waiting)
            .route_layer(from_fn_with_state(state.clone(), idempotency::once))
            .route_layer(from_fn_with_state(state.clone(), auth::require));
        self.open
            .merge(guarded)
            .fallback(fallback::unknown_path)
            .method_not_allowed_fallback(fallback::unknown_method)
            .layer(from_fn_with_state(state.clone(), origin::check))
            .layer(from_fn_with_state(state.clone(), timeout::cut))
            .layer(CatchPanicLayer::custom(fallback::panicked))
            .layer(from_fn_with_state(state.clone(), observe::observe))
            .layer(from_fn(request_id::assign))
            .with_state(state)
    }
}
