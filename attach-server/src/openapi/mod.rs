//! `openapi.json`: gathered from the routes and the types, then given what types cannot say: limits, the fields other
//! platforms' clients send, the errors every route has.

mod forms;
mod limits;

use lap_platform::model::{AgentsSort, ErrorBody, ErrorDetail, FieldError, Order, SessionStatus};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Fields of other platforms' clients that mean nothing here: accepted and ignored, so that those clients work.
pub(crate) const IGNORED_FIELDS: [&str; 6] =
    ["tools", "mcp_allowed_tools", "pfp_url", "projects", "template_id", "sandbox_files"];
/// The requests that may carry them.
const WITH_IGNORED_FIELDS: [&str; 3] = ["AgentSpec", "AgentPatch", "CreateSession"];

/// What no route's answer has in it, and queries refer to.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(AgentsSort, ErrorBody, ErrorDetail, FieldError, Order, SessionStatus)))]
struct Base;

/// The document before any route is in it.
pub(crate) fn base() -> OpenApi {
    <Base as utoipa::OpenApi>::openapi()
}

/// The document could not be made: a fault of this program.
#[derive(Debug, thiserror::Error)]
#[error("openapi.json cannot be made: {0}")]
pub struct BadDocument(String);

/// What an agent can be made with.
#[derive(Debug, Default)]
pub(crate) struct Harnesses {
    pub(crate) ids: Vec<String>,
    /// Those whose agents need not name a model.
    pub(crate) without_model: Vec<String>,
    /// The one of an agent that names none.
    pub(crate) default: String,
}

/// The finished document.
pub(crate) fn document(gathered: &OpenApi, harnesses: &Harnesses) -> Result<Value, BadDocument> {
    let mut document = serde_json::to_value(gathered).map_err(|error| BadDocument(error.to_string()))?;
    document["info"] = json!({
        "title": "lap",
        "description": "Runs coding agents in sandboxes, and lets many people watch and type into their terminals.",
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "MIT", "identifier": "MIT" },
    });
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "The master key, or an API token." },
    });
    document["security"] = json!([{ "token": [] }]);
    for name in WITH_IGNORED_FIELDS {
        ignored_fields(properties_of(&mut document, name)?);
    }
    limits::apply(&mut document)?;
    forms::name(&mut document)?;
    let harness = at(&mut document, "AgentSpec", "harness_id")?;
    harness["enum"] = harnesses.ids.iter().map(|id| json!(id)).chain([Value::Null]).collect();
    model_where_needed(&mut document, harnesses);
    common_answers(&mut document);
    Ok(document)
}

/// Requires a model of those agents that are of no use without one.
fn model_where_needed(document: &mut Value, harnesses: &Harnesses) {
    if harnesses.ids.iter().all(|id| harnesses.without_model.contains(id)) {
        return;
    }
    let mut ids: Vec<Value> = harnesses.without_model.iter().map(|id| json!(id)).collect();
    let mut free = json!({ "properties": { "harness_id": {} } });
    if harnesses.without_model.contains(&harnesses.default) {
        ids.push(Value::Null);
    } else {
        free["required"] = json!(["harness_id"]);
    }
    free["properties"]["harness_id"] = json!({ "enum": ids });
    document["components"]["schemas"]["AgentSpec"]["if"] = free;
    document["components"]["schemas"]["AgentSpec"]["else"] = json!({ "required": ["model"] });
}

fn properties_of<'a>(
    document: &'a mut Value,
    schema: &str,
) -> Result<&'a mut Map<String, Value>, BadDocument> {
    document
        .pointer_mut(&format!("/components/schemas/{schema}/properties"))
        .and_then(Value::as_object_mut)
        .ok_or_else(|| BadDocument(format!("there is no schema {schema} with properties")))
}

/// A property's schema.
fn at<'a>(document: &'a mut Value, schema: &str, property: &str) -> Result<&'a mut Value, BadDocument> {
    properties_of(document, schema)?
        .get_mut(property)
        .ok_or_else(|| BadDocument(format!("{schema} has no property {property}")))
}

fn ignored_fields(properties: &mut Map<String, Value>) {
    for name in IGNORED_FIELDS {
        let schema = json!({ "description": "Accepted and ignored.", "deprecated": true });
        properties.insert(name.to_owned(), schema);
    }
}

/// What every operation can answer besides what it says itself.
fn common_answers(document: &mut Value) {
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        let open = operation.get("security").is_some_and(|security| security == &json!([{}]));
        let has_body = operation.get("requestBody").is_some();
        let Some(answers) = operation.get_mut("responses").and_then(Value::as_object_mut) else { continue };
        let mut add = |status: &str, description: &str| {
            answers.entry(status).or_insert_with(|| {
                let schema = json!({ "$ref": "#/components/schemas/ErrorBody" });
                json!({ "description": description, "content": { "application/json": { "schema": schema } } })
            });
        };
        if !open {
            add("400", "The request is not as it must be: `error` says everything that is wrong with it.");
            add("401", "No valid token.");
            add("403", "The token may not do this, or the origin is not allowed.");
            add("429", "A limit on how many is reached; `Retry-After` says when to try again.");
        }
        if has_body {
            add("408", "The body did not arrive in time.");
            add("413", "The body is over its limit.");
            add("415", "The body is of another type than JSON.");
        }
        add("500", "A fault of the server's own: `request_id` finds it in the log.");
        if !open {
            add("503", "The server cannot do it now: `error` says why.");
            add("504", "It took longer than a request may.");
        }
        for answer in answers.values_mut().filter_map(Value::as_object_mut) {
            let headers = answer.entry("headers").or_insert_with(|| json!({}));
            headers["x-request-id"] =
                json!({ "description": "Finds the request in the log.", "schema": { "type": "string" } });
        }
    }
}
