//! Modes: those the model acts on, and those it only remembers for whoever shows the terminal.

/// Modes the model itself obeys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Active {
    /// DECCKM, 1.
    pub(crate) application_cursor: bool,
    /// DECOM, 6: rows count from the top of the scroll region.
    pub(crate) origin: bool,
    /// DECAWM, 7.
    pub(crate) autowrap: bool,
    /// DECTCEM, 25.
    pub(crate) cursor_visible: bool,
    /// DECKPAM and DECNKM, 66.
    pub(crate) application_keypad: bool,
    /// IRM, ANSI mode 4.
    pub(crate) insert: bool,
    /// LNM, ANSI mode 20.
    pub(crate) newline: bool,
    /// 47, 1047, 1049.
    pub(crate) alternate: bool,
}

impl Default for Active {
    fn default() -> Active {
        Active {
            application_cursor: false,
            origin: false,
            autowrap: true,
            cursor_visible: true,
            application_keypad: false,
            insert: false,
            newline: false,
            alternate: false,
        }
    }
}

/// Private modes the model remembers, with their state after a reset. 1007's differs among terminals: it counts
/// as set only once a program has said so.
const PASSIVE: [(u16, bool); 26] = [
    (5, false),
    (8, true),
    (9, false),
    (12, false),
    (45, false),
    (67, false),
    (1000, false),
    (1001, false),
    (1002, false),
    (1003, false),
    (1004, false),
    (1005, false),
    (1006, false),
    (1007, true),
    (1015, false),
    (1016, false),
    (1034, false),
    (1035, false),
    (1036, false),
    (1039, false),
    (1042, false),
    (2004, false),
    (SYNCHRONIZED, false),
    (2027, false),
    (2031, false),
    (IN_BAND_RESIZE, false),
];

pub(crate) const SYNCHRONIZED: u16 = 2026;
pub(crate) const IN_BAND_RESIZE: u16 = 2048;
const ALTERNATE_SCROLL: u16 = 1007;
/// At most one of these is on.
const MOUSE_TRACKING: [u16; 5] = [9, 1000, 1001, 1002, 1003];
/// And of these.
const MOUSE_ENCODING: [u16; 4] = [1005, 1006, 1015, 1016];

/// The remembered modes, a bit for each entry of [`PASSIVE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Passive {
    /// Differs from the default (for 1007: was set by the program).
    touched: u32,
    on: u32,
}

impl Passive {
    pub(crate) fn set(&mut self, mode: u16, on: bool) {
        for group in [&MOUSE_TRACKING[..], &MOUSE_ENCODING[..]] {
            if group.contains(&mode) {
                group.iter().for_each(|other| self.put(*other, false));
            }
        }
        self.put(mode, on);
    }

    fn put(&mut self, mode: u16, on: bool) {
        let Some(index) = PASSIVE.iter().position(|entry| entry.0 == mode) else { return };
        let bit = 1 << index;
        let touched = on != PASSIVE[index].1 || mode == ALTERNATE_SCROLL;
        self.touched = if touched { self.touched | bit } else { self.touched & !bit };
        self.on = if on && touched { self.on | bit } else { self.on & !bit };
    }

    /// Whether the mode is on; nothing if it is none of these.
    pub(crate) fn get(&self, mode: u16) -> Option<bool> {
        let index = PASSIVE.iter().position(|entry| entry.0 == mode)?;
        Some(if self.touched & 1 << index != 0 { self.on & 1 << index != 0 } else { PASSIVE[index].1 })
    }

    pub(crate) fn is_on(&self, mode: u16) -> bool {
        self.get(mode) == Some(true)
    }

    /// The modes that are not as a reset leaves them.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (u16, bool)> + '_ {
        PASSIVE
            .iter()
            .enumerate()
            .filter(|(index, _)| self.touched & 1 << index != 0)
            .map(|(index, entry)| (entry.0, self.on & 1 << index != 0))
    }
}

