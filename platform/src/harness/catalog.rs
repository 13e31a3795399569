//! All harnesses there are: the built-in ones, those of files and those of the configuration, laid over each other.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::Harness;

/// The files built in, by name.
const BUILT_IN: [(&str, &str); 8] = [
    ("shell.toml", include_str!("../../harnesses/shell.toml")),
    ("claude-code.toml", include_str!("../../harnesses/claude-code.toml")),
    ("claude-agent-sdk.toml", include_str!("../../harnesses/claude-agent-sdk.toml")),
    ("codex.toml", include_str!("../../harnesses/codex.toml")),
    ("opencode.toml", include_str!("../../harnesses/opencode.toml")),
    ("gemini.toml", include_str!("../../harnesses/gemini.toml")),
    ("hermes.toml", include_str!("../../harnesses/hermes.toml")),
    ("custom.toml", include_str!("../../harnesses/custom.toml")),
];

/// All harnesses, the built-in ones first and in the order they are offered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catalog {
    harnesses: Vec<Harness>,
}

/// Everything that is wrong with the harnesses as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CatalogFaults(Vec<String>);

impl CatalogFaults {
    /// One by one, each with the file or table it is in.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for CatalogFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for CatalogFaults {}

/// One harness's table as it grows layer by layer, and where its parts come from.
struct Draft {
    sources: Vec<String>,
    table: toml::Table,
}

impl Catalog {
    /// The built-in harnesses alone.
    ///
    /// # Errors
    /// Never in a program that passed its tests.
    pub fn built_in() -> Result<Catalog, CatalogFaults> {
        Catalog::load(None, &toml::Table::new())
    }

    /// All layers: built in, `harnesses/*.toml` below the configuration directory, and `[harness.<id>]` tables of the
    /// configuration.
    ///
    /// # Errors
    /// Every fault of every layer.
    pub fn load(config_dir: Option<&Path>, tables: &toml::Table) -> Result<Catalog, CatalogFaults> {
        let mut loader = Loader::default();
        for (name, text) in BUILT_IN {
            loader.file(name, text);
        }
        if let Some(dir) = config_dir {
            loader.folder(&dir.join("harnesses"));
        }
        for (id, table) in tables {
            loader.table(id, table);
        }
        loader.finish()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Harness> {
        self.harnesses.iter()
    }

    /// The one of that id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Harness> {
        self.harnesses.iter().find(|harness| harness.id == id)
    }

    /// All ids, for messages.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.harnesses.iter().map(|harness| harness.id.as_str()).collect()
    }
}

#[derive(Default)]
struct Loader {
    order: Vec<String>,
    drafts: BTreeMap<String, Draft>,
    faults: Vec<String>,
}

impl Loader {
    fn folder(&mut self, folder: &Path) {
        let names = match fs::read_dir(folder) {
            Ok(entries) => entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(error),
        };
        let mut paths = match names {
            Ok(paths) => paths,
            Err(error) => return self.faults.push(format!("{}: {error}", folder.display())),
        };
        paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
        paths.sort();
        for path in paths {
            let source = path.display().to_string();
            match fs::read_to_string(&path) {
                Ok(text) => self.file(&source, &text),
                Err(error) => self.faults.push(format!("{source}: {error}")),
            }
        }
    }

    fn file(&mut self, source: &str, text: &str) {
        match text.parse::<toml::Table>() {
            Ok(table) => match table.get("id").and_then(toml::Value::as_str).map(str::to_owned) {
                Some(id) => self.lay(&id, source, table),
                None => self.faults.push(format!("{source}: id is missing")),
            },
            Err(error) => self.faults.push(format!("{source}: {}", error.to_string().trim_end())),
        }
    }

    fn table(&mut self, id: &str, table: &toml::Value) {
        let source = format!("[harness.{id}]");
        let Some(table) = table.as_table() else {
            return self.faults.push(format!("{source}: must be a table"));
        };
        let mut table = table.clone();
        match table.insert("id".to_owned(), id.into()) {
            Some(other) if other.as_str() != Some(id) => {
                self.faults.push(format!("{source}: its id is the table's name and cannot be another"));
            }
            _ => self.lay(id, &source, table),
        }
    }

    fn lay(&mut self, id: &str, source: &str, table: toml::Table) {
        let draft = self.drafts.entry(id.to_owned()).or_insert_with(|| {
            self.order.push(id.to_owned());
            Draft { sources: Vec::new(), table: toml::Table::new() }
        });
        draft.sources.push(source.to_owned());
        merge(&mut draft.table, table);
    }

