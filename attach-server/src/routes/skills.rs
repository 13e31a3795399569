//! The library of skills, and which of them an agent has.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lap_platform::model::{
    Agent, AgentId, AttachSkill, ErrorBody, FieldError, Order, Page, SessionId, Skill, SkillId, SkillPatch,
    SkillSpec, SkillVersion, validate,
};
use lap_platform::store::{NewSkill, SkillsQuery, Store, StoreError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::agent_form;
use crate::http::auth::{Can, CanOrAgent, Read, Write};
use crate::http::error::ApiError;
use crate::http::extract::{AgentPath, Body, NoBody, Query, SkillPath, SkillVersionPath};
use crate::http::idempotency::{KeyHeader, Makes};

/// Which skills a list has.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListSkills {
    /// Whose name or description contains this, whatever the case.
    #[param(max_length = 200)]
    search: Option<String>,
    /// Exactly of this name.
    #[param(max_length = 64)]
    name: Option<String>,
    /// By creation: newest first by default.
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

/// The library, without the skills' texts.
#[utoipa::path(
    get,
    operation_id = "list_skills",
    path = "/api/v1/skills",
    tag = "skills",
    params(ListSkills),
    responses((status = 200, description = "A page of it.", body = Page<Skill>))
)]
pub(super) async fn list(
    can: CanOrAgent<Read>,
    State(store): State<Store>,
    Query(query): Query<ListSkills>,
) -> Result<Json<Page<Skill>>, ApiError> {
    if let Some((session, agent)) = can.agent {
        // Its own, all of them.
        let ids = skills_of(&store, session, agent).await?;
        let skills = store.skills().of_ids(&ids).await?;
        let data: Vec<Skill> = skills.into_iter().map(|skill| Skill { content: None, ..skill }).collect();
        let total = data.len() as u64;
        return Ok(Json(Page { data, total, limit: Page::<()>::MAX_LIMIT, offset: 0, next_cursor: None }));
    }
    let query = SkillsQuery {
        limit: Some(page::limit(query.limit)),
        offset: page::offset(query.offset),
        cursor: query.cursor,
        order: query.order.unwrap_or_default(),
        search: query.search,
        name: query.name,
    };
    Ok(Json(store.skills().list(&query).await?))
}

/// The skills of an agent and of one session of it.
async fn skills_of(store: &Store, session: SessionId, agent: AgentId) -> Result<Vec<SkillId>, ApiError> {
    let mut ids = store.agents().get(agent).await?.agent.attached_skill_ids;
    ids.extend(store.sessions().request(session).await?.skill_ids);
    Ok(ids)
}

/// Puts a skill into the library.
#[utoipa::path(
    post,
    operation_id = "create_skill",
    path = "/api/v1/skills",
    tag = "skills",
    params(KeyHeader),
    request_body = SkillSpec,
    responses(
        (status = 201, description = "The skill.", body = Skill),
        (status = 409, description = "The name is taken, or the idempotency key was used for another request.",
            body = ErrorBody),
    )
)]
pub(super) async fn create(
    _: Can<Write>,
    State(store): State<Store>,
    makes: Makes,
    body: Body<SkillSpec>,
) -> Result<(StatusCode, Json<Skill>), ApiError> {
    let said = |spec: &SkillSpec| {
        validate::skill_said(spec.name.as_deref(), spec.description.as_deref(), &spec.content)
    };
    let spec = body.judged(|spec| {
        let (name, description) = said(spec);
        validate::skill(&name, &description, &spec.content)
    })?;
    let id = SkillId(makes.id);
    let (name, description) = said(&spec);
    // One that was cut off after it was made is there.
    let made = match store.skills().get(id).await {
        Err(StoreError::NotFound(_)) => {
            let new = NewSkill { id, name, description, content: spec.content, in_library: true };
            store.skills().create(new).await?
        }
        made => made?,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// One skill with its text.
#[utoipa::path(
    get,
    operation_id = "get_skill",
    path = "/api/v1/skills/{skill_id}",
    tag = "skills",
    params(("skill_id" = SkillId, Path, description = "The skill.")),
    responses(
        (status = 200, description = "The skill.", body = Skill),
        (status = 404, description = "There is no such skill.", body = ErrorBody),
    )
)]
pub(super) async fn get(
    can: CanOrAgent<Read>,
    State(store): State<Store>,
    SkillPath(id): SkillPath,
) -> Result<Json<Skill>, ApiError> {
    if let Some((session, agent)) = can.agent
        && !skills_of(&store, session, agent).await?.contains(&id)
    {
        return Err(ApiError::not_found(format!("skill {id}")));
    }
    Ok(Json(store.skills().get(id).await?))
}

