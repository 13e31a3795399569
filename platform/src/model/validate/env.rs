//! Whether environment variables make sense.

use super::limits::{ENV_JSON_BYTES, ENV_KEYS, RESERVED_ENV, RESERVED_ENV_PREFIX};
use super::{Faults, INVALID, RESERVED, TOO_BIG};
use crate::model::EnvVars;

/// Whether a shell could set a variable of that name.
pub(super) fn is_env_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_reserved(name: &str) -> bool {
    RESERVED_ENV.contains(&name) || name.starts_with(RESERVED_ENV_PREFIX)
}

/// Environment variables of an agent or a session.
pub(super) fn env_vars(faults: &mut Faults, vars: &EnvVars) {
    faults.count(&["env_vars"], vars.len(), ENV_KEYS);
    for (name, value) in vars {
        let path = ["env_vars", name.as_str()];
        env_name(faults, &path, name);
        if value.contains('\0') {
            faults.add(INVALID, &path, "has a NUL character in it, which no environment can hold");
        }
    }
    // A map of strings can always be written as JSON; were it not so, 0 bytes would be no fault to report.
    let bytes = serde_json::to_vec(vars).map_or(0, |json| json.len());
    if bytes > ENV_JSON_BYTES {
        faults.add(
            TOO_BIG,
            &["env_vars"],
            format!("is {bytes} bytes as JSON; at most {ENV_JSON_BYTES} are allowed"),
        );
    }
}

/// The name of a variable, wherever one is named. Says whether it is one.
pub(super) fn env_name(faults: &mut Faults, path: &[&str], name: &str) -> bool {
    if !is_env_name(name) {
        faults.add(
            INVALID,
            path,
            "is no name of a variable: letters, digits and _, not beginning with a digit",
        );
    } else if is_reserved(name) {
        faults.add(RESERVED, path, "is set by the platform; choose another name");
    } else {
        return true;
    }
    false
}
