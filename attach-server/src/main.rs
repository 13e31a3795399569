//! `lap-server`: the server alone, for a machine or a cluster that many people share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lap_attach_server::{RunOptions, logging, mcp, run, terminated};
use lap_platform::config::{Config, Environment, Flag, LoadOptions};
use lap_platform::open_files;

/// What a wrong command line or configuration ends with.
const USAGE: u8 = 2;
/// The hidden subcommand: this program is then the keeper of a sandbox on this machine.
const KEEPER: &str = "__keeper";

/// lap's server: REST API and attach socket for coding agents' terminals.
///
/// All settings can also stand in config.toml or in the environment; --check-config shows them.
#[derive(Parser)]
#[command(name = "lap-server", version)]
struct Arguments {
    /// Read this configuration file instead of the usual one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address or host name.
    #[arg(long, value_name = "HOST")]
    bind_host: Option<String>,
    /// Listen on this port; 0 takes any free one.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Print what is in force, or everything that is wrong with it, and exit.
    #[arg(long)]
    check_config: bool,
}

impl Arguments {
    fn into_options(self) -> LoadOptions {
        let flags =
            [("server.bind_host", "--bind-host", self.bind_host), ("server.port", "--port", self.port)];
        LoadOptions {
            environment: Environment::of_process(),
            file: self.config,
            flags: flags
                .into_iter()
                .filter_map(|(key, flag, value)| Some(Flag { key, flag, value: value? }))
                .collect(),
        }
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == KEEPER => return keeper(words),
        Some(word) if word == mcp::SUBCOMMAND => return tools(words),
        _ => {}
    }
    let arguments = Arguments::parse();
    let check = arguments.check_config;
    let config = match Config::load(arguments.into_options()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(USAGE);
        }
    };
    if check {
        print!("{}", config.render());
        println!("{}", open_files::told());
        return ExitCode::SUCCESS;
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lap-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn keeper(words: impl Iterator<Item = OsString>) -> ExitCode {
    let code = lap_keeper::main(words);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn tools(words: impl Iterator<Item = OsString>) -> ExitCode {
    match mcp::main(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lap-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    logging::init(&config.logging, !config.environment.no_color())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = terminated()?;
        run(config, RunOptions::default(), signals).await?;
        Ok(())
    })
}
