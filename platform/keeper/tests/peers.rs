//! Peers of every kind: garbled, greedy, silent, strangers. None of them matters to another, nor to a program.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use common::{Client, Got, Keeper, gated, pty, until};
use lap_wire::control::{self, ClientMessage, ErrorCode, Mode, ServerMessage};
use lap_wire::keeper::{Call, Reply};
use lap_wire::{ChannelId, Frame, FrameType, PROTOCOL};
use proptest::prelude::*;

/// Reads until the keeper hangs up, and gives the last error it told.
fn hung_up(client: &mut Client) -> Option<ErrorCode> {
    let mut code = None;
    while let Some(got) = client.read() {
        if let Got::Message(0, ServerMessage::Error(error)) = got {
            code = Some(error.code);
        }
    }
    code
}

fn works(keeper: &Keeper) {
    assert!(matches!(keeper.client().call(Call::Info), Reply::Info(_)));
}

#[test]
fn a_connection_begins_with_hello_in_a_version_both_speak() {
    let keeper = Keeper::start();
    let mut early = Client::silent(&keeper.socket());
    early.send(0, &ClientMessage::Call { request: 1, call: Call::Info });
    assert_eq!(hung_up(&mut early), Some(ErrorCode::UnexpectedMessage));
    let mut early = Client::silent(&keeper.socket());
    early.input(1, 0, b"x");
    assert_eq!(hung_up(&mut early), Some(ErrorCode::UnexpectedMessage));
    let mut old = Client::silent(&keeper.socket());
    old.send(
        0,
        &ClientMessage::Hello {
            versions: vec!["lap.attach.v0".into()],
            name: "old".into(),
            heartbeat_ms: None,
            grant: None,
        },
    );
    assert_eq!(hung_up(&mut old), Some(ErrorCode::UnsupportedVersion));
    let mut twice = keeper.client();
    twice.send(
        0,
        &ClientMessage::Hello {
            versions: vec![PROTOCOL.into()],
            name: "again".into(),
            heartbeat_ms: None,
            grant: None,
        },
    );
    assert_eq!(hung_up(&mut twice), Some(ErrorCode::UnexpectedMessage));
    works(&keeper);
}

#[test]
fn malformed_frames_end_the_connection_and_nothing_else() {
    let keeper = Keeper::start();
    let mut watcher = keeper.client();
    watcher.start(&pty("a", &["cat"]));
    watcher.open(1, "a");
    watcher.open_input(2, "a", "me");
    for (bytes, code) in [
        (&b"\xff\xff\xff\xff\x0f"[..], ErrorCode::Malformed),
        (&b"\x80\x00"[..], ErrorCode::Malformed),
        (&b"\x04\x55\x00\x00\x00"[..], ErrorCode::Malformed),
        (&b"\x01\x01"[..], ErrorCode::Malformed),
        (&b"\x06\x01\x00\x00\x00{}"[..], ErrorCode::Malformed),
        (&b"\x06\x01\x00\x01\x00no"[..], ErrorCode::Malformed),
        (&b"\x04\x02\x00\x01\x00"[..], ErrorCode::UnexpectedMessage),
        (&b"\x04\x0f\x00\x00\x00"[..], ErrorCode::Malformed),
    ] {
        let mut bad = keeper.client();
        bad.socket.write_all(bytes).unwrap();
        assert_eq!(hung_up(&mut bad), Some(code), "{bytes:?}");
    }
    watcher.input(2, 0, b"still here");
    watcher.read_until(1, "still here");
}

#[test]
fn half_a_frame_and_then_silence_costs_nobody_anything() {
    let keeper = Keeper::start();
    let mut stalled: Vec<Client> = (0..20).map(|_| keeper.client()).collect();
    for client in &mut stalled {
        client.socket.write_all(&[0xff, 0x7f, 1, 0, 0, 0, b'{']).unwrap();
    }
    works(&keeper);
    // What follows makes it whole, and wrong.
    stalled[0].socket.write_all(&[b'x'; 0x3fff]).unwrap();
    assert_eq!(hung_up(&mut stalled[0]), Some(ErrorCode::Malformed));
    works(&keeper);
}

