//! Takes out of a request what cannot be read, so that the rest of it can be judged in the same answer.

use std::collections::BTreeMap;

use lap_platform::model::FieldError;
use lap_platform::model::validate::REQUIRED;
use serde_json::{Number, Value};

/// What was taken out of the arrays of a value: their paths, and the places of what is no longer there.
#[derive(Debug, Default)]
pub(crate) struct Pruned(BTreeMap<Vec<String>, Vec<usize>>);

impl Pruned {
    /// Takes out everything these faults speak of. Where a field is missing, that is what lacks it.
    pub(super) fn of(value: &mut Value, faults: &[FieldError]) -> Pruned {
        let mut pruned = Pruned::default();
        for fault in faults {
            let missing = usize::from(fault.code == REQUIRED);
            let path = fault.path.get(..fault.path.len().saturating_sub(missing)).unwrap_or_default();
            let Some((last, parents)) = path.split_last() else { continue };
            match at(value, parents) {
                Some(Value::Object(fields)) => {
                    fields.remove(last);
                }
                Some(Value::Array(_)) => {
                    if let Ok(index) = last.parse() {
                        pruned.0.entry(parents.to_vec()).or_default().push(index);
                    }
                }
                _ => {}
            }
        }
        // Items last and from the end, the innermost arrays first: until then all paths are what they were.
        for (path, places) in pruned.0.iter_mut().rev() {
            places.sort_unstable();
            places.dedup();
            let Some(Value::Array(items)) = at(value, path) else { continue };
            for place in
                places.iter().rev().filter(|place| **place < items.len()).copied().collect::<Vec<_>>()
            {
                items.remove(place);
            }
        }
        pruned
    }

    /// Where something is in the value as it was sent, which is at this path now.
    pub(crate) fn original(&self, path: Vec<String>) -> Vec<String> {
        let mut original: Vec<String> = Vec::with_capacity(path.len());
        for part in path {
            let part = match (self.0.get(&original), part.parse::<usize>()) {
                (Some(places), Ok(mut index)) => {
                    for place in places {
                        index += usize::from(*place <= index);
                    }
                    index.to_string()
                }
                _ => part,
            };
            original.push(part);
        }
        original
    }
}

/// Writes whole numbers as such that were sent as `1.0`: no type takes them otherwise.
pub(super) fn write_whole(value: &mut Value, paths: &[Vec<String>]) {
    for path in paths {
        let Some(number) = at(value, path) else { continue };
        // Whole and below 2^53, or it would not be here.
        #[allow(clippy::cast_possible_truncation)]
        if let Some(whole) = number.as_f64().map(|float| float as i64) {
            *number = Value::Number(Number::from(whole));
        }
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(fields) => fields.get_mut(part),
        Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use lap_platform::model::validate::{INVALID_TYPE, UNKNOWN_FIELD};
    use serde_json::json;

    use super::*;

    fn fault(code: &str, path: &[&str]) -> FieldError {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        FieldError { code: code.to_owned(), path, message: String::new() }
    }

    #[test]
    fn what_is_left_is_found_where_it_was_sent() {
        let mut value = json!({ "a": [0, "x", 2, { "b": ["y", 1] }, {}], "c": 1, "d": 2 });
        let faults = [
            fault(INVALID_TYPE, &["a", "1"]),
            fault(INVALID_TYPE, &["a", "3", "b", "0"]),
            fault(REQUIRED, &["a", "4", "name"]),
            fault(UNKNOWN_FIELD, &["c"]),
            fault(REQUIRED, &["e"]),
        ];
        let pruned = Pruned::of(&mut value, &faults);
        assert_eq!(value, json!({ "a": [0, 2, { "b": [1] }], "d": 2 }));
        let original = |path: &[&str]| pruned.original(path.iter().map(|&part| part.to_owned()).collect());
        assert_eq!(original(&["a", "0"]), ["a", "0"]);
        assert_eq!(original(&["a", "1"]), ["a", "2"]);
        assert_eq!(original(&["a", "2", "b", "0"]), ["a", "3", "b", "1"]);
        assert_eq!(original(&["d"]), ["d"]);
    }
}
