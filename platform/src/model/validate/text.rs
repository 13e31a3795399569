//! Whether a text fits where it is to stand.

use super::{INVALID, TOO_BIG, TOO_SMALL};

type Fault = (&'static str, String);

/// See [`super::Faults::line`].
pub(super) fn line(value: &str, max_chars: usize) -> Result<(), Fault> {
    if value.chars().any(char::is_control) {
        return Err((INVALID, "has a control character in it; write it on one plain line".to_owned()));
    }
    if !value.chars().any(|c| c != ' ') {
        return Err((TOO_SMALL, "is empty".to_owned()));
    }
    let chars = value.chars().count();
    if chars > max_chars {
        return Err((TOO_BIG, format!("is {chars} characters long; at most {max_chars} are allowed")));
    }
    Ok(())
}

/// See [`super::Faults::block`].
pub(super) fn block(value: &str, max_bytes: usize) -> Result<(), Fault> {
    if value.contains('\0') {
        return Err((INVALID, "has a NUL character in it".to_owned()));
    }
    if value.len() > max_bytes {
        return Err((TOO_BIG, format!("is {} bytes long; at most {max_bytes} are allowed", value.len())));
    }
    Ok(())
}
