//! The keeper's own life: how it starts, where it is found, how it ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Client, Got, Keeper, is_running, pipes, pty, sh, until};
use lap_wire::control::{ClientMessage, ErrorCode, ServerMessage};
use lap_wire::keeper::{Call, Info, Reply};

fn lap_keeper(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lap-keeper"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn info(client: &mut Client) -> Info {
    match client.call(Call::Info) {
        Reply::Info(info) => info,
        other => panic!("{other:?}"),
    }
}

/// Ends a keeper nobody is the parent of, and waits until it is gone.
fn shut_down(socket: &Path) {
    let mut client = Client::connect(socket);
    let pid = info(&mut client).pid;
    assert_eq!(client.call(Call::Shutdown { grace_ms: 100 }), Reply::Done);
    until("the keeper is gone", || (!is_running(pid) && !socket.exists()).then_some(()));
}

#[test]
fn the_command_line_explains_itself() {
    let version = lap_keeper(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("{}\n", lap_keeper::VERSION));
    for arguments in [&["run"][..], &[], &["fly"], &["connect", "--socket"], &["run", "--socket", "/x", "-v"]]
    {
        let output = lap_keeper(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: "));
    }
    let nowhere = lap_keeper(&["connect", "--socket", "/no/such/socket"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/no/such/socket"));
}

#[test]
fn a_detached_keeper_listens_when_its_caller_returns_and_keeps_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, log) = (folder.path().join("k.sock"), folder.path().join("log"));
    let paths = (socket.to_str().unwrap(), log.to_str().unwrap());
    // `output` returns only when nothing holds the pipes any more.
    let output = lap_keeper(&["run", "--detach", "--socket", paths.0, "--log", paths.1]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut client = Client::connect(&socket);
    let pid = info(&mut client).pid;
    let link = |fd: u32| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
    assert_eq!((link(0), link(1), link(2)), ("/dev/null".into(), "/dev/null".into(), log.clone()));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session, pid.to_string(), "it leads a session of its own");
    drop(client);
    shut_down(&socket);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "");
}

#[test]
fn a_keeper_that_cannot_listen_says_why_in_the_foreground_and_detached() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/k.sock");
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    for (socket, part) in [(&missing, "No such file"), (&file, "not a socket")] {
        for detach in [&["--detach"][..], &[]] {
            let socket = socket.to_str().unwrap();
            let output = lap_keeper(&[&["run", "--socket", socket][..], detach].concat());
            assert_eq!(output.status.code(), Some(1));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains(part) && said.contains(socket), "{said}");
        }
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_socket_left_behind_is_taken_over_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("k.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let keeper = Keeper::start_with(folder, |_| {});
    let second = lap_keeper(&["run", "--socket", socket.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another keeper"));
    assert_eq!(info(&mut keeper.client()).pid, keeper.pid());
}

#[test]
fn a_socket_may_lie_at_the_end_of_a_long_path() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(200)).join("e".repeat(200));
    std::fs::create_dir_all(&deep).unwrap();
    let socket = deep.join("keeper.sock");
    let output = lap_keeper(&["run", "--detach", "--socket", socket.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o600);
    shut_down(&socket);
    assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn the_connector_joins_stdio_to_the_socket_and_ends_with_either_side() {
    let keeper = Keeper::start();
    let connector = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lap-keeper"));
        command.args(["connect", "--socket"]).arg(keeper.socket());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut child = connector();
    let hello = r#"{"type":"hello","versions":["lap.attach.v1"],"name":"exec"}"#;
    let mut frame = vec![hello.len() as u8 + 4, 1, 0, 0, 0];
    frame.extend_from_slice(hello.as_bytes());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&frame).unwrap();
    let mut answer = [0; 200];
    let n = child.stdout.as_mut().unwrap().read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..n]).contains("welcome"));
    assert_eq!(info(&mut keeper.client()).connections, 2);
    drop(stdin);
    assert!(child.wait().unwrap().success());
    until("the keeper has noticed", || Some(()).filter(|()| info(&mut keeper.client()).connections == 1));

    let mut other = connector();
    let _stdin = other.stdin.take();
    until("it is there", || Some(()).filter(|()| info(&mut keeper.client()).connections == 2));
    drop(keeper);
    assert!(other.wait().unwrap().success(), "it ends with the keeper though its stdin is open");
}

