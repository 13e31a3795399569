//! `lap doctor`: what is missing on this machine, and the command that mends it.

use std::path::Path;

use lap_platform::harness::{Catalog, Detected, Host, Missing};
use lap_platform::secret::Keyring;

use super::connect::{App, Target};
use super::contexts::Contexts;
use super::fault::{Exit, Fault};
use crate::embed;

/// Open files below which many sessions with many viewers run into the limit: each session takes a handful.
const FEW_FILES: u64 = 1024;
/// Free bytes on the data directory's disk below which a person should know: recordings alone may take more.
const LITTLE_SPACE: u64 = 1024 * 1024 * 1024;

/// How one thing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Good,
    /// It works, with less.
    Less,
    /// It does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    mark: Mark,
    what: String,
    /// What mends it.
    mend: Option<String>,
}

fn good(what: impl Into<String>) -> Finding {
    Finding { mark: Mark::Good, what: what.into(), mend: None }
}

fn less(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { mark: Mark::Less, what: what.into(), mend: Some(mend.into()) }
}

fn bad(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { mark: Mark::Bad, what: what.into(), mend: Some(mend.into()) }
}

/// Looks at everything and prints it; fails where something does not work.
pub(super) async fn run(app: &App) -> Result<(), Fault> {
    let mut findings = vec![configuration(app)];
    findings.extend(directories(app));
    findings.push(keyring(app));
    findings.push(open_files());
    findings.push(terminal(app));
    findings.extend(server(app).await);
    for finding in &findings {
        let mark = match finding.mark {
            Mark::Good => "✓",
            Mark::Less => "!",
            Mark::Bad => "✗",
        };
        app.printer.line(&format!("{mark} {}", finding.what))?;
        for line in finding.mend.iter().flat_map(|mend| mend.lines()) {
            app.printer.line(&format!("  → {line}"))?;
        }
    }
    match findings.iter().filter(|finding| finding.mark == Mark::Bad).count() {
        0 => Ok(()),
        1 => Err(Fault::new(Exit::Failed, "one thing does not work")),
        many => Err(Fault::new(Exit::Failed, format!("{many} things do not work"))),
    }
}

fn configuration(app: &App) -> Finding {
    if let Some(faults) = &app.faults {
        return bad("configuration", faults.to_string());
    }
    let file =
        app.config.file().map_or("no file, all defaults".to_owned(), |path| path.display().to_string());
    match app.config.warnings.as_slice() {
        [] => good(format!("configuration: {file}")),
        warnings => less(format!("configuration: {file}"), warnings.join("\n")),
    }
}

fn directories(app: &App) -> Vec<Finding> {
    let dirs = &app.config.dirs;
    if let Err(error) = dirs.create() {
        return vec![bad("directories", error.to_string())];
    }
    let all = [
        ("data", &dirs.data),
        ("state", &dirs.state),
        ("runtime", &dirs.runtime),
        ("configuration", &dirs.config),
    ];
    all.into_iter().map(|(name, dir)| directory(name, dir)).collect()
}

fn directory(name: &str, dir: &Path) -> Finding {
    let shown = dir.display();
    if let Err(error) = tempfile_in(dir) {
        return bad(
            format!("{name} directory {shown}: {error}"),
            format!("make it writable: chmod u+rwx {shown}"),
        );
    }
    let space = rustix::fs::statvfs(dir).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    match space {
        Ok(space) if space < LITTLE_SPACE => less(
            format!("{name} directory {shown}: {} MiB are free", space >> 20),
            "free some space, or name another place (LAP_DATA_DIR)",
        ),
        _ => good(format!("{name} directory {shown}")),
    }
}

/// Makes a file and takes it away again: the only proof that files can be made.
fn tempfile_in(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    std::fs::write(&path, b"x")?;
    std::fs::remove_file(&path)
}

fn keyring(app: &App) -> Finding {
    if !app.config.secrets.keyring {
        return good("keys: in files that only you can read (secrets.keyring is off)");
    }
    match Keyring::of(&app.config.environment) {
        None => good("keys: in files that only you can read (no keyring on this login)"),
        Some(keyring) => match keyring.get("doctor") {
            Ok(_) => good("keys: the system's keyring answers"),
            Err(reason) => less(
                format!("keys: the system's keyring does not answer ({reason})"),
                "unlock it, or turn it off with LAP_KEYRING=false: keys then go to files that only you can read",
            ),
        },
    }
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.current {
        Some(files) if files < FEW_FILES => less(
            format!("open files: at most {files}"),
            match limit.maximum {
                Some(most) if most <= files => format!(
                    "this login may have no more: raise its hard limit, in /etc/security/limits.conf (nofile) or \
                     with LimitNOFILE= of its service, to {FEW_FILES} or more"
                ),
                most => format!("ulimit -n {}", most.unwrap_or(65_536).min(65_536)),
            },
        ),
        Some(files) => good(format!("open files: at most {files}")),
        None => good("open files: no limit"),
    }
}

fn terminal(app: &App) -> Finding {
    match app.config.environment.filled("TERM") {
        None | Some("dumb") => {
            less("terminal: none that can show the dashboard", "run lap in a terminal, with TERM set")
        }
        Some(term) => good(format!("terminal: {term}")),
    }
}

async fn server(app: &App) -> Vec<Finding> {
    let target = match app.target() {
        Ok(target) => target,
        Err(fault) => return vec![bad("server", fault.to_string())],
    };
    match target {
        Target::Local => local(app).await,
        Target::Context(name) => {
            match Contexts::load(&app.config).and_then(|contexts| contexts.get(&name).cloned()) {
                Ok(server) => vec![remote(app, &format!("server {name} at {}", server.url)).await],
                Err(fault) => vec![bad(format!("server {name}"), fault.to_string())],
            }
        }
        Target::Url(url) => vec![remote(app, &format!("server at {url}")).await],
    }
}

async fn remote(app: &App, what: &str) -> Finding {
    let answer = match app.connect().await {
        Ok(client) => client.harnesses().await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    match answer {
        Ok(_) => good(format!("{what} answers")),
        Err(fault) => bad(what, fault.to_string()),
    }
}

async fn local(app: &App) -> Vec<Finding> {
    let server = match embed::find(&app.config).await {
        Ok(Some(server)) => {
            good(format!("server: version {}, process {}, at {}", server.version, server.pid, server.url))
        }
        Ok(None) => good("server: not running; the next command starts it"),
        Err(error) => bad("server", error.to_string()),
    };
    let mut findings = vec![server];
    match Catalog::load(Some(&app.config.dirs.config), &app.config.harnesses) {
        Ok(catalog) => {
            let host = Host::of(&app.config.environment);
            findings.extend(catalog.detect(&host).iter().filter_map(harness));
        }
        Err(faults) => findings.push(bad("coding agents", faults.faults().join("\n"))),
    }
    findings
}

fn harness(detected: &Detected<'_>) -> Option<Finding> {
    let name = &detected.harness.name;
    match &detected.program {
        Ok(program) => Some(good(format!("{name}: {}", program.display()))),
        Err(Missing::NotInstalled { install: Some(install), .. }) => {
            Some(less(format!("{name}: not installed"), install.clone()))
        }
        Err(Missing::NotInstalled { program, .. }) => {
            Some(less(format!("{name}: not installed"), format!("install {program} so that it is on PATH")))
        }
        // One that is there to be configured is missing nothing until it is.
        Err(Missing::NoCommand { .. }) => None,
    }
}
