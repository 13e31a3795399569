//! Where the blocks of the screen are.

use ratatui::layout::Rect;

use crate::dashboard::model::{Link, Model, Screen, Tab};

/// Below this nothing can be shown that is of use.
const SMALLEST: (u16, u16) = (20, 6);
/// From this width on the detail stands beside the list.
const WIDE: u16 = 110;
/// From this height on the detail stands below the list where it cannot stand beside it.
const TALL: u16 = 16;
/// From this width on the list can stand beside the panes: 120 columns are left to them.
const SIDE_FROM: u16 = 150;
/// The list's width beside the panes.
const SIDE: u16 = 28;

/// Where the blocks are. A function of the model and the screen's size alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// There is no room for anything.
    pub too_small: bool,
    /// All of it.
    pub screen: Rect,
    /// lap's name, the server, the counts.
    pub header: Rect,
    /// The names of the lists, and where one is.
    pub tabs: Rect,
    /// The connection is lost; empty while it is not.
    pub banner: Rect,
    /// The list.
    pub list: Rect,
    /// What is known about the selected one.
    pub detail: Option<Rect>,
    /// Within it, its terminal.
    pub preview: Option<Rect>,
    /// The list beside the panes.
    pub side: Option<Rect>,
    /// The panes.
    pub panes: Option<Rect>,
    /// Hints.
    pub footer: Rect,
}

impl Layout {
    /// The layout on a screen.
    #[must_use]
    pub fn of(model: &Model, screen: Rect) -> Layout {
        let (cols, rows) = (screen.width, screen.height);
        if cols < SMALLEST.0 || rows < SMALLEST.1 {
            return Layout { too_small: true, screen, ..Layout::default() };
        }
        let line = |y: u16, height: u16| Rect { y: screen.y + y, height, ..screen };
        let footer = line(rows - 1, 1);
        let lost = u16::from(matches!(model.link, Link::Lost { .. }));
        let mut layout = Layout { screen, footer, ..Layout::default() };
        if model.screen == Screen::Panes {
            // No line for a lost connection: the panes would change their size with it, and they tell it themselves.
            let body = line(0, rows - 1);
            let side = if model.side_list && cols >= SIDE_FROM { SIDE } else { 0 };
            layout.side = (side > 0).then_some(Rect { width: side, ..body });
            layout.panes = Some(Rect { x: body.x + side, width: body.width - side, ..body });
            return layout;
        }
        layout.header = line(0, 1);
        layout.tabs = line(1, 1);
        layout.banner = line(2, lost);
        let body = line(3 + lost, (rows - 4).saturating_sub(lost));
        (layout.list, layout.detail) = split(body, model.show_preview && something_selected(model));
        layout.preview = layout.detail.and_then(|detail| super::detail::preview_area(model, detail));
        layout
    }

    /// Rows of the list that can be seen: its height without its headings. 0 while it is not on the screen.
    #[must_use]
    pub fn rows(&self) -> usize {
        usize::from(self.side.unwrap_or(self.list).height.saturating_sub(1))
    }
}

fn something_selected(model: &Model) -> bool {
    match model.tab {
        Tab::Agents => model.agent_list.selected.is_some(),
        Tab::Sessions => model.session_list.selected.is_some(),
    }
}

fn split(body: Rect, detail: bool) -> (Rect, Option<Rect>) {
    if detail && body.width >= WIDE {
        // The list needs some 70 columns for all of its own; what is beyond is better used by the terminal.
        let list = (body.width * 11 / 20).min(96);
        let right = Rect { x: body.x + list + 1, width: body.width - list - 1, ..body };
        return (Rect { width: list, ..body }, Some(right));
    }
    if detail && body.height >= TALL {
        let list = body.height * 9 / 20;
        let below = Rect { y: body.y + list, height: body.height - list, ..body };
        return (Rect { height: list, ..body }, Some(below));
    }
    (body, None)
}
