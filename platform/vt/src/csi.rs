//! Control sequences.
//!
//! Not supported, on purpose: left and right margins (DECSLRM: no program met uses them, and every printing path
//! would pay for them), so `CSI s` always saves the cursor; 132 columns (DECCOLM: the size is the viewer's).

use vte::Params;

use crate::model::{Model, Titles};
use crate::style::Attributes;

/// The parameters of a sequence, without subparameters.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a>(pub(crate) &'a Params);

impl Args<'_> {
    /// Absent is 0.
    pub(crate) fn get(self, index: usize) -> u16 {
        self.0.iter().nth(index).and_then(|param| param.first()).copied().unwrap_or(0)
    }

    /// Absent and 0 are 1, as for every count and coordinate.
    fn count(self, index: usize) -> usize {
        usize::from(self.get(index)).max(1)
    }

    fn all(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().filter_map(|param| param.first()).copied()
    }
}

impl Model {
    pub(crate) fn control_sequence(
        &mut self,
        params: &Params,
        intermediates: &[u8],
        action: char,
        followed_print: bool,
    ) {
        let args = Args(params);
        match intermediates {
            [] => self.plain_sequence(args, action, followed_print),
            [b'?'] => self.private_sequence(args, action),
            [b'>'] => self.extended_sequence(args, action),
            _ => self.other_sequence(args, intermediates, action),
        }
    }

    fn plain_sequence(&mut self, args: Args<'_>, action: char, followed_print: bool) {
        let n = args.count(0);
        match action {
            'm' => self.select_graphics(args.0),
            'H' | 'f' => self.move_to(n - 1, args.count(1) - 1),
            'A' => self.move_up(n),
            'B' => self.move_down(n),
            'e' => self.move_rows_down(n),
            'C' | 'a' => self.move_right(n),
            'D' => self.move_left(n),
            'E' => {
                self.x = 0;
                self.move_down(n);
            }
            'F' => {
                self.x = 0;
                self.move_up(n);
            }
            'G' | '`' => self.move_to_column(n - 1),
            'd' => self.move_to(n - 1, self.x),
            'I' => (0..n.min(self.cols)).for_each(|_| self.tab()),
            'Z' => (0..n.min(self.cols)).for_each(|_| self.tab_back()),
            'J' => self.erase_in_display(args.get(0), false),
            'K' => self.erase_in_line(args.get(0), false),
            'X' => self.erase_characters(n),
            '@' => {
                self.pending_wrap = false;
                self.insert_blanks(n);
            }
            'P' => self.delete_characters(n),
            'L' => self.insert_lines(n),
            'M' => self.delete_lines(n),
            'S' => {
                self.pending_wrap = false;
                self.scroll_up(self.top, n);
            }
            // With five parameters it is highlight tracking.
            'T' if args.0.len() <= 1 => {
                self.pending_wrap = false;
                self.scroll_down(self.top, n);
            }
            'b' if followed_print => {
                self.repeat(n);
                self.follows_print = false;
            }
            'g' => match args.get(0) {
                0 => self.tabs[self.x] = false,
                3 => self.tabs.fill(false),
                _ => {}
            },
            'h' | 'l' => args.all().for_each(|mode| match mode {
                4 => self.modes.insert = action == 'h',
                20 => self.modes.newline = action == 'h',
                _ => {}
            }),
            'r' => {
                let bottom = usize::from(args.get(1)).checked_sub(1).unwrap_or(self.rows - 1);
                self.set_region(n - 1, bottom);
            }
            's' => self.save_cursor(),
            'u' => self.restore_cursor(),
            'c' if args.get(0) == 0 => self.report_primary_attributes(),
            'n' => self.report_status(args.get(0)),
            't' => self.window_operation(args),
            _ => {}
        }
    }

    fn private_sequence(&mut self, args: Args<'_>, action: char) {
        match action {
            'h' | 'l' => args.all().for_each(|mode| self.set_private_mode(mode, action == 'h')),
            'J' => self.erase_in_display(args.get(0), true),
            'K' => self.erase_in_line(args.get(0), true),
            'u' => self.report_keyboard_flags(),
            'n' => self.report_private_status(args.get(0)),
            'm' => self.report_modify_keys(args.get(0)),
            // DECST8C.
            'W' if args.get(0) == 5 => self.tabs = crate::model::default_tabs(self.cols),
            _ => {}
        }
    }

    /// `CSI >`.
    fn extended_sequence(&mut self, args: Args<'_>, action: char) {
        match action {
            'u' => self.screen_mut().keyboard.push(args.get(0)),
            'm' => self.set_modify_keys(args),
            'c' if args.get(0) == 0 => self.report_secondary_attributes(),
            'q' if args.get(0) == 0 => self.report_version(),
            _ => {}
        }
    }

    fn other_sequence(&mut self, args: Args<'_>, intermediates: &[u8], action: char) {
        match (intermediates, action) {
            ([b'<'], 'u') => self.screen_mut().keyboard.pop(args.count(0)),
            ([b'='], 'u') => self.screen_mut().keyboard.set(args.get(0), args.count(1) as u16),
            ([b'='], 'c') if args.get(0) == 0 => self.report_tertiary_attributes(),
            ([b' '], 'q') if args.get(0) <= 6 => self.cursor_style = args.get(0) as u8,
            ([b'"'], 'q') => {
                let protect = args.get(0) == 1;
                self.brush.change(|pen| pen.style.attributes.set(Attributes::PROTECTED, protect));
            }
            ([b'!'], 'p') => self.soft_reset(),
            ([b'?', b'$'], 'p') => self.report_private_mode(args.get(0)),
            ([b'$'], 'p') => self.report_ansi_mode(args.get(0)),
            _ => {}
        }
    }

    /// XTMODKEYS: `CSI > resource ; value m`; without a value the resource is reset, without any all are.
    fn set_modify_keys(&mut self, args: Args<'_>) {
        let resource = args.get(0);
        let value = (args.0.len() > 1).then(|| args.get(1));
        if value.is_none() && resource == 0 {
            self.modify_keys = [None; 8];
        } else if let Some(slot) = self.modify_keys.get_mut(usize::from(resource)) {
            *slot = value;
        }
    }

    /// XTWINOPS: reports, and the stack of titles. A program may not move or resize the viewer's window.
    fn window_operation(&mut self, args: Args<'_>) {
        match args.get(0) {
            22 => {
                if self.saved_titles.len() < crate::limits::MAX_SAVED_TITLES {
                    self.saved_titles.push(self.titles.clone());
                }
            }
            23 => {
                if let Some(Titles { window, icon }) = self.saved_titles.pop() {
                    self.titles = Titles { window, icon };
                    self.announce_title();
                }
            }
            operation => self.report_window(operation),
        }
    }
}