#[test]
fn a_peer_that_asks_and_never_reads_is_disconnected() {
    let keeper = Keeper::start();
    let mut greedy = keeper.client();
    let payload = control::to_payload(&ClientMessage::Call { request: 1, call: Call::Info }).unwrap();
    let mut bytes = Vec::new();
    lap_wire::stream::encode(&control::frame(ChannelId(0), 0, &payload), &mut bytes);
    let bytes = bytes.repeat(1000);
    // Until the keeper hangs up: 100 MB of questions are more than any buffer between.
    let fell = (0..2000).any(|_| greedy.socket.write_all(&bytes).is_err());
    assert!(fell, "it was let ask for ever");
    works(&keeper);
    let (rss, _) = keeper.memory();
    assert!(rss < 32 * 1024, "{rss} KiB");
}

#[test]
fn a_peer_that_never_reads_its_output_does_not_grow_the_keeper() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&gated("a", "head -c 30000000 /dev/zero; echo done; read x"));
    until("it is up", || Some(()).filter(|()| client.program("a").output >= 3));
    let mut deaf: Vec<Client> = (0..10).map(|_| keeper.client()).collect();
    for peer in &mut deaf {
        for channel in 1..=20 {
            peer.send(channel, &open("a"));
        }
    }
    let at = client.open_input(1, "a", "me");
    client.input(1, at, b"\n");
    client.acked(1, 1);
    until("all is out", || Some(()).filter(|()| client.program("a").output >= 30_000_000));
    let (rss, _) = keeper.memory();
    assert!(rss < 48 * 1024, "{rss} KiB for one ring and 200 stalled readers");
    works(&keeper);
}

fn open(id: &str) -> ClientMessage {
    use lap_wire::control::Open;
    ClientMessage::Open(Open { scrollback: 1 << 20, ..Open::new(id, Mode::View) })
}

#[test]
fn channels_and_connections_are_bounded() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pty("a", &["cat"]));
    for channel in 1..=1024 {
        client.open(channel, "a");
    }
    client.send(2000, &open("a"));
    assert_eq!(client.error(2000), ErrorCode::TooManyChannels);
    client.send(1, &open("a"));
    assert_eq!(client.error(1), ErrorCode::UnexpectedMessage, "the channel is open");
    client.send(1, &ClientMessage::Close);
    client.message(1, "closed", |m| matches!(m, ServerMessage::Closed { .. }));
    client.open(1, "a");
    client.send(3000, &open("no-such"));
    assert_eq!(client.error(3000), ErrorCode::NotFound);

    let mut others: Vec<Client> = (0..255).map(|_| keeper.client()).collect();
    let mut one_more = Client::silent(&keeper.socket());
    assert_eq!(hung_up(&mut one_more), Some(ErrorCode::Overloaded));
    others.pop();
    until("there is room again", || {
        let mut socket = Client::silent(&keeper.socket());
        socket.send_frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, &[]));
        (hung_up(&mut socket) == Some(ErrorCode::UnexpectedMessage)).then_some(())
    });
}

#[test]
fn pings_are_answered_with_what_they_carry() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.send_frame(&Frame::new(FrameType::Ping, ChannelId(0), 7, b"12345678"));
    client.find("a pong", |got| matches!(got, Got::Other(FrameType::Pong)).then_some(()));
}

