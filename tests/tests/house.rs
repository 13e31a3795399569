//! What holds for the whole tree: the directions between crates, what it depends on, the size of its files, and where
//! the environment is read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Beyond this a file is two ideas.
const MAX_LINES: usize = 600;

/// Who may depend on whom inside the house; a crate that is not listed may depend on none of it.
const ARROWS: [(&str, &[&str]); 7] = [
    ("lap-wire", &[]),
    ("lap-vt", &[]),
    ("lap-keeper", &["lap-vt", "lap-wire"]),
    // The keeper's library gives the client its socket address; a sandbox's keeper is this program run again.
    ("lap-platform", &["lap-keeper", "lap-wire"]),
    ("lap-attach-server", &["lap-keeper", "lap-platform", "lap-wire"]),
    ("lap-tui", &["lap-attach-server", "lap-keeper", "lap-platform", "lap-vt", "lap-wire"]),
    ("lap-tests", &["lap-platform", "lap-vt", "lap-wire"]),
];

/// Licences whose terms a program under MIT can be shipped with.
const LICENCES: [&str; 15] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
    "Unicode-DFS-2016",
];

/// One TLS stack (rustls with ring), one async runtime (tokio), one of each job.
const BANNED: [(&str, &str); 9] = [
    ("openssl", "a second TLS stack"),
    ("native-tls", "a second TLS stack"),
    ("aws-lc-rs", "a second provider for the TLS stack"),
    ("async-std", "a second async runtime"),
    ("async-io", "a second async runtime"),
    ("smol", "a second async runtime"),
    ("chrono", "a second time crate"),
    ("time", "a second time crate"),
    ("tokio-openssl", "a second TLS stack"),
];

/// Those of them that a library brings for itself and nothing of ours may use: chrono is in the types of rmcp.
const UNDERNEATH: [&str; 1] = ["chrono"];

/// What our own crates ask for by name.
fn of_ours() -> BTreeSet<String> {
    let metadata = metadata();
    let ours = list(&metadata["packages"]).filter(|package| text(package, "name").starts_with("lap-"));
    ours.flat_map(|package| list(&package["dependencies"])).map(|dep| text(dep, "name").to_owned()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The packages that our programs are built from, with their licences, as cargo resolves their features.
fn shipped() -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}|{l}", "-p", "lap-tui", "-p", "lap-attach-server", "-p", "lap-keeper"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let lines = String::from_utf8(output.stdout).expect("cargo tree is UTF-8");
    let packages: BTreeSet<(String, String)> = lines
        .lines()
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .map(|(package, licence)| {
            (package.split(' ').next().unwrap_or(package).to_owned(), licence.to_owned())
        })
        .collect();
    assert!(packages.len() > 100, "{}", String::from_utf8_lossy(&output.stderr));
    packages.into_iter().collect()
}

#[test]
fn arrows_between_crates_point_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for package in list(&metadata["packages"]).filter(|p| text(p, "name").starts_with("lap-")) {
        let name = text(package, "name");
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} has no place in the house"));
        for dep in list(&package["dependencies"]) {
            let to = text(dep, "name");
            let only_for_tests = dep["kind"].as_str() == Some("dev");
            assert!(
                !to.starts_with("lap-") || only_for_tests || allowed.contains(&to),
                "{name} depends on {to}: that arrow is not in the design"
            );
        }
    }
}

#[test]
fn one_of_each_and_every_licence_fits() {
    for (name, licence) in shipped() {
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            let excused = UNDERNEATH.contains(&name.as_str()) && !of_ours().contains(&name);
            assert!(excused, "{name} would be {why}");
        }
        // `A OR B` needs one that fits, `A AND B` all of them; parentheses nest no deeper than one level.
        let fits = |word: &str| {
            let word = word.trim_matches(['(', ')', ' ']);
            LICENCES.contains(&word.split(" WITH ").next().unwrap_or(word))
        };
        let any = |part: &str| part.replace('/', " OR ").split(" OR ").any(fits);
        assert!(licence.split(" AND ").all(any), "{name} is under `{licence}`");
    }
}

fn tracked(ends: &str) -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", ends]).current_dir(root()).output().expect("git runs");
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    let files: Vec<PathBuf> =
        names.lines().map(|name| root().join(name)).filter(|path| path.exists()).collect();
    assert!(!files.is_empty(), "git lists no {ends}");
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn no_source_file_has_more_than_600_lines() {
    let long: Vec<_> = tracked("*.rs")
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "split by idea: {long:?}");
}

#[test]
fn every_source_file_opens_by_saying_what_it_is_for() {
    let silent: Vec<_> = tracked("*.rs").into_iter().filter(|path| !read(path).starts_with("//! ")).collect();
    assert!(silent.is_empty(), "begin with `//!`: {silent:?}");
}

#[test]
fn what_the_map_names_is_there() {
    // Paths are given from the top, or from one of the crates' sources, with or without their ending.
    let bases = ["", "attach-server/src", "platform/src", "platform/src/session", "tui/src", "docs"];
    let map = read(&root().join("docs/architecture.md"));
    let words = map.split('`').skip(1).step_by(2);
    let paths = words.filter(|word| word.contains('/') || word.ends_with(".rs"));
    let is_path = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c));
    for path in paths.filter(is_path) {
        let there = bases.iter().any(|base| {
            let path = root().join(base).join(path);
            path.exists() || path.with_extension("rs").exists()
        });
        assert!(there, "docs/architecture.md names {path}");
    }
}

#[test]
fn only_the_configuration_reads_the_environment() {
    let reads = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("];
    // What a test harness is told, and what a keeper starts programs with, are not configuration.
    let exempt = ["platform/src/config/", "/tests/", "/benches/", "/fuzz/", "tests/src/"];
    for path in tracked("*.rs") {
        let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
        if exempt.iter().any(|part| name.starts_with(part) || name.contains(part)) {
            continue;
        }
        let source = read(&path);
        for (number, line) in source.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]") {
            let code = line.split("//").next().unwrap_or_default();
            assert!(
                !reads.iter().any(|read| code.contains(read)),
                "{name}:{}: only platform/src/config reads the environment",
                number + 1
            );
        }
    }
}

#[test]
fn every_crate_keeps_the_lints_and_unsafe_code_gives_its_reason() {
    for path in tracked("*Cargo.toml") {
        let manifest = read(&path);
        let member = !path.to_string_lossy().contains("/fuzz/") && manifest.contains("[package]");
        assert!(!member || manifest.contains("[lints]\nworkspace = true"), "{}", path.display());
    }
    for path in tracked("*.rs") {
        let source = read(&path);
        let lines: Vec<&str> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(concat!("unsafe", " {")) {
                let above = lines[at.saturating_sub(6)..=at].iter().any(|line| line.contains("SAFETY:"));
                assert!(above, "{}:{}: an unsafe block without its SAFETY reason", path.display(), at + 1);
            }
        }
    }
}

#[test]
fn the_top_level_is_what_the_design_says() {
    let output = Command::new("git")
        .args(["ls-tree", "--name-only", "HEAD"])
        .current_dir(root())
        .output()
        .expect("git runs");
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "tui",
        "attach-server",
        "platform",
        "themes",
        "docs",
        "tests",
        "README.md",
        "LICENSE",
        "clippy.toml",
        "rustfmt.toml",
        "rust-toolchain.toml",
    ];
    for name in names.lines().filter(|name| !name.starts_with('.')) {
        assert!(known.contains(&name), "{name} has no place at the top level");
    }
}