/// Which mouse events the program wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MouseTracking {
    /// None: the mouse is the viewer's.
    #[default]
    Off,
    /// Presses only (9).
    X10,
    /// Presses and releases (1000).
    Normal,
    /// And motion while a button is held (1002).
    Button,
    /// And all motion (1003).
    Any,
}

/// How mouse events are to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MouseEncoding {
    /// One byte each, up to column 223.
    #[default]
    Default,
    /// 1005.
    Utf8,
    /// 1006.
    Sgr,
    /// 1015.
    Urxvt,
    /// 1016: pixels.
    SgrPixels,
}

/// The modes that decide how a viewer shows the terminal and encodes its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Modes {
    /// The alternate screen is shown: there is no scrollback to look at.
    pub alternate_screen: bool,
    /// Cursor keys send `ESC O` instead of `ESC [`.
    pub application_cursor: bool,
    /// The keypad sends escape sequences.
    pub application_keypad: bool,
    /// Pastes are to be wrapped in `ESC [200~` and `ESC [201~`.
    pub bracketed_paste: bool,
    /// Which mouse events are wanted.
    pub mouse: MouseTracking,
    /// How they are written.
    pub mouse_encoding: MouseEncoding,
    /// The wheel sends cursor keys in the alternate screen; nothing where the program has not said.
    pub alternate_scroll: Option<bool>,
    /// Focus changes are to be reported.
    pub focus_events: bool,
    /// The program is in the middle of an update (2026): best not painted until it ends, or for some 100 ms.
    pub synchronized_output: bool,
    /// The whole screen is inverted.
    pub reverse_video: bool,
    /// Carriage return sends CR LF (LNM).
    pub newline: bool,
    /// The kitty keyboard protocol's flags in force on the screen shown.
    pub kitty_keyboard: u8,
    /// xterm's modifyOtherKeys: 0, 1 or 2.
    pub modify_other_keys: u16,
    /// Changes between light and dark are to be reported (2031).
    pub color_scheme_reports: bool,
}

impl Passive {
    pub(crate) fn mouse(&self) -> (MouseTracking, MouseEncoding) {
        let tracking = [
            (9, MouseTracking::X10),
            (1000, MouseTracking::Normal),
            (1001, MouseTracking::Normal),
            (1002, MouseTracking::Button),
            (1003, MouseTracking::Any),
        ];
        let encoding = [
            (1005, MouseEncoding::Utf8),
            (1006, MouseEncoding::Sgr),
            (1015, MouseEncoding::Urxvt),
            (1016, MouseEncoding::SgrPixels),
        ];
        (
            tracking.iter().find(|entry| self.is_on(entry.0)).map(|entry| entry.1).unwrap_or_default(),
            encoding.iter().find(|entry| self.is_on(entry.0)).map(|entry| entry.1).unwrap_or_default(),
        )
    }

    pub(crate) fn alternate_scroll(&self) -> Option<bool> {
        self.changed().find(|entry| entry.0 == ALTERNATE_SCROLL).map(|entry| entry.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mouse_modes_exclude_each_other() {
        let mut modes = Passive::default();
        modes.set(1000, true);
        modes.set(1006, true);
        modes.set(1003, true);
        assert_eq!(modes.mouse(), (MouseTracking::Any, MouseEncoding::Sgr));
        assert_eq!(modes.get(1000), Some(false));
        modes.set(1002, false);
        assert_eq!(modes.mouse().0, MouseTracking::Off, "resetting any of them resets them all, as in xterm");
    }

    #[test]
    fn a_mode_put_back_is_as_good_as_never_touched() {
        let mut modes = Passive::default();
        modes.set(8, false);
        modes.set(2004, true);
        assert_eq!(modes.changed().collect::<Vec<_>>(), [(8, false), (2004, true)]);
        modes.set(8, true);
        modes.set(2004, false);
        assert_eq!(modes, Passive::default());
        modes.set(1007, true);
        assert_eq!(modes.alternate_scroll(), Some(true));
    }
}
