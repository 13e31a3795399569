//! `lap config`: what is configured, and where it comes from.

use clap::Subcommand;

use super::connect::App;
use super::fault::Fault;

#[derive(Subcommand, Clone, Copy, Debug)]
pub(super) enum ConfigCommand {
    /// All that is in force and where each of it comes from, secrets masked. The default.
    Show,
    /// Where the configuration file is, or would be.
    Path,
}

pub(super) fn run(app: &App, command: Option<ConfigCommand>) -> Result<(), Fault> {
    match command.unwrap_or(ConfigCommand::Show) {
        ConfigCommand::Show => app.printer.text(&app.config.render()),
        ConfigCommand::Path => {
            let usual = app.config.dirs.config.join("config.toml");
            app.printer.line(&app.config.file().unwrap_or(&usual).display().to_string())
        }
    }
}
