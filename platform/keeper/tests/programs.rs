//! Starting programs, what they find, and how they end.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;

use common::{Keeper, is_running, output_of, pipes, pty, sh, until};
use lap_wire::control::{Attention, ClientMessage, ErrorCode, ServerMessage};
use lap_wire::keeper::{Call, Program, ProgramSpec, Reply};

/// Runs it to its end and gives its output as text.
fn said(keeper: &Keeper, spec: &ProgramSpec) -> String {
    let program = keeper.client().start(spec);
    String::from_utf8(output_of(&keeper.socket(), &program).0).unwrap()
}

fn ended(keeper: &Keeper, id: &str) -> Program {
    until("the program ends", || Some(keeper.client().program(id)).filter(|p| p.exit.is_some()))
}

#[test]
fn output_and_exit_status_reach_a_reader() {
    let keeper = Keeper::start();
    let program = keeper.client().start(&sh("a", "printf hello; exit 3"));
    let (bytes, exit) = output_of(&keeper.socket(), &program);
    assert_eq!(bytes, b"hello");
    assert_eq!((exit.code, exit.signal), (Some(3), None));
}

#[test]
fn an_exit_status_is_kept_until_the_program_is_removed() {
    let keeper = Keeper::start();
    keeper.client().start(&sh("a", "kill -KILL $$"));
    let exit = ended(&keeper, "a").exit.unwrap();
    assert_eq!((exit.code, exit.signal.as_deref()), (None, Some("SIGKILL")));
    let mut client = keeper.client();
    assert_eq!(client.program("a").exit, Some(exit));
    assert_eq!(client.program("a").attention, Attention::Exited);
    client.open(7, "a");
    assert_eq!(client.call(Call::Remove { id: "a".into() }), Reply::Done);
    client.message(7, "the channel is closed", |m| matches!(m, ServerMessage::Closed { .. }));
    assert_eq!(client.call(Call::Remove { id: "a".into() }), Reply::Done, "removing twice is removing");
    assert_eq!(client.call(Call::Programs), Reply::Programs { programs: vec![] });
}

#[test]
fn a_program_that_is_there_is_not_started_again() {
    let keeper = Keeper::start();
    let first = keeper.client().start(&pty("a", &["cat"]));
    let again = keeper.client().start(&pty("a", &["sleep", "1"]));
    assert_eq!((first.pid, first.epoch), (again.pid, again.epoch));
    let error = keeper.client().refused(Call::Remove { id: "a".into() });
    assert_eq!(error.code, ErrorCode::NotReady);
}

#[test]
fn the_environment_is_exactly_the_one_given() {
    let keeper = Keeper::start();
    let mut spec = pipes("a", &["env"]);
    spec.env = BTreeMap::from([("A", "1"), ("PATH", "/usr/bin:/bin"), ("ZÄ", "ü=")])
        .into_iter()
        .map(|(k, v)| (k.into(), v.into()))
        .collect();
    assert_eq!(said(&keeper, &spec), "A=1\nPATH=/usr/bin:/bin\nZÄ=ü=\n");
}

#[test]
fn a_program_starts_in_its_directory_with_a_terminal_of_its_own() {
    let keeper = Keeper::start();
    let mut spec = sh("a", "pwd; stty size; tty >/dev/null && ps -o pid=,sid=,tpgid= -p $$");
    spec.cwd = keeper.folder().to_str().unwrap().into();
    let said = said(&keeper, &spec);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some(spec.cwd.as_str()));
    assert_eq!(lines.next(), Some("24 80"));
    let ids: Vec<u32> = lines.next().unwrap().split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(ids[0], ids[1], "it leads its session");
    assert!(ids[2] > 0, "the terminal controls it");
}

