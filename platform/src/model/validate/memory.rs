//! Whether a memory makes sense.

use super::limits::{MEMORY_CHARS, MEMORY_PRIORITY, MEMORY_TAG_CHARS, MEMORY_TAGS};
use super::{Faults, INVALID, TOO_BIG, TOO_SMALL};
use crate::model::{FieldError, Memory};

/// A memory as it would be, whether it is new or changed.
pub fn memory(memory: &Memory) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    let chars = memory.text.chars().count();
    if memory.text.trim().is_empty() {
        faults.add(TOO_SMALL, &["text"], "is empty");
    } else if chars > MEMORY_CHARS {
        faults.add(
            TOO_BIG,
            &["text"],
            format!("is {chars} characters long; at most {MEMORY_CHARS} are allowed"),
        );
    }
    if memory.text.contains('\0') {
        faults.add(INVALID, &["text"], "has a NUL character in it");
    }
    faults.count(&["tags"], memory.tags.len(), MEMORY_TAGS);
    for (index, tag) in memory.tags.iter().enumerate() {
        let path = ["tags", &index.to_string()];
        faults.line(&path, tag, MEMORY_TAG_CHARS);
        if tag.contains(['"', '\\']) {
            faults.add(INVALID, &path, "has a quote or a backslash in it");
        }
    }
    if !(-MEMORY_PRIORITY..=MEMORY_PRIORITY).contains(&memory.priority) {
        let code = if memory.priority < 0 { TOO_SMALL } else { TOO_BIG };
        let within = format!("is {}; it goes from -{MEMORY_PRIORITY} to {MEMORY_PRIORITY}", memory.priority);
        faults.add(code, &["priority"], within);
    }
    faults.into_result()
}
