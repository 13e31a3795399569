//! What the check of requests by their schemas finds, and what it must know.

use std::collections::BTreeSet;

use lap_platform::model::{AgentSpec, CreateSession, ExecRequest};

use super::*;
use crate::openapi::{self, Harnesses};
use crate::routes;

fn document() -> Value {
    let (_, gathered) = routes::gather();
    let ids = ["shell", "codex"].map(str::to_owned).to_vec();
    let harnesses = Harnesses { ids, without_model: vec!["shell".into()], default: "codex".into() };
    openapi::document(&gathered, &harnesses).unwrap()
}

fn found<T: ToSchema>(value: &Value) -> Vec<String> {
    let schemas = Schemas::new(&document());
    let mut faults: Vec<String> = schemas
        .check_body::<T>(value)
        .map_or_else(|fault| vec![fault], Findings::into_faults)
        .into_iter()
        .map(|fault| format!("{}: {} {}", fault.path.join("."), fault.code, fault.message))
        .collect();
    faults.sort();
    faults
}

/// The schemas of requests, with all they refer to.
fn request_schemas(document: &Value) -> Vec<Value> {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(pointer)) = fields.get("$ref") {
                    found.insert(pointer.trim_start_matches('#').to_owned());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut known = BTreeSet::new();
    let operations = document["paths"].as_object().unwrap().values();
    for operation in operations.flat_map(|item| item.as_object().unwrap().values()) {
        references(&operation["requestBody"], &mut known);
        references(&operation["parameters"], &mut known);
    }
    for _ in 0..document["components"]["schemas"].as_object().unwrap().len() {
        for pointer in known.clone() {
            references(document.pointer(&pointer).unwrap(), &mut known);
        }
    }
    known.iter().map(|pointer| document.pointer(pointer).unwrap().clone()).collect()
}

fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
    let Value::Object(fields) = schema else { return };
    for (name, value) in fields {
        found.insert(name.clone());
        match (name.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                properties.values().for_each(|schema| keywords(schema, found));
            }
            ("oneOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter().for_each(|schema| keywords(schema, found));
            }
            ("items" | "additionalProperties" | "propertyNames" | "if" | "else", schema) => {
                keywords(schema, found);
            }
            _ => {}
        }
    }
}

#[test]
fn no_schema_of_a_request_says_what_the_check_does_not_know() {
    let mut found = BTreeSet::new();
    let schemas = request_schemas(&document());
    assert!(schemas.len() > 8, "{schemas:#?}");
    schemas.iter().for_each(|schema| keywords(schema, &mut found));
    let unknown: Vec<&String> =
        found.iter().filter(|name| !check::KEYWORDS.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_fault_is_found_with_its_place() {
    let value = json!({
        "name": "",
        "model": "",
        "nmae": 1,
        "env_vars": { "A": 1 },
        "max_sessions": 4_294_967_296_u64,
        "preload_memory_limit": 1.5,
        "mcp_servers": ["a", 7, { "name": "b" }, { "name": "c", "url": "https://x", "args": [] }],
        "resources": "big",
        "skill_ids": ["x"],
    });
    assert_eq!(
        found::<AgentSpec>(&value),
        [
            "env_vars.A: invalid_type must be a string",
            "max_sessions: too_big is more than 10000",
            "mcp_servers.1: invalid_type must be a string or an object or an object",
            "mcp_servers.2.url: required is required",
            "mcp_servers.3.args: unknown_field is not a field of this request",
            "model: too_small is empty",
            "name: too_small is empty",
            "nmae: unknown_field is not a field of this request",
            "preload_memory_limit: invalid_type must be a whole number or null",
            "resources: invalid_type must be an object or null",
            "skill_ids.0: invalid is no uuid",
        ]
    );
}

#[test]
fn a_model_is_required_of_what_needs_one() {
    assert_eq!(found::<AgentSpec>(&json!({})), ["model: required is required"]);
    assert_eq!(found::<AgentSpec>(&json!({ "harness_id": "shell" })), [""; 0]);
    let unknown = found::<AgentSpec>(&json!({ "harness_id": "sh" }));
    assert_eq!(unknown, ["harness_id: invalid must be one of shell, codex", "model: required is required"]);
}

#[test]
fn a_whole_number_may_be_written_with_a_point() {
    let mut value = json!({ "model": "m", "max_sessions": 3.0, "idle_timeout_seconds": 1e3 });
    let findings = Schemas::new(&document()).check_body::<AgentSpec>(&value).unwrap();
    findings.prune(&mut value);
    let spec: AgentSpec = serde_json::from_value(value).unwrap();
    assert_eq!((spec.max_sessions, spec.idle_timeout_seconds), (Some(3), Some(1000)));
    for none in [json!(1.5), json!(1e300), json!("1"), json!(-1.0)] {
        let value = json!({ "model": "m", "max_sessions": none });
        assert_eq!(found::<AgentSpec>(&value).len(), 1, "{value}");
    }
}

#[test]
fn what_has_a_nul_is_named_once() {
    let value = json!({ "title": "a\0", "env_vars": { "A\0": "x", "B": 1 } });
    assert_eq!(
        found::<CreateSession>(&value),
        [
            "env_vars.A\0: invalid has a NUL character in its name",
            "env_vars.B: invalid_type must be a string",
            "title: invalid has a NUL character in it",
        ]
    );
}

#[test]
fn what_is_too_large_to_check_is_refused_as_that() {
    let value = json!({ "command": vec!["x"; MAX_VALUES] });
    let faults = found::<ExecRequest>(&value);
    assert!(faults.len() == 1 && faults[0].contains("20000"), "{faults:?}");
}
