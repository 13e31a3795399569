//! The palette: actions, agents and sessions by a few letters of their names.

use crossterm::event::KeyCode;
use lap_platform::model::Session;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::browse;
use crate::dashboard::actions::{ACTIONS, Action, Place};
use crate::dashboard::event::{Effect, Where};
use crate::dashboard::key::Key;
use crate::dashboard::model::{Layer, Model, Palette, PaletteItem, Tab, Target, session_name};

/// What does not fit a screen several times over is found by one more letter.
const MOST: usize = 100;

/// Opens it over everything that can be done or gone to.
pub(super) fn open(model: &mut Model) {
    show(model, None);
}

/// Opens it over the sessions that have a terminal, for a new pane.
pub(super) fn choose(model: &mut Model, place: Where) {
    show(model, Some(place));
}

fn show(model: &mut Model, choose: Option<Where>) {
    let mut palette = Palette { choose, ..Palette::default() };
    palette.items = found(model, "", choose.is_some());
    model.layer = Some(Layer::Palette(palette));
}

pub(super) fn key(model: &mut Model, key: Key) -> Vec<Effect> {
    let Some(Layer::Palette(palette)) = &mut model.layer else { return Vec::new() };
    let last = palette.items.len().saturating_sub(1);
    match key.code() {
        KeyCode::Enter => return choose_item(model),
        KeyCode::Up => palette.selected = palette.selected.saturating_sub(1),
        KeyCode::Down => palette.selected = (palette.selected + 1).min(last),
        KeyCode::Char('p') if key.ctrl() => palette.selected = palette.selected.saturating_sub(1),
        KeyCode::Char('n') if key.ctrl() => palette.selected = (palette.selected + 1).min(last),
        _ if palette.input.key(key) => refresh(model),
        _ => {}
    }
    Vec::new()
}

/// Finds again what fits.
pub(super) fn refresh(model: &mut Model) {
    let Some(Layer::Palette(palette)) = &model.layer else { return };
    let items = found(model, palette.input.text(), palette.choose.is_some());
    if let Some(Layer::Palette(palette)) = &mut model.layer {
        palette.items = items;
        palette.selected = 0;
    }
}

/// Does what the selected line stands for.
pub(super) fn choose_item(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Palette(palette)) = model.layer.take() else { return Vec::new() };
    let place = palette.choose.unwrap_or(Where::Here);
    match palette.items.get(palette.selected).map(|item| item.target) {
        Some(Target::Action(action)) => browse::act(model, action),
        Some(Target::Agent(id)) => {
            browse::show_list(model, Tab::Agents);
            model.agent_list.filter.clear();
            model.agent_list.select_id(id);
            Vec::new()
        }
        Some(Target::Session(id)) => {
            model.session_list.select_id(id);
            browse::open_session(model, id, place)
        }
        Some(Target::NewSession(id)) => browse::start_session(model, id, place),
        None => Vec::new(),
    }
}

fn found(model: &Model, typed: &str, only_sessions: bool) -> Vec<PaletteItem> {
    let mut items = Vec::new();
    let here = super::place(model);
    if !only_sessions {
        let actions = ACTIONS.iter().filter(|entry| entry.place.meets(here) || here == Place::Lists);
        // What only moves the selection is quicker by its key.
        let worth = |action| !matches!(action, Action::Up | Action::Down | Action::Palette);
        items.extend(actions.filter(|entry| worth(entry.action)).map(|entry| {
            let key = model.keymap.hint(entry.action).map_or_else(String::new, |key| key.to_string());
            item(Target::Action(entry.action), entry.label.to_owned(), entry.doc.to_owned(), key)
        }));
        let agents = model.agents.values();
        items.extend(agents.map(|row| {
            let harness = model.harness_title(&row.agent.harness_id).to_owned();
            item(Target::Agent(row.agent.id), row.agent.name.clone(), harness, String::from("agent"))
        }));
    }
    let sessions = model.sessions.values().filter(|session| !only_sessions || session.status.is_live());
    // For a new pane what has one already comes last: a second look at it is seldom what is wanted.
    let (open, other): (Vec<_>, Vec<_>) =
        sessions.partition(|session| only_sessions && model.panes.sessions.contains(&session.id));
    let to_session = |session: &Session, note: &str| {
        let about = format!("{} · {}", model.agent_name(session.agent_id), session.status.as_str());
        item(Target::Session(session.id), session_name(session), about, note.to_owned())
    };
    items.extend(other.into_iter().map(|session| to_session(session, "session")));
    items.extend(model.agents.values().map(|row| {
        let harness = model.harness_title(&row.agent.harness_id).to_owned();
        let text = format!("new session of {}", row.agent.name);
        item(Target::NewSession(row.agent.id), text, harness, String::from("start"))
    }));
    items.extend(open.into_iter().map(|session| to_session(session, "open")));
    best(items, typed)
}

fn item(target: Target, text: String, about: String, note: String) -> PaletteItem {
    PaletteItem { target, text, about, note, matched: Vec::new() }
}

fn best(items: Vec<PaletteItem>, typed: &str) -> Vec<PaletteItem> {
    let pattern = Pattern::parse(typed, CaseMatching::Smart, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut buffer = Vec::new();
    let mut scored: Vec<(u32, PaletteItem)> = items
        .into_iter()
        .filter_map(|mut item| {
            let text = Utf32Str::new(&item.text, &mut buffer);
            let score = pattern.indices(text, &mut matcher, &mut item.matched)?;
            item.matched.sort_unstable();
            item.matched.dedup();
            Some((score, item))
        })
        .collect();
    // Stable: what fits equally well stays in the registry's order.
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().take(MOST).map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::view::testing::sample;

    #[test]
    fn a_new_pane_is_offered_what_is_not_open_yet_first() {
        let mut model = sample();
        let live: Vec<_> = model.sessions.values().filter(|session| session.status.is_live()).collect();
        let first = live.first().map(|session| session.id).unwrap();
        assert!(live.len() > 1);
        model.panes.sessions = vec![first];
        let items = found(&model, "", true);
        assert_eq!(
            items.last().map(|item| (item.target, item.note.as_str())),
            Some((Target::Session(first), "open"))
        );
        assert!(matches!(items.first().map(|item| item.target), Some(Target::Session(id)) if id != first));
        let everywhere = found(&model, "", false);
        assert!(everywhere.iter().all(|item| item.note != "open"), "it is opened like any other");
    }
}
