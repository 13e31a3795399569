//! Clients that a server has let in at the keeper's own socket: what they may do, and nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::Write;

use common::{Client, Got, Keeper, pipes, sh, until};
use lap_wire::control::{ClientMessage, ErrorCode, Mode, Open, Responder, ServerMessage, Size, ViewerSeat};
use lap_wire::keeper::{Call, Grant, Reply};
use lap_wire::limits::MAX_GRANTED_CHANNELS;
use lap_wire::{ChannelId, FrameType};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn grant(mode: Mode) -> Grant {
    Grant {
        token: TOKEN.into(),
        program: "a".into(),
        mode,
        name: "ana@host".into(),
        person: "p-ana".into(),
        within_ms: 60_000,
    }
}

/// A keeper with two terminals, the server's connection, and a client that was let in to the first.
fn let_in(mode: Mode) -> (Keeper, Client, Client) {
    let keeper = Keeper::start();
    let mut server = keeper.client();
    server.start(&sh("a", "echo up; exec cat"));
    server.start(&sh("b", "echo secret; exec cat"));
    assert_eq!(server.call(Call::Grant(grant(mode))), Reply::Done);
    let client = Client::granted(&keeper.socket(), TOKEN).unwrap();
    (keeper, server, client)
}

fn open(client: &mut Client, channel: u32, change: impl FnOnce(&mut Open)) {
    let mut open = Open { input: Some("keys".into()), ..Open::new("a", Mode::Interact) };
    change(&mut open);
    client.send(channel, &ClientMessage::Open(open));
}

fn opened(client: &mut Client, channel: u32) {
    client.message(channel, "opened", |m| matches!(m, ServerMessage::Opened { .. }));
}

#[test]
fn a_client_that_was_let_in_types_watches_and_is_seen() {
    let (keeper, mut server, mut client) = let_in(Mode::Interact);
    server.open(1, "a");
    open(&mut client, 1, |open| open.size = Some(Size { cols: 90, rows: 30 }));
    opened(&mut client, 1);
    let seen = server.presence(1, |v| v.len() == 1);
    assert_eq!((seen[0].name.as_str(), seen[0].person.as_str()), ("ana@host", "p-ana"));
    assert!(seen[0].active);
    let you = client.presence(1, |v| v.len() == 1);
    assert!(you[0].you);
    server.message(1, "its size", |m| {
        matches!(m, ServerMessage::Resized { size: Size { cols: 90, rows: 30 }, .. })
    });
    client.input(1, 0, b"typed straight");
    client.read_until(1, "typed straight");
    server.read_until(1, "typed straight");
    // Nobody comes back for its seat: it goes with its connection.
    drop(client);
    assert!(server.presence(1, <[_]>::is_empty).is_empty());
    assert!(Client::granted(&keeper.socket(), TOKEN).is_some(), "while its time lasts it may come again");
}

