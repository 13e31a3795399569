//! `lap memory`: what an agent remembers from one session to the next.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use lap_platform::client::{Client, MemoriesQuery};
use lap_platform::model::{AgentId, Memory, MemoryPatch, MemorySource, MemorySpec, MemoryType};

use super::agent_form::read;
use super::args::{Format, Output};
use super::connect::App;
use super::editor::edit;
use super::fault::Fault;
use super::print::{ago, confirm, note};
use super::resolve::{self, short_id};
use super::table::{Column, gives_way, whole};

/// Rows of a list that is not asked for whole.
const SHOWN: u32 = 50;

#[derive(Subcommand, Debug)]
pub(super) enum MemoryCommand {
    /// List what an agent remembers, newest first; with words, what fits them best first.
    Ls(ListArgs),
    /// Show one memory.
    Get {
        /// Whose.
        agent: String,
        /// Its id, or the end of its id.
        memory: String,
        #[command(flatten)]
        output: Output,
    },
    /// Have an agent remember something. Prints its id.
    Add(AddArgs),
    /// Change a memory: its text in your editor, or what is given here.
    Edit(EditArgs),
    /// Have an agent forget memories.
    Rm {
        /// Whose.
        agent: String,
        /// Which.
        #[arg(required = true)]
        memories: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Whose.
    agent: String,
    /// Only those with these words, or words that begin so.
    words: Vec<String>,
    /// Only those with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Only those of this kind.
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    /// Disabled ones too.
    #[arg(long)]
    all: bool,
    /// At most this many; 0 for all.
    #[arg(long, default_value_t = SHOWN)]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(super) struct AddArgs {
    /// Whose.
    agent: String,
    /// What to remember.
    #[arg(required_unless_present = "file")]
    text: Vec<String>,
    /// What to remember, from a file; `-` is standard input.
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(super) struct EditArgs {
    /// Whose.
    agent: String,
    /// Which.
    memory: String,
    /// The new text.
    #[arg(long)]
    text: Option<String>,
    /// The new text, from a file; `-` is standard input.
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    #[command(flatten)]
    fields: Fields,
    /// Tell it only by its rank.
    #[arg(long, conflicts_with = "pin")]
    unpin: bool,
    /// Use it again.
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Leave it without tags.
    #[arg(long, conflicts_with = "tag")]
    no_tags: bool,
}

#[derive(Args, Debug)]
struct Fields {
    /// A word to find it by; may be given up to 8 times.
    #[arg(long)]
    tag: Vec<String>,
    /// What kind of memory it is.
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    /// Those with more are told first, -100 to 100.
    #[arg(long, allow_hyphen_values = true)]
    priority: Option<i32>,
    /// Tell it to every session, before all others.
    #[arg(long)]
    pin: bool,
    /// Keep it from sessions and searches.
    #[arg(long)]
    disable: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Convention,
    Constraint,
    Reference,
    Preference,
}

impl From<Kind> for MemoryType {
    fn from(kind: Kind) -> MemoryType {
        match kind {
            Kind::Convention => MemoryType::Convention,
            Kind::Constraint => MemoryType::Constraint,
            Kind::Reference => MemoryType::Reference,
            Kind::Preference => MemoryType::Preference,
        }
    }
}

pub(super) async fn run(app: &App, command: MemoryCommand) -> Result<(), Fault> {
    let client = app.connect().await?;
    match command {
        MemoryCommand::Ls(args) => list(app, &client, &args).await,
        MemoryCommand::Get { agent, memory, output } => {
            let agent = resolve::agent(&client, &agent).await?.agent.id;
            let memory = resolve::memory(&client, agent, &memory).await?;
            match output.output {
                Format::Name => app.printer.line(&memory.id.to_string()),
                // One is read more easily field by field than in a table of one row.
                Format::Table => app.printer.value(&memory, Format::Yaml),
                format => app.printer.value(&memory, format),
            }
        }
        MemoryCommand::Add(args) => add(app, &client, args).await,
        MemoryCommand::Edit(args) => change(app, &client, args).await,
        MemoryCommand::Rm { agent, memories, yes } => {
            let agent = resolve::agent(&client, &agent).await?.agent;
            let mut found = Vec::new();
            for meant in &memories {
                found.push(resolve::memory(&client, agent.id, meant).await?);
            }
            if !yes {
                let texts: Vec<String> = found.iter().map(|memory| format!("  {}", brief(memory))).collect();
                let question = format!("{}\nHave {} forget this?", texts.join("\n"), agent.name);
                confirm(&question, "--yes")?;
            }
            for memory in found {
                client.delete_memory(agent.id, memory.id).await?;
                app.printer.line(&memory.id.to_string())?;
            }
            Ok(())
        }
    }
}

const COLUMNS: &[Column] = &[
    whole("ID"),
    whole("TYPE"),
    gives_way("TEXT"),
    gives_way("TAGS"),
    whole("MARKS"),
    whole("USED"),
    whole("AGE"),
];

async fn list(app: &App, client: &Client, args: &ListArgs) -> Result<(), Fault> {
    let agent = resolve::agent(client, &args.agent).await?.agent;
    let query = MemoriesQuery {
        q: Some(args.words.join(" ")).filter(|words| !words.is_empty()),
        tag: args.tag.clone(),
        kind: args.kind.map(MemoryType::from),
        include_disabled: args.all,
        ..MemoriesQuery::default()
    };
    let (rows, total) = if args.limit == 0 || args.limit > 200 {
        let mut rows = client.all_memories(agent.id, &query).await?;
        let total = rows.len() as u64;
        rows.truncate(if args.limit == 0 { usize::MAX } else { args.limit as usize });
        (rows, total)
    } else {
        let page = client.memories(agent.id, &MemoriesQuery { limit: Some(args.limit), ..query }).await?;
        (page.data, page.total)
    };
    match args.output.output {
        Format::Name => rows.iter().try_for_each(|memory| app.printer.line(&memory.id.to_string())),
        Format::Table => {
            let cells: Vec<_> = rows.iter().map(cells).collect();
            let name = &agent.name;
            let empty = format!("{name} remembers nothing like it; `lap memory add {name} <text>` tells it");
            app.printer.table(COLUMNS, &cells, &empty)?;
            if (rows.len() as u64) < total {
                note(&format!("{} of {total}; --limit 0 shows all", rows.len()))?;
            }
            Ok(())
        }
        format => app.printer.value(&rows, format),
    }
}

fn cells(memory: &Memory) -> Vec<String> {
    let marks = [(memory.pinned, "pinned"), (memory.disabled, "disabled")];
    let marks: Vec<&str> = marks.into_iter().filter(|(set, _)| *set).map(|(_, mark)| mark).collect();
    vec![
        short_id(memory.id.0),
        memory.kind.as_str().to_owned(),
        brief(memory),
        memory.tags.join(" "),
        marks.join(" "),
        memory.times_applied.to_string(),
        ago(memory.created_at, Timestamp::now()),
    ]
}

/// Its text in one line.
fn brief(memory: &Memory) -> String {
    memory.text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn add(app: &App, client: &Client, args: AddArgs) -> Result<(), Fault> {
    let agent = resolve::agent(client, &args.agent).await?.agent.id;
    let text = match &args.file {
        Some(file) => read(file)?,
        None => args.text.join(" "),
    };
    let Fields { tag, kind, priority, pin, disable } = args.fields;
    let spec = MemorySpec {
        text: text.trim_end().to_owned(),
        tags: tag,
        kind: kind.map(MemoryType::from),
        priority,
        pinned: pin.then_some(true),
        disabled: disable.then_some(true),
        source: Some(MemorySource::Ui),
        source_session_id: None,
    };
    let memory = client.create_memory(agent, &spec).await?;
    match args.output.output {
        Format::Table | Format::Name => app.printer.line(&memory.id.to_string()),
        format => app.printer.value(&memory, format),
    }
}

async fn change(app: &App, client: &Client, args: EditArgs) -> Result<(), Fault> {
    let agent = resolve::agent(client, &args.agent).await?.agent.id;
    let memory = resolve::memory(client, agent, &args.memory).await?;
    let text = match &args.file {
        Some(file) => Some(read(file)?.trim_end().to_owned()),
        None => args.text.clone(),
    };
    let fields = args.fields;
    let patch = MemoryPatch {
        text,
        tags: Some(fields.tag).filter(|tags| !tags.is_empty() || args.no_tags),
        kind: fields.kind.map(MemoryType::from),
        priority: fields.priority,
        pinned: given(fields.pin, args.unpin),
        disabled: given(fields.disable, args.enable),
    };
    if patch != MemoryPatch::default() {
        return save(app, client, agent, &memory, patch).await;
    }
    let text = format!("{}\n", memory.text);
    edit(&app.config.environment, "memory.md", &text, |edited| {
        let text = Some(edited.trim_end().to_owned());
        save(app, client, agent, &memory, MemoryPatch { text, ..MemoryPatch::default() })
    })
    .await
}

fn given(yes: bool, no: bool) -> Option<bool> {
    yes.then_some(true).or(no.then_some(false))
}

async fn save(
    app: &App,
    client: &Client,
    agent: AgentId,
    memory: &Memory,
    patch: MemoryPatch,
) -> Result<(), Fault> {
    let memory = client.patch_memory(agent, memory.id, &patch).await?;
    app.printer.line(&memory.id.to_string())
}
