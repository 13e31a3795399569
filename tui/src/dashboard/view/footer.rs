//! The last line: what can be pressed now, and what is under way.

use ratatui::layout::Rect;

use super::text::width;
use super::{Canvas, popup};
use crate::dashboard::actions::{ACTIONS, Action, Place};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Link, Model, Screen, Tab};
use crate::dashboard::update::{SLOW, countdown};
use crate::panes::in_rows;

/// Columns between hints.
const GAP: u16 = 3;

pub(super) fn draw(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let progress = progress(model);
    let taken = if progress.is_empty() { 0 } else { width(&progress) + 2 };
    let hints = Rect { width: area.width.saturating_sub(taken), ..area };
    let busy = canvas.theme.busy;
    canvas.right(area, 0, &[(&progress, busy), (" ", busy)]);
    match (model.screen, model.filtering) {
        (Screen::Panes, _) => panes(model, canvas, hints),
        (Screen::Lists, true) => {
            fixed(canvas, hints, &[("enter", "keep"), ("esc", "show all"), ("!word", "without")])
        }
        (Screen::Lists, false) => actions(model, canvas, hints),
    }
}

fn progress(model: &Model) -> String {
    let slow = model.tasks.iter().filter(|task| model.now.duration_since(task.since) >= SLOW);
    let oldest = slow.clone().next();
    match (oldest, slow.count()) {
        (None, _) => String::new(),
        (Some(task), 1) => {
            format!("◌ {} {} s", task.label, model.now.duration_since(task.since).as_secs())
        }
        (Some(task), n) => format!("◌ {} and {} more", task.label, n - 1),
    }
}

fn actions(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let here = match model.tab {
        Tab::Agents => Place::Agents,
        Tab::Sessions => Place::Sessions,
    };
    let mut entries: Vec<_> = ACTIONS
        .iter()
        .filter(|entry| entry.place.meets(here) && useful(model, entry.action))
        .filter_map(|entry| Some((entry.hint?, entry, model.keymap.hint(entry.action)?.to_string())))
        .collect();
    entries.sort_by_key(|(order, ..)| *order);
    // Help comes last and is never left out: it has what does not fit.
    let room = |key: &str, label: &str| width(key) + 1 + width(label) + GAP;
    let total: u16 = entries.iter().map(|(_, entry, key)| room(key, label(model, entry.action))).sum();
    let mut over = total.saturating_sub(area.width);
    while over > 0 {
        let spare = entries.iter().rposition(|(_, entry, _)| entry.action != Action::Help);
        let Some(at) = spare else { break };
        let (_, entry, key) = entries.remove(at);
        over = over.saturating_sub(room(&key, label(model, entry.action)));
    }
    let mut x = 1;
    for (_, entry, key) in entries {
        let theme = canvas.theme;
        let pieces = [(key.as_str(), theme.key), (" ", theme.dim), (label(model, entry.action), theme.dim)];
        let end = canvas.pieces(area, x, 0, &pieces);
        canvas.shown.hit(Rect { x: area.x + x, width: end - x, ..area }, Hit::Hint(entry.action));
        x = end + GAP;
    }
}

/// Whether an action leads anywhere now.
fn useful(model: &Model, action: Action) -> bool {
    let session = model.session();
    match action {
        Action::Open => session.is_some() || (model.tab == Tab::Agents && model.agent().is_some()),
        Action::Diagnose => session.is_some(),
        Action::Stop => session.is_some_and(|session| session.status.is_live()),
        Action::Delete => model.agent().is_some(),
        Action::NewSession => !model.agents.is_empty(),
        Action::NextWaiting => model.counts().waiting > 0,
        Action::Filter => !model.sessions.is_empty() || !model.agents.is_empty(),
        _ => true,
    }
}

fn label(model: &Model, action: Action) -> &'static str {
    match (action, model.tab) {
        (Action::Open, Tab::Agents) => "sessions",
        (Action::SwitchList, Tab::Agents) => "sessions",
        (Action::SwitchList, Tab::Sessions) => "agents",
        _ => action.entry().label,
    }
}