#[test]
fn what_cannot_be_started_says_why_at_once() {
    let keeper = Keeper::start();
    let plain = keeper.folder().join("plain");
    std::fs::write(&plain, "x").unwrap();
    let script = keeper.folder().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    common::make_executable(&script);
    let (plain, script) = (plain.to_str().unwrap(), script.to_str().unwrap());
    let mut bad_cwd = pty("a", &["true"]);
    bad_cwd.cwd = "/no/such/place".into();
    let mut file_cwd = pipes("a", &["true"]);
    file_cwd.cwd = plain.into();
    for (spec, part) in [
        (pty("a", &["no-such-program"]), "no-such-program: no such file"),
        (pipes("a", &["no-such-program"]), "no-such-program: no such file"),
        (pty("a", &[plain]), "permission denied"),
        (pty("a", &["/"]), "permission denied"),
        (pty("a", &[script]), "no such file"),
        (bad_cwd, "directory /no/such/place: no such file"),
        (file_cwd, "not a directory"),
    ] {
        let error = keeper.client().refused(Call::Start(spec));
        assert_eq!(error.code, ErrorCode::StartFailed);
        assert!(error.message.contains(part), "{} does not say {part:?}", error.message);
    }
    assert_eq!(keeper.client().call(Call::Programs), Reply::Programs { programs: vec![] });
}

#[test]
fn specifications_out_of_bounds_are_refused() {
    let keeper = Keeper::start();
    let fine = pty("a", &["true"]);
    let changed = |change: &dyn Fn(&mut ProgramSpec)| {
        let mut spec = fine.clone();
        change(&mut spec);
        keeper.client().refused(Call::Start(spec)).code
    };
    assert_eq!(changed(&|s| s.id = String::new()), ErrorCode::Invalid);
    assert_eq!(changed(&|s| s.id = "x".repeat(65)), ErrorCode::Invalid);
    assert_eq!(changed(&|s| s.id = "a/b".into()), ErrorCode::Invalid);
    assert_eq!(changed(&|s| s.argv = vec![]), ErrorCode::Invalid);
    assert_eq!(changed(&|s| s.argv = vec!["a\0b".into()]), ErrorCode::Invalid);
    assert_eq!(changed(&|s| s.env = BTreeMap::from([("A=B".into(), String::new())])), ErrorCode::Invalid);
    assert_eq!(changed(&|s| s.ring = u32::MAX), ErrorCode::Invalid);
    for (cols, rows) in [(0, 0), (10_000, 10_000), (0, 24), (80, 501)] {
        let size = lap_wire::control::Size { cols, rows };
        let io = lap_wire::keeper::ProgramIo::Pty { size };
        assert_eq!(changed(&|s| s.io = io), ErrorCode::BadSize);
    }
}

#[test]
fn only_so_many_programs_are_kept() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    for i in 0..64 {
        client.start(&pipes(&format!("p{i}"), &["true"]));
    }
    let error = client.refused(Call::Start(pipes("more", &["true"])));
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert!(matches!(client.call(Call::Programs), Reply::Programs { programs } if programs.len() == 64));
}

#[test]
fn a_program_finds_no_descriptor_but_its_own_three() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    for i in 0..4 {
        client.start(&pty(&format!("t{i}"), &["cat"]));
        client.start(&pipes(&format!("p{i}"), &["cat"]));
        client.open(i + 1, &format!("t{i}"));
    }
    // The fourth is ls's own, on the folder it lists.
    assert_eq!(said(&keeper, &pipes("a", &["ls", "-1", "/proc/self/fd"])), "0\n1\n2\n3\n");
    assert_eq!(said(&keeper, &sh("b", "ls -1 /proc/self/fd")), "0\n1\n2\n3\n");
}

#[test]
fn signals_are_as_by_default_whatever_the_keeper_inherited() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = Keeper::start_with(folder, |command| {
        let plain = std::mem::replace(command, std::process::Command::new("sh"));
        command.args(["-c", "trap '' HUP INT TERM USR1 PIPE; exec \"$@\"", "sh"]);
        command.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    });
    let said = said(&keeper, &pipes("a", &["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]));
    let masks =
        said.lines().map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap());
    // 32 and 33 are libc's own, which nobody can set through it.
    assert_eq!(masks.map(|mask| mask & !(0b11 << 31)).collect::<Vec<_>>(), [0, 0], "{said}");
}

#[test]
fn a_signal_reaches_the_foreground_by_name() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("a", "trap 'echo got; exit 0' INT; echo up; while :; do sleep 0.01; done"));
    client.open(1, "a");
    client.read_until(1, "up");
    client.send(1, &ClientMessage::Signal { signal: "SIGINT".into() });
    client.read_until(1, "got");
    ended(&keeper, "a");
    client.send(1, &ClientMessage::Signal { signal: "SIGNONE".into() });
    assert_eq!(client.error(1), ErrorCode::BadSignal);
    let late = client.refused(Call::Signal { id: "a".into(), signal: "SIGTERM".into() });
    assert_eq!(late.code, ErrorCode::NotFound);
}

