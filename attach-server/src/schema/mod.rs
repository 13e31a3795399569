//! Requests are checked against the very document that describes them, so that what `openapi.json` says and what the
//! server takes cannot drift apart.

mod fault;

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use lap_platform::model::FieldError;
use lap_platform::model::validate::{INVALID, TOO_BIG};
use serde_json::{Map, Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

pub(crate) use fault::{is_structural, of as fault_of};

/// Faults reported of one request: what a person can mend in one go.
const MAX_FAULTS: usize = 100;
/// Values in one request's body, so that checking it cannot cost much more than reading it: ten times what the largest
/// sensible agent has.
const MAX_VALUES: usize = 20_000;

/// The document's schemas, each compiled when it is first needed.
pub(crate) struct Schemas {
    components: Value,
    compiled: Mutex<HashMap<TypeId, Arc<Validator>>>,
}

/// A schema of the document that the checker cannot work with: a fault of this program.
#[derive(Debug, thiserror::Error)]
#[error("the schema {name} of openapi.json cannot be compiled: {reason}")]
pub(crate) struct BadSchema {
    name: String,
    reason: String,
}

/// What checking found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Missing and unknown fields, wrong types: the value cannot even be read.
    pub(crate) structural: bool,
    /// All faults, in the document's order.
    pub(crate) faults: Vec<FieldError>,
}

impl Schemas {
    /// Of the finished document.
    pub(crate) fn new(document: &Value) -> Schemas {
        let components = document.get("components").cloned().unwrap_or_default();
        Schemas { components, compiled: Mutex::default() }
    }

    /// The checker of a body.
    pub(crate) fn body<T: ToSchema + 'static>(&self) -> Result<Arc<Validator>, BadSchema> {
        let name = T::name();
        self.get(TypeId::of::<T>(), &name, || json!({ "$ref": format!("#/components/schemas/{name}") }))
    }

    /// The checker of a query, and which of its fields are no strings.
    pub(crate) fn query<T: IntoParams + 'static>(&self) -> Result<Arc<Validator>, BadSchema> {
        self.get(TypeId::of::<T>(), std::any::type_name::<T>(), || object_of(&query_params::<T>()))
    }

    fn get(
        &self,
        id: TypeId,
        name: &str,
        schema: impl FnOnce() -> Value,
    ) -> Result<Arc<Validator>, BadSchema> {
        // Nothing panics while it is held; were it so, a map with one entry fewer is still right.
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = compiled.get(&id) {
            return Ok(Arc::clone(validator));
        }
        let mut schema = schema();
        schema["components"] = self.components.clone();
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| BadSchema { name: name.to_owned(), reason: error.to_string() })?;
        let validator = Arc::new(validator);
        compiled.insert(id, Arc::clone(&validator));
        Ok(validator)
    }
}

/// Everything that is wrong with a value.
pub(crate) fn check(validator: &Validator, value: &Value) -> Findings {
    let mut findings = Findings::default();
    let mut budget = MAX_VALUES;
    if let Err(path) = walk(value, &mut Vec::new(), &mut budget, &mut findings.faults) {
        let message = format!("holds more than {MAX_VALUES} values in all");
        return Findings { structural: true, faults: vec![fault::fault(TOO_BIG, path, message)] };
    }
    for error in validator.iter_errors(value).take(MAX_FAULTS) {
        findings.structural |= is_structural(error.kind());
        fault_of(&error, &mut findings.faults);
    }
    findings.faults.truncate(MAX_FAULTS);
    findings
}

/// Counts values, and finds NUL characters: no program's argument, no environment and no PostgreSQL text can hold one.
/// `Err`: more values than the budget.
fn walk(
    value: &Value,
    path: &mut Vec<String>,
    budget: &mut usize,
    faults: &mut Vec<FieldError>,
) -> Result<(), Vec<String>> {
    *budget = budget.checked_sub(1).ok_or_else(|| path.clone())?;
    match value {
        Value::String(text) if text.contains('\0') => {
            faults.push(fault::fault(INVALID, path.clone(), "has a NUL character in it"));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                walk(item, path, budget, faults)?;
                path.pop();
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                path.push(name.clone());
                if name.contains('\0') {
                    faults.push(fault::fault(INVALID, path.clone(), "has a NUL character in its name"));
                }
                walk(field, path, budget, faults)?;
                path.pop();
            }
        }
        _ => {}
    }
    Ok(())
}

/// A query's parameters as the document has them.
pub(crate) fn query_params<T: IntoParams>() -> Vec<Parameter> {
    T::into_params(|| Some(ParameterIn::Query))
}

fn object_of(params: &[Parameter]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for param in params {
        let schema = param.schema.as_ref().and_then(|schema| serde_json::to_value(schema).ok());
        properties.insert(param.name.clone(), schema.unwrap_or(Value::Bool(true)));
        if matches!(param.required, Required::True) {
            required.push(param.name.clone());
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
