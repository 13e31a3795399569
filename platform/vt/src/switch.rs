//! Modes that do more than set a flag, and the switch between the two screens.

use crate::cell::Cell;
use crate::model::Model;
use crate::modes::IN_BAND_RESIZE;

impl Model {
    /// DECSET and DECRST of one private mode.
    pub(crate) fn set_private_mode(&mut self, mode: u16, on: bool) {
        match mode {
            1 => self.modes.application_cursor = on,
            6 => {
                self.modes.origin = on;
                self.move_to(0, 0);
            }
            7 => {
                self.modes.autowrap = on;
                self.pending_wrap &= on;
            }
            25 => self.modes.cursor_visible = on,
            66 => self.modes.application_keypad = on,
            47 | 1047 => self.switch_screen(on, false),
            1049 => self.switch_screen(on, true),
            1048 if on => self.save_cursor(),
            1048 => self.restore_cursor(),
            IN_BAND_RESIZE => {
                self.passive.set(mode, on);
                if on {
                    self.report_size_in_band();
                }
            }
            _ => self.passive.set(mode, on),
        }
    }

    pub(crate) fn private_mode(&self, mode: u16) -> Option<bool> {
        match mode {
            1 => Some(self.modes.application_cursor),
            6 => Some(self.modes.origin),
            7 => Some(self.modes.autowrap),
            25 => Some(self.modes.cursor_visible),
            66 => Some(self.modes.application_keypad),
            47 | 1047 | 1049 => Some(self.modes.alternate),
            // Remembered for the viewer, but clusters are not measured as wholes here: not to be relied on.
            2027 => None,
            _ => self.passive.get(mode),
        }
    }

    /// 1049 saves the cursor before it enters and restores it after it leaves; 47 and 1047 do not. The alternate
    /// screen is cleared on leaving, whichever of them is used, so nothing of it is kept while it is hidden.
    fn switch_screen(&mut self, alternate: bool, with_cursor: bool) {
        if alternate == self.modes.alternate {
            match (with_cursor, alternate) {
                (true, false) => self.restore_cursor(),
                // As xterm: asked for again, it is cleared, and has a saved cursor of its own.
                (true, true) => {
                    self.save_cursor();
                    self.pending_wrap = false;
                    (0..self.rows).for_each(|y| self.erase(y, 0, self.cols));
                }
                (false, _) => {}
            }
            return;
        }
        if alternate {
            if with_cursor {
                self.save_cursor();
            }
            let all = (self.top, self.bottom) == (0, self.rows - 1);
            self.main_region = (!all).then_some((self.top, self.bottom));
            self.modes.alternate = true;
            self.pending_wrap = false;
            if with_cursor {
                for y in 0..self.rows {
                    self.erase(y, 0, self.cols);
                }
            }
        } else {
            self.alternate.rows.iter_mut().for_each(|row| row.fill(Cell::default()));
            self.main_region = None;
            self.modes.alternate = false;
            self.pending_wrap = false;
            if with_cursor {
                self.restore_cursor();
            }
        }
    }
}
