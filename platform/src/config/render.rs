//! What is in force, as text for people: each value with its origin, secrets masked.

use std::fmt::Write;

use super::layers::{Given, Layers};
use super::{Config, SETTINGS, Setting};
use crate::secret::mask;

/// Where the remarks about origins begin, in columns.
const REMARK: usize = 56;

pub(super) fn render(config: &Config, layers: &Layers) -> String {
    let mut out = String::new();
    let dirs = &config.dirs;
    let file = layers.file.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# configuration file: {file}");
    let _ = writeln!(out, "# directories: config {}, data {}", dirs.config.display(), dirs.data.display());
    let _ =
        writeln!(out, "#              state {}, runtime {}", dirs.state.display(), dirs.runtime.display());
    for (key, setting) in
        SETTINGS.iter().filter(|setting| !setting.key.contains('.')).map(|one| (one.key, one))
    {
        line(&mut out, key, setting, layers);
    }
    let mut section = "";
    for setting in SETTINGS {
        let Some((own, key)) = setting.key.split_once('.') else { continue };
        if own != section {
            section = own;
            let _ = writeln!(out, "\n[{section}]");
        }
        line(&mut out, key, setting, layers);
    }
    for (table, named) in &layers.named {
        let _ = writeln!(out, "\n[{table}]");
        for (name, (value, origin)) in named {
            // What goes into containers may be a credential as well as not: it is shown as one.
            let shown = if *table == "container_env" { mask(value) } else { value.clone() };
            remark(&mut out, &format!("{name} = {}", quoted(&shown)), &origin.to_string());
        }
    }
    for (table, contents) in [("ui.keys", &layers.keys), ("harness", &layers.harnesses)] {
        if !contents.is_empty() {
            let names: Vec<_> = contents.keys().map(String::as_str).collect();
            let _ = writeln!(out, "\n# [{table}]: {}", names.join(", "));
        }
    }
    out
}

fn line(out: &mut String, key: &str, setting: &Setting, layers: &Layers) {
    match layers.values.get(setting.key) {
        Some((given, origin)) => {
            remark(out, &format!("{key} = {}", shown(given, setting)), &origin.to_string())
        }
        None if setting.default.is_empty() => remark(out, &format!("# {key} ="), setting.about),
        None => remark(out, &format!("{key} = {}", value(setting.default)), "default"),
    }
}

fn shown(given: &Given, setting: &Setting) -> String {
    match given {
        Given::Text(text) if setting.key == "database.url" => quoted(&without_password(text)),
        Given::Text(text) if setting.secret => quoted(&mask(text)),
        Given::Text(text) => value(text),
        Given::Items(items) => {
            let items: Vec<_> = items.iter().map(|item| quoted(item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

fn remark(out: &mut String, line: &str, remark: &str) {
    let _ = writeln!(out, "{line:<REMARK$} # {remark}");
}

fn value(text: &str) -> String {
    let bare = text.parse::<i64>().is_ok() || matches!(text, "true" | "false");
    if bare { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A database's URL is worth seeing, its password is not.
fn without_password(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    match reqwest::Url::parse(url) {
        Ok(mut parsed) => {
            let hidden = parsed.password().is_none() || parsed.set_password(Some("…")).is_ok();
            parsed.set_query(None);
            if hidden { parsed.to_string() } else { "…".to_owned() }
        }
        Err(_) => "…".to_owned(),
    }
}
