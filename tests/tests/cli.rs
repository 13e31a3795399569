//! The `lap` program as a person and a script use it: the real binary, its own server, real sandboxes.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod cli_support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use cli_support::terminal::OnTerminal;
use cli_support::{Machine, text};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn help_is_there_and_a_slip_is_told() {
    let machine = Machine::new();
    let help = machine.lap(["--help"]).succeeds();
    for word in
        ["agents", "sessions", "attach", "login", "serve", "down", "doctor", "--context", "Exit codes"]
    {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    assert!(!help.contains("__keeper") && !help.contains("__serve"), "hidden ones stay hidden");
    machine.lap(["--version"]).succeeds();
    assert!(machine.lap(["help"]).succeeds().contains("Exit codes"));
    assert!(machine.lap(["help", "sessions", "stop"]).succeeds().contains("Usage: lap sessions stop"));
    assert!(machine.lap(["help", "sessions", "stpo"]).fails(2).contains("lap sessions has no command stpo"));
    assert!(machine.lap(["agents", "lss"]).fails(2).contains("lss"));
    assert!(machine.lap(["agents", "ls", "-o", "xml"]).fails(2).contains("xml"));
    assert!(machine.lap(["completions", "bash"]).succeeds().contains("_lap()"));
    assert!(!machine.has_server(), "none of this needs a server");
}

#[test]
fn every_command_has_a_manual_page() {
    let machine = Machine::new();
    assert!(machine.lap(["man"]).succeeds().contains(".TH lap 1"));
    let pages = machine.path("pages");
    machine.lap(["man".as_ref(), pages.as_os_str()]).succeeds();
    for (page, words) in
        [("lap.1", "completions"), ("lap-sessions.1", "logs"), ("lap-sessions-exec.1", "exec")]
    {
        assert!(machine.read(&format!("pages/{page}")).contains(words), "{page}");
    }
    assert!(!machine.has_server());
}

#[test]
fn what_needs_a_terminal_says_so_without_one() {
    let machine = Machine::new();
    assert!(machine.lap(Vec::<&str>::new()).fails(2).contains("needs a terminal"));
    assert!(!machine.has_server());
    assert!(machine.lap(["shell"]).fails(3).contains("`lap agents create shell --harness shell"));
    machine.lap(["agents", "create", "here", "--harness", "shell", "--model", "m"]).succeeds();
    assert!(machine.lap(["here"]).fails(2).contains("needs a terminal"));
    assert!(machine.lap(["nope"]).fails(3).contains("there is no agent nope"));
    assert!(machine.lap(["seesions"]).fails(3).contains("did you mean the command `lap sessions`?"));
    assert!(machine.lap(["attach", "nope"]).fails(3).contains("there is no session nope"));
}

#[test]
fn attaching_without_a_name_takes_the_only_live_session_or_asks_which() {
    let machine = Machine::new();
    assert!(machine.lap(["attach"]).fails(3).contains("there is no live session"));
    machine.lap(["agents", "create", "here", "--harness", "shell", "--model", "m"]).succeeds();
    let start = |title| machine.lap(["sessions", "create", "here", "--title", title, "--wait"]).succeeds();
    start("first");
    let mut terminal = OnTerminal::start(&machine.command(["attach"]));
    terminal.shows("d leaves");
    terminal.types("\x1dd");
    assert_eq!(terminal.ends(), 0);
    start("second");
    let listed = machine.lap(["attach"]).fails(2);
    assert!(listed.contains("first") && listed.contains("second") && listed.contains("here"), "{listed}");
    let mut terminal = OnTerminal::start(&machine.command(["attach"]));
    terminal.shows("which one? [1-2]");
    terminal.types("1\r");
    terminal.shows("d leaves");
    terminal.types("\x1dd");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_server_that_died_is_started_again_by_whoever_is_attached_and_one_that_was_ended_is_not() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "held", "--harness", "shell", "--model", "m"]).succeeds();
    let session = machine.lap(["sessions", "create", "held", "--wait"]).succeeds();
    let mut terminal = OnTerminal::start(&machine.command(["attach", session.trim()]));
    terminal.shows("d leaves");
    terminal.types("echo be''fore\r");
    terminal.shows("before");
    let first = machine.server_pid();
    machine.kill(first);
    terminal.types("echo af''ter\r");
    terminal.shows("after");
    let second = machine.server_pid();
    assert_ne!(second, first);
    assert!(machine.is_running(second));
    machine.lap(["down", "--keep-sessions"]).succeeds();
    terminal.shows("was ended");
    assert!(!machine.has_server(), "who only looks on does not start what somebody has ended");
    machine.lap(["agents", "ls"]).succeeds();
    terminal.types("echo aga''in\r");
    terminal.shows("again");
    terminal.types("\x1dd");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_terminal_that_takes_nothing_holds_back_neither_the_session_nor_more_than_a_frame() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "loud", "--harness", "shell", "--model", "m"]).succeeds();
    let session = || machine.lap(["sessions", "create", "loud", "--wait"]).succeeds().trim().to_owned();
    let (first, second) = (session(), session());
    let mut terminal = OnTerminal::start(&machine.command(["attach", &first, &second]));
    terminal.shows("leaves");
    terminal.types("yes lap | head -c 60000000; touch finished; echo do''ne\r");
    // Nobody reads lap's terminal while this waits: it fills up and stalls.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let finished = ["sessions", "exec", &second, "--", "test", "-e", "finished"];
    let done = |session: &str| {
        let mut arguments = finished;
        arguments[2] = session;
        machine.lap(arguments).code() == 0
    };
    while !done(&first) && !done(&second) {
        assert!(std::time::Instant::now() < until, "the session stands still");
    }
    let kib = terminal.resident_kib();
    assert!(kib < 256 * 1024, "{kib} KiB");
    terminal.shows("done");
    terminal.types("\x1dd");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_terminal_that_takes_nothing_keeps_no_signal_from_ending_lap() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "loud", "--harness", "shell", "--model", "m"]).succeeds();
    for (panes, signal) in [(0, Signal::TERM), (1, Signal::HUP), (2, Signal::TERM)] {
        let session = machine.lap(["sessions", "create", "loud", "--wait"]).succeeds().trim().to_owned();
        let attach = ["attach", &session, &session];
        let arguments = if panes == 0 { &[] } else { &attach[..=panes] };
        let mut terminal = OnTerminal::start(&machine.command(arguments));
        if panes == 0 {
            terminal.shows("ready");
            terminal.types("\r");
            terminal.shows("lap's keys");
        } else {
            terminal.shows("leaves");
        }
        terminal.types("while sleep 0.02; do od -An -N900 -tx1 /dev/urandom; done\r");
        // Nobody reads it while this waits.
        terminal.fills_up();
        assert!(!terminal.is_cooked());
        terminal.signals(signal);
        terminal.is_over();
        assert!(terminal.is_cooked(), "{panes} panes");
    }
}

