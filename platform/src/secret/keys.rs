//! The server's two keys: what they must be, and where they are found or made.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{KeyFileError, Keyring, equal, keyfile};

/// What a generated key begins with, so that a key file is known for what it is.
const KEY_MARK: &str = "lap-key-1:";
/// In a key file's place: the key is in the keyring. Without this note, a login that cannot reach the keyring would
/// make a second key and find nothing of what the first one sealed.
const IN_KEYRING: &str = "in-keyring";
/// The keyring entry's name.
const KEYRING_ENTRY: &str = "encryption-key";
/// What follows a generated key's mark, in characters: 32 bytes in base64 without padding.
const GENERATED_CHARS: usize = 43;
/// What to do about what is left of an encryption key.
const MEND_KEY: &str = "restore it from a backup, or remove it together with the data it protects";
/// What to do about what is left of a master key.
const MEND_MASTER: &str =
    "restore it from a backup, or remove it and a new master key is made at the next start";
/// What a generated master key begins with.
const MASTER_MARK: &str = "lap_sk_";

/// The root of all that is encrypted or signed on this server. Never used itself: each purpose has a key derived
/// from it (HKDF-SHA256).
#[derive(Clone)]
pub struct SecretKey {
    root: Zeroizing<[u8; 32]>,
}

/// Where a key came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The configuration names it.
    Configured,
    /// The system's keyring has it.
    Keyring,
    /// It was in this file.
    File(PathBuf),
    /// It was made just now and is in this file.
    Generated(PathBuf),
}

impl SecretKey {
    /// The shortest text a key is made from, in characters. It should be random: it is not stretched like a password.
    pub const MIN_CHARS: usize = 16;

    /// The key that any text of at least 16 characters stands for.
    ///
    /// # Errors
    /// Where it is shorter.
    pub fn from_text(text: &str) -> Result<SecretKey, KeyError> {
        let chars = text.chars().count();
        if chars < Self::MIN_CHARS {
            return Err(KeyError::TooShort { name: "ENCRYPTION_KEY", chars, least: Self::MIN_CHARS });
        }
        let mut root = Zeroizing::new([0; 32]);
        expand(text.as_bytes(), b"lap root v1", &mut root);
        Ok(SecretKey { root })
    }

    /// The key of this data directory: the configured one, else the one in its file `secret.key`, else the one in the
    /// keyring, else a new one, which goes to the keyring where there is one and to that file where there is not.
    ///
    /// # Errors
    /// Where the key that is known to exist cannot be had: another is never made in its place.
    pub fn find_or_make(
        configured: Option<&str>,
        keyring: Option<&Keyring>,
        data: &Path,
    ) -> Result<(SecretKey, KeyOrigin), KeyError> {
        if let Some(text) = configured {
            return Ok((SecretKey::from_text(text)?, KeyOrigin::Configured));
        }
        let path = data.join("secret.key");
        if let Some(line) = keyfile::read(&path)? {
            return SecretKey::from_file_line(&line, keyring, &path);
        }
        let line = generate(KEY_MARK)?;
        let kept = keyring.is_some_and(|keyring| match keyring.set(KEYRING_ENTRY, &line) {
            // Believed only once it has been read back: some keyrings forget at once.
            Ok(()) => keyring.get(KEYRING_ENTRY).is_ok_and(|back| back.as_deref() == Some(&*line)),
            Err(reason) => {
                tracing::info!(reason, "no keyring: the encryption key goes to a file");
                false
            }
        });
        let made = keyfile::create(&path, if kept { IN_KEYRING } else { &line })?;
        match (made, kept) {
            (true, true) => Ok((SecretKey::from_text(&line)?, KeyOrigin::Keyring)),
            (true, false) => Ok((SecretKey::from_text(&line)?, KeyOrigin::Generated(path))),
            // Another process was first: its key is the one.
            (false, _) => match keyfile::read(&path)? {
                Some(line) => SecretKey::from_file_line(&line, keyring, &path),
                None => Err(KeyError::File(KeyFileError::Unreadable { path })),
            },
        }
    }

