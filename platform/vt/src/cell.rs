//! One place on the screen, in eight bytes.

/// A character and a style. `Cell::default()` is a place nothing was ever printed on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Cell {
    /// 0: blank (never printed, or erased). High bit: an entry of the table of clusters. Else: the character.
    glyph: u32,
    /// Two flags and the number of a style.
    style: u32,
}

const CLUSTER: u32 = 1 << 31;
const WIDE: u32 = 1 << 31;
const SPACER: u32 = 1 << 30;

impl Cell {
    pub(crate) fn narrow(c: char, style: u32) -> Cell {
        Cell { glyph: c as u32, style }
    }

    pub(crate) fn ascii(byte: u8, style: u32) -> Cell {
        Cell { glyph: u32::from(byte), style }
    }

    /// The two halves of a wide character.
    pub(crate) fn wide(c: char, style: u32) -> [Cell; 2] {
        [Cell { glyph: c as u32, style: style | WIDE }, Cell { glyph: 0, style: style | SPACER }]
    }

    pub(crate) fn blank(style: u32) -> Cell {
        Cell { glyph: 0, style }
    }

    /// What half a wide character becomes when its other half is overwritten: a space of the same style.
    pub(crate) fn orphaned(self) -> Cell {
        Cell { glyph: u32::from(b' '), style: self.style() }
    }

    /// The same place with the text of a cluster.
    pub(crate) fn with_cluster(self, index: u32) -> Cell {
        Cell { glyph: index | CLUSTER, ..self }
    }

    /// Nothing printed here (erased places may still have a background).
    pub(crate) fn is_blank(self) -> bool {
        self.glyph == 0 && self.style & SPACER == 0
    }

    pub(crate) fn is_wide(self) -> bool {
        self.style & WIDE != 0
    }

    /// The right half of a wide character.
    pub(crate) fn is_spacer(self) -> bool {
        self.style & SPACER != 0
    }

    pub(crate) fn style(self) -> u32 {
        self.style & !(WIDE | SPACER)
    }

    pub(crate) fn cluster(self) -> Option<u32> {
        (self.glyph & CLUSTER != 0).then_some(self.glyph & !CLUSTER)
    }

    /// Whether none of these has a style or a cluster.
    pub(crate) fn all_plain(cells: &[Cell]) -> bool {
        // Without an early end, so that it is done many cells at a time.
        let all = cells.iter().fold(Cell::default(), |all, cell| Cell {
            glyph: all.glyph | cell.glyph,
            style: all.style | cell.style,
        });
        all.style() == 0 && all.cluster().is_none()
    }

    pub(crate) fn character(self) -> Option<char> {
        if self.glyph == 0 || self.glyph & CLUSTER != 0 { None } else { char::from_u32(self.glyph) }
    }
}
