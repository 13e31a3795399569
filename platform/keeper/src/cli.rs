//! The command line, small enough to be read by hand.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use crate::{Config, connect, run};

/// The keeper's program and version, as `welcome` and `--version` say it.
pub const VERSION: &str = concat!("lap-keeper ", env!("CARGO_PKG_VERSION"));

const USAGE: &str = "\
usage: lap-keeper run --socket PATH [--log PATH] [--open-files N] [--detach]
       lap-keeper connect --socket PATH
       lap-keeper --version

  run        owns terminals and listens for servers on the socket
  connect    joins stdin and stdout to a keeper's socket

  --socket PATH   where the keeper listens (made with mode 0600)
  --log PATH      where its messages go instead of standard error
  --open-files N  how many files it and its programs may have open
  --detach        go into the background; returns when the keeper listens
";

/// Exit status of a command line that makes no sense.
const USAGE_ERROR: i32 = 2;

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run(Config),
    Connect(PathBuf),
    Version,
    Help,
}

/// The keeper behind its command line: takes the arguments without the program's name and gives the exit status.
/// 0 is a keeper that was told to end, 1 one that could not start, 2 arguments that make no sense.
///
/// Must be called before the process has started a thread: it closes inherited descriptors and may fork.
pub fn main(arguments: impl Iterator<Item = OsString>) -> i32 {
    match parse(arguments) {
        Ok(Command::Run(config)) => run(&config),
        Ok(Command::Connect(socket)) => match connect(&socket) {
            Ok(()) => 0,
            Err(error) => {
                say(&format!("lap-keeper: cannot connect to {}: {error}\n", socket.display()));
                1
            }
        },
        Ok(Command::Version) => print(&format!("{VERSION}\n")),
        Ok(Command::Help) => print(USAGE),
        Err(fault) => {
            say(&format!("lap-keeper: {fault}\n{USAGE}"));
            USAGE_ERROR
        }
    }
}

/// A line for the log. There is nobody to tell if standard error is gone.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn print(text: &str) -> i32 {
    i32::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let Some(command) = arguments.next() else { return Err("a command is missing".into()) };
    let runs = match command.to_str() {
        Some("run") => true,
        Some("connect") => false,
        Some("--version" | "-V") => return Ok(Command::Version),
        Some("--help" | "-h" | "help") => return Ok(Command::Help),
        _ => return Err(format!("there is no command {}", command.display())),
    };
    let (mut socket, mut log, mut open_files, mut detach) = (None, None, None, false);
    while let Some(argument) = arguments.next() {
        let slot = match argument.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--socket") => &mut socket,
            Some("--log") if runs => &mut log,
            Some("--open-files") if runs => {
                let number = arguments.next().and_then(|value| value.to_str()?.parse().ok());
                let number = number.ok_or("--open-files needs a number")?;
                if open_files.replace(number).is_some() {
                    return Err("--open-files is given twice".into());
                }
                continue;
            }
            Some("--detach") if runs => {
                detach = true;
                continue;
            }
            _ => return Err(format!("{} does not take {}", command.display(), argument.display())),
        };
        let value = arguments.next().filter(|v| !v.is_empty());
        let value = value.ok_or_else(|| format!("{} needs a path", argument.display()))?;
        if slot.replace(PathBuf::from(value)).is_some() {
            return Err(format!("{} is given twice", argument.display()));
        }
    }
    let socket = socket.ok_or("--socket PATH is missing")?;
    Ok(if runs { Command::Run(Config { socket, log, open_files, detach }) } else { Command::Connect(socket) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_are_read_and_faults_named() {
        let config =
            Config { socket: "/s".into(), log: Some("/l".into()), open_files: Some(256), detach: true };
        assert_eq!(parsed("run --detach --log /l --open-files 256 --socket /s"), Ok(Command::Run(config)));
        assert_eq!(parsed("connect --socket /s"), Ok(Command::Connect("/s".into())));
        assert_eq!(parsed("--version"), Ok(Command::Version));
        for (line, fault) in [
            ("", "a command is missing"),
            ("go", "there is no command go"),
            ("run", "--socket PATH is missing"),
            ("run --socket", "--socket needs a path"),
            ("run --socket /a --open-files few", "--open-files needs a number"),
            ("run --open-files 1 --open-files 2", "--open-files is given twice"),
            ("connect --open-files 1", "connect does not take --open-files"),
            ("run --socket /a --socket /b", "--socket is given twice"),
            ("connect --socket /a --log /b", "connect does not take --log"),
            ("run --socket /a --verbose", "run does not take --verbose"),
        ] {
            assert_eq!(parsed(line), Err(fault.to_owned()), "{line}");
        }
    }
}
