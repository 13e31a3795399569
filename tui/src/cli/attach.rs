//! Into terminals: `lap <agent>`, `lap attach`, and the dashboard.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use lap_platform::client::{AgentsQuery, Client};
use lap_platform::model::{CreateSession, Session, SessionStatus};
use lap_wire::control::ErrorCode;

use super::args::{AttachArgs, Cli};
use super::connect::{App, Target};
use super::contexts::LOCAL;
use super::fault::{Exit, Fault};
use super::print::note;
use super::resolve::{self, describe};
use super::session_use::start_and_wait;
use super::slip;
use crate::attach_cmd::{self, AttachError, AttachOptions, Ending};
use crate::dashboard::app::{Connection, Found, Locate, Start, endpoint, start};
use crate::dashboard::key;
use crate::dashboard::theme::{self, ColorEnvironment};
use crate::embed::{Revive, Revived};
use crate::own;
use crate::panes::{ColorDepth, PaneSession, PanesConfig};
use crate::term_input;
use crate::terminal::{Clipboard, Reports};

/// How long a server is given to refuse a key before the dashboard is shown.
const LET_IN: Duration = Duration::from_secs(2);

/// What is left to do once it is known with whom: it takes the terminal, on a runtime of its own with one thread, where
/// a key goes to the socket without waking another.
pub(super) enum Next {
    /// Nothing.
    Done,
    /// Attach.
    Attach {
        options: Box<AttachOptions>,
        /// End as the program does.
        exit_status: bool,
    },
    /// Show the dashboard.
    Dashboard(Box<Start>),
}

/// `lap <agent>`: its live session, or a new one; asks when several are live.
pub(super) async fn agent(app: &App, meant: &str, new: bool) -> Result<Next, Fault> {
    let client = app.connect().await?;
    let agent = resolve::agent(&client, meant).await.map_err(|fault| mistyped(fault, meant))?.agent;
    // Only now: who has mistyped a command is to hear of that, terminal or not.
    needs_terminal()?;
    let mut live = if new { Vec::new() } else { resolve::live_sessions(&client, Some(agent.id)).await? };
    let session = match (live.len(), live.pop()) {
        (_, None) => start_and_wait(&client, agent.id, &CreateSession::default()).await?,
        (1, Some(only)) => only,
        (_, Some(last)) => {
            live.push(last);
            let each: Vec<String> = live.iter().map(describe).collect();
            choose(&format!("{} has {} live sessions:", agent.name, live.len()), &each, live)?
        }
    };
    not_within(app, &session)?;
    let sessions = vec![PaneSession { id: session.id.to_string(), name: agent.name }];
    Ok(Next::Attach { options: Box::new(options(app, &client, sessions, false)?), exit_status: false })
}

/// Says which command it may have been, where an agent is not there.
fn mistyped(fault: Fault, word: &str) -> Fault {
    match slip::meant(&Cli::command(), word) {
        Some(command) if fault.is_not_found() => {
            fault.hint_first(format!("did you mean the command `lap {command}`?"))
        }
        _ => fault,
    }
}

/// `lap attach`: one or many, side by side; the only live one, or the one chosen, where none is named.
pub(super) async fn attach(app: &App, args: AttachArgs) -> Result<Next, Fault> {
    if args.exit_status && args.sessions.len() > 1 {
        return Err(Fault::usage("--exit-status is for one session"));
    }
    let client = app.connect().await?;
    let mut found = Vec::new();
    for meant in &args.sessions {
        let session = resolve::session(&client, meant).await?;
        not_within(app, &session)?;
        if !session.status.is_live() && !args.resume {
            return Err(not_live(meant, &session));
        }
        found.push(session);
    }
    if args.sessions.is_empty() {
        found.push(any_live(app, &client).await?);
    }
    needs_terminal()?;
    let mut sessions = Vec::new();
    for mut session in found {
        if !session.status.is_live() {
            session = client.restart_session(session.id).await?;
        }
        let agent = client.agent(session.agent_id).await;
        let name = session.title.clone().or_else(|| agent.ok().map(|agent| agent.name));
        let id = session.id.to_string();
        sessions.push(PaneSession { name: name.unwrap_or_else(|| id.clone()), id });
    }
    let options = options(app, &client, sessions, args.view)?;
    Ok(Next::Attach { options: Box::new(options), exit_status: args.exit_status })
}

