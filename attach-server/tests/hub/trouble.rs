//! What clients and keepers do wrong, and what becomes of it.

use std::io::Write as _;

use lap_attach_server::hub::Grant;
use lap_platform::model::SessionId;
use lap_wire::control::{ClientMessage, ErrorCode, ServerMessage, Size};
use lap_wire::frame::{Frame, FrameType};
use lap_wire::limits::MAX_CHANNELS;
use lap_wire::{ChannelId, PROTOCOL};

use crate::client::{Event, interact, view};
use crate::world::{RAW_CAT, World};

const ANYTHING: Grant = Grant { only_session: None, may_type: true };

#[test]
fn bytes_that_are_no_frame_end_the_connection_with_a_reason() {
    let world = World::new();
    let session = world.session("echo up; read x");
    let mut bystander = world.connect();
    bystander.open(1, view(session));
    bystander.until_ready(1);
    for garbage in
        [&[0x77, 0, 0, 0][..], &[1], &[1, 0, 0, 0, b'{'], &[2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
    {
        let mut client = world.connect();
        client.send_message(2, garbage);
        assert_eq!(client.until_error(0).code, ErrorCode::Malformed);
        assert_eq!(client.until_close(), 4400);
    }
    let mut client = world.connect();
    client.send_message(1, b"text");
    assert_eq!(client.until_close(), 4400);
    // An unmasked frame is not WebSocket.
    let mut client = world.connect();
    client.socket.write_all(&[0x82, 1, 0]).unwrap();
    assert_eq!(client.until_close(), 1002);
    // Somebody else's connection has noticed nothing.
    let mut typist = world.connect();
    typist.open(1, interact(session, "keys"));
    typist.until_ready(1);
    typist.input(1, 0, b"still here");
    bystander.until_text(1, "still here");
}

#[test]
fn a_client_that_does_not_begin_with_hello_is_sent_away() {
    let world = World::new();
    let mut client = world.connect_raw(ANYTHING);
    client.open(1, view(SessionId::new()));
    assert_eq!(client.until_error(0).code, ErrorCode::UnexpectedMessage);
    assert_eq!(client.until_close(), 4400);
    let mut client = world.connect_raw(ANYTHING);
    client.control(
        0,
        &ClientMessage::Hello {
            versions: vec!["lap.attach.v9".to_owned()],
            name: String::new(),
            heartbeat_ms: None,
            grant: None,
        },
    );
    assert_eq!(client.until_error(0).code, ErrorCode::UnsupportedVersion);
}

#[test]
fn a_client_gets_the_heartbeat_it_asks_for_within_bounds() {
    let world = World::new();
    for (asked, granted) in
        [(None, 10_000), (Some(0), 10_000), (Some(90_000), 90_000), (Some(u64::MAX), 300_000)]
    {
        let mut client = world.connect_raw(ANYTHING);
        let versions = vec![lap_wire::PROTOCOL.to_owned()];
        client.control(
            0,
            &ClientMessage::Hello { versions, name: String::new(), heartbeat_ms: asked, grant: None },
        );
        let said = client.until("welcome", |event| match event {
            Event::Control(0, ServerMessage::Welcome { heartbeat_ms, .. }) => Some(*heartbeat_ms),
            _ => None,
        });
        assert_eq!(said, granted, "{asked:?}");
    }
}

#[test]
fn what_makes_no_sense_on_a_channel_is_refused_and_the_rest_goes_on() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut client = world.connect();
    client.input(5, 0, b"x");
    assert_eq!(client.until_error(5).code, ErrorCode::ChannelNotOpen);
    client.control(5, &ClientMessage::Resize(Size { cols: 80, rows: 24 }));
    assert_eq!(client.until_error(5).code, ErrorCode::ChannelNotOpen);
    client.open(6, view(SessionId::new()));
    assert_eq!(client.until_error(6).code, ErrorCode::NotFound);
    let mut bad = interact(session, "keys");
    for size in [Size { cols: 0, rows: 0 }, Size { cols: 10_000, rows: 10_000 }] {
        bad.size = Some(size);
        client.open(7, bad.clone());
        assert_eq!(client.until_error(7).code, ErrorCode::BadSize);
    }
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    client.open(1, interact(session, "keys"));
    assert_eq!(client.until_error(1).code, ErrorCode::UnexpectedMessage);
    client.control(1, &ClientMessage::Resize(Size { cols: 0, rows: 3 }));
    assert_eq!(client.until_error(1).code, ErrorCode::BadSize);
    client.input(1, 400, b"from the future");
    assert_eq!(client.until_error(1).code, ErrorCode::InputGap);
    client.input(1, 0, b"fine");
    client.until_text(1, "fine");
}

#[test]
fn a_connection_has_so_many_channels_and_no_more() {
    let world = World::new();
    // A session has so many viewers and no more.
    let sessions: Vec<_> = (0..10).map(|_| world.session("read x")).collect();
    let mut client = world.connect();
    // Channels that are being opened count, and are told nothing yet of each other.
    world.stop_keeper();
    let limit = u32::try_from(MAX_CHANNELS).unwrap();
    for channel in 1..=limit + 1 {
        client.open(channel, view(sessions[channel as usize % sessions.len()]));
    }
    assert_eq!(client.until_error(limit + 1).code, ErrorCode::TooManyChannels);
}

#[test]
fn a_client_that_never_acknowledges_is_sent_one_window_and_no_more() {
    let world = World::new();
    let session = world.session("read go; yes | head -c 20000000; printf END; read stop");
    let mut lazy = world.connect();
    lazy.acks = false;
    let mut open = interact(session, "keys");
    open.window = 100_000;
    lazy.open(1, open);
    lazy.until_ready(1);
    lazy.input(1, 0, b"\n");
    let mut keen = world.connect();
    keen.open(1, view(session));
    keen.until_text(1, "END");
    // A pong means that everything sent before it has arrived.
    lazy.frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, b"12345678"));
    let mut got = 0;
    lazy.socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let quiet = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        loop {
            if let Event::Output(1, _, bytes) = lazy.next() {
                got += bytes.len();
            }
        }
    }));
    assert!(quiet.is_err(), "reading ends when nothing more comes");
    assert!(got <= 100_000, "{got} bytes without an acknowledgement");
}