#[test]
fn logs_are_followed_until_the_program_ends() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "told", "--harness", "shell", "--model", "m"]).succeeds();
    let session = machine.lap(["sessions", "create", "told", "--wait"]).succeeds().trim().to_owned();
    let mut typist = OnTerminal::start(&machine.command(["attach", &session]));
    typist.shows("leaves");
    typist.types("echo ear''ly\r");
    typist.shows("early");
    let mut follower = machine.command(["sessions", "logs", "--follow", &session]).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "early"));
    typist.types("echo la''ter\r");
    assert!(lines.any(|line| line == "later"));
    typist.types("exit 0\r");
    assert!(lines.all(|line| line != "early" && line != "later"), "each line once");
    assert!(follower.wait().unwrap().success());
}

#[test]
fn a_dashboard_starts_a_server_that_died() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "shown-agent", "--harness", "shell", "--model", "m"]).succeeds();
    let mut terminal = OnTerminal::start(&machine.command(Vec::<&str>::new()));
    terminal.shows("shown-agent");
    let first = machine.server_pid();
    machine.kill(first);
    terminal.shows("started");
    assert_ne!(machine.server_pid(), first);
    machine.lap(["agents", "create", "another-one", "--harness", "shell", "--model", "m"]).succeeds();
    terminal.shows("another-one");
    terminal.types("q");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn of_many_that_start_it_at_once_all_find_the_same_server() {
    let machine = Machine::new();
    let started: Vec<_> = (0..4).map(|_| machine.command(["agents", "ls"]).spawn().unwrap()).collect();
    for child in started {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    assert!(machine.is_running(machine.server_pid()));
}

#[test]
fn agents_are_made_shown_changed_and_removed() {
    let machine = Machine::new();
    let made = machine.lap([
        "agents",
        "create",
        "reviewer",
        "--harness",
        "shell",
        "--model",
        "m",
        "--env",
        "TOKEN=ghp_0123456789abcdef9f",
    ]);
    assert_eq!(made.succeeds(), "reviewer\n");
    machine.lap(["agents", "create", "writer", "--harness", "shell", "--model", "m"]).succeeds();

    assert_eq!(
        machine.lap(["agents", "ls", "--sort", "name", "-o", "name"]).succeeds(),
        "reviewer\nwriter\n"
    );
    let table = machine.lap(["agents", "ls"]).succeeds();
    assert!(table.starts_with("NAME") && table.contains("reviewer") && table.contains("idle"), "{table}");
    let json: Value =
        serde_json::from_str(&machine.lap(["agents", "get", "reviewer", "-o", "json"]).succeeds()).unwrap();
    assert_eq!(json["env_vars"]["TOKEN"], "ghp_…9f");
    assert!(machine.lap(["agents", "get", "reviewer", "-o", "yaml"]).succeeds().contains("name: reviewer"));

    let id = json["id"].as_str().unwrap();
    let url = format!("{}/api/v1/managed_agents/agents/{id}", machine.url());
    for meant in [id, &id[..30], "REVIEWER", &url] {
        assert_eq!(machine.lap(["agents", "get", meant, "-o", "name"]).succeeds(), "reviewer\n", "{meant}");
    }
    let all = machine.lap(["agents", "get", &id[..4]]).fails(2);
    assert!(all.contains("reviewer") && all.contains("writer"), "candidates are listed: {all}");

    machine.lap(["agents", "update", "reviewer", "--rename", "critic", "--prompt", "be kind"]).succeeds();
    let critic = machine.lap(["agents", "get", "critic", "-o", "json"]).succeeds();
    assert!(critic.contains("be kind") && critic.contains("\"TOKEN\""), "what is not given stays: {critic}");
    assert!(machine.lap(["agents", "update", "critic"]).fails(2).contains("nothing to change"));

    assert!(
        machine.lap(["agents", "rm", "critic"]).fails(2).contains("--yes"),
        "nobody is there to be asked"
    );
    assert_eq!(machine.lap(["agents", "rm", "critic", "writer", "--yes"]).succeeds(), "critic\nwriter\n");
    assert_eq!(machine.lap(["agents", "ls", "-o", "json"]).succeeds().trim(), "[]");
}

#[test]
fn an_agent_that_was_printed_makes_another() {
    let machine = Machine::new();
    machine
        .lap(["agents", "create", "one", "--harness", "shell", "--model", "m", "--max-sessions", "3"])
        .succeeds();
    let printed = machine.lap(["agents", "get", "one", "-o", "yaml"]).succeeds();
    machine.lap_with_stdin(["agents", "create", "two", "-f", "-"], &printed).succeeds();
    let two: Value =
        serde_json::from_str(&machine.lap(["agents", "get", "two", "-o", "json"]).succeeds()).unwrap();
    assert_eq!((two["max_sessions"].as_u64(), two["harness_id"].as_str()), (Some(3), Some("shell")));
}

#[test]
fn each_kind_of_failure_has_its_exit_code_and_a_sentence() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    assert!(machine.lap(["agents", "get", "nobody"]).fails(3).contains("there is no agent nobody"));
    assert!(machine.lap(["agents", "get", "on"]).fails(3).contains("did you mean: one"));
    assert!(machine.lap(["sessions", "get", "nobody"]).fails(3).contains("there is no session nobody"));
    assert!(machine.lap(["sessions", "get", "one"]).fails(3).contains("no live session"));
    let taken = machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).fails(1);
    assert!(taken.contains("exists already"), "{taken}");
    let unknown = machine.lap(["agents", "create", "x", "--harness", "no-such", "--model", "m"]).fails(2);
    assert!(unknown.contains("harness_id"), "{unknown}");
    let url = machine.url();
    let mut wrong = machine.command(["agents", "ls", "--url", &url]);
    assert!(machine.run(wrong.env("LAP_API_KEY", "wrong-key-12345678")).fails(4).contains("lap login"));
    assert!(
        machine.lap(["agents", "ls", "--url", "http://127.0.0.1:1"]).fails(5).contains("no server answers")
    );
    assert!(
        machine
            .lap(["agents", "ls", "--context", "nowhere"])
            .fails(3)
            .contains("there is no context nowhere")
    );
}