#[test]
fn shutdown_leaves_no_process_and_no_socket() {
    let mut keeper = Keeper::start();
    let mut client = keeper.client();
    let deaf = "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1; done'";
    client.start(&sh("a", deaf));
    client.start(&pipes("b", &["sleep", "1000"]));
    // Nobody reads this one, and it is held up for it.
    client.start(&pipes("c", &["yes"]));
    client.open(1, "a");
    let inner: u32 = client.read_until(1, "\n").trim().parse().unwrap();
    let pids: Vec<u32> = ["a", "b", "c"].iter().map(|id| client.program(id).pid).collect();
    let asked = client.ask(Call::Shutdown { grace_ms: 100 });
    client.message(0, "goaway", |m| matches!(m, ServerMessage::Goaway { .. }));
    assert_eq!(client.answer(asked), Reply::Done);
    client.message(1, "the exit", |m| matches!(m, ServerMessage::Exit(_)));
    assert_eq!(keeper.wait(), 0);
    assert!(!keeper.socket().exists());
    assert!(!is_running(inner) && !pids.iter().any(|pid| is_running(*pid)));
}

/// Reads a program's output a little at a time until its exit, acknowledging each piece late.
/// What a slow reader takes for each byte: 32 KiB in 200 ms.
const PER_BYTE: std::time::Duration = std::time::Duration::from_nanos(200_000_000 / (32 * 1024));

fn read_slowly(client: &mut Client, channel: u32) -> (Vec<u8>, Option<i32>) {
    client.acks = false;
    let mut bytes = Vec::new();
    loop {
        match client.next_of(channel) {
            Got::Output(_, offset, payload) => {
                assert_eq!(offset, bytes.len() as u64, "a hole");
                bytes.extend_from_slice(&payload);
                // By what it is, not by how it was cut: under load it comes in smaller pieces.
                std::thread::park_timeout(PER_BYTE * u32::try_from(payload.len()).unwrap());
                client.ack(channel, bytes.len() as u64);
            }
            Got::Message(_, ServerMessage::Exit(status)) => return (bytes, status.code),
            _ => {}
        }
    }
}

#[test]
fn whoever_still_takes_bytes_gets_the_last_of_them_and_the_exit_before_the_keeper_goes() {
    let mut keeper = Keeper::start();
    let mut server = keeper.client();
    let program = server.start(&common::gated("a", "seq 1 100000; exit 7"));
    let since = lap_wire::flow::Since { epoch: program.epoch, offset: 0, size_generation: 0 };
    let mut slow = keeper.client();
    slow.open_with(1, "a", |open| (open.since, open.window) = (Some(since), 32 * 1024));
    // One that has stopped taking anything is not waited for.
    let mut stalled = keeper.client();
    stalled.acks = false;
    stalled.open_with(1, "a", |open| (open.since, open.window) = (Some(since), 1024));
    let mut watcher = keeper.client();
    watcher.open(1, "a");
    watcher.read_until(1, "up");
    server.open_input(1, "a", "go");
    server.input(1, 0, b"\n");
    until("it has ended", || server.program("a").exit);
    assert_eq!(server.call(Call::Shutdown { grace_ms: 0 }), Reply::Done);
    let (bytes, code) = read_slowly(&mut slow, 1);
    assert_eq!(code, Some(7));
    assert!(bytes == [b"up\n".as_slice(), &common::numbers(100_000)].concat());
    assert_eq!(keeper.wait(), 0);
}

