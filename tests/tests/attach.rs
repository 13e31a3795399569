//! `lap attach` as its user meets it: the real program in a terminal, a real server, real programs in the sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use lap_tests::server::TestServer;
use lap_tests::terminal::TestTerminal;
use lap_vt::{Modes, Terminal};
use lap_wire::control::Size;

const SIZE: Size = Size { cols: 100, rows: 30 };
const PREFIX: &str = "\x1d";

fn vt(size: Size) -> lap_vt::Size {
    lap_vt::Size { cols: size.cols, rows: size.rows }
}

/// Attached, and the shell has answered: a prompt alone may be anybody's.
fn attached(server: &TestServer, name: &str) -> (lap_platform::model::Session, TestTerminal) {
    let session = server.shell(name).unwrap();
    let terminal = server.attach(&[&session], &[], SIZE).unwrap();
    ready(&terminal, name);
    (session, terminal)
}

fn ready(terminal: &TestTerminal, name: &str) {
    // Not for the line that tells how to leave: it goes after a while, and a busy machine may miss it.
    terminal
        .wait(&format!("{name} shows its prompt"), |screen| screen.screen_text().contains(['$', '#']))
        .unwrap();
    run(terminal, "PS1='$ '; clear; echo re''ady", "ready");
}

/// Types a command and waits until its answer stands at the beginning of a line.
fn run(terminal: &TestTerminal, command: &str, answer: &str) {
    terminal.type_in(format!("{command}\r")).unwrap();
    let line = |screen: &Terminal| screen.screen_text().lines().any(|line| line.starts_with(answer));
    terminal.wait(&format!("{command:?} has answered {answer:?}"), line).unwrap();
}

fn leave(mut terminal: TestTerminal) -> String {
    terminal.type_in(format!("{PREFIX}d")).unwrap();
    assert!(terminal.wait_end().unwrap().success());
    terminal.text()
}

