//! Values of settings out of their texts, with every fault noted.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::layers::{Given, Layers};
use super::settings::find;
use super::{
    Config, Dirs, Egress, Environment, Fault, Gateway, Interface, Kubernetes, Limits, Linear, LogFormat,
    Logging, Origin, Recording, Runtime, Secrets, ServerAddress, SessionDefaults, Terminals, WarmPool,
};
use crate::secret::{MasterKey, SecretKey, SecretText};

/// A pod that may speak to the cluster has it.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Longest time any setting may name, in seconds: a year.
const YEAR: u64 = 365 * 24 * 3600;

/// Reads every setting out of the layers. Where one is faulty its fault is noted and its default taken, so that all
/// others are still looked at.
pub(super) fn config(
    dirs: Dirs,
    environment: Environment,
    layers: Layers,
    faults: &mut Vec<Fault>,
) -> Config {
    let mut read = Reader { layers: &layers, faults };
    let database_url = read.database_url(&dirs);
    let server = ServerAddress {
        bind_host: read.host("server.bind_host"),
        port: read.whole("server.port", 0..=65_535),
        base_url: read.url("server.base_url"),
        allowed_origins: read.list("server.allowed_origins"),
    };
    let secrets = Secrets {
        master_key: read.key("secrets.master_key", MasterKey::MIN_CHARS),
        encryption_key: read.key("secrets.encryption_key", SecretKey::MIN_CHARS),
        keyring: read.truth("secrets.keyring"),
    };
    let limits = Limits {
        body_bytes: read.whole("limits.body_bytes", 16 * 1024..=1 << 30),
        attachment_body_bytes: read.whole("limits.attachment_body_bytes", 16 * 1024..=1 << 30),
        connections: read.whole("limits.connections", 1..=1 << 20),
        attach_sockets: read.whole("limits.attach_sockets", 1..=1 << 20),
        event_streams: read.whole("limits.event_streams", 1..=1 << 20),
        viewers_per_session: read.whole("limits.viewers_per_session", 1..=4096),
        live_sessions: read.whole("limits.live_sessions", 1..=1 << 20),
        header_timeout: read.seconds("limits.header_timeout_seconds", 1..=300),
        request_timeout: read.seconds("limits.request_timeout_seconds", 1..=3600),
        drain: read.seconds("limits.drain_seconds", 0..=3600),
    };
    let sessions = SessionDefaults {
        harness: read.text("sessions.default_harness").unwrap_or_default(),
        idle_timeout: read.seconds("sessions.idle_timeout_seconds", 60..=YEAR),
        bring_up_timeout: read.seconds("sessions.bring_up_timeout_seconds", 1..=24 * 3600),
        turn_timeout: read.seconds("sessions.turn_timeout_seconds", 1..=24 * 3600),
        stop_grace: read.seconds("sessions.stop_grace_seconds", 0..=3600),
        workspace_retention: read.seconds_times(24 * 3600, "sessions.workspace_retention_days", 0..=3650),
        retention: read.seconds_times(24 * 3600, "sessions.retention_days", 0..=3650),
        reconcile_interval: read.seconds("sessions.reconcile_interval_seconds", 1..=3600),
        lease: read.seconds("sessions.lease_seconds", 5..=3600),
    };
    let terminals = Terminals {
        ring_bytes: read.ring_bytes(),
        scrollback_bytes: read.whole("terminals.scrollback_bytes", 0..=256 << 20),
    };
    let recording = Recording {
        enabled: read.truth("recording.enabled"),
        session_bytes: read.whole("recording.session_bytes", 64 * 1024..=1 << 40),
        total_bytes: read.whole("recording.total_bytes", 64 * 1024..=1 << 50),
    };
    let logging = Logging {
        filter: read.text("log.filter").unwrap_or_default(),
        format: match read.one_of("log.format", &["text", "json"]) {
            "json" => LogFormat::Json,
            _ => LogFormat::Text,
        },
    };
    let interface = Interface {
        theme: read.text("ui.theme").unwrap_or_default(),
        prefix: read.text("ui.prefix").unwrap_or_default(),
        keys: layers.keys.clone(),
    };
    let gateway = Gateway {
        api_base: read.url("gateway.api_base"),
        api_key: read.text("gateway.api_key").map(SecretText::from),
        default_model: read.text("gateway.default_model"),
    };
    let kubernetes = Kubernetes {
        namespace: read.namespace(),
        api_server: read.url("kubernetes.api_server"),
        skip_tls_verify: read.truth("kubernetes.skip_tls_verify"),
        kube_config_b64: read.text("kubernetes.kube_config_b64").map(SecretText::from),
        kubeconfig: read.text("kubernetes.kubeconfig"),
        in_cluster: read.text("kubernetes.in_cluster").map(|_| read.truth("kubernetes.in_cluster")),
        image_pull_policy: read
            .one_of("kubernetes.image_pull_policy", &["Always", "IfNotPresent", "Never"])
            .to_owned(),
        harness_image: read.text("kubernetes.harness_image"),
        harness_images: read.named("kubernetes.harness_images"),
        keeper_image: read.text("kubernetes.keeper_image").unwrap_or_default(),
        keeper_by: read
            .one_of("kubernetes.keeper_by", &["auto", "image-volume", "init-container"])
            .to_owned(),
        vault_image: read.text("kubernetes.vault_image"),
    };
    let in_cluster = kubernetes.in_cluster.unwrap_or_else(|| Path::new(SERVICE_ACCOUNT).exists());
    let runtime = match read.one_of("sessions.runtime", &["auto", "local", "kubernetes"]) {
        "local" => Runtime::Local,
        "kubernetes" => Runtime::Kubernetes,
        _ if in_cluster || read.is_given("kubernetes.namespace") => Runtime::Kubernetes,
        _ => Runtime::Local,
    };
    let warm_pool = WarmPool {
        size: read.whole("warm_pool.size", 0..=1000),
        max_provisioning: read.whole("warm_pool.max_provisioning", 1..=100),
        ttl: read.seconds_times(60, "warm_pool.ttl_minutes", 1..=7 * 24 * 60),
        recent_agent: read.seconds_times(3600, "warm_pool.recent_agent_hours", 1..=365 * 24),
    };
    let egress = Egress {
        default_deny: read.truth("egress.default_deny"),
        allow_private: read.truth("egress.allow_private"),
        allow_out: read.list("egress.allow_out"),
        deny_out: read.list("egress.deny_out"),
    };
    let linear = Linear {
        client_id: read.text("linear.client_id"),
        client_secret: read.text("linear.client_secret").map(SecretText::from),
        webhook_secret: read.text("linear.webhook_secret").map(SecretText::from),
    };
    let preinstalled_repo = read.text("preinstalled_github_repo");
    let container_env = read.container_env();
    let (harnesses, warnings) = (layers.harnesses.clone(), layers.warnings.clone());
    Config {
        dirs,
        environment,
        server,
        database_url,
        secrets,
        limits,
        sessions,
        terminals,
        recording,
        logging,
        interface,
        gateway,
        kubernetes,
        runtime,
        warm_pool,
        egress,
        linear,
        preinstalled_repo,
        container_env,
        harnesses,
        warnings,
        layers,
    }
}

