//! Character sets: G0 to G3, which one is in use, and what they make of ASCII.

/// A designated set. Others than these are taken for ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Charset {
    #[default]
    Ascii,
    /// DEC Special Graphics: lines and boxes.
    Graphics,
    /// ASCII with a pound sign for `#`.
    British,
}

/// DEC Special Graphics for the bytes 0x5f to 0x7e (VT220 programmer reference, table 2-4).
const GRAPHICS: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽',
    '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charset {
    pub(crate) fn from_final(byte: u8) -> Charset {
        match byte {
            b'0' => Charset::Graphics,
            b'A' => Charset::British,
            _ => Charset::Ascii,
        }
    }

    pub(crate) fn final_byte(self) -> char {
        match self {
            Charset::Ascii => 'B',
            Charset::Graphics => '0',
            Charset::British => 'A',
        }
    }

    pub(crate) fn map(self, c: char) -> char {
        match self {
            Charset::Graphics => {
                (c as usize).checked_sub(0x5f).and_then(|i| GRAPHICS.get(i)).copied().unwrap_or(c)
            }
            Charset::British if c == '#' => '£',
            Charset::British | Charset::Ascii => c,
        }
    }
}

/// The four sets and the one that printing uses (`locked`, by SI, SO, LS2, LS3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Charsets {
    pub(crate) designated: [Charset; 4],
    pub(crate) locked: u8,
}

impl Charsets {
    pub(crate) fn get(&self, which: u8) -> Charset {
        self.designated[usize::from(which & 3)]
    }
}
