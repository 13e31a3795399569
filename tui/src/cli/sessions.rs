//! `lap sessions`: list, start, stop and look into sessions.

use std::cell::RefCell;
use std::collections::HashMap;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use lap_platform::client::{AgentsQuery, Client, SessionsQuery};
use lap_platform::model::{AgentId, Attention, Resource, Session, SessionPatch, SessionStatus};
use uuid::Uuid;

use super::args::{AttachArgs, Format, Output};
use super::attach::{Next, attach};
use super::connect::App;
use super::converse::{self, PermitArgs, SendArgs};
use super::fault::Fault;
use super::print::{ago, confirm, note};
use super::resolve::{self, short_id};
use super::session_use::{self, CreateArgs, ExecArgs, LogsArgs, RecordArgs};
use super::table::{Column, gives_way, whole};
use super::watch::{Watched, watch};
use crate::unsaved::{Fate, tally};

/// Rows of a list that is not asked for whole.
const SHOWN: u32 = 50;

#[derive(Subcommand, Debug)]
pub(super) enum SessionsCommand {
    /// List sessions, newest first.
    Ls(ListArgs),
    /// Show one.
    Get {
        /// Its id, the beginning of its id, title, or URL; or an agent with one live session.
        session: String,
        #[command(flatten)]
        output: Output,
    },
    /// Start a session of an agent. Prints its id.
    Create(CreateArgs),
    /// Give a session another title.
    Update {
        /// Which session.
        session: String,
        /// Its new title.
        #[arg(long, required_unless_present = "no_title")]
        title: Option<String>,
        /// Leave it without a title.
        #[arg(long, conflicts_with = "title")]
        no_title: bool,
    },
    /// End sessions. Their logs, recordings and workspaces stay for a while.
    #[command(visible_alias = "rm")]
    Stop {
        /// Which.
        #[arg(required = true)]
        sessions: Vec<String>,
        /// Erase them too: nothing of them is left, neither log nor recording nor what was worked on.
        #[arg(long)]
        erase: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Start sessions again, in new sandboxes. What runs in them ends.
    Restart {
        /// Which.
        #[arg(required = true)]
        sessions: Vec<String>,
        /// Do not ask before programs that run are ended.
        #[arg(short, long)]
        yes: bool,
    },
    /// Say what a session has worked on: where it is, how much of it is nowhere else, and until when it is kept.
    Work {
        /// Which session.
        session: String,
        #[command(flatten)]
        output: Output,
    },
    /// Print what a session's program was told: its model, its instructions, and how they were given.
    Prompt {
        /// Which session.
        session: String,
        #[command(flatten)]
        output: Output,
    },
    /// Say something to a session's agent, and print its answer as it comes. Ctrl-C ends the turn.
    Send(SendArgs),
    /// Print what was said in a session's conversation.
    Messages {
        /// Which session.
        session: String,
        #[command(flatten)]
        output: Output,
    },
    /// Answer what a session's agent asks to be allowed; without an answer, show what it asks.
    Permit(PermitArgs),
    /// Attach to sessions' terminals, side by side.
    Attach(AttachArgs),
    /// Print what a session's terminal has shown, or its sandbox has said.
    Logs(LogsArgs),
    /// Run a command in a session's sandbox, and end with its exit code.
    Exec(ExecArgs),
    /// Print what happens to a session, as it happens.
    Events {
        /// Which session.
        session: String,
        #[command(flatten)]
        output: Output,
    },
    /// Download the recording of a session's terminal (asciicast v3).
    Record(RecordArgs),
    /// Say what is known about a session that is in trouble.
    Diagnose {
        /// Which session.
        session: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only this agent's.
    #[arg(long)]
    agent: Option<String>,
    /// Only those that stand there.
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only those with this in their title or id.
    #[arg(long)]
    search: Option<String>,
    /// At most this many; 0 for all.
    #[arg(long, default_value_t = SHOWN)]
    limit: u32,
    /// Go on printing what changes.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

impl ListArgs {
    /// What an empty list says.
    fn none(&self) -> &'static str {
        if self.agent.is_some() || self.status.is_some() || self.search.is_some() {
            "no such sessions; `lap sessions ls` shows all"
        } else {
            "no sessions; `lap <agent>` starts one"
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Creating,
    Ready,
    Dead,
    Failed,
}

impl From<Status> for SessionStatus {
    fn from(status: Status) -> SessionStatus {
        match status {
            Status::Creating => SessionStatus::Creating,
            Status::Ready => SessionStatus::Ready,
            Status::Dead => SessionStatus::Dead,
            Status::Failed => SessionStatus::Failed,
        }
    }
}

pub(super) async fn run(app: &App, command: SessionsCommand) -> Result<Next, Fault> {
    match command {
        SessionsCommand::Attach(args) => attach(app, args).await,
        other => run_at(app, &app.connect().await?, other).await.map(|()| Next::Done),
    }
}

async fn run_at(app: &App, client: &Client, command: SessionsCommand) -> Result<(), Fault> {
    match command {
        // Taken before: it needs more than a client.
        SessionsCommand::Attach(_) => Ok(()),
        SessionsCommand::Ls(args) => list(app, client, &args).await,
        SessionsCommand::Get { session, output } => {
            let session = resolve::session(client, &session).await?;
            match output.output {
                Format::Name => app.printer.line(&session.id.to_string()),
                // One is read more easily field by field than in a table of one row.
                Format::Table => app.printer.value(&session, Format::Yaml),
                format => app.printer.value(&session, format),
            }
        }
        SessionsCommand::Create(args) => session_use::create(app, client, args).await,
        SessionsCommand::Update { session, title, no_title: _ } => {
            let session = resolve::session(client, &session).await?;
            let session = client.patch_session(session.id, &SessionPatch { title: Some(title) }).await?;
            app.printer.line(&session.id.to_string())
        }
        SessionsCommand::Stop { sessions, erase, yes } => stop(app, client, &sessions, erase, yes).await,
        SessionsCommand::Restart { sessions, yes } => restart(app, client, &sessions, yes).await,
        SessionsCommand::Work { session, output } => {
            session_use::work(app, client, &session, output.output).await
        }
        SessionsCommand::Prompt { session, output } => {
            session_use::prompt(app, client, &session, output.output).await
        }
        SessionsCommand::Send(args) => converse::send(app, client, args).await,
        SessionsCommand::Messages { session, output } => {
            converse::messages(app, client, &session, output.output).await
        }
        SessionsCommand::Permit(args) => converse::permit(app, client, args).await,
        SessionsCommand::Logs(args) => session_use::logs(app, client, args).await,
        SessionsCommand::Exec(args) => session_use::exec(client, args).await,
        SessionsCommand::Events { session, output } => {
            let session = resolve::session(client, &session).await?;
            watch(client, &OneSession(session), &app.printer, output.output).await
        }
        SessionsCommand::Record(args) => session_use::record(app, client, args).await,
        SessionsCommand::Diagnose { session, output } => {
            session_use::diagnose(app, client, &session, output.output).await
        }
    }
}

/// All that are meant, found before anything is done to the first.
async fn all(client: &Client, meant: &[String]) -> Result<Vec<Session>, Fault> {
    let mut sessions = Vec::new();
    for meant in meant {
        sessions.push(resolve::session(client, meant).await?);
    }
    Ok(sessions)
}

async fn stop(app: &App, client: &Client, meant: &[String], erase: bool, yes: bool) -> Result<(), Fault> {
    let sessions = all(client, meant).await?;
    if !yes && erase {
        let all: Vec<_> = sessions.iter().map(resolve::named).collect();
        let what = "with their logs, recordings and workspaces";
        let ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
        let unsaved = tally(client, &ids).await.words(Fate::Erased);
        let question = format!("{unsaved}\nErase {} {what}? This cannot be undone.", all.join(", "));
        confirm(&question, "--yes")?;
    } else if !yes {
        ask_for_live(client, &sessions, Fate::Kept, "End").await?;
    }
    for session in sessions {
        if erase {
            client.erase_session(session.id).await?;
        } else {
            client.stop_session(session.id).await?;
        }
        app.printer.line(&session.id.to_string())?;
    }
    Ok(())
}

/// Starts sessions again.
async fn restart(app: &App, client: &Client, meant: &[String], yes: bool) -> Result<(), Fault> {
    let sessions = all(client, meant).await?;
    if !yes {
        ask_for_live(client, &sessions, Fate::Kept, "End what runs in").await?;
    }
    for session in sessions {
        let session = client.restart_session(session.id).await?;
        app.printer.line(&session.id.to_string())?;
    }
    Ok(())
}

/// Asks before what runs in sessions ends; of those that have ended there is nothing to ask.
async fn ask_for_live(client: &Client, sessions: &[Session], fate: Fate, what: &str) -> Result<(), Fault> {
    let live: Vec<_> = sessions.iter().filter(|session| session.status.is_live()).collect();
    if live.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = live.iter().map(|session| session.id).collect();
    let names: Vec<_> = live.into_iter().map(resolve::named).collect();
    let unsaved = tally(client, &ids).await.words(fate);
    confirm(&format!("{unsaved}\n{what} {}?", names.join(", ")), "--yes")
}

async fn list(app: &App, client: &Client, args: &ListArgs) -> Result<(), Fault> {
    let agent_id = match &args.agent {
        Some(meant) => Some(resolve::agent(client, meant).await?.agent.id),
        None => None,
    };
    let names = client.all_agents(&AgentsQuery::default()).await?;
    let names = names.into_iter().map(|row| (row.agent.id, row.agent.name)).collect();
    let listed = Listed { args, agent_id, names: RefCell::new(names) };
    let format = args.output.output;
    if args.watch {
        return watch(client, &listed, &app.printer, format).await;
    }
    let rows = listed.list(client).await?;
    match format {
        Format::Name => rows.iter().try_for_each(|session| app.printer.line(&session.id.to_string())),
        Format::Table => {
            let cells: Vec<_> = rows.iter().map(|row| listed.cells(row, false)).collect();
            app.printer.table(COLUMNS, &cells, args.none())?;
            let more = args.limit > 0 && rows.len() as u32 == args.limit;
            if more { note(&format!("the newest {}; --limit 0 shows all", rows.len())) } else { Ok(()) }
        }
        format => app.printer.value(&rows, format),
    }
}

const COLUMNS: &[Column] = &[
    whole("ID"),
    gives_way("AGENT"),
    whole("STATUS"),
    gives_way("TITLE"),
    gives_way("DETAIL"),
    whole("WANTS"),
    whole("VIEWERS"),
    whole("AGE"),
];

fn cells(session: &Session, agent: &str) -> Vec<String> {
    let detail = match session.status {
        SessionStatus::Creating => session.phase_detail.clone(),
        SessionStatus::Dead | SessionStatus::Failed => session.failure_reason.clone(),
        SessionStatus::Ready => session.unconfined.then(|| "unconfined".to_owned()),
    };
    let wants = match session.attention {
        Attention::None => "",
        Attention::Working => "working",
        Attention::WaitingInput => "input",
        Attention::WaitingPermission => "permission",
        Attention::Bell => "bell",
        Attention::Exited => "exited",
    };
    vec![
        short_id(session.id.0),
        agent.to_owned(),
        session.status.as_str().to_owned(),
        session.title_preview.clone(),
        detail.unwrap_or_default(),
        wants.to_owned(),
        if session.viewers == 0 { String::new() } else { session.viewers.to_string() },
        ago(session.created_at, Timestamp::now()),
    ]
}

struct Listed<'a> {
    args: &'a ListArgs,
    agent_id: Option<AgentId>,
    /// Agents' names; those of deleted agents' sessions are not known. The feed tells new ones.
    names: RefCell<HashMap<AgentId, String>>,
}

impl Watched for Listed<'_> {
    type Row = Session;

    async fn list(&self, client: &Client) -> Result<Vec<Session>, Fault> {
        let query = SessionsQuery {
            agent_id: self.agent_id,
            status: self.args.status.map(SessionStatus::from),
            search: self.args.search.clone(),
            ..SessionsQuery::default()
        };
        let limit = self.args.limit;
        if limit == 0 || limit > 200 {
            let mut rows = client.all_sessions(&query).await?;
            rows.truncate(if limit == 0 { usize::MAX } else { limit as usize });
            return Ok(rows);
        }
        Ok(client.sessions(&SessionsQuery { limit: Some(limit), ..query }).await?.data)
    }

    fn row_of(&self, resource: Resource) -> Option<Session> {
        let session = match resource {
            Resource::Session(session) => session,
            Resource::Agent(row) => {
                self.names.borrow_mut().insert(row.agent.id, row.agent.name);
                return None;
            }
            Resource::Memory(_) | Resource::None => return None,
        };
        let agent = self.agent_id.is_none_or(|agent| agent == session.agent_id);
        // One that leaves the status asked for is told once more, as it is now: its row would else look unchanged.
        let text = format!("{}\n{}", session.id, session.title_preview).to_lowercase();
        let search = self.args.search.as_ref().is_none_or(|search| text.contains(&search.to_lowercase()));
        (agent && search).then_some(*session)
    }

    fn id(row: &Session) -> Uuid {
        row.id.0
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, row: &Session, _deleted: bool) -> Vec<String> {
        cells(row, self.names.borrow().get(&row.agent_id).map_or("", String::as_str))
    }

    fn name(row: &Session) -> String {
        row.id.to_string()
    }
}

/// One session's changes: phase by phase, with the time of each.
struct OneSession(Session);

impl Watched for OneSession {
    type Row = Session;

    async fn list(&self, client: &Client) -> Result<Vec<Session>, Fault> {
        Ok(vec![client.session(self.0.id).await?])
    }

    fn row_of(&self, resource: Resource) -> Option<Session> {
        match resource {
            Resource::Session(session) if session.id == self.0.id => Some(*session),
            _ => None,
        }
    }

    fn id(row: &Session) -> Uuid {
        row.id.0
    }

    fn columns(&self) -> &'static [Column] {
        const { &[whole("STATUS"), whole("PHASE"), gives_way("DETAIL"), whole("VIEWERS")] }
    }

    fn cells(&self, row: &Session, _deleted: bool) -> Vec<String> {
        let phase = serde_json::to_value(row.phase).ok();
        let phase = phase.as_ref().and_then(|phase| phase.as_str()).unwrap_or_default().to_owned();
        let detail = row.failure_reason.clone().or_else(|| row.phase_detail.clone()).unwrap_or_default();
        vec![row.status.as_str().to_owned(), phase, detail, row.viewers.to_string()]
    }

    fn name(row: &Session) -> String {
        row.id.to_string()
    }
}