fn panes(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let panes = &model.panes;
    let waiting = model.counts().waiting;
    let (news, style) = match &model.link {
        Link::Lost { retry_at, .. } => {
            (format!("✗ not connected, trying again {} ", countdown(*retry_at, model.now).0), theme.error)
        }
        _ if waiting > 0 => (format!("{waiting} waiting "), theme.attention),
        _ => (String::new(), theme.dim),
    };
    let columns = |area: Rect| usize::from(area.width.saturating_sub(2));
    let rows = in_rows(&panes.hints, columns(area), usize::from(GAP));
    let whole = area;
    let area = Rect { width: area.width.saturating_sub(width(&news) + GAP), ..area };
    // More than a row lies over the terminals for as long as a key is awaited: news come after that.
    if in_rows(&panes.hints, columns(area), usize::from(GAP)).len() > 1 {
        return over_panes(canvas, whole, &rows);
    }
    canvas.right(whole, 0, &[(&news, style)]);
    let mut x = 1;
    if panes.hints.is_empty() {
        let all = [(panes.prefix.as_str(), theme.key), (" lap's keys", theme.dim)];
        x = canvas.pieces(area, x, 0, &all) + GAP;
        if let Some((key, does)) = panes.commands.first() {
            let keys = format!("{} {key}", panes.prefix);
            x = canvas.pieces(area, x, 0, &[(&keys, theme.key), (" ", theme.dim), (does, theme.dim)]) + GAP;
        }
        canvas.text(area, x, 0, "every other key goes to the program", theme.dim);
    }
    for (key, does) in &panes.hints {
        x = canvas.pieces(area, x, 0, &[(key, theme.key), (" ", theme.dim), (does, theme.dim)]) + GAP;
    }
}

/// Rows of hints, the last one in the footer's place.
fn over_panes(canvas: &mut Canvas<'_>, footer: Rect, rows: &[&[(String, &'static str)]]) {
    let theme = canvas.theme;
    let above = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_sub(1).min(footer.y);
    popup::clear(canvas, Rect { y: footer.y - above, height: above, ..canvas.buf.area });
    for (y, row) in (footer.y - above..=footer.y).zip(rows) {
        let line = Rect { y, ..footer };
        let mut x = 1;
        for (key, does) in *row {
            x = canvas.pieces(line, x, 0, &[(key, theme.key), (" ", theme.dim), (does, theme.dim)]) + GAP;
        }
    }
}

fn fixed(canvas: &mut Canvas<'_>, area: Rect, hints: &[(&str, &str)]) {
    let theme = canvas.theme;
    let mut x = 1;
    for (key, does) in hints {
        x = canvas.pieces(area, x, 0, &[(key, theme.key), (" ", theme.dim), (does, theme.dim)]) + GAP;
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::model::Screen;
    use crate::dashboard::view::Layout;
    use crate::dashboard::view::testing::{later, lost, press, sample, select, snapshot};

    #[test]
    fn hints_are_those_of_the_place_and_help_is_never_left_out() {
        let mut model = sample();
        snapshot("footer_wide", &model, 140, 23..24);
        snapshot("footer_narrow", &model, 60, 23..24);
        press(&mut model, &["A"]);
        snapshot("footer_agents", &model, 100, 23..24);
        press(&mut model, &["/", "x"]);
        snapshot("footer_filter", &model, 100, 23..24);
    }

    #[test]
    fn beside_terminals_a_lost_connection_is_told_without_taking_a_line_from_them() {
        let mut model = lost();
        model.screen = Screen::Panes;
        snapshot("footer_lost", &model, 120, 22..24);
        let area = ratatui::layout::Rect::new(0, 0, 120, 24);
        assert_eq!(Layout::of(&model, area).panes.map(|panes| panes.height), Some(23));
    }

    #[test]
    fn after_the_prefix_no_key_is_cut_off() {
        let mut model = sample();
        model.screen = Screen::Panes;
        model.panes.hints = crate::panes::Panes::commands();
        snapshot("footer_prefix", &model, 100, 18..24);
        snapshot("footer_prefix_narrow", &model, 40, 4..24);
    }

    #[test]
    fn what_takes_longer_than_a_second_is_shown() {
        let mut model = sample();
        select(&mut model, "login page");
        press(&mut model, &["x", "y"]);
        snapshot("footer_quick", &model, 100, 23..24);
        later(&mut model, 3);
        snapshot("footer_slow", &model, 100, 23..24);
    }
}
