//! The list of agents.

use ratatui::layout::Rect;

use super::table::{self, Cell, Column};
use super::{Canvas, empty};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{AgentSort, Model, waits};
use crate::dashboard::update::age;

/// Narrower lists do without the model.
const MODEL_FROM: u16 = 64;

pub(super) fn draw(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    if model.agent_list.order.is_empty() {
        return empty::agents(model, canvas, area);
    }
    let list = &model.agent_list;
    let with_model = area.width >= MODEL_FROM;
    let column = |mut column: Column, sort| {
        column.hit = Some(Hit::AgentColumn(sort));
        column.sorted = (list.sort == sort).then_some(list.reverse);
        column
    };
    let mut columns = vec![Column::fixed("", 1), column(Column::flexible("NAME", 12, 2), AgentSort::Name)];
    columns.push(column(Column::fixed("HARNESS", 12), AgentSort::Harness));
    if with_model {
        columns.push(column(Column::flexible("MODEL", 8, 1), AgentSort::Model));
    }
    columns.push(column(Column { right: true, ..Column::fixed("SESSIONS", 9) }, AgentSort::Sessions));
    columns.push(column(Column { right: true, ..Column::fixed("AGE", 4) }, AgentSort::Age));
    let rows = usize::from(area.height.saturating_sub(1));
    let mut lines = Vec::with_capacity(rows.min(list.order.len()));
    for (at, id) in list.order.iter().enumerate().skip(list.top).take(rows) {
        let Some(row) = model.agents.get(id) else { continue };
        let theme = canvas.theme;
        let live = model.live_sessions(*id).count();
        let waiting = model.live_sessions(*id).any(waits);
        let mark = match (waiting, live) {
            (true, _) => Cell::new("◆", theme.attention),
            (false, 0) => Cell::new("○", theme.dim),
            (false, _) => Cell::new("●", theme.ok),
        };
        let sessions = match live {
            0 => String::from("–"),
            n => format!("{n} running"),
        };
        let live_style = if live > 0 { theme.text } else { theme.dim };
        let mut cells = vec![
            mark,
            Cell::new(&row.agent.name, theme.text),
            Cell::new(model.harness_title(&row.agent.harness_id), theme.dim),
        ];
        if with_model {
            cells.push(Cell::new(&row.agent.model, theme.dim));
        }
        cells.push(Cell::new(sessions, live_style));
        cells.push(Cell::new(age(row.agent.created_at, model.now), theme.dim));
        lines.push((at, list.selected == Some(*id), cells));
    }
    table::fit(&mut columns, lines.iter().map(|(_, _, cells)| cells.as_slice()));
    table::titles(canvas, area, &columns);
    for (y, (at, selected, cells)) in (1..).zip(&lines) {
        table::row(canvas, area, y, &columns, cells, *selected);
        canvas.shown.hit(Rect { y: area.y + y, height: 1, ..area }, Hit::Row(*at));
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::model::Tab;
    use crate::dashboard::view::testing::{sample, snapshot};

    #[test]
    fn agents_tell_how_many_of_them_run() {
        let mut model = sample();
        model.tab = Tab::Agents;
        model.show_preview = false;
        snapshot("agents", &model, 90, 1..8);
    }
}