#[test]
fn a_socket_whose_path_is_gone_is_made_again() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pty("a", &["cat"]));
    let back = || until("it is there again", || lap_keeper::dial(&keeper.socket()).ok());
    // While somebody is connected, while nobody is, moved away, and over and over.
    std::fs::remove_file(keeper.socket()).unwrap();
    back();
    assert_eq!(info(&mut client).pid, keeper.pid(), "who was connected is still");
    assert_eq!(std::fs::metadata(keeper.socket()).unwrap().permissions().mode() & 0o7777, 0o600);
    drop(client);
    std::fs::remove_file(keeper.socket()).unwrap();
    back();
    std::fs::rename(keeper.socket(), keeper.folder().join("elsewhere")).unwrap();
    back();
    for _ in 0..20 {
        std::fs::remove_file(keeper.socket()).unwrap();
        back();
    }
    let mut client = keeper.client();
    client.open(1, "a");
    // What somebody else puts there is left alone until it goes.
    std::fs::rename(keeper.socket(), keeper.folder().join("away")).unwrap();
    back();
    let other = keeper.folder().join("other");
    std::fs::write(&other, "mine").unwrap();
    std::fs::rename(&other, keeper.socket()).unwrap();
    assert_eq!(info(&mut client).pid, keeper.pid());
    assert_eq!(std::fs::read_to_string(keeper.socket()).unwrap(), "mine");
    std::fs::remove_file(keeper.socket()).unwrap();
    back();
}

