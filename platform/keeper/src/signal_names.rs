//! Signals by their names, as the system takes them.

use lap_wire::signals;
use rustix::process::Signal;

/// The signal of that name, written as `SIGINT`: one that has a name.
pub(crate) fn by_name(name: &str) -> Option<Signal> {
    let named = signals::SIGNALS.iter().find(|(known, _)| *known == name);
    named.and_then(|(_, number)| Signal::from_named_raw(*number))
}

/// The name of a signal's number, `SIG` and the number where it has none.
pub(crate) fn name_of(number: i32) -> String {
    signals::name(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_systems() {
        for (name, signal) in [
            ("SIGHUP", Signal::HUP),
            ("SIGINT", Signal::INT),
            ("SIGKILL", Signal::KILL),
            ("SIGUSR1", Signal::USR1),
            ("SIGUSR2", Signal::USR2),
            ("SIGTERM", Signal::TERM),
            ("SIGCONT", Signal::CONT),
            ("SIGSTOP", Signal::STOP),
            ("SIGTSTP", Signal::TSTP),
            ("SIGWINCH", Signal::WINCH),
            ("SIGSYS", Signal::SYS),
        ] {
            assert_eq!(by_name(name), Some(signal));
            assert_eq!(name_of(signal.as_raw()), name);
        }
        for (name, _) in signals::SIGNALS {
            assert!(by_name(name).is_some(), "{name}");
        }
        assert_eq!((by_name("INT"), by_name("SIG40")), (None, None));
        assert_eq!(name_of(40), "SIG40");
    }
}
