//! `lap agents`: list, make, change and remove agents.

use clap::{Args, CommandFactory, Subcommand, ValueEnum};
use jiff::Timestamp;
use lap_platform::client::{AgentsQuery, Client};
use lap_platform::model::{AgentRow, AgentsSort, Order, Resource};
use uuid::Uuid;

use super::agent_form::{AgentChanges, AgentForm};
use super::args::{Cli, Format, Output};
use super::connect::App;
use super::fault::Fault;
use super::print::{ago, confirm, note};
use super::resolve;
use super::slip;
use super::table::{Column, gives_way, whole};
use super::watch::{Watched, watch};
use crate::unsaved::{Fate, tally};

/// Rows of a list that is not asked for whole.
const SHOWN: u32 = 50;

#[derive(Subcommand, Debug)]
pub(super) enum AgentsCommand {
    /// List agents.
    Ls(ListArgs),
    /// Show one.
    Get {
        /// Its name, id, the beginning of its id, or its URL.
        agent: String,
        #[command(flatten)]
        output: Output,
    },
    /// Make one. Prints its name.
    Create(Box<AgentForm>),
    /// Change one. What is not given stays.
    Update(Box<AgentChanges>),
    /// Remove agents, ending their sessions.
    Rm {
        /// Which.
        #[arg(required = true)]
        agents: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only those with this in their name, id or harness.
    #[arg(long)]
    search: Option<String>,
    /// Only those of this harness.
    #[arg(long)]
    harness: Option<String>,
    /// Sort by this.
    #[arg(long, value_enum, default_value_t = Sort::Created)]
    sort: Sort,
    /// Smallest, oldest, A first.
    #[arg(long)]
    reverse: bool,
    /// At most this many; 0 for all.
    #[arg(long, default_value_t = SHOWN)]
    limit: u32,
    /// Go on printing what changes.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Sort {
    Created,
    Name,
    Harness,
    Sessions,
}

impl ListArgs {
    /// What an empty list says.
    fn none(&self) -> &'static str {
        if self.search.is_some() || self.harness.is_some() {
            "no such agents; `lap agents ls` shows all"
        } else {
            "no agents; `lap agents create` makes one"
        }
    }

    fn query(&self) -> AgentsQuery {
        let (sort, natural) = match self.sort {
            Sort::Created => (AgentsSort::CreatedAt, Order::Desc),
            Sort::Name => (AgentsSort::Name, Order::Asc),
            Sort::Harness => (AgentsSort::HarnessId, Order::Asc),
            Sort::Sessions => (AgentsSort::Sessions, Order::Desc),
        };
        let order = match (natural, self.reverse) {
            (Order::Asc, false) | (Order::Desc, true) => Order::Asc,
            _ => Order::Desc,
        };
        AgentsQuery {
            sort: Some(sort),
            order: Some(order),
            search: self.search.clone(),
            harness_id: self.harness.clone(),
            ..AgentsQuery::default()
        }
    }
}

pub(super) async fn run(app: &App, command: AgentsCommand) -> Result<(), Fault> {
    let client = app.connect().await?;
    match command {
        AgentsCommand::Ls(args) if args.watch => {
            watch(&client, &args, &app.printer, args.output.output).await
        }
        AgentsCommand::Ls(args) => list(app, &client, &args).await,
        AgentsCommand::Get { agent, output } => {
            let row = resolve::agent(&client, &agent).await?;
            show(app, &row, output.output)
        }
        AgentsCommand::Create(form) => {
            let output = form.output();
            let agent = client.create_agent(&form.spec(app, &client).await?).await?;
            if slip::is_command(&Cli::command(), &agent.name) {
                note(&format!(
                    "`lap {0}` is a command; `lap sessions create {0}` starts this agent",
                    agent.name
                ))?;
            }
            match output {
                Format::Table | Format::Name => app.printer.line(&agent.name),
                format => app.printer.value(&agent, format),
            }
        }
        AgentsCommand::Update(changes) => {
            let row = resolve::agent(&client, changes.agent()).await?;
            let patch = changes.patch(app, &client, &row.agent).await?;
            let agent = client.patch_agent(row.agent.id, &patch).await?;
            match changes.output() {
                Format::Table | Format::Name => app.printer.line(&agent.name),
                format => app.printer.value(&agent, format),
            }
        }
        AgentsCommand::Rm { agents, yes } => remove(app, &client, &agents, yes).await,
    }
}

