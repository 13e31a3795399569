//! The few styles panes need of a theme.

use ratatui::style::{Modifier, Style};

/// Styles of everything around the programs' own output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PaneStyle {
    /// Borders between panes.
    pub border: Style,
    /// The focused pane's border.
    pub border_focused: Style,
    /// Titles.
    pub title: Style,
    /// The focused pane's title.
    pub title_focused: Style,
    /// States that are nobody's fault: connecting, view-only, zoomed, scrolled back.
    pub note: Style,
    /// States to worry about: reconnecting, lagging, ended.
    pub warning: Style,
    /// The places outside a terminal that is smaller than its pane.
    pub outside: Style,
    /// Selected text.
    pub selection: Style,
    /// Text that was searched for.
    pub found: Style,
}

impl Default for PaneStyle {
    /// Modifiers only: right on every terminal, light, dark or without colours.
    fn default() -> PaneStyle {
        let plain = Style::new();
        PaneStyle {
            border: plain.add_modifier(Modifier::DIM),
            border_focused: plain.add_modifier(Modifier::BOLD),
            title: plain,
            title_focused: plain.add_modifier(Modifier::REVERSED | Modifier::BOLD),
            note: plain.add_modifier(Modifier::DIM),
            warning: plain.add_modifier(Modifier::BOLD),
            outside: plain.add_modifier(Modifier::DIM),
            selection: plain.add_modifier(Modifier::REVERSED),
            found: plain.add_modifier(Modifier::REVERSED),
        }
    }
}
