//! This program as the server in the background.

use std::io::Write;
use std::path::PathBuf;

use lap_attach_server::{RunOptions, Server, StartError, terminated};
use lap_platform::config::{Config, Environment, LoadOptions};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::log::CappedLog;

/// The hidden subcommand under which this program is the server in the background. Its argument is the configuration
/// file, where one was named.
pub const SUBCOMMAND: &str = "__serve";

/// What a starting server says to whoever started it, in one line of JSON, before it closes its standard output.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// It answers.
    Ready,
    /// It cannot start. A sentence for people.
    Fault(String),
}

/// Runs the server in the background until it is told to end.
///
/// # Errors
/// When it does not start; its starter has been told by then.
pub fn background(file: Option<PathBuf>) -> anyhow::Result<()> {
    // A session of its own: neither the terminal's hang-up nor its Ctrl-C are for the server. It fails where we lead
    // one already.
    let _ = rustix::process::setsid();
    let run = || -> anyhow::Result<()> {
        let environment = Environment::of_process();
        let config = Config::load(LoadOptions { environment, file, flags: Vec::new() })?;
        begin_to_log(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(config))
    };
    run().inspect_err(|error| say(&Said::Fault(format!("{error:#}"))))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let signals = terminated()?;
    let server = start(config).await?;
    say(&Said::Ready);
    signals.await;
    server.stop().await;
    Ok(())
}

/// Where nobody has asked for a port and the usual one is another program's, any other will do: clients find it in
/// `server.json`.
async fn start(mut config: Config) -> Result<Server, StartError> {
    let options = || RunOptions { background: true, ..RunOptions::default() };
    let any_port = !config.is_set("server.port");
    match Server::start(config.clone(), options()).await {
        Err(StartError::Listen { cause, .. })
            if any_port && cause.kind() == std::io::ErrorKind::AddrInUse =>
        {
            tracing::info!(
                port = config.server.port,
                "the usual port is another program's: taking any free one"
            );
            config.server.port = 0;
            Server::start(config, options()).await
        }
        started => started,
    }
}

fn begin_to_log(config: &Config) -> anyhow::Result<()> {
    let log = CappedLog::open(&config.dirs.state)?;
    let filter = EnvFilter::try_new(&config.logging.filter)?;
    let to_log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    to_log.with_writer(std::sync::Mutex::new(log)).init();
    Ok(())
}

fn say(said: &Said) {
    // A starter that has gone meanwhile needs no word.
    if let Ok(line) = serde_json::to_string(said) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
    // It waits for a line, and must not find one in what a library prints later.
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&nowhere);
    }
}
