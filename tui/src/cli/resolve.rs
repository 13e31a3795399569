//! What a person calls an agent, a session, a skill or a memory: a name, an id, the beginning of one, a URL.

use lap_platform::client::{AgentsQuery, Client, ClientError, MemoriesQuery, SessionsQuery, SkillsQuery};
use lap_platform::model::{
    AgentId, AgentRow, Harness, Memory, Session, SessionId, SessionStatus, Skill, SkillId,
};
use uuid::Uuid;

use super::fault::{Exit, Fault};

/// The shortest part of an id that is taken for one.
const SHORTEST_PART: usize = 4;
/// Candidates that are listed.
const LISTED: usize = 12;
/// Characters of an id in tables, from its end: an id begins with the time, which is the same for what was made in one
/// moment, and looks the same after the clock was set back. The last twelve are random but for a counter.
const SHORT_ID: usize = 12;

/// An id as tables show it; it resolves.
pub(super) fn short_id(id: Uuid) -> String {
    let whole = id.to_string();
    whole.get(whole.len() - SHORT_ID..).unwrap_or(&whole).to_owned()
}

/// The agent a person means.
pub(super) async fn agent(client: &Client, meant: &str) -> Result<AgentRow, Fault> {
    let none = || {
        Fault::new(Exit::NotFound, format!("there is no agent {meant}"))
            .hint("`lap agents ls` shows them, `lap agents create` makes one")
    };
    if let Some(id) = id_of(client, meant, "agents")? {
        let name = client.agent(AgentId(id)).await.map_err(|error| or_not_there(error, none()))?.name;
        let named = AgentsQuery { name: Some(name), ..AgentsQuery::default() };
        let rows = client.all_agents(&named).await?;
        return rows.into_iter().find(|row| row.agent.id == AgentId(id)).ok_or_else(none);
    }
    let exact = AgentsQuery { name: Some(meant.to_owned()), ..AgentsQuery::default() };
    if let Some(row) = client.all_agents(&exact).await?.pop() {
        return Ok(row);
    }
    let like = AgentsQuery { search: Some(meant.to_owned()), ..AgentsQuery::default() };
    let found = client.all_agents(&like).await?;
    let named: Vec<_> = found.iter().filter(|row| same(&row.agent.name, meant)).cloned().collect();
    let begins: Vec<_> = found.iter().filter(|row| begins_or_ends(row.agent.id.0, meant)).cloned().collect();
    let describe = |row: &AgentRow| format!("{}  {}", short_id(row.agent.id.0), row.agent.name);
    for candidates in [named, begins] {
        if let Some(row) = only(candidates, meant, "agents", describe)? {
            return Ok(row);
        }
    }
    let near: Vec<_> = found.iter().take(LISTED).map(|row| row.agent.name.as_str()).collect();
    if !near.is_empty() {
        return Err(none().hint(format!("did you mean: {}", near.join(", "))));
    }
    // Somebody new types `lap claude`. That the list cannot be had is no news beside what is told anyway.
    let harnesses = client.harnesses().await.unwrap_or_default();
    Err(match harnesses.iter().find(|harness| is_meant(harness, meant)) {
        Some(harness) => none().hint(how_to_make(harness, meant)),
        None => none(),
    })
}

/// Whether a person who wrote `meant` means what this harness runs: `claude`, `claude-code`, "Claude Code".
fn is_meant(harness: &Harness, meant: &str) -> bool {
    let family = harness.id.split('-').next().is_some_and(|family| same(family, meant));
    let program = harness.program.as_deref().and_then(|program| program.rsplit('/').next());
    family
        || same(&harness.id, meant)
        || same(&harness.title, meant)
        || program.is_some_and(|name| same(name, meant))
}

/// What to do to have an agent of that name.
fn how_to_make(harness: &Harness, name: &str) -> String {
    if let (false, Some(install)) = (harness.available, &harness.install) {
        return format!("{} is not on PATH here: `{install}` installs it", harness.title);
    }
    let model = if harness.default_model.is_some() { "" } else { " --model <model>" };
    format!(
        "`lap agents create {name} --harness {}{model}` makes it, `lap {name}` then starts it",
        harness.id
    )
}

