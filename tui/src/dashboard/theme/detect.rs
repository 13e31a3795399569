//! Which theme fits the terminal's background.

use crate::panes::HostColors;

/// The terminal's background.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Background {
    /// Dark, or unknown.
    #[default]
    Dark,
    /// Light.
    Light,
}

impl Background {
    /// The background of a terminal with those colours: light if it is lighter than the text on it.
    #[must_use]
    pub fn of(colors: &HostColors) -> Background {
        let (Some(text), Some(ground)) = (colors.foreground, colors.background) else {
            return Background::Dark;
        };
        if lightness(ground) > lightness(text) { Background::Light } else { Background::Dark }
    }

    /// The theme that fits it.
    #[must_use]
    pub fn theme(self) -> &'static str {
        match self {
            Background::Dark => "dark",
            Background::Light => "light",
        }
    }
}

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
        let theme = |colors: HostColors| Background::of(&colors).theme();
        assert_eq!(theme(colors(Some((0, 0, 0)), Some((255, 255, 255)))), "light");
        assert_eq!(theme(colors(Some((0x65, 0x7b, 0x83)), Some((0xfd, 0xf6, 0xe3)))), "light");
        assert_eq!(theme(colors(Some((200, 200, 200)), Some((20, 20, 60)))), "dark");
        assert_eq!(theme(colors(None, Some((255, 255, 255)))), "dark");
        assert_eq!(theme(HostColors::default()), "dark");
    }
}
