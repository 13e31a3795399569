//! `lap skills`: the library of skills, their versions, and which agents have them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use lap_platform::client::{Client, SkillsQuery};
use lap_platform::model::{AttachSkill, Skill, SkillPatch, SkillSpec};
use similar::TextDiff;

use super::agent_form::read;
use super::args::{Format, Output};
use super::connect::App;
use super::editor::edit;
use super::fault::Fault;
use super::print::{ago, confirm, note};
use super::resolve::{self, short_id};
use super::table::{Column, gives_way, whole};

/// Lines around a difference.
const CONTEXT: usize = 3;

#[derive(Subcommand, Debug)]
pub(super) enum SkillsCommand {
    /// List the library, newest first.
    Ls(ListArgs),
    /// Print a skill's text.
    Get {
        /// Its name, id, or the end of its id.
        skill: String,
        /// As it was in this version.
        #[arg(long)]
        version: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Put a skill into the library, from a file such as SKILL.md. Prints its name.
    Add {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Its name, where the file does not say it.
        #[arg(long)]
        name: Option<String>,
        /// When it is of use, where the file does not say it.
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Change a skill: its text in your editor, or what is given here. Agents get it at their next session.
    Edit {
        /// Which.
        skill: String,
        /// The new text, from a file; `-` is standard input.
        #[arg(long)]
        file: Option<PathBuf>,
        /// The new description.
        #[arg(long)]
        description: Option<String>,
        /// The new name.
        #[arg(long)]
        rename: Option<String>,
    },
    /// Remove skills from the library, and from all agents that have them.
    Rm {
        /// Which.
        #[arg(required = true)]
        skills: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Give an agent skills.
    Attach {
        /// The agent.
        agent: String,
        /// Which.
        #[arg(required = true)]
        skills: Vec<String>,
    },
    /// Take skills from an agent.
    Detach {
        /// The agent.
        agent: String,
        /// Which.
        #[arg(required = true)]
        skills: Vec<String>,
    },
    /// List a skill's versions, newest first.
    Versions {
        /// Which skill.
        skill: String,
        #[command(flatten)]
        output: Output,
    },
    /// Show what has changed in a skill.
    Diff {
        /// Which skill.
        skill: String,
        /// From this version; the one before the last when absent.
        from: Option<u64>,
        /// To this version; the last when absent.
        to: Option<u64>,
    },
    /// Make a skill what it was in a version.
    Restore {
        /// Which skill.
        skill: String,
        /// Which version.
        version: u64,
    },
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only those with this in their name or description.
    #[arg(long)]
    search: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(app: &App, command: SkillsCommand) -> Result<(), Fault> {
    let client = app.connect().await?;
    match command {
        SkillsCommand::Ls(args) => list(app, &client, args).await,
        SkillsCommand::Get { skill, version, output } => {
            let skill = resolve::skill(&client, &skill).await?;
            get(app, &client, &skill, version, output.output).await
        }
        SkillsCommand::Add { file, name, description, output } => {
            let spec = SkillSpec { name, description, content: read(&file)? };
            let skill = client.create_skill(&spec).await?;
            match output.output {
                Format::Table | Format::Name => app.printer.line(&skill.name),
                format => app.printer.value(&skill, format),
            }
        }
        SkillsCommand::Edit { skill, file, description, rename } => {
            let skill = resolve::skill(&client, &skill).await?;
            let content = file.as_deref().map(read).transpose()?;
            change(app, &client, &skill, SkillPatch { name: rename, description, content }).await
        }
        SkillsCommand::Rm { skills, yes } => remove(app, &client, &skills, yes).await,
        SkillsCommand::Attach { agent, skills } => {
            let agent = resolve::agent(&client, &agent).await?.agent;
            for skill in all(&client, &skills).await? {
                let request = AttachSkill { skill_id: Some(skill.id), ..AttachSkill::default() };
                client.attach_skill(agent.id, &request).await?;
                app.printer.line(&skill.name)?;
            }
            Ok(())
        }
        SkillsCommand::Detach { agent, skills } => {
            let agent = resolve::agent(&client, &agent).await?.agent;
            for skill in all(&client, &skills).await? {
                client.detach_skill(agent.id, skill.id).await?;
                app.printer.line(&skill.name)?;
            }
            Ok(())
        }
        SkillsCommand::Versions { skill, output } => {
            let skill = resolve::skill(&client, &skill).await?;
            versions(app, &client, &skill, output.output).await
        }
        SkillsCommand::Diff { skill, from, to } => {
            let skill = resolve::skill(&client, &skill).await?;
            diff(app, &client, &skill, from, to).await
        }
        SkillsCommand::Restore { skill, version } => {
            let skill = resolve::skill(&client, &skill).await?;
            let skill = client.restore_skill(skill.id, version).await?;
            app.printer.line(&format!("{} is now version {}", skill.name, skill.version))
        }
    }
}

/// All that are meant, found before anything is done to the first.
async fn all(client: &Client, meant: &[String]) -> Result<Vec<Skill>, Fault> {
    let mut skills = Vec::new();
    for meant in meant {
        skills.push(resolve::skill(client, meant).await?);
    }
    Ok(skills)
}

const COLUMNS: &[Column] = &[
    whole("NAME"),
    gives_way("DESCRIPTION"),
    whole("VERSION"),
    gives_way("AGENTS"),
    whole("CHANGED"),
    whole("ID"),
];

async fn list(app: &App, client: &Client, args: ListArgs) -> Result<(), Fault> {
    let skills = client.all_skills(&SkillsQuery { search: args.search, ..SkillsQuery::default() }).await?;
    match args.output.output {
        Format::Name => skills.iter().try_for_each(|skill| app.printer.line(&skill.name)),
        Format::Table => {
            let cells: Vec<_> = skills.iter().map(cells).collect();
            app.printer.table(
                COLUMNS,
                &cells,
                "no skills; `lap skills add SKILL.md` puts one into the library",
            )
        }
        format => app.printer.value(&skills, format),
    }
}

fn cells(skill: &Skill) -> Vec<String> {
    let agents: Vec<&str> = skill.attached_agents.iter().map(|agent| agent.name.as_str()).collect();
    vec![
        skill.name.clone(),
        skill.description.split_whitespace().collect::<Vec<_>>().join(" "),
        skill.version.to_string(),
        agents.join(" "),
        ago(skill.updated_at, Timestamp::now()),
        short_id(skill.id.0),
    ]
}

async fn get(
    app: &App,
    client: &Client,
    skill: &Skill,
    version: Option<u64>,
    format: Format,
) -> Result<(), Fault> {
    match (version, format) {
        (_, Format::Name) => app.printer.line(&skill.name),
        (Some(version), Format::Table) => {
            let version = client.skill_version(skill.id, version).await?;
            app.printer.text(&ended(version.content.unwrap_or_default()))
        }
        (None, Format::Table) => {
            let skill = client.skill(skill.id).await?;
            app.printer.text(&ended(skill.content.unwrap_or_default()))
        }
        (Some(version), format) => app.printer.value(&client.skill_version(skill.id, version).await?, format),
        (None, format) => app.printer.value(&client.skill(skill.id).await?, format),
    }
}

/// With a line break at its end.
fn ended(text: String) -> String {
    if text.ends_with('\n') { text } else { text + "\n" }
}

async fn change(app: &App, client: &Client, skill: &Skill, patch: SkillPatch) -> Result<(), Fault> {
    let save = async |patch: SkillPatch| {
        let skill = client.patch_skill(skill.id, &patch).await?;
        app.printer.line(&format!("{} is now version {}", skill.name, skill.version))
    };
    if patch != SkillPatch::default() {
        return save(patch).await;
    }
    let content = client.skill(skill.id).await?.content.unwrap_or_default();
    edit(&app.config.environment, "SKILL.md", &content, |edited| {
        save(SkillPatch { content: Some(edited), ..SkillPatch::default() })
    })
    .await
}

async fn remove(app: &App, client: &Client, meant: &[String], yes: bool) -> Result<(), Fault> {
    let skills = all(client, meant).await?;
    if !yes {
        let named = |skill: &Skill| match skill.attached_agents.len() {
            0 => skill.name.clone(),
            1 => format!("{}, which {} has", skill.name, skill.attached_agents[0].name),
            agents => format!("{}, which {agents} agents have", skill.name),
        };
        let named: Vec<String> = skills.iter().map(named).collect();
        confirm(&format!("Remove {} with all versions? This cannot be undone.", named.join("; ")), "--yes")?;
    }
    for skill in skills {
        client.delete_skill(skill.id).await?;
        app.printer.line(&skill.name)?;
    }
    Ok(())
}

async fn versions(app: &App, client: &Client, skill: &Skill, format: Format) -> Result<(), Fault> {
    let versions = client.skill_versions(skill.id).await?;
    match format {
        Format::Name => {
            versions.iter().try_for_each(|version| app.printer.line(&version.version.to_string()))
        }
        Format::Table => {
            let columns = [whole("VERSION"), gives_way("DESCRIPTION"), whole("BYTES"), whole("AGE")];
            let cells = |version: &lap_platform::model::SkillVersion| {
                vec![
                    version.version.to_string(),
                    version.description.split_whitespace().collect::<Vec<_>>().join(" "),
                    version.content_bytes.to_string(),
                    ago(version.created_at, Timestamp::now()),
                ]
            };
            let cells: Vec<_> = versions.iter().map(cells).collect();
            app.printer.table(&columns, &cells, "it has none")
        }
        format => app.printer.value(&versions, format),
    }
}

async fn diff(
    app: &App,
    client: &Client,
    skill: &Skill,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<(), Fault> {
    let to = to.unwrap_or(skill.version);
    let from = match from {
        Some(from) => from,
        None if to > 1 => to - 1,
        None => return note("there is one version only"),
    };
    let (before, after) =
        (client.skill_version(skill.id, from).await?, client.skill_version(skill.id, to).await?);
    let whole = |version: lap_platform::model::SkillVersion| {
        ended(format!("description: {}\n\n{}", version.description, version.content.unwrap_or_default()))
    };
    let (before, after) = (whole(before), whole(after));
    let diff = TextDiff::from_lines(&before, &after);
    let name = &skill.name;
    let mut lines = diff.unified_diff();
    lines.context_radius(CONTEXT).header(&format!("{name} version {from}"), &format!("{name} version {to}"));
    match lines.to_string() {
        same if same.is_empty() => note("they are the same"),
        lines => lines.lines().try_for_each(|line| app.printer.change(line)),
    }
}