#[test]
fn a_session_is_started_used_and_ended() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let id = machine
        .lap(["sessions", "create", "one", "--wait", "--title", "Fix the build"])
        .succeeds()
        .trim()
        .to_owned();
    let listed: Value =
        serde_json::from_str(&machine.lap(["sessions", "ls", "-o", "json"]).succeeds()).unwrap();
    assert_eq!((listed[0]["id"].as_str(), listed[0]["status"].as_str()), (Some(id.as_str()), Some("ready")));
    assert!(machine.lap(["sessions", "ls"]).succeeds().contains("Fix the build"));
    for meant in [id.as_str(), &id[..18], "fix the build", "one"] {
        assert_eq!(machine.lap(["sessions", "get", meant, "-o", "name"]).succeeds().trim(), id, "{meant}");
    }

    let hello = machine.lap(["sessions", "exec", "one", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((hello.code(), hello.stdout(), hello.stderr()), (7, "out\n", "err\n"));
    let echoed = machine.lap_with_stdin(["sessions", "exec", "-i", &id, "--", "cat"], "from outside");
    assert_eq!(echoed.succeeds(), "from outside");

    machine.lap(["sessions", "update", &id, "--title", "Other"]).succeeds();
    assert!(
        machine.lap(["sessions", "diagnose", "other"]).succeeds().contains("nothing is found to be wrong")
    );
    let recording = machine.lap(["sessions", "record", &id]).succeeds();
    let header: Value = serde_json::from_str(recording.lines().next().unwrap()).unwrap();
    assert_eq!(header["version"], 3, "{header}");
    machine.lap(["sessions", "logs", &id]).succeeds();

    assert!(machine.lap(["sessions", "stop", &id]).fails(2).contains("--yes"));
    machine.lap(["sessions", "stop", &id, "--yes"]).succeeds();
    assert!(machine.lap(["sessions", "get", &id]).succeeds().contains("status: dead"));
    machine.lap(["sessions", "restart", &id]).succeeds();
    let down = machine.lap(["down", "--yes"]);
    assert!(down.succeeds().contains("ended"), "what was ended is named");
    assert_eq!(machine.leftovers(), Vec::<String>::new(), "no sandbox is left");
}

#[test]
fn a_taken_port_is_passed_over_unless_it_was_asked_for() {
    let machine = Machine::new();
    // The usual port, taken here where nobody else has it.
    let _usual = std::net::TcpListener::bind("127.0.0.1:4180");
    machine.lap(["agents", "ls"]).succeeds();
    assert!(!machine.url().ends_with(":4180"), "{}", machine.url());
    machine.lap(["down"]).succeeds();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    machine.write("config/config.toml", &format!("[server]\nport = {port}\n"));
    let refused = machine.lap(["agents", "ls"]).fails(1);
    assert!(refused.contains(&format!("127.0.0.1:{port}")) && refused.contains("set PORT"), "{refused}");
}

#[test]
fn servers_are_remembered_with_their_keys() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "far", "--harness", "shell", "--model", "m"]).succeeds();
    let (url, key) = (machine.url(), machine.read("data/master.key"));
    // Another person's machine, for which the first one's server is a remote one.
    let other = Machine::new();
    let wrong = other.lap_with_stdin(["login", &url, "--name", "work"], "wrong-key-12345678").fails(4);
    assert!(wrong.contains("does not take this key"), "{wrong}");
    assert!(!other.exists("config/credentials.toml"), "nothing of it was kept");
    other.lap_with_stdin(["login", &url, "--name", "work"], &key).succeeds();
    assert_eq!(other.mode("config/credentials.toml"), 0o600);
    assert!(!other.read("config/contexts.toml").contains(key.trim()));
    assert_eq!(other.lap(["agents", "ls", "-o", "name"]).succeeds(), "far\n");
    assert!(!other.has_server(), "no server of its own is started for that");
    assert_eq!(other.lap(["context", "show"]).succeeds(), "work\n");
    assert!(other.lap(["context", "ls"]).succeeds().contains(&url));
    other.lap(["context", "use", "local"]).succeeds();
    assert_eq!(other.lap(["agents", "ls", "-o", "name"]).succeeds(), "");
    assert_eq!(other.lap(["agents", "ls", "-o", "name", "--context", "work"]).succeeds(), "far\n");
    other.lap(["logout", "work"]).succeeds();
    assert!(other.lap(["agents", "ls", "--context", "work"]).fails(4).contains("lap login"));
    other.lap(["context", "rm", "work"]).succeeds();
    assert!(!other.lap(["context", "ls"]).succeeds().contains("work"));
    assert!(
        other.lap_with_stdin(["login", "http://127.0.0.1:1"], "k").fails(5).contains("no server answers")
    );
}