#[test]
fn stop_ends_what_ignores_sigterm_and_what_it_started() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client
        .start(&sh("a", "trap '' TERM HUP; sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1; done'"));
    client.open(1, "a");
    let inner: u32 = client.read_until(1, "\n").trim().parse().unwrap();
    assert!(is_running(inner));
    assert_eq!(client.call(Call::Stop { id: "a".into(), grace_ms: 50 }), Reply::Done);
    assert!(!is_running(inner));
    let exit = client.program("a").exit.unwrap();
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"));
    assert_eq!(client.call(Call::Stop { id: "a".into(), grace_ms: 50 }), Reply::Done, "stopped is stopped");
}

#[test]
fn an_interactive_shell_needs_no_grace_to_stop() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let mut spec = pty("a", &["bash", "--norc", "-i"]);
    spec.env.insert("PS1".into(), "here> ".into());
    client.start(&spec);
    client.open(1, "a");
    client.read_until(1, "here> ");
    // An hour of grace: only the hang-up can be what ends it.
    assert_eq!(client.call(Call::Stop { id: "a".into(), grace_ms: 3_600_000 }), Reply::Done);
    assert_eq!(client.program("a").exit.unwrap().signal.as_deref(), Some("SIGHUP"));
}

#[test]
fn a_daemon_that_keeps_the_terminal_does_not_hold_back_the_exit() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("a", "setsid sh -c 'trap \"\" HUP; echo $$; exec sleep 1000' & wait; exit 5"));
    client.open(1, "a");
    let daemon: u32 = client.read_until(1, "\n").trim().parse().unwrap();
    client.send(1, &ClientMessage::Signal { signal: "SIGKILL".into() });
    let exit = client.message(1, "the exit", |m| matches!(m, ServerMessage::Exit(_)));
    assert!(matches!(exit, ServerMessage::Exit(status) if status.signal.as_deref() == Some("SIGKILL")));
    assert!(is_running(daemon), "only its terminal was taken from it");
    assert_eq!(client.call(Call::Shutdown { grace_ms: 100 }), Reply::Done);
    assert!(!is_running(daemon), "an adopted orphan outlived the keeper");
}

#[test]
fn only_a_terminal_that_somebody_still_has_is_waited_for() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("left", "setsid sh -c 'trap \"\" HUP; echo up; exec sleep 1000' & read x"));
    client.open(1, "left");
    client.read_until(1, "up");
    client.open_input(3, "left", "me");
    client.input(3, 0, b"\n");
    ended(&keeper, "left");
    // It ended first, and its exit is told last: the other's does not wait until nobody can be expected any more.
    client.start(&sh("clean", "echo done"));
    client.open(2, "clean");
    let first = client.find("an exit", |got| match got {
        common::Got::Message(channel, ServerMessage::Exit(_)) => Some(*channel),
        _ => None,
    });
    assert_eq!(first, 2);
    client.message(1, "the other exit", |m| matches!(m, ServerMessage::Exit(_)));
}

#[test]
fn orphans_are_adopted_and_reaped() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pipes("a", &["sh", "-c", "for i in 1 2 3 4 5; do (setsid sleep 0.05 &); done"]));
    ended(&keeper, "a");
    let children = format!("/proc/{0}/task/{0}/children", keeper.pid());
    until("no child is left", || {
        Some(()).filter(|()| std::fs::read_to_string(&children).unwrap().is_empty())
    });
}

#[test]
fn any_bytes_pass_through_unchanged() {
    let keeper = Keeper::start();
    let script = "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done";
    for spec in [sh("a", script), pipes("b", &["sh", "-c", script])] {
        let program = keeper.client().start(&spec);
        let (bytes, _) = output_of(&keeper.socket(), &program);
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }
}
