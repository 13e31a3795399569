//! The server of this machine: started by the first command, found by the next, and ended with `lap down`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

mod cli_support;

use std::path::Path;

use cli_support::Machine;
use cli_support::terminal::OnTerminal;

#[test]
fn the_first_command_starts_the_server_and_down_ends_it() {
    let machine = Machine::new();
    assert!(machine.lap(["down"]).succeeds_saying("no server"));
    let none = machine.lap(["agents", "ls"]);
    assert_eq!(none.stdout(), "", "nothing but rows is printed where programs read");
    assert!(none.stderr().contains("no agents"), "{}", none.stderr());
    let pid = machine.server_pid();
    machine.lap(["agents", "ls"]).succeeds();
    assert_eq!(machine.server_pid(), pid, "the second finds it");
    assert_eq!(machine.mode("data/master.key"), 0o600);
    assert_eq!(machine.mode("data/lap.db"), 0o600);
    assert!(machine.lap(["down"]).succeeds_saying(&format!("(process {pid}) has ended")));
    assert!(!machine.has_server() && !machine.is_running(pid));
}

#[test]
fn a_server_that_hangs_is_ended_by_force_with_all_its_sessions() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "stuck", "--harness", "shell", "--model", "m"]).succeeds();
    machine.lap(["sessions", "create", "stuck", "--wait"]).succeeds();
    let pid = machine.server_pid();
    machine.freeze(pid);
    assert!(machine.lap(["down"]).fails(5).contains("--force"));
    assert!(machine.is_running(pid));
    machine.lap(["down", "--force", "--yes"]).succeeds();
    assert!(!machine.is_running(pid) && !machine.has_server());
    assert!(machine.leftovers().is_empty());
}

#[test]
fn a_killed_server_is_replaced_and_its_sessions_go_on() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let id = machine.lap(["sessions", "create", "one", "--wait"]).succeeds().trim().to_owned();
    machine.lap(["sessions", "exec", &id, "--", "sh", "-c", "echo kept > note"]).succeeds();
    let killed = machine.server_pid();
    machine.kill(killed);
    assert!(machine.has_server(), "server.json is left behind, and recognised");
    assert_eq!(machine.lap(["sessions", "exec", &id, "--", "cat", "note"]).succeeds(), "kept\n");
    assert_ne!(machine.server_pid(), killed);

    // Sandboxes whose server is gone are ended by `down` all the same.
    machine.kill(machine.server_pid());
    machine.lap(["down", "--yes"]).succeeds();
    assert_eq!(machine.leftovers(), Vec::<String>::new());
}

#[test]
fn down_can_leave_sessions_running() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let id = machine.lap(["sessions", "create", "one", "--wait"]).succeeds().trim().to_owned();
    machine.lap(["down", "--keep-sessions"]).succeeds();
    assert!(!machine.leftovers().is_empty());
    assert!(machine.lap(["sessions", "get", &id]).succeeds().contains("status: ready"));
}

#[test]
fn a_second_server_on_the_same_data_is_told_whose_it_is() {
    let machine = Machine::new();
    machine.lap(["agents", "ls"]).succeeds();
    let refused = machine.lap(["serve", "--port", "0"]).fails(1);
    assert!(refused.contains(&format!("(process {})", machine.server_pid())), "{refused}");
    assert!(refused.contains("lap down") && refused.contains("LAP_DATA_DIR"), "{refused}");
}

