//! What an agent remembers: lists and searches, and making, reading, changing and deleting a memory. Reading one is no
//! use of it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use lap_platform::model::{
    AgentId, ErrorBody, FieldError, Memory, MemoryId, MemoryPatch, MemorySource, MemorySpec, MemoryType,
    Order, Page, validate,
};
use lap_platform::secret::looks_secret;
use lap_platform::store::{MemoriesQuery, Store, StoreError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::http::auth::{Can, CanOrAgent, Read, Write};
use crate::http::error::ApiError;
use crate::http::extract::{AgentPath, Body, MemoryPath, Query};
use crate::http::idempotency::{KeyHeader, Makes};

/// Which memories a list has.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListMemories {
    /// Words that text or tags have, each at least in its beginning; what fits best comes first.
    #[param(max_length = 1000)]
    q: Option<String>,
    /// With this tag, in whatever case.
    #[param(max_length = 40)]
    tag: Option<String>,
    /// Of this kind.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<MemoryType>,
    /// Disabled ones too.
    #[serde(default)]
    include_disabled: bool,
    /// By creation: newest first by default. Of a search it counts for nothing.
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

/// An agent's memories.
#[utoipa::path(
    get,
    operation_id = "list_memories",
    path = "/api/v1/managed_agents/agents/{agent_id}/memory",
    tag = "memory",
    params(("agent_id" = AgentId, Path, description = "The agent."), ListMemories),
    responses(
        (status = 200, description = "A page of them.", body = Page<Memory>),
        (status = 404, description = "There is no such agent.", body = ErrorBody),
    )
)]
pub(super) async fn list(
    can: CanOrAgent<Read>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    Query(query): Query<ListMemories>,
) -> Result<Json<Page<Memory>>, ApiError> {
    let query = MemoriesQuery {
        limit: Some(page::limit(query.limit)),
        offset: page::offset(query.offset),
        cursor: query.cursor,
        order: query.order.unwrap_or_default(),
        q: query.q,
        tag: query.tag,
        kind: query.kind,
        include_disabled: query.include_disabled,
    };
    let page = store.memories().list(agent, &query).await?;
    if can.agent.is_some() && query.q.is_some() {
        // What an agent looks for and finds is of use to it.
        let found: Vec<MemoryId> = page.data.iter().map(|memory| memory.id).collect();
        store.memories().applied(&found).await?;
    }
    Ok(Json(page))
}

/// Makes a memory of an agent.
#[utoipa::path(
    post,
    operation_id = "create_memory",
    path = "/api/v1/managed_agents/agents/{agent_id}/memory",
    tag = "memory",
    params(("agent_id" = AgentId, Path, description = "The agent."), KeyHeader),
    request_body = MemorySpec,
    responses(
        (status = 201, description = "The memory.", body = Memory),
        (status = 404, description = "There is no such agent.", body = ErrorBody),
        (status = 409, description = "The agent has as many as it may, or the idempotency key was used for another \
            request.", body = ErrorBody),
    )
)]
pub(super) async fn create(
    can: CanOrAgent<Write>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    makes: Makes,
    body: Body<MemorySpec>,
) -> Result<(StatusCode, Json<Memory>), ApiError> {
    let id = MemoryId(makes.id);
    let mut memory = from_spec(id, agent, body.unjudged().clone());
    if let Some((session, _)) = can.agent {
        (memory.source, memory.source_session_id) = (MemorySource::Agent, Some(session));
    }
    body.judged(|_| judged(&memory, can.agent.is_some()))?;
    // One that was cut off after it was made is there.
    let made = match store.memories().get(agent, id).await {
        Err(StoreError::NotFound(_)) => store.memories().create(memory).await?,
        made => made?,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// One memory.
#[utoipa::path(
    get,
    operation_id = "get_memory",
    path = "/api/v1/managed_agents/agents/{agent_id}/memory/{memory_id}",
    tag = "memory",
    params(
        ("agent_id" = AgentId, Path, description = "The agent."),
        ("memory_id" = MemoryId, Path, description = "The memory."),
    ),
    responses(
        (status = 200, description = "The memory.", body = Memory),
        (status = 404, description = "There is no such agent, or no such memory of it.", body = ErrorBody),
    )
)]
pub(super) async fn get(
    _: CanOrAgent<Read>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    MemoryPath(id): MemoryPath,
) -> Result<Json<Memory>, ApiError> {
    Ok(Json(store.memories().get(agent, id).await?))
}

