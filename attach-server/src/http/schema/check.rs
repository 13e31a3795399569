//! Checks a value against a schema of the document, and says everything that is wrong with it in the API's own words.
//!
//! It knows the part of JSON Schema that the document's requests use ([`KEYWORDS`]), and nothing more. It leaves out
//! `pattern`: what a text must look like is judged by `model::validate`, whose messages say what to do about it; a test
//! holds that both mean the same.

use lap_platform::model::FieldError;
use lap_platform::model::validate::{INVALID, INVALID_TYPE, REQUIRED, TOO_BIG, TOO_SMALL, UNKNOWN_FIELD};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Findings;

/// What a schema of a request may say. A test holds that none says more.
#[cfg(test)]
pub(super) const KEYWORDS: [&str; 26] = [
    "$ref",
    "additionalProperties",
    "default",
    "deprecated",
    "description",
    "discriminator",
    "else",
    "enum",
    "examples",
    "format",
    "if",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "type",
];

/// References that lead to references: more than this is a circle.
const MAX_DEPTH: usize = 16;
/// The largest whole number that a float holds exactly, 2⁵³.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A check under way.
pub(super) struct Check<'a> {
    components: &'a Value,
    path: Vec<String>,
    found: Findings,
}

impl<'a> Check<'a> {
    /// Everything that is wrong with a value.
    pub(super) fn of(components: &'a Value, schema: &Value, value: &Value) -> Findings {
        let mut check = Check { components, path: Vec::new(), found: Findings::default() };
        check.value(schema, value);
        check.found
    }

    fn value(&mut self, schema: &Value, value: &Value) {
        let Some(schema) = self.resolved(schema).as_object() else { return };
        if let Some(forms) = schema.get("oneOf").and_then(Value::as_array) {
            return self.alternatives(forms, value);
        }
        if let Some(kinds) = schema.get("type")
            && !is_of(kinds, value)
        {
            return self.unfit(INVALID_TYPE, format!("must be {}", in_words(kinds)));
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array)
            && !options.contains(value)
        {
            let words: Vec<String> = options.iter().filter(|option| !option.is_null()).map(word).collect();
            return self.unfit(INVALID, format!("must be one of {}", words.join(", ")));
        }
        match value {
            Value::String(text) => self.text(schema, text),
            Value::Number(_) => self.number(schema, value),
            Value::Array(items) => self.array(schema, items),
            Value::Object(fields) => self.object(schema, fields),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, schema: &Map<String, Value>, text: &str) {
        if schema.get("format").is_some_and(|format| format == "uuid") && text.parse::<Uuid>().is_err() {
            return self.unfit(INVALID, "is no uuid".to_owned());
        }
        let (least, most) = (limit(schema, "minLength"), limit(schema, "maxLength"));
        if least.is_none() && most.is_none() {
            return;
        }
        let chars = text.chars().count() as u64;
        match least {
            Some(1) if chars < 1 => return self.beyond(TOO_SMALL, "is empty".to_owned()),
            Some(least) if chars < least => {
                return self.beyond(TOO_SMALL, format!("is shorter than {least} characters"));
            }
            _ => {}
        }
        if let Some(most) = most.filter(|most| chars > *most) {
            self.beyond(TOO_BIG, format!("is longer than {most} characters"));
        }
    }

    /// A number beyond its bounds may not fit its type either, so that it counts as unfit.
    fn number(&mut self, schema: &Map<String, Value>, value: &Value) {
        let number = value.as_f64().unwrap_or_default();
        let bound = |name| schema.get(name).and_then(|bound| Some((bound.as_f64()?, bound)));
        if let Some((_, least)) = bound("minimum").filter(|(least, _)| number < *least) {
            return self.unfit(TOO_SMALL, format!("is less than {least}"));
        }
        if let Some((_, most)) = bound("maximum").filter(|(most, _)| number > *most) {
            return self.unfit(TOO_BIG, format!("is more than {most}"));
        }
        if value.is_f64() && schema.get("type").is_some_and(|kinds| names(kinds, "integer")) {
            self.found.whole.push(self.path.clone());
        }
    }

    fn array(&mut self, schema: &Map<String, Value>, items: &[Value]) {
        self.count(schema, ["minItems", "maxItems"], items.len());
        let first = schema.get("prefixItems").and_then(Value::as_array);
        for (index, item) in items.iter().enumerate() {
            let of = first.and_then(|first| first.get(index)).or_else(|| schema.get("items"));
            if let Some(of) = of {
                self.within(&index.to_string(), |check| check.value(of, item));
            }
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, fields: &Map<String, Value>) {
        self.count(schema, ["minProperties", "maxProperties"], fields.len());
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (name, value) in fields {
            match known.and_then(|known| known.get(name)).or(others) {
                Some(Value::Bool(false)) => self.within(name, |check| {
                    check.unfit(UNKNOWN_FIELD, "is not a field of this request".to_owned());
                }),
                Some(of) => self.within(name, |check| check.value(of, value)),
                None => {}
            }
        }
        self.required(schema, fields);
        if let Some(condition) = schema.get("if")
            && !self.fits(condition, &Value::Object(fields.clone()))
            && let Some(other) = schema.get("else").and_then(Value::as_object)
        {
            self.required(other, fields);
        }
    }

    fn required(&mut self, schema: &Map<String, Value>, fields: &Map<String, Value>) {
        let names = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for name in names.iter().filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)) {
            self.within(name, |check| check.unfit(REQUIRED, "is required".to_owned()));
        }
    }

