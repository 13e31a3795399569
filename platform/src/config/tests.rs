//! How layers cover each other, and how faults are told.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;

struct Home {
    folder: tempfile::TempDir,
    pairs: Vec<(String, String)>,
    flags: Vec<Flag>,
}

impl Home {
    fn new() -> Home {
        Home { folder: tempfile::tempdir().unwrap(), pairs: Vec::new(), flags: Vec::new() }
    }

    fn file(self, text: &str) -> Home {
        std::fs::create_dir_all(self.folder.path().join("config")).unwrap();
        std::fs::write(self.folder.path().join("config/config.toml"), text).unwrap();
        self
    }

    fn var(mut self, name: &str, value: &str) -> Home {
        self.pairs.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, flag: &'static str, key: &'static str, value: &str) -> Home {
        self.flags.push(Flag { key, flag, value: value.to_owned() });
        self
    }

    fn load(&self) -> Result<Config, ConfigFaults> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let dirs = [("LAP_CONFIG_DIR", "config"), ("LAP_DATA_DIR", "data"), ("LAP_STATE_DIR", "state")];
        let dirs = dirs.into_iter().map(|(variable, name)| (variable.to_owned(), at(name)));
        let environment = Environment::from_pairs(dirs.chain(self.pairs.clone()));
        Config::load(LoadOptions { environment, file: None, flags: self.flags.clone() })
    }

    fn faults(&self) -> Vec<String> {
        let faults = self.load().unwrap_err();
        faults.faults().iter().map(ToString::to_string).collect()
    }
}

#[test]
fn with_nothing_given_all_is_as_documented() {
    let config = Home::new().load().unwrap();
    assert_eq!((config.server.bind_host.as_str(), config.server.port), ("127.0.0.1", 4180));
    assert_eq!(config.sessions.reconcile_interval, Duration::from_secs(60));
    assert_eq!(config.sessions.idle_timeout, Duration::from_secs(86_400));
    assert_eq!(config.warm_pool.ttl, Duration::from_secs(30 * 60));
    assert_eq!(config.limits.body_bytes, 1024 * 1024);
    assert_eq!(config.terminals.ring_bytes as usize, lap_wire::limits::KEEPER_RING);
    assert!(config.database_url.expose().starts_with("sqlite:/"));
    assert!(config.database_url.expose().ends_with("/data/lap.db"));
    assert!(!config.is_set("server.port"));
    assert!(config.warnings.is_empty());
}

#[test]
fn the_environment_goes_over_the_file_and_flags_over_both() {
    let home = Home::new().file("[server]\nport = 1\nbind_host = \"0.0.0.0\"\nbase_url = \"http://file/\"\n");
    let home = home.var("PORT", "2").var("BASE_URL", "https://variable").flag("--port", "server.port", "3");
    let config = home.load().unwrap();
    assert_eq!(config.server.port, 3);
    assert_eq!(config.origin("server.port"), Origin::Flag("--port"));
    assert_eq!(config.server.base_url.as_deref(), Some("https://variable"));
    assert_eq!(config.origin("server.base_url"), Origin::Variable("BASE_URL".to_owned()));
    assert_eq!(config.server.bind_host, "0.0.0.0");
    assert!(matches!(config.origin("server.bind_host"), Origin::File { line: 3, .. }));
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let config = Home::new().file("[server]\nport = 7\n").var("PORT", "").load().unwrap();
    assert_eq!(config.server.port, 7);
}

#[test]
fn all_faults_of_all_layers_are_told_at_once_with_their_places() {
    let home = Home::new()
        .file("[server]\nprot = 1\nport = 70000\n\n[sesions]\nidle_timeout_seconds = 5\n\n[log]\nformat = [\"json\"]\n")
        .var("MASTER_KEY", "short")
        .var("WARM_POOL_SIZE", "two")
        .var("K8S_SKIP_TLS_VERIFY", "maybe")
        .flag("--bind", "server.bind_host", "not a host");
    let faults = home.faults();
    for (place, what) in [
        ("config.toml line 2", "there is no setting server.prot; did you mean server.port?"),
        ("config.toml line 3", "server.port must be a whole number from 0 to 65535, and \"70000\" is not"),
        ("config.toml line 5", "there is no setting sesions; did you mean sessions?"),
        ("config.toml line 9", "log.format takes one value, not a list"),
        ("environment variable MASTER_KEY", "secrets.master_key must be at least 8 characters long"),
        ("environment variable WARM_POOL_SIZE", "warm_pool.size must be a whole number from 0 to 1000"),
        ("environment variable K8S_SKIP_TLS_VERIFY", "must be true or false, and \"maybe\" is not"),
        ("--bind", "server.bind_host must be an IP address or a host name"),
    ] {
        let found = faults.iter().any(|fault| fault.contains(place) && fault.contains(what));
        assert!(found, "{place}: {what} is not among\n{}", faults.join("\n"));
    }
    assert_eq!(faults.len(), 8, "{}", faults.join("\n"));
    assert!(!faults.join("\n").contains("short"), "a wrong secret is still a secret");
    let whole = home.load().unwrap_err().to_string();
    assert!(whole.starts_with("the configuration has 8 faults:\n"), "{whole}");
}

