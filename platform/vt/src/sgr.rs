//! SGR: the pen.

use vte::Params;

use crate::model::Model;
use crate::style::{Attributes, Color, Pen, Style, Underline};

impl Model {
    pub(crate) fn select_graphics(&mut self, params: &Params) {
        self.brush.change(|pen| apply(pen, params));
    }
}

fn apply(pen: &mut Pen, params: &Params) {
    let style = &mut pen.style;
    let mut rest = params.iter();
    while let Some(param) = rest.next() {
        let code = param.first().copied().unwrap_or(0);
        if let Some((attributes, on)) = attribute(code) {
            let bits = attributes.0;
            style.attributes =
                Attributes(if on { style.attributes.0 | bits } else { style.attributes.0 & !bits });
            continue;
        }
        match code {
            // Protection is DECSCA's, and stays.
            0 => {
                let attributes = style.attributes.only(Attributes::PROTECTED);
                *style = Style { attributes, ..Style::default() };
            }
            4 => style.underline = underline(param.get(1).copied().unwrap_or(1)),
            21 => style.underline = Underline::Double,
            24 => style.underline = Underline::None,
            30..=37 => style.foreground = Color::Ansi((code - 30) as u8),
            40..=47 => style.background = Color::Ansi((code - 40) as u8),
            90..=97 => style.foreground = Color::Ansi((code - 82) as u8),
            100..=107 => style.background = Color::Ansi((code - 92) as u8),
            39 => style.foreground = Color::Default,
            49 => style.background = Color::Default,
            59 => style.underline_color = Color::Default,
            38 | 48 | 58 => {
                let color = if param.len() > 1 { with_colons(param) } else { with_semicolons(&mut rest) };
                let Some(color) = color else { continue };
                match code {
                    38 => style.foreground = color,
                    48 => style.background = color,
                    _ => style.underline_color = color,
                }
            }
            _ => {}
        }
    }
}

fn attribute(code: u16) -> Option<(Attributes, bool)> {
    let both = Attributes(Attributes::BOLD.0 | Attributes::DIM.0);
    Some(match code {
        1 => (Attributes::BOLD, true),
        2 => (Attributes::DIM, true),
        3 => (Attributes::ITALIC, true),
        5 | 6 => (Attributes::BLINK, true),
        7 => (Attributes::INVERSE, true),
        8 => (Attributes::HIDDEN, true),
        9 => (Attributes::STRIKE, true),
        22 => (both, false),
        23 => (Attributes::ITALIC, false),
        25 => (Attributes::BLINK, false),
        27 => (Attributes::INVERSE, false),
        28 => (Attributes::HIDDEN, false),
        29 => (Attributes::STRIKE, false),
        53 => (Attributes::OVERLINE, true),
        55 => (Attributes::OVERLINE, false),
        _ => return None,
    })
}

fn underline(kind: u16) -> Underline {
    match kind {
        0 => Underline::None,
        1 => Underline::Single,
        2 => Underline::Double,
        3 => Underline::Curly,
        4 => Underline::Dotted,
        _ => Underline::Dashed,
    }
}

/// `38:5:n`, `38:2:r:g:b`, `38:2:space:r:g:b`.
fn with_colons(param: &[u16]) -> Option<Color> {
    match *param {
        [_, 5, index, ..] => Some(Color::Indexed(index as u8)),
        [_, 2, _, r, g, b, ..] | [_, 2, r, g, b] => Some(Color::Rgb(r as u8, g as u8, b as u8)),
        _ => None,
    }
}

/// `38;5;n`, `38;2;r;g;b`: the same as parameters of their own.
fn with_semicolons<'a>(rest: &mut impl Iterator<Item = &'a [u16]>) -> Option<Color> {
    let mut next = || rest.next().and_then(|param| param.first()).copied();
    match next()? {
        5 => Some(Color::Indexed(next()? as u8)),
        2 => Some(Color::Rgb(next()? as u8, next()? as u8, next()? as u8)),
        _ => None,
    }
}
