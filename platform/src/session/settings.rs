//! What the service takes from the configuration, and how long steps may take.

use std::time::Duration;

use crate::config::{Config, SessionDefaults};
use crate::model::EnvVars;
use crate::secret::SecretText;

/// What the service takes from the configuration.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// How sessions come up and end.
    pub defaults: SessionDefaults,
    /// The most live sessions on this server.
    pub max_live: usize,
    /// Bytes of output a keeper retains per terminal.
    pub ring_bytes: u32,
    /// Bytes of scrollback a keeper's model keeps per terminal.
    pub scrollback_bytes: u32,
    /// Given to every sandbox.
    pub container_env: EnvVars,
    /// What the server is called from outside, where it is.
    pub base_url: Option<String>,
    /// Images by harness, over the harnesses' own.
    pub harness_images: std::collections::BTreeMap<String, String>,
    /// The model gateway's URL.
    pub gateway_base: Option<String>,
    /// The model gateway's key.
    pub gateway_key: Option<SecretText>,
    /// What is to be erased by its age must be found so twice, this long apart: a clock that is wrong for a while erases
    /// nothing.
    pub second_look: Duration,
    /// The repository of sessions whose agent names none.
    pub preinstalled_repo: Option<String>,
}

/// Long enough for a clock to be set right after a machine has started.
const SECOND_LOOK: Duration = Duration::from_secs(600);

impl SessionSettings {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> SessionSettings {
        SessionSettings {
            defaults: config.sessions.clone(),
            max_live: config.limits.live_sessions,
            ring_bytes: config.terminals.ring_bytes,
            scrollback_bytes: config.terminals.scrollback_bytes,
            container_env: config.container_env.clone(),
            base_url: config.server.base_url.clone(),
            harness_images: config.kubernetes.harness_images.clone(),
            gateway_base: config.gateway.api_base.clone(),
            gateway_key: config.gateway.api_key.clone(),
            second_look: SECOND_LOOK,
            preinstalled_repo: config.preinstalled_repo.clone(),
        }
    }
}

/// Time that single steps of a bring-up may take; all of them together have
/// [`SessionDefaults::bring_up_timeout`](crate::config::SessionDefaults::bring_up_timeout).
pub(super) mod timeouts {
    use super::Duration;

    /// Until a sandbox runs: in a cluster an image may have to be pulled.
    pub(in crate::session) const SANDBOX: Duration = Duration::from_secs(300);
    /// Until its keeper answers.
    pub(in crate::session) const KEEPER: Duration = Duration::from_secs(30);
    /// Until its files are there.
    pub(in crate::session) const FILES: Duration = Duration::from_secs(120);
    /// Until its repository is cloned.
    pub(in crate::session) const CLONE: Duration = Duration::from_secs(300);
    /// Until its requirements are installed, for each of the two commands that takes.
    pub(in crate::session) const INSTALL: Duration = Duration::from_secs(300);
}
