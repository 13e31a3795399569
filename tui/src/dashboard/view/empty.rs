//! What stands where there is nothing to list: what to press.

use ratatui::layout::Rect;

use super::Canvas;
use super::text::{width, wrap};
use crate::dashboard::actions::Action;
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Link, Model};

/// A message is read more easily in lines that are not as long as the screen is wide.
const MESSAGE_COLUMNS: usize = 72;

pub(super) fn agents(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    if waiting(model, canvas, area) || first_use(model, canvas, area) {
        return;
    }
    if model.agents.is_empty() {
        say(model, canvas, area, "There is no agent yet.", &[(Action::NewAgent, "makes one")]);
    } else {
        say(model, canvas, area, "No agent matches the filter.", &[(Action::Back, "shows all")]);
    }
}

pub(super) fn sessions(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    if waiting(model, canvas, area) || first_use(model, canvas, area) {
        return;
    }
    if !model.session_list.filter.text().is_empty() {
        say(model, canvas, area, "No session matches the filter.", &[(Action::Back, "shows all")]);
    } else if let Some(agent) = model.scope {
        let text = format!("{} has no session.", model.agent_name(agent));
        say(model, canvas, area, &text, &[(Action::NewSession, "starts one"), (Action::Back, "goes back")]);
    } else if model.sessions.is_empty() {
        let keys = [(Action::Agents, "shows the agents"), (Action::NewAgent, "makes one")];
        say(model, canvas, area, "There is no session yet.", &keys);
    } else {
        say(model, canvas, area, "No session is running.", &[(Action::Ended, "shows those that have ended")]);
    }
}

/// Says that nothing is known yet.
fn waiting(model: &Model, canvas: &mut Canvas<'_>, area: Rect) -> bool {
    let known = !model.agents.is_empty() || !model.harnesses.is_empty();
    if model.loaded && known {
        return false;
    }
    let text = match (&model.link, model.reading.fault()) {
        (Link::Connected | Link::Connecting, Some(why)) => {
            format!("The lists cannot be read: {why}. They are asked for again.")
        }
        (Link::Connecting, None) => "Connecting…".to_owned(),
        (Link::Connected, None) => "Reading…".to_owned(),
        // The line above has no room for all of it, and its end says what to do.
        (Link::Lost { reason, .. }, _) => format!("Waiting for the server: {reason}."),
    };
    let columns = usize::from(area.width.saturating_sub(4)).min(MESSAGE_COLUMNS);
    for (line, y) in wrap(&text, columns).iter().zip(area.height / 3..area.height) {
        canvas.centered(area, y, &[(line, canvas.theme.dim)]);
    }
    true
}

/// Offers what can be started, each by one key.
fn first_use(model: &Model, canvas: &mut Canvas<'_>, area: Rect) -> bool {
    let offers = model.offers();
    if offers.is_empty() {
        return false;
    }
    let theme = canvas.theme;
    let missing: Vec<_> =
        model.harnesses.iter().filter(|harness| !harness.available && harness.id != "custom").collect();
    let wanted = u16::try_from(offers.len() + 4).unwrap_or(u16::MAX);
    let mut y = area.height.saturating_sub(wanted) / 4;
    let left = area.width.saturating_sub(64) / 2;
    let at = Rect { x: area.x + left, width: area.width.saturating_sub(left), ..area };
    canvas.text(at, 0, y, "Start your first session", theme.accent);
    y += 2;
    for (index, harness) in offers.iter().enumerate() {
        let key = (index + 1).to_string();
        let note = harness.program.as_deref().unwrap_or_default();
        let end =
            canvas.pieces(at, 0, y, &[(&key, theme.key), ("  ", theme.dim), (&harness.title, theme.text)]);
        canvas.text(at, end.max(22) + 1, y, note, theme.dim);
        canvas.shown.hit(Rect { y: at.y + y, height: 1, ..at }, Hit::Offer(index));
        y += 1;
    }
    y += 1;
    for harness in missing {
        let title = format!("–  {}", harness.title);
        let end = canvas.text(at, 0, y, &title, theme.dim);
        let install = harness.install.as_deref().unwrap_or("not installed");
        canvas.text(at, end.max(22) + 1, y, install, theme.dim);
        y += 1;
    }
    y += 1;
    let key = model.keymap.hint(Action::NewAgent).map_or_else(String::new, |key| key.to_string());
    canvas.pieces(
        at,
        0,
        y,
        &[(&key, theme.key), ("  an agent with a repository, a model, instructions", theme.dim)],
    );
    true
}

fn say(model: &Model, canvas: &mut Canvas<'_>, area: Rect, text: &str, keys: &[(Action, &str)]) {
    let theme = canvas.theme;
    let y = area.height / 3;
    canvas.centered(area, y, &[(text, theme.text)]);
    let shown: Vec<(Action, String, String)> = keys
        .iter()
        .filter_map(|(action, does)| {
            Some((*action, model.keymap.hint(*action)?.to_string(), format!(" {does}")))
        })
        .collect();
    for (line, (action, key, does)) in (y + 2..).zip(&shown) {
        canvas.centered(area, line, &[(key, theme.key), (does, theme.dim)]);
        let wide = width(key) + width(does);
        let x = area.x + area.width.saturating_sub(wide) / 2;
        let place = Rect { x, y: area.y + line, width: wide, height: 1 };
        canvas.shown.hit(place.intersection(area), Hit::Hint(*action));
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::model::{Link, Tab};
    use crate::dashboard::view::testing::{blank, first_use, frame, sample, snapshot};

    #[test]
    fn on_first_use_what_is_there_is_offered_and_what_is_missing_named() {
        snapshot("first_use", &first_use(), 100, 3..16);
    }

    #[test]
    fn an_empty_list_says_what_to_press() {
        let mut model = sample();
        model.sessions.clear();
        snapshot("empty_sessions", &model, 80, 3..12);
        model.tab = Tab::Agents;
        model.agent_list.filter.paste("nothing has this");
        snapshot("empty_filter", &model, 80, 1..12);
    }

    #[test]
    fn why_the_server_is_not_there_is_told_to_its_end() {
        let mut model = blank();
        let reason = "nginx/1.22.1 gave a web page with 400 Bad Request: it may be that it wants https://";
        model.link = Link::Lost { reason: reason.into(), retry_at: model.now };
        let frame = frame(&model, 60, 24);
        let cells: String = frame.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        let words: Vec<&str> = cells.split_whitespace().collect();
        assert!(words.join(" ").contains("Waiting for the server: nginx"), "{words:?}");
        assert!(words.join(" ").contains("it may be that it wants https://."), "{words:?}");
    }

    #[test]
    fn before_the_server_answers_it_says_so() {
        snapshot("connecting", &blank(), 80, 0..10);
    }
}
