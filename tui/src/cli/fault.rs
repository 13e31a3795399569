//! Why a command did not work: a sentence, what to do next, an exit code.

use std::fmt;
use std::process::ExitCode;

use lap_platform::client::ClientError;

use crate::embed::EmbedError;

/// What the program ends with when something did not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Exit {
    /// It was tried and failed.
    Failed = 1,
    /// What was asked for makes no sense.
    Usage = 2,
    /// What was named is not there.
    NotFound = 3,
    /// The key is wrong, or may not do this.
    NotAllowed = 4,
    /// No server answers.
    Unreachable = 5,
}

/// Why a command did not work: a sentence, and what to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Fault {
    /// One with these words. They begin in lower case, after `lap: `.
    #[must_use]
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Fault {
        Fault { exit, message: message.into(), hint: None }
    }

    /// What was asked for makes no sense.
    #[must_use]
    pub(super) fn usage(message: impl Into<String>) -> Fault {
        Fault::new(Exit::Usage, message)
    }

    /// With what to do next: a sentence, or several lines.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// With one more line of what to do next, before the others.
    #[must_use]
    pub(super) fn hint_first(self, line: impl Into<String>) -> Fault {
        let mut hint: String = line.into();
        if let Some(more) = &self.hint {
            hint.push('\n');
            hint.push_str(more);
        }
        self.hint(hint)
    }

    /// Whether it is that what was named is not there.
    #[must_use]
    pub(super) fn is_not_found(&self) -> bool {
        self.exit == Exit::NotFound
    }

    /// What the program ends with.
    #[must_use]
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for line in self.hint.iter().flat_map(|hint| hint.lines()) {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Fault {
        let (exit, hint) = if matches!(error, ClientError::Between { .. }) {
            (Exit::Unreachable, Some("`curl -i` of this address shows the whole answer"))
        } else if matches!(error, ClientError::Untrusted { .. } | ClientError::Broken { .. }) {
            (Exit::Unreachable, None)
        } else if error.is_unreachable() {
            (
                Exit::Unreachable,
                Some("is it running? `lap context ls` shows the servers known, `lap doctor` looks closer"),
            )
        } else if error.is_not_found() {
            (Exit::NotFound, None)
        } else if error.status() == Some(401) {
            (Exit::NotAllowed, Some("log in again with `lap login <url>`"))
        } else if error.is_not_allowed() {
            (Exit::NotAllowed, None)
        } else if error.status() == Some(400) || matches!(error, ClientError::Invalid { .. }) {
            (Exit::Usage, None)
        } else {
            (Exit::Failed, None)
        };
        let fault = Fault::new(exit, error.to_string());
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl From<EmbedError> for Fault {
    fn from(error: EmbedError) -> Fault {
        match error {
            EmbedError::Client(error) => error.into(),
            EmbedError::Silent { .. } => Fault::new(Exit::Unreachable, error.to_string()),
            other => Fault::new(Exit::Failed, other.to_string()),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::new(Exit::Failed, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use lap_platform::client::ApiError;

    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let api = |status| Fault::from(ClientError::from(ApiError::from_body(status, b"", None))).exit;
        assert_eq!(api(400), Exit::Usage);
        assert_eq!(api(401), Exit::NotAllowed);
        assert_eq!(api(403), Exit::NotAllowed);
        assert_eq!(api(404), Exit::NotFound);
        assert_eq!(api(409), Exit::Failed);
        assert_eq!(api(500), Exit::Failed);
        let gone = ClientError::Unreachable { url: "http://x".into(), reason: "refused".into() };
        assert_eq!(Fault::from(gone).exit, Exit::Unreachable);
    }

    #[test]
    fn what_to_do_next_stands_below_what_happened() {
        let fault = Fault::usage("two agents have that name").hint("one\ntwo");
        assert_eq!(fault.to_string(), "two agents have that name\n  one\n  two");
    }
}
