//! Messages, stacked in the lower right corner.

use ratatui::layout::Rect;

use super::text::{width, wrap};
use super::{Canvas, Layout, popup};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Model, ToastKind};

/// The widest a message gets.
const WIDTH: u16 = 64;
/// Lines of one message.
const LINES: usize = 4;

pub(super) fn draw(model: &Model, canvas: &mut Canvas<'_>, layout: &Layout) {
    let mut bottom = layout.footer.y;
    let count = model.toasts.iter().count();
    for (back, toast) in model.toasts.iter().rev().enumerate() {
        let index = count - 1 - back;
        let wide = WIDTH.min(layout.screen.width.saturating_sub(2));
        let text = match toast.times {
            1 => toast.text.clone(),
            n => format!("{} (×{n})", toast.text),
        };
        let mut lines = wrap(&text, usize::from(wide.saturating_sub(5)));
        lines.truncate(LINES);
        let longest = lines.iter().map(|line| width(line)).max().unwrap_or(0);
        let high = u16::try_from(lines.len()).unwrap_or(1) + 2;
        if bottom < layout.screen.y + high {
            return;
        }
        let style = match toast.kind {
            ToastKind::Info => canvas.theme.border_focus,
            ToastKind::Warning => canvas.theme.attention,
            ToastKind::Error => canvas.theme.error,
        };
        let area = Rect {
            x: layout.screen.right().saturating_sub(longest + 5),
            y: bottom - high,
            width: longest + 4,
            height: high,
        };
        popup::clear(canvas, area);
        popup::border(canvas, area, style);
        let inner = Rect { x: area.x + 2, y: area.y + 1, width: longest, height: high - 2 };
        for (y, line) in (0..).zip(&lines) {
            canvas.text(inner, 0, y, line, canvas.theme.text);
        }
        canvas.shown.hit(area, Hit::Toast(index));
        bottom -= high;
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::model::ToastKind;
    use crate::dashboard::view::testing::{sample, snapshot};

    #[test]
    fn they_stack_from_the_lower_right_corner() {
        let mut model = sample();
        let now = model.now;
        model.toasts.push(ToastKind::Info, "docs is deleted.", now);
        let long = "Stopping login page: no server answers at http://127.0.0.1:4180: connection refused";
        model.toasts.push(ToastKind::Error, long, now);
        model.toasts.push(ToastKind::Error, long, now);
        snapshot("toasts", &model, 100, 14..24);
    }
}
