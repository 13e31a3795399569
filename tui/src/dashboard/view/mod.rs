//! A frame as a pure function of the model. One file per block of the screen, its snapshot test beside it.

mod agents;
mod confirm;
mod detail;
mod diagnosis;
mod empty;
mod footer;
mod form;
mod header;
mod help;
mod layout;
mod palette;
mod popup;
mod sessions;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod toasts;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::event::Hit;
use super::model::{Layer, Model, Screen, Tab};
use super::theme::Theme;

pub use layout::Layout;

/// What a frame has where.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// What can be pointed at; what was drawn later lies above.
    hits: Vec<(Rect, Hit)>,
    /// The cursor, where something is typed into.
    pub cursor: Option<Position>,
}

impl Shown {
    /// What is at that place.
    #[must_use]
    pub fn at(&self, position: Position) -> Option<Hit> {
        self.hits.iter().rev().find(|(area, _)| area.contains(position)).map(|(_, hit)| *hit)
    }

    fn hit(&mut self, area: Rect, hit: Hit) {
        self.hits.push((area, hit));
    }
}

/// Draws everything but the terminals: those are painted into [`Layout::preview`] and [`Layout::panes`] before, so that
/// what lies over them is drawn over them.
pub fn draw(model: &Model, theme: &Theme, buf: &mut Buffer) -> Shown {
    let layout = Layout::of(model, buf.area);
    let mut shown = Shown::default();
    let frame = &mut Canvas { buf, theme, shown: &mut shown };
    if layout.too_small {
        frame.text(layout.screen, 0, 0, "window too small", theme.text);
        return shown;
    }
    match model.screen {
        Screen::Lists => {
            header::draw(model, frame, &layout);
            match model.tab {
                Tab::Agents => agents::draw(model, frame, layout.list),
                Tab::Sessions => sessions::draw(model, frame, layout.list),
            }
            detail::draw(model, frame, &layout);
        }
        Screen::Panes => {
            if let Some(area) = layout.side {
                sessions::draw_side(model, frame, area);
            }
        }
    }
    header::draw_banner(model, frame, layout.banner);
    footer::draw(model, frame, layout.footer);
    match &model.layer {
        None => {}
        Some(Layer::Help(layer)) => help::draw(model, layer, frame, &layout),
        Some(Layer::Palette(layer)) => palette::draw(layer, frame, &layout),
        Some(Layer::Form(layer)) => form::draw(layer, frame, &layout),
        Some(Layer::Confirm(layer)) => confirm::draw(layer, frame, &layout),
        Some(Layer::Diagnosis(layer)) => diagnosis::draw(model, layer, frame, &layout),
    }
    toasts::draw(model, frame, &layout);
    shown
}

/// What blocks draw on.
struct Canvas<'a> {
    buf: &'a mut Buffer,
    theme: &'a Theme,
    shown: &'a mut Shown,
}
