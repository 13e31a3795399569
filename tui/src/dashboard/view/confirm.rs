//! The question before something ends.

use super::text::wrap;
use super::{Canvas, Layout, popup};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Confirm, Need};

const WIDTH: u16 = 64;

pub(super) fn draw(confirm: &Confirm, canvas: &mut Canvas<'_>, layout: &Layout) {
    let wide = usize::from(WIDTH.min(layout.screen.width.saturating_sub(2)).saturating_sub(6));
    let lines: Vec<String> =
        confirm.lines.iter().chain(&confirm.unsaved).flat_map(|line| wrap(line, wide)).collect();
    let typed = u16::from(matches!(confirm.need, Need::Typed { .. })) * 2;
    let high = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(5 + typed);
    let area = popup::open(canvas, layout.screen, (WIDTH, high), &confirm.title);
    let theme = canvas.theme;
    let mut y = 1;
    for line in &lines {
        canvas.text(area, 0, y, line, theme.text);
        y += 1;
    }
    match &confirm.need {
        Need::Yes => {
            let keys = [("y", confirm.submit, Hit::Submit), ("n", "go back", Hit::Cancel)];
            popup::buttons(canvas, area, &keys);
        }
        Need::Typed { wanted, input } => {
            let before = canvas.pieces(
                area,
                0,
                y + 1,
                &[("Type ", theme.dim), (wanted, theme.attention), (": ", theme.dim)],
            );
            canvas.text(area, before, y + 1, input.text(), theme.input);
            let (cursor, _) = input.cursor(wide);
            let column = area.x + before + u16::try_from(cursor).unwrap_or(0);
            canvas.shown.cursor = Some((column.min(area.right().saturating_sub(1)), area.y + y + 1).into());
            let same = input.text().trim() == wanted.trim();
            // The key that goes on is there once it does.
            let keys = [("enter", confirm.submit, Hit::Layer), ("esc", "go back", Hit::Cancel)];
            popup::buttons(canvas, area, if same { &keys } else { &keys[1..] });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::view::testing::{press, sample, select, snapshot};

    #[test]
    fn it_names_what_will_end() {
        let mut model = sample();
        select(&mut model, "login page");
        press(&mut model, &["x"]);
        snapshot("confirm_stop", &model, 100, 6..20);
    }

    #[test]
    fn where_several_sessions_end_the_name_is_typed() {
        let mut model = sample();
        press(&mut model, &["A", "D", "b", "a"]);
        snapshot("confirm_delete", &model, 100, 6..20);
    }
}