#[test]
fn a_socket_comes_back_with_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (outer, away) = (folder.path().join("data"), folder.path().join("away"));
    let inner = outer.join("sandboxes/s-1");
    std::fs::create_dir_all(&inner).unwrap();
    let socket = inner.join("k.sock");
    let output = lap_keeper(&["run", "--detach", "--socket", socket.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let back = || until("it is there again", || lap_keeper::dial(&socket).ok());
    // Moved away and back, as a backup does: it never stopped listening.
    std::fs::rename(&outer, &away).unwrap();
    std::fs::rename(&away, &outer).unwrap();
    back();
    // Moved away for good, and a new one made in steps, with and without what was in it.
    std::fs::rename(&outer, &away).unwrap();
    std::fs::create_dir(&outer).unwrap();
    std::fs::create_dir(outer.join("sandboxes")).unwrap();
    assert!(!inner.exists(), "folders are not the keeper's to make");
    std::fs::create_dir(&inner).unwrap();
    back();
    // Removed with everything in it, which may now and then include a socket that has just come back.
    until("all of it is removed", || std::fs::remove_dir_all(&outer).ok());
    std::fs::create_dir_all(&inner).unwrap();
    back();
    shut_down(&socket);
    assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn a_keeper_told_to_end_by_a_signal_ends_its_programs() {
    let mut keeper = Keeper::start();
    let mut client = keeper.client();
    let program = client.start(&pty("a", &["cat"]));
    let pid = rustix::process::Pid::from_raw(keeper.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(keeper.wait(), 0);
    assert!(!is_running(program.pid));
}

#[test]
fn a_keeper_that_is_killed_takes_its_programs_with_it() {
    let mut keeper = Keeper::start();
    let mut client = keeper.client();
    let pids = [pty("a", &["cat"]), pipes("b", &["sleep", "1000"])].map(|spec| client.start(&spec).pid);
    let pid = rustix::process::Pid::from_raw(keeper.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(keeper.wait(), -1);
    until("they are gone too", || (!pids.iter().any(|pid| is_running(*pid))).then_some(()));
}

#[test]
fn an_idle_keeper_is_not_woken() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pty("a", &["cat"]));
    client.open(1, "a");
    client.open_input(2, "a", "me");
    client.input(2, 0, b"x");
    client.acked(2, 1);
    client.read_until(1, "x");
    drop(client);
    let status = || {
        let text = std::fs::read_to_string(format!("/proc/{}/status", keeper.pid())).unwrap();
        let line = text.lines().find(|l| l.starts_with("voluntary_ctxt_switches")).unwrap().to_owned();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", keeper.pid())).unwrap();
        let state = stat.rsplit(") ").next().unwrap().chars().next().unwrap();
        (line, state)
    };
    // Once it sleeps for good, its count of sleeps stays as it is.
    until("it sleeps for a second", || {
        let before = status();
        std::thread::park_timeout(std::time::Duration::from_secs(1));
        (before.1 == 'S' && before == status()).then_some(())
    });
}

#[test]
fn as_the_first_process_it_reaps_and_ends_with_its_namespace() {
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let can = Command::new("unshare").args(unshare).arg("true").stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("no pid namespaces here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::start_with(folder, |command| {
        let plain = std::mem::replace(command, Command::new("unshare"));
        command.args(unshare).arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    });
    let mut client = keeper.client();
    assert_eq!(info(&mut client).pid, 1);
    client.start(&pipes(
        "a",
        &["sh", "-c", "for i in 1 2 3; do (setsid sleep 0.05 &); done; setsid sleep 1000 &"],
    ));
    until("it ends", || client.program("a").exit);
    until("orphans are reaped, and the last one runs", || {
        let id = format!("ps{}", client.passed.len() + rand());
        let program = client.start(&pipes(&id, &["ps", "-eo", "stat=,args="]));
        let (text, _) = common::output_of(&keeper.socket(), &program);
        client.call(Call::Remove { id });
        let text = String::from_utf8(text).unwrap();
        let sleeps: Vec<&str> = text.lines().filter(|l| l.contains("sleep")).collect();
        (sleeps.len() == 1 && sleeps[0].contains("1000") && !text.contains("defunct")).then_some(())
    });
    assert_eq!(client.call(Call::Shutdown { grace_ms: 1000 }), Reply::Done);
    assert_eq!(keeper.wait(), 0);
}

/// Tells one look from the next.
fn rand() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static LOOKS: AtomicUsize = AtomicUsize::new(0);
    LOOKS.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn files_arrive_whole_or_not_at_all() {
    let keeper = Keeper::start();
    let path = keeper.folder().join("new/folder/file");
    let call = |channel: u32, path: &Path| Call::WriteFile {
        channel: lap_wire::ChannelId(channel),
        path: path.to_str().unwrap().into(),
        mode: 0o750,
    };
    let contents: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let mut client = keeper.client();
    assert_eq!(client.call(call(1, &path)), Reply::Done);
    for (i, chunk) in contents.chunks(30_000).enumerate() {
        client.input(1, i as u64 * 30_000, chunk);
    }
    client.acked(1, contents.len() as u64);
    assert!(!path.exists(), "it is seen before it is whole");
    client.send(1, &ClientMessage::StdinEof);
    let closed = client.message(1, "closed", |m| matches!(m, ServerMessage::Closed { .. }));
    assert_eq!(closed, ServerMessage::Closed { reason: "complete".into() });
    assert!(std::fs::read(&path).unwrap() == contents);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o750);

    // A peer that goes in between leaves the old one, and nothing beside it.
    assert_eq!(client.call(call(1, &path)), Reply::Done);
    client.input(1, 0, b"half of");
    client.acked(1, 7);
    drop(client);
    let only = || std::fs::read_dir(path.parent().unwrap()).unwrap().count() == 1;
    until("what was half is gone", || only().then_some(()));
    assert!(std::fs::read(&path).unwrap() == contents);

    let mut client = keeper.client();
    assert_eq!(client.refused(call(1, Path::new("/proc/no/file"))).code, ErrorCode::Invalid);
    assert_eq!(client.refused(call(0, &path)).code, ErrorCode::UnexpectedMessage);
    assert_eq!(client.refused(call(1, keeper.folder())).code, ErrorCode::Invalid);
    for channel in 1..=32 {
        assert_eq!(client.call(call(channel, &path)), Reply::Done);
    }
    let error = client.refused(call(33, &path));
    assert_eq!((error.code, error.retryable), (ErrorCode::Overloaded, true));
}