#[test]
fn it_may_do_nothing_else() {
    let (keeper, mut server, mut client) = let_in(Mode::Interact);
    let file = keeper.folder().join("planted");
    let path = file.to_str().unwrap().to_owned();
    for call in [
        Call::Start(sh("mine", "true")),
        Call::Programs,
        Call::Info,
        Call::Signal { id: "b".into(), signal: "SIGKILL".into() },
        Call::Stop { id: "b".into(), grace_ms: 0 },
        Call::Remove { id: "b".into() },
        Call::WriteFile { channel: ChannelId(1), path, mode: 0o644 },
        Call::Grant(grant(Mode::Interact)),
        Call::Revoke { token: TOKEN.into() },
        Call::Shutdown { grace_ms: 0 },
    ] {
        assert_eq!(client.refused(call.clone()).code, ErrorCode::NotAllowed, "{call:?}");
    }
    // Another program is refused like one that is not there.
    let mut refusals = Vec::new();
    for id in ["b", "no-such", ""] {
        open(&mut client, 1, |open| open.session = id.into());
        refusals.push(client.whole_error(1));
    }
    assert!(refusals.iter().all(|error| *error == refusals[0] && error.code == ErrorCode::NotAllowed));
    let viewer = ViewerSeat { name: "bob".into(), person: "p-bob".into(), seat: "s-bob".into() };
    open(&mut client, 1, |open| open.viewer = Some(viewer));
    assert_eq!(client.error(1), ErrorCode::NotAllowed, "it is who the server said it is");
    open(&mut client, 1, |open| open.input = Some("x".repeat(201)));
    assert_eq!(client.error(1), ErrorCode::Invalid);
    client.send(0, &ClientMessage::Open(Open::new("a", Mode::View)));
    // Channel 0 cannot be opened, and what does not belong there ends the connection.
    let mut ended = None;
    while let Some(got) = client.read() {
        if let Got::Message(0, ServerMessage::Error(error)) = got {
            ended = Some(error.code);
        }
    }
    assert_eq!(ended, Some(ErrorCode::UnexpectedMessage));

    let mut client = Client::granted(&keeper.socket(), TOKEN).unwrap();
    client.send(0, &ClientMessage::Typing);
    assert_eq!(client.error(0), ErrorCode::NotAllowed);
    let mut client = Client::granted(&keeper.socket(), TOKEN).unwrap();
    for channel in 1..=MAX_GRANTED_CHANNELS as u32 {
        open(&mut client, channel, |_| {});
        opened(&mut client, channel);
    }
    open(&mut client, u32::MAX, |_| {});
    assert_eq!(client.error(u32::MAX), ErrorCode::TooManyChannels);
    client.send(1, &ClientMessage::Responder { by: Responder::Model });
    assert_eq!(client.error(1), ErrorCode::NotAllowed);
    client.send_frame(&lap_wire::Frame::new(FrameType::Input, ChannelId(77), 0, b"x"));
    assert_eq!(client.error(77), ErrorCode::ChannelNotOpen);
    assert!(!file.exists());
    assert_eq!(server.program("b").exit, None);
    let Reply::Programs { programs } = server.call(Call::Programs) else { panic!("no programs") };
    assert_eq!(programs.len(), 2);
}

#[test]
fn one_that_was_let_in_to_watch_only_watches() {
    let (_keeper, mut server, mut client) = let_in(Mode::View);
    for mode in [Mode::Interact, Mode::Input] {
        open(&mut client, 1, |open| open.mode = mode);
        assert_eq!(client.error(1), ErrorCode::NotAllowed);
    }
    open(&mut client, 1, |open| (open.mode, open.size) = (Mode::View, Some(Size { cols: 5, rows: 5 })));
    opened(&mut client, 1);
    client.input(1, 0, b"x");
    assert_eq!(client.error(1), ErrorCode::NotWritable);
    for message in [
        ClientMessage::StdinEof,
        ClientMessage::Signal { signal: "SIGKILL".into() },
        ClientMessage::Lease { action: lap_wire::control::LeaseAction::Steal },
    ] {
        client.send(1, &message);
        assert_eq!(client.error(1), ErrorCode::NotWritable, "{message:?}");
    }
    client.send(1, &ClientMessage::Resize(Size { cols: 6, rows: 6 }));
    client.settle();
    let lap_wire::keeper::ProgramIo::Pty { size } = server.program("a").io else { panic!("no terminal") };
    assert_eq!(size, Size { cols: 80, rows: 24 });
    assert_eq!(server.program("a").exit, None);
}