#[test]
fn syntax_faults_are_told_with_their_lines() {
    let faults = Home::new().file("[server]\nport = \n\n[log\nfilter = \"x\"\n").faults();
    assert!(faults.iter().any(|fault| fault.contains("config.toml line 2")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("config.toml line 4")), "{faults:?}");
}

#[test]
fn a_good_name_in_the_wrong_section_is_told() {
    let faults = Home::new().file("[server]\nidle_timeout_seconds = 100\n").faults();
    assert!(faults[0].contains("did you mean sessions.idle_timeout_seconds?"), "{faults:?}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let home = Home::new().var("LAP_CONFIG", "/nonexistent/lap.toml");
    assert!(home.faults()[0].contains("/nonexistent/lap.toml"));
}

#[test]
fn names_of_the_users_own_come_from_file_and_environment() {
    let home = Home::new()
        .file("[container_env]\nA = \"file\"\nB = \"file\"\n[kubernetes.harness_images]\ncodex = \"i:1\"\n[ui.keys]\nquit = \"q\"\n[harness.shell]\ncommand = [\"fish\"]\n")
        .var("CONTAINER_ENV_A", "variable")
        .var("K8S_HARNESS_IMAGE", "all:1")
        .var("K8S_HARNESS_IMAGE_CLAUDE_CODE", "i:2");
    let config = home.load().unwrap();
    assert_eq!(config.container_env["A"], "variable");
    assert_eq!(config.container_env["B"], "file");
    assert_eq!(config.kubernetes.harness_images["claude-code"], "i:2");
    assert_eq!(config.kubernetes.harness_images["codex"], "i:1");
    assert_eq!(config.kubernetes.harness_image.as_deref(), Some("all:1"));
    assert_eq!(config.interface.keys["quit"].as_str(), Some("q"));
    assert!(config.harnesses.contains_key("shell"));
    let faults = Home::new().var("CONTAINER_ENV_1X", "y").var("CONTAINER_ENV_", "y").faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn a_variable_that_looks_like_ours_is_a_warning_not_a_fault() {
    let config = Home::new().var("LAP_THEEME", "dark").var("LAP_BASE_URL", "x").load().unwrap();
    assert_eq!(
        config.warnings,
        ["environment variable LAP_THEEME means nothing to lap; did you mean LAP_THEME?"]
    );
}

#[test]
fn every_public_variable_is_known() {
    let public = [
        "DATABASE_URL",
        "MASTER_KEY",
        "ENCRYPTION_KEY",
        "BASE_URL",
        "PORT",
        "BIND_HOST",
        "K8S_NAMESPACE",
        "K8S_API_SERVER",
        "K8S_SKIP_TLS_VERIFY",
        "KUBE_CONFIG_B64",
        "KUBECONFIG",
        "IN_CLUSTER",
        "K8S_IMAGE_PULL_POLICY",
        "K8S_HARNESS_IMAGE",
        "K8S_VAULT_IMAGE",
        "LITELLM_API_BASE",
        "LITELLM_API_KEY",
        "LITELLM_DEFAULT_MODEL",
        "PREINSTALLED_GITHUB_REPO",
        "RECONCILE_INTERVAL_SECONDS",
        "WARM_POOL_SIZE",
        "WARM_POOL_MAX_PROVISIONING",
        "WARM_POOL_TTL_MINUTES",
        "WARM_POOL_RECENT_AGENT_HOURS",
        "EGRESS_DEFAULT_DENY",
        "LINEAR_CLIENT_ID",
        "LINEAR_CLIENT_SECRET",
        "LINEAR_WEBHOOK_SECRET",
    ];
    for variable in public {
        assert!(SETTINGS.iter().any(|setting| setting.variable == variable), "{variable}");
    }
}

#[test]
fn names_of_settings_are_used_once() {
    let keys: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    let variables: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.variable).collect();
    assert_eq!((keys.len(), variables.len()), (SETTINGS.len(), SETTINGS.len()));
}

/// A value that is wrong for a setting, where one exists.
#[test]
fn every_setting_is_read_from_its_variable() {
    for setting in SETTINGS {
        let home = Home::new().var(setting.variable, if setting.secret { "x" } else { "\u{1}" });
        let free = [
            "server.allowed_origins",
            "sessions.default_harness",
            "log.filter",
            "ui.theme",
            "ui.prefix",
            "gateway.default_model",
            "kubernetes.kubeconfig",
            "kubernetes.harness_image",
            "kubernetes.keeper_image",
            "kubernetes.vault_image",
            "egress.allow_out",
            "egress.deny_out",
            "linear.client_id",
            "linear.client_secret",
            "linear.webhook_secret",
            "preinstalled_github_repo",
            "gateway.api_key",
            "kubernetes.kube_config_b64",
        ];
        match home.load() {
            Ok(config) => {
                assert!(free.contains(&setting.key), "{} takes anything", setting.key);
                assert!(config.is_set(setting.key));
            }
            Err(faults) => {
                assert_eq!(faults.faults().len(), 1, "{faults}");
                assert!(faults.to_string().contains(setting.key), "{faults}");
            }
        }
    }
}

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
    let home = Home::new()
        .file("[server]\nport = 9\n[egress]\nallow_out = [\"*.github.com\"]\n")
        .var("MASTER_KEY", "sk-master-0123456789abcdef")
        .var("DATABASE_URL", "postgres://lap:hunter2hunter2@db/lap?sslpassword=hunter2")
        .var("CONTAINER_ENV_TOKEN", "ghp_0123456789abcdef9f");
    let config = home.load().unwrap();
    let shown = config.render();
    for line in [
        "port = 9                                                 # ",
        "master_key = \"sk-master-…ef\"",
        "# environment variable MASTER_KEY",
        "bind_host = \"127.0.0.1\"",
        "allow_out = [\"*.github.com\"]",
        "TOKEN = \"ghp_…9f\"",
        "# api_base =",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains("hunter2") && !shown.contains("0123456789abcdef"), "{shown}");
    assert!(!format!("{config:?}").contains("hunter2"));
    // Commented or not, it is a file that can be read again.
    Home::new()
        .file(&shown.replace("\"sk-master-…ef\"", "\"12345678\"").replace("%E2%80%A6", "x"))
        .load()
        .unwrap();
}

