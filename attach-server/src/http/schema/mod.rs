//! Requests are checked against the very document that describes them, so that what `openapi.json` says and what the
//! server takes cannot drift apart.

mod check;
mod prune;

use lap_platform::model::FieldError;
use lap_platform::model::validate::{INVALID, TOO_BIG};
use serde_json::{Map, Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use check::{Check, fault};
pub(crate) use prune::Pruned;

/// Faults reported of one request: what a person can mend in one go.
const MAX_FAULTS: usize = 100;
/// Values in one request's body, so that checking it cannot cost much more than reading it: ten times what the largest
/// sensible agent has.
const MAX_VALUES: usize = 20_000;

/// The document's schemas.
#[derive(Debug)]
pub(crate) struct Schemas {
    components: Value,
}

/// What checking found, each in the document's order.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Missing and unknown fields, wrong types, numbers out of range: these parts cannot be read.
    pub(crate) unfit: Vec<FieldError>,
    /// Texts and lists that can be read and are too long or too short.
    pub(crate) beyond: Vec<FieldError>,
    /// Where there are whole numbers written as `1.0`.
    whole: Vec<Vec<String>>,
}

impl Findings {
    fn append(&mut self, other: Findings) {
        self.unfit.extend(other.unfit);
        self.beyond.extend(other.beyond);
        self.whole.extend(other.whole);
    }

    /// All faults.
    pub(crate) fn into_faults(self) -> Vec<FieldError> {
        self.unfit.into_iter().chain(self.beyond).take(MAX_FAULTS).collect()
    }

    /// Takes out of the value what cannot be read.
    pub(crate) fn prune(&self, value: &mut Value) -> Pruned {
        prune::write_whole(value, &self.whole);
        Pruned::of(value, &self.unfit)
    }
}

impl Schemas {
    /// Of the finished document.
    pub(crate) fn new(document: &Value) -> Schemas {
        Schemas { components: document.get("components").cloned().unwrap_or_default() }
    }

    /// What is wrong with a body. `Err`: it holds too much to be checked.
    pub(crate) fn check_body<T: ToSchema>(&self, value: &Value) -> Result<Findings, FieldError> {
        self.check(&json!({ "$ref": format!("#/components/schemas/{}", T::name()) }), value)
    }

    /// What is wrong with a query. `Err`: it holds too much to be checked.
    pub(crate) fn check_query<T: IntoParams>(&self, value: &Value) -> Result<Findings, FieldError> {
        self.check(&object_of(&query_params::<T>()), value)
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<Findings, FieldError> {
        let mut budget = MAX_VALUES;
        let mut nul = Vec::new();
        if let Err(path) = walk(value, &mut Vec::new(), &mut budget, &mut nul) {
            let message = format!("holds more than {MAX_VALUES} values in all");
            return Err(fault(TOO_BIG, path, message));
        }
        let mut findings = Check::of(&self.components, schema, value);
        nul.retain(|nul| !findings.unfit.iter().any(|fault| nul.path.starts_with(&fault.path)));
        findings.unfit.extend(nul);
        Ok(findings)
    }
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
            faults.push(fault(INVALID, path.clone(), "has a NUL character in it"));
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
                    faults.push(fault(INVALID, path.clone(), "has a NUL character in its name"));
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

#[cfg(test)]
mod tests;
