//! A whole configuration as values.

use std::time::Duration;

use crate::secret::SecretText;

/// Where the server listens, and what it is called from outside.
#[derive(Clone, Debug)]
pub struct ServerAddress {
    /// The address or host name to listen on.
    pub bind_host: String,
    /// The port to listen on; 0 takes any free one.
    pub port: u16,
    /// The URL clients and sandboxes reach it under, without a slash at the end.
    pub base_url: Option<String>,
    /// Web origins besides its own that may open terminals.
    pub allowed_origins: Vec<String>,
}

/// Keys.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Opens the whole API; made where it is not set.
    pub master_key: Option<SecretText>,
    /// Encrypts what is stored; made where it is not set.
    pub encryption_key: Option<SecretText>,
    /// Whether a made key may be kept in the system's keyring.
    pub keyring: bool,
}

/// What the server takes at most. Over it, a clear refusal.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of a request's body that carries attachments: ten of 5 MiB in base64, and the rest.
    pub attachment_body_bytes: usize,
    /// Open connections.
    pub connections: usize,
    /// Open attach sockets and simple terminals.
    pub attach_sockets: usize,
    /// Open event streams.
    pub event_streams: usize,
    /// Viewers of one terminal.
    pub viewers_per_session: usize,
    /// Live sessions on this server.
    pub live_sessions: usize,
    /// Time for a request's head to arrive.
    pub header_timeout: Duration,
    /// Time for a request that is not a stream or a wait.
    pub request_timeout: Duration,
    /// Time viewers and requests have to leave when the server stops.
    pub drain: Duration,
}

/// How sessions come up and end.
#[derive(Clone, Debug)]
pub struct SessionDefaults {
    /// The harness of an agent that names none.
    pub harness: String,
    /// Without activity for this long a session ends, where its agent does not say.
    pub idle_timeout: Duration,
    /// Time for the whole bring-up.
    pub bring_up_timeout: Duration,
    /// Time for one turn of a conversation.
    pub turn_timeout: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// Time the workspace of a session that has ended is kept; zero: for ever.
    pub workspace_retention: Duration,
    /// How long a session that has ended is kept, with its recording; zero: for ever.
    pub retention: Duration,
    /// Time between two looks at everything, besides those on events.
    pub reconcile_interval: Duration,
    /// Time for which a server that brings a session up holds it before another may go on.
    pub lease: Duration,
}

/// What is kept of terminals.
#[derive(Clone, Debug)]
pub struct Terminals {
    /// Bytes of output a keeper retains per terminal for exact resume; a power of two.
    pub ring_bytes: u32,
    /// Bytes of scrollback the keeper's model keeps.
    pub scrollback_bytes: u32,
}

/// Recordings of terminals.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Whether terminals are recorded.
    pub enabled: bool,
    /// Bytes one session's recording may take.
    pub session_bytes: u64,
    /// Bytes all recordings together may take; the oldest of ended sessions go first.
    pub total_bytes: u64,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Logging {
    /// What is logged, as `tracing`'s filters are written.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object each.
    Json,
}

/// The dashboard and panes.
#[derive(Clone, Debug)]
pub struct Interface {
    /// A theme's name: one of the built-in ones, or of a file in `themes/` of the configuration directory; `auto`
    /// is the one that fits the terminal's background.
    pub theme: String,
    /// The one key that a pane does not pass on to the program, as `ctrl-b`.
    pub prefix: String,
    /// `[ui.keys]`: keys by action.
    pub keys: toml::Table,
}

/// The model gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its URL.
    pub api_base: Option<String>,
    /// Its key.
    pub api_key: Option<SecretText>,
    /// The model of an agent made without one.
    pub default_model: Option<String>,
}

/// Where sandboxes run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runtime {
    /// On the server's own machine.
    Local,
    /// In a cluster, each a pod.
    Kubernetes,
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Where sandboxes go.
    pub namespace: String,
    /// Its API server, where the configuration of kubectl does not say.
    pub api_server: Option<String>,
    /// Whether its certificate goes unchecked.
    pub skip_tls_verify: bool,
    /// A kubectl configuration in base64.
    pub kube_config_b64: Option<SecretText>,
    /// A kubectl configuration's path.
    pub kubeconfig: Option<String>,
    /// Whether the server runs in the cluster itself.
    pub in_cluster: Option<bool>,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// The image of harnesses that have none of their own.
    pub harness_image: Option<String>,
    /// Images by harness id: `K8S_HARNESS_IMAGE_<ID>`, or `[kubernetes.harness_images]` in the file.
    pub harness_images: std::collections::BTreeMap<String, String>,
    /// The keeper's image: `/lap-keeper` in it is the program.
    pub keeper_image: String,
    /// How the keeper comes into a pod: `auto`, `image-volume` or `init-container`.
    pub keeper_by: String,
    /// The vault's image.
    pub vault_image: Option<String>,
}

/// Sandboxes kept ready.
#[derive(Clone, Debug)]
pub struct WarmPool {
    /// How many.
    pub size: u32,
    /// How many come up at a time.
    pub max_provisioning: u32,
    /// For how long one is kept.
    pub ttl: Duration,
    /// For how long after its last use an image is kept warm.
    pub recent_agent: Duration,
}

/// What sandboxes may reach when their agent does not say.
#[derive(Clone, Debug)]
pub struct Egress {
    /// Whether nothing.
    pub default_deny: bool,
    /// Whether private addresses.
    pub allow_private: bool,
    /// Hosts every sandbox may reach.
    pub allow_out: Vec<String>,
    /// Hosts no sandbox may reach.
    pub deny_out: Vec<String>,
}

/// Linear.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The application's id.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<SecretText>,
    /// Signs what Linear sends.
    pub webhook_secret: Option<SecretText>,
}