/// Refuses the session that this program runs in.
fn not_within(app: &App, session: &Session) -> Result<(), Fault> {
    if own::session(&app.config.environment) != Some(session.id) {
        return Ok(());
    }
    Err(Fault::usage(own::WITHIN).hint("`lap attach` from another terminal shows it"))
}

/// The session that is meant where none is named: the only live one, or the one somebody chooses.
async fn any_live(app: &App, client: &Client) -> Result<Session, Fault> {
    let own = own::session(&app.config.environment);
    let mut live = resolve::live_sessions(client, None).await?;
    live.retain(|session| Some(session.id) != own);
    let Some(last) = live.pop() else {
        return Err(Fault::new(Exit::NotFound, "there is no live session to attach to")
            .hint("`lap <agent>` starts one, `lap sessions ls` shows those that have ended"));
    };
    if live.is_empty() {
        return Ok(last);
    }
    live.push(last);
    let agents = client.all_agents(&AgentsQuery::default()).await?;
    let each: Vec<String> = live
        .iter()
        .map(|session| {
            let agent = agents.iter().find(|row| row.agent.id == session.agent_id);
            let agent = agent.map(|row| row.agent.name.as_str()).unwrap_or_default();
            format!("{}  {agent}", describe(session))
        })
        .collect();
    let heading = format!("there are {} live sessions:", live.len());
    if on_terminal() {
        return choose(&heading, &each, live);
    }
    Err(Fault::usage(format!("{heading} say which")).hint(each.join("\n")))
}

/// `lap`.
pub(super) async fn dashboard(app: &App) -> Result<Next, Fault> {
    if !on_terminal() {
        return Err(Fault::usage("the dashboard needs a terminal on standard input and output")
            .hint("`lap --help` shows the commands that work without one"));
    }
    let client = app.connect().await?;
    let (context, again) = match app.target()? {
        Target::Local => (LOCAL.to_owned(), None),
        Target::Context(name) => (name.clone(), Some(format!("lap --context {name}"))),
        Target::Url(url) => (url.clone(), Some(format!("lap --url {url}"))),
    };
    if again.is_some() {
        is_let_in(&client).await?;
    }
    let locate = locate(app, &client)?;
    let no_color = app.global.no_color;
    Ok(Next::Dashboard(Box::new(Start { context, locate, open: None, again, no_color })))
}

