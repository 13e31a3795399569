//! What is known about the selected one, and a look at its terminal.

use lap_platform::model::{AgentRow, Session};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::sessions::{glyph, state};
use super::text::{cut, wrap};
use super::{Canvas, Layout};
use crate::dashboard::actions::Action;
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Model, Tab, session_name};
use crate::dashboard::update::age;

/// Below this height the terminal is worth more than all the facts.
const LOW: u16 = 16;
/// Facts there.
const LOW_FACTS: usize = 3;
/// Lines of one fact.
const LINES: usize = 3;
/// Columns of the labels.
const LABELS: u16 = 12;

/// One line: a label, and a text in a style.
type Fact = (&'static str, String, Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Dim,
    State,
    Warning,
}

pub(super) fn draw(model: &Model, canvas: &mut Canvas<'_>, layout: &Layout) {
    let Some(area) = layout.detail else { return };
    let (title, facts) = content(model, area);
    frame(canvas, area, &title);
    let inner = inner(area);
    let theme = canvas.theme;
    let mut y = 0;
    for (label, text, kind) in &facts {
        let style = match kind {
            Kind::Plain => theme.text,
            Kind::Dim => theme.dim,
            Kind::Warning => Style { add_modifier: ratatui::style::Modifier::empty(), ..theme.attention },
            Kind::State => model.session().map_or(theme.text, |session| glyph(session, theme).1),
        };
        canvas.text(inner, 0, y, label, theme.dim);
        for line in broken(text, area) {
            canvas.text(inner, LABELS, y, &line, style);
            y += 1;
        }
    }
    let Some(preview) = layout.preview else { return };
    let rule = Rect { y: preview.y - 1, height: 1, ..inner };
    canvas.text(rule, 0, 0, &"─".repeat(usize::from(inner.width)), theme.border);
    canvas.shown.hit(preview, Hit::Preview);
    if model.previewed().is_none() {
        let (text, keys) = no_terminal(model);
        canvas.text(preview, 0, 0, text, theme.dim);
        for (y, (action, does)) in (1..).zip(keys) {
            let key = model.keymap.hint(*action).map_or_else(String::new, |key| key.to_string());
            canvas.pieces(preview, 0, y, &[(&key, theme.key), (" ", theme.dim), (does, theme.dim)]);
        }
    }
}

/// Where the terminal is shown within the detail, if there is room for one.
pub(super) fn preview_area(model: &Model, area: Rect) -> Option<Rect> {
    let (_, facts) = content(model, area);
    let inner = inner(area);
    let lines: usize = facts.iter().map(|(_, text, _)| broken(text, area).len()).sum();
    let used = u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(1);
    let height = inner.height.saturating_sub(used);
    (height >= 2).then_some(Rect { y: inner.y + used, height, ..inner })
}

/// A fact in the lines it takes; where there are more than fit, the last one says so.
fn broken(text: &str, area: Rect) -> Vec<String> {
    let wide = usize::from(inner(area).width.saturating_sub(LABELS));
    let mut lines = wrap(text, wide);
    let most = if area.height < LOW { 1 } else { LINES };
    if lines.len() > most {
        let rest = lines.drain(most - 1..).collect::<Vec<_>>().join(" ");
        lines.push(cut(&rest, wide));
    }
    lines
}

fn content(model: &Model, area: Rect) -> (String, Vec<Fact>) {
    let mut facts = match model.tab {
        Tab::Agents => match model.agent() {
            Some(row) => (row.agent.name.clone(), agent(model, row)),
            None => (String::new(), Vec::new()),
        },
        Tab::Sessions => match model.session() {
            Some(one) => (session_name(one), session(model, one)),
            None => (String::new(), Vec::new()),
        },
    };
    if area.height < LOW {
        facts.1.truncate(LOW_FACTS);
    }
    facts
}