struct Reader<'a> {
    layers: &'a Layers,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    /// What is given, else the default; `None` where both are empty.
    fn text(&mut self, key: &'static str) -> Option<String> {
        match self.layers.values.get(key) {
            Some((Given::Text(text), _)) => Some(text.clone()).filter(|text| !text.is_empty()),
            Some((Given::Items(_), _)) => {
                self.fault(key, "takes one value, not a list");
                default(key)
            }
            None => default(key),
        }
    }

    fn fault(&mut self, key: &str, message: &str) {
        let origin = Some(self.layers.origin(key)).filter(|origin| *origin != Origin::Default);
        self.faults.push(Fault { origin, message: format!("{key} {message}") });
    }

    /// What is given, parsed; after a fault the default, parsed.
    fn parsed<T>(&mut self, key: &'static str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).or_else(|| {
            // A secret that is wrong is still a secret.
            let shown = if find(key).is_some_and(|setting| setting.secret) {
                "what is given".to_owned()
            } else {
                format!("\"{text}\"")
            };
            self.fault(key, &format!("must be {wanted}, and {shown} is not"));
            default(key).and_then(|text| parse(&text))
        })
    }

    fn whole<T: TryFrom<u64> + Default>(&mut self, key: &'static str, range: RangeInclusive<u64>) -> T {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(key, &wanted, |text| {
            text.parse()
                .ok()
                .filter(|number| range.contains(number))
                .and_then(|number| T::try_from(number).ok())
        })
        .unwrap_or_default()
    }

    fn seconds(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.whole(key, range))
    }

    fn seconds_times(&mut self, unit: u64, key: &'static str, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(unit * self.whole::<u64>(key, range))
    }

    fn truth(&mut self, key: &'static str) -> bool {
        self.parsed(key, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
        .unwrap_or_default()
    }

    fn one_of(&mut self, key: &'static str, words: &'static [&'static str]) -> &'static str {
        let wanted = format!("one of {}", words.join(", "));
        self.parsed(key, &wanted, |text| words.iter().copied().find(|word| *word == text)).unwrap_or_default()
    }

    /// Whether somebody has said it, and be it what it is anyway.
    fn is_given(&self, key: &'static str) -> bool {
        self.layers.values.contains_key(key)
    }

    fn list(&mut self, key: &'static str) -> Vec<String> {
        match self.layers.values.get(key) {
            Some((Given::Items(items), _)) => items.clone(),
            Some((Given::Text(text), _)) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            }
            None => Vec::new(),
        }
    }

    fn url(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, "a URL that begins with http:// or https://", |text| {
            let url = reqwest::Url::parse(text).ok()?;
            let fits = matches!(url.scheme(), "http" | "https") && url.has_host();
            fits.then(|| text.trim_end_matches('/').to_owned())
        })
    }

    fn host(&mut self, key: &'static str) -> String {
        self.parsed(key, "an IP address or a host name, without a port", |text| {
            let name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            let fits =
                bare.parse::<std::net::IpAddr>().is_ok() || (!bare.is_empty() && bare.chars().all(name));
            fits.then(|| bare.to_owned())
        })
        .unwrap_or_default()
    }

    fn key(&mut self, key: &'static str, least: usize) -> Option<SecretText> {
        let wanted = format!("at least {least} characters long");
        self.parsed(key, &wanted, |text| (text.chars().count() >= least).then(|| SecretText::from(text)))
    }

    fn ring_bytes(&mut self) -> u32 {
        let (least, most) = (64 * 1024, 256 << 20);
        let wanted = format!("a power of two from {least} to {most}");
        self.parsed("terminals.ring_bytes", &wanted, |text| {
            text.parse().ok().filter(|bytes: &u32| bytes.is_power_of_two() && (least..=most).contains(bytes))
        })
        .unwrap_or_default()
    }

    fn namespace(&mut self) -> String {
        let wanted = "a Kubernetes namespace: lower case letters, digits and dashes, at most 63";
        self.parsed("kubernetes.namespace", wanted, |text| {
            let fits = text.len() <= 63
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !text.starts_with('-')
                && !text.ends_with('-');
            fits.then(|| text.to_owned())
        })
        .unwrap_or_default()
    }

    fn database_url(&mut self, dirs: &Dirs) -> SecretText {
        let wanted = "sqlite:<path> or postgres://user:password@host/database";
        let default = || format!("sqlite:{}", dirs.data.join("lap.db").display());
        let url = self.parsed("database.url", wanted, |text| {
            let known = ["sqlite:", "postgres://", "postgresql://"];
            known
                .iter()
                .any(|scheme| text.starts_with(scheme) && text.len() > scheme.len())
                .then(|| text.to_owned())
        });
        SecretText::from(url.unwrap_or_else(default))
    }

    fn named(&self, table: &str) -> BTreeMap<String, String> {
        let named = self.layers.named.get(table).into_iter().flatten();
        named.map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    }

    fn container_env(&mut self) -> BTreeMap<String, String> {
        for (name, (_, origin)) in self.layers.named.get("container_env").into_iter().flatten() {
            let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !name.starts_with(|c: char| c.is_ascii_digit());
            if !fits {
                let message = format!("\"{name}\" is no name for a variable: letters, digits and _ only");
                self.faults.push(Fault { origin: Some(origin.clone()), message });
            }
        }
        self.named("container_env")
    }
}

fn default(key: &str) -> Option<String> {
    find(key).map(|setting| setting.default.to_owned()).filter(|text| !text.is_empty())
}