#[test]
fn the_socket_is_private_and_strangers_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let keeper = Keeper::start();
    let metadata = std::fs::metadata(keeper.socket()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: nobody else to be");
        return;
    }
    // The permissions are opened up, so that only the look at the peer's credentials is left to refuse.
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(keeper.folder(), 0o755);
    mode(&keeper.socket(), 0o666);
    let program = keeper.folder().join("lap-keeper");
    std::fs::copy(env!("CARGO_BIN_EXE_lap-keeper"), &program).unwrap();
    mode(&program, 0o755);
    let answer = |uid: &str| {
        let mut child = Command::new("setpriv")
            .args(["--reuid", uid, "--clear-groups", "--"])
            .arg(&program)
            .args(["connect", "--socket"])
            .arg(keeper.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let hello = ClientMessage::Hello {
            versions: vec![PROTOCOL.into()],
            name: "stranger".into(),
            heartbeat_ms: None,
            grant: None,
        };
        let mut bytes = Vec::new();
        let payload = control::to_payload(&hello).unwrap();
        lap_wire::stream::encode(&control::frame(ChannelId(0), 0, &payload), &mut bytes);
        // A keeper that has hung up by now has refused.
        let _ = child.stdin.take().unwrap().write_all(&bytes);
        let mut answer = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
        child.wait().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert_eq!(answer("65534"), "");
    assert!(answer("0").contains("welcome"));
}

/// Frames that are whole and make no sense, beside such as do.
fn frame_bytes() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![4 => Just(1u8), 3 => Just(3), 2 => Just(5), 1 => Just(7), 1 => any::<u8>()];
    let text = prop_oneof![
        Just(r#"{"type":"open","session":"a","mode":"interact","input":"x"}"#.to_owned()),
        Just(r#"{"type":"open","session":"a","mode":"view","since":{"epoch":"0000000000000000","offset":18446744073709551615,"size_generation":4294967295},"window":4294967295,"scrollback":4294967295}"#.to_owned()),
        Just(r#"{"type":"resize","cols":65535,"rows":0}"#.to_owned()),
        Just(r#"{"type":"resize","cols":3,"rows":2}"#.to_owned()),
        Just(r#"{"type":"visible","visible":false}"#.to_owned()),
        Just(r#"{"type":"snapshot","scrollback":4294967295}"#.to_owned()),
        Just(r#"{"type":"stdin_eof"}"#.to_owned()),
        Just(r#"{"type":"close"}"#.to_owned()),
        Just(r#"{"type":"call","request":18446744073709551615,"call":{"call":"programs"}}"#.to_owned()),
        Just(r#"{"type":"call","request":1,"call":{"call":"remove","id":"a"}}"#.to_owned()),
        Just(r#"{"type":"call","request":1,"call":{"call":"write_file","channel":0,"path":"","mode":0}}"#.to_owned()),
        Just(r#"{"type":"responder","by":"viewer"}"#.to_owned()),
        ".{0,40}",
    ];
    let payload = prop_oneof![8 => text.prop_map(String::into_bytes), 1 => any::<Vec<u8>>()];
    let offset = prop_oneof![Just(0u64), Just(1), 0..100u64, any::<u64>(), Just(u64::MAX)];
    (kind, any::<u8>(), 0..4u32, offset, payload).prop_map(|(kind, flags, channel, offset, payload)| {
        let header = lap_wire::frame::Header::new(FrameType::Control, flags, ChannelId(channel), offset);
        let mut frame = header.as_bytes().to_vec();
        frame[0] = kind;
        frame.extend_from_slice(&payload);
        let (prefix, n) = lap_wire::stream::prefix(frame.len());
        [&prefix[..n], &frame].concat()
    })
}

/// Each case is a keeper of its own; PROPTEST_CASES asks for more of them.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// One keeper takes it all: frames in any order, cut anywhere, then bytes that are no frames at all.
    #[test]
    fn whatever_peers_send_the_keeper_and_its_programs_live(
        peers in prop::collection::vec(
            (prop::collection::vec(frame_bytes(), 0..40), any::<Vec<u8>>(), 1..50usize, any::<bool>()), 1..8),
    ) {
        let keeper = Keeper::start();
        let mut client = keeper.client();
        client.start(&pty("a", &["cat"]));
        for (frames, rest, piece, greets) in peers {
            let mut peer = if greets { keeper.client() } else { Client::silent(&keeper.socket()) };
            let bytes = [frames.concat(), rest].concat();
            for piece in bytes.chunks(piece) {
                // It may have hung up already, and rightly.
                if peer.socket.write_all(piece).is_err() {
                    break;
                }
            }
            let _ = peer.socket.shutdown(std::net::Shutdown::Write);
            drain(&mut peer.socket);
        }
        prop_assert!(matches!(client.call(Call::Info), Reply::Info(_)));
        prop_assert_eq!(client.program("a").exit, None);
        client.open_with(1, "a", |_| {});
    }
}

fn drain(socket: &mut UnixStream) {
    let mut sink = [0; 4096];
    while socket.read(&mut sink).is_ok_and(|n| n > 0) {}
}
