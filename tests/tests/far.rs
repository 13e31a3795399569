//! A server an ocean away, behind what people have in between: the real programs, with a proxy of our own that delays,
//! cuts and lies, and with nginx.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::process::{Command, Output};
use std::time::Duration;

use lap_platform::model::Session;
use lap_tests::nginx::Nginx;
use lap_tests::proxy::{Lie, Proxy};
use lap_tests::server::TestServer;
use lap_tests::terminal::TestTerminal;
use lap_vt::Size;

const AGENTS: &str = "/managed_agents/agents";
const SESSIONS: &str = "GET /api/v1/managed_agents/sessions?";
const EVENTS: &str = "/managed_agents/events";
const ATTACH: &str = "/managed_agents/attach";
const ALWAYS: usize = usize::MAX;
const SCREEN: Size = Size { cols: 100, rows: 30 };

/// A server with a session, and what stands before it.
struct Far {
    server: TestServer,
    proxy: Proxy,
    session: Session,
}

impl Far {
    fn away() -> Far {
        let server = TestServer::start().unwrap();
        let session = server.shell("abroad").unwrap();
        let proxy = Proxy::start(server.address()).unwrap();
        Far { server, proxy, session }
    }

    /// `lap` with arguments, which knows the server by the proxy's address.
    fn in_terminal(&self, arguments: &[&str]) -> TestTerminal {
        self.in_terminal_at(&self.proxy.url(), &[], arguments)
    }

    fn in_terminal_at(&self, url: &str, variables: &[(&str, &str)], arguments: &[&str]) -> TestTerminal {
        let mut command = self.server.lap(arguments.iter().copied()).unwrap();
        command.env("LAP_URL", url);
        for (name, value) in variables {
            command.env(name, value);
        }
        TestTerminal::start(command, SCREEN).unwrap()
    }

    fn lap(&self, arguments: &[&str]) -> Output {
        self.lap_at(&self.proxy.url(), &[], arguments)
    }

    fn lap_at(&self, url: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let command = self.server.lap(arguments.iter().copied()).unwrap();
        let mut argv = command.get_argv().iter();
        let mut plain = Command::new(argv.next().unwrap());
        plain.args(argv).env_clear().envs(command.iter_full_env_as_str());
        plain.env("LAP_URL", url).envs(variables.iter().copied()).output().unwrap()
    }
}

/// Waits for a shell's prompt, whatever it is.
#[track_caller]
fn prompted(terminal: &TestTerminal) {
    terminal.wait("a prompt", |screen| screen.cursor().x > 0).unwrap();
}

/// What a command complains of, where it ends with this status.
#[track_caller]
fn complaint(output: &Output, status: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}{}", String::from_utf8_lossy(&output.stdout));
    said
}

#[test]
fn what_answers_in_the_servers_place_is_named_and_the_command_ends_with_5() {
    let far = Far::away();
    for (lie, says) in [
        (Lie::page("502 Bad Gateway"), "between/1.0 gave a web page with 502 Bad Gateway"),
        (Lie::page("200 OK"), "login page"),
        (Lie::redirect("https://sso.example.org/in"), "https://sso.example.org/in"),
    ] {
        far.proxy.lie("/api/v1", ALWAYS, lie);
        let said = complaint(&far.lap(&["sessions", "ls"]), 5);
        assert!(said.contains(says) && said.contains(&far.proxy.url()), "{said}");
        far.proxy.honest();
    }
    assert!(far.lap(&["sessions", "ls"]).status.success());
}

#[test]
fn a_question_whose_connection_breaks_is_asked_again_and_a_command_is_not() {
    let far = Far::away();
    far.proxy.lie(SESSIONS, 2, Lie::Cut);
    assert!(far.lap(&["sessions", "ls"]).status.success());
    assert_eq!(far.proxy.asked(SESSIONS), 3);
    far.proxy.lie("POST ", ALWAYS, Lie::Cut);
    complaint(&far.lap(&["sessions", "restart", "--yes", &far.session.id.to_string()]), 5);
    assert_eq!(far.proxy.asked("POST "), 1);
}

#[test]
fn a_terminal_that_no_upgrade_reaches_is_named_for_that_and_the_command_ends() {
    let far = Far::away();
    far.proxy.lie(ATTACH, ALWAYS, Lie::NoUpgrade);
    let mut terminal = far.in_terminal(&["attach", &far.session.id.to_string()]);
    let ended = terminal.wait_end().unwrap();
    assert_eq!(ended.exit_code(), 5, "{}", terminal.text());
    assert!(terminal.text().contains("WebSocket"), "{}", terminal.text());
}

#[test]
fn the_dashboard_goes_on_by_itself_after_a_start_that_failed() {
    let far = Far::away();
    far.proxy.lie(SESSIONS, 1, Lie::page("502 Bad Gateway"));
    far.proxy.lie("GET /api/v1/managed_agents/agents?", 1, Lie::Cut);
    let terminal = far.in_terminal(&[]);
    terminal.wait_text("abroad").unwrap();
    terminal.wait_text("ready").unwrap();
}

