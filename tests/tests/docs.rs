//! What the pages for users say is run: every `sh` block of a page, one after the other, as a new user would on a
//! machine with nothing on it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The pages whose commands stand for themselves; others show what to type in the middle of something.
const PAGES: [&str; 3] = ["quick-start.md", "api.md", "memory-and-skills.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// Where the programs are: beside this test's own folder.
fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its path");
    let folder = test.ancestors().nth(2).expect("target/debug/deps").to_owned();
    assert!(folder.join("lap").exists(), "build the programs first: cargo build --workspace --bins");
    folder
}

fn script(page: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs").join(page)).expect("the page is there");
    let mut script = String::from("set -euo pipefail\n");
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    assert!(script.lines().count() > 3, "{page} has no commands");
    script
}

fn run(page: &str) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap_or_default());
    let bash = |script: &str| {
        Command::new("bash")
            .args(["-c", script])
            .current_dir(home.path())
            .env_clear()
            .envs([
                ("PATH", path.as_str()),
                ("LANG", "C.UTF-8"),
                ("SHELL", "/bin/sh"),
                ("TERM", "xterm-256color"),
            ])
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .output()
            .expect("bash runs")
    };
    let done = bash(&script(page));
    // Whatever a page that failed left running.
    bash("lap down --force --yes");
    assert!(
        done.status.success(),
        "{page}: {}\n{}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn the_quick_start_works_as_it_is_written() {
    run(PAGES[0]);
}

#[test]
fn the_api_page_works_as_it_is_written() {
    run(PAGES[1]);
}

#[test]
fn the_page_of_memory_and_skills_works_as_it_is_written() {
    run(PAGES[2]);
}

#[test]
fn pages_link_to_what_exists() {
    for entry in std::fs::read_dir(root().join("docs")).expect("docs/") {
        let page = entry.expect("an entry").path();
        if page.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&page).expect("the page is UTF-8");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or(target);
            let known = target.contains("://") || file.is_empty() || root().join("docs").join(file).exists();
            assert!(known, "{}: nothing at {target}", page.display());
        }
    }
}
