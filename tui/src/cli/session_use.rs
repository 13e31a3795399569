//! What is done with one session: started, looked into, run commands in.

use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Args;
use lap_platform::client::{Client, Feed, FeedEvent};
use lap_platform::model::{
    AgentId, CreateSession, DetectedIssue, Diagnosis, ExecRequest, Resource, Session, SessionId,
    SessionStatus, Severity,
};

use super::agent_form::{env, read};
use super::args::{Format, Output};
use super::connect::App;
use super::fault::{Exit, Fault};
use super::follow::follow;
use super::print::note;
use super::resolve;
use super::table::clean;
use crate::unsaved::amount;

/// The most that is read for a command's standard input: the API's limit of a request.
const MAX_STDIN: u64 = 1024 * 1024;

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// Which agent.
    agent: String,
    /// What to call it.
    #[arg(long)]
    title: Option<String>,
    /// The first thing said to it.
    #[arg(long)]
    prompt: Option<String>,
    /// The first thing said to it, from a file; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    /// A variable for this session; without a value it is taken from this environment.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// A skill for this session, by its name or id.
    #[arg(long)]
    skill: Vec<String>,
    /// Wait until it is ready, or has failed.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(super) struct LogsArgs {
    /// Which session.
    session: String,
    /// What the sandbox itself has said, instead of the terminal.
    #[arg(long)]
    sandbox: bool,
    /// Only the last lines.
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
    /// Go on with what is printed from now on, until the program has ended.
    #[arg(short, long, conflicts_with = "sandbox")]
    follow: bool,
}

#[derive(Args, Debug)]
pub(super) struct ExecArgs {
    /// Which session.
    session: String,
    /// Give it this command's standard input.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// End it after this long, at most 600.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// The command and its arguments, after `--`.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct RecordArgs {
    /// Which session.
    session: String,
    /// Where to write it, instead of to standard output.
    #[arg(short = 'O', long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(super) async fn create(app: &App, client: &Client, args: CreateArgs) -> Result<(), Fault> {
    let agent = resolve::agent(client, &args.agent).await?;
    let request = CreateSession {
        title: args.title,
        initial_prompt: match &args.prompt_file {
            Some(path) => Some(read(path)?),
            None => args.prompt,
        },
        initial_attachments: Vec::new(),
        env_vars: env(&args.env, app)?,
        skill_ids: resolve::skill_ids(client, &args.skill).await?,
    };
    let session = if args.wait {
        start_and_wait(client, agent.agent.id, &request).await?
    } else {
        client.create_session(agent.agent.id, &request).await?
    };
    match args.output.output {
        Format::Table | Format::Name => app.printer.line(&session.id.to_string()),
        format => app.printer.value(&session, format),
    }
}

/// Starts a session and waits until it is ready.
pub(super) async fn start_and_wait(
    client: &Client,
    agent: AgentId,
    request: &CreateSession,
) -> Result<Session, Fault> {
    let mut feed = Feed::new(client.clone(), None);
    // The feed is open before the session is: nothing of it can be missed.
    loop {
        match feed.next().await {
            FeedEvent::Connected { .. } => break,
            FeedEvent::Lost { reason, .. } => return Err(reason.into()),
            FeedEvent::Change(_) | FeedEvent::Reset => {}
        }
    }
    let session = client.create_session(agent, request).await?;
    wait_ready(client, &mut feed, session.id).await
}

/// Waits until a session is no longer coming up.
async fn wait_ready(client: &Client, feed: &mut Feed, id: SessionId) -> Result<Session, Fault> {
    loop {
        let now = match feed.next().await {
            FeedEvent::Change(change) => match change.resource {
                Resource::Session(session) if session.id == id => *session,
                _ => continue,
            },
            FeedEvent::Connected { .. } | FeedEvent::Reset => client.session(id).await?,
            FeedEvent::Lost { .. } => continue,
        };
        match now.status {
            SessionStatus::Creating => {}
            SessionStatus::Ready => return Ok(client.session(id).await?),
            SessionStatus::Dead | SessionStatus::Failed => {
                let why = now.failure_reason.unwrap_or_else(|| "it ended".to_owned());
                return Err(Fault::new(Exit::Failed, format!("the session did not come up: {why}"))
                    .hint(format!("`lap sessions diagnose {}` says more", resolve::short_id(id.0))));
            }
        }
    }
}

