//! Keys and actions in the lists.

use crossterm::event::KeyCode;
use lap_platform::model::{AgentId, Session, SessionId, SessionStatus};

use super::{connected, palette, place};
use crate::dashboard::actions::Action;
use crate::dashboard::event::{Effect, Request, Where};
use crate::dashboard::key::Key;
use crate::dashboard::model::{
    Awaited, Confirm, DiagnosisState, DiagnosisView, Ending, Form, FormKind, Help, Input, Layer, Link, Model,
    Need, Screen, Tab, ToastKind, model_of, session_name, waits,
};

/// Rows of a page when the screen's height is not known.
const HEADROOM: u16 = 6;

pub(super) fn key(model: &mut Model, key: Key) -> Vec<Effect> {
    if model.filtering {
        return filter_key(model, key);
    }
    if let Some(n) = key.typed().and_then(|c| c.to_digit(10)).filter(|n| *n > 0)
        && !model.offers().is_empty()
    {
        return take_offer(model, n as usize - 1);
    }
    match model.keymap.action(key, place(model)) {
        Some(action) => act(model, action),
        None => Vec::new(),
    }
}

/// Does what an action does at the present place.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let page = isize::try_from(model.size.height.saturating_sub(HEADROOM).max(1)).unwrap_or(1);
    match action {
        Action::Open => return open(model, Where::Here),
        Action::OpenRight => return open(model, Where::Right),
        Action::OpenBelow => return open(model, Where::Below),
        Action::Panes => return show_panes(model),
        Action::NewSession => new_session(model),
        Action::NewAgent => {
            if connected(model) {
                model.layer = Some(Layer::Form(Form::new_agent(&model.harnesses)));
            }
        }
        Action::Diagnose => return diagnose(model),
        Action::Rename => rename(model),
        Action::Restart => return ask_restart(model),
        Action::Stop => return ask_stop(model),
        Action::Delete => return ask_delete(model),
        Action::NextWaiting => next_waiting(model),
        Action::Up => step(model, -1),
        Action::Down => step(model, 1),
        Action::PageUp => step(model, -page),
        Action::PageDown => step(model, page),
        Action::First => step(model, isize::MIN),
        Action::Last => step(model, isize::MAX),
        Action::Back => back(model),
        Action::SwitchList => {
            let other = if model.tab == Tab::Agents { Tab::Sessions } else { Tab::Agents };
            show_list(model, other);
        }
        Action::Agents => show_list(model, Tab::Agents),
        Action::Sessions => show_list(model, Tab::Sessions),
        Action::Filter => model.filtering = true,
        Action::Sort => match model.tab {
            Tab::Agents => model.agent_list.sort = model.agent_list.sort.next(),
            Tab::Sessions => model.session_list.sort = model.session_list.sort.next(),
        },
        Action::SortReverse => match model.tab {
            Tab::Agents => model.agent_list.reverse = !model.agent_list.reverse,
            Tab::Sessions => model.session_list.reverse = !model.session_list.reverse,
        },
        Action::Ended => model.show_ended = !model.show_ended,
        Action::Preview => model.show_preview = !model.show_preview,
        Action::SideList => model.side_list = !model.side_list,
        Action::Palette => palette::open(model),
        Action::Help => model.layer = Some(Layer::Help(Help::default())),
        Action::Reconnect => {
            return vec![if model.link == Link::Connected { Effect::Load } else { Effect::RetryNow }];
        }
        Action::Dismiss => drop(model.toasts.clear()),
        Action::Redraw => return vec![Effect::Redraw],
        Action::ReloadTheme => return vec![Effect::ReloadTheme],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Quit => return vec![Effect::Quit],
    }
    Vec::new()
}

pub(super) fn filter(model: &mut Model) -> &mut Input {
    match model.tab {
        Tab::Agents => &mut model.agent_list.filter,
        Tab::Sessions => &mut model.session_list.filter,
    }
}

fn filter_key(model: &mut Model, key: Key) -> Vec<Effect> {
    match key.code() {
        KeyCode::Enter => model.filtering = false,
        KeyCode::Esc => {
            model.filtering = false;
            filter(model).clear();
        }
        KeyCode::Char('c') if key.ctrl() => return act(model, Action::Quit),
        KeyCode::Up => step(model, -1),
        KeyCode::Down => step(model, 1),
        _ => drop(filter(model).key(key)),
    }
    Vec::new()
}

pub(super) fn step(model: &mut Model, by: isize) {
    match model.tab {
        Tab::Agents => model.agent_list.step(by),
        Tab::Sessions => model.session_list.step(by),
    }
}

pub(super) fn show_list(model: &mut Model, tab: Tab) {
    // Coming from an agent, one looks at all sessions; its own are shown by opening it.
    model.scope = None;
    model.filtering = false;
    model.tab = tab;
}

fn back(model: &mut Model) {
    if model.toasts.clear() {
        return;
    }
    if !filter(model).text().is_empty() {
        filter(model).clear();
    } else if let (Tab::Sessions, Some(agent)) = (model.tab, model.scope.take()) {
        model.tab = Tab::Agents;
        model.agent_list.select_id(agent);
    }
}

