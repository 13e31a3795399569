//! The table of all settings: key, variable, default, description.

/// One setting: its names in each layer, its default and its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its dotted name in the file.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// What it is when nobody sets it; empty where it is then absent.
    pub default: &'static str,
    /// Whether it is never shown.
    pub secret: bool,
    /// What it does, in a line.
    pub about: &'static str,
}

const fn plain(
    key: &'static str,
    variable: &'static str,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting { key, variable, default, secret: false, about }
}

const fn secret(key: &'static str, variable: &'static str, about: &'static str) -> Setting {
    Setting { key, variable, default: "", secret: true, about }
}

/// All of them, in the order in which they are shown. Times are in seconds and sizes in bytes unless the name says
/// otherwise.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    plain("server.bind_host", "BIND_HOST", "127.0.0.1", "the address or host name to listen on"),
    plain("server.port", "PORT", "4180", "the port to listen on; 0 takes any free one"),
    plain("server.base_url", "BASE_URL", "", "the URL clients and sandboxes reach the server under"),
    plain("server.allowed_origins", "LAP_ALLOWED_ORIGINS", "", "web origins besides its own that may open terminals"),
    secret("database.url", "DATABASE_URL", "sqlite:PATH, or postgres://… for lap-server; lap.db in the data directory when absent"),
    secret("secrets.master_key", "MASTER_KEY", "opens the whole API, at least 8 characters; made when absent"),
    secret("secrets.encryption_key", "ENCRYPTION_KEY", "encrypts what is stored, at least 16 characters; made when absent"),
    plain("secrets.keyring", "LAP_KEYRING", "true", "whether keys may be kept in the system's keyring"),
    plain("limits.body_bytes", "LAP_BODY_BYTES", "1048576", "bytes of a request's body"),
    plain("limits.attachment_body_bytes", "LAP_ATTACHMENT_BODY_BYTES", "73400320", "bytes of a request's body with attachments"),
    plain("limits.connections", "LAP_CONNECTIONS", "4096", "open connections"),
    plain("limits.attach_sockets", "LAP_ATTACH_SOCKETS", "1024", "open attach sockets and simple terminals"),
    plain("limits.event_streams", "LAP_EVENT_STREAMS", "512", "open event streams"),
    plain("limits.viewers_per_session", "LAP_VIEWERS_PER_SESSION", "64", "viewers of one terminal"),
    plain("limits.live_sessions", "LAP_LIVE_SESSIONS", "1024", "live sessions on the server"),
    plain("limits.header_timeout_seconds", "LAP_HEADER_TIMEOUT_SECONDS", "10", "time for a request's head to arrive"),
    plain("limits.request_timeout_seconds", "LAP_REQUEST_TIMEOUT_SECONDS", "60", "time for a request that is not a stream or a wait"),
    plain("limits.drain_seconds", "LAP_DRAIN_SECONDS", "10", "time viewers and requests have to leave when the server stops"),
    plain("sessions.default_harness", "LAP_DEFAULT_HARNESS", "opencode", "the harness of an agent that names none"),
    plain("sessions.idle_timeout_seconds", "LAP_IDLE_TIMEOUT_SECONDS", "86400", "without activity for this long a session ends"),
    plain("sessions.bring_up_timeout_seconds", "LAP_BRING_UP_TIMEOUT_SECONDS", "600", "time for a session to come up"),
    plain("sessions.turn_timeout_seconds", "LAP_TURN_TIMEOUT_SECONDS", "1800", "time for one turn of a conversation"),
    plain("sessions.stop_grace_seconds", "LAP_STOP_GRACE_SECONDS", "10", "time between SIGTERM and SIGKILL"),
    plain("sessions.retention_days", "LAP_RETENTION_DAYS", "30", "days a session that has ended is kept, with its log and recording; 0: for ever"),
    plain("sessions.workspace_retention_days", "LAP_WORKSPACE_RETENTION_DAYS", "14", "days the workspace of a session that has ended is kept; 0: for ever"),
    plain("sessions.runtime", "LAP_RUNTIME", "auto", "local or kubernetes; auto: kubernetes in a cluster and where K8S_NAMESPACE is set"),
    plain("sessions.reconcile_interval_seconds", "RECONCILE_INTERVAL_SECONDS", "60", "time between two looks at all sandboxes"),
    plain("sessions.lease_seconds", "LAP_LEASE_SECONDS", "30", "time after which another server goes on with a session whose server is gone"),
    plain("terminals.ring_bytes", "LAP_RING_BYTES", "4194304", "output retained per terminal for exact resume; a power of two"),
    plain("terminals.scrollback_bytes", "LAP_SCROLLBACK_BYTES", "1048576", "scrollback kept per terminal"),
    plain("recording.enabled", "LAP_RECORDING", "true", "whether terminals are recorded"),
    plain("recording.session_bytes", "LAP_RECORDING_SESSION_BYTES", "67108864", "bytes one session's recording may take"),
    plain("recording.total_bytes", "LAP_RECORDING_TOTAL_BYTES", "2147483648", "bytes all recordings may take; the oldest go first"),
    plain("log.filter", "LAP_LOG", "info", "what is logged: a level, or module=level,…"),
    plain("log.format", "LAP_LOG_FORMAT", "text", "text or json"),
    plain("ui.theme", "LAP_THEME", "auto", "auto (as the terminal is), dark, light, plain, mono, or a file's name in themes/"),
    plain("ui.prefix", "LAP_PREFIX", "ctrl-]", "the one key that a pane does not pass on to the program"),
    plain("gateway.api_base", "LITELLM_API_BASE", "", "the model gateway's URL"),
    secret("gateway.api_key", "LITELLM_API_KEY", "the model gateway's key"),
    plain("gateway.default_model", "LITELLM_DEFAULT_MODEL", "", "the model of an agent made without one"),
    plain("kubernetes.namespace", "K8S_NAMESPACE", "default", "where sandboxes go"),
    plain("kubernetes.api_server", "K8S_API_SERVER", "", "the cluster's API server"),
    plain("kubernetes.skip_tls_verify", "K8S_SKIP_TLS_VERIFY", "false", "whether its certificate goes unchecked"),
    secret("kubernetes.kube_config_b64", "KUBE_CONFIG_B64", "a kubectl configuration in base64"),
    plain("kubernetes.kubeconfig", "KUBECONFIG", "", "a kubectl configuration's path"),
    plain("kubernetes.in_cluster", "IN_CLUSTER", "", "whether the server runs in the cluster itself; found out when absent"),
    plain("kubernetes.image_pull_policy", "K8S_IMAGE_PULL_POLICY", "IfNotPresent", "Always, IfNotPresent or Never"),
    plain("kubernetes.harness_image", "K8S_HARNESS_IMAGE", "", "the image of harnesses that have none of their own"),
    plain("kubernetes.keeper_image", "LAP_KEEPER_IMAGE", "lap-keeper:0.1.0", "the image with the keeper's program"),
    plain("kubernetes.keeper_by", "LAP_KEEPER_BY", "auto", "how the keeper comes into a pod: auto, image-volume or init-container"),
    plain("kubernetes.vault_image", "K8S_VAULT_IMAGE", "", "the vault's image"),
    plain("warm_pool.size", "WARM_POOL_SIZE", "2", "sandboxes kept ready"),
    plain("warm_pool.max_provisioning", "WARM_POOL_MAX_PROVISIONING", "2", "of them coming up at a time"),
    plain("warm_pool.ttl_minutes", "WARM_POOL_TTL_MINUTES", "30", "for how long one is kept"),
    plain("warm_pool.recent_agent_hours", "WARM_POOL_RECENT_AGENT_HOURS", "24", "for how long after its last use an image is kept warm"),
    plain("egress.default_deny", "EGRESS_DEFAULT_DENY", "false", "whether sandboxes whose agent does not say reach nothing"),
    plain("egress.allow_private", "EGRESS_ALLOW_PRIVATE", "false", "whether sandboxes may reach private addresses"),
    plain("egress.allow_out", "EGRESS_ALLOW_OUT", "", "hosts every sandbox may reach"),
    plain("egress.deny_out", "EGRESS_DENY_OUT", "", "hosts no sandbox may reach"),
    plain("linear.client_id", "LINEAR_CLIENT_ID", "", "the Linear application's id"),
    secret("linear.client_secret", "LINEAR_CLIENT_SECRET", "the Linear application's secret"),
    secret("linear.webhook_secret", "LINEAR_WEBHOOK_SECRET", "signs what Linear sends"),
    plain("preinstalled_github_repo", "PREINSTALLED_GITHUB_REPO", "", "the repository of sessions whose agent names none"),
];

/// Tables of the file with names of the user's own in them.
pub(super) const OPEN_TABLES: &[&str] = &["container_env", "harness", "kubernetes.harness_images", "ui.keys"];

/// Variables of ours that are no settings: read before the settings are, or by programs inside sandboxes.
pub(super) const OTHER_VARIABLES: &[&str] = &[
    "LAP_CONFIG",
    "LAP_CONFIG_DIR",
    "LAP_DATA_DIR",
    "LAP_STATE_DIR",
    "LAP_RUNTIME_DIR",
    "LAP_CONTEXT",
    "LAP_URL",
    "LAP_API_KEY",
    "LAP_BASE_URL",
    "LAP_AGENT_TOKEN",
    "LAP_SESSION_ID",
];

/// The setting of that name.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// What somebody who wrote this name may have meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known)
}
