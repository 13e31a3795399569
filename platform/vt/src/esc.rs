//! Control characters and plain escape sequences.

use vte::{Params, Perform};

use crate::charset::Charset;
use crate::events::Event;
use crate::model::Model;

/// Only sequences come through here: text and control characters outside of them are read by
/// [`crate::stream`] itself.
impl Perform for Model {
    fn print(&mut self, c: char) {
        Model::print(self, c);
    }

    fn execute(&mut self, byte: u8) {
        self.control(byte);
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignored: bool, byte: u8) {
        self.follows_print = false;
        if !ignored {
            self.escape(intermediates, byte);
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignored: bool, action: char) {
        let followed_print = std::mem::take(&mut self.follows_print);
        if !ignored {
            self.control_sequence(params, intermediates, action, followed_print);
        }
    }

    fn hook(&mut self, params: &Params, intermediates: &[u8], ignored: bool, action: char) {
        self.follows_print = false;
        self.begin_dcs(params, intermediates, ignored, action);
    }
}

impl Model {
    /// C0. C1 controls are not obeyed: UTF-8 terminals do not.
    pub(crate) fn control(&mut self, byte: u8) {
        self.follows_print = false;
        match byte {
            0x07 => self.host.events.push(Event::Bell),
            0x08 => self.move_left(1),
            0x09 => self.tab(),
            0x0a..=0x0c => self.line_feed(),
            0x0d => self.move_to_column(0),
            0x0e => self.charsets.locked = 1,
            0x0f => self.charsets.locked = 0,
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: &[u8], byte: u8) {
        match (intermediates, byte) {
            ([], b'7') => self.save_cursor(),
            ([], b'8') => self.restore_cursor(),
            ([], b'=') => self.modes.application_keypad = true,
            ([], b'>') => self.modes.application_keypad = false,
            ([], b'D') => self.index(),
            ([], b'E') => {
                self.x = 0;
                self.index();
            }
            ([], b'M') => self.reverse_index(),
            ([], b'H') => self.tabs[self.x] = true,
            ([], b'Z') => self.report_primary_attributes(),
            ([], b'c') => self.reset(),
            ([], b'n') => self.charsets.locked = 2,
            ([], b'o') => self.charsets.locked = 3,
            ([], b'N') => self.shift = 2,
            ([], b'O') => self.shift = 3,
            ([b'#'], b'8') => self.alignment_test(),
            ([set @ b'('..=b'+'], _) => {
                self.charsets.designated[usize::from(set - b'(')] = Charset::from_final(byte);
            }
            _ => {}
        }
    }
}