pub(super) fn open(model: &mut Model, place: Where) -> Vec<Effect> {
    match model.tab {
        Tab::Agents => {
            if let Some(agent) = model.agent_list.selected {
                model.tab = Tab::Sessions;
                model.scope = Some(agent);
                model.session_list.filter.clear();
            }
            Vec::new()
        }
        Tab::Sessions => match model.session().map(|session| session.id) {
            Some(id) => open_session(model, id, place),
            None => Vec::new(),
        },
    }
}

/// Opens a session's terminal if it has one now; else does the next best thing and says so.
pub(super) fn open_session(model: &mut Model, id: SessionId, place: Where) -> Vec<Effect> {
    let Some(session) = model.sessions.get(&id) else { return Vec::new() };
    let name = session_name(session);
    match session.status {
        SessionStatus::Ready if model.own == Some(id) => {
            model.toasts.push(
                ToastKind::Info,
                format!("{name} is the session this terminal is in: it would show itself."),
                model.now,
            );
            Vec::new()
        }
        SessionStatus::Ready if session.supports_tui => {
            model.screen = Screen::Panes;
            model.awaited = None;
            vec![Effect::Open(id, place)]
        }
        SessionStatus::Ready => {
            model.toasts.push(ToastKind::Info, format!("{name} has no terminal."), model.now);
            Vec::new()
        }
        SessionStatus::Creating => {
            model.awaited = Some(Awaited { session: id, place, screen: model.screen });
            model.toasts.push(ToastKind::Info, format!("{name} opens as soon as it is ready."), model.now);
            Vec::new()
        }
        SessionStatus::Dead | SessionStatus::Failed => diagnose_session(model, id),
    }
}

fn show_panes(model: &mut Model) -> Vec<Effect> {
    if model.panes.sessions.is_empty() {
        let key =
            model.keymap.hint(Action::Open).map_or_else(String::new, |key| format!(": {key} opens one"));
        model.toasts.push(ToastKind::Info, format!("No terminal is open{key}."), model.now);
        return Vec::new();
    }
    model.screen = Screen::Panes;
    vec![Effect::ShowPanes]
}

fn new_session(model: &mut Model) {
    if !connected(model) {
        return;
    }
    match model.agent() {
        Some(row) => {
            let takes_prompt = row.agent.harness_id != "shell";
            let form = Form::new_session(row.agent.id, &row.agent.name, takes_prompt);
            model.layer = Some(Layer::Form(form));
        }
        None if model.agents.is_empty() => {
            model.layer = Some(Layer::Form(Form::new_agent(&model.harnesses)));
        }
        None => {
            let text = "Select an agent first: a session is a run of one.";
            model.toasts.push(ToastKind::Info, text, model.now);
            show_list(model, Tab::Agents);
        }
    }
}

/// Starts a session of an agent, to be opened there.
pub(super) fn start_session(model: &mut Model, agent: AgentId, place: Where) -> Vec<Effect> {
    if !connected(model) {
        return Vec::new();
    }
    let task = model.begin_task(format!("Starting a session of {}", model.agent_name(agent)));
    vec![Effect::Request(task, Request::CreateSession(agent, Box::default(), Some(place)))]
}

/// Makes an agent of an offered harness, and a session of it.
pub(super) fn take_offer(model: &mut Model, at: usize) -> Vec<Effect> {
    let busy = model.tasks.iter().any(|task| task.label.starts_with("Creating"));
    let Some(harness) = model.offers().get(at).map(|harness| (*harness).clone()) else { return Vec::new() };
    if busy || !connected(model) {
        return Vec::new();
    }
    let spec = lap_platform::model::AgentSpec {
        name: Some(harness.id.clone()),
        model: model_of(Some(&harness)),
        harness_id: Some(harness.id.clone()),
        ..Default::default()
    };
    let task = model.begin_task(format!("Creating {}", harness.id));
    model.tab = Tab::Sessions;
    vec![Effect::Request(task, Request::CreateAgentAndSession(Box::new(spec)))]
}

fn diagnose(model: &mut Model) -> Vec<Effect> {
    match model.session().map(|session| session.id) {
        Some(id) => diagnose_session(model, id),
        None => Vec::new(),
    }
}

pub(super) fn diagnose_session(model: &mut Model, session: SessionId) -> Vec<Effect> {
    if !connected(model) {
        return Vec::new();
    }
    model.layer = Some(Layer::Diagnosis(DiagnosisView { session, state: DiagnosisState::Loading, top: 0 }));
    let task = model.begin_task("Gathering what is known");
    vec![Effect::Request(task, Request::Diagnose(session))]
}

fn rename(model: &mut Model) {
    if !connected(model) {
        return;
    }
    let form = match model.tab {
        Tab::Agents => model
            .agent()
            .map(|row| Form::rename(FormKind::RenameAgent(row.agent.id), &row.agent.name, &row.agent.name)),
        Tab::Sessions => model.session().map(|session| {
            let old = session.title.as_deref().unwrap_or_default();
            Form::rename(FormKind::RenameSession(session.id), &session_name(session), old)
        }),
    };
    if let Some(form) = form {
        model.layer = Some(Layer::Form(form));
    }
}

