//! The first lines: lap, the server, the counts; the lists and where one is; the lost connection.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::text::width;
use super::{Canvas, Layout};
use crate::dashboard::actions::Action;
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Link, Model, Tab};
use crate::dashboard::update::countdown;

pub(super) fn draw(model: &Model, canvas: &mut Canvas<'_>, layout: &Layout) {
    first_line(model, canvas, layout.header);
    tabs(model, canvas, layout);
}

fn first_line(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let address = model.address.trim_start_matches("http://").trim_start_matches("https://");
    let left = [(" lap", theme.accent), ("  ", theme.dim), (&model.context, theme.text), ("  ", theme.dim)];
    let x = canvas.pieces(area, 0, 0, &left);
    let counts = model.counts();
    let (mark, style, word) = match model.link {
        Link::Connected if model.loaded => ("●", theme.ok, "connected"),
        _ if model.reading.is_without_feed() => ("◐", theme.busy, "asking every 10 s"),
        Link::Connected if model.reading.fault().is_some() => ("✗", theme.error, "cannot read"),
        Link::Connected => ("◌", theme.busy, "reading"),
        Link::Connecting => ("◌", theme.busy, "connecting"),
        Link::Lost { .. } => ("✗", theme.error, "not connected"),
    };
    let running = format!("{} running", counts.live);
    let waiting = match counts.waiting {
        0 => String::new(),
        1 => String::from("1 waits for you"),
        n => format!("{n} wait for you"),
    };
    let gap = if waiting.is_empty() { "" } else { "   " };
    let right = [
        (waiting.as_str(), theme.attention),
        (gap, theme.dim),
        (running.as_str(), theme.dim),
        ("   ", theme.dim),
        (mark, style),
        (" ", theme.dim),
        (word, theme.dim),
        (" ", theme.dim),
    ];
    let taken: u16 = right.iter().map(|(text, _)| width(text)).sum();
    if x + width(address) + 2 + taken <= area.width {
        canvas.text(area, x, 0, address, theme.dim);
    }
    canvas.right(area, 0, &right);
}

fn tabs(model: &Model, canvas: &mut Canvas<'_>, layout: &Layout) {
    let area = layout.tabs;
    let theme = canvas.theme;
    let mut x = 1;
    for (tab, name, count) in
        [(Tab::Agents, "Agents", model.agents.len()), (Tab::Sessions, "Sessions", model.sessions.len())]
    {
        let current = tab == model.tab;
        let style = if current { theme.accent } else { theme.dim };
        let end = canvas.pieces(area, x, 0, &[(name, style), (" ", style), (&count.to_string(), theme.dim)]);
        let place = Rect { x: area.x + x, width: end - x, ..area };
        canvas.shown.hit(place, Hit::Tab(tab));
        x = end + 3;
    }
    if let (Tab::Sessions, Some(agent)) = (model.tab, model.scope) {
        let name = model.agent_name(agent);
        x = canvas.pieces(area, x - 2, 0, &[("› ", theme.dim), (&name, theme.accent)]) + 2;
    }
    filter(model, canvas, area, x);
    rows_shown(model, canvas, area, layout.rows());
}

/// Which rows are on the screen, where not all are.
fn rows_shown(model: &Model, canvas: &mut Canvas<'_>, area: Rect, rows: usize) {
    let (top, all) = match model.tab {
        Tab::Agents => (model.agent_list.top, model.agent_list.order.len()),
        Tab::Sessions => (model.session_list.top, model.session_list.order.len()),
    };
    if all > rows && rows > 0 {
        let text = format!("{}–{} of {all} ", top + 1, (top + rows).min(all));
        let style = canvas.theme.dim;
        canvas.right(area, 0, &[(text.as_str(), style)]);
    }
}

fn filter(model: &Model, canvas: &mut Canvas<'_>, area: Rect, x: u16) {
    let theme = canvas.theme;
    let (input, shown) = match model.tab {
        Tab::Agents => (&model.agent_list.filter, model.agent_list.order.len()),
        Tab::Sessions => (&model.session_list.filter, model.session_list.order.len()),
    };
    if !model.filtering && input.text().is_empty() {
        return;
    }
    let at = x + canvas.text(area, x, 0, "/", theme.key);
    let room = area.width.saturating_sub(at + 12);
    let (cursor, scroll) = input.cursor(usize::from(room));
    let text: String = input.text().chars().skip(scroll).collect();
    let style = if model.filtering { theme.input } else { theme.text };
    let field = Rect { width: room, x: area.x + at, ..area };
    let used = canvas.text(field, 0, 0, &text, style);
    canvas.text(area, at + used + 2, 0, &format!("{shown} shown"), theme.dim);
    if model.filtering && model.layer.is_none() {
        let column = area.x + at + u16::try_from(cursor).unwrap_or(0);
        canvas.shown.cursor = Some((column, area.y).into());
    }
}

/// The line that says that what is shown is old.
pub(super) fn draw_banner(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let (Link::Lost { reason, retry_at }, false) = (&model.link, area.is_empty()) else { return };
    let theme = canvas.theme;
    let key = model.keymap.hint(Action::Reconnect).map_or_else(String::new, |key| key.to_string());
    let when = match countdown(*retry_at, model.now) {
        (text, Some(_)) => format!(" Trying again {text}. "),
        (_, None) => String::from(" Connecting… "),
    };
    let hint = format!("{key} ");
    let what = if model.reading.is_without_feed() { "No live changes" } else { "Not connected" };
    let right = [(when.as_str(), theme.text), (hint.as_str(), theme.key), ("now ", theme.dim)];
    let taken: u16 = right.iter().map(|(text, _)| width(text)).sum();
    let left = Rect { width: area.width.saturating_sub(taken), ..area };
    // Over panes there is something below already.
    canvas.buf.set_style(area, Style::reset());
    for x in area.left()..area.right() {
        if let Some(cell) = canvas.buf.cell_mut((x, area.y)) {
            cell.set_symbol(" ");
        }
    }
    canvas.pieces(
        left,
        0,
        0,
        &[(" ✗ ", theme.error), (what, theme.attention), (": ", theme.text), (reason, theme.text)],
    );
    canvas.right(area, 0, &right);
    canvas.shown.hit(area, Hit::Hint(Action::Reconnect));
}

#[cfg(test)]
mod tests {
    use crate::dashboard::view::testing::{lost, sample, snapshot};

    #[test]
    fn it_tells_where_one_is_and_who_waits() {
        snapshot("header", &sample(), 100, 0..2);
    }

    #[test]
    fn a_lost_connection_has_a_line_with_a_countdown() {
        snapshot("banner", &lost(), 120, 0..4);
    }
}
