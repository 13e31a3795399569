//! Keys in what lies over the lists. These are fixed: they are those of every form and box.

use crossterm::event::KeyCode;

use super::{browse, palette};
use crate::dashboard::actions::Action;
use crate::dashboard::event::{Effect, Request, Where};
use crate::dashboard::key::Key;
use crate::dashboard::model::{Ending, FormKind, Layer, Model, Need, session_name};

/// Lines a page key moves.
const PAGE: usize = 10;

pub(super) fn key(model: &mut Model, key: Key) -> Vec<Effect> {
    if key.is(KeyCode::Esc) {
        model.layer = None;
        return Vec::new();
    }
    if key.ctrl() && key.code() == KeyCode::Char('c') {
        // The key that means "out of here" everywhere first leaves the layer.
        model.layer = None;
        return Vec::new();
    }
    match &mut model.layer {
        None => Vec::new(),
        Some(Layer::Palette(_)) => palette::key(model, key),
        Some(Layer::Help(help)) => {
            match scroll(help.top, key) {
                Some(top) => help.top = top,
                None if help.filter.key(key) => help.top = 0,
                None => {}
            }
            Vec::new()
        }
        Some(Layer::Diagnosis(view)) => {
            if let Some(top) = scroll(view.top, key) {
                view.top = top;
                return Vec::new();
            }
            let session = view.session;
            match model.keymap.action(key, super::Place::Sessions) {
                Some(Action::Diagnose) => browse::diagnose_session(model, session),
                Some(Action::Up) => scroll_by(model, -1),
                Some(Action::Down) => scroll_by(model, 1),
                Some(Action::Back | Action::Quit) => {
                    model.layer = None;
                    Vec::new()
                }
                Some(action @ (Action::Restart | Action::Stop | Action::Open)) => {
                    model.layer = None;
                    model.session_list.select_id(session);
                    browse::act(model, action)
                }
                _ => Vec::new(),
            }
        }
        Some(Layer::Confirm(confirm)) => match &mut confirm.need {
            Need::Yes => match key.typed() {
                Some('y' | 'Y') => confirmed(model),
                Some('n' | 'N' | 'q') => {
                    model.layer = None;
                    Vec::new()
                }
                _ => Vec::new(),
            },
            Need::Typed { wanted, input } => {
                if key.is(KeyCode::Enter) {
                    let same = input.text().trim() == wanted.trim();
                    return if same { confirmed(model) } else { Vec::new() };
                }
                input.key(key);
                Vec::new()
            }
        },
        Some(Layer::Form(form)) => {
            match key.code() {
                KeyCode::Enter => return submit(model),
                KeyCode::Tab if key == Key::new(KeyCode::Tab, crossterm::event::KeyModifiers::SHIFT) => {
                    form.step(-1);
                }
                KeyCode::Tab | KeyCode::Down => form.step(1),
                KeyCode::Up => form.step(-1),
                _ => drop(form.key(key)),
            }
            Vec::new()
        }
    }
}

pub(super) fn paste(model: &mut Model, text: &str) {
    match &mut model.layer {
        Some(Layer::Form(form)) => form.paste(text),
        Some(Layer::Help(help)) => help.filter.paste(text),
        Some(Layer::Palette(palette)) => {
            palette.input.paste(text);
            palette::refresh(model);
        }
        // For a confirmation a paste is not a person who has read the name.
        Some(Layer::Confirm(_) | Layer::Diagnosis(_)) | None => {}
    }
}

fn scroll(top: usize, key: Key) -> Option<usize> {
    match key.code() {
        KeyCode::Up => Some(top.saturating_sub(1)),
        KeyCode::Down => Some(top + 1),
        KeyCode::PageUp => Some(top.saturating_sub(PAGE)),
        KeyCode::PageDown => Some(top + PAGE),
        KeyCode::Home => Some(0),
        KeyCode::End => Some(usize::MAX / 2),
        _ => None,
    }
}

/// Scrolls what lies over the lists.
pub(super) fn scroll_by(model: &mut Model, by: isize) -> Vec<Effect> {
    match &mut model.layer {
        Some(Layer::Help(help)) => help.top = help.top.saturating_add_signed(by),
        Some(Layer::Diagnosis(view)) => view.top = view.top.saturating_add_signed(by),
        Some(Layer::Palette(palette)) => {
            let last = palette.items.len().saturating_sub(1);
            palette.selected = palette.selected.saturating_add_signed(by).min(last);
        }
        _ => {}
    }
    Vec::new()
}

/// Does what was asked about.
pub(super) fn confirmed(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Confirm(confirm)) = model.layer.take() else { return Vec::new() };
    let name = |model: &Model, id| model.sessions.get(id).map_or_else(String::new, session_name);
    let (label, request) = match confirm.then {
        Ending::Stop(id) => (format!("Stopping {}", name(model, &id)), Request::Stop(id)),
        Ending::Restart(id) => (format!("Restarting {}", name(model, &id)), Request::Restart(id)),
        Ending::DeleteAgent(id) => (format!("Deleting {}", model.agent_name(id)), Request::DeleteAgent(id)),
    };
    if let Ending::Restart(id) = confirm.then {
        model.restarting = Some(id);
    }
    vec![Effect::Request(model.begin_task(label), request)]
}

/// Sends the form, unless it has been sent.
pub(super) fn submit(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Form(form)) = &model.layer else { return Vec::new() };
    if form.sent.is_some() {
        return Vec::new();
    }
    let (label, request) = match form.kind {
        FormKind::NewAgent => {
            let spec = form.agent_spec(&model.harnesses);
            (String::from("Creating the agent"), Request::CreateAgent(Box::new(spec)))
        }
        FormKind::NewSession(agent) => {
            let request = Box::new(form.session_request());
            let label = format!("Starting a session of {}", model.agent_name(agent));
            let open = form.is_on("open").then_some(Where::Here);
            (label, Request::CreateSession(agent, request, open))
        }
        FormKind::RenameAgent(id) => {
            let name = form.text("name").unwrap_or_default().to_owned();
            (String::from("Renaming the agent"), Request::RenameAgent(id, name))
        }
        FormKind::RenameSession(id) => {
            let title = form.text("title").map(str::to_owned);
            (String::from("Renaming the session"), Request::RenameSession(id, title))
        }
    };
    let task = model.begin_task(label);
    if let Some(Layer::Form(form)) = &mut model.layer {
        form.sent = Some(task);
        form.fault = None;
    }
    vec![Effect::Request(task, request)]
}