fn ask_stop(model: &mut Model) -> Vec<Effect> {
    let Some(session) = model.session() else { return Vec::new() };
    let (id, name) = (session.id, session_name(session));
    if !session.status.is_live() {
        let text = format!("{name} has already ended.");
        model.toasts.push(ToastKind::Info, text, model.now);
        return Vec::new();
    }
    let mut lines = vec![
        format!("“{name}” of {} ends, with everything that runs in it.", model.agent_name(session.agent_id)),
        String::from("Its log and recording stay, and it can be restarted."),
    ];
    match others(model, session) {
        0 => {}
        1 => lines.push(String::from("Somebody else is looking at it now.")),
        n => lines.push(format!("{n} others are looking at it now.")),
    }
    if !connected(model) {
        return Vec::new();
    }
    ask(model, "Stop this session?", lines, "stop", Need::Yes, Ending::Stop(id), vec![id])
}

/// Viewers beside this dashboard's own.
fn others(model: &Model, session: &Session) -> u32 {
    let in_pane = model.panes.sessions.contains(&session.id);
    model.viewers(session).saturating_sub(u32::from(in_pane))
}

fn ask_restart(model: &mut Model) -> Vec<Effect> {
    let Some(session) = model.session() else { return Vec::new() };
    let (id, name, status) = (session.id, session_name(session), session.status);
    if !connected(model) {
        return Vec::new();
    }
    let what = match status {
        SessionStatus::Creating => {
            let text = format!("{name} is just being brought up.");
            model.toasts.push(ToastKind::Info, text, model.now);
            return Vec::new();
        }
        SessionStatus::Ready => format!("What runs in {name} now ends."),
        SessionStatus::Dead | SessionStatus::Failed => format!("{name} has ended."),
    };
    let lines = vec![what, String::from("A new sandbox comes up with the same agent, skills and files.")];
    ask(model, "Restart this session?", lines, "restart", Need::Yes, Ending::Restart(id), vec![id])
}

pub(super) fn restart(model: &mut Model, id: SessionId) -> Vec<Effect> {
    if !connected(model) {
        return Vec::new();
    }
    let name = model.sessions.get(&id).map_or_else(|| id.to_string(), session_name);
    model.restarting = Some(id);
    let task = model.begin_task(format!("Restarting {name}"));
    vec![Effect::Request(task, Request::Restart(id))]
}

fn ask_delete(model: &mut Model) -> Vec<Effect> {
    let Some(row) = model.agent() else { return Vec::new() };
    let (id, name): (AgentId, String) = (row.agent.id, row.agent.name.clone());
    let live: Vec<String> = model.live_sessions(id).map(session_name).collect();
    let ending: Vec<SessionId> = model.live_sessions(id).map(|session| session.id).collect();
    let mut lines = vec![match live.len() {
        0 => format!("{name} goes. None of its sessions is running, and none can be started again."),
        1 => format!("{name} goes, and this session of it ends:"),
        n => format!("{name} goes, and these {n} sessions of it end:"),
    }];
    const NAMED: usize = 6;
    lines.extend(live.iter().take(NAMED).map(|name| format!("  {name}")));
    if live.len() > NAMED {
        lines.push(format!("  and {} more", live.len() - NAMED));
    }
    let need = match live.len() {
        0 | 1 => Need::Yes,
        _ => Need::Typed { wanted: name, input: Input::default() },
    };
    if !connected(model) {
        return Vec::new();
    }
    ask(model, "Delete this agent?", lines, "delete", need, Ending::DeleteAgent(id), ending)
}

/// Asks, and has the unsaved work of the sessions that end counted while the question is read.
fn ask(
    model: &mut Model,
    title: &str,
    lines: Vec<String>,
    submit: &'static str,
    need: Need,
    then: Ending,
    ending: Vec<SessionId>,
) -> Vec<Effect> {
    let counting = "Counting unsaved work…";
    let unsaved = (!ending.is_empty()).then(|| counting.to_owned());
    model.layer =
        Some(Layer::Confirm(Confirm { title: title.to_owned(), lines, unsaved, submit, need, then }));
    if ending.is_empty() {
        return Vec::new();
    }
    vec![Effect::Request(model.begin_task(counting), Request::Unsaved(then, ending))]
}

fn next_waiting(model: &mut Model) {
    let mut waiting: Vec<_> = model
        .sessions
        .values()
        .filter(|session| waits(session))
        .map(|session| (session.created_at, session.id))
        .collect();
    waiting.sort();
    let selected = model.session().map(|session| (session.created_at, session.id));
    let next =
        waiting.iter().find(|one| selected.is_some_and(|selected| **one > selected)).or(waiting.first());
    match next.copied() {
        Some((_, id)) => {
            show_list(model, Tab::Sessions);
            model.session_list.filter.clear();
            model.session_list.select_id(id);
        }
        None => model.toasts.push(ToastKind::Info, "Nobody waits for you.", model.now),
    }
}
