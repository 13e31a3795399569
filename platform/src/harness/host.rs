//! What a program on this machine is given of its user's environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::Environment;
use crate::model::EnvVars;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Used where the user has no shell that could be started.
pub(super) const FALLBACK_SHELL: &str = "/bin/sh";

/// What of the user's own environment a terminal on one machine is given: who and where they are, their language,
/// where their programs and files are, how to reach the network and the desktop. Nothing else: a server started from a
/// shell with secrets in its environment does not hand them on.
const GIVEN: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "SSH_AUTH_SOCK",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "BROWSER",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
];
/// As [`GIVEN`], by how they begin.
const GIVEN_PREFIXES: &[&str] = &["LC_"];

/// The machine and user a local terminal runs on and as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// The login shell: of the environment, of the user's account, or `/bin/sh`; one that can be started.
    pub shell: String,
    /// Where programs are looked for.
    pub path: String,
    environment: EnvVars,
}

impl Host {
    /// As this environment has it.
    #[must_use]
    pub fn of(environment: &Environment) -> Host {
        let account = Account::of(
            rustix::process::getuid().as_raw(),
            &fs::read_to_string("/etc/passwd").unwrap_or_default(),
        );
        let shells = [environment.filled("SHELL"), account.as_ref().map(|a| a.shell.as_str())];
        let shell = shells.into_iter().flatten().find(|shell| can_log_in(shell)).unwrap_or(FALLBACK_SHELL);
        let path = environment.filled("PATH").unwrap_or(DEFAULT_PATH);
        let mut all: EnvVars =
            environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        all.insert("SHELL".to_owned(), shell.to_owned());
        all.insert("PATH".to_owned(), path.to_owned());
        if let Some(account) = &account {
            all.entry("HOME".to_owned()).or_insert_with(|| account.home.clone());
            all.entry("USER".to_owned()).or_insert_with(|| account.name.clone());
            all.entry("LOGNAME".to_owned()).or_insert_with(|| account.name.clone());
        }
        Host { shell: shell.to_owned(), path: path.to_owned(), environment: all }
    }

    /// What a terminal is given of the user's own environment, and the variables its harness asks for besides.
    #[must_use]
    pub fn given(&self, besides: &[String]) -> EnvVars {
        let given = |name: &str| {
            GIVEN.contains(&name)
                || GIVEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || besides.iter().any(|wanted| wanted == name)
        };
        let own = self.environment.iter().filter(|(name, _)| given(name));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Accounts that nobody logs in to have one of these for a shell.
fn can_log_in(shell: &str) -> bool {
    let path = Path::new(shell);
    let refuses = path.file_name().is_none_or(|name| name == "nologin" || name == "false");
    let executable = |m: fs::Metadata| m.is_file() && m.permissions().mode() & 0o111 != 0;
    path.is_absolute() && !refuses && fs::metadata(path).is_ok_and(executable)
}

/// What is known of a user.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Account {
    name: String,
    home: String,
    shell: String,
}

impl Account {
    /// The user with this id, from the text of `/etc/passwd`.
    fn of(uid: u32, passwd: &str) -> Option<Account> {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, id, _, _, home, shell] = fields.as_slice() else { return None };
            (id.parse() == Ok(uid)).then(|| Account {
                name: (*name).to_owned(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_one_that_can_be_started() {
        let shell = |value: &str| Host::of(&Environment::from_pairs([("SHELL", value)])).shell;
        assert_eq!(shell("/bin/sh"), "/bin/sh");
        for bad in ["/usr/sbin/nologin", "/bin/false", "relative/sh", "/nonexistent/shell", ""] {
            assert!(can_log_in(&shell(bad)), "{bad:?} must not be used");
            assert_ne!(shell(bad), bad);
        }
    }

    #[test]
    fn only_what_is_listed_or_asked_for_is_given() {
        let environment = Environment::from_pairs([
            ("HOME", "/home/a"),
            ("LC_TIME", "C"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("OPENAI_API_KEY", "k"),
        ]);
        let host = Host::of(&environment);
        let given = host.given(&["OPENAI_API_KEY".to_owned()]);
        assert_eq!(given["HOME"], "/home/a");
        assert_eq!(given["LC_TIME"], "C");
        assert_eq!(given["OPENAI_API_KEY"], "k");
        assert_eq!(given["PATH"], DEFAULT_PATH);
        assert!(!given.contains_key("AWS_SECRET_ACCESS_KEY"));
        assert!(!host.given(&[]).contains_key("OPENAI_API_KEY"));
    }

    #[test]
    fn an_account_is_found_by_its_id() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nann:x:1000:1000:Ann,,,:/home/ann:/bin/zsh\n";
        assert_eq!(Account::of(1000, passwd).unwrap().shell, "/bin/zsh");
        assert_eq!(Account::of(7, passwd), None);
    }
}