#[test]
fn a_watched_list_goes_on_by_itself() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let mut watching =
        machine.command(["agents", "ls", "--watch", "-o", "name"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    machine.lap(["agents", "create", "two", "--harness", "shell", "--model", "m"]).succeeds();
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    machine.lap(["agents", "update", "one", "--rename", "uno"]).succeeds();
    assert_eq!(lines.next().unwrap().unwrap(), "uno");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn what_waits_for_more_to_print_ends_when_nobody_reads_it() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let session = machine.lap(["sessions", "create", "one", "--wait"]).succeeds();
    let session = session.trim();
    for arguments in [
        vec!["agents", "ls", "--watch", "-o", "name"],
        vec!["sessions", "ls", "--watch"],
        vec!["sessions", "logs", session, "--follow"],
    ] {
        let mut command = machine.command(&arguments);
        let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
        if arguments.contains(&"--follow") {
            machine.lap(["sessions", "exec", session, "--", "true"]).succeeds();
        } else {
            lines.next().unwrap().unwrap();
        }
        drop(lines);
        // Nothing more happens that it could print.
        let done = waiting.wait_with_output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", text(&done.stderr));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_trouble() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    for arguments in [["agents", "ls"], ["completions", "bash"], ["completions", "fish"]] {
        let mut command = machine.command(arguments);
        let mut listing = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(listing.stdout.take());
        let done = listing.wait_with_output().unwrap();
        assert!(!text(&done.stderr).contains("panicked"), "{}", text(&done.stderr));
        assert!(done.status.success());
    }
}

#[test]
fn faults_of_the_configuration_are_told_together_and_secrets_never_shown() {
    let machine = Machine::new();
    machine.write("config/config.toml", "[server]\nprot = 1\n[log]\nformat = \"xml\"\n");
    let faults = machine.lap(["agents", "ls"]).fails(2);
    assert!(
        faults.contains("2 faults") && faults.contains("line 2") && faults.contains("line 4"),
        "{faults}"
    );
    machine.write("config/config.toml", "[secrets]\nmaster_key = \"sk-0123456789abcdef-very-secret\"\n");
    let shown = machine.lap(["config"]).succeeds();
    assert!(shown.contains("master_key = \"sk-…et\"") && !shown.contains("very-secret"), "{shown}");
    assert!(machine.lap(["config", "path"]).succeeds().trim().ends_with("config/config.toml"));
    assert!(machine.lap(["serve", "--check-config", "--port", "7"]).succeeds().contains("# --port"));
}

#[test]
fn a_place_that_cannot_be_written_is_told() {
    let machine = Machine::new();
    let mut nowhere = machine.command(["agents", "ls"]);
    let told = machine.run(nowhere.env("LAP_DATA_DIR", "/proc/lap")).fails(1);
    assert!(
        told.contains("/proc/lap") && told.contains("LAP_DATA_DIR") && !told.contains("panicked"),
        "{told}"
    );
}

#[test]
fn the_doctor_names_what_is_missing_and_what_mends_it() {
    let machine = Machine::new();
    let before = machine.lap(["doctor"]);
    assert!(before.stdout().contains("server: not running"), "{}", before.stdout());
    machine.lap(["agents", "ls"]).succeeds();
    let told = machine.lap(["doctor"]).succeeds();
    assert!(
        told.contains(&machine.url()) && told.contains("data directory") && told.contains("Shell: /"),
        "{told}"
    );
}

/// What lap's own key is unless it is configured otherwise: Ctrl-].
const PREFIX: &str = "\x1d";

#[test]
fn an_agents_name_opens_its_terminal_and_leaving_leaves_it_running() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    let mut first = OnTerminal::start(&machine.command(["one"]));
    first.shows("leaves, the session goes on");
    first.types("left=over; echo is-$((40+2))-there\r");
    first.shows("is-42-there");
    first.types(PREFIX);
    first.types("d");
    first.shows("it goes on");
    assert_eq!(first.ends(), 0);

    let mut second = OnTerminal::start(&machine.command(["one"]));
    second.shows("is-42-there");
    second.types("echo $left-\r");
    second.shows("over-");
    second.types("exit 7\r");
    assert_eq!(second.ends(), 0);
    let ended = machine.lap(["sessions", "get", "one"]).fails(3);
    assert!(ended.contains("no live session"), "{ended}");
}