/// Changes a memory; what the request leaves out stays. Sessions that were told it keep what they were told.
#[utoipa::path(
    patch,
    operation_id = "update_memory",
    path = "/api/v1/managed_agents/agents/{agent_id}/memory/{memory_id}",
    tag = "memory",
    params(
        ("agent_id" = AgentId, Path, description = "The agent."),
        ("memory_id" = MemoryId, Path, description = "The memory."),
    ),
    request_body = MemoryPatch,
    responses(
        (status = 200, description = "The memory as it is now.", body = Memory),
        (status = 404, description = "There is no such agent, or no such memory of it.", body = ErrorBody),
    )
)]
pub(super) async fn patch(
    can: CanOrAgent<Write>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    MemoryPath(id): MemoryPath,
    body: Body<MemoryPatch>,
) -> Result<Json<Memory>, ApiError> {
    let change = |memory: &mut Memory| -> Result<(), ApiError> {
        body.judged(|patch| {
            apply(memory, patch.clone());
            judged(memory, can.agent.is_some())
        })
        .map(drop)
    };
    Ok(Json(store.memories().update(agent, id, change).await?))
}

/// Deletes a memory.
#[utoipa::path(
    delete,
    operation_id = "delete_memory",
    path = "/api/v1/managed_agents/agents/{agent_id}/memory/{memory_id}",
    tag = "memory",
    params(
        ("agent_id" = AgentId, Path, description = "The agent."),
        ("memory_id" = MemoryId, Path, description = "The memory."),
    ),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is no such agent, or no such memory of it.", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    _: Can<Write>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    MemoryPath(id): MemoryPath,
) -> Result<StatusCode, ApiError> {
    store.memories().delete(agent, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a memory makes sense; of an agent's own, whether it could give a secret away too.
fn judged(memory: &Memory, by_agent: bool) -> Result<(), Vec<FieldError>> {
    validate::memory(memory)?;
    if by_agent && looks_secret(&memory.text) {
        let message =
            "looks as if it had a password, key or token in it: say where it is kept instead".to_owned();
        return Err(vec![FieldError {
            code: validate::INVALID.to_owned(),
            path: vec!["text".to_owned()],
            message,
        }]);
    }
    Ok(())
}

fn from_spec(id: MemoryId, agent_id: AgentId, spec: MemorySpec) -> Memory {
    Memory {
        id,
        agent_id,
        text: spec.text,
        tags: spec.tags,
        kind: spec.kind.unwrap_or_default(),
        priority: spec.priority.unwrap_or_default(),
        pinned: spec.pinned.unwrap_or_default(),
        disabled: spec.disabled.unwrap_or_default(),
        source: spec.source.unwrap_or_default(),
        source_session_id: spec.source_session_id,
        // The store's to set.
        times_applied: 0,
        last_applied_at: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

fn apply(memory: &mut Memory, patch: MemoryPatch) {
    let MemoryPatch { text, tags, kind, priority, pinned, disabled } = patch;
    *memory = Memory {
        text: text.unwrap_or_else(|| std::mem::take(&mut memory.text)),
        tags: tags.unwrap_or_else(|| std::mem::take(&mut memory.tags)),
        kind: kind.unwrap_or(memory.kind),
        priority: priority.unwrap_or(memory.priority),
        pinned: pinned.unwrap_or(memory.pinned),
        disabled: disabled.unwrap_or(memory.disabled),
        ..memory.clone()
    };
}