async fn list(app: &App, client: &Client, args: &ListArgs) -> Result<(), Fault> {
    let rows = args.list(client).await?;
    match args.output.output {
        Format::Name => rows.iter().try_for_each(|row| app.printer.line(&row.agent.name)),
        Format::Table => {
            let cells: Vec<_> = rows.iter().map(|row| args.cells(row, false)).collect();
            app.printer.table(args.columns(), &cells, args.none())?;
            let more = args.limit > 0 && rows.len() as u32 == args.limit;
            if more { note(&format!("the first {}; --limit 0 shows all", rows.len())) } else { Ok(()) }
        }
        format => app.printer.value(&rows, format),
    }
}

impl Watched for ListArgs {
    type Row = AgentRow;

    async fn list(&self, client: &Client) -> Result<Vec<AgentRow>, Fault> {
        if self.limit == 0 || self.limit > 200 {
            let mut rows = client.all_agents(&self.query()).await?;
            rows.truncate(if self.limit == 0 { usize::MAX } else { self.limit as usize });
            return Ok(rows);
        }
        let page = client.agents(&AgentsQuery { limit: Some(self.limit), ..self.query() }).await?;
        Ok(page.data)
    }

    fn row_of(&self, resource: Resource) -> Option<AgentRow> {
        let Resource::Agent(row) = resource else { return None };
        let agent = &row.agent;
        let harness = self.harness.as_ref().is_none_or(|harness| *harness == agent.harness_id);
        let text = format!("{}\n{}\n{}", agent.name, agent.id, agent.harness_id).to_lowercase();
        let search = self.search.as_ref().is_none_or(|search| text.contains(&search.to_lowercase()));
        (harness && search).then_some(*row)
    }

    fn id(row: &AgentRow) -> Uuid {
        row.agent.id.0
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                gives_way("NAME"),
                whole("HARNESS"),
                gives_way("MODEL"),
                whole("SESSIONS"),
                whole("STATE"),
                whole("AGE"),
                whole("ID"),
            ]
        }
    }

    fn cells(&self, row: &AgentRow, deleted: bool) -> Vec<String> {
        let agent = &row.agent;
        let state = match (deleted, row.has_active_session) {
            (true, _) => "deleted",
            (false, true) => "active",
            (false, false) => "idle",
        };
        vec![
            agent.name.clone(),
            agent.harness_id.clone(),
            agent.model.clone(),
            row.session_count.to_string(),
            state.to_owned(),
            ago(agent.created_at, Timestamp::now()),
            resolve::short_id(agent.id.0),
        ]
    }

    fn name(row: &AgentRow) -> String {
        row.agent.name.clone()
    }
}

fn show(app: &App, row: &AgentRow, format: Format) -> Result<(), Fault> {
    match format {
        Format::Name => app.printer.line(&row.agent.name),
        // One agent is read more easily field by field than in a table of one row.
        Format::Table => app.printer.value(row, Format::Yaml),
        format => app.printer.value(row, format),
    }
}

async fn remove(app: &App, client: &Client, agents: &[String], yes: bool) -> Result<(), Fault> {
    // All are found before the first is removed: a slip in the last name removes nothing.
    let mut rows = Vec::new();
    for meant in agents {
        rows.push(resolve::agent(client, meant).await?);
    }
    if !yes {
        let (mut ending, mut sessions_ending) = (Vec::new(), Vec::new());
        for row in &rows {
            let live = resolve::live_sessions(client, Some(row.agent.id)).await?;
            sessions_ending.extend(live.iter().map(|session| session.id));
            let sessions = match live.len() {
                0 => String::new(),
                1 => " and its live session".to_owned(),
                live => format!(" and its {live} live sessions"),
            };
            ending.push(format!("{}{sessions}", row.agent.name));
        }
        let mut question = format!("Remove {}?", ending.join(", "));
        if !sessions_ending.is_empty() {
            question = format!("{}\n{question}", tally(client, &sessions_ending).await.words(Fate::Kept));
        }
        confirm(&question, "--yes")?;
    }
    for row in rows {
        client.delete_agent(row.agent.id).await?;
        app.printer.line(&row.agent.name)?;
    }
    Ok(())
}
