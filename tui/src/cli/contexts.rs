//! The servers that are known: `contexts.toml` in the configuration directory, their keys in the system's keyring or
//! in `credentials.toml` beside it, for its owner alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lap_platform::config::Config;
use lap_platform::secret::{Keyring, SecretText};
use serde::{Deserialize, Serialize};

use super::fault::{Exit, Fault};

/// The context that is this machine's own server. It needs no entry and no key.
pub(super) const LOCAL: &str = "local";
const FILE: &str = "contexts.toml";
const CREDENTIALS: &str = "credentials.toml";
/// The longest name of a context.
const MAX_NAME: usize = 64;

/// Named servers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contexts {
    /// The one that is talked to when none is named; this machine's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(super) context: BTreeMap<String, Server>,
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// Its address.
    pub(super) url: String,
}

impl Contexts {
    pub(super) fn load(config: &Config) -> Result<Contexts, Fault> {
        let path = config.dirs.config.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                Fault::usage(format!("{} is not as it should be: {}", path.display(), error.message()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Contexts::default()),
            Err(error) => Err(Fault::new(Exit::Failed, format!("cannot read {}: {error}", path.display()))),
        }
    }

    pub(super) fn save(&self, config: &Config) -> Result<(), Fault> {
        let text = toml::to_string(self).map_err(|error| Fault::new(Exit::Failed, error.to_string()))?;
        write_whole(&config.dirs.config.join(FILE), &text)
    }

    /// The server of a name.
    pub(super) fn get(&self, name: &str) -> Result<&Server, Fault> {
        self.context.get(name).ok_or_else(|| {
            let known: Vec<&str> =
                std::iter::once(LOCAL).chain(self.context.keys().map(String::as_str)).collect();
            Fault::new(Exit::NotFound, format!("there is no context {name}"))
                .hint(format!("there are: {}\n`lap login <url>` makes another", known.join(", ")))
        })
    }
}

/// Whether a context can have that name.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name == LOCAL {
        return Err(Fault::usage("\"local\" is this machine's own server: choose another name with --name"));
    }
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
        return Err(Fault::usage(format!(
            "a context's name has 1 to {MAX_NAME} letters, digits, dots, dashes or underscores"
        )));
    }
    Ok(())
}

/// Where keys are kept.
pub(super) struct Keys {
    keyring: Option<Keyring>,
    path: PathBuf,
}

/// Where a key went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    Keyring,
    File,
}

impl Keys {
    pub(super) fn of(config: &Config) -> Keys {
        let keyring = config.secrets.keyring.then(|| Keyring::of(&config.environment)).flatten();
        Keys { keyring, path: config.dirs.config.join(CREDENTIALS) }
    }

    /// The key of a context.
    pub(super) fn get(&self, name: &str) -> Result<Option<SecretText>, Fault> {
        if let Some(key) = self.read()?.remove(name) {
            return Ok(Some(SecretText::from(key)));
        }
        match self.keyring.as_ref().map(|keyring| keyring.get(&entry(name))) {
            Some(Ok(key)) => Ok(key.map(|key| SecretText::from(key.as_str()))),
            Some(Err(reason)) => {
                Err(Fault::new(Exit::NotAllowed, format!("the keyring gives no key: {reason}"))
                    .hint("unlock it, or set LAP_API_KEY"))
            }
            None => Ok(None),
        }
    }

    /// Keeps a key; in the keyring where it answers, else in the file.
    pub(super) fn set(&self, name: &str, key: &SecretText) -> Result<Kept, Fault> {
        let kept =
            self.keyring.as_ref().is_some_and(|keyring| keyring.set(&entry(name), key.expose()).is_ok());
        let mut all = self.read()?;
        if kept {
            if all.remove(name).is_some() {
                self.write(&all)?;
            }
            return Ok(Kept::Keyring);
        }
        all.insert(name.to_owned(), key.expose().to_owned());
        self.write(&all)?;
        Ok(Kept::File)
    }

