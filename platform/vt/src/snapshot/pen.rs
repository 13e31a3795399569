//! Pens and character sets in a snapshot.

use std::fmt::Write as _;

use super::{Writer, put};
use crate::charset::Charsets;
use crate::style::{Attributes, Color, Pen, Style, Underline};

/// The parameters and the end of the SGR that sets a style, whatever was set before: `0;1;31m`.
pub(crate) fn sgr_of(style: &Style) -> String {
    const CODES: [(Attributes, u8); 8] = [
        (Attributes::BOLD, 1),
        (Attributes::DIM, 2),
        (Attributes::ITALIC, 3),
        (Attributes::BLINK, 5),
        (Attributes::INVERSE, 7),
        (Attributes::HIDDEN, 8),
        (Attributes::STRIKE, 9),
        (Attributes::OVERLINE, 53),
    ];
    let mut sgr = String::from("0");
    for (attribute, code) in CODES {
        if style.attributes.contains(attribute) {
            let _ = write!(sgr, ";{code}");
        }
    }
    match style.underline {
        Underline::None => {}
        Underline::Single => sgr.push_str(";4"),
        other => {
            let _ = write!(sgr, ";4:{}", other as u8);
        }
    }
    push_color(&mut sgr, style.foreground, 30);
    push_color(&mut sgr, style.background, 40);
    // Underline colours with colons only: a terminal that does not know 58 would take what follows it for
    // attributes.
    match style.underline_color {
        Color::Default => {}
        Color::Ansi(i) | Color::Indexed(i) => {
            let _ = write!(sgr, ";58:5:{i}");
        }
        Color::Rgb(r, g, b) => {
            let _ = write!(sgr, ";58:2::{r}:{g}:{b}");
        }
    }
    sgr.push('m');
    sgr
}

/// `base` is 30 for the foreground, 40 for the background.
fn push_color(sgr: &mut String, color: Color, base: u8) {
    let _ = match color {
        Color::Default => Ok(()),
        Color::Ansi(i @ 0..8) => write!(sgr, ";{}", base + i),
        Color::Ansi(i) => write!(sgr, ";{}", base + 52 + i),
        Color::Indexed(i) => write!(sgr, ";{};5;{i}", base + 8),
        Color::Rgb(r, g, b) => write!(sgr, ";{};2;{r};{g};{b}", base + 8),
    };
}

impl Writer<'_> {
    pub(super) fn set_pen(&mut self, pen: Pen) {
        if self.pen == pen {
            return;
        }
        if self.pen.link != pen.link {
            let link = self.model.tables.links.get(pen.link);
            let id = if link.id.is_empty() { "" } else { "id=" };
            put!(self, "\x1b]8;{id}{};{}\x1b\\", link.id, link.uri);
        }
        let protected = |pen: &Pen| pen.style.attributes.contains(Attributes::PROTECTED);
        if protected(&self.pen) != protected(&pen) {
            put!(self, "\x1b[{}\"q", u8::from(protected(&pen)));
        }
        let shown = |pen: &Pen| {
            let attributes = pen.style.attributes.without(Attributes::PROTECTED);
            Style { attributes, ..pen.style }
        };
        if shown(&self.pen) != shown(&pen) {
            put!(self, "\x1b[{}", sgr_of(&pen.style));
        }
        self.pen = pen;
        self.pen_number = None;
    }

    pub(super) fn set_charsets(&mut self, charsets: Charsets) {
        for (set, (old, new)) in self.charsets.designated.iter().zip(charsets.designated).enumerate() {
            if *old != new {
                let designator = ['(', ')', '*', '+'][set];
                let _ = write!(self.out, "\x1b{designator}{}", new.final_byte());
            }
        }
        if self.charsets.locked != charsets.locked {
            self.out.push_str(["\x0f", "\x0e", "\x1bn", "\x1bo"][usize::from(charsets.locked & 3)]);
        }
        self.charsets = charsets;
    }
}