/// The session a person means. An agent's name means its live session, where it has one.
pub(super) async fn session(client: &Client, meant: &str) -> Result<Session, Fault> {
    let none = || {
        Fault::new(Exit::NotFound, format!("there is no session {meant}"))
            .hint("`lap sessions ls` shows them, `lap <agent>` starts one")
    };
    if let Some(id) = id_of(client, meant, "sessions")? {
        return client.session(SessionId(id)).await.map_err(|error| or_not_there(error, none()));
    }
    let like = SessionsQuery { search: Some(meant.to_owned()), ..SessionsQuery::default() };
    let found = client.all_sessions(&like).await?;
    let titled = |session: &Session| session.title.as_deref().is_some_and(|title| same(title, meant));
    let titled: Vec<_> = found.iter().filter(|session| titled(session)).cloned().collect();
    let titled = live_of(titled);
    let begins: Vec<_> =
        found.iter().filter(|session| begins_or_ends(session.id.0, meant)).cloned().collect();
    for candidates in [titled, begins] {
        if let Some(session) = only(candidates, meant, "sessions", describe)? {
            return Ok(session);
        }
    }
    let named = AgentsQuery { name: Some(meant.to_owned()), ..AgentsQuery::default() };
    let Some(agent) = client.all_agents(&named).await?.pop() else { return Err(none()) };
    let live = live_sessions(client, Some(agent.agent.id)).await?;
    let idle = || {
        Fault::new(Exit::NotFound, format!("the agent {meant} has no live session"))
            .hint(format!("`lap {meant}` starts one"))
    };
    only(live, meant, "live sessions", describe)?.ok_or_else(idle)
}

/// The live ones among sessions of one title, where there are any: who says a title means what runs under it now.
fn live_of(titled: Vec<Session>) -> Vec<Session> {
    let live: Vec<_> = titled.iter().filter(|session| session.status.is_live()).cloned().collect();
    if live.is_empty() { titled } else { live }
}

/// The skill of the library a person means.
pub(super) async fn skill(client: &Client, meant: &str) -> Result<Skill, Fault> {
    let none = || {
        Fault::new(Exit::NotFound, format!("there is no skill {meant}"))
            .hint("`lap skills` shows them, `lap skills add SKILL.md` makes one")
    };
    if let Some(id) = id_of(client, meant, "skills")? {
        return client.skill(SkillId(id)).await.map_err(|error| or_not_there(error, none()));
    }
    let all = client.all_skills(&SkillsQuery::default()).await?;
    if let Some(skill) = all.iter().find(|skill| skill.name == meant) {
        return Ok(skill.clone());
    }
    let near = all.iter().filter(|skill| skill.name.contains(&meant.to_lowercase()));
    let near: Vec<String> = near.take(LISTED).map(|skill| skill.name.clone()).collect();
    let begins = all.into_iter().filter(|skill| begins_or_ends(skill.id.0, meant)).collect();
    let describe = |skill: &Skill| format!("{}  {}", short_id(skill.id.0), skill.name);
    only(begins, meant, "skills", describe)?.ok_or_else(|| match near.is_empty() {
        true => none(),
        false => none().hint(format!("did you mean: {}", near.join(", "))),
    })
}

/// The skills a person means, as their ids.
pub(super) async fn skill_ids(client: &Client, meant: &[String]) -> Result<Vec<SkillId>, Fault> {
    let mut ids = Vec::with_capacity(meant.len());
    for meant in meant {
        ids.push(skill(client, meant).await?.id);
    }
    Ok(ids)
}

/// The memory of an agent a person means.
pub(super) async fn memory(client: &Client, agent: AgentId, meant: &str) -> Result<Memory, Fault> {
    let none = || {
        Fault::new(Exit::NotFound, format!("there is no memory {meant} of this agent"))
            .hint("`lap memory ls <agent>` shows them")
    };
    let id = Uuid::parse_str(meant).ok();
    let query = MemoriesQuery { include_disabled: true, ..MemoriesQuery::default() };
    let all = client.all_memories(agent, &query).await?;
    let fits =
        |memory: &Memory| id.map_or_else(|| begins_or_ends(memory.id.0, meant), |id| memory.id.0 == id);
    let describe = |memory: &Memory| {
        let text = memory.text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}  {text}", short_id(memory.id.0))
    };
    only(all.into_iter().filter(fits).collect(), meant, "memories", describe)?.ok_or_else(none)
}

/// Sessions that are coming up or run: an agent's, or all.
pub(super) async fn live_sessions(client: &Client, agent: Option<AgentId>) -> Result<Vec<Session>, Fault> {
    let mut live = Vec::new();
    for status in [SessionStatus::Ready, SessionStatus::Creating] {
        let query = SessionsQuery { agent_id: agent, status: Some(status), ..SessionsQuery::default() };
        live.extend(client.all_sessions(&query).await?);
    }
    Ok(live)
}

/// A session in a list to choose from.
pub(super) fn describe(session: &Session) -> String {
    format!("{}  {:8}  {}", short_id(session.id.0), session.status.as_str(), session.title_preview)
}