/// Edits a skill; what the request leaves out stays. Each agent that has it gets the new version at its next session.
#[utoipa::path(
    patch,
    operation_id = "update_skill",
    path = "/api/v1/skills/{skill_id}",
    tag = "skills",
    params(("skill_id" = SkillId, Path, description = "The skill.")),
    request_body = SkillPatch,
    responses(
        (status = 200, description = "The skill as it is now.", body = Skill),
        (status = 404, description = "There is no such skill.", body = ErrorBody),
        (status = 409, description = "The new name is taken.", body = ErrorBody),
    )
)]
pub(super) async fn patch(
    _: Can<Write>,
    State(store): State<Store>,
    SkillPath(id): SkillPath,
    body: Body<SkillPatch>,
) -> Result<Json<Skill>, ApiError> {
    let change = |skill: &mut Skill| -> Result<(), ApiError> {
        body.judged(|patch| {
            let SkillPatch { name, description, content } = patch.clone();
            skill.name = name.unwrap_or_else(|| skill.name.clone());
            skill.description = description.unwrap_or_else(|| skill.description.clone());
            skill.content = content.or_else(|| skill.content.clone());
            validate::skill(&skill.name, &skill.description, skill.content.as_deref().unwrap_or_default())
        })
        .map(drop)
    };
    Ok(Json(store.skills().update(id, change).await?))
}

/// Deletes a skill with all its versions. Agents that have it no longer do.
#[utoipa::path(
    delete,
    operation_id = "delete_skill",
    path = "/api/v1/skills/{skill_id}",
    tag = "skills",
    params(("skill_id" = SkillId, Path, description = "The skill.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is no such skill.", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    _: Can<Write>,
    State(store): State<Store>,
    SkillPath(id): SkillPath,
) -> Result<StatusCode, ApiError> {
    store.skills().delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a skill was before each edit: the last hundred versions, newest first, without their texts.
#[utoipa::path(
    get,
    operation_id = "list_skill_versions",
    path = "/api/v1/skills/{skill_id}/versions",
    tag = "skills",
    params(("skill_id" = SkillId, Path, description = "The skill.")),
    responses(
        (status = 200, description = "All of them.", body = Page<SkillVersion>),
        (status = 404, description = "There is no such skill.", body = ErrorBody),
    )
)]
pub(super) async fn versions(
    _: Can<Read>,
    State(store): State<Store>,
    SkillPath(id): SkillPath,
) -> Result<Json<Page<SkillVersion>>, ApiError> {
    let data = store.skills().versions(id).await?;
    let total = data.len() as u64;
    let limit = u32::try_from(data.len()).unwrap_or(u32::MAX);
    Ok(Json(Page { data, total, limit, offset: 0, next_cursor: None }))
}

/// One version of a skill with its text.
#[utoipa::path(
    get,
    operation_id = "get_skill_version",
    path = "/api/v1/skills/{skill_id}/versions/{version}",
    tag = "skills",
    params(
        ("skill_id" = SkillId, Path, description = "The skill."),
        ("version" = u64, Path, description = "Which: 1 is the first."),
    ),
    responses(
        (status = 200, description = "The version.", body = SkillVersion),
        (status = 404, description = "There is no such skill, or no such version of it.", body = ErrorBody),
    )
)]
pub(super) async fn version(
    _: Can<Read>,
    State(store): State<Store>,
    SkillPath(id): SkillPath,
    SkillVersionPath(number): SkillVersionPath,
) -> Result<Json<SkillVersion>, ApiError> {
    Ok(Json(store.skills().version(id, number).await?))
}

/// Makes a skill what it was: an edit like any other, with a version of its own.
#[utoipa::path(
    post,
    operation_id = "restore_skill_version",
    path = "/api/v1/skills/{skill_id}/versions/{version}/restore",
    tag = "skills",
    params(
        ("skill_id" = SkillId, Path, description = "The skill."),
        ("version" = u64, Path, description = "Which: 1 is the first."),
        KeyHeader,
    ),
    responses(
        (status = 200, description = "The skill as it is now.", body = Skill),
        (status = 404, description = "There is no such skill, or no such version of it.", body = ErrorBody),
        (status = 409, description = "The idempotency key was used for another request.", body = ErrorBody),
    )
)]
pub(super) async fn restore(
    _: Can<Write>,
    State(store): State<Store>,
    SkillPath(id): SkillPath,
    SkillVersionPath(number): SkillVersionPath,
    _: NoBody,
) -> Result<Json<Skill>, ApiError> {
    let version = store.skills().version(id, number).await?;
    let change = |skill: &mut Skill| -> Result<(), ApiError> {
        skill.description = version.description;
        skill.content = version.content;
        Ok(())
    };
    Ok(Json(store.skills().update(id, change).await?))
}

