//! Where in a sequence the stream is.
//!
//! `vte` does not tell its state, and a snapshot has to: it ends with the bytes that bring a fresh parser to the
//! same place. This is the same state machine (Paul Williams', as `vte` 0.15 has it) without actions. Only
//! sequences are given to `vte`; text and the contents of strings are not, so it never holds part of a character
//! (which it is known to lose) nor a string of any length.

/// A state of the parser.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    #[default]
    Ground,
    /// Some bytes of a character of several have come.
    Character,
    Escape,
    EscapeIntermediate,
    CsiEntry,
    CsiParameter,
    CsiIntermediate,
    CsiIgnore,
    DcsEntry,
    DcsParameter,
    DcsIntermediate,
    DcsIgnore,
    DcsString,
    OscString,
    /// SOS, PM and APC: nothing of it matters.
    OtherString,
}

pub(crate) const ESC: u8 = 0x1b;
pub(crate) const BEL: u8 = 0x07;
pub(crate) const CAN: u8 = 0x18;
pub(crate) const SUB: u8 = 0x1a;

const STATES: [State; 15] = [
    State::Ground,
    State::Character,
    State::Escape,
    State::EscapeIntermediate,
    State::CsiEntry,
    State::CsiParameter,
    State::CsiIntermediate,
    State::CsiIgnore,
    State::DcsEntry,
    State::DcsParameter,
    State::DcsIntermediate,
    State::DcsIgnore,
    State::DcsString,
    State::OscString,
    State::OtherString,
];

/// [`State::next`] for all states and bytes: every byte of every sequence is looked up here.
static NEXT: [[State; 256]; STATES.len()] = {
    let mut table = [[State::Ground; 256]; STATES.len()];
    let mut state = 0;
    while state < STATES.len() {
        let mut byte = 0;
        while byte < 256 {
            table[STATES[state] as usize][byte] = STATES[state].next(byte as u8);
            byte += 1;
        }
        state += 1;
    }
    table
};

impl State {
    /// In the head of a sequence: everything before the final byte, or before the content of a string.
    pub(crate) fn is_head(self) -> bool {
        !matches!(
            self,
            State::Ground
                | State::Character
                | State::DcsString
                | State::OscString
                | State::OtherString
                | State::DcsIgnore
        )
    }

    /// The state after a byte of a sequence's head (or the ESC that begins one, in [`State::Ground`]).
    #[inline]
    pub(crate) fn after(self, byte: u8) -> State {
        NEXT[self as usize][usize::from(byte)]
    }

    const fn next(self, byte: u8) -> State {
        use State::*;
        match (self, byte) {
            (_, ESC) => Escape,
            (_, CAN | SUB) => Ground,

            (Escape, 0x20..=0x2f) => EscapeIntermediate,
            (Escape, b'P') => DcsEntry,
            (Escape, b'X' | b'^' | b'_') => OtherString,
            (Escape, b'[') => CsiEntry,
            (Escape, b']') => OscString,
            (Escape | EscapeIntermediate, 0x30..=0x7e) => Ground,

            (CsiEntry | CsiParameter, 0x20..=0x2f) => CsiIntermediate,
            (CsiEntry, 0x30..=0x3f) => CsiParameter,
            (CsiParameter, 0x3c..=0x3f) | (CsiIntermediate, 0x30..=0x3f) => CsiIgnore,
            (CsiEntry | CsiParameter | CsiIntermediate | CsiIgnore, 0x40..=0x7e) => Ground,

            (DcsEntry | DcsParameter, 0x20..=0x2f) => DcsIntermediate,
            (DcsEntry, 0x30..=0x3f) => DcsParameter,
            (DcsParameter, 0x3c..=0x3f) | (DcsIntermediate, 0x30..=0x3f) => DcsIgnore,
            (DcsEntry | DcsParameter | DcsIntermediate, 0x40..=0x7e) => DcsString,

            (same, _) => same,
        }
    }

    /// The state after the terminator of a string.
    pub(crate) fn after_string(self, terminator: u8) -> State {
        if terminator == ESC { State::Escape } else { State::Ground }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Printed(Vec<char>);

    impl vte::Perform for Printed {
        fn print(&mut self, c: char) {
            self.0.push(c);
        }
    }

    /// Feeds `vte` and looks whether it prints what comes next: that it does in its ground state only.
    fn is_ground_for_vte(bytes: &[u8]) -> bool {
        let (mut parser, mut printed) = (vte::Parser::new(), Printed::default());
        parser.advance(&mut printed, bytes);
        printed.0.clear();
        parser.advance(&mut printed, b"A");
        printed.0 == ['A']
    }

    #[test]
    fn the_state_is_ground_where_it_is_for_vte() {
        // All heads of up to six bytes of these: one of each kind that any state tells apart.
        const KINDS: [u8; 14] =
            [b'[', b'P', b']', b'X', b' ', b'$', b'1', b';', b':', b'?', b'<', b'm', b'\n', CAN];
        let mut heads = vec![vec![ESC]];
        let mut seen = 0;
        while let Some(head) = heads.pop() {
            let state = head.iter().fold(State::Ground, |state, byte| state.after(*byte));
            assert_eq!(state == State::Ground, is_ground_for_vte(&head), "{}", head.escape_ascii());
            seen += 1;
            if state.is_head() && head.len() < 6 {
                heads.extend(
                    KINDS.iter().chain(&[ESC, 0x7f, 0xe9]).map(|kind| [&head[..], &[*kind]].concat()),
                );
            }
        }
        assert!(seen > 50_000, "{seen}");
    }
}
