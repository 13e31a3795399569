//! The end of a session's program: every viewer that still reads has all of it, after the session is known to be dead
//! and before its sandbox may go.

use std::sync::atomic::Ordering;

use lap_wire::ChannelId;
use lap_wire::control::{ClientMessage, ServerMessage};
use lap_wire::frame::{Frame, FrameType};

use crate::client::{Event, interact, view};
use crate::world::{World, wait_for};

const LINES: u32 = 11_250;

/// Prints 900 KB when it is told to, and exits with 7.
fn flood() -> String {
    format!("stty -opost -echo; printf UP; read go; seq -f %079.0f 1 {LINES}; exit 7")
}

fn numbers(text: &[u8]) -> Vec<u32> {
    String::from_utf8_lossy(text).lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn a_slow_viewer_has_the_last_bytes_and_the_exit_before_the_sandbox_may_go() {
    let world = World::new();
    let session = world.session(&flood());
    let mut typist = world.connect();
    typist.open(1, interact(session, "keys"));
    typist.until_text(1, "UP");
    // It acknowledges only when the test does.
    let mut slow = world.connect();
    slow.acks = false;
    slow.open(1, view(session));
    slow.until_ready(1);
    typist.input(1, 0, b"\n");
    typist.until("the exit", |e| matches!(e, Event::Control(1, ServerMessage::Exit(_))).then_some(()));
    wait_for("the end is told", || {
        let heard = world.sessions.heard.lock().unwrap();
        (!heard.exits.is_empty()).then_some(())
    });
    let mut text = Vec::new();
    let mut acked = 0;
    let code = slow.next_acking(1, |client, event| match event {
        Event::Output(1, offset, bytes) => {
            text.extend_from_slice(bytes);
            let end = offset + bytes.len() as u64;
            let still_there = world.sessions.heard.lock().unwrap().delivered.is_empty();
            assert!(still_there, "the sandbox may go, and {} bytes are on their way", end - acked);
            // A frame later than it could.
            client.ack(1, acked);
            acked = end;
            None
        }
        Event::Control(1, ServerMessage::Exit(status)) => {
            assert!(world.sessions.heard.lock().unwrap().delivered.is_empty());
            client.ack(1, acked);
            Some(status.code)
        }
        Event::Control(1, ServerMessage::Closed { .. }) => panic!("closed before the exit"),
        _ => None,
    });
    assert_eq!(code, Some(7));
    assert_eq!(numbers(&text), (1..=LINES).collect::<Vec<_>>());
    wait_for("the sandbox may go", || {
        (world.sessions.heard.lock().unwrap().delivered == [session]).then_some(())
    });
}

#[test]
fn nobody_is_told_of_the_end_before_the_session_is_dead() {
    let world = World::new();
    let session = world.session("stty -echo; printf UP; read go; printf 'last words'; exit 3");
    world.sessions.slow_to_die.store(true, Ordering::Relaxed);
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "UP");
    let mut tty = world.connect_tty(session, false).raw();
    tty.until_text(1, "UP");
    client.input(1, 0, b"\n");
    client.until_text(1, "last words");
    tty.until_text(1, "last words");
    wait_for("the end is told", || (!world.sessions.heard.lock().unwrap().exits.is_empty()).then_some(()));
    // What was sent before the pong is here.
    client.frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, b"12345678"));
    client.until_pong_and(|event| {
        assert!(!matches!(event, Event::Control(1, ServerMessage::Exit(_))), "told too early");
    });
    assert!(world.sessions.heard.lock().unwrap().delivered.is_empty());
    world.sessions.slow_to_die.store(false, Ordering::Relaxed);
    let code = client.until("the exit", |e| match e {
        Event::Control(1, ServerMessage::Exit(status)) => Some(status.code),
        _ => None,
    });
    assert_eq!(code, Some(3));
    assert_eq!(tty.until_close(), 4404);
}

#[test]
fn whoever_is_behind_when_the_sandbox_goes_gets_what_the_server_holds_and_then_the_end() {
    let mut world = World::new();
    let session = world.session(&flood());
    let mut typist = world.connect();
    typist.open(1, interact(session, "keys"));
    typist.until_text(1, "UP");
    let mut slow = world.connect();
    slow.acks = false;
    let mut open = view(session);
    open.window = 50_000;
    slow.open(1, open);
    slow.until_ready(1);
    typist.input(1, 0, b"\n");
    typist.until("the exit", |e| matches!(e, Event::Control(1, ServerMessage::Exit(_))).then_some(()));
    world.sessions.locations.lock().unwrap().clear();
    world.kill_keeper();
    let mut text = Vec::new();
    slow.acks = true;
    slow.ack(1, lap_wire::limits::MAX_OFFSET);
    let mut exited = false;
    slow.until("closed", |e| {
        match e {
            Event::Output(1, _, bytes) => text.extend_from_slice(bytes),
            Event::Control(1, ServerMessage::Exit(_)) => exited = true,
            Event::Control(1, ServerMessage::Closed { .. }) => return Some(()),
            _ => {}
        }
        None
    });
    assert!(exited, "closed without the exit");
    assert_eq!(numbers(&text), (1..=LINES).collect::<Vec<_>>());
}

#[test]
fn a_viewer_that_leaves_in_the_middle_of_the_end_holds_nothing_up() {
    let world = World::new();
    let session = world.session(&flood());
    let mut typist = world.connect();
    typist.open(1, interact(session, "keys"));
    typist.until_text(1, "UP");
    let mut lazy = world.connect();
    lazy.acks = false;
    lazy.open(1, view(session));
    lazy.until_ready(1);
    typist.input(1, 0, b"\n");
    typist.until("the exit", |e| matches!(e, Event::Control(1, ServerMessage::Exit(_))).then_some(()));
    lazy.control(1, &ClientMessage::Close);
    wait_for("the sandbox may go", || {
        (world.sessions.heard.lock().unwrap().delivered == [session]).then_some(())
    });
}
