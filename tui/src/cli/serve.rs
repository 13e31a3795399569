//! The server of this machine by hand: run in the foreground, and ended.

use std::path::PathBuf;

use lap_attach_server::{RunOptions, Server, logging, terminated};
use lap_platform::config::{Config, Environment, Flag, LoadOptions};
use lap_platform::model::Session;

use super::args::{DownArgs, ServeArgs};
use super::connect::{App, Target};
use super::fault::{Exit, Fault};
use super::print::{confirm, note};
use super::resolve::{describe, named};
use crate::embed::{Down, Ended, Ending};
use crate::unsaved::{Fate, Tally};

/// The configuration of a server started by hand.
pub(super) fn configuration(args: &ServeArgs, file: Option<PathBuf>) -> LoadOptions {
    let given = [("server.bind_host", "--bind-host", &args.bind_host), ("server.port", "--port", &args.port)];
    let flags =
        given.into_iter().filter_map(|(key, flag, value)| Some(Flag { key, flag, value: value.clone()? }));
    LoadOptions { environment: Environment::of_process(), file, flags: flags.collect() }
}

/// The server of this machine, in the foreground until it is interrupted.
pub(super) async fn serve(config: Config) -> Result<(), Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::new(Exit::Failed, error.to_string());
    logging::init(&config.logging, !config.environment.no_color()).map_err(|error| failed(&error))?;
    let signals = terminated()?;
    let server = Server::start(config, RunOptions::default()).await.map_err(|error| failed(&error))?;
    note(&format!(
        "lap's server answers at http://{}; Ctrl-C ends it, sessions keep running",
        server.address()
    ))?;
    signals.await;
    server.stop().await;
    Ok(())
}

/// Sessions that a question names one by one.
const NAMED: usize = 5;

/// Ends the sessions and the server of this machine, and says what it has ended.
pub(super) async fn down(app: &App, args: &DownArgs) -> Result<(), Fault> {
    let another = match app.target()? {
        Target::Local => None,
        Target::Context(name) => Some(format!("the server of the context {name}")),
        Target::Url(url) => Some(format!("the server at {url}")),
    };
    if let Some(another) = another {
        return Err(Fault::usage(format!("`lap down` ends the server of this machine, and not {another}"))
            .hint("for this machine's: lap --context local down"));
    }
    let how = Down { keep_sessions: args.keep_sessions, force: args.force };
    let ending = Ending::look(&app.config, how).await?;
    if !args.yes && !ending.sessions().is_empty() {
        let question = question(ending.sessions(), &ending.unsaved().await);
        confirm(&question, "--yes, or leave them running with --keep-sessions")?;
    }
    match ending.end().await? {
        Ended::Nothing => note("no server of lap's runs on this machine"),
        Ended::Server { pid, stopped, failed } => {
            for session in &stopped {
                app.printer.line(&format!("ended  {}", describe(session)))?;
            }
            let sessions = if args.keep_sessions { "; sessions keep running" } else { "" };
            note(&format!("the server (process {pid}) has ended{sessions}"))?;
            if failed.is_empty() {
                return Ok(());
            }
            let why: Vec<_> = failed.iter().map(|(id, error)| format!("{id}: {error}")).collect();
            Err(Fault::new(Exit::Failed, format!("{} sessions could not be ended", failed.len()))
                .hint(format!("{}\nrun `lap down` again", why.join("\n"))))
        }
    }
}

/// What is asked before sessions end with their server.
fn question(live: &[Session], unsaved: &Tally) -> String {
    let named: Vec<String> = live.iter().take(NAMED).map(named).collect();
    let more = live.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let sessions = if live.len() == 1 { "1 session" } else { &format!("{} sessions", live.len()) };
    let unsaved = unsaved.words(Fate::Kept);
    format!("{sessions} will end: {}{more}.\n{unsaved}\nEnd the server?", named.join(", "))
}
