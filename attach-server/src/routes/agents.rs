//! Agents: lists of them, and making, reading, changing and deleting one. Answers carry the agent with its secrets
//! masked; a deleted one answers 204 when nothing is left of it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lap_platform::harness::Harness;
use lap_platform::model::{
    Agent, AgentId, AgentPatch, AgentRow, AgentSpec, AgentsSort, ErrorBody, Order, Page, validate,
};
use lap_platform::session::Sessions;
use lap_platform::store::{AgentsQuery, Store, StoreError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::agent_form::{self, Defaults};
use crate::http::auth::{Can, Read, Write};
use crate::http::error::ApiError;
use crate::http::extract::{AgentPath, Body, Query};
use crate::http::idempotency::Makes;

/// Which agents a list has.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAgents {
    /// Whose name, id or harness id contains this, whatever the case.
    #[param(max_length = 200)]
    search: Option<String>,
    /// Exactly of this harness.
    #[param(max_length = 200)]
    harness_id: Option<String>,
    /// Exactly of this name.
    #[param(max_length = 200)]
    name: Option<String>,
    /// By what: creation by default.
    sort: Option<AgentsSort>,
    /// Which end first: the newest, largest or Z by default.
    order: Option<Order>,
    /// Rows: 50 by default, clamped to 1..200.
    #[param(format = "any whole number, clamped")]
    limit: Option<i64>,
    /// Rows passed over: 0 by default, and at least.
    #[param(format = "any whole number, clamped")]
    offset: Option<i64>,
    /// `next_cursor` of the page before; then `offset` counts for nothing.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// The agents.
#[utoipa::path(
    get,
    operation_id = "list_agents",
    path = "/api/v1/managed_agents/agents",
    tag = "agents",
    params(ListAgents),
    responses((status = 200, description = "A page of them.", body = Page<AgentRow>))
)]
pub(super) async fn list(
    _: Can<Read>,
    State(store): State<Store>,
    Query(query): Query<ListAgents>,
) -> Result<Json<Page<AgentRow>>, ApiError> {
    let query = AgentsQuery {
        limit: Some(page::limit(query.limit)),
        offset: page::offset(query.offset),
        cursor: query.cursor,
        sort: query.sort.unwrap_or_default(),
        order: query.order.unwrap_or_default(),
        search: query.search,
        harness_id: query.harness_id,
        name: query.name,
    };
    let mut page = store.agents().list(&query).await?;
    page.data = page.data.into_iter().map(agent_form::masked_row).collect();
    Ok(Json(page))
}

/// Makes an agent.
#[utoipa::path(
    post,
    operation_id = "create_agent",
    path = "/api/v1/managed_agents/agents",
    tag = "agents",
    params(crate::http::idempotency::KeyHeader),
    request_body = AgentSpec,
    responses(
        (status = 201, description = "The agent.", body = Agent),
        (status = 404, description = "There is no such skill.", body = ErrorBody),
        (status = 409, description = "The name is taken, or the idempotency key was used for another request.",
            body = ErrorBody),
    )
)]
pub(super) async fn create(
    _: Can<Write>,
    State(store): State<Store>,
    State(sessions): State<Sessions>,
    State(defaults): State<Defaults>,
    makes: Makes,
    body: Body<AgentSpec>,
) -> Result<(StatusCode, Json<Agent>), ApiError> {
    let id = AgentId(makes.id);
    let supports_tui = |id: &str| sessions.catalog().get(id).is_some_and(Harness::supports_tui);
    let agent = agent_form::from_spec(id, body.unjudged(), &defaults, supports_tui);
    body.judged(|_| validate::agent(&agent))?;
    // One that was cut off after it was made is there.
    let made = match store.agents().get(id).await {
        Err(StoreError::NotFound(_)) => store.agents().create(agent).await?,
        made => made?,
    };
    Ok((StatusCode::CREATED, Json(agent_form::masked(made.agent))))
}

/// One agent.
#[utoipa::path(
    get,
    operation_id = "get_agent",
    path = "/api/v1/managed_agents/agents/{agent_id}",
    tag = "agents",
    params(("agent_id" = AgentId, Path, description = "The agent.")),
    responses(
        (status = 200, description = "The agent.", body = Agent),
        (status = 404, description = "There is no such agent.", body = ErrorBody),
    )
)]
pub(super) async fn get(
    _: Can<Read>,
    State(store): State<Store>,
    AgentPath(id): AgentPath,
) -> Result<Json<Agent>, ApiError> {
    let row = store.agents().get(id).await?;
    Ok(Json(agent_form::masked(row.agent)))
}

/// Changes an agent; what the request leaves out stays. Running sessions keep what they began with.
#[utoipa::path(
    patch,
    operation_id = "update_agent",
    path = "/api/v1/managed_agents/agents/{agent_id}",
    tag = "agents",
    params(("agent_id" = AgentId, Path, description = "The agent.")),
    request_body = AgentPatch,
    responses(
        (status = 200, description = "The agent as it is now.", body = Agent),
        (status = 404, description = "There is no such agent or skill.", body = ErrorBody),
        (status = 409, description = "The new name is taken.", body = ErrorBody),
    )
)]
pub(super) async fn patch(
    _: Can<Write>,
    State(store): State<Store>,
    AgentPath(id): AgentPath,
    body: Body<AgentPatch>,
) -> Result<Json<Agent>, ApiError> {
    // Judged together with what it leaves as it is, within the transaction that writes it.
    let change = |agent: &mut Agent| -> Result<(), ApiError> {
        body.judged(|patch| {
            agent_form::apply(agent, patch.clone());
            validate::agent(agent)
        })
        .map(drop)
    };
    let row = store.agents().update(id, change).await?;
    Ok(Json(agent_form::masked(row.agent)))
}

/// Deletes an agent: ends all its sessions, removes their sandboxes, and then answers.
#[utoipa::path(
    delete,
    operation_id = "delete_agent",
    path = "/api/v1/managed_agents/agents/{agent_id}",
    tag = "agents",
    params(("agent_id" = AgentId, Path, description = "The agent.")),
    responses(
        (status = 204, description = "Nothing is left of it."),
        (status = 404, description = "There is no such agent.", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    _: Can<Write>,
    State(store): State<Store>,
    State(sessions): State<Sessions>,
    AgentPath(id): AgentPath,
) -> Result<StatusCode, ApiError> {
    store.agents().delete(id).await?;
    sessions.stop_all_of(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