/// Ends at once where the key is refused: a dashboard could only say so again and again. A server that does not answer
/// is waited for by the dashboard.
async fn is_let_in(client: &Client) -> Result<(), Fault> {
    let asked = tokio::time::timeout(LET_IN, client.harnesses()).await;
    match asked {
        Ok(Err(error)) if error.is_not_allowed() || error.status() == Some(401) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Does what is left.
pub(super) fn finish(app: &App, next: Next) -> Result<ExitCode, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match next {
        Next::Done => Ok(ExitCode::SUCCESS),
        Next::Attach { options, exit_status } => {
            let ending = runtime.block_on(attach_cmd::run(*options)).map_err(|error| refused(&error))?;
            match ending {
                Ending::Exited(status) if exit_status => Ok(ExitCode::from(attach_cmd::exit_code(&status))),
                Ending::Left | Ending::Exited(_) => Ok(ExitCode::SUCCESS),
                Ending::Closed(reason) => Err(Fault::new(Exit::Failed, reason)),
            }
        }
        Next::Dashboard(with) => {
            runtime
                .block_on(start(&app.config, *with))
                .map_err(|error| Fault::new(Exit::Failed, error.to_string()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn refused(error: &AttachError) -> Fault {
    let exit = match error {
        AttachError::NoSession => Exit::Usage,
        AttachError::Refused(refusal) => match refusal.code {
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::NotAllowed => Exit::NotAllowed,
            ErrorCode::UnsupportedVersion => Exit::Unreachable,
            _ => Exit::Failed,
        },
        AttachError::Terminal(_) | AttachError::Signal => Exit::Failed,
    };
    Fault::new(exit, error.to_string())
}

fn options(
    app: &App,
    client: &Client,
    sessions: Vec<PaneSession>,
    view: bool,
) -> Result<AttachOptions, Fault> {
    let find = locate(app, client)?;
    let locate = move || endpoint(find());
    let prefix = key::prefix(&app.config.interface.prefix);
    let prefix = prefix.map_err(|error| Fault::usage(format!("ui.prefix: {error}")))?;
    let panes = PanesConfig {
        prefix: term_input::Key::from(prefix),
        depth: color_depth(app),
        ..PanesConfig::default()
    };
    let user = app.config.environment.filled("USER").unwrap_or("lap").to_owned();
    let reports = Reports::around(app.config.environment.filled("STY"));
    let clipboard = Clipboard::of(&app.config.environment);
    Ok(AttachOptions { sessions, view, panes, reports, clipboard, name: user, locate: Box::new(locate) })
}

fn color_depth(app: &App) -> ColorDepth {
    let environment = &app.config.environment;
    let variable = |name| environment.filled(name).map(str::to_owned);
    let described = ColorEnvironment {
        no_color: variable("NO_COLOR"),
        colorterm: variable("COLORTERM"),
        term: variable("TERM"),
    };
    match described.depth() {
        _ if app.global.no_color => ColorDepth::Mono,
        theme::ColorDepth::None => ColorDepth::Mono,
        theme::ColorDepth::True => ColorDepth::True,
        _ => ColorDepth::Palette,
    }
}

/// Where the server is, asked anew after every loss of the connection: this machine's own may be at another port by
/// then, or have died and have to be started again.
pub(super) fn locate(app: &App, client: &Client) -> Result<Locate, Fault> {
    let (url, key) = (client.base().to_owned(), client.key().map(str::to_owned));
    if app.target()? != Target::Local {
        let connection = Connection { url, socket: None, key, same_machine: false };
        let found = Found { connection, started: false };
        return Ok(Arc::new(move || Box::pin(std::future::ready(Ok(found.clone())))));
    }
    let revive = Arc::new(Revive::new(app.config.clone(), &url, &key.unwrap_or_default()));
    Ok(Arc::new(move || {
        let revive = revive.clone();
        Box::pin(async move {
            let Revived { url, socket, key, started } = revive.find().await?;
            Ok(Found { connection: Connection { url, socket, key: Some(key), same_machine: true }, started })
        })
    }))
}

fn not_live(meant: &str, session: &Session) -> Fault {
    let state = match session.status {
        SessionStatus::Failed => "did not come up",
        _ => "has ended",
    };
    let why = session.failure_reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Fault::new(Exit::Failed, format!("the session {meant} {state}{why}"))
        .hint("`--resume` starts it again first; `lap sessions logs` shows what it printed")
}

fn on_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

fn needs_terminal() -> Result<(), Fault> {
    if on_terminal() {
        return Ok(());
    }
    Err(Fault::usage("attaching needs a terminal on standard input and output")
        .hint("`lap sessions exec` and `lap sessions logs` work without one"))
}

/// Which of several live sessions; by its number. `each` describes them.
fn choose(heading: &str, each: &[String], live: Vec<Session>) -> Result<Session, Fault> {
    note(heading)?;
    for (at, session) in each.iter().enumerate() {
        note(&format!("  {}  {session}", at + 1))?;
    }
    write!(std::io::stderr(), "which one? [1-{}] ", live.len())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let chosen = answer.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    chosen.and_then(|at| live.into_iter().nth(at)).ok_or_else(|| Fault::new(Exit::Failed, "none was chosen"))
}
