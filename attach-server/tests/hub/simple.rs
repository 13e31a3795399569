//! The simple socket, as browsers and scripts use it.

use lap_attach_server::hub::Grant;
use lap_wire::control::{ErrorCode, ServerMessage};

use crate::client::{Event, interact, view};
use crate::world::{RAW_CAT, World, wait_for};

#[test]
fn what_a_client_says_of_itself_is_never_typed_and_nothing_is_answered_to_it() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "READY");
    for said in [
        r#"{"type":"ping"}"#,
        r#"{"type":"resize","cols":100000,"rows":-1}"#,
        r#"{"type":"resize","cols":80.5,"rows":"24"}"#,
        r#"{"type":"resize","rows":30,"cols":100}"#,
    ] {
        tty.send_message(1, said.as_bytes());
    }
    tty.send_message(1, br#"{"type":"resize","cols":1}"#);
    let text = tty.until_text(1, r#""cols":1}"#);
    assert!(!text.contains("ping") && !text.contains("pong") && !text.contains("100"), "{text}");
    let mut client = world.connect();
    client.open(1, view(session));
    client.until("the size", |event| match event {
        Event::Control(1, ServerMessage::Opened { size, .. } | ServerMessage::Resized { size, .. }) => {
            ((size.cols, size.rows) == (100, 30)).then_some(())
        }
        _ => None,
    });
}

#[test]
fn keys_that_look_like_the_beginning_of_an_answer_are_typed() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "READY");
    for key in ["\x1b]", "\x1bP", "\x1b\\"] {
        tty.send_message(1, key.as_bytes());
        tty.until_text(1, key);
    }
}

#[test]
fn what_is_typed_before_the_terminal_is_there_is_typed_into_it() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    world.stop_keeper();
    let mut tty = world.connect_tty(session, true).raw();
    for n in 0..2000 {
        tty.send_message(2, format!("<{n}>").as_bytes());
    }
    world.continue_keeper();
    let text = tty.until_text(1, "<1999>");
    assert!(text.contains("<1998><1999>"));
}

#[test]
fn one_viewer_too_many_is_told_why_whatever_it_speaks() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut clients = Vec::new();
    for connection in 0..8 {
        let mut client = world.connect();
        client.acks = true;
        for channel in 1..=16 {
            client.open(channel, view(session));
        }
        clients.push(std::thread::spawn(move || {
            // Everybody is told of everybody: they have to be read.
            while !matches!(client.next(), Event::Close(_)) {}
            connection
        }));
    }
    wait_for("a full house", || (world.runtime.block_on(world.hub.census()).viewers == 128).then_some(()));
    let mut late = world.connect();
    late.open(1, interact(session, "late"));
    let refused = late.until_error(1);
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Overloaded, true));
    let mut tty = world.connect_tty(session, true).raw();
    let (code, reason) = tty.until_close_reason();
    assert_eq!(code, 4429);
    assert!(reason.contains("128 viewers"), "{reason}");
    let mut gone = world.connect_tty(lap_platform::model::SessionId::new(), true).raw();
    let (code, reason) = gone.until_close_reason();
    assert_eq!(code, 4404);
    assert!(reason.contains("there is no session"), "{reason}");
    drop(world.connect_raw(Grant { only_session: None, may_type: true }));
    drop(world);
    for client in clients {
        client.join().unwrap();
    }
}
