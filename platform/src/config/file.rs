//! The configuration file: TOML into keys and values, with their lines.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Fault;
use super::layers::{Given, Layers, Origin};
use super::settings::{OPEN_TABLES, SETTINGS, find, nearest};

/// Takes what a file says, and notes everything that is wrong with it: syntax as far as the parser can go on after a
/// fault, unknown names, and values that no setting can have.
pub(super) fn take(text: &str, path: &Path, layers: &mut Layers, faults: &mut Vec<Fault>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, path, layers, faults };
    let broken = !errors.is_empty();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.fault(at, error.message().to_owned());
    }
    // After a syntax fault the tables may be cut: names in them are still worth a look, values of the user's own not.
    reader.table("", document.get_ref());
    if !broken && let Ok(mut whole) = text.parse::<toml::Table>() {
        if let Some(toml::Value::Table(harnesses)) = whole.remove("harness") {
            reader.layers.harnesses = harnesses;
        }
        if let Some(toml::Value::Table(mut ui)) = whole.remove("ui")
            && let Some(toml::Value::Table(keys)) = ui.remove("keys")
        {
            reader.layers.keys = keys;
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    layers: &'a mut Layers,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
    }

    fn fault(&mut self, at: usize, message: String) {
        let origin = Origin::File { path: self.path.to_owned(), line: self.line(at) };
        self.faults.push(Fault { origin: Some(origin), message });
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table.iter() {
            let at = name.span().start;
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            if let Some(open) = OPEN_TABLES.iter().find(|open| **open == key) {
                self.open_table(open, value);
            } else if let DeValue::Table(inner) = value.get_ref()
                && SETTINGS.iter().any(|setting| inside(setting.key, &key))
            {
                self.table(&key, inner);
            } else if let Some(setting) = find(&key) {
                match given(value) {
                    Some(given) => {
                        let line = self.line(at);
                        self.layers.put(setting.key, given, self.path, line);
                    }
                    None => {
                        let message = format!("{key} cannot be a {}", value.get_ref().type_str());
                        self.fault(at, message);
                    }
                }
            } else {
                self.unknown(at, &key, prefix);
            }
        }
    }

    fn unknown(&mut self, at: usize, key: &str, prefix: &str) {
        let sections =
            SETTINGS.iter().filter_map(|setting| setting.key.split_once('.')).map(|(section, _)| section);
        let known = SETTINGS.iter().map(|setting| setting.key).chain(OPEN_TABLES.iter().copied());
        // A good name in the wrong section is told by its last part.
        let last = key.rsplit('.').next().unwrap_or(key);
        let elsewhere = || {
            SETTINGS
                .iter()
                .map(|setting| setting.key)
                .find(|known| known.rsplit('.').next() == Some(last) && !inside(known, prefix))
        };
        let near = if prefix.is_empty() { nearest(key, sections) } else { None };
        let near = near.or_else(|| nearest(key, known)).or_else(elsewhere);
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        self.fault(at, format!("there is no setting {key}{hint}"));
    }

    fn open_table(&mut self, open: &'static str, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = value.get_ref() else {
            self.fault(value.span().start, format!("{open} must be a table"));
            return;
        };
        // The other two are kept as they are, for those who know what is in them.
        if !matches!(open, "container_env" | "kubernetes.harness_images") {
            return;
        }
        for (name, value) in table.iter() {
            match given(value) {
                Some(Given::Text(text)) => {
                    let origin =
                        Origin::File { path: self.path.to_owned(), line: self.line(name.span().start) };
                    let named = self.layers.named.entry(open).or_default();
                    named.insert(name.get_ref().to_string(), (text, origin));
                }
                _ => self.fault(name.span().start, format!("{open}.{} must be text", name.get_ref())),
            }
        }
    }
}

/// Whether a setting's dotted name lies in a section.
fn inside(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

fn given(value: &Spanned<DeValue<'_>>) -> Option<Given> {
    match value.get_ref() {
        DeValue::Array(items) => {
            items.iter().map(|item| text(item.get_ref())).collect::<Option<_>>().map(Given::Items)
        }
        other => text(other).map(Given::Text),
    }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            // A number too large for 64 bits is kept in words and refused with the setting's own range.
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Some(parsed.map_or_else(|_| number.as_str().to_owned(), |parsed| parsed.to_string()))
        }
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}
