//! The palette and the dynamic colours: what a program has changed (OSC 4, 10 to 19), and what to answer when it
//! asks for one it has not.

use std::collections::BTreeMap;

/// Red, green, blue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// Reads what programs send: `rgb:h/h/h` with one to four digits each, `#rgb`, `#rrggbb`, `#rrrgggbbb`,
    /// `#rrrrggggbbbb`. Names out of X11's table are not known here.
    pub(crate) fn parse(spec: &[u8]) -> Option<Rgb> {
        let spec = std::str::from_utf8(spec).ok()?;
        if let Some(digits) = spec.strip_prefix('#') {
            let each = digits.len() / 3;
            if !digits.is_ascii() || digits.len() % 3 != 0 || !(1..=4).contains(&each) {
                return None;
            }
            // `#` pads with zeros (its digits are the most significant), `rgb:` scales.
            let part = |i: usize| {
                let value = u32::from_str_radix(digits.get(i * each..(i + 1) * each)?, 16).ok()?;
                Some((value << (16 - 4 * each) >> 8) as u8)
            };
            return Some(Rgb(part(0)?, part(1)?, part(2)?));
        }
        let mut parts = spec.strip_prefix("rgb:")?.split('/').map(|digits| {
            let max = (1u32 << (4 * digits.len().min(4))) - 1;
            let all_hex = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let value = all_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()?;
            Some((value * 255 / max) as u8)
        });
        let color = Rgb(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(color)
    }

    /// `rgb:rrrr/gggg/bbbb`, the form terminals answer in.
    pub(crate) fn spec(self) -> String {
        let Rgb(r, g, b) = self;
        format!("rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}")
    }
}

/// Number of the foreground among the dynamic colours (OSC 10).
pub const FOREGROUND: u8 = 10;
/// Number of the background (OSC 11).
pub const BACKGROUND: u8 = 11;
/// Number of the cursor's colour (OSC 12).
pub const CURSOR: u8 = 12;

/// What a program has set. At most 256 and 10 entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Colors {
    /// By palette index.
    pub palette: BTreeMap<u8, Rgb>,
    /// By OSC number, 10 to 19: [`FOREGROUND`], [`BACKGROUND`], [`CURSOR`] and the rarer ones.
    pub dynamic: BTreeMap<u8, Rgb>,
}

/// The colours a viewer has where the program set none: what queries are answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultColors {
    /// Text.
    pub foreground: Rgb,
    /// Behind the text. Dark or light follows from it.
    pub background: Rgb,
    /// The cursor.
    pub cursor: Rgb,
}

impl Default for DefaultColors {
    fn default() -> DefaultColors {
        DefaultColors {
            foreground: Rgb(0xe5, 0xe5, 0xe5),
            background: Rgb(0, 0, 0),
            cursor: Rgb(0xe5, 0xe5, 0xe5),
        }
    }
}

impl DefaultColors {
    /// Whether text is lighter than what is behind it, by the background's perceived brightness (ITU-R BT.601).
    pub(crate) fn is_dark(&self) -> bool {
        let Rgb(r, g, b) = self.background;
        u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114 < 128_000
    }
}

/// xterm's palette: sixteen named colours, a cube of 216, 24 greys.
pub fn standard_palette(index: u8) -> Rgb {
    const NAMED: [Rgb; 16] = [
        Rgb(0, 0, 0),
        Rgb(205, 0, 0),
        Rgb(0, 205, 0),
        Rgb(205, 205, 0),
        Rgb(0, 0, 238),
        Rgb(205, 0, 205),
        Rgb(0, 205, 205),
        Rgb(229, 229, 229),
        Rgb(127, 127, 127),
        Rgb(255, 0, 0),
        Rgb(0, 255, 0),
        Rgb(255, 255, 0),
        Rgb(92, 92, 255),
        Rgb(255, 0, 255),
        Rgb(0, 255, 255),
        Rgb(255, 255, 255),
    ];
    match index {
        0..16 => NAMED[usize::from(index)],
        16..232 => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let n = index - 16;
            Rgb(level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        232.. => {
            let grey = 8 + 10 * (index - 232);
            Rgb(grey, grey, grey)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_in_the_forms_programs_send() {
        for (spec, color) in [
            ("rgb:ff/80/00", Some(Rgb(255, 128, 0))),
            ("rgb:ffff/8080/0000", Some(Rgb(255, 128, 0))),
            ("rgb:f/8/0", Some(Rgb(255, 136, 0))),
            ("#ff8000", Some(Rgb(255, 128, 0))),
            ("#f80", Some(Rgb(240, 128, 0))),
            ("rgb:ff/80", None),
            ("rgb:ff/80/00/00", None),
            ("rgb:+f/80/00", None),
            ("#ff800", None),
            ("#€1", None),
            ("red", None),
        ] {
            assert_eq!(Rgb::parse(spec.as_bytes()), color, "{spec}");
        }
        assert_eq!(Rgb::parse(Rgb(1, 128, 255).spec().as_bytes()), Some(Rgb(1, 128, 255)));
    }

    #[test]
    fn the_palette_is_xterms() {
        assert_eq!(standard_palette(16), Rgb(0, 0, 0));
        assert_eq!(standard_palette(110), Rgb(135, 175, 215));
        assert_eq!(standard_palette(231), Rgb(255, 255, 255));
        assert_eq!(standard_palette(255), Rgb(238, 238, 238));
    }
}
