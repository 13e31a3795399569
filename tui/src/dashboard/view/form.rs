//! A form.

use ratatui::layout::Rect;

use super::text::width;
use super::{Canvas, Layout, popup};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Choice, Field, Form, Value};

const WIDTH: u16 = 84;
/// Columns of the labels.
const LABELS: u16 = 17;
/// Columns of the names of what is missing.
const CHOICES: u16 = 16;

pub(super) fn draw(form: &Form, canvas: &mut Canvas<'_>, layout: &Layout) {
    let fields: u16 = form.fields.iter().map(lines).sum();
    let high = fields.saturating_add(6 + u16::from(form.fault.is_some()));
    let area = popup::open(canvas, layout.screen, (WIDTH, high), &form.title);
    let mut y = 1;
    for (index, one) in form.fields.iter().enumerate() {
        field(canvas, area, y, one, index, form.focus == index);
        y += lines(one);
    }
    if let Some(fault) = &form.fault {
        y += canvas.wrapped(Rect { height: (y + 3).min(area.height), ..area }, y, fault, canvas.theme.error);
    }
    let _ = y;
    let submit = if form.sent.is_some() { "sending…" } else { form.submit };
    let mut buttons = vec![("enter", submit, Hit::Submit), ("esc", "go back", Hit::Cancel)];
    if form.fields.len() > 1 {
        buttons.push(("tab", "next field", Hit::Layer));
    }
    popup::buttons(canvas, area, &buttons);
}

/// Lines a field takes.
fn lines(field: &Field) -> u16 {
    let missing = match &field.value {
        Value::Choice { choices, .. } => choices.iter().filter(|choice| choice.missing.is_some()).count(),
        Value::Text(_) | Value::Toggle(_) => 0,
    };
    1 + u16::from(field.fault.is_some()) + u16::try_from(missing).unwrap_or(u16::MAX - 2)
}

fn field(canvas: &mut Canvas<'_>, area: Rect, y: u16, field: &Field, index: usize, focused: bool) {
    let theme = canvas.theme;
    let label = if focused { theme.accent } else { theme.dim };
    canvas.text(area, 0, y, field.label, label);
    let room = Rect { x: area.x + LABELS, width: area.width.saturating_sub(LABELS), ..area };
    let place = Rect { y: area.y + y, height: 1, ..area };
    canvas.shown.hit(place.intersection(area), Hit::Field(index));
    let mut below = y + 1;
    match &field.value {
        Value::Text(input) if input.text().is_empty() => {
            canvas.text(room, 0, y, &field.placeholder, theme.dim);
            if focused {
                canvas.shown.cursor = Some((room.x, area.y + y).into());
            }
        }
        Value::Text(input) => {
            let (cursor, scroll) = input.cursor(usize::from(room.width));
            let text: String = input.text().chars().skip(scroll).collect();
            let style = if focused { theme.input } else { theme.text };
            canvas.text(room, 0, y, &text, style);
            if focused {
                let column = room.x + u16::try_from(cursor).unwrap_or(0);
                canvas.shown.cursor = Some((column.min(room.right().saturating_sub(1)), area.y + y).into());
            }
        }
        Value::Toggle(on) => {
            let text = if *on { "yes" } else { "no" };
            let end = canvas.text(room, 0, y, text, theme.text);
            if focused {
                canvas.text(room, end + 2, y, "space changes it", theme.dim);
            }
        }
        Value::Choice { chosen, choices } => {
            choices_line(canvas, room, y, *chosen, choices, focused);
            for choice in choices.iter().filter(|choice| choice.missing.is_some()) {
                let text = choice.missing.as_deref().unwrap_or_default();
                let end = canvas.pieces(room, 0, below, &[("– ", theme.dim), (&choice.label, theme.dim)]);
                canvas.text(room, end.max(CHOICES) + 1, below, text, theme.dim);
                below += 1;
            }
        }
    }
    if let Some(fault) = &field.fault {
        canvas.text(room, 0, below, fault, theme.error);
    }
}

/// The choices there are in a line, from the first that lets the chosen one be seen.
fn choices_line(
    canvas: &mut Canvas<'_>,
    room: Rect,
    y: u16,
    chosen: usize,
    choices: &[Choice],
    focused: bool,
) {
    let theme = canvas.theme;
    let there: Vec<(usize, &Choice)> =
        choices.iter().enumerate().filter(|(_, choice)| choice.missing.is_none()).collect();
    if there.is_empty() {
        canvas.text(room, 0, y, "none is installed on this server", theme.error);
        return;
    }
    let at = there.iter().position(|(index, _)| *index == chosen).unwrap_or(0);
    let wide = |from: usize| -> u16 {
        there.iter().skip(from).take(at + 1 - from).map(|(_, choice)| width(&choice.label) + 2).sum()
    };
    let first = (0..=at).find(|from| wide(*from) <= room.width).unwrap_or(at);
    let mut x = 0;
    for (index, choice) in there.iter().skip(first) {
        let style = match (*index == chosen, focused) {
            (true, true) => theme.selection.patch(theme.accent),
            (true, false) => theme.text,
            (false, _) => theme.dim,
        };
        x += canvas.text(room, x, y, &choice.label, style) + 2;
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::view::testing::{press, refuse_form, sample, snapshot};

    #[test]
    fn a_new_agent_shows_which_harnesses_are_there_and_how_to_get_the_others() {
        let mut model = sample();
        press(&mut model, &["a", "right", "tab", "d", "o", "c", "s"]);
        snapshot("form_agent", &model, 100, 4..24);
    }

    #[test]
    fn faults_stand_below_their_fields() {
        let mut model = sample();
        press(&mut model, &["a", "enter"]);
        refuse_form(
            &mut model,
            &[("name", "is already taken"), ("prompt", "is too long"), ("zone", "is unknown")],
        );
        snapshot("form_faults", &model, 100, 4..26);
    }

    #[test]
    fn a_new_session_asks_for_little() {
        let mut model = sample();
        press(&mut model, &["n"]);
        snapshot("form_session", &model, 80, 4..18);
    }
}