    /// Forgets a key, wherever it is.
    pub(super) fn remove(&self, name: &str) -> Result<(), Fault> {
        let mut all = self.read()?;
        if all.remove(name).is_some() {
            self.write(&all)?;
        }
        match self.keyring.as_ref().map(|keyring| keyring.remove(&entry(name))) {
            Some(Err(reason)) => {
                Err(Fault::new(Exit::Failed, format!("the keyring keeps the key: {reason}")))
            }
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<BTreeMap<String, String>, Fault> {
        let path = self.path.display();
        let status = match fs::metadata(&self.path) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(Fault::new(Exit::Failed, format!("cannot read {path}: {error}"))),
        };
        if status.mode() & 0o077 != 0 {
            return Err(Fault::new(Exit::NotAllowed, format!("{path} can be read by others"))
                .hint(format!("run `chmod 600 {path}`")));
        }
        let text = fs::read_to_string(&self.path)?;
        // Its text may be a key: the parser's words, which quote it, stay out.
        toml::from_str(&text)
            .map_err(|_| Fault::usage(format!("{path} is not as it should be: lines of name = \"key\"")))
    }

    fn write(&self, keys: &BTreeMap<String, String>) -> Result<(), Fault> {
        let text =
            toml::to_string(keys).map_err(|_| Fault::new(Exit::Failed, "a key that cannot be written"))?;
        write_whole(&self.path, &text)
    }
}

fn entry(name: &str) -> String {
    format!("context/{name}")
}

/// Writes a file for its owner alone: all of it or none.
fn write_whole(path: &Path, text: &str) -> Result<(), Fault> {
    let draft = path.with_extension(format!("toml.{}", std::process::id()));
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&draft);
        Fault::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use lap_platform::config::{Environment, LoadOptions};

    use super::*;

    fn config(folder: &Path) -> Config {
        let environment = Environment::from_pairs([("HOME", folder.display().to_string())]);
        Config::load(LoadOptions { environment, ..LoadOptions::default() }).unwrap()
    }

    #[test]
    fn contexts_and_keys_come_back_and_keys_are_for_their_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path());
        let mut contexts = Contexts::load(&config).unwrap();
        assert_eq!(contexts, Contexts::default());
        contexts.context.insert("work.1".into(), Server { url: "https://lap.example.com".into() });
        contexts.current = Some("work.1".into());
        contexts.save(&config).unwrap();
        assert_eq!(Contexts::load(&config).unwrap(), contexts);

        let keys = Keys::of(&config);
        assert_eq!(keys.set("work.1", &"sk-12345678".into()).unwrap(), Kept::File);
        assert_eq!(keys.get("work.1").unwrap().unwrap().expose(), "sk-12345678");
        let mode = fs::metadata(config.dirs.config.join(CREDENTIALS)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        keys.remove("work.1").unwrap();
        assert_eq!(keys.get("work.1").unwrap(), None);
    }

    #[test]
    fn a_file_of_keys_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path());
        let keys = Keys::of(&config);
        keys.set("a", &"sk-12345678".into()).unwrap();
        let path = config.dirs.config.join(CREDENTIALS);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let fault = keys.get("a").unwrap_err().to_string();
        assert!(fault.contains("chmod 600"), "{fault}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "sk-not-toml").unwrap();
        let fault = keys.get("a").unwrap_err().to_string();
        assert!(!fault.contains("sk-not-toml"), "{fault}");
    }

    #[test]
    fn a_context_that_is_not_there_lists_those_that_are() {
        let mut contexts = Contexts::default();
        contexts.context.insert("work".into(), Server { url: "https://x".into() });
        let fault = contexts.get("wrok").unwrap_err().to_string();
        assert!(fault.contains("local, work"), "{fault}");
        assert!(check_name("work-1.example").is_ok());
        assert!(check_name("local").is_err() && check_name("a b").is_err() && check_name("").is_err());
    }
}
