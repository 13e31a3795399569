//! Colours of a palette, in as many as the terminal has.

use std::collections::BTreeMap;

use ratatui::style::Color;
use schemars::JsonSchema;
use serde::Deserialize;

/// How many colours the terminal has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum ColorDepth {
    /// None are wanted (`NO_COLOR`) or the terminal has none.
    None,
    /// Its own 16.
    #[default]
    Ansi,
    /// 256.
    Indexed,
    /// All.
    True,
}

/// What of the environment tells about colours. The values are handed in: only the configuration reads the environment.
#[derive(Clone, Debug, Default)]
pub struct ColorEnvironment {
    /// `NO_COLOR`, see <https://no-color.org>: any value but the empty one.
    pub no_color: Option<String>,
    /// `COLORTERM`.
    pub colorterm: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
}

impl ColorEnvironment {
    /// The colours a terminal that describes itself like that has.
    #[must_use]
    pub fn depth(&self) -> ColorDepth {
        let term = self.term.as_deref().unwrap_or_default();
        let colorterm = self.colorterm.as_deref().unwrap_or_default();
        if self.no_color.as_deref().is_some_and(|value| !value.is_empty()) || is_monochrome(term) {
            ColorDepth::None
        } else if matches!(colorterm, "truecolor" | "24bit") || term.ends_with("-direct") {
            ColorDepth::True
        } else if term.contains("256color")
            || ["kitty", "ghostty", "alacritty"].iter().any(|t| term.contains(t))
        {
            ColorDepth::Indexed
        } else {
            ColorDepth::Ansi
        }
    }
}

/// Whether a terminal of that name has no colours: DEC's, and what terminfo marks as monochrome.
fn is_monochrome(term: &str) -> bool {
    let dec = term.strip_prefix("vt").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    dec || term == "dumb" || term.ends_with("-m") || term.ends_with("-mono")
}

/// A colour of a palette.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum PaletteColor {
    /// `#rrggbb`, one of the terminal's own 16, or `default`.
    Plain(String),
    /// A color, and what stands for it on a terminal with 16: its own are known to be readable on its background.
    WithAnsi {
        /// `#rrggbb`.
        rgb: String,
        /// One of the terminal's own 16, or `default`.
        ansi: String,
    },
}

const ANSI: &[(&str, Color)] = &[
    ("black", Color::Black),
    ("red", Color::Red),
    ("green", Color::Green),
    ("yellow", Color::Yellow),
    ("blue", Color::Blue),
    ("magenta", Color::Magenta),
    ("cyan", Color::Cyan),
    ("gray", Color::Gray),
    ("bright-black", Color::DarkGray),
    ("bright-red", Color::LightRed),
    ("bright-green", Color::LightGreen),
    ("bright-yellow", Color::LightYellow),
    ("bright-blue", Color::LightBlue),
    ("bright-magenta", Color::LightMagenta),
    ("bright-cyan", Color::LightCyan),
    ("white", Color::White),
];

/// The colour a text stands for: `None` if for none, `Some(None)` for the terminal's own.
#[allow(clippy::option_option, reason = "no color and the terminal's own color are two answers")]
pub(super) fn color(
    text: &str,
    palette: &BTreeMap<String, PaletteColor>,
    depth: ColorDepth,
) -> Option<Option<Color>> {
    match palette.get(text) {
        Some(PaletteColor::WithAnsi { ansi, .. }) if depth == ColorDepth::Ansi => plain(ansi, depth),
        Some(PaletteColor::WithAnsi { rgb, .. }) => plain(rgb, depth),
        Some(PaletteColor::Plain(value)) => plain(value, depth),
        None => plain(text, depth),
    }
}

#[allow(clippy::option_option, reason = "see color")]
fn plain(text: &str, depth: ColorDepth) -> Option<Option<Color>> {
    if text == "default" {
        return Some(None);
    }
    let found = match text.strip_prefix('#') {
        Some(hex) => reduce(rgb(hex)?, depth),
        None => Some(ANSI.iter().find(|(name, _)| *name == text)?.1),
    };
    Some(found.filter(|_| depth != ColorDepth::None))
}

fn rgb(hex: &str) -> Option<[u8; 3]> {
    let value = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 6)?;
    let [_, r, g, b] = value.to_be_bytes();
    Some([r, g, b])
}

/// The nearest colour there is. On 16 colours that is the terminal's own: which of its 16 is readable on its
/// background cannot be known from a colour, only from a theme that says so.
fn reduce([r, g, b]: [u8; 3], depth: ColorDepth) -> Option<Color> {
    match depth {
        ColorDepth::True => Some(Color::Rgb(r, g, b)),
        ColorDepth::Indexed => Some(Color::Indexed(indexed([r, g, b]))),
        ColorDepth::Ansi | ColorDepth::None => None,
    }
}

/// The nearest of xterm's 240 fixed colours: a cube of 6 levels each, and 24 grays.
fn indexed(rgb: [u8; 3]) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance =
        |other: [u8; 3]| -> u32 { rgb.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
    let cube = (0..216u8).map(|n| {
        let level = |n: u8| LEVELS.get(usize::from(n % 6)).copied().unwrap_or_default();
        (16 + n, [level(n / 36), level(n / 6), level(n)])
    });
    let grays = (0..24u8).map(|n| (232 + n, [8 + 10 * n; 3]));
    cube.chain(grays).min_by_key(|(_, color)| distance(*color)).map_or(16, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(no_color: &str, colorterm: &str, term: &str) -> ColorEnvironment {
        let some = |text: &str| Some(text.to_owned());
        ColorEnvironment { no_color: some(no_color), colorterm: some(colorterm), term: some(term) }
    }

    #[test]
    fn the_environment_tells_the_depth() {
        assert_eq!(environment("", "truecolor", "xterm-256color").depth(), ColorDepth::True);
        assert_eq!(environment("", "", "tmux-256color").depth(), ColorDepth::Indexed);
        assert_eq!(environment("", "", "xterm").depth(), ColorDepth::Ansi);
        assert_eq!(environment("1", "truecolor", "xterm").depth(), ColorDepth::None);
        assert_eq!(environment("", "truecolor", "dumb").depth(), ColorDepth::None);
        for term in ["vt100", "vt220-8bit", "vt52", "linux-m", "xterm-mono"] {
            assert_eq!(environment("", "", term).depth(), ColorDepth::None, "{term}");
        }
        assert_eq!(environment("", "", "vte-256color").depth(), ColorDepth::Indexed);
        assert_eq!(ColorEnvironment::default().depth(), ColorDepth::Ansi);
    }

    #[test]
    fn a_color_becomes_the_nearest_there_is() {
        assert_eq!(indexed([255, 0, 0]), 196);
        assert_eq!(indexed([0x80, 0x80, 0x80]), 244);
        let none = BTreeMap::new();
        assert_eq!(color("#ff0000", &none, ColorDepth::Ansi), Some(None));
        assert_eq!(color("red", &none, ColorDepth::Ansi), Some(Some(Color::Red)));
        assert_eq!(color("red", &none, ColorDepth::None), Some(None));
        assert_eq!(color("#ff00", &none, ColorDepth::True), None);
        assert_eq!(color("reddish", &none, ColorDepth::True), None);
    }
}