#[test]
fn what_lives_is_shown_before_the_rest_has_come() {
    let far = Far::away();
    far.proxy.lie("sessions?limit=25 HTTP", ALWAYS, Lie::Silence);
    let terminal = far.in_terminal(&[]);
    terminal.wait_text("abroad").unwrap();
    terminal.wait_text("ready").unwrap();
}

#[test]
fn the_dashboard_shows_its_lists_where_the_feed_does_not_come_through() {
    let far = Far::away();
    far.proxy.lie(EVENTS, ALWAYS, Lie::Gather);
    let terminal = far.in_terminal(&[]);
    terminal.wait_text("abroad").unwrap();
    terminal.wait_text("ready").unwrap();
}

#[test]
fn over_a_slow_line_that_is_cut_not_a_key_and_not_a_byte_is_lost() {
    let far = Far::away();
    far.proxy.delay(Duration::from_millis(40));
    let terminal = far.in_terminal(&["attach", &far.session.id.to_string()]);
    prompted(&terminal);
    for turn in 0..6 {
        terminal.type_in(format!("echo turn-{turn}-$((40 + {turn}))-end\r")).unwrap();
        if turn % 2 == 1 {
            far.proxy.cut();
        }
        terminal.wait_text(&format!("turn-{turn}-{}-end", 40 + turn)).unwrap();
    }
    // Each was typed once. What is recorded is a moment behind what is shown.
    let logged = || {
        let log = far.lap(&["sessions", "logs", &far.session.id.to_string()]);
        String::from_utf8_lossy(&log.stdout).into_owned()
    };
    let mut log = logged();
    for _ in 0..200 {
        if log.contains("turn-5-45-end") {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        log = logged();
    }
    for turn in 0..6 {
        let printed = format!("turn-{turn}-{}-end", 40 + turn);
        assert_eq!(log.matches(&printed).count(), 1, "{log}");
    }
    assert!(far.proxy.asked(ATTACH) >= 4, "{}", far.proxy.asked(ATTACH));
}

#[test]
fn what_speaks_something_else_than_http_is_told_with_what_to_try() {
    let far = Far::away();
    far.proxy.lie(AGENTS, ALWAYS, Lie::Answer("\x15\x03\x03\0\x02\x02\x46".into()));
    let said = complaint(&far.lap(&["agents", "ls"]), 5);
    assert!(said.contains("does not speak HTTP") && said.contains("https://"), "{said}");
    let tls = far.proxy.url().replace("http://", "https://");
    far.proxy.lie("", ALWAYS, Lie::page("400 Bad Request"));
    let said = complaint(&far.lap_at(&tls, &[], &["agents", "ls"]), 5);
    assert!(said.contains("does not speak TLS") && said.contains("http://"), "{said}");
}

#[test]
fn behind_nginx_as_it_comes_all_but_terminals_works_and_those_say_what_to_change() {
    let far = Far::away();
    let nginx = Nginx::start(far.server.address()).unwrap();
    assert!(far.lap_at(&nginx.plain(), &[], &["sessions", "ls"]).status.success());
    let dashboard = far.in_terminal_at(&nginx.plain(), &[], &[]);
    dashboard.wait_text("abroad").unwrap();
    // Of what happens from here on only the feed tells: it comes through though nginx would gather it.
    far.server.shell("later").unwrap();
    dashboard.wait_text("later").unwrap();
    let id = far.session.id.to_string();
    let mut attaching = far.in_terminal_at(&nginx.plain(), &[], &["attach", &id]);
    assert_eq!(attaching.wait_end().unwrap().exit_code(), 5, "{}", attaching.text());
    assert!(attaching.text().contains("Upgrade"), "{}", attaching.text());
    let terminal = far.in_terminal_at(&nginx.upgrading(), &[], &["attach", &id]);
    prompted(&terminal);
    terminal.type_in("echo be$((40 + 2))hind\r").unwrap();
    terminal.wait_text("be42hind").unwrap();
}

#[test]
fn a_certificate_of_ones_own_is_trusted_where_it_is_given_and_refused_in_plain_words_elsewhere() {
    let far = Far::away();
    let nginx = Nginx::start(far.server.address()).unwrap();
    let file = nginx.certificate().display().to_string();
    let given = [("SSL_CERT_FILE", file.as_str())];
    let list = ["agents", "ls"];
    assert_eq!(complaint(&far.lap_at(&nginx.tls(), &given, &list), 0), "");
    let terminal = far.in_terminal_at(&nginx.tls(), &given, &["attach", &far.session.id.to_string()]);
    prompted(&terminal);
    terminal.type_in("echo sa$((40 + 2))fe\r").unwrap();
    terminal.wait_text("sa42fe").unwrap();

    let numbered = nginx.tls().replace("localhost", "127.0.0.1");
    let plain = nginx.tls().replace("https://", "http://");
    let no_tls = nginx.plain().replace("http://", "https://");
    for (url, variables, says) in [
        (nginx.tls(), &[][..], "SSL_CERT_FILE"),
        (numbered, &given[..], "another name"),
        (plain, &[], "https://"),
        (no_tls, &[], "http://"),
    ] {
        let said = complaint(&far.lap_at(&url, variables, &list), 5);
        assert!(said.contains(says) && said.contains(&url), "{said}");
    }
}