fn session(model: &Model, session: &Session) -> Vec<Fact> {
    let agent = model.agent_name(session.agent_id);
    let harness = model.harness_title(model.harness_of(session));
    let unconfined = session.status.is_live() && session.unconfined;
    let mut facts =
        vec![("State", state(session), Kind::State), ("Agent", format!("{agent} · {harness}"), Kind::Plain)];
    let mut life = vec![format!("{} old", age(session.created_at, model.now))];
    match model.viewers(session) {
        0 => {}
        1 => life.push(String::from("1 viewer")),
        n => life.push(format!("{n} viewers")),
    }
    if session.recording {
        life.push(String::from("recording"));
    }
    if unconfined {
        // Before the rest: in a low place the rest is left out.
        facts.insert(1, ("Sandbox", String::from("△ unconfined: sees the whole machine"), Kind::Warning));
    }
    facts.push(("Life", life.join(" · "), Kind::Dim));
    facts.push(("Id", session.id.to_string(), Kind::Dim));
    facts
}

fn agent(model: &Model, row: &AgentRow) -> Vec<Fact> {
    let agent = &row.agent;
    let harness = model.harness_title(&agent.harness_id);
    let mut facts = vec![("Harness", format!("{harness} · {}", agent.model), Kind::Plain)];
    let live = model.live_sessions(agent.id).count();
    let sessions = format!("{live} running · made {} ago", age(agent.created_at, model.now));
    facts.push(("Sessions", sessions, Kind::Dim));
    if let Some(url) = &agent.repo_url {
        let branch = agent.branch.as_deref().map(|branch| format!(" · {branch}")).unwrap_or_default();
        facts.push(("Repo", format!("{url}{branch}"), Kind::Plain));
    }
    if let Some(prompt) = agent.prompt.as_deref().filter(|prompt| !prompt.is_empty()) {
        facts.push(("Told to", prompt.lines().next().unwrap_or_default().to_owned(), Kind::Dim));
    }
    if !agent.env_vars.is_empty() {
        let names: Vec<&str> = agent.env_vars.keys().map(String::as_str).collect();
        facts.push(("Env", names.join(" "), Kind::Dim));
    }
    facts
}

fn no_terminal(model: &Model) -> (&'static str, &'static [(Action, &'static str)]) {
    use lap_platform::model::SessionStatus::{Creating, Dead, Failed, Ready};
    match (model.tab, model.session().map(|session| session.status)) {
        (Tab::Agents, _) => ("No session of it is running.", &[(Action::NewSession, "starts one")]),
        (_, Some(Creating)) => {
            ("Its terminal comes when it is ready.", &[(Action::Diagnose, "shows how far it is")])
        }
        (_, Some(Dead | Failed)) => (
            "It has ended.",
            &[(Action::Diagnose, "shows what is known"), (Action::Restart, "starts it again")],
        ),
        (_, Some(Ready)) if model.session().map(|session| session.id) == model.own => {
            ("It is the session this terminal is in.", &[])
        }
        (_, Some(Ready) | None) => ("It has no terminal.", &[]),
    }
}

fn inner(area: Rect) -> Rect {
    Rect {
        x: area.x + 2,
        y: area.y + 1,
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

fn frame(canvas: &mut Canvas<'_>, area: Rect, title: &str) {
    super::popup::border(canvas, area, canvas.theme.border);
    let line = Rect { x: area.x + 2, width: area.width.saturating_sub(4), height: 1, ..area };
    let style: Style = canvas.theme.text;
    let style = style.add_modifier(ratatui::style::Modifier::BOLD);
    canvas.pieces(line, 0, 0, &[(" ", style), (title, style), (" ", style)]);
}

#[cfg(test)]
mod tests {
    use crate::dashboard::model::Tab;
    use crate::dashboard::view::testing::{sample, select, snapshot};

    #[test]
    fn beside_the_list_where_there_is_room() {
        snapshot("detail_wide", &sample(), 120, 0..20);
    }

    #[test]
    fn below_the_list_where_there_is_not() {
        snapshot("detail_low", &sample(), 80, 0..24);
    }

    #[test]
    fn an_ended_session_says_what_can_be_done() {
        let mut model = sample();
        select(&mut model, "old experiment");
        snapshot("detail_ended", &model, 120, 3..14);
    }

    #[test]
    fn an_agent_shows_what_it_is_made_of() {
        let mut model = sample();
        model.tab = Tab::Agents;
        snapshot("detail_agent", &model, 120, 3..14);
    }
}
