//! The list of sessions.

use lap_platform::model::{Attention, Session, SessionStatus};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::table::{self, Cell, Column};
use super::{Canvas, empty};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Model, SessionSort, session_name};
use crate::dashboard::theme::Theme;
use crate::dashboard::update::age;

/// Narrower lists do without the harness.
const HARNESS_FROM: u16 = 84;
/// Narrower lists do without the viewers.
const VIEWERS_FROM: u16 = 72;
/// Narrower lists do without the agent.
const AGENT_FROM: u16 = 60;

pub(super) fn draw(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    if model.session_list.order.is_empty() {
        return empty::sessions(model, canvas, area);
    }
    let list = &model.session_list;
    let with_agent = model.scope.is_none() && area.width >= AGENT_FROM;
    let with_harness = area.width >= HARNESS_FROM;
    let with_viewers = area.width >= VIEWERS_FROM;
    let column = |mut column: Column, sort| {
        column.hit = Some(Hit::SessionColumn(sort));
        column.sorted = (list.sort == sort).then_some(list.reverse);
        column
    };
    let mut columns =
        vec![Column::fixed("", 1), column(Column::flexible("TITLE", 12, 3), SessionSort::Title)];
    if with_agent {
        columns.push(column(Column::flexible("AGENT", 8, 2), SessionSort::Agent));
    }
    if with_harness {
        columns.push(column(Column::fixed("HARNESS", 12), SessionSort::Harness));
    }
    columns.push(column(Column::flexible("STATE", 12, 2), SessionSort::State));
    if with_viewers {
        columns.push(column(Column { right: true, ..Column::fixed("VIEWERS", 7) }, SessionSort::Viewers));
    }
    columns.push(column(Column { right: true, ..Column::fixed("AGE", 4) }, SessionSort::Age));
    let rows = usize::from(area.height.saturating_sub(1));
    let mut lines = Vec::with_capacity(rows.min(list.order.len()));
    for (at, id) in list.order.iter().enumerate().skip(list.top).take(rows) {
        let Some(session) = model.sessions.get(id) else { continue };
        let theme = canvas.theme;
        let (glyph, style) = glyph(session, theme);
        let over = !session.status.is_live();
        let plain = if over { theme.dim } else { theme.text };
        let viewers = match model.viewers(session) {
            0 => String::new(),
            n => n.to_string(),
        };
        let mark = if session.unconfined && !over { " △" } else { "" };
        let mut cells = vec![Cell::new(glyph, style), Cell::new(session_name(session), plain).tail(mark)];
        if with_agent {
            cells.push(Cell::new(model.agent_name(session.agent_id), theme.dim));
        }
        if with_harness {
            cells.push(Cell::new(model.harness_title(model.harness_of(session)), theme.dim));
        }
        cells.push(Cell::new(state(session), style));
        if with_viewers {
            cells.push(Cell::new(viewers, theme.dim));
        }
        cells.push(Cell::new(age(session.created_at, model.now), theme.dim));
        lines.push((at, list.selected == Some(*id), cells));
    }
    table::fit(&mut columns, lines.iter().map(|(_, _, cells)| cells.as_slice()));
    table::titles(canvas, area, &columns);
    for (y, (at, selected, cells)) in (1..).zip(&lines) {
        table::row(canvas, area, y, &columns, cells, *selected);
        canvas.shown.hit(Rect { y: area.y + y, height: 1, ..area }, Hit::Row(*at));
    }
}

/// The list beside the panes: only what is needed to find one.
pub(super) fn draw_side(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    canvas.text(area, 2, 0, "Sessions", theme.heading);
    let inner = Rect { width: area.width.saturating_sub(1), ..area };
    let rows = usize::from(area.height.saturating_sub(1));
    let list = &model.session_list;
    let columns = [Column::fixed("", 1), Column::flexible("", 8, 1)];
    for (y, (at, id)) in (1..).zip(list.order.iter().enumerate().skip(list.top).take(rows)) {
        let Some(session) = model.sessions.get(id) else { continue };
        let (glyph, style) = glyph(session, theme);
        let open = model.panes.sessions.contains(id);
        let name = if open { theme.text } else { theme.dim };
        // A session without a title is better known by its agent here: there is no column for that.
        let title = match session.title_preview.is_empty() {
            true => format!("{} {}", model.agent_name(session.agent_id), session_name(session)),
            false => session_name(session),
        };
        let cells = [Cell::new(glyph, style), Cell::new(title, name)];
        table::row(canvas, inner, y, &columns, &cells, list.selected == Some(*id));
        canvas.shown.hit(Rect { y: area.y + y, height: 1, ..inner }, Hit::Row(at));
    }
    for y in area.top()..area.bottom() {
        canvas.buf.set_string(area.right() - 1, y, "│", theme.border);
    }
}

/// The mark of a session's state. The words beside it say the same: a mark alone is guessed at.
pub(super) fn glyph(session: &Session, theme: &Theme) -> (&'static str, Style) {
    match (session.status, session.attention) {
        (SessionStatus::Ready, Attention::WaitingInput | Attention::WaitingPermission) => {
            ("◆", theme.attention)
        }
        (SessionStatus::Ready, Attention::Bell) => ("!", theme.attention),
        (SessionStatus::Ready, Attention::Working) => ("●", theme.busy),
        (SessionStatus::Ready, _) => ("●", theme.ok),
        (SessionStatus::Creating, _) => ("◌", theme.busy),
        (SessionStatus::Dead, _) => ("○", theme.dim),
        (SessionStatus::Failed, _) => ("✗", theme.error),
    }
}

/// A session's state in a few words.
pub(super) fn state(session: &Session) -> String {
    match (session.status, session.attention) {
        (SessionStatus::Ready, Attention::WaitingInput) => String::from("waits for you"),
        (SessionStatus::Ready, Attention::WaitingPermission) => String::from("asks to be allowed"),
        (SessionStatus::Ready, Attention::Bell) => String::from("rang the bell"),
        (SessionStatus::Ready, Attention::Working) => String::from("working"),
        (SessionStatus::Ready, Attention::Exited) => String::from("program ended"),
        (SessionStatus::Ready, Attention::None) => String::from("ready"),
        (SessionStatus::Creating, _) => match &session.phase_detail {
            Some(detail) if !detail.is_empty() => detail.clone(),
            _ => super::diagnosis::phase_words(session.phase).to_owned(),
        },
        (SessionStatus::Dead, _) => match &session.failure_reason {
            Some(why) => format!("ended: {why}"),
            None => String::from("ended"),
        },
        (SessionStatus::Failed, _) => match &session.failure_reason {
            Some(why) => format!("failed: {why}"),
            None => String::from("failed"),
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::model::{Screen, SessionSort};
    use crate::dashboard::view::testing::{sample, snapshot};

    #[test]
    fn every_state_has_a_mark_and_words() {
        let mut model = sample();
        model.show_preview = false;
        snapshot("sessions", &model, 100, 3..12);
    }

    #[test]
    fn a_narrow_list_keeps_what_matters() {
        let mut model = sample();
        model.show_preview = false;
        model.session_list.sort = SessionSort::State;
        snapshot("sessions_narrow", &model, 48, 3..12);
    }

    #[test]
    fn beside_panes_there_are_only_marks_and_names() {
        let mut model = sample();
        model.screen = Screen::Panes;
        snapshot("sessions_side", &model, 150, 0..9);
    }
}