#[test]
fn half_a_frame_and_silence_cost_nobody_anything() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut stuck: Vec<_> = (0..20).map(|_| world.connect_raw(ANYTHING)).collect();
    for client in &mut stuck {
        client.socket.write_all(&[0x82, 0xfe, 0xff]).unwrap();
    }
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    client.input(1, 0, b"alive");
    client.until_text(1, "alive");
}

#[test]
fn a_full_hub_says_so() {
    let world = World::new();
    let slots: Vec<_> = (0..100).map(|_| world.hub.slot().unwrap()).collect();
    assert!(world.hub.slot().is_none());
    drop(slots);
    assert!(world.hub.slot().is_some());
}

#[test]
fn a_killed_keeper_ends_its_terminals_with_a_reason() {
    let mut world = World::new();
    let session = world.session("echo up; read x");
    let mut client = world.connect();
    client.open(1, view(session));
    client.until_text(1, "up");
    // What the session service finds out, the hub is told when it asks.
    world.sessions.locations.lock().unwrap().clear();
    world.kill_keeper();
    let reason = client.until("closed", |e| match e {
        Event::Control(1, ServerMessage::Closed { reason }) => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("no session"), "{reason}");
}

#[test]
fn a_stopping_server_tells_its_clients_to_come_back() {
    let mut world = World::new();
    let mut client = world.connect();
    world.stop_hub();
    client.until("goaway", |e| matches!(e, Event::Control(0, ServerMessage::Goaway { .. })).then_some(()));
    assert_eq!(client.until_close(), 1012);
}

#[test]
fn calls_for_keepers_are_not_passed_on() {
    let world = World::new();
    let mut client = world.connect();
    client.control(0, &ClientMessage::Call { request: 1, call: lap_wire::keeper::Call::Info });
    assert_eq!(client.until_error(0).code, ErrorCode::NotAllowed);
    assert_eq!(PROTOCOL, "lap.attach.v1");
}

#[test]
fn names_and_frames_over_their_limits_are_refused() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut client = world.connect_raw(ANYTHING);
    client.control(
        0,
        &ClientMessage::Hello {
            versions: vec![PROTOCOL.to_owned()],
            name: "x".repeat(201),
            heartbeat_ms: None,
            grant: None,
        },
    );
    assert_eq!(client.until_error(0).code, ErrorCode::UnexpectedMessage);
    assert_eq!(client.until_close(), 4400);

    let mut client = world.connect();
    for name in [String::new(), "x".repeat(65)] {
        client.open(1, interact(session, &name));
        assert_eq!(client.until_error(1).code, ErrorCode::Invalid);
    }
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    // By its own length a frame is too large, and so is the message around it, which is not even read.
    client.input(1, 0, &vec![b'x'; lap_wire::limits::MAX_PAYLOAD + 1]);
    assert_eq!(client.until_error(0).code, ErrorCode::Malformed);
    assert_eq!(client.until_close(), 4400);
    let mut client = world.connect();
    let mut head = vec![0x82, 0xff];
    head.extend_from_slice(&(1u64 << 40).to_be_bytes());
    client.socket.write_all(&head).unwrap();
    assert_eq!(client.until_close(), 1009);
    let mut tty = world.connect_tty(session, true);
    tty.socket.write_all(&head).unwrap();
    assert_eq!(tty.until_close(), 1009);
}