/// A session in a sentence: by its title, where it has one.
pub(super) fn named(session: &Session) -> String {
    match session.title_preview.as_str() {
        "" => short_id(session.id.0),
        title => format!("{title} ({})", short_id(session.id.0)),
    }
}

/// The only candidate, or none; several are an error that lists them.
fn only<T>(
    mut candidates: Vec<T>,
    meant: &str,
    what: &str,
    describe: impl Fn(&T) -> String,
) -> Result<Option<T>, Fault> {
    if candidates.len() < 2 {
        return Ok(candidates.pop());
    }
    let mut listed: Vec<String> = candidates.iter().take(LISTED).map(describe).collect();
    if candidates.len() > LISTED {
        listed.push(format!("… and {} more", candidates.len() - LISTED));
    }
    Err(Fault::usage(format!("{meant} is the name of {} {what}: say which by its id", candidates.len()))
        .hint(listed.join("\n")))
}

/// The id in a whole id or a URL. A URL must be of the server that is talked to.
fn id_of(client: &Client, meant: &str, kind: &str) -> Result<Option<Uuid>, Fault> {
    if !meant.starts_with("http://") && !meant.starts_with("https://") {
        return Ok(Uuid::parse_str(meant).ok());
    }
    let Some(path) = meant.strip_prefix(client.base()).and_then(|rest| rest.strip_prefix('/')) else {
        return Err(Fault::usage(format!("{meant} is not of the server at {}", client.base()))
            .hint("choose its server with --context or --url"));
    };
    let mut parts = path.split(['/', '?', '#']).skip_while(|part| *part != kind).skip(1);
    match parts.next().map(Uuid::parse_str) {
        Some(Ok(id)) => Ok(Some(id)),
        _ => Err(Fault::usage(format!("{meant} names none of the {kind}"))),
    }
}

/// Whether a person means that id by a part of it: its end, which tables show, or its beginning.
fn begins_or_ends(id: Uuid, meant: &str) -> bool {
    let plain = |text: &str| text.replace('-', "").to_lowercase();
    let (part, id) = (plain(meant), plain(&id.to_string()));
    part.len() >= SHORTEST_PART && (id.starts_with(&part) || id.ends_with(&part))
}

fn same(name: &str, meant: &str) -> bool {
    name.to_lowercase() == meant.to_lowercase()
}

fn or_not_there(error: ClientError, none: Fault) -> Fault {
    if error.is_not_found() { none } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0193a5b2-7c41-7d3e-9f00-0123456789ab";

    #[test]
    fn an_id_is_known_in_every_form() {
        let client = Client::new("http://127.0.0.1:4180/lap", None).unwrap();
        let id = Uuid::parse_str(ID).unwrap();
        let whole = |meant: &str| id_of(&client, meant, "sessions");
        assert_eq!(whole(ID).unwrap(), Some(id));
        assert_eq!(whole(&ID.to_uppercase()).unwrap(), Some(id));
        assert_eq!(whole("reviewer").unwrap(), None);
        let url = format!("http://127.0.0.1:4180/lap/api/v1/managed_agents/sessions/{ID}/tty?x=1");
        assert_eq!(whole(&url).unwrap(), Some(id));
        assert!(whole(&format!("http://127.0.0.1:4180/lap/api/v1/managed_agents/agents/{ID}")).is_err());
        let elsewhere = whole(&format!("https://example.com/sessions/{ID}")).unwrap_err().to_string();
        assert!(elsewhere.contains("http://127.0.0.1:4180/lap"), "{elsewhere}");
    }

    #[test]
    fn a_part_of_an_id_may_leave_dashes_out() {
        let id = Uuid::parse_str(ID).unwrap();
        for part in ["0193a5b2-7c41", "0193A5B27C4", "89ab", "0123456789AB", "00-0123456789ab", &short_id(id)]
        {
            assert!(begins_or_ends(id, part), "{part}");
        }
        for part in ["019", "9ab", "0193a5b3", "7d3e", "0123456789ac"] {
            assert!(!begins_or_ends(id, part), "{part}");
        }
    }

    #[test]
    fn ids_made_in_one_moment_look_different() {
        let made = |_| Uuid::now_v7();
        let shown: std::collections::HashSet<_> = (0..5_000).map(made).map(short_id).collect();
        assert_eq!(shown.len(), 5_000);
    }

    #[test]
    fn several_candidates_are_listed() {
        assert_eq!(only(vec!["a"], "x", "agents", |one| (*one).to_owned()).unwrap(), Some("a"));
        let fault = only(vec!["a", "b"], "x", "agents", |one| format!("id-{one}")).unwrap_err().to_string();
        assert!(fault.contains("2 agents") && fault.contains("\n  id-a\n  id-b"), "{fault}");
    }
}
