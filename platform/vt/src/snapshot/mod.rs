//! Snapshots: the stream that turns a fresh terminal into this one.
//!
//! It is written for other terminals as well as for this model, so it says things in the order and by the means
//! that they agree on: rows in one flow, so that the terminal makes the scrollback and the soft wraps by itself;
//! the character printed last printed again at the end, which restores in one go what has no sequence of its own
//! (pending wrap, what REP repeats, what a combining character joins).

mod cursor;
mod pen;
mod rows;

use std::fmt::Write as _;

use crate::charset::Charsets;
use crate::model::{Model, Titles};
use crate::modes::SYNCHRONIZED;
use crate::screen::{Keyboard, Saved};
use crate::scrollback::Stored;
use crate::style::Pen;

pub(crate) use pen::sgr_of;

/// The stream so far, and what the terminal that reads it is known to be set to.
struct Writer<'a> {
    out: String,
    model: &'a Model,
    pen: Pen,
    /// The pen's number in the table, where it is known: most cells have their neighbour's.
    pen_number: Option<u32>,
    charsets: Charsets,
}

/// `write!` to a string cannot fail.
macro_rules! put {
    ($writer:expr, $($arg:tt)*) => {{
        let _ = write!($writer.out, $($arg)*);
    }};
}
use put;

impl Model {
    pub(crate) fn snapshot(&self, scrollback_bytes: usize) -> String {
        let mut writer = Writer {
            out: String::with_capacity(16 << 10),
            model: self,
            pen: Pen::default(),
            pen_number: None,
            charsets: Charsets::default(),
        };
        writer.out.push_str("\x1bc");
        writer.placeless();
        writer.main_rows(scrollback_bytes);
        writer.keyboard(&self.main.keyboard);
        writer.tabs();
        if self.modes.alternate {
            writer.shown_alternate()
        } else {
            writer.hidden_alternate()
        }
        writer.region_and_modes();
        writer.live_cursor();
        writer.out
    }
}

