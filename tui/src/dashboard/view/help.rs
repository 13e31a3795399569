//! All keys, from the registry and as they are bound now.

use ratatui::layout::Rect;

use super::text::wrap;
use super::{Canvas, Layout, popup};
use crate::dashboard::actions::{ACTIONS, Group};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Help, Model, matches};

const WIDTH: u16 = 92;
/// Columns of the keys.
const KEYS: u16 = 18;

enum Line {
    Heading(&'static str),
    Entry(String, String),
    Gap,
}

pub(super) fn draw(model: &Model, help: &Help, canvas: &mut Canvas<'_>, layout: &Layout) {
    let wide = usize::from(WIDTH.min(layout.screen.width.saturating_sub(2)).saturating_sub(6));
    let lines = lines(model, help.filter.text(), wide);
    let high = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(6).max(12);
    let area = popup::open(canvas, layout.screen, (WIDTH, high), "Keys");
    let theme = canvas.theme;
    let x = canvas.text(area, 0, 0, "/ ", theme.key);
    if help.filter.text().is_empty() {
        canvas.text(area, x, 0, "type to search", theme.dim);
    }
    canvas.text(area, x, 0, help.filter.text(), theme.text);
    let (cursor, _) = help.filter.cursor(usize::from(area.width.saturating_sub(x)));
    canvas.shown.cursor = Some((area.x + x + u16::try_from(cursor).unwrap_or(0), area.y).into());
    let list = Rect { y: area.y + 2, height: area.height.saturating_sub(4), ..area };
    let rows = usize::from(list.height);
    let top = help.top.min(lines.len().saturating_sub(rows));
    for (y, line) in (0..).zip(lines.iter().skip(top).take(rows)) {
        match line {
            Line::Heading(title) => drop(canvas.text(list, 0, y, title, theme.heading)),
            Line::Entry(keys, doc) => {
                canvas.text(Rect { width: KEYS.min(list.width), ..list }, 0, y, keys, theme.key);
                canvas.text(list, KEYS + 1, y, doc, theme.text);
            }
            Line::Gap => {}
        }
    }
    if lines.is_empty() {
        canvas.text(list, 0, 0, "No key does that.", theme.dim);
    }
    let more = lines.len().saturating_sub(top + rows);
    let mut buttons = vec![("esc", "go back", Hit::Cancel)];
    let more_text = format!("{more} more lines");
    if more > 0 {
        buttons.push(("down", &more_text, Hit::Layer));
    }
    popup::buttons(canvas, area, &buttons);
}

fn lines(model: &Model, filter: &str, wide: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut section = |title: &'static str, entries: Vec<(String, String)>| {
        let fits = |(keys, doc): &(String, String)| matches(filter, &[keys, doc]);
        let entries: Vec<_> = entries.into_iter().filter(fits).collect();
        if entries.is_empty() {
            return;
        }
        if !lines.is_empty() {
            lines.push(Line::Gap);
        }
        lines.push(Line::Heading(title));
        for (keys, doc) in entries {
            let broken = wrap(&doc, wide.saturating_sub(usize::from(KEYS) + 1));
            let mut keys = Some(keys);
            lines.extend(broken.into_iter().map(|line| Line::Entry(keys.take().unwrap_or_default(), line)));
        }
    };
    for group in Group::ALL {
        let entries = ACTIONS.iter().filter(|entry| entry.group == group).map(|entry| {
            let keys: Vec<String> = model.keymap.keys(entry.action).iter().map(ToString::to_string).collect();
            let keys = if keys.is_empty() { String::from("no key") } else { keys.join("  ") };
            (keys, entry.doc.to_owned())
        });
        section(group.title(), entries.collect());
    }
    let commands = model.panes.commands.iter();
    let prefix = &model.panes.prefix;
    let entries = commands.map(|(key, does)| (format!("{prefix} {key}"), (*does).to_owned())).collect();
    section("In the terminals", entries);
    lines
}

#[cfg(test)]
mod tests {
    use crate::dashboard::view::testing::{press, sample, snapshot};

    #[test]
    fn it_shows_the_keys_as_they_are_bound() {
        let mut model = sample();
        press(&mut model, &["?"]);
        snapshot("help", &model, 100, 0..24);
    }

    #[test]
    fn it_can_be_searched() {
        let mut model = sample();
        press(&mut model, &["?", "s", "t", "o", "p"]);
        snapshot("help_search", &model, 100, 0..24);
    }
}