    fn finish(mut self) -> Result<Catalog, CatalogFaults> {
        let mut harnesses = Vec::new();
        for id in &self.order {
            let Some(draft) = self.drafts.remove(id) else { continue };
            // The layer that was laid on last is the one somebody has just edited.
            let source = draft.sources.last().cloned().unwrap_or_default();
            let mut faults = Vec::new();
            match Harness::deserialize(toml::Value::Table(draft.table.clone())) {
                Ok(harness) => {
                    faults = harness.faults();
                    harnesses.push(harness);
                }
                Err(error) => faults.extend(each_fault(&draft.table, &error)),
            }
            self.faults.extend(faults.into_iter().map(|fault| format!("{source}: {fault}")));
        }
        if self.faults.is_empty() { Ok(Catalog { harnesses }) } else { Err(CatalogFaults(self.faults)) }
    }
}

/// A deserializer stops at the first fault. Judging the fields one by one finds one in each.
fn each_fault(table: &toml::Table, first: &toml::de::Error) -> Vec<String> {
    let mut faults: Vec<String> = Vec::new();
    for (key, value) in table {
        // A harness with nothing but what must be there, and this field.
        let mut alone = toml::Table::from_iter([
            ("id".to_owned(), "x".into()),
            ("name".to_owned(), "x".into()),
            ("family".to_owned(), toml::Value::Array(vec!["terminal".into()])),
        ]);
        alone.insert(key.clone(), value.clone());
        if let Err(error) = Harness::deserialize(toml::Value::Table(alone)) {
            faults.push(format!("{key}: {}", error.to_string().trim_end()));
        }
    }
    let missing = ["id", "name", "family"].into_iter().filter(|key| !table.contains_key(*key));
    faults.extend(missing.map(|key| format!("{key} is missing")));
    if faults.is_empty() {
        faults.push(first.to_string().trim_end().to_owned());
    }
    faults
}

/// Tables are laid over each other field by field; everything else is replaced.
fn merge(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn the_built_in_files_are_a_catalog() {
        let catalog = Catalog::built_in().unwrap();
        assert_eq!(
            catalog.ids(),
            ["shell", "claude-code", "claude-agent-sdk", "codex", "opencode", "gemini", "hermes", "custom"]
        );
        assert!(catalog.iter().all(|harness| harness.supports_tui()));
        assert!(catalog.get("nothing").is_none());
    }

    #[test]
    fn a_layer_replaces_what_it_names_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("harnesses")).unwrap();
        fs::write(
            dir.path().join("harnesses/codex.toml"),
            "id = 'codex'\ncommand = ['codex', '--no-alt-screen']\n",
        )
        .unwrap();
        fs::write(
            dir.path().join("harnesses/mine.toml"),
            "id = 'mine'\nname = 'Mine'\nfamily = ['terminal']\n",
        )
        .unwrap();
        fs::write(dir.path().join("harnesses/notes.txt"), "not a harness").unwrap();
        let own = tables(
            "[claude-code.gateway.env]\nANTHROPIC_AUTH_TOKEN = 'other'\n[custom]\ncommand = ['agent']\n",
        );
        let catalog = Catalog::load(Some(dir.path()), &own).unwrap();
        let codex = catalog.get("codex").unwrap();
        assert_eq!(codex.command, ["codex", "--no-alt-screen"]);
        assert_eq!(codex.instructions_file.as_deref(), Some("AGENTS.md"));
        let claude = &catalog.get("claude-code").unwrap().gateway.env;
        assert_eq!(claude["ANTHROPIC_AUTH_TOKEN"], "other");
        assert_eq!(claude["ANTHROPIC_BASE_URL"], "{api_base}");
        assert_eq!(catalog.get("custom").unwrap().command, ["agent"]);
        assert_eq!(catalog.ids().last(), Some(&"mine"));
    }

    #[test]
    fn all_faults_are_named_at_once_with_their_places() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("harnesses")).unwrap();
        fs::write(dir.path().join("harnesses/a.toml"), "name = 'no id'\n").unwrap();
        fs::write(dir.path().join("harnesses/b.toml"), "id = [\n").unwrap();
        let own = tables(
            "codex = 1\n[gemini]\ncolour = 'red'\ncommand = 'not a list'\n[Mine]\nname = 'Mine'\nfamily = []\n[other]\nid = 'x'\n",
        );
        let faults = Catalog::load(Some(dir.path()), &own).unwrap_err();
        for (place, words) in [
            ("a.toml", "id is missing"),
            ("b.toml", "TOML parse error"),
            ("[harness.codex]", "must be a table"),
            ("[harness.gemini]", "colour"),
            ("[harness.gemini]", "command"),
            ("[harness.Mine]", "id:"),
            ("[harness.Mine]", "family:"),
            ("[harness.other]", "cannot be another"),
        ] {
            assert!(
                faults.faults().iter().any(|f| f.contains(place) && f.contains(words)),
                "{place} {words} is not in:\n{faults}"
            );
        }
    }
}