#[test]
fn of_several_live_sessions_it_is_asked_which() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    for title in ["first", "second"] {
        let id = machine.lap(["sessions", "create", "one", "--wait", "--title", title]).succeeds();
        machine.lap(["sessions", "exec", id.trim(), "--", "sh", "-c", "echo $0 > title", title]).succeeds();
    }
    let candidates = machine.lap(["sessions", "get", "one"]).fails(2);
    assert!(candidates.contains("first") && candidates.contains("second"), "{candidates}");
    let mut asked = OnTerminal::start(&machine.command(["one"]));
    asked.shows("2 live sessions");
    asked.shows("which one?");
    asked.types("9\r");
    asked.shows("none was chosen");
    assert_eq!(asked.ends(), 1);
}

#[test]
fn attaching_can_end_as_the_program_does() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    machine.lap(["sessions", "create", "one", "--wait"]).succeeds();
    let mut attached = OnTerminal::start(&machine.command(["attach", "one", "--exit-status"]));
    attached.shows("leaves, the session goes on");
    attached.types("echo rea''dy; exit 7\r");
    attached.shows("ready");
    assert_eq!(attached.ends(), 7);
}

#[test]
fn a_dashboard_without_colours_writes_none() {
    let machine = Machine::new();
    let colours = |arguments: &[&str]| {
        let mut dashboard = OnTerminal::start(&machine.command(arguments));
        // Of what follows the first frame only the letters that change are written.
        let screen = dashboard.shows("first session");
        dashboard.types("q");
        assert_eq!(dashboard.ends(), 0);
        ["\x1b[38;", "\x1b[48;"].iter().any(|sequence| screen.contains(sequence))
    };
    assert!(colours(&[]));
    assert!(!colours(&["--no-color"]));
}

#[test]
fn the_dashboard_opens_on_first_use_and_says_what_keeps_running() {
    let machine = Machine::new();
    let mut dashboard = OnTerminal::start(&machine.command(Vec::<&str>::new()));
    dashboard.shows("help");
    machine.lap(["agents", "create", "newcomer", "--harness", "shell", "--model", "m"]).succeeds();
    machine.lap(["sessions", "create", "newcomer", "--wait"]).succeeds();
    dashboard.shows("newcomer");
    dashboard.types("q");
    dashboard.shows("keeps running");
    assert_eq!(dashboard.ends(), 0);
}