#[test]
fn a_token_that_is_wrong_late_or_revoked_lets_nobody_in() {
    let (keeper, mut server, mut client) = let_in(Mode::Interact);
    open(&mut client, 1, |_| {});
    opened(&mut client, 1);
    for token in ["", "0123456789abcdef0123456789abcdee", &TOKEN[1..], &"x".repeat(10_000)] {
        assert!(Client::granted(&keeper.socket(), token).is_none());
    }
    client.input(1, 0, b"still here");
    client.read_until(1, "still here");
    // A second connection with the token is the client come back: the first one ends.
    let mut again = Client::granted(&keeper.socket(), TOKEN).unwrap();
    assert_eq!(client.error(0), ErrorCode::NotAllowed);
    open(&mut again, 1, |_| {});
    opened(&mut again, 1);
    assert_eq!(server.call(Call::Revoke { token: TOKEN.into() }), Reply::Done);
    assert_eq!(again.error(0), ErrorCode::NotAllowed);
    assert_eq!(again.read(), None);
    assert!(Client::granted(&keeper.socket(), TOKEN).is_none());
    assert_eq!(server.call(Call::Revoke { token: TOKEN.into() }), Reply::Done, "it can be said again");

    assert_eq!(server.call(Call::Grant(Grant { within_ms: 0, ..grant(Mode::View) })), Reply::Done);
    assert!(Client::granted(&keeper.socket(), TOKEN).is_none(), "its time was over at once");
}

#[test]
fn clients_that_come_and_go_leave_no_seat_behind() {
    // More come than a keeper takes at once; those of one round are gone before the next begins.
    const ROUNDS: u16 = 3;
    const AT_ONCE: u16 = 100;
    let (keeper, mut server, _) = let_in(Mode::Interact);
    server.open(1, "a");
    let open = |size: u16| {
        let size = Some(Size { cols: size, rows: size });
        ClientMessage::Open(Open { size, input: Some("keys".into()), ..Open::new("a", Mode::Interact) })
    };
    for round in 1..=ROUNDS {
        for i in 0..AT_ONCE {
            let mut client = Client::silent(&keeper.socket());
            let (versions, grant) = (vec![lap_wire::PROTOCOL.into()], Some(TOKEN.to_owned()));
            client.send(0, &ClientMessage::Hello { versions, name: "x".into(), heartbeat_ms: None, grant });
            client.send(1, &open(10 + i));
            if i % 3 == 0 {
                client.send(2, &open(20 + i));
                client.send(1, &ClientMessage::Close);
            }
            if i % 2 == 0 {
                // Gone in the middle of a frame.
                client.socket.write_all(&[200]).unwrap();
            }
        }
        // The last of them was seen, and nobody is there any more.
        let mut last = Client::granted(&keeper.socket(), TOKEN).unwrap();
        let size = 400 + round;
        last.send(1, &open(size));
        server.presence(1, |v| v.len() == 1 && v[0].size == Some(Size { cols: size, rows: size }));
        drop(last);
        server.presence(1, <[_]>::is_empty);
    }
}

#[test]
fn a_grant_is_for_a_terminal_and_goes_with_it() {
    let (keeper, mut server, mut client) = let_in(Mode::Interact);
    server.start(&pipes("p", &["cat"]));
    for (program, code) in [("p", ErrorCode::Invalid), ("no-such", ErrorCode::NotFound)] {
        let bad = Grant { program: program.into(), token: "another-token-1234".into(), ..grant(Mode::View) };
        assert_eq!(server.refused(Call::Grant(bad)).code, code);
    }
    open(&mut client, 1, |_| {});
    opened(&mut client, 1);
    server.call(Call::Stop { id: "a".into(), grace_ms: 0 });
    client.message(1, "the exit", |m| matches!(m, ServerMessage::Exit(_)));
    assert_eq!(server.call(Call::Remove { id: "a".into() }), Reply::Done);
    client.message(1, "closed", |m| matches!(m, ServerMessage::Closed { .. }));
    // One of that name that comes later is another program.
    server.start(&sh("a", "exec cat"));
    open(&mut client, 2, |_| {});
    assert_eq!(client.error(2), ErrorCode::NotAllowed);
    assert!(Client::granted(&keeper.socket(), TOKEN).is_none());
    until("the other one runs", || server.program("a").exit.is_none().then_some(()));
}
