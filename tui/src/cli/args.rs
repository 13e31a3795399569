//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::agents::{self, AgentsCommand};
use super::config_cmd::ConfigCommand;
use super::contexts_cmd::ContextCommand;
use super::memory::MemoryCommand;
use super::sessions::{self, SessionsCommand};
use super::skills::{self, SkillsCommand};

/// Run coding agents in sandboxes, watch them side by side, jump into any of them.
///
/// Without a command, lap opens the dashboard. With an agent's name it attaches to that agent's live session, or starts
/// one. On first use it starts its own server in the background; `lap down` ends it.
#[derive(Parser, Debug)]
#[command(name = "lap", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Agents and sessions go by name, id, the beginning of an id, or URL.\n\
    Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 no server answers.")]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    /// Attach to this agent's live session, or start one.
    pub(super) agent: Option<String>,
    /// Start a new session of that agent, even if one is live.
    #[arg(long, requires = "agent")]
    pub(super) new: bool,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Global {
    /// Talk to the server of this context (`lap context ls`) instead of the current one.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Options everywhere")]
    pub(super) context: Option<String>,
    /// Talk to the server at this address; the key is taken from LAP_API_KEY.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        conflicts_with = "context",
        help_heading = "Options everywhere"
    )]
    pub(super) url: Option<String>,
    /// Read this configuration file instead of the usual one.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options everywhere")]
    pub(super) config: Option<PathBuf>,
    /// Print without colours, as NO_COLOR does.
    #[arg(long, global = true, help_heading = "Options everywhere")]
    pub(super) no_color: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Attach to sessions' terminals, side by side. Without a name to the only live one, or the one chosen.
    Attach(AttachArgs),
    /// List, make, change and remove agents. Lists them when nothing else is asked.
    #[command(alias = "agent", args_conflicts_with_subcommands = true)]
    Agents {
        #[command(flatten)]
        list: agents::ListArgs,
        #[command(subcommand)]
        command: Option<AgentsCommand>,
    },
    /// List, start, stop and look into sessions. Lists them when nothing else is asked.
    #[command(alias = "session", args_conflicts_with_subcommands = true)]
    Sessions {
        #[command(flatten)]
        list: sessions::ListArgs,
        #[command(subcommand)]
        command: Option<SessionsCommand>,
    },
    /// See and change what an agent remembers from one session to the next.
    #[command(subcommand, alias = "memories")]
    Memory(MemoryCommand),
    /// List and change skills, and give them to agents. Lists them when nothing else is asked.
    #[command(alias = "skill", args_conflicts_with_subcommands = true)]
    Skills {
        #[command(flatten)]
        list: skills::ListArgs,
        #[command(subcommand)]
        command: Option<SkillsCommand>,
    },
    /// Remember a server and its key, and talk to it from now on.
    Login(LoginArgs),
    /// Forget a server's key.
    Logout {
        /// The context; the current one when absent.
        context: Option<String>,
    },
    /// Choose between the servers that are known.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Show what is configured and where it comes from.
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Run the server of this machine in the foreground.
    Serve(ServeArgs),
    /// End all sessions of this machine, and its server.
    Down(DownArgs),
    /// Look at what is missing on this machine, and say what mends it.
    Doctor,
    /// Print the completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print what lap or one of its commands can do.
    Help {
        /// The command: `sessions stop`.
        command: Vec<String>,
    },
    /// Print the manual page, or write those of all commands into a directory.
    Man {
        /// Where to: `lap.1`, `lap-agents.1` and so on.
        directory: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(super) struct AttachArgs {
    /// Which sessions; or agents that have one live session.
    #[arg(value_name = "SESSION")]
    pub(super) sessions: Vec<String>,
    /// Only look: what you type stays here.
    #[arg(long)]
    pub(super) view: bool,
    /// Restart those that have ended before attaching.
    #[arg(long)]
    pub(super) resume: bool,
    /// End with the program's own exit status; for one session.
    #[arg(long)]
    pub(super) exit_status: bool,
}

#[derive(Args, Debug)]
pub(super) struct LoginArgs {
    /// The server's address: https://lap.example.com
    pub(super) url: String,
    /// What to call it; its host name when absent.
    #[arg(long)]
    pub(super) name: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Listen on this address or host name.
    #[arg(long, value_name = "HOST")]
    pub(super) bind_host: Option<String>,
    /// Listen on this port; 0 takes any free one.
    #[arg(long)]
    pub(super) port: Option<String>,
    /// Print what is in force, or all that is wrong with it, and end.
    #[arg(long)]
    pub(super) check_config: bool,
}

#[derive(Args, Debug)]
pub(super) struct DownArgs {
    /// Leave sessions running: the next server finds them.
    #[arg(long)]
    pub(super) keep_sessions: bool,
    /// Kill the server if it does not answer or does not end in time.
    #[arg(long)]
    pub(super) force: bool,
    /// Do not ask before sessions end.
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// How a command prints.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Output {
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(super) output: Format,
}

/// The forms in which rows are printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// For people.
    Table,
    /// As the API has it.
    Json,
    /// The same in YAML.
    Yaml,
    /// Names alone (ids, where there is no name), one a line, for other commands.
    Name,
}