    fn from_file_line(
        line: &str,
        keyring: Option<&Keyring>,
        path: &Path,
    ) -> Result<(SecretKey, KeyOrigin), KeyError> {
        if line != IN_KEYRING {
            whole(line, KEY_MARK, Self::MIN_CHARS, path, MEND_KEY)?;
            return Ok((SecretKey::from_text(line)?, KeyOrigin::File(path.to_owned())));
        }
        let keyring = keyring.ok_or_else(|| KeyError::Keyring("this login has no session bus".to_owned()))?;
        match keyring.get(KEYRING_ENTRY).map_err(KeyError::Keyring)? {
            Some(line) => Ok((SecretKey::from_text(&line)?, KeyOrigin::Keyring)),
            None => Err(KeyError::Keyring("it has no entry for lap".to_owned())),
        }
    }

    /// The key for one purpose. The same purpose always has the same key, and no key tells anything about another.
    #[must_use]
    pub fn derive(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        expand(&*self.root, purpose, &mut key);
        key
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

/// Refuses what is left of a key file that was cut off: a part of a key is another key, or none.
fn whole(line: &str, mark: &str, least: usize, path: &Path, mend: &'static str) -> Result<(), KeyError> {
    let chars = line.chars().count();
    let made = line.starts_with(mark);
    if chars >= least && (!made || chars >= mark.len() + GENERATED_CHARS) {
        return Ok(());
    }
    Err(KeyError::File(KeyFileError::CutShort { path: path.to_owned(), chars, mend }))
}

/// The key that opens the whole API.
#[derive(Clone)]
pub struct MasterKey {
    text: Zeroizing<String>,
    digest: [u8; 32],
}

impl MasterKey {
    /// The fewest characters it may have.
    pub const MIN_CHARS: usize = 8;

    /// This text as the master key.
    ///
    /// # Errors
    /// Where it has fewer than 8 characters.
    pub fn from_text(text: &str) -> Result<MasterKey, KeyError> {
        let chars = text.chars().count();
        if chars < Self::MIN_CHARS {
            return Err(KeyError::TooShort { name: "MASTER_KEY", chars, least: Self::MIN_CHARS });
        }
        Ok(MasterKey { text: Zeroizing::new(text.to_owned()), digest: Sha256::digest(text).into() })
    }

    /// The configured one, else the one in the data directory's file `master.key`, which is made where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read or made, or others can read it.
    pub fn find_or_make(configured: Option<&str>, data: &Path) -> Result<(MasterKey, KeyOrigin), KeyError> {
        if let Some(text) = configured {
            return Ok((MasterKey::from_text(text)?, KeyOrigin::Configured));
        }
        let path = data.join("master.key");
        if let Some(line) = keyfile::read(&path)? {
            return MasterKey::from_file_line(&line, path);
        }
        let line = generate(MASTER_MARK)?;
        if keyfile::create(&path, &line)? {
            return Ok((MasterKey::from_text(&line)?, KeyOrigin::Generated(path)));
        }
        match keyfile::read(&path)? {
            Some(line) => MasterKey::from_file_line(&line, path),
            None => Err(KeyError::File(KeyFileError::Unreadable { path })),
        }
    }

    fn from_file_line(line: &str, path: PathBuf) -> Result<(MasterKey, KeyOrigin), KeyError> {
        whole(line, MASTER_MARK, Self::MIN_CHARS, &path, MEND_MASTER)?;
        Ok((MasterKey::from_text(line)?, KeyOrigin::File(path)))
    }

    /// Whether this is it, in a time that tells nothing about how much of it is right, nor how long it is.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        equal(&self.digest, &Sha256::digest(presented))
    }

    /// The key itself, for a client on this machine to present.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

fn expand(from: &[u8], purpose: &[u8], into: &mut [u8; 32]) {
    let result = Hkdf::<Sha256>::new(None, from).expand(purpose, into);
    debug_assert!(result.is_ok(), "32 bytes are far below HKDF-SHA256's limit of 8160");
}

fn generate(mark: &str) -> Result<Zeroizing<String>, KeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(Zeroizing::new(format!("{mark}{}", &*Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))))
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It would be too easily guessed.
    #[error(
        "{name} has {chars} characters and needs at least {least}: `openssl rand -base64 32` makes a good one"
    )]
    TooShort {
        /// The variable's name.
        name: &'static str,
        /// How many it has.
        chars: usize,
        /// How many it needs.
        least: usize,
    },
    /// Its file is no good.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// It is in the keyring, which cannot be had.
    #[error(
        "the encryption key of this data directory is in the system's keyring, which cannot be reached ({0}): unlock \
         it, run lap from the login that has it, or set ENCRYPTION_KEY to the key"
    )]
    Keyring(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes to make a key from")]
    NoRandomness,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_found_again() {
        let data = tempfile::tempdir().unwrap();
        let (made, origin) = SecretKey::find_or_make(None, None, data.path()).unwrap();
        assert!(matches!(origin, KeyOrigin::Generated(_)));
        let (found, origin) = SecretKey::find_or_make(None, None, data.path()).unwrap();
        assert!(matches!(origin, KeyOrigin::File(_)));
        assert_eq!(made.derive(b"x"), found.derive(b"x"));
        assert_ne!(made.derive(b"x"), made.derive(b"y"));
    }

    #[test]
    fn a_configured_key_leaves_no_file() {
        let data = tempfile::tempdir().unwrap();
        let (_, origin) = SecretKey::find_or_make(Some("correct horse battery"), None, data.path()).unwrap();
        assert_eq!(origin, KeyOrigin::Configured);
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_key_in_a_keyring_that_is_out_of_reach_is_never_replaced() {
        let data = tempfile::tempdir().unwrap();
        keyfile::create(&data.path().join("secret.key"), IN_KEYRING).unwrap();
        let error = SecretKey::find_or_make(None, None, data.path()).unwrap_err();
        assert!(matches!(error, KeyError::Keyring(_)), "{error}");
    }

    #[test]
    fn a_key_file_that_is_cut_short_anywhere_is_told_by_its_path() {
        for name in ["secret.key", "master.key"] {
            let data = tempfile::tempdir().unwrap();
            let path = data.path().join(name);
            let find = || match name {
                "secret.key" => SecretKey::find_or_make(None, None, data.path()).map(drop),
                _ => MasterKey::find_or_make(None, data.path()).map(drop),
            };
            find().unwrap();
            let line = std::fs::read_to_string(&path).unwrap().trim().to_owned();
            for length in 1..line.len() {
                std::fs::write(&path, &line[..length]).unwrap();
                let told = find().unwrap_err().to_string();
                let shown = path.display().to_string();
                assert!(told.contains(&shown) && told.contains("cut short"), "{length}: {told}");
                assert!(!told.contains("KEY has"), "no variable was set: {told}");
                assert_eq!(std::fs::read_to_string(&path).unwrap(), line[..length], "it is left as it is");
            }
            // Without its line's end it is whole, and a key of somebody's own need not look like one of ours.
            for kept in [line.as_str(), "a key of our own, long enough"] {
                std::fs::write(&path, kept).unwrap();
                find().unwrap();
            }
        }
        // The note that the key is in the keyring can be cut off as well.
        let data = tempfile::tempdir().unwrap();
        keyfile::create(&data.path().join("secret.key"), &IN_KEYRING[..6]).unwrap();
        let told = SecretKey::find_or_make(None, None, data.path()).unwrap_err().to_string();
        assert!(told.contains("cut short"), "{told}");
    }

    #[test]
    fn short_keys_are_refused_by_name() {
        let short = SecretKey::from_text("fifteen chars..").unwrap_err().to_string();
        assert!(short.contains("ENCRYPTION_KEY") && short.contains("at least 16"), "{short}");
        let short = MasterKey::from_text("seven..").unwrap_err().to_string();
        assert!(short.contains("MASTER_KEY") && short.contains("at least 8"), "{short}");
    }

    #[test]
    fn the_master_key_matches_itself_alone() {
        let data = tempfile::tempdir().unwrap();
        let (key, _) = MasterKey::find_or_make(None, data.path()).unwrap();
        assert!(key.matches(key.expose()));
        assert!(!key.matches(&key.expose()[1..]));
        assert!(!key.matches(""));
        let (again, _) = MasterKey::find_or_make(None, data.path()).unwrap();
        assert_eq!(again.expose(), key.expose());
    }
}
