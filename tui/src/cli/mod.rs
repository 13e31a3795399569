//! The command line: `lap` and all its commands.
//!
//! [`main`] reads the arguments, loads the configuration, runs one command and turns its outcome into an exit code.
//! Commands return a `Fault` or nothing; what they print goes through one `Printer`.

mod agent_form;
mod agents;
mod args;
mod attach;
mod config_cmd;
mod connect;
mod contexts;
mod contexts_cmd;
mod converse;
mod doctor;
mod editor;
mod fault;
mod follow;
mod memory;
mod print;
mod resolve;
mod serve;
mod session_use;
mod sessions;
mod skills;
mod slip;
mod table;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use lap_platform::config::{Config, Environment, LoadOptions};
use lap_platform::open_files;

use agents::AgentsCommand;
use args::{Cli, Command};
use attach::Next;
use config_cmd::ConfigCommand;
use connect::App;
use fault::{Exit, Fault};
use print::Printer;
use sessions::SessionsCommand;
use skills::SkillsCommand;

/// The hidden subcommand: this program is then the keeper of a sandbox on this machine.
const KEEPER: &str = "__keeper";

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // The hidden ones first: they have nothing of a command line for people.
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == KEEPER => return keeper(words),
        Some(word) if word == lap_attach_server::mcp::SUBCOMMAND => return tools(words),
        Some(word) if word == crate::embed::SUBCOMMAND => return background(words.next().map(PathBuf::from)),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version come here too, and end well.
        Err(error) => {
            let _ = error.print();
            if let Some(command) = slip::meant_line(&Cli::command(), std::env::args().skip(1)) {
                let _ = print::note(&format!("\n  did you mean the command `lap {command}`?"));
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(fault) => {
            // Nowhere is left to say it where standard error is gone, or a terminal that takes nothing.
            if print::can_be_noted() {
                let _ = print::note(&format!("lap: {fault}"));
            }
            fault.exit_code()
        }
    }
}

fn keeper(words: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::from(u8::try_from(lap_keeper::main(words)).unwrap_or(1))
}

fn tools(words: impl Iterator<Item = OsString>) -> ExitCode {
    match lap_attach_server::mcp::main(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = print::note(&format!("lap: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn background(file: Option<PathBuf>) -> ExitCode {
    match crate::embed::background(file) {
        Ok(()) => ExitCode::SUCCESS,
        // Its starter has been told, and its standard error is the log.
        Err(error) => {
            let _ = print::note(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Fault> {
    if let (Some(agent), Some(_)) = (&cli.agent, &cli.command) {
        return Err(Fault::usage(format!("\"{agent}\" stands before a command"))
            .hint("`lap --help` shows how it is meant"));
    }
    let file = cli.global.config.clone();
    if let Some(Command::Completions { shell }) = cli.command {
        // It gives up with a panic where its writer fails, as a pipe does whose reader has seen enough.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "lap", &mut script);
        print::bytes(&script)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Command::Help { command }) = &cli.command {
        print::bytes(slip::help(Cli::command(), command)?.to_string().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Command::Man { directory }) = cli.command {
        manual(directory.as_deref())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Command::Serve(args)) = &cli.command {
        let config = load(serve::configuration(args, file))?;
        if args.check_config {
            let printer = Printer::new(&config.environment, true);
            printer.text(&config.render())?;
            printer.line(&open_files::told())?;
            return Ok(ExitCode::SUCCESS);
        }
        runtime()?.block_on(serve::serve(config))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = LoadOptions { environment: Environment::of_process(), file, flags: Vec::new() };
    let (config, faults) = Config::load_anyway(options).map_err(|faults| Fault::usage(faults.to_string()))?;
    match &faults {
        Some(faults) if !goes_on(cli.command.as_ref()) => return Err(Fault::usage(faults.to_string())),
        _ => {}
    }
    let printer = Printer::new(&config.environment, cli.global.no_color);
    let app = App { config, faults, global: cli.global, printer };
    let runtime = runtime()?;
    let next = runtime.block_on(command(&app, cli.command, cli.agent, cli.new));
    // A read of standard input may still wait on a thread of its own: it is not waited for.
    runtime.shutdown_background();
    attach::finish(&app, next?)
}

/// The manual, made from the commands themselves.
fn manual(directory: Option<&Path>) -> Result<(), Fault> {
    let command = Cli::command().name("lap");
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return print::bytes(&page);
    };
    let failed = |error| Fault::new(Exit::Failed, format!("cannot write {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(command, directory).map_err(failed)
}

async fn command(
    app: &App,
    command: Option<Command>,
    agent: Option<String>,
    new: bool,
) -> Result<Next, Fault> {
    let done = match command {
        None => {
            return match agent {
                Some(agent) => attach::agent(app, &agent, new).await,
                None => attach::dashboard(app).await,
            };
        }
        Some(Command::Attach(args)) => return attach::attach(app, args).await,
        Some(Command::Sessions { list, command }) => {
            return sessions::run(app, command.unwrap_or(SessionsCommand::Ls(list))).await;
        }
        Some(Command::Agents { list, command }) => {
            agents::run(app, command.unwrap_or(AgentsCommand::Ls(list))).await
        }
        Some(Command::Memory(command)) => memory::run(app, command).await,
        Some(Command::Skills { list, command }) => {
            skills::run(app, command.unwrap_or(SkillsCommand::Ls(list))).await
        }
        Some(Command::Login(args)) => contexts_cmd::login(app, args).await,
        Some(Command::Logout { context }) => contexts_cmd::logout(app, context),
        Some(Command::Context(command)) => contexts_cmd::run(app, command),
        Some(Command::Config { command }) => config_cmd::run(app, command),
        Some(Command::Down(args)) => serve::down(app, &args).await,
        Some(Command::Doctor) => doctor::run(app).await,
        // Done before there is a runtime.
        Some(
            Command::Serve(_) | Command::Completions { .. } | Command::Help { .. } | Command::Man { .. },
        ) => Ok(()),
    };
    done.map(|()| Next::Done)
}

/// Whether a command works with a faulty configuration: one that ends what runs, or helps to mend it.
fn goes_on(command: Option<&Command>) -> bool {
    matches!(
        command,
        Some(Command::Down(_) | Command::Doctor | Command::Config { command: Some(ConfigCommand::Path) })
    )
}

fn load(options: LoadOptions) -> Result<Config, Fault> {
    Config::load(options).map_err(|faults| Fault::usage(faults.to_string()))
}

fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new(Exit::Failed, format!("cannot start: {error}")))
}