pub(super) async fn logs(app: &App, client: &Client, args: LogsArgs) -> Result<(), Fault> {
    let session = resolve::session(client, &args.session).await?;
    if args.follow && session.status.is_live() {
        return follow(app, client, &session, args.tail).await;
    }
    let text = if args.sandbox {
        client.sandbox_logs(session.id, args.tail.unwrap_or(1000)).await?
    } else {
        client.session_log(session.id).await?
    };
    let lines: Vec<&str> = text.lines().collect();
    let from = args.tail.map_or(0, |tail| lines.len().saturating_sub(tail as usize));
    for line in lines.iter().skip(from) {
        app.printer.line(line)?;
    }
    Ok(())
}

/// Runs a command, prints what it printed, and ends with its exit code.
pub(super) async fn exec(client: &Client, args: ExecArgs) -> Result<(), Fault> {
    let session = resolve::session(client, &args.session).await?;
    let mut stdin = None;
    if args.stdin {
        let mut text = String::new();
        std::io::stdin().take(MAX_STDIN + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_STDIN {
            return Err(Fault::usage(format!("standard input is over {} KiB", MAX_STDIN / 1024)));
        }
        stdin = Some(text);
    }
    let request = ExecRequest { command: args.command, stdin, timeout_seconds: args.timeout };
    let result = client.exec(session.id, &request).await?;
    std::io::stdout().write_all(result.stdout.as_bytes())?;
    std::io::stdout().flush()?;
    std::io::stderr().write_all(result.stderr.as_bytes())?;
    if result.truncated {
        note("lap: the output was longer than is kept; its end is missing")?;
    }
    match result.exit_code {
        0 => Ok(()),
        // All is written, and nothing is left that would have to be ended.
        code => std::process::exit(code),
    }
}

pub(super) async fn record(app: &App, client: &Client, args: RecordArgs) -> Result<(), Fault> {
    let session = resolve::session(client, &args.session).await?;
    let recording = client.recording(session.id).await?;
    let Some(path) = args.to else { return app.printer.text(&recording) };
    let cannot = |error| Fault::new(Exit::Failed, format!("cannot write {}: {error}", path.display()));
    std::fs::write(&path, recording).map_err(cannot)?;
    note(&format!("written to {}; `asciinema play {}` shows it", path.display(), path.display()))
}

/// Prints what a session's program was told.
pub(super) async fn prompt(app: &App, client: &Client, session: &str, format: Format) -> Result<(), Fault> {
    let session = resolve::session(client, session).await?;
    let told = client.session_prompt(session.id).await?;
    if format != Format::Table {
        return app.printer.value(&told, format);
    }
    let of = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    app.printer.line(&format!("model         {}", of(told.model, "its own choice")))?;
    app.printer.line(&format!("instructions  {}", of(told.delivered, "none")))?;
    for text in [told.instructions, told.initial_prompt].into_iter().flatten() {
        app.printer.line("")?;
        text.lines().try_for_each(|line| app.printer.line(&clean(line)))?;
    }
    Ok(())
}

/// Says where a session's work is, how much of it is nowhere else, and until when it is kept.
pub(super) async fn work(app: &App, client: &Client, session: &str, format: Format) -> Result<(), Fault> {
    let session = resolve::session(client, session).await?;
    let work = client.session_work(session.id).await?;
    match format {
        Format::Table => {}
        Format::Name => return app.printer.line(work.path.as_deref().unwrap_or_default()),
        format => return app.printer.value(&work, format),
    }
    let unsaved = match (work.unsaved, work.detail) {
        (Some(unsaved), _) => amount(unsaved).unwrap_or_else(|| "nothing".to_owned()),
        (None, why) => why.unwrap_or_else(|| "not known".to_owned()),
    };
    let kept = match work.kept_until {
        _ if session.status.is_live() => "as long as the session, and for some days after".to_owned(),
        Some(until) => {
            format!("until {}", until.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%F %H:%M"))
        }
        None => "until the session is erased".to_owned(),
    };
    app.printer.line(&format!("unsaved  {unsaved}"))?;
    if let Some(path) = work.path {
        app.printer.line(&format!("path     {path}"))?;
        app.printer.line(&format!("kept     {kept}"))?;
    }
    Ok(())
}

pub(super) async fn diagnose(app: &App, client: &Client, meant: &str, format: Format) -> Result<(), Fault> {
    let session = resolve::session(client, meant).await?;
    let diagnosis = client.diagnose(session.id).await?;
    match format {
        Format::Table => told(&diagnosis).iter().try_for_each(|line| app.printer.line(line)),
        Format::Name => diagnosis.detected_issues.iter().try_for_each(|issue| app.printer.line(&issue.code)),
        format => app.printer.value(&diagnosis, format),
    }
}

/// A diagnosis for people: what is wrong first, then what is known.
fn told(diagnosis: &Diagnosis) -> Vec<String> {
    let session = &diagnosis.session;
    let mut lines = vec![format!("session  {}  {}", session.id, session.status.as_str())];
    if let Some(reason) = &session.failure_reason {
        lines.push(format!("because  {}", clean(reason)));
    }
    for issue in &diagnosis.detected_issues {
        lines.extend(issue_lines(issue));
    }
    if diagnosis.detected_issues.is_empty() {
        lines.push("nothing is found to be wrong".to_owned());
    }
    if let Some(name) = &diagnosis.sandbox.name {
        let state = diagnosis.sandbox.state.as_deref();
        let state = state.unwrap_or(if diagnosis.sandbox.present { "there" } else { "not there" });
        lines.push(format!("sandbox  {name}  {}", clean(state)));
    }
    let harness = &diagnosis.harness;
    let process = match (harness.pid, &harness.exit_status) {
        (_, Some(status)) => Some(format!("ended: {}", clean(status))),
        (Some(pid), None) if harness.alive => Some(format!("runs as process {pid}")),
        _ => None,
    };
    lines.extend(process.map(|process| format!("program  {process}")));
    for (phase, milliseconds) in &diagnosis.timings {
        let phase = serde_json::to_value(phase).ok();
        let phase = phase.as_ref().and_then(|phase| phase.as_str()).unwrap_or_default().to_owned();
        lines.push(format!("{milliseconds:>7} ms  {phase}"));
    }
    // A screen's empty lines, above what it shows and below, tell nothing.
    let blank = |line: &&String| line.trim().is_empty();
    let shown: Vec<&String> = harness.last_output.iter().skip_while(blank).collect();
    let end = shown.iter().rposition(|line| !blank(line)).map_or(0, |last| last + 1);
    if end > 0 {
        lines.push("last output".to_owned());
        lines.extend(shown.iter().take(end).map(|line| format!("  | {}", clean(line))));
    }
    for error in [&diagnosis.sandbox.error, &harness.error].into_iter().flatten() {
        lines.push(format!("not known: {}", clean(error)));
    }
    lines
}

fn issue_lines(issue: &DetectedIssue) -> Vec<String> {
    let mark = match issue.severity {
        Severity::High => "✗",
        Severity::Med => "!",
        Severity::Info => "·",
    };
    let mut lines = vec![format!("{mark} {}  {}", issue.code, clean(&issue.message))];
    lines.extend(issue.evidence.iter().map(|evidence| format!("    {}", clean(evidence))));
    lines.extend(issue.recommended_action.iter().map(|action| format!("  → {}", clean(action))));
    lines
}
