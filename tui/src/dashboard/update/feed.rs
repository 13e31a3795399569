//! What the server says.

use jiff::SignedDuration;
use lap_platform::client::{ClientError, FeedEvent};
use lap_platform::model::{AgentRow, Change, ChangeKind, Resource, Session, SessionId, SessionStatus};

use super::browse;
use crate::dashboard::event::{Effect, Lists, Reply};
use crate::dashboard::model::{
    Awaited, DiagnosisState, Layer, Link, Model, Screen, Tab, ToastKind, session_name,
};

pub(super) fn feed(model: &mut Model, event: FeedEvent) -> Vec<Effect> {
    match event {
        FeedEvent::Connected { resumed } => {
            let was_lost = matches!(model.link, Link::Lost { .. });
            model.link = Link::Connected;
            model.reading.feed_is_there();
            if was_lost {
                model.toasts.retract(super::NOT_CONNECTED);
                if !model.toasts.iter().any(|toast| toast.text == super::SERVER_STARTED) {
                    model.toasts.push(ToastKind::Info, super::CONNECTED_AGAIN, model.now);
                }
            }
            if resumed && model.loaded { Vec::new() } else { vec![Effect::Load] }
        }
        FeedEvent::Reset => vec![Effect::Load],
        FeedEvent::Change(change) => changed(model, *change),
        FeedEvent::Lost { reason, retry_in } => {
            let wait = SignedDuration::try_from(retry_in).unwrap_or(SignedDuration::ZERO);
            let retry_at = model.now.saturating_add(wait).unwrap_or(model.now);
            model.link = Link::Lost { reason: brief(&reason), retry_at };
            model.reading.feed_is_gone(model.now);
            Vec::new()
        }
    }
}

fn changed(model: &mut Model, change: Change) -> Vec<Effect> {
    match (change.kind, change.resource) {
        (ChangeKind::Deleted, Resource::Agent(row)) => forget_agent(model, row.agent.id),
        (ChangeKind::Deleted, Resource::Session(session)) => drop(model.sessions.remove(&session.id)),
        (ChangeKind::Reset, _) => return vec![Effect::Load],
        // Nothing shows them yet.
        (_, Resource::Memory(_)) => {}
        (_, Resource::Agent(row)) => drop(model.agents.insert(row.agent.id, *row)),
        (_, Resource::Session(session)) => return session_changed(model, *session),
        (_, Resource::None) => {}
    }
    Vec::new()
}

fn forget_agent(model: &mut Model, id: lap_platform::model::AgentId) {
    model.agents.remove(&id);
    if model.scope == Some(id) {
        model.scope = None;
    }
}

fn session_changed(model: &mut Model, session: Session) -> Vec<Effect> {
    let (id, status, sandbox) = (session.id, session.status, session.task_arn.clone());
    let old = model.sessions.insert(id, session);
    let moved = old.as_ref().is_some_and(|old| old.status != status || old.task_arn != sandbox);
    let before = old.map(|old| old.status);
    if before != Some(status) && status == SessionStatus::Failed {
        let session = model.sessions.get(&id);
        let text = session.map_or_else(String::new, |session| {
            let why = session.failure_reason.as_deref().unwrap_or("it did not come up");
            format!("{}: {}", session_name(session), first_line(why))
        });
        model.toasts.push(ToastKind::Error, text, model.now);
    }
    let mut effects = open_awaited(model, id, status);
    if moved && status == SessionStatus::Ready {
        effects.push(Effect::Reopen(id));
    }
    effects
}

/// Opens a session that was just made, unless the person has gone on to something else.
fn open_awaited(model: &mut Model, id: SessionId, status: SessionStatus) -> Vec<Effect> {
    let Some(awaited) = model.awaited.filter(|awaited| awaited.session == id) else { return Vec::new() };
    if status == SessionStatus::Creating {
        return Vec::new();
    }
    model.awaited = None;
    let still_there = model.layer.is_none() && model.screen == awaited.screen && !model.filtering;
    if status == SessionStatus::Ready && still_there {
        return browse::open_session(model, id, awaited.place);
    }
    Vec::new()
}

/// A part of the lists. What the feed has told meanwhile of the same rows is newer, and once all are there so is that.
pub(super) fn page(model: &mut Model, page: Lists) -> Vec<Effect> {
    if !model.loaded {
        for row in page.agents {
            model.agents.entry(row.agent.id).or_insert(row);
        }
        for session in page.sessions {
            model.sessions.entry(session.id).or_insert(session);
        }
    }
    Vec::new()
}

