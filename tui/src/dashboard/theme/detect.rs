//! Which theme fits the terminal's background.

use crate::panes::HostColors;

/// The terminal's background.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Background {
    /// Dark.
    Dark,
    /// Light.
    Light,
    /// The terminal does not say.
    #[default]
    Unknown,
}

impl Background {
    /// The background of a terminal with those colours: light if it is lighter than the text on it. Where it does not
    /// tell them, `COLORFGBG` counts.
    #[must_use]
    pub fn of(colors: &HostColors, colorfgbg: Option<&str>) -> Background {
        let Some(ground) = colors.background else {
            return colorfgbg.map_or(Background::Unknown, Background::of_colorfgbg);
        };
        let text = colors.foreground.map_or(MIDDLE, lightness);
        if lightness(ground) > text { Background::Light } else { Background::Dark }
    }

    /// rxvt's `foreground;background` (with a `default` between them where it has pictures), as numbers of its 16
    /// colours. Which of them are dark is vim's reading of it.
    fn of_colorfgbg(value: &str) -> Background {
        match value.rsplit(';').next().and_then(|ground| ground.parse::<u8>().ok()) {
            Some(0..=6 | 8) => Background::Dark,
            Some(7 | 9..=15) => Background::Light,
            _ => Background::Unknown,
        }
    }

    /// The theme that fits it.
    #[must_use]
    pub fn theme(self) -> &'static str {
        match self {
            Background::Dark => "dark",
            Background::Light => "light",
            Background::Unknown => "plain",
        }
    }
}

/// Between black and white, as [`lightness`] counts.
const MIDDLE: u32 = 127_500;

/// How light a colour looks: the weights of its parts are those of Rec. 709, in thousandths.
fn lightness((red, green, blue): (u8, u8, u8)) -> u32 {
    213 * u32::from(red) + 715 * u32::from(green) + 72 * u32::from(blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_theme_fits_the_background() {
        let colors = |foreground, background| HostColors { foreground, background };
        let theme = |colors: HostColors| Background::of(&colors, Some("0;15")).theme();
        assert_eq!(theme(colors(Some((0, 0, 0)), Some((255, 255, 255)))), "light");
        assert_eq!(theme(colors(Some((0x65, 0x7b, 0x83)), Some((0xfd, 0xf6, 0xe3)))), "light");
        assert_eq!(theme(colors(Some((200, 200, 200)), Some((20, 20, 60)))), "dark");
        assert_eq!(theme(colors(None, Some((255, 255, 255)))), "light");
        assert_eq!(theme(colors(None, Some((0, 43, 54)))), "dark", "what the terminal says goes before");
    }

    #[test]
    fn where_the_terminal_is_silent_the_variable_says_it_or_nothing_is_assumed() {
        let silent = HostColors::default();
        for (value, theme) in [
            ("0;15", "light"),
            ("0;default;15", "light"),
            ("0;7", "light"),
            ("15;0", "dark"),
            ("7;default;8", "dark"),
            ("default;default", "plain"),
            ("15;", "plain"),
            ("", "plain"),
            ("0;900", "plain"),
        ] {
            assert_eq!(Background::of(&silent, Some(value)).theme(), theme, "{value}");
        }
        assert_eq!(Background::of(&silent, None).theme(), "plain");
    }
}
