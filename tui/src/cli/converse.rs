//! `lap sessions send`, `messages` and `permit`: a conversation with a session's agent.

use std::collections::HashMap;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use lap_platform::client::{AnswerEvent, Client};
use lap_platform::model::{
    AnswerPermission, Attachment, Message, Part, PartBody, Permission, PermissionOutcome, Role, SendMessage,
    SessionId, ToolStatus,
};

use super::agent_form::read;
use super::args::{Format, Output};
use super::connect::App;
use super::fault::{Exit, Fault};
use super::print::{bytes, note};
use super::resolve;
use super::table::clean;

/// The largest picture that is read.
const MAX_PICTURE: u64 = 5 * 1024 * 1024;

#[derive(Args, Debug)]
pub(super) struct SendArgs {
    /// Which session.
    session: String,
    /// What to say.
    #[arg(required_unless_present_any = ["file", "attach"])]
    text: Vec<String>,
    /// What to say, from a file; `-` is standard input.
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    /// A picture to go with it: png, jpeg, gif or webp.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// Do not wait: have it sent when the agent has done what it is at.
    #[arg(long)]
    queue: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(super) struct PermitArgs {
    /// Which session.
    session: String,
    /// What it asks, by its id; may be left out where it asks one thing.
    permission: Option<String>,
    /// Allow it, this once.
    #[arg(long, group = "answer")]
    allow: bool,
    /// Do not.
    #[arg(long, group = "answer")]
    deny: bool,
    /// Answer with this option.
    #[arg(long, group = "answer")]
    option: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Says something to a session's agent and prints its answer as it comes: its words on standard output, what it does
/// meanwhile on standard error.
pub(super) async fn send(app: &App, client: &Client, args: SendArgs) -> Result<(), Fault> {
    let session = resolve::session(client, &args.session).await?;
    let text = match &args.file {
        Some(file) => read(file)?,
        None => args.text.join(" "),
    };
    let message = SendMessage {
        text: Some(text).filter(|text| !text.is_empty()),
        attachments: args.attach.iter().map(|path| picture(path)).collect::<Result<_, _>>()?,
        queue: args.queue,
        ..SendMessage::default()
    };
    if args.queue {
        let queued = client.send_message(session.id, &message).await?;
        return match args.output.output {
            Format::Table | Format::Name => app.printer.line(&queued.info.id.to_string()),
            format => app.printer.value(&queued, format),
        };
    }
    match args.output.output {
        Format::Json | Format::Yaml => {
            let reply = client.send_message(session.id, &message).await?;
            app.printer.value(&reply, args.output.output)
        }
        Format::Table | Format::Name => follow(client, session.id, &message).await,
    }
}

async fn follow(client: &Client, id: SessionId, message: &SendMessage) -> Result<(), Fault> {
    let mut answer = client.stream_message(id, message).await?;
    let mut shown = Shown::default();
    loop {
        let event = tokio::select! {
            event = answer.next() => event?,
            _ = tokio::signal::ctrl_c() => {
                client.abort_session(id).await?;
                return Err(Fault::new(Exit::Failed, "it was told to stop"));
            }
        };
        match event {
            AnswerEvent::Ready(_) | AnswerEvent::Usage(_) => {}
            AnswerEvent::Part(part) => shown.part(&part)?,
            AnswerEvent::Permission(permission) if permission.answer.is_none() => {
                shown.end_line()?;
                ask(client, id, &permission).await?;
            }
            AnswerEvent::Permission(_) => {}
            AnswerEvent::Done(info) => {
                shown.end_line()?;
                return match info.stop_reason.as_deref() {
                    None | Some("end_turn") => Ok(()),
                    Some(other) => note(&format!("lap: it ended with {other}")),
                };
            }
            AnswerEvent::Error(why) => {
                shown.end_line()?;
                return Err(Fault::new(Exit::Failed, clean_lines(&why)));
            }
        }
    }
}

/// What of an answer has been printed.
#[derive(Debug, Default)]
struct Shown {
    /// Bytes of each text, by its part.
    texts: HashMap<String, usize>,
    /// What each tool was last said to be.
    tools: HashMap<String, ToolStatus>,
    /// The part whose text was printed last.
    last: Option<String>,
    /// Whether the line has not ended.
    open: bool,
}

impl Shown {
    fn part(&mut self, part: &Part) -> Result<(), Fault> {
        match &part.body {
            PartBody::Text { text } => {
                let done = self.texts.get(&part.id).copied().unwrap_or_default();
                let Some(new) = text.get(done..).filter(|new| !new.is_empty()) else { return Ok(()) };
                if self.last.as_ref().is_some_and(|last| *last != part.id) {
                    self.end_line()?;
                    bytes(b"\n")?;
                }
                bytes(clean_lines(new).as_bytes())?;
                self.open = !new.ends_with('\n');
                self.texts.insert(part.id.clone(), text.len());
                self.last = Some(part.id.clone());
            }
            PartBody::Tool { title, name, state } => {
                if self.tools.insert(part.id.clone(), state.status) == Some(state.status) {
                    return Ok(());
                }
                let mark = match state.status {
                    ToolStatus::Pending => return Ok(()),
                    ToolStatus::Running => "·",
                    ToolStatus::Completed => "✓",
                    ToolStatus::Error => "✗",
                };
                self.end_line()?;
                let what = if title.is_empty() { name } else { title };
                note(&format!("{mark} {}", clean(what)))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.open) { bytes(b"\n") } else { Ok(()) }
    }
}

/// What a stranger has written must not steer this terminal; its lines stay.
fn clean_lines(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Asks whoever sits here whether the agent may.
async fn ask(client: &Client, id: SessionId, permission: &Permission) -> Result<(), Fault> {
    let title = clean(&permission.title);
    let short = resolve::short_id(id.0);
    if !std::io::stdin().is_terminal() {
        return note(&format!(
            "lap: the agent asks to be allowed: {title}\n     `lap sessions permit {short} --allow` or --deny answers it"
        ));
    }
    write!(std::io::stderr(), "? {title}: allow it? [y/N] ")?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = answer.await.map_err(|_| Fault::new(Exit::Failed, "cannot read an answer"))??;
    let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    let outcome = Some(if yes { PermissionOutcome::Allow } else { PermissionOutcome::Deny });
    client.answer_permission(id, permission.id, &AnswerPermission { outcome, option_id: None }).await?;
    Ok(())
}

/// Answers what a session's agent asks to be allowed.
pub(super) async fn permit(app: &App, client: &Client, args: PermitArgs) -> Result<(), Fault> {
    let session = resolve::session(client, &args.session).await?;
    let waiting = client.permissions(session.id).await?;
    let told = |one: &Permission| {
        let options: Vec<String> =
            one.options.iter().map(|option| format!("{} ({})", option.id, option.name)).collect();
        format!("{}  {}: {}", resolve::short_id(one.id.0), clean(&one.title), clean(&options.join(", ")))
    };
    let answer = AnswerPermission {
        option_id: args.option,
        outcome: args
            .allow
            .then_some(PermissionOutcome::Allow)
            .or(args.deny.then_some(PermissionOutcome::Deny)),
    };
    if answer == AnswerPermission::default() {
        // Nothing to answer with: what there is to be answered is shown.
        if waiting.is_empty() && args.output.output == Format::Table {
            return note("it asks nothing");
        }
        return match args.output.output {
            Format::Table => waiting.iter().try_for_each(|one| app.printer.line(&told(one))),
            Format::Name => waiting.iter().try_for_each(|one| app.printer.line(&one.id.to_string())),
            format => app.printer.value(&waiting, format),
        };
    }
    let meant: Vec<&Permission> = match &args.permission {
        Some(id) => waiting.iter().filter(|one| one.id.to_string().ends_with(id.as_str())).collect(),
        None => waiting.iter().collect(),
    };
    match meant.as_slice() {
        [one] => {
            client.answer_permission(session.id, one.id, &answer).await?;
            app.printer.line(&one.id.to_string())
        }
        [] => Err(Fault::new(Exit::NotFound, "it asks no such thing")
            .hint("`lap sessions permit SESSION` shows what")),
        several => {
            let listed: Vec<String> = several.iter().map(|one| told(one)).collect();
            Err(Fault::usage("it asks several things: say which by its id").hint(listed.join("\n")))
        }
    }
}

/// Prints what was said in a session.
pub(super) async fn messages(app: &App, client: &Client, meant: &str, format: Format) -> Result<(), Fault> {
    let session = resolve::session(client, meant).await?;
    let messages = client.all_messages(session.id).await?;
    match format {
        Format::Table => {}
        Format::Name => {
            return messages.iter().try_for_each(|one| app.printer.line(&one.info.id.to_string()));
        }
        format => return app.printer.value(&messages, format),
    }
    if messages.is_empty() {
        return note("nothing was said; `lap sessions send` says something");
    }
    messages.iter().try_for_each(|message| app.printer.text(&told(message)))
}

/// A message for people.
fn told(message: &Message) -> String {
    let who = match message.info.role {
        Role::User => "you",
        Role::Assistant => "agent",
    };
    let mut text = String::new();
    for part in &message.parts {
        let piece = match &part.body {
            PartBody::Text { text } => clean_lines(text),
            PartBody::Tool { title, name, state } => {
                let what = if title.is_empty() { name } else { title };
                let mark = if state.status == ToolStatus::Error { "✗" } else { "·" };
                format!("{mark} {}", clean(what))
            }
            PartBody::Image { mime_type, .. } => format!("[{}]", clean(mime_type)),
            PartBody::File { uri, .. } => format!("[{}]", clean(uri)),
            PartBody::Reasoning { .. } | PartBody::Plan { .. } => continue,
        };
        for line in piece.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if let Some(error) = &message.info.error
        && message.info.role == Role::Assistant
    {
        text.push_str(&format!("  ✗ {}\n", clean_lines(error)));
    }
    if text.is_empty() && message.info.role == Role::Assistant {
        text.push_str("  …\n");
    }
    format!("{who}\n{text}\n")
}

/// A picture as it is sent.
fn picture(path: &Path) -> Result<Attachment, Fault> {
    let fault = |words: String| Fault::new(Exit::Failed, format!("cannot read {}: {words}", path.display()));
    let extension = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    let mime_type = match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        _ => return Err(Fault::usage(format!("{} is no png, jpeg, gif or webp", path.display()))),
    };
    let mut picture = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
    file.take(MAX_PICTURE + 1).read_to_end(&mut picture).map_err(|error| fault(error.to_string()))?;
    if picture.len() as u64 > MAX_PICTURE {
        return Err(fault(format!("it is over {} MiB", MAX_PICTURE / 1024 / 1024)));
    }
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    Ok(Attachment { name, mime_type: mime_type.to_owned(), base64: BASE64_STANDARD.encode(picture) })
}