pub(super) fn loaded(model: &mut Model, result: Result<Lists, ClientError>) -> Vec<Effect> {
    match result {
        Ok(lists) => {
            // On first use there is nothing to watch yet: the agents are where one begins.
            if !model.loaded && lists.sessions.is_empty() && !lists.agents.is_empty() {
                model.tab = Tab::Agents;
            }
            model.agents = lists.agents.into_iter().map(|row| (row.agent.id, row)).collect();
            model.sessions = lists.sessions.into_iter().map(|session| (session.id, session)).collect();
            if !lists.harnesses.is_empty() {
                model.harnesses = lists.harnesses;
            }
            model.loaded = true;
            model.reading.succeeded(model.link == Link::Connected, model.now);
            match model.awaited.and_then(|awaited| model.sessions.get(&awaited.session)) {
                Some(session) => {
                    let (id, status) = (session.id, session.status);
                    open_awaited(model, id, status)
                }
                None => Vec::new(),
            }
        }
        Err(error) => {
            // While the connection is lost the banner says so.
            if !matches!(model.link, Link::Lost { .. }) && model.reading.fault().is_none() {
                model.toasts.push(ToastKind::Error, sentence(&error), model.now);
            }
            model.reading.failed(brief(&error), model.now);
            Vec::new()
        }
    }
}

pub(super) fn finished(model: &mut Model, task: u64, result: Result<Reply, ClientError>) -> Vec<Effect> {
    let Some(task) = model.end_task(task) else { return Vec::new() };
    let of_form = matches!(&model.layer, Some(Layer::Form(form)) if form.sent == Some(task.id));
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => {
            failed(model, &task.label, of_form, &error);
            return Vec::new();
        }
    };
    if of_form {
        model.layer = None;
    }
    match reply {
        Reply::Agent(agent) => {
            let id = agent.id;
            let old = model.agents.get(&id);
            let (session_count, has_active_session) =
                old.map_or((0, false), |row| (row.session_count, row.has_active_session));
            model.agents.insert(id, AgentRow { agent: *agent, session_count, has_active_session });
            model.agent_list.select_id(id);
            if model.scope.is_none() && model.screen == Screen::Lists {
                model.tab = Tab::Agents;
            }
            Vec::new()
        }
        Reply::Session(session) => {
            if model.restarting == Some(session.id) {
                model.restarting = None;
            }
            session_changed(model, *session)
        }
        Reply::Started { agent, session, open } => {
            if let Some(agent) = agent {
                let row = AgentRow { agent: *agent, session_count: 1, has_active_session: true };
                model.agents.insert(row.agent.id, row);
            }
            let id = session.id;
            if model.screen == Screen::Lists {
                model.tab = Tab::Sessions;
                model.scope = model.scope.filter(|scope| *scope == session.agent_id);
                model.session_list.filter.clear();
            }
            model.session_list.select_id(id);
            model.awaited = open.map(|place| Awaited { session: id, place, screen: model.screen });
            // The feed may have been quicker than the answer: what it said is newer.
            let known = model.sessions.get(&id).map(|known| known.status);
            match known {
                Some(status) => open_awaited(model, id, status),
                None => session_changed(model, *session),
            }
        }
        Reply::Deleted(id) => {
            let name = model.agent_name(id);
            forget_agent(model, id);
            model.toasts.push(ToastKind::Info, format!("{name} is deleted."), model.now);
            Vec::new()
        }
        Reply::Unsaved(ending, tally) => {
            if let Some(Layer::Confirm(confirm)) = &mut model.layer
                && confirm.then == ending
            {
                confirm.unsaved = Some(tally.words(ending.fate()));
            }
            Vec::new()
        }
        Reply::Diagnosis(diagnosis) => {
            if let Some(Layer::Diagnosis(view)) = &mut model.layer
                && view.session == diagnosis.session.id
            {
                view.state = DiagnosisState::Ready(diagnosis);
            }
            Vec::new()
        }
    }
}

fn failed(model: &mut Model, label: &str, of_form: bool, error: &ClientError) {
    model.restarting = None;
    if let (true, Some(Layer::Form(form))) = (of_form, &mut model.layer) {
        form.sent = None;
        match error {
            ClientError::Api(api) if !api.fields.is_empty() => form.show_faults(&api.fields),
            other => form.fault = Some(sentence(other)),
        }
        return;
    }
    if let Some(Layer::Diagnosis(view)) = &mut model.layer
        && matches!(view.state, DiagnosisState::Loading)
    {
        view.state = DiagnosisState::Failed(sentence(error));
        return;
    }
    model.toasts.push(ToastKind::Error, format!("{label}: {error}"), model.now);
}

/// Why the connection is gone, without the address: the header has it.
fn brief(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { reason, .. } | ClientError::Broken { reason, .. } => {
            reason.split(" (os error").next().unwrap_or(reason).to_lowercase()
        }
        ClientError::Between { reason, .. } | ClientError::Untrusted { reason, .. } => reason.clone(),
        ClientError::TimedOut { .. } => String::from("the server does not answer"),
        other => other.to_string(),
    }
}

fn sentence(error: &ClientError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
