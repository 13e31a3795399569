//! How a cell looks: colours and attributes.

use std::hash::{Hash, Hasher};

/// A colour as the program asked for it. `Ansi(3)` and `Indexed(3)` name the same palette entry, but a terminal
/// that shows bold as bright treats only the first so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Color {
    /// The terminal's own foreground or background.
    #[default]
    Default,
    /// One of the sixteen named colours (SGR 30–37, 40–47, 90–97, 100–107).
    Ansi(u8),
    /// An entry of the palette of 256 (SGR 38;5, 48;5, 58;5).
    Indexed(u8),
    /// Red, green, blue (SGR 38;2, 48;2, 58;2).
    Rgb(u8, u8, u8),
}

impl Color {
    #[inline]
    fn packed(self) -> u32 {
        match self {
            Color::Default => 0,
            Color::Ansi(i) => 1 << 24 | u32::from(i),
            Color::Indexed(i) => 2 << 24 | u32::from(i),
            Color::Rgb(r, g, b) => 3 << 24 | u32::from(r) << 16 | u32::from(g) << 8 | u32::from(b),
        }
    }
}

/// The line under a character (SGR 4:n).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Underline {
    /// No line.
    #[default]
    None = 0,
    /// SGR 4 or 4:1.
    Single = 1,
    /// SGR 21 or 4:2.
    Double = 2,
    /// SGR 4:3.
    Curly = 3,
    /// SGR 4:4.
    Dotted = 4,
    /// SGR 4:5.
    Dashed = 5,
}

/// A set of on-or-off attributes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Attributes(pub(crate) u16);

impl Attributes {
    /// SGR 1.
    pub const BOLD: Attributes = Attributes(1);
    /// SGR 2.
    pub const DIM: Attributes = Attributes(2);
    /// SGR 3.
    pub const ITALIC: Attributes = Attributes(4);
    /// SGR 5 and 6.
    pub const BLINK: Attributes = Attributes(8);
    /// SGR 7.
    pub const INVERSE: Attributes = Attributes(16);
    /// SGR 8.
    pub const HIDDEN: Attributes = Attributes(32);
    /// SGR 9.
    pub const STRIKE: Attributes = Attributes(64);
    /// SGR 53.
    pub const OVERLINE: Attributes = Attributes(128);
    /// DECSCA: selective erase leaves the cell alone. Not visible.
    pub const PROTECTED: Attributes = Attributes(256);

    /// Whether all of `other` are set.
    pub fn contains(self, other: Attributes) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn set(&mut self, which: Attributes, on: bool) {
        if on {
            self.0 |= which.0;
        } else {
            self.0 &= !which.0;
        }
    }

    pub(crate) fn only(self, which: Attributes) -> Attributes {
        Attributes(self.0 & which.0)
    }

    pub(crate) fn without(self, which: Attributes) -> Attributes {
        Attributes(self.0 & !which.0)
    }
}

/// The look of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Style {
    /// Colour of the text.
    pub foreground: Color,
    /// Colour behind it.
    pub background: Color,
    /// Colour of the underline; the text's where it is the default.
    pub underline_color: Color,
    /// The line under the text.
    pub underline: Underline,
    /// Bold, italic and the rest.
    pub attributes: Attributes,
}

/// A style and the hyperlink text is printed under: what a cell refers to. Link 0 is no link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pen {
    pub(crate) style: Style,
    pub(crate) link: u32,
}

impl Pen {
    /// What erasing leaves: the background alone (xterm's "background color erase").
    pub(crate) fn erasing(&self) -> Pen {
        Pen { style: Style { background: self.style.background, ..Style::default() }, link: 0 }
    }
}

/// Five words instead of fifteen fields: pens are hashed whenever a program changes colour.
impl Hash for Pen {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Style { foreground, background, underline_color, underline, attributes } = self.style;
        state.write_u64(u64::from(foreground.packed()) << 32 | u64::from(background.packed()));
        state.write_u64(u64::from(underline_color.packed()) << 32 | u64::from(self.link));
        state.write_u32(u32::from(attributes.0) << 8 | underline as u32);
    }
}
