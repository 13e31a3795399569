//! Answers to a program's questions. Without them many programs wait for a time-out before they draw anything.

use crate::colors::{BACKGROUND, CURSOR, FOREGROUND, standard_palette};
use crate::events::Event;
use crate::model::Model;
use crate::modes::IN_BAND_RESIZE;

/// A cell's size in pixels as reported: nobody here knows fonts, and programs only want the proportion.
const CELL_PIXELS: (usize, usize) = (10, 20);

impl Model {
    pub(crate) fn reply(&mut self, text: impl Into<Vec<u8>>) {
        if self.host.replies {
            self.host.events.push(Event::Reply(text.into()));
        }
    }

    /// DA1: a VT220 with colours that can set the clipboard.
    pub(crate) fn report_primary_attributes(&mut self) {
        self.reply("\x1b[?62;22;52c");
    }

    /// DA2: a VT220 of no particular firmware.
    pub(crate) fn report_secondary_attributes(&mut self) {
        self.reply("\x1b[>1;10;0c");
    }

    /// DA3: a unit without a number.
    pub(crate) fn report_tertiary_attributes(&mut self) {
        self.reply("\x1bP!|00000000\x1b\\");
    }

    /// XTVERSION.
    pub(crate) fn report_version(&mut self) {
        self.reply(concat!("\x1bP>|lap(", env!("CARGO_PKG_VERSION"), ")\x1b\\"));
    }

    /// DSR: 5 is "are you well", 6 "where is the cursor".
    pub(crate) fn report_status(&mut self, which: u16) {
        match which {
            5 => self.reply("\x1b[0n"),
            6 => {
                let (row, col) = self.reported_position();
                self.reply(format!("\x1b[{row};{col}R"));
            }
            _ => {}
        }
    }

    pub(crate) fn report_private_status(&mut self, which: u16) {
        match which {
            6 => {
                let (row, col) = self.reported_position();
                self.reply(format!("\x1b[?{row};{col};1R"));
            }
            // No printer, no locator, keys are not locked.
            15 => self.reply("\x1b[?13n"),
            25 => self.reply("\x1b[?20n"),
            26 => self.reply("\x1b[?27;1;0;0n"),
            53 | 55 => self.reply("\x1b[?50n"),
            996 => {
                let dark = self.host.default_colors.is_dark();
                self.reply(format!("\x1b[?997;{}n", if dark { 1 } else { 2 }));
            }
            _ => {}
        }
    }

    fn reported_position(&self) -> (usize, usize) {
        let top = if self.modes.origin { self.top } else { 0 };
        (self.y.saturating_sub(top) + 1, self.x + 1)
    }

    /// DECRQM.
    pub(crate) fn report_private_mode(&mut self, mode: u16) {
        let state = report_of(self.private_mode(mode));
        self.reply(format!("\x1b[?{mode};{state}$y"));
    }

    pub(crate) fn report_ansi_mode(&mut self, mode: u16) {
        let state = report_of(match mode {
            4 => Some(self.modes.insert),
            20 => Some(self.modes.newline),
            _ => None,
        });
        self.reply(format!("\x1b[{mode};{state}$y"));
    }

    /// `CSI ? u`.
    pub(crate) fn report_keyboard_flags(&mut self) {
        let flags = self.screen().keyboard.flags();
        self.reply(format!("\x1b[?{flags}u"));
    }

    /// `CSI ? resource m`.
    pub(crate) fn report_modify_keys(&mut self, resource: u16) {
        if let Some(value) = self.modify_keys.get(usize::from(resource)) {
            let value = value.unwrap_or(0);
            self.reply(format!("\x1b[>{resource};{value}m"));
        }
    }

    /// XTWINOPS. Titles are reported empty: what a program may write there must not come back as input.
    pub(crate) fn report_window(&mut self, operation: u16) {
        let (rows, cols, (width, height)) = (self.rows, self.cols, CELL_PIXELS);
        match operation {
            11 => self.reply("\x1b[1t"),
            14 => self.reply(format!("\x1b[4;{};{}t", rows * height, cols * width)),
            15 => self.reply(format!("\x1b[5;{};{}t", rows * height, cols * width)),
            16 => self.reply(format!("\x1b[6;{height};{width}t")),
            18 => self.reply(format!("\x1b[8;{rows};{cols}t")),
            19 => self.reply(format!("\x1b[9;{rows};{cols}t")),
            20 => self.reply("\x1b]L\x1b\\"),
            21 => self.reply("\x1b]l\x1b\\"),
            _ => {}
        }
    }

    /// Mode 2048: the size, when the mode is set and whenever it changes.
    pub(crate) fn report_size_in_band(&mut self) {
        if self.passive.is_on(IN_BAND_RESIZE) {
            let (rows, cols, (width, height)) = (self.rows, self.cols, CELL_PIXELS);
            self.reply(format!("\x1b[48;{rows};{cols};{};{}t", rows * height, cols * width));
        }
    }

    pub(crate) fn report_palette(&mut self, index: u8, by_bell: bool) {
        let color = self.colors.palette.get(&index).copied().unwrap_or_else(|| standard_palette(index));
        self.reply(format!("\x1b]4;{index};{}{}", color.spec(), terminator(by_bell)));
    }

    pub(crate) fn report_dynamic_color(&mut self, code: u8, by_bell: bool) {
        let defaults = self.host.default_colors;
        let color = self.colors.dynamic.get(&code).copied().or(match code {
            FOREGROUND | 17 => Some(defaults.foreground),
            BACKGROUND | 19 => Some(defaults.background),
            CURSOR => Some(defaults.cursor),
            _ => None,
        });
        if let Some(color) = color {
            self.reply(format!("\x1b]{code};{}{}", color.spec(), terminator(by_bell)));
        }
    }
}

/// An answer ends as the question did.
fn terminator(by_bell: bool) -> &'static str {
    if by_bell { "\x07" } else { "\x1b\\" }
}

fn report_of(mode: Option<bool>) -> u8 {
    match mode {
        None => 0,
        Some(true) => 1,
        Some(false) => 2,
    }
}
