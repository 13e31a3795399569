//! Slips of everyday: what is typed or asked wrongly is told, and ends nothing.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod cli_support;

use cli_support::Machine;
use cli_support::terminal::OnTerminal;
use serde_json::Value;

fn with_shell() -> Machine {
    let machine = Machine::new();
    machine.lap(["agents", "create", "here", "--harness", "shell"]).succeeds();
    machine
}

fn start(machine: &Machine, title: &str) -> String {
    let id = machine.lap(["sessions", "create", "here", "--title", title, "--wait"]).succeeds();
    id.trim().to_owned()
}

fn status(machine: &Machine, id: &str) -> String {
    let session = machine.lap(["sessions", "get", id, "-o", "json"]).succeeds();
    let session: Value = serde_json::from_str(&session).unwrap();
    session["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_faulty_configuration_keeps_nobody_from_ending_what_runs() {
    let machine = with_shell();
    start(&machine, "runs");
    machine.write("config/config.toml", "[server]\nport = \"many\"\n");
    assert!(machine.lap(["sessions"]).fails(2).contains("server.port"));
    assert!(machine.lap(["config", "path"]).succeeds().contains("config.toml"));
    let told = machine.lap(["doctor"]);
    assert_eq!(told.code(), 1, "{}", told.stdout());
    assert!(told.stdout().contains("server.port"), "{}", told.stdout());
    assert!(machine.lap(["down", "--yes"]).succeeds().contains("ended"));
}

#[test]
fn what_runs_is_restarted_only_when_that_is_meant() {
    let machine = with_shell();
    let id = start(&machine, "runs");
    assert!(machine.lap(["sessions", "restart", "runs"]).fails(2).contains("End what runs in runs"));
    let mut terminal = OnTerminal::start(&machine.command(["sessions", "restart", "runs"]));
    terminal.shows("[y/N]");
    terminal.types("\r");
    assert_eq!(terminal.ends(), 1);
    assert_eq!(status(&machine, &id), "ready");
    machine.lap(["sessions", "stop", &id, "--yes"]).succeeds();
    // Nothing runs that could end.
    machine.lap(["sessions", "restart", &id]).succeeds();
}

#[test]
fn a_title_means_the_session_that_runs_under_it() {
    let machine = with_shell();
    let ended = start(&machine, "same");
    machine.lap(["sessions", "stop", &ended, "--yes"]).succeeds();
    assert_eq!(machine.lap(["sessions", "get", "same", "-o", "name"]).succeeds().trim(), ended);
    let runs = start(&machine, "same");
    assert_eq!(machine.lap(["sessions", "get", "same", "-o", "name"]).succeeds().trim(), runs);
    start(&machine, "same");
    assert!(machine.lap(["sessions", "get", "same"]).fails(2).contains("2 sessions"));
}

#[test]
fn words_that_name_nothing_are_told_what_was_meant() {
    let machine = Machine::new();
    assert!(machine.lap(["sesions", "ls"]).fails(2).contains("did you mean the command `lap sessions`?"));
    machine
        .lap(["agents", "create", "doctor", "--harness", "shell"])
        .succeeds_saying("`lap doctor` is a command");
    assert!(machine.lap(["sessions"]).succeeds_saying("no sessions;"));
    assert!(machine.lap(["sessions", "ls", "--status", "dead"]).succeeds_saying("no such sessions"));
    assert!(machine.lap(["agents", "ls", "--search", "zebra"]).succeeds_saying("no such agents"));
}

#[test]
fn a_session_is_not_shown_in_itself() {
    let machine = with_shell();
    let id = start(&machine, "own");
    let within = || {
        let mut command = machine.command(["attach", "own"]);
        command.env("LAP_SANDBOX", "any").env("SESSION_ID", &id);
        command
    };
    assert!(machine.run(&mut within()).fails(2).contains("would show itself"));
    // Another program's variable of that name says nothing.
    let mut of_another = machine.command(["attach", "own"]);
    of_another.env("SESSION_ID", &id);
    assert!(machine.run(&mut of_another).fails(2).contains("needs a terminal"));
}

#[test]
fn a_prefix_that_is_typed_into_programs_is_refused() {
    let machine = with_shell();
    start(&machine, "runs");
    machine.write("config/config.toml", "[ui]\nprefix = \"a\"\n");
    let mut terminal = OnTerminal::start(&machine.command(["attach", "runs"]));
    terminal.shows("is typed into programs");
    assert_eq!(terminal.ends(), 2);
}
