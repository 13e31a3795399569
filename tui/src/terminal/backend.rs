//! ratatui's backend on the outer terminal.

use std::io;

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

use super::Outlet;
use super::tty::SharedSize;

/// Draws on the outer terminal. Its size is what the last resize said: crossterm's own opens the terminal anew to ask,
/// twice for each frame. Flushing writes what the terminal takes now, and waits for nothing.
#[derive(Debug)]
pub struct ScreenBackend {
    terminal: CrosstermBackend<Outlet>,
    outlet: Outlet,
    size: SharedSize,
}

impl ScreenBackend {
    pub(super) fn new(outlet: Outlet, size: SharedSize) -> ScreenBackend {
        ScreenBackend { terminal: CrosstermBackend::new(outlet.clone()), outlet, size }
    }
}

impl Backend for ScreenBackend {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.terminal.draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.terminal.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.terminal.show_cursor()
    }

    /// Asking the terminal would wait for its answer, and take what is typed meanwhile. Whoever draws anew places the
    /// cursor anew.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.terminal.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.terminal.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        self.size.get().map_or_else(|| self.terminal.size(), |size| Ok(Size::new(size.cols, size.rows)))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.terminal.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outlet.send()
    }
}
