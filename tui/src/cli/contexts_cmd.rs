//! `lap login`, `lap logout` and `lap context`: the servers that are known.

use std::io::{IsTerminal, Read, Write};

use clap::Subcommand;
use lap_platform::client::{AgentsQuery, Client};
use lap_platform::secret::SecretText;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Serialize;

use super::args::{Format, LoginArgs, Output};
use super::connect::{App, Target};
use super::contexts::{Contexts, Kept, Keys, LOCAL, Server, check_name};
use super::fault::{Exit, Fault};
use super::print::note;
use super::table::{gives_way, whole};

/// The longest key that is read.
const MAX_KEY: u64 = 4096;

#[derive(Subcommand, Debug)]
pub(super) enum ContextCommand {
    /// The servers that are known; the current one is marked.
    Ls {
        #[command(flatten)]
        output: Output,
    },
    /// Talk to this one from now on; "local" is this machine's own.
    Use {
        /// Its name.
        name: String,
    },
    /// Print the current one's name.
    Show,
    /// Forget one, and its key.
    Rm {
        /// Its name.
        name: String,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    url: Option<String>,
    current: bool,
}

pub(super) fn run(app: &App, command: ContextCommand) -> Result<(), Fault> {
    let mut contexts = Contexts::load(&app.config)?;
    match command {
        ContextCommand::Ls { output } => list(app, &contexts, output.output),
        ContextCommand::Show => app.printer.line(&match app.target()? {
            Target::Local => LOCAL.to_owned(),
            Target::Context(name) => name,
            Target::Url(url) => url,
        }),
        ContextCommand::Use { name } => {
            contexts.current = if name == LOCAL {
                None
            } else {
                contexts.get(&name)?;
                Some(name.clone())
            };
            contexts.save(&app.config)?;
            note(&format!("lap talks to {name} from now on"))
        }
        ContextCommand::Rm { name } => {
            contexts.get(&name)?;
            Keys::of(&app.config).remove(&name)?;
            contexts.context.remove(&name);
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
                note("lap talks to this machine's own server from now on")?;
            }
            contexts.save(&app.config)
        }
    }
}

fn list(app: &App, contexts: &Contexts, format: Format) -> Result<(), Fault> {
    let current = contexts.current.as_deref().unwrap_or(LOCAL);
    let named = contexts.context.iter().map(|(name, server)| (name.as_str(), Some(server.url.clone())));
    let rows: Vec<Row> = std::iter::once((LOCAL, None))
        .chain(named)
        .map(|(name, url)| Row { name: name.to_owned(), url, current: name == current })
        .collect();
    match format {
        Format::Name => rows.iter().try_for_each(|row| app.printer.line(&row.name)),
        Format::Table => {
            let cells = rows.iter().map(|row| {
                let url = row.url.clone().unwrap_or_else(|| "this machine's own server".to_owned());
                vec![if row.current { "*" } else { "" }.to_owned(), row.name.clone(), url]
            });
            let cells: Vec<_> = cells.collect();
            app.printer.table(&[whole(""), whole("NAME"), gives_way("SERVER")], &cells, "")
        }
        format => app.printer.value(&rows, format),
    }
}

/// Remembers a server once it has let us in.
pub(super) async fn login(app: &App, args: LoginArgs) -> Result<(), Fault> {
    let url = args.url.trim_end_matches('/').to_owned();
    let host = Client::new(&url, None)?.attach_url().host_str().unwrap_or_default().to_owned();
    let name = args.name.unwrap_or_else(|| host.trim_matches(['[', ']']).replace(':', "-"));
    check_name(&name)?;
    Client::new(&url, None)?.health().await?;
    let key = match app.config.environment.filled("LAP_API_KEY") {
        Some(key) => SecretText::from(key),
        None => tokio::task::spawn_blocking(read_key)
            .await
            .map_err(|error| Fault::new(Exit::Failed, error.to_string()))??,
    };
    let client = Client::new(&url, Some(key.expose()))?;
    let one = AgentsQuery { limit: Some(1), ..AgentsQuery::default() };
    client.agents(&one).await.map_err(|error| {
        if error.is_not_allowed() {
            Fault::new(Exit::NotAllowed, format!("{url} does not take this key")).hint("nothing was kept")
        } else {
            error.into()
        }
    })?;
    let kept = Keys::of(&app.config).set(&name, &key)?;
    let mut contexts = Contexts::load(&app.config)?;
    contexts.context.insert(name.clone(), Server { url });
    contexts.current = Some(name.clone());
    contexts.save(&app.config)?;
    let place = match kept {
        Kept::Keyring => "the keyring",
        Kept::File => "a file that only you can read",
    };
    note(&format!("lap talks to {name} from now on; its key is in {place}"))
}

/// Forgets a key. The context stays, for the next login.
pub(super) fn logout(app: &App, context: Option<String>) -> Result<(), Fault> {
    let mut contexts = Contexts::load(&app.config)?;
    let name = match context.or_else(|| contexts.current.clone()) {
        Some(name) if name != LOCAL => name,
        _ => return Err(Fault::usage("this machine's own server needs no login: `lap down` ends it")),
    };
    contexts.get(&name)?;
    Keys::of(&app.config).remove(&name)?;
    if contexts.current.as_ref() == Some(&name) {
        contexts.current = None;
        contexts.save(&app.config)?;
    }
    note(&format!("the key of {name} is forgotten"))
}

/// A key from whoever pipes it, or from a person, unseen.
fn read_key() -> Result<SecretText, Fault> {
    let stdin = std::io::stdin();
    let mut key = String::new();
    if stdin.is_terminal() {
        write!(std::io::stderr(), "key: ")?;
        let before = tcgetattr(&stdin).map_err(std::io::Error::from)?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &unseen).map_err(std::io::Error::from)?;
        let read = stdin.read_line(&mut key);
        tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(std::io::Error::from)?;
        note("")?;
        read?;
    } else {
        stdin.take(MAX_KEY).read_to_string(&mut key)?;
    }
    match key.trim() {
        "" => Err(Fault::usage("no key was given").hint("type it, pipe it in, or set LAP_API_KEY")),
        key => Ok(SecretText::from(key)),
    }
}