impl Writer<'_> {
    /// What has no place on the screen.
    fn placeless(&mut self) {
        let model = self.model;
        for (index, color) in &model.colors.palette {
            put!(self, "\x1b]4;{index};{}\x1b\\", color.spec());
        }
        for (code, color) in &model.colors.dynamic {
            put!(self, "\x1b]{code};{}\x1b\\", color.spec());
        }
        if let Some(directory) = &model.directory {
            put!(self, "\x1b]7;{directory}\x1b\\");
        }
        for titles in &model.saved_titles {
            self.titles(titles);
            self.out.push_str("\x1b[22;0t");
        }
        self.titles(&model.titles);
        for (resource, value) in model.modify_keys.iter().enumerate() {
            if let Some(value) = value {
                put!(self, "\x1b[>{resource};{value}m");
            }
        }
    }

    /// A title once set is never unset but by taking an older one from the stack, so what is written over here
    /// is never a title where there should be none.
    fn titles(&mut self, titles: &Titles) {
        match (&titles.window, &titles.icon) {
            (Some(window), Some(icon)) if window == icon => put!(self, "\x1b]0;{window}\x1b\\"),
            (window, icon) => {
                if let Some(icon) = icon {
                    put!(self, "\x1b]1;{icon}\x1b\\");
                }
                if let Some(window) = window {
                    put!(self, "\x1b]2;{window}\x1b\\");
                }
            }
        }
    }

    fn main_rows(&mut self, scrollback_bytes: usize) {
        let scrollback = &self.model.scrollback;
        let skipped = scrollback.len() - scrollback.fitting(scrollback_bytes);
        let kept = (skipped..scrollback.len()).filter_map(|index| scrollback.get(index));
        self.flow(kept.chain(self.model.main.rows.iter().map(Stored::from)));
    }

    fn keyboard(&mut self, keyboard: &Keyboard) {
        let Some((base, pushed)) = keyboard.entries() else { return };
        if base != 0 {
            put!(self, "\x1b[={base}u");
        }
        for flags in pushed {
            put!(self, "\x1b[>{flags}u");
        }
    }

    fn tabs(&mut self) {
        let tabs = &self.model.tabs;
        if *tabs == crate::model::default_tabs(tabs.len()) {
            return;
        }
        self.out.push_str("\x1b[3g");
        for (x, _) in tabs.iter().enumerate().filter(|(_, stop)| **stop) {
            put!(self, "\x1b[{}G\x1bH", x + 1);
        }
    }

    /// The alternate screen is shown. The main one's saved cursor is what 1049 saves on entering; where something is
    /// still to be done on the main screen that moves the cursor, it is saved before that, and 47 enters.
    fn shown_alternate(&mut self) {
        let model = self.model;
        let saved = &model.main.saved;
        self.saved_cursor(&model.main);
        if model.main_region.is_some() || self.edge_needs_repair(&model.main) {
            self.out.push_str("\x1b7");
            self.leave_origin(saved);
            self.set_charsets(Charsets::default());
            self.repair_edge(&model.main);
            if let Some((top, bottom)) = model.main_region {
                put!(self, "\x1b[{};{}r", top + 1, bottom + 1);
            }
            self.out.push_str("\x1b[?47h");
        } else {
            self.out.push_str("\x1b[?1049h");
            self.leave_origin(saved);
        }
        self.set_pen(Pen::default());
        self.set_charsets(Charsets::default());
        if model.main_region.is_some() {
            self.out.push_str("\x1b[r");
        }
        self.out.push_str("\x1b[H\x1b[2J");
        self.flow(model.alternate.rows.iter().map(Stored::from));
        self.keyboard(&model.alternate.keyboard);
        if model.alternate.saved != Saved::default() {
            self.save_cursor_of(&model.alternate);
            self.repair_edge(&model.alternate);
        }
    }

    /// The alternate screen is hidden, and so empty; it may still have a keyboard stack and a saved cursor.
    fn hidden_alternate(&mut self) {
        let (main, alternate) = (&self.model.main, &self.model.alternate);
        let has_state = alternate.keyboard.entries().is_some() || alternate.saved != Saved::default();
        if has_state {
            self.set_pen(Pen::default());
            self.out.push_str("\x1b[?1049h");
            self.keyboard(&alternate.keyboard);
            if alternate.saved != Saved::default() {
                self.save_cursor_of(alternate);
                self.set_pen(Pen::default());
            }
            self.out.push_str("\x1b[?1049l");
        }
        if has_state || main.saved != Saved::default() {
            self.save_cursor_of(main);
            self.repair_edge(main);
        }
    }

    /// Setting the region and origin mode moves the cursor; the rest leaves it alone.
    fn region_and_modes(&mut self) {
        let model = self.model;
        if (model.top, model.bottom) != (0, model.rows - 1) {
            put!(self, "\x1b[{};{}r", model.top + 1, model.bottom + 1);
        }
        if model.modes.origin {
            self.out.push_str("\x1b[?6h");
        }
        for (mode, on) in model.passive.changed().filter(|(mode, _)| *mode != SYNCHRONIZED) {
            put!(self, "\x1b[?{mode}{}", if on { 'h' } else { 'l' });
        }
        if model.modes.application_cursor {
            self.out.push_str("\x1b[?1h");
        }
        if model.modes.application_keypad {
            self.out.push_str("\x1b=");
        }
        if model.cursor_style != 0 {
            put!(self, "\x1b[{} q", model.cursor_style);
        }
        if !model.modes.cursor_visible {
            self.out.push_str("\x1b[?25l");
        }
        if model.modes.newline {
            self.out.push_str("\x1b[20h");
        }
        // Last of the modes: a terminal that holds back what follows holds back little.
        if model.passive.is_on(SYNCHRONIZED) {
            put!(self, "\x1b[?{SYNCHRONIZED}h");
        }
    }
}
