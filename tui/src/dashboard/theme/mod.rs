//! How the dashboard looks: styles by what they are for, read from `themes/*.toml`.
//!
//! A theme names colours once in its palette and uses them in its styles; it can inherit another and change a part of
//! it. What is wrong with one is told and left out: a fault in a theme never keeps the dashboard from starting.

mod color;
mod detect;
mod file;

use std::collections::BTreeMap;

use ratatui::style::Style;

pub use color::{ColorDepth, ColorEnvironment};
pub use detect::Background;
pub use file::ThemeFile;

/// One style per purpose, ready to draw with.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Theme {
    /// The name it was asked for by.
    pub name: String,
    /// Whether it has no colours: then panes show none either.
    pub mono: bool,
    /// What is to be read.
    pub text: Style,
    /// What is there when looked for: labels, ages, hints.
    pub dim: Style,
    /// Names of columns and sections.
    pub heading: Style,
    /// What belongs to lap itself: its name, the current list, the current place.
    pub accent: Style,
    /// The selected row.
    pub selection: Style,
    /// Lines around things.
    pub border: Style,
    /// Lines around what the keys go to.
    pub border_focus: Style,
    /// It is well: ready, connected, done.
    pub ok: Style,
    /// It is under way.
    pub busy: Style,
    /// It wants a person.
    pub attention: Style,
    /// It failed.
    pub error: Style,
    /// A key one can press.
    pub key: Style,
    /// A field one can type into.
    pub input: Style,
    /// Letters that match what was typed.
    pub matched: Style,
}

const BUILT_IN: &[(&str, &str)] = &[
    ("dark", include_str!("../../../../themes/dark.toml")),
    ("light", include_str!("../../../../themes/light.toml")),
    ("mono", include_str!("../../../../themes/mono.toml")),
    ("plain", include_str!("../../../../themes/plain.toml")),
];

/// The longest line of inheritance.
const MAX_ANCESTORS: usize = 8;

/// The themes there are: those that come with lap, and a person's own over them.
#[derive(Clone, Debug, Default)]
pub struct Themes {
    own: BTreeMap<String, String>,
}

impl Themes {
    /// The built-in themes and `own`, by name.
    #[must_use]
    pub fn new(own: BTreeMap<String, String>) -> Themes {
        Themes { own }
    }

