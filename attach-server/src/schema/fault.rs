//! A checker's findings in the API's own words.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError};
use lap_platform::model::FieldError;
use lap_platform::model::validate::{INVALID, INVALID_TYPE, REQUIRED, TOO_BIG, TOO_SMALL, UNKNOWN_FIELD};
use serde_json::Value;

/// Whether the value has another shape than the type, rather than a value beyond its limits.
pub(crate) fn is_structural(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::AdditionalProperties { .. }
            | Kind::Required { .. }
            | Kind::Type { .. }
            | Kind::OneOfNotValid { .. }
            | Kind::OneOfMultipleValid { .. }
            | Kind::AnyOf { .. }
            | Kind::Enum { .. }
            | Kind::Constant { .. }
            | Kind::Format { .. }
    )
}

pub(crate) fn fault(code: &str, path: Vec<String>, message: impl Into<String>) -> FieldError {
    FieldError { code: code.to_owned(), path, message: message.into() }
}

/// Notes what one finding comes to. Never the value itself: it may be a secret.
pub(crate) fn of(error: &ValidationError<'_>, faults: &mut Vec<FieldError>) {
    let path = path_of(error.instance_path());
    let mut add = |code, path, message: String| faults.push(fault(code, path, message));
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            for name in unexpected {
                add(UNKNOWN_FIELD, joined(&path, name), "is not a field of this request".to_owned());
            }
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            add(REQUIRED, joined(&path, name), "is required".to_owned());
        }
        Kind::Type { kind } => add(INVALID_TYPE, path, format!("must be {}", types(kind))),
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => alternatives(path, context, faults),
        Kind::OneOfMultipleValid { .. } => {
            add(
                INVALID,
                path,
                "fits several of the allowed forms; leave out what does not belong".to_owned(),
            );
        }
        Kind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            let words: Vec<String> = options.iter().map(word).collect();
            add(INVALID, path, format!("must be one of {}", words.join(", ")));
        }
        Kind::Constant { expected_value } => add(INVALID, path, format!("must be {}", word(expected_value))),
        Kind::MaxLength { limit } => add(TOO_BIG, path, format!("is longer than {limit} characters")),
        Kind::MinLength { limit: 1 } => add(TOO_SMALL, path, "is empty".to_owned()),
        Kind::MinLength { limit } => add(TOO_SMALL, path, format!("is shorter than {limit} characters")),
        Kind::MaxItems { limit } | Kind::MaxProperties { limit } => {
            add(TOO_BIG, path, format!("has more than {limit} entries"));
        }
        Kind::MinItems { limit } | Kind::MinProperties { limit } => {
            add(TOO_SMALL, path, format!("has fewer than {limit} entries"));
        }
        Kind::Maximum { limit } => add(TOO_BIG, path, format!("is more than {limit}")),
        Kind::Minimum { limit } => add(TOO_SMALL, path, format!("is less than {limit}")),
        Kind::Format { format } => add(INVALID, path, format!("is no {format}")),
        Kind::PropertyNames { error } => {
            let name = error.instance().as_str().unwrap_or_default();
            add(INVALID, joined(&path, name), "is no name this field can have".to_owned());
        }
        _ => add(INVALID, path, "does not have the form it must have".to_owned()),
    }
}

/// Of several allowed forms, speaks of the one that was meant: those of another type are left aside, and of the rest
/// the one with the fewest faults is it.
fn alternatives(path: Vec<String>, context: &[Vec<ValidationError<'static>>], faults: &mut Vec<FieldError>) {
    let depth = path.len();
    let of_another_type = |errors: &&Vec<ValidationError<'static>>| {
        errors.iter().any(|error| {
            matches!(error.kind(), Kind::Type { .. }) && path_of(error.instance_path()).len() <= depth
        })
    };
    let meant = context.iter().filter(|errors| !of_another_type(errors)).min_by_key(|errors| errors.len());
    if let Some(errors) = meant {
        errors.iter().for_each(|error| of(error, faults));
        return;
    }
    let kinds: Vec<String> = context
        .iter()
        .flatten()
        .filter_map(|error| match error.kind() {
            Kind::Type { kind } => Some(types(kind)),
            _ => None,
        })
        .collect();
    faults.push(fault(INVALID_TYPE, path, format!("must be {}", kinds.join(" or "))));
}

fn path_of(location: &Location) -> Vec<String> {
    location
        .into_iter()
        .map(|segment| match segment {
            LocationSegment::Property(name) => name.into_owned(),
            LocationSegment::Index(index) => index.to_string(),
        })
        .collect()
}

fn joined(path: &[String], name: &str) -> Vec<String> {
    let mut path = path.to_vec();
    path.push(name.to_owned());
    path
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => type_name(*kind).to_owned(),
        TypeKind::Multiple(kinds) => kinds.iter().map(type_name).collect::<Vec<_>>().join(" or "),
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}
