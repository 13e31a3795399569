//! Signals by the names people know them by, and a program's end as one number, as shells tell it: its exit code, or 128
//! and the number of the signal that ended it. Names and numbers are Linux's, where every sandbox runs.

use crate::control::ExitStatus;

/// What shells add to a signal's number.
const SIGNALLED: i32 = 128;

/// The named signals. `signal(7)`, x86-64 and ARM.
pub const SIGNALS: [(&str, i32); 30] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGSYS", 31),
];

/// The number of a signal, named as [`name`] names it.
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    let named = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or_else(|| name.strip_prefix("SIG")?.parse().ok().filter(|number| (1..=64).contains(number)))
}

/// The name of a signal's number: `SIG` and the number where it has no name.
#[must_use]
pub fn name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| format!("SIG{number}"), |(name, _)| (*name).to_owned())
}

impl ExitStatus {
    /// The end as one number: the exit code, or 128 and the signal's number; 128 where nothing is known.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.code.unwrap_or_else(|| {
            let signal = self.signal.as_deref().and_then(number);
            signal.map_or(SIGNALLED, |number| SIGNALLED + number)
        })
    }
}

/// The name of the signal that such a number tells of; `None` for an exit code that no signal makes. A program may also
/// exit with such a number by itself: ask only where a signal is known to have ended it.
#[must_use]
pub fn signal_of_shell_code(code: i32) -> Option<String> {
    Some(code - SIGNALLED).filter(|number| (1..=64).contains(number)).map(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: Option<i32>, signal: Option<&str>) -> ExitStatus {
        ExitStatus { code, signal: signal.map(str::to_owned), at_ms: 0 }
    }

    #[test]
    fn a_signal_is_told_as_shells_tell_it_and_found_again() {
        assert_eq!(end(Some(3), None).shell_code(), 3);
        assert_eq!(end(None, None).shell_code(), 128);
        assert_eq!(end(None, Some("SIGWEIRD")).shell_code(), 128);
        for n in 1..=64 {
            let code = end(None, Some(&name(n))).shell_code();
            assert_eq!(
                (code, signal_of_shell_code(code), number(&name(n))),
                (128 + n, Some(name(n)), Some(n))
            );
        }
        for none in [0, 3, 128, 193, -1] {
            assert_eq!(signal_of_shell_code(none), None);
        }
        assert_eq!((name(9), name(40)), ("SIGKILL".to_owned(), "SIG40".to_owned()));
        assert_eq!((number("INT"), number("SIG"), number("SIG65")), (None, None, None));
    }
}
