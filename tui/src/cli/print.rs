//! Printing for people and programs, and asking a question.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use lap_platform::config::Environment;
use rustix::fd::AsFd;
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::args::Format;
use super::fault::{Exit, Fault};
use super::table::{self, Column};
use crate::terminal::wait_writable;

/// Where a command prints, and what that place is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    /// The terminal's width; none where it is no terminal, where nothing is cut.
    width: Option<usize>,
    colors: bool,
}

impl Printer {
    pub(super) fn new(environment: &Environment, no_color: bool) -> Printer {
        let terminal = io::stdout().is_terminal();
        let dumb = environment.get("TERM") == Some("dumb");
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0);
        Printer {
            width: size.filter(|_| terminal).map(|size| size.ws_col.into()),
            colors: terminal && !dumb && !no_color && !environment.no_color(),
        }
    }

    /// Text as it is.
    pub(super) fn text(&self, text: &str) -> Result<(), Fault> {
        out(|stdout| stdout.write_all(text.as_bytes()))
    }

    /// A line.
    pub(super) fn line(&self, line: &str) -> Result<(), Fault> {
        out(|stdout| writeln!(stdout, "{line}"))
    }

    /// A line of a difference between texts.
    pub(super) fn change(&self, line: &str) -> Result<(), Fault> {
        let line = table::clean(line);
        let color = match line.chars().next() {
            Some('+') => 32,
            Some('-') => 31,
            Some('@') => 36,
            _ => 0,
        };
        if self.colors && color > 0 {
            self.line(&format!("\x1b[{color}m{line}\x1b[0m"))
        } else {
            self.line(&line)
        }
    }

    /// A table. Its header is bold; without rows it is not printed, and `empty` says so where people read it.
    pub(super) fn table(&self, columns: &[Column], rows: &[Vec<String>], empty: &str) -> Result<(), Fault> {
        if rows.is_empty() {
            return note(empty);
        }
        let lines = table::lines(columns, rows, self.width);
        out(|stdout| {
            for (at, line) in lines.iter().enumerate() {
                match (at, self.colors) {
                    (0, true) => writeln!(stdout, "\x1b[1m{line}\x1b[0m")?,
                    _ => writeln!(stdout, "{line}")?,
                }
            }
            Ok(())
        })
    }

    /// A value in a form for programs.
    pub(super) fn value<T: Serialize>(&self, value: &T, format: Format) -> Result<(), Fault> {
        let failed =
            |error: &dyn std::fmt::Display| Fault::new(Exit::Failed, format!("cannot print it: {error}"));
        let text = match format {
            Format::Yaml => serde_saphyr::to_string(value).map_err(|error| failed(&error))?,
            _ => serde_json::to_string_pretty(value).map_err(|error| failed(&error))?,
        };
        self.line(text.trim_end())
    }

    /// A value in one line of JSON, or one document of YAML: for values that come one by one.
    pub(super) fn value_of_many<T: Serialize>(&self, value: &T, format: Format) -> Result<(), Fault> {
        let failed =
            |error: &dyn std::fmt::Display| Fault::new(Exit::Failed, format!("cannot print it: {error}"));
        match format {
            Format::Yaml => {
                self.line("---")?;
                self.value(value, format)
            }
            _ => self.line(&serde_json::to_string(value).map_err(|error| failed(&error))?),
        }
    }
}

/// How long a terminal that has just been given back may take to take a line more.
const NOTE_WAIT: Duration = Duration::from_millis(200);

/// Whether what is noted has a place to go: not so on a terminal that takes nothing.
pub(super) fn can_be_noted() -> bool {
    let stderr = io::stderr();
    !stderr.is_terminal() || wait_writable(stderr.as_fd(), NOTE_WAIT)
}

/// Bytes as they are, on standard output.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Fault> {
    out(|stdout| stdout.write_all(bytes))
}

/// A word to the person, beside the output: on standard error.
pub(super) fn note(text: &str) -> Result<(), Fault> {
    writeln!(io::stderr(), "{text}").map_err(Fault::from)
}

/// Asks a question that is answered by `y`; anything else is no. Where nobody can be asked it is an error that names
/// the option that answers it.
pub(super) fn confirm(question: &str, option: &str) -> Result<(), Fault> {
    if !io::stdin().is_terminal() {
        return Err(Fault::usage(format!("{question} There is nobody to ask: say so with {option}")));
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Fault::new(Exit::Failed, "nothing was done")),
    }
}

/// Whoever reads our output may have seen enough (`lap … | head`): then we are done, and well.
fn out(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) -> Result<(), Fault> {
    let mut stdout = io::stdout().lock();
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(Fault::from),
    }
}

/// Waits until nobody is left who reads what is printed (`lap … --watch | head`): a command that waits for something to
/// print is then done, and well. Never, where that cannot be told.
pub(super) async fn nobody_reads() {
    let Ok(stdout) = io::stdout().as_fd().try_clone_to_owned() else { return std::future::pending().await };
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that could change their descriptor; OwnedFd cannot"
    )]
    let watched = AsyncFd::with_interest(stdout, Interest::WRITABLE);
    // A file or a terminal: the one is never closed by who reads it, the other says so by a signal.
    let Ok(stdout) = watched else { return std::future::pending().await };
    loop {
        match stdout.writable().await {
            Ok(ready) if ready.ready().is_write_closed() => return,
            // Somebody reads. The next that is heard of it is news.
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => return std::future::pending().await,
        }
    }
}

/// How long ago something was, in the largest unit that fits.
pub(super) fn ago(then: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::ago;

    #[test]
    fn ages_are_told_in_the_largest_unit_that_fits() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, told) in [(0, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (86_400, "1d"), (-5, "0s")]
        {
            assert_eq!(ago(at(1_000_000 - seconds), at(1_000_000)), told);
        }
    }
}