#[test]
fn directories_follow_xdg_and_our_own_variables_go_first() {
    let dirs = |pairs: &[(&str, &str)]| Dirs::of(&Environment::from_pairs(pairs.iter().copied())).unwrap();
    let plain = dirs(&[("HOME", "/home/me")]);
    assert_eq!(plain.config, Path::new("/home/me/.config/lap"));
    assert_eq!(plain.data, Path::new("/home/me/.local/share/lap"));
    assert_eq!(plain.state, Path::new("/home/me/.local/state/lap"));
    assert_eq!(plain.runtime, Path::new("/home/me/.local/state/lap/run"));
    let xdg = dirs(&[("HOME", "/home/me"), ("XDG_DATA_HOME", "/x"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
    assert_eq!(
        (xdg.data.as_path(), xdg.runtime.as_path()),
        (Path::new("/x/lap"), Path::new("/run/user/1/lap"))
    );
    let own = dirs(&[("HOME", "/home/me"), ("XDG_DATA_HOME", "/x"), ("LAP_DATA_DIR", "/mine")]);
    assert_eq!(own.data, Path::new("/mine"));
}

#[test]
fn directories_are_made_for_their_owner_alone_and_open_ones_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let dirs = Dirs { config: at("c"), data: at("d/e"), state: at("s"), runtime: at("r") };
    dirs.create().unwrap();
    dirs.create().unwrap();
    assert_eq!(std::fs::metadata(at("d/e")).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(at("r"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = dirs.create().unwrap_err().to_string();
    assert!(refused.contains("chmod go-w"), "{refused}");
    let nowhere = Dirs { data: "/proc/lap".into(), ..dirs };
    std::fs::set_permissions(at("r"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let refused = nowhere.create().unwrap_err().to_string();
    assert!(refused.contains("/proc/lap") && refused.contains("LAP_DATA_DIR"), "{refused}");
}

#[test]
fn the_page_about_settings_has_all_of_them_and_no_others() {
    let page = include_str!("../../../docs/configuration.md");
    let (_, table) = page.split_once("## Settings").unwrap();
    let (table, _) = table.split_once("Tables with names").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let told: Vec<String> = SETTINGS
        .iter()
        .map(|setting| {
            let default = match (setting.default, setting.secret) {
                ("", true) => "secret".to_owned(),
                ("", false) => String::new(),
                (default, _) => format!("`{default}`"),
            };
            format!("| `{}` | `{}` | {default} | {} |", setting.key, setting.variable, setting.about)
        })
        .collect();
    assert_eq!(rows, told);
    for variable in
        settings::OTHER_VARIABLES.iter().filter(|name| name.ends_with("_DIR") || **name == "LAP_CONFIG")
    {
        assert!(page.contains(variable), "{variable}");
    }
}