/// Gives an agent a skill: one of the library, or one that is sent along. Its next session has it.
#[utoipa::path(
    post,
    operation_id = "attach_skill",
    path = "/api/v1/managed_agents/agents/{agent_id}/skill",
    tag = "skills",
    params(("agent_id" = AgentId, Path, description = "The agent."), KeyHeader),
    request_body = AttachSkill,
    responses(
        (status = 200, description = "The agent as it is now.", body = Agent),
        (status = 404, description = "There is no such agent or skill.", body = ErrorBody),
        (status = 409, description = "The name of a skill that was sent along is taken, or the agent has as many as it \
            may.", body = ErrorBody),
    )
)]
pub(super) async fn attach(
    _: Can<Write>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    makes: Makes,
    body: Body<AttachSkill>,
) -> Result<Json<Agent>, ApiError> {
    let request = body.judged(attachable)?;
    match (request.skill_id, request.content) {
        (Some(skill), _) => {
            let change = |agent: &mut Agent| -> Result<(), ApiError> {
                if !agent.attached_skill_ids.contains(&skill) {
                    agent.attached_skill_ids.push(skill);
                }
                validate::agent(agent).map_err(ApiError::invalid)
            };
            store.agents().update(agent, change).await?;
        }
        (None, content) => {
            let content = content.unwrap_or_default();
            let (name, description) =
                validate::skill_said(request.name.as_deref(), request.description.as_deref(), &content);
            let in_library = request.save_to_library.unwrap_or(true);
            let new = NewSkill { id: SkillId(makes.id), name, description, content, in_library };
            // One that was cut off after it was made is there.
            if !store.agents().get(agent).await?.agent.attached_skill_ids.contains(&new.id) {
                store.skills().create_for(agent, new).await?;
            }
        }
    }
    Ok(Json(agent_form::masked(store.agents().get(agent).await?.agent)))
}

fn attachable(request: &AttachSkill) -> Result<(), Vec<FieldError>> {
    let fault = |code: &str, field: &str, message: &str| {
        let (code, path, message) = (code.to_owned(), vec![field.to_owned()], message.to_owned());
        Err(vec![FieldError { code, path, message }])
    };
    match (&request.skill_id, &request.content) {
        (Some(_), Some(_)) => {
            fault(validate::INVALID, "content", "is given with skill_id: give one of the two")
        }
        (None, None) => fault(validate::REQUIRED, "skill_id", "is missing; or send the skill's content"),
        (Some(_), None) => Ok(()),
        (None, Some(content)) => {
            let (name, description) =
                validate::skill_said(request.name.as_deref(), request.description.as_deref(), content);
            validate::skill(&name, &description, content)
        }
    }
}

/// Which skill an agent no longer has.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DetachSkill {
    /// The skill.
    skill_id: SkillId,
}

/// Takes a skill from an agent. One that is in no library is gone with that.
#[utoipa::path(
    delete,
    operation_id = "detach_skill",
    path = "/api/v1/managed_agents/agents/{agent_id}/skill",
    tag = "skills",
    params(("agent_id" = AgentId, Path, description = "The agent."), DetachSkill),
    responses(
        (status = 204, description = "It does not have it."),
        (status = 404, description = "There is no such agent, or it has no such skill.", body = ErrorBody),
    )
)]
pub(super) async fn detach(
    _: Can<Write>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    Query(query): Query<DetachSkill>,
) -> Result<StatusCode, ApiError> {
    let skill = query.skill_id;
    let change = |agent: &mut Agent| -> Result<(), ApiError> {
        let before = agent.attached_skill_ids.len();
        agent.attached_skill_ids.retain(|id| *id != skill);
        if agent.attached_skill_ids.len() == before {
            return Err(ApiError::not_found(format!("skill {skill} of this agent")));
        }
        Ok(())
    };
    store.agents().update(agent, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