#[test]
fn a_paste_is_taken_up_to_the_window_and_refused_beyond_until_the_program_reads() {
    let world = World::new();
    // The kernel's terminal holds 4 KiB, and nobody reads.
    let session = world.session("stty raw -echo; printf READY; exec sleep 1000");
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "READY");
    let piece = [b'x'; 16 * 1024];
    // Many times the window, and more than ways to the keeper hold.
    for n in 0..(8 * lap_wire::limits::INPUT_WINDOW) / piece.len() {
        client.input(1, (n * piece.len()) as u64, &piece);
    }
    let refused = client.until_error(1).code;
    assert_eq!(refused, ErrorCode::InputOverflow);
    // Nobody else is held up by it, not even there.
    let mut beside = world.connect();
    beside.open(1, view(session));
    beside.until_ready(1);
    let other = world.session(RAW_CAT);
    let mut typist = world.connect();
    typist.open(1, interact(other, "keys"));
    typist.until_ready(1);
    typist.input(1, 0, b"alive");
    typist.until_text(1, "alive");
}

#[test]
fn a_client_that_asks_on_and_never_reads_is_sent_away() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut flood = world.connect();
    flood.socket.set_write_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let ping = {
        let mut bytes = Vec::new();
        Frame::new(FrameType::Ping, ChannelId(0), 0, &[7; 8]).encode(&mut bytes);
        let mut message = vec![0x82, 0x80 | u8::try_from(bytes.len()).unwrap(), 0, 0, 0, 0];
        message.extend_from_slice(&bytes);
        message.repeat(1000)
    };
    // More answers than both sockets' buffers and the server's own hold.
    let gone = (0..5_000).any(|_| flood.socket.write_all(&ping).is_err());
    assert!(gone, "it is answered without end");
    let mut typist = world.connect();
    typist.open(1, interact(session, "keys"));
    typist.until_ready(1);
    typist.input(1, 0, b"alive");
    typist.until_text(1, "alive");
}

#[test]
fn a_session_has_so_many_viewers_and_no_more() {
    const CONNECTIONS: u32 = 8;
    const CHANNELS: u32 = 16;
    let world = World::new();
    let session = world.session(RAW_CAT);
    let (tell, all_are_there) = std::sync::mpsc::sync_channel(CONNECTIONS as usize);
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = world.connect();
        sockets.push(client.socket.try_clone().unwrap());
        for channel in 1..=CHANNELS {
            client.open(channel, view(session));
        }
        let tell = tell.clone();
        // Everybody is told of everybody: they have to be read.
        std::thread::spawn(move || {
            loop {
                match client.next() {
                    Event::Control(_, ServerMessage::Presence { viewers })
                        if viewers.len() == (CONNECTIONS * CHANNELS) as usize =>
                    {
                        // The test may have seen enough.
                        let _ = tell.send(());
                    }
                    Event::Close(_) => return,
                    _ => {}
                }
            }
        });
    }
    all_are_there.recv_timeout(crate::world::PATIENCE).unwrap();
    let mut late = world.connect();
    late.open(1, view(session));
    let refused = late.until_error(1);
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Overloaded, true), "{refused:?}");
    // Another session has its own, and a place that is left can be taken.
    late.open(2, view(world.session(RAW_CAT)));
    late.until_ready(2);
    sockets[0].shutdown(std::net::Shutdown::Both).unwrap();
    crate::world::wait_for("a free place", || {
        let heard = world.sessions.heard.lock().unwrap().viewers[&session];
        (heard.0 == CONNECTIONS - 1).then_some(())
    });
    late.open(1, view(session));
    late.until_ready(1);
}