#[test]
fn one_session_has_the_whole_terminal_and_is_left_and_come_back_to() {
    let server = TestServer::start().unwrap();
    let (session, terminal) = attached(&server, "one");
    run(&terminal, "stty size", "30 100");
    terminal.resize(vt(Size { cols: 72, rows: 20 })).unwrap();
    // The new size and the next keys go to lap by different ways, a signal and its terminal: either may come first.
    run(&terminal, r#"until [ "$(stty size)" = '20 72' ]; do sleep .02; done; echo siz""ed"#, "sized");
    run(&terminal, "echo a$((1+1))b", "a2b");
    let last = leave(terminal);
    assert!(last.contains("[left one: it goes on"), "{last}");
    let again = server.attach(&[&session], &[], Size { cols: 72, rows: 20 }).unwrap();
    again.wait_text("a2b").unwrap();
    run(&again, "echo b$((1+1))c", "b2c");
}

#[test]
fn whatever_the_program_left_set_the_terminal_is_given_back_as_it_was() {
    let server = TestServer::start().unwrap();
    let (session, terminal) = attached(&server, "modes");
    let set = r"printf '\033[?1049h\033[?1003h\033[?1006h\033[?2004h\033[?1004h\033[>5u\033[?25l\033[5 q'; echo in alternate";
    run(&terminal, set, "in alternate");
    terminal
        .wait("the program's modes are the terminal's", |screen| {
            let modes = screen.modes();
            modes.alternate_screen
                && modes.bracketed_paste
                && modes.kitty_keyboard == 5
                && !screen.cursor().visible
        })
        .unwrap();
    terminal.type_in("\x1b[93;5u\x1b[100u").unwrap();
    let mut left = terminal;
    assert!(left.wait_end().unwrap().success(), "the prefix is known in kitty's writing too");
    left.look(|screen| {
        assert_eq!(
            screen.modes(),
            Modes { alternate_scroll: screen.modes().alternate_scroll, ..Modes::default() }
        );
        assert!(screen.cursor().visible);
    });
    let again = server.attach(&[&session], &[], SIZE).unwrap();
    again
        .wait("the program's modes are the terminal's again", |screen| {
            let modes = screen.modes();
            modes.alternate_screen && modes.bracketed_paste && modes.kitty_keyboard == 5
        })
        .unwrap();
    let pid = again.pid().unwrap();
    let mut again = again;
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(!again.wait_end().unwrap().success());
    again.look(|screen| assert_eq!(screen.modes().kitty_keyboard, 0, "a signal gives it back too"));
}

#[test]
fn the_programs_own_exit_status_is_laps_if_asked_for() {
    let server = TestServer::start().unwrap();
    let session = server.shell("seven").unwrap();
    let mut terminal = server.attach(&[&session], &["--exit-status"], SIZE).unwrap();
    ready(&terminal, "seven");
    terminal.type_in("exit 7\r").unwrap();
    assert_eq!(terminal.wait_end().unwrap().exit_code(), 7);
    assert!(terminal.text().contains("[seven has exited with status 7]"), "{}", terminal.text());
}

#[test]
fn what_is_typed_while_the_server_is_dead_arrives_once_when_it_is_back() {
    let mut server = TestServer::start().unwrap();
    let (_session, terminal) = attached(&server, "survivor");
    run(&terminal, "n=0; up() { n=$((n+1)); echo \"n is $n\"; }; echo set", "set");
    server.kill().unwrap();
    terminal.wait_text("reconnecting").unwrap();
    terminal.type_in("up\r").unwrap();
    server.start_again().unwrap();
    terminal
        .wait("the command has run", |screen| screen.screen_text().lines().any(|l| l.starts_with("n is 1")))
        .unwrap();
    run(&terminal, "up", "n is 2");
    terminal.look(|screen| assert!(!screen.screen_text().contains("reconnecting"), "the message is gone"));
}

#[test]
fn a_stream_goes_on_without_a_gap_over_a_killed_server() {
    let mut server = TestServer::start().unwrap();
    let (_session, terminal) = attached(&server, "counter");
    terminal.type_in("for i in $(seq 1 400); do echo count-$i-end; sleep 0.01; done; echo do''ne\r").unwrap();
    terminal.wait_text("count-40-end").unwrap();
    server.kill().unwrap();
    server.start_again().unwrap();
    terminal
        .wait("the stream has ended", |screen| screen.screen_text().lines().any(|l| l == "done"))
        .unwrap();
    terminal.look(|screen| {
        let lines: Vec<String> = screen.screen_text().lines().map(str::to_owned).collect();
        let end = lines.iter().position(|line| line == "done").unwrap();
        let expected: Vec<String> = (400 - end + 1..=400).map(|i| format!("count-{i}-end")).collect();
        assert_eq!(lines[..end], expected, "the whole screen is the end of the stream");
    });
}

#[test]
fn a_viewer_that_only_looks_sees_and_types_nothing() {
    let server = TestServer::start().unwrap();
    let (session, typist) = attached(&server, "watched");
    let viewer = server.attach(&[&session], &["--view"], Size { cols: 60, rows: 12 }).unwrap();
    viewer.wait_text("watched (view only)").unwrap();
    viewer.type_in("echo not''-typed\r").unwrap();
    run(&typist, "echo ty''ped; stty size", "30 100");
    viewer.wait_text("typed").unwrap();
    viewer.look(|screen| assert!(!screen.screen_text().contains("not-typed")));
    typist.look(|screen| assert!(!screen.screen_text().contains("not-typed"), "nor anybody else"));
    leave(viewer);
}

/// What was typed is there and its Escape has been taken: a key right behind an Escape is one with Alt.
fn typed_into_vim(terminal: &TestTerminal, text: &str) {
    let typed = |screen: &Terminal| {
        let screen = screen.screen_text();
        screen.contains(text) && !screen.contains("-- INSERT --")
    };
    terminal.wait(&format!("vim has {text:?}"), typed).unwrap();
}

/// A part of the screen, as text.
fn part(screen: &Terminal, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> Vec<String> {
    let text = screen.screen_text();
    let cut = |line: &str| {
        let cut: String = line.chars().skip(columns.start).take(columns.len()).collect();
        cut.trim_end().to_owned()
    };
    text.lines().skip(rows.start).take(rows.len()).map(cut).collect()
}

#[test]
fn vim_htop_and_a_build_in_three_panes_survive_a_killed_server() {
    let mut server = TestServer::start().unwrap();
    let sessions = ["editor", "monitor", "build"].map(|name| server.shell(name).unwrap());
    let [editor, monitor, build] = &sessions;
    let terminal = server.attach(&[editor, monitor, build], &[], Size { cols: 121, rows: 40 }).unwrap();
    for name in ["editor", "monitor", "build"] {
        terminal.wait_text(&format!("─ {name} ")).unwrap();
    }
    // The last one has the keyboard; the next is the first again.
    let compile = "for i in $(seq 1 100000); do echo \"Compiling crate-$i v1.0\"; sleep 0.05; done\r";
    terminal.type_in(compile).unwrap();
    terminal.wait_text("Compiling crate-9 v1.0").unwrap();
    terminal.type_in(format!("{PREFIX}o")).unwrap();
    terminal.type_in("vim -N -u NONE notes.txt\r").unwrap();
    terminal.wait_text("\"notes.txt\"").unwrap();
    terminal.type_in("ihello from vim\x1b").unwrap();
    typed_into_vim(&terminal, "hello from vim");
    terminal.type_in(format!("{PREFIX}o")).unwrap();
    terminal.type_in("htop -d 10\r").unwrap();
    terminal.wait("htop shows itself", |screen| screen.screen_text().contains("F1Help")).unwrap();

    server.kill().unwrap();
    terminal.wait_text("reconnecting").unwrap();
    server.start_again().unwrap();
    terminal.wait("the panes are back", |screen| !screen.screen_text().contains("reconnecting")).unwrap();

    // The build goes on, and vim takes keys.
    let crates = |screen: &Terminal| {
        let text = screen.screen_text();
        let numbers =
            text.split("crate-").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        numbers.max().unwrap_or(0)
    };
    let before = terminal.look(crates);
    terminal.wait("the build goes on", |screen| crates(screen) > before + 20).unwrap();
    terminal.type_in(format!("{PREFIX}hoand after it\x1b")).unwrap();
    typed_into_vim(&terminal, "and after it");

    // Each pane is, row by row, what somebody who attaches now is shown.
    for (session, columns, rows) in [(editor, 0..60, 1..39), (monitor, 61..121, 1..19)] {
        let size = Size { cols: columns.len() as u16, rows: rows.len() as u16 };
        let fresh = server.attach(&[session], &["--view"], size).unwrap();
        let same = |screen: &Terminal| {
            let pane = terminal.look(|screen| part(screen, columns.clone(), rows.clone()));
            pane.iter().any(|row| !row.is_empty()) && part(screen, 0..columns.len(), 0..rows.len()) == pane
        };
        fresh.wait("a fresh view is what the pane shows", same).unwrap();
        leave(fresh);
    }
    leave(terminal);
}

#[test]
fn keys_and_pastes_reach_a_program_in_a_pane_as_it_asked_for_them() {
    let server = TestServer::start().unwrap();
    let (left, right) = (server.shell("left").unwrap(), server.shell("right").unwrap());
    let terminal = server.attach(&[&left, &right], &[], SIZE).unwrap();
    terminal.wait_text("─ right ").unwrap();
    terminal.type_in("PS1='$ '; clear; echo re''ady\r").unwrap();
    terminal.wait_text("ready").unwrap();
    // As a terminal with kitty's keyboard writes Shift+Enter, to a program that asked for that, and to one that did not.
    let program = "printf '\\033[>1upu''shed\\n'; head -n 1 | cat -v; printf '\\033[<upo''pped\\n'; wc -c\r";
    terminal.type_in(program).unwrap();
    terminal.wait_text("pushed").unwrap();
    terminal.type_in("\x1b[13;2u\r").unwrap();
    terminal.wait_text("^[[13;2u").unwrap();
    terminal.wait_text("popped").unwrap();
    let lines = "0123456789abcde\r".repeat(4096);
    terminal.type_in(format!("\x1b[200~{lines}\x1b[201~")).unwrap();
    terminal.type_in("\x1b[100;5u").unwrap();
    terminal.wait_text("65536").unwrap();
    leave(terminal);
}
