//! A theme as it is written.

use std::collections::BTreeMap;

use ratatui::style::{Modifier, Style};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Theme;
use super::color::{ColorDepth, PaletteColor, color};

/// A theme as it is written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(title = "A theme of lap's dashboard", deny_unknown_fields)]
pub struct ThemeFile {
    /// The theme this one changes a part of.
    pub(super) inherits: Option<String>,
    /// Colors by name. A name given here changes that color in the inherited styles too.
    #[serde(default)]
    palette: BTreeMap<String, PaletteColor>,
    /// How things look.
    #[serde(default)]
    styles: Styles,
}

/// One style. What is absent is the terminal's own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct StyleFile {
    /// The letters' color: a name of the palette, `#rrggbb`, or one of the terminal's own 16 (`red`, `bright-red`).
    fg: Option<String>,
    /// The background's color.
    bg: Option<String>,
    #[serde(default)]
    bold: bool,
    #[serde(default)]
    dim: bool,
    #[serde(default)]
    italic: bool,
    #[serde(default)]
    underline: bool,
    /// Letters and background exchanged.
    #[serde(default)]
    reverse: bool,
}

/// The styles of a theme, named as in [`Theme`], which says what each is for.
macro_rules! styles {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
        #[schemars(deny_unknown_fields)]
        struct Styles {
            $($(#[$doc])* $name: Option<StyleFile>,)*
        }

        impl Styles {
            fn over(self, old: Styles) -> Styles {
                Styles { $($name: self.$name.or(old.$name),)* }
            }
        }

        impl ThemeFile {
            /// The styles in the colours there are.
            pub(super) fn resolve(&self, depth: ColorDepth, warnings: &mut Vec<String>) -> Theme {
                Theme {
                    $($name: self.style(stringify!($name), self.styles.$name.as_ref(), depth, warnings),)*
                    ..Theme::default()
                }
            }
        }
    };
}

styles! {
    /// What is to be read.
    text,
    /// What is there when looked for: labels, ages, hints.
    dim,
    /// Names of columns and sections.
    heading,
    /// What belongs to lap itself, and the current place.
    accent,
    /// The selected row.
    selection,
    /// Lines around things.
    border,
    /// Lines around what the keys go to.
    border_focus,
    /// It is well: ready, connected, done.
    ok,
    /// It is under way.
    busy,
    /// It wants a person.
    attention,
    /// It failed.
    error,
    /// A key one can press.
    key,
    /// A field one can type into.
    input,
    /// Letters that match what was typed.
    matched,
}

impl ThemeFile {
    /// Reads a theme; what is wrong with it is told, and the rest of it kept where there is a rest.
    pub(super) fn parse(name: &str, text: &str, warnings: &mut Vec<String>) -> ThemeFile {
        let mut unknown = Vec::new();
        let read = toml::Deserializer::parse(text)
            .and_then(|read| serde_ignored::deserialize(read, |path| unknown.push(path.to_string())));
        warnings.extend(unknown.iter().map(|path| format!("theme {name}: {path} is not known")));
        match read {
            Ok(file) => file,
            Err(error) => {
                warnings.push(format!("theme {name}: {error}"));
                ThemeFile { inherits: (name != "dark").then(|| String::from("dark")), ..ThemeFile::default() }
            }
        }
    }

    /// This one's parts where it has them, the inherited one's elsewhere.
    pub(super) fn over(self, old: ThemeFile) -> ThemeFile {
        let mut palette = old.palette;
        palette.extend(self.palette);
        ThemeFile { inherits: None, palette, styles: self.styles.over(old.styles) }
    }

    fn style(
        &self,
        name: &str,
        file: Option<&StyleFile>,
        depth: ColorDepth,
        warnings: &mut Vec<String>,
    ) -> Style {
        let Some(file) = file else { return Style::default() };
        let mut find = |text: &Option<String>| {
            let text = text.as_deref()?;
            let found = color(text, &self.palette, depth);
            if found.is_none() {
                warnings.push(format!("styles.{name}: {text:?} is no color"));
            }
            found.flatten()
        };
        let (fg, bg) = (find(&file.fg), find(&file.bg));
        let modifiers = [
            (file.bold, Modifier::BOLD),
            (file.dim, Modifier::DIM),
            (file.italic, Modifier::ITALIC),
            (file.underline, Modifier::UNDERLINED),
            (file.reverse, Modifier::REVERSED),
        ];
        let add = modifiers.iter().filter(|(on, _)| *on).fold(Modifier::empty(), |all, (_, m)| all | *m);
        Style { fg, bg, add_modifier: add, ..Style::default() }
    }
}
