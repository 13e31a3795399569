//! The session this program itself runs in, where it does: its terminal is not shown in itself, which would be without
//! end.

use lap_platform::config::Environment;
use lap_platform::model::SessionId;
use lap_platform::sandbox::{SANDBOX_VARIABLE, SESSION_VARIABLE};

/// What is said instead.
pub(crate) const WITHIN: &str = "that session is the one this terminal is in: it would show itself";

/// The session whose sandbox this is.
pub(crate) fn session(environment: &Environment) -> Option<SessionId> {
    // Other programs may have variables of that name too.
    environment.filled(SANDBOX_VARIABLE)?;
    environment.filled(SESSION_VARIABLE)?.parse().ok()
}