    /// Of several allowed forms, speaks of the one that was meant: those of another type are left aside, and of the
    /// rest the one with the fewest faults is it.
    fn alternatives(&mut self, forms: &[Value], value: &Value) {
        let meant = forms
            .iter()
            .filter(|form| self.resolved(form).get("type").is_none_or(|kinds| is_of(kinds, value)))
            .map(|form| {
                let mut check = Check {
                    components: self.components,
                    path: self.path.clone(),
                    found: Findings::default(),
                };
                check.value(form, value);
                check.found
            })
            .min_by_key(|found| (found.unfit.len(), found.beyond.len()));
        match meant {
            Some(found) => self.found.append(found),
            None => {
                let kinds: Vec<String> =
                    forms.iter().filter_map(|form| self.resolved(form).get("type").map(in_words)).collect();
                self.unfit(INVALID_TYPE, format!("must be {}", kinds.join(" or ")));
            }
        }
    }

    fn fits(&self, schema: &Value, value: &Value) -> bool {
        let found = Check::of(self.components, schema, value);
        found.unfit.is_empty() && found.beyond.is_empty()
    }

    fn count(&mut self, schema: &Map<String, Value>, [least, most]: [&str; 2], count: usize) {
        let count = count as u64;
        if let Some(least) = limit(schema, least).filter(|least| count < *least) {
            self.beyond(TOO_SMALL, format!("has fewer than {least} entries"));
        }
        if let Some(most) = limit(schema, most).filter(|most| count > *most) {
            self.beyond(TOO_BIG, format!("has more than {most} entries"));
        }
    }

    fn resolved<'s>(&self, mut schema: &'s Value) -> &'s Value
    where
        'a: 's,
    {
        for _ in 0..MAX_DEPTH {
            let Some(pointer) = schema.get("$ref").and_then(Value::as_str) else { break };
            let Some(found) =
                pointer.strip_prefix("#/components").and_then(|rest| self.components.pointer(rest))
            else {
                break;
            };
            schema = found;
        }
        schema
    }

    fn within(&mut self, name: &str, check: impl FnOnce(&mut Check<'a>)) {
        self.path.push(name.to_owned());
        check(self);
        self.path.pop();
    }

    fn unfit(&mut self, code: &str, message: String) {
        self.found.unfit.push(fault(code, self.path.clone(), message));
    }

    fn beyond(&mut self, code: &str, message: String) {
        self.found.beyond.push(fault(code, self.path.clone(), message));
    }
}

/// Never the value itself: it may be a secret.
pub(super) fn fault(code: &str, path: Vec<String>, message: impl Into<String>) -> FieldError {
    FieldError { code: code.to_owned(), path, message: message.into() }
}

fn limit(schema: &Map<String, Value>, name: &str) -> Option<u64> {
    schema.get(name).and_then(Value::as_u64)
}

/// The names a schema's `type` has, which is one or a list.
fn kinds_of(kinds: &Value) -> impl Iterator<Item = &str> {
    let many = kinds.as_array().map(Vec::as_slice).unwrap_or_default();
    kinds.as_str().into_iter().chain(many.iter().filter_map(Value::as_str))
}

fn names(kinds: &Value, kind: &str) -> bool {
    kinds_of(kinds).any(|name| name == kind)
}

fn is_of(kinds: &Value, value: &Value) -> bool {
    kinds_of(kinds).any(|kind| match kind {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        // `1.0` is a whole number, in JSON as in JSON Schema.
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(is_whole),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        _ => true,
    })
}

fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() <= EXACT
}

fn in_words(kinds: &Value) -> String {
    let words: Vec<&str> = kinds_of(kinds)
        .map(|kind| match kind {
            "array" => "an array",
            "boolean" => "true or false",
            "integer" => "a whole number",
            "null" => "null",
            "number" => "a number",
            "object" => "an object",
            "string" => "a string",
            other => other,
        })
        .collect();
    words.join(" or ")
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
