//! The command line, small enough to be read by hand.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::unsaved::{Unsaved, unsaved};
use crate::{Config, connect, run};

/// The keeper's program and version, as `welcome` and `--version` say it.
pub const VERSION: &str = concat!("lap-keeper ", env!("CARGO_PKG_VERSION"));

const USAGE: &str = "\
usage: lap-keeper run --socket PATH [--log PATH] [--open-files N] [--inherit-env] [--detach]
       lap-keeper install --to PATH
       lap-keeper connect --socket PATH
       lap-keeper unsaved FOLDER [--git PATH] [--ours PATH]...
       lap-keeper --version

  run        owns terminals and listens for servers on the socket
  install    copies this program to a place, where another container finds it
  connect    joins stdin and stdout to a keeper's socket
  unsaved    counts what a workspace holds that is nowhere else, as JSON

  --socket PATH   where the keeper listens (made with mode 0600)
  --log PATH      where its messages go instead of standard error
  --open-files N  how many files it and its programs may have open
  --git PATH      what git is (otherwise the system's own)
  --inherit-env   programs begin with the keeper's own environment
  --detach        go into the background; returns when the keeper listens
";

/// Exit status of a command line that makes no sense.
const USAGE_ERROR: i32 = 2;

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run(Config),
    Connect(PathBuf),
    Install(PathBuf),
    Unsaved { folder: PathBuf, git: PathBuf, ours: Vec<PathBuf> },
    Version,
    Help,
}

/// The keeper behind its command line: takes the arguments without the program's name and gives the exit status.
/// 0 is a keeper that was told to end, 1 one that could not start or a count that could not be made, 2 arguments that make no sense.
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
        Ok(Command::Install(to)) => match install(&to) {
            Ok(()) => 0,
            Err(error) => {
                say(&format!("lap-keeper: cannot install to {}: {error}\n", to.display()));
                1
            }
        },
        Ok(Command::Unsaved { folder, git, ours }) => match unsaved(&folder, &git, &ours) {
            Ok(Unsaved { files, commits }) => {
                print(&format!("{{\"files\":{files},\"commits\":{commits}}}\n"))
            }
            Err(error) => {
                say(&format!("{error}\n"));
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

/// Copies this very program, executable for whoever comes.
fn install(to: &Path) -> std::io::Result<()> {
    std::fs::copy("/proc/self/exe", to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755))
}

/// A line for the log. There is nobody to tell if standard error is gone.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn print(text: &str) -> i32 {
    i32::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}

const UNSAVED_FAULT: &str = "unsaved needs one folder, and takes --git PATH and --ours PATH";

fn parse_unsaved(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let (mut folder, mut git, mut ours) = (None, PathBuf::from("git"), Vec::new());
    let fault = || UNSAVED_FAULT.to_owned();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--git") => git = arguments.next().ok_or_else(fault)?.into(),
            Some("--ours") => ours.push(arguments.next().ok_or_else(fault)?.into()),
            _ if folder.is_none() => folder = Some(argument.into()),
            _ => return Err(fault()),
        }
    }
    Ok(Command::Unsaved { folder: folder.ok_or_else(fault)?, git, ours })
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let Some(command) = arguments.next() else { return Err("a command is missing".into()) };
    let runs = match command.to_str() {
        Some("run") => true,
        Some("connect") => false,
        Some("install") => {
            let given: Vec<OsString> = arguments.collect();
            return match given.as_slice() {
                [option, to] if option == "--to" && !to.is_empty() => Ok(Command::Install(to.into())),
                _ => Err("install needs --to PATH".into()),
            };
        }
        Some("unsaved") => return parse_unsaved(arguments),
        Some("--version" | "-V") => return Ok(Command::Version),
        Some("--help" | "-h" | "help") => return Ok(Command::Help),
        _ => return Err(format!("there is no command {}", command.display())),
    };
    let (mut socket, mut log, mut open_files) = (None, None, None);
    let (mut detach, mut inherit_env) = (false, false);
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
            Some("--inherit-env") if runs => {
                inherit_env = true;
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
    Ok(if runs {
        Command::Run(Config { socket, log, open_files, inherit_env, detach })
    } else {
        Command::Connect(socket)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_are_read_and_faults_named() {
        let config = Config {
            socket: "/s".into(),
            log: Some("/l".into()),
            open_files: Some(256),
            inherit_env: true,
            detach: true,
        };
        assert_eq!(
            parsed("run --detach --log /l --inherit-env --open-files 256 --socket /s"),
            Ok(Command::Run(config))
        );
        assert_eq!(parsed("connect --socket /s"), Ok(Command::Connect("/s".into())));
        let unsaved = |git: &str, ours: &[&str]| {
            let ours = ours.iter().map(Into::into).collect();
            Ok(Command::Unsaved { folder: "/w".into(), git: git.into(), ours })
        };
        assert_eq!(parsed("unsaved /w"), unsaved("git", &[]));
        assert_eq!(parsed("unsaved /w --git /usr/bin/git"), unsaved("/usr/bin/git", &[]));
        assert_eq!(parsed("unsaved --ours a /w --ours b/c"), unsaved("git", &["a", "b/c"]));
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
            ("install", "install needs --to PATH"),
            ("unsaved", UNSAVED_FAULT),
            ("unsaved /a /b", UNSAVED_FAULT),
            ("unsaved /a --ours", UNSAVED_FAULT),
            ("run --socket /a --verbose", "run does not take --verbose"),
        ] {
            assert_eq!(parsed(line), Err(fault.to_owned()), "{line}");
        }
    }
}