#[test]
fn a_server_is_found_and_none_other_started_whatever_it_was_found_by_has_gone() {
    let machine = Machine::new();
    machine.lap(["agents", "ls"]).succeeds();
    let pid = machine.server_pid();
    let marks = ["state/server.json", "data/lap.lock", "data/server.sock"];
    let path = |mark: &str| machine.path(mark);
    let cut = |mark: &str| std::fs::write(path(mark), "{").unwrap();
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    let move_away = |path: &Path| std::fs::rename(path, path.with_extension("away")).unwrap();
    for take in [&remove as &dyn Fn(&Path), &move_away] {
        for mark in marks {
            take(&path(mark));
            machine.lap(["agents", "ls"]).succeeds();
            assert_eq!(machine.server_pid(), pid, "{mark}");
            let refused = machine.lap(["serve", "--port", "0"]).fails(1);
            assert!(refused.contains(&format!("(process {pid})")), "{mark}: {refused}");
        }
    }
    for mark in ["state/server.json", "data/lap.lock"] {
        cut(mark);
        machine.lap(["agents", "ls"]).succeeds();
        assert_eq!(machine.server_pid(), pid, "{mark}");
    }
    std::fs::rename(path("state"), path("state-away")).unwrap();
    machine.lap(["agents", "ls"]).succeeds();
    assert_eq!(machine.server_pid(), pid);

    // One that hangs makes nothing again: it is found by what it holds, and ended.
    machine.freeze(pid);
    for mark in marks {
        std::fs::remove_file(path(mark)).unwrap();
    }
    let silent = machine.lap(["agents", "ls"]).fails(5);
    assert!(silent.contains(&format!("(process {pid})")) && silent.contains("lap down --force"), "{silent}");
    let refused = machine.lap(["serve", "--port", "0"]).fails(1);
    assert!(refused.contains("another lap server"), "{refused}");
    machine.lap(["down", "--force", "--yes"]).succeeds();
    assert!(!machine.is_running(pid));
    machine.lap(["agents", "ls"]).succeeds();
}

#[test]
fn down_asks_before_sessions_end_and_names_them() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let id = machine.lap(["sessions", "create", "one", "--wait"]).succeeds().trim().to_owned();
    machine.lap(["sessions", "exec", &id, "--", "sh", "-c", "echo mine >notes"]).succeeds();
    let refused = machine.lap(["down"]).fails(2);
    assert!(refused.contains("1 session will end") && refused.contains("--yes"), "{refused}");
    assert!(refused.contains("Unsaved work: 1 file, kept until 20"), "{refused}");
    let refused = machine.lap(["sessions", "rm", "--erase", &id]).fails(2);
    assert!(refused.contains("Unsaved work: 1 file. It is erased too."), "{refused}");
    let refused = machine.lap(["agents", "rm", "one"]).fails(2);
    assert!(refused.contains("Unsaved work: 1 file"), "{refused}");
    let work = machine.lap(["sessions", "work", &id]).succeeds();
    assert!(work.starts_with("unsaved  1 file\npath     /"), "{work}");
    let still = |machine: &Machine| {
        assert!(machine.lap(["sessions", "get", &id]).succeeds().contains("status: ready"));
    };
    still(&machine);
    // Where somebody can be asked, only a yes is one.
    for (answer, status) in [("\r", 1), ("n\r", 1), ("y\r", 0)] {
        let mut asked = OnTerminal::start(&machine.command(["down"]));
        asked.shows("End the server? [y/N]");
        if status != 0 {
            still(&machine);
        }
        asked.types(answer);
        assert_eq!(asked.ends(), status, "{answer:?}");
    }
    assert!(machine.leftovers().is_empty() && !machine.has_server());
}

#[test]
fn what_is_erased_is_gone_and_the_others_stay() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let made = || machine.lap(["sessions", "create", "one", "--wait"]).succeeds().trim().to_owned();
    let (erased, kept) = (made(), made());
    machine.lap(["sessions", "rm", "--erase", "--yes", &erased]).succeeds();
    assert!(machine.lap(["sessions", "get", &erased]).fails(3).contains("no session"));
    assert!(machine.lap(["sessions", "get", &kept]).succeeds().contains("status: ready"));
}

#[test]
fn down_ends_no_server_but_this_machines() {
    let machine = Machine::new();
    machine.lap(["agents", "ls"]).succeeds();
    let pid = machine.server_pid();
    for meant in [["--context", "two"], ["--url", "http://127.0.0.1:1"]] {
        let refused = machine.lap(meant.into_iter().chain(["down", "--yes"])).fails(2);
        assert!(refused.contains("of this machine") && refused.contains("--context local"), "{refused}");
        assert!(machine.is_running(pid));
    }
    machine.lap(["--context", "local", "down"]).succeeds();
    assert!(!machine.is_running(pid));
}