    /// Those of a directory: every `<name>.toml` in it. A directory that is not there has none.
    #[must_use]
    pub fn in_directory(directory: &std::path::Path) -> (Themes, Vec<String>) {
        let mut own = BTreeMap::new();
        let mut warnings = Vec::new();
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if path.extension().is_some_and(|extension| extension == "toml") {
                match std::fs::read_to_string(&path) {
                    Ok(text) => drop(own.insert(name.to_owned(), text)),
                    Err(error) => warnings.push(format!("theme {name}: {error}")),
                }
            }
        }
        (Themes { own }, warnings)
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let built_in = BUILT_IN.iter().map(|(name, _)| *name);
        let own = self.own.keys().map(String::as_str).filter(|name| BUILT_IN.iter().all(|(b, _)| b != name));
        built_in.chain(own).collect()
    }

    /// The theme of that name in the colours the terminal has, and what was wrong with it. An unknown one gives the
    /// dark one; where there are no colours every name gives the mono one.
    #[must_use]
    pub fn theme(&self, name: &str, depth: ColorDepth) -> (Theme, Vec<String>) {
        let mut warnings = Vec::new();
        let mono = depth == ColorDepth::None;
        let file = self.merged(if mono { "mono" } else { name }, &mut warnings);
        let mut theme = file.resolve(depth, &mut warnings);
        theme.name = name.to_owned();
        theme.mono = mono || name == "mono";
        (theme, warnings)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let built_in = || BUILT_IN.iter().find(|(of, _)| *of == name).map(|(_, text)| *text);
        self.own.get(name).map(String::as_str).or_else(built_in)
    }

    fn merged(&self, name: &str, warnings: &mut Vec<String>) -> ThemeFile {
        let mut line = Vec::new();
        let mut next = Some(name.to_owned());
        let mut files = Vec::new();
        while let Some(name) = next.take() {
            // One's own `dark` that inherits `dark` means the built-in one.
            let own_of_itself = line.last() == Some(&name);
            if (line.contains(&name) && !own_of_itself) || line.len() >= MAX_ANCESTORS {
                warnings.push(format!("theme {name}: inherits itself, over {}", line.join(", ")));
                break;
            }
            let text = if own_of_itself {
                Themes::default().text(&name).map(str::to_owned)
            } else {
                self.text(&name).map(str::to_owned)
            };
            let Some(text) = text else {
                warnings.push(format!("theme {name}: there is none; there are {}", self.names().join(", ")));
                break;
            };
            let file = ThemeFile::parse(&name, &text, warnings);
            next.clone_from(&file.inherits);
            line.push(name);
            files.push(file);
        }
        if files.is_empty() {
            files.push(ThemeFile::parse(
                "dark",
                Themes::default().text("dark").unwrap_or_default(),
                warnings,
            ));
        }
        files.into_iter().reduce(|young, old| young.over(old)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::{Color, Modifier};

    fn own(files: &[(&str, &str)]) -> Themes {
        Themes::new(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn the_built_in_themes_have_no_fault_and_every_style_in_every_depth() {
        for name in Themes::default().names() {
            for depth in [ColorDepth::True, ColorDepth::Indexed, ColorDepth::Ansi, ColorDepth::None] {
                let (theme, warnings) = Themes::default().theme(name, depth);
                assert_eq!(warnings, Vec::<String>::new(), "{name}");
                for style in [theme.selection, theme.key, theme.attention, theme.error, theme.heading] {
                    assert_ne!(style, Style::default(), "{name} {depth:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_hard_white_or_black() {
        // They vanish on terminals whose background they are.
        for name in Themes::default().names() {
            for depth in [ColorDepth::True, ColorDepth::Indexed, ColorDepth::Ansi] {
                let (theme, _) = Themes::default().theme(name, depth);
                for style in [theme.text, theme.dim, theme.heading, theme.accent, theme.border, theme.input] {
                    assert!(!matches!(style.fg, Some(Color::White | Color::Black)), "{name} {depth:?}");
                }
            }
        }
    }

    #[test]
    fn the_mono_theme_has_modifiers_only() {
        let (theme, _) = Themes::default().theme("dark", ColorDepth::None);
        assert!(theme.mono);
        assert!(theme.selection.add_modifier.contains(Modifier::REVERSED));
        for style in [theme.text, theme.dim, theme.accent, theme.error, theme.selection, theme.key] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }

    #[test]
    fn the_plain_theme_puts_no_background_under_the_terminals_letters() {
        for depth in [ColorDepth::True, ColorDepth::Indexed, ColorDepth::Ansi, ColorDepth::None] {
            let (theme, _) = Themes::default().theme("plain", depth);
            assert!(theme.selection.add_modifier.contains(Modifier::REVERSED), "{depth:?}");
            for style in [theme.text, theme.dim, theme.selection, theme.input, theme.matched, theme.attention]
            {
                assert_eq!(style.bg, None, "{depth:?}");
            }
        }
    }

    #[test]
    fn a_theme_changes_a_part_of_another() {
        let themes = own(&[(
            "mine",
            "inherits = \"dark\"\n[palette]\nred = \"#ff0000\"\n[styles]\nkey = { fg = \"red\" }",
        )]);
        let (mine, warnings) = themes.theme("mine", ColorDepth::True);
        let (dark, _) = themes.theme("dark", ColorDepth::True);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(mine.key.fg, Some(Color::Rgb(255, 0, 0)));
        assert_eq!(
            mine.error.fg,
            Some(Color::Rgb(255, 0, 0)),
            "a colour of the palette reaches inherited styles"
        );
        assert_eq!(mine.accent, dark.accent);
    }

    #[test]
    fn faults_of_a_theme_are_told_and_left_out() {
        let themes = own(&[
            ("a", "inherits = \"b\""),
            ("b", "inherits = \"a\""),
            (
                "typo",
                "inherits = \"dark\"\n[styles]\nkye = { fg = \"red\" }\nkey = { fg = \"no-such-color\" }",
            ),
            ("broken", "[styles"),
        ]);
        let (_, warnings) = themes.theme("a", ColorDepth::True);
        assert_eq!(warnings, ["theme a: inherits itself, over a, b"]);
        let (typo, warnings) = themes.theme("typo", ColorDepth::True);
        assert_eq!(
            warnings,
            ["theme typo: styles.kye is not known", "styles.key: \"no-such-color\" is no color"]
        );
        assert_eq!(typo.key.fg, None);
        let (_, warnings) = themes.theme("broken", ColorDepth::True);
        assert!(warnings[0].starts_with("theme broken: "), "{warnings:?}");
        let (unknown, warnings) = themes.theme("drak", ColorDepth::True);
        assert_eq!(unknown.accent, themes.theme("dark", ColorDepth::True).0.accent);
        assert!(warnings[0].contains("there are dark, light, mono, plain, a, b"), "{warnings:?}");
    }

    #[test]
    fn the_schema_of_themes_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../themes/schema.json");
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(ThemeFile)).unwrap() + "\n";
        if std::env::var_os("LAP_UPDATE_DOCS").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, schema, "LAP_UPDATE_DOCS=1 cargo test -p lap-tui writes themes/schema.json anew");
    }
}
