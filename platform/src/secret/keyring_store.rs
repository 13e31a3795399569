//! Keys in the desktop's keyring, where there is one.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::Environment;

/// Under which name entries are kept.
const SERVICE: &str = "lap";
/// A keyring that has not answered by then is taken for absent: it may be waiting for a person to unlock it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The system's keyring (Secret Service over D-Bus), where there is one.
///
/// Its calls block, and may wait for a person who is not there: every one runs on a thread of its own that is
/// abandoned after 5 seconds.
#[derive(Clone, Debug)]
pub struct Keyring {
    _reachable: (),
}

impl Keyring {
    /// The keyring of this login, or `None` where no session bus is announced: a machine without a desktop.
    #[must_use]
    pub fn of(environment: &Environment) -> Option<Keyring> {
        environment.get("DBUS_SESSION_BUS_ADDRESS").filter(|address| !address.is_empty())?;
        Some(Keyring { _reachable: () })
    }

    /// What is kept under a name; `Ok(None)` where there is nothing.
    ///
    /// # Errors
    /// Where the keyring does not answer or refuses, in words for a person.
    pub fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, String> {
        let name = name.to_owned();
        in_time(PATIENCE, move || {
            match keyring::Entry::new(SERVICE, &name).and_then(|entry| entry.get_password()) {
                Ok(value) => Ok(Some(Zeroizing::new(value))),
                Err(keyring::Error::NoEntry) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Keeps a value under a name, in place of what was there.
    ///
    /// # Errors
    /// As [`Keyring::get`].
    pub fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let (name, value) = (name.to_owned(), Zeroizing::new(value.to_owned()));
        in_time(PATIENCE, move || {
            keyring::Entry::new(SERVICE, &name)
                .and_then(|entry| entry.set_password(&value))
                .map_err(|error| error.to_string())
        })
    }

    /// Forgets what is kept under a name; nothing there is not an error.
    ///
    /// # Errors
    /// As [`Keyring::get`].
    pub fn remove(&self, name: &str) -> Result<(), String> {
        let name = name.to_owned();
        in_time(PATIENCE, move || {
            match keyring::Entry::new(SERVICE, &name).and_then(|entry| entry.delete_credential()) {
                Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

fn in_time<T: Send + 'static>(
    patience: Duration,
    call: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (done, answer) = sync_channel(1);
    std::thread::Builder::new()
        .name("keyring".to_owned())
        .spawn(move || {
            let _ = done.send(call());
        })
        .map_err(|error| error.to_string())?;
    answer
        .recv_timeout(patience)
        .unwrap_or_else(|_| Err(format!("the keyring did not answer within {} s", patience.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_session_bus_has_none() {
        assert!(Keyring::of(&Environment::from_pairs::<&str, &str>([])).is_none());
    }

    #[test]
    fn a_bus_that_is_not_there_is_an_error_not_a_hang() {
        let here = Environment::from_pairs([("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")]);
        // The library reads the process's own variable; where that one is absent too, the answer is an error as well.
        let keyring = Keyring::of(&here).unwrap();
        if std::path::Path::new("/run/user").exists()
            && Environment::of_process().get("DBUS_SESSION_BUS_ADDRESS").is_some()
        {
            return;
        }
        assert!(keyring.get("lap-test-of-absence").is_err());
    }

    #[test]
    fn a_call_that_never_ends_is_abandoned() {
        let (hold, held) = sync_channel::<()>(0);
        let answer = in_time(Duration::from_millis(1), move || {
            let _ = held.recv();
            Ok(())
        });
        assert!(answer.unwrap_err().contains("did not answer"));
        drop(hold);
    }
}
