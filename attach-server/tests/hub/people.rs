//! Several people at one terminal.

use lap_attach_server::hub::Grant;
use lap_wire::ChannelId;
use lap_wire::control::{ClientMessage, ErrorCode, LeaseAction, Open, ServerMessage, Size, Viewer};
use lap_wire::frame::{Frame, FrameType, flags};
use lap_wire::keeper::SizePolicy;

use crate::client::{Client, Event, interact, view};
use crate::world::{RAW_CAT, World, wait_for};

fn presence(client: &mut Client, wanted: impl Fn(&[Viewer]) -> bool) -> Vec<Viewer> {
    client.until("presence", |e| match e {
        Event::Control(_, ServerMessage::Presence { viewers }) if wanted(viewers) => Some(viewers.clone()),
        _ => None,
    })
}

#[test]
fn everybody_sees_who_is_there_and_who_is_active() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut first = world.connect();
    first.open(1, interact(session, "one"));
    let alone = presence(&mut first, |v| v.len() == 1);
    assert!(alone[0].you && alone[0].active);
    let mut second = world.connect();
    second.open(1, interact(session, "two"));
    let both = presence(&mut first, |v| v.len() == 2);
    assert!(both[1].active && !both[1].you, "whoever came last is active: {both:?}");
    second.until_ready(1);
    first.input(1, 0, b"x");
    let both = presence(&mut first, |v| v.len() == 2 && v[0].active);
    assert!(both[0].you);
    drop(second);
    presence(&mut first, |v| v.len() == 1);
    let counted = |wanted| {
        let heard = || world.sessions.heard.lock().unwrap().viewers[&session];
        wait_for("the count", || (heard() == wanted).then_some(()));
    };
    counted((1, 1));
    // Who only watches is counted, and is nobody for whose sake a session is kept.
    let mut watcher = world.connect();
    watcher.open(1, view(session));
    watcher.until_ready(1);
    counted((2, 1));
    // Somebody with two views of it is one person.
    watcher.open(2, view(session));
    watcher.until_ready(2);
    first.open(2, view(session));
    first.until_ready(2);
    counted((2, 1));
    drop(first);
    counted((1, 0));
}

#[test]
fn the_size_follows_whoever_acted_last_and_watchers_do_not_count() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let sized = |cols, rows, input: &str| {
        let mut open = interact(session, input);
        open.size = Size::checked(cols, rows);
        open
    };
    let mut first = world.connect();
    first.open(1, sized(90, 30, "one"));
    let resized = |client: &mut Client, cols| {
        client.until("a size", |e| match e {
            Event::Control(1, ServerMessage::Resized { size, .. } | ServerMessage::Opened { size, .. }) => {
                (size.cols == cols).then_some(())
            }
            _ => None,
        });
    };
    resized(&mut first, 90);
    let mut second = world.connect();
    second.open(1, sized(120, 50, "two"));
    resized(&mut first, 120);
    let mut watcher = world.connect();
    let mut open = view(session);
    open.size = Size::checked(20, 5);
    watcher.open(1, open);
    watcher.until_ready(1);
    first.input(1, 0, b"x");
    resized(&mut first, 90);
    // The one who is left decides.
    drop(first);
    resized(&mut second, 120);
}

#[test]
fn the_smallest_viewer_decides_where_the_policy_says_so() {
    let world = World::new();
    let session = world.session_with(RAW_CAT, SizePolicy::Smallest, false);
    let mut clients = Vec::new();
    for (i, (cols, rows)) in [(100, 30), (90, 60)].into_iter().enumerate() {
        let mut client = world.connect();
        let mut open = interact(session, &format!("keys-{i}"));
        open.size = Size::checked(cols, rows);
        client.open(1, open);
        clients.push(client);
    }
    clients[0].until("90 by 30", |e| match e {
        Event::Control(1, ServerMessage::Resized { size: Size { cols: 90, rows: 30 }, .. }) => Some(()),
        _ => None,
    });
}

#[test]
fn who_may_only_watch_does_not_type() {
    let world = World::new();
    let session = world.session("stty raw -echo; echo up; exec cat");
    let mut watcher = world.connect();
    watcher.open(1, view(session));
    watcher.until_ready(1);
    watcher.input(1, 0, b"rm -rf");
    assert_eq!(watcher.until_error(1).code, ErrorCode::NotWritable);
    watcher.control(1, &ClientMessage::Signal { signal: "SIGKILL".to_owned() });
    assert_eq!(watcher.until_error(1).code, ErrorCode::NotWritable);

    let mut limited = world.connect_raw(Grant { only_session: Some(session), may_type: false });
    let hello = ClientMessage::Hello {
        versions: vec![lap_wire::PROTOCOL.to_owned()],
        name: String::new(),
        heartbeat_ms: None,
        grant: None,
    };
    limited.control(0, &hello);
    limited.open(1, interact(session, "keys"));
    assert_eq!(limited.until_error(1).code, ErrorCode::NotAllowed);
    let other = world.session("read x");
    limited.open(2, view(other));
    assert_eq!(limited.until_error(2).code, ErrorCode::NotAllowed);
    limited.open(3, view(session));
    limited.until_ready(3);
}

#[test]
fn where_one_at_a_time_types_the_lease_says_who() {
    let world = World::new();
    let session = world.session_with(RAW_CAT, SizePolicy::Latest, true);
    let (mut first, mut second) = (world.connect(), world.connect());
    first.open(1, interact(session, "one"));
    first.until_ready(1);
    second.open(1, interact(session, "two"));
    second.until_ready(1);
    first.input(1, 0, b"x");
    assert_eq!(first.until_error(1).code, ErrorCode::NotWritable);
    let mine = |client: &mut Client, wanted| {
        client.until("the lease", |e| match e {
            Event::Control(1, ServerMessage::Lease { mine, .. }) => (*mine == wanted).then_some(()),
            _ => None,
        });
    };
    first.control(1, &ClientMessage::Lease { action: LeaseAction::Acquire });
    mine(&mut first, true);
    first.input(1, 0, b"one");
    second.until_text(1, "one");
    second.control(1, &ClientMessage::Lease { action: LeaseAction::Acquire });
    second.control(1, &ClientMessage::Lease { action: LeaseAction::Steal });
    mine(&mut second, true);
    mine(&mut first, false);
    second.input(1, 0, b"two");
    first.until_text(1, "two");
}

#[test]
fn input_resent_after_a_reconnect_is_written_once() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    client.input(1, 0, b"abcdef");
    client.until_text(1, "abcdef");
    drop(client);
    // The acknowledgement was lost with the connection: all of it is sent again, and more.
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    let at = client.until("opened", |e| match e {
        Event::Control(1, ServerMessage::Opened { input_offset, .. }) => Some(*input_offset),
        _ => None,
    });
    assert_eq!(at, 6);
    client.until_ready(1);
    client.input(1, 0, b"abcdefghi");
    client.until("the ack", |e| matches!(e, Event::InputAck(1, 9)).then_some(()));
    client.input(1, 9, b"!");
    let mut text = String::new();
    client.until("the rest", |e| {
        if let Event::Output(1, _, bytes) = e {
            text.push_str(std::str::from_utf8(bytes).unwrap());
        }
        text.ends_with('!').then_some(())
    });
    assert_eq!(text, "ghi!");
}

#[test]
fn only_the_active_viewer_s_terminal_answers_and_its_answers_are_no_keystrokes() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let (mut first, mut second) = (world.connect(), world.connect());
    first.open(1, interact(session, "one"));
    first.until_ready(1);
    second.open(1, interact(session, "two"));
    presence(&mut second, |v| v.len() == 2 && v[1].active);
    let reply = |client: &mut Client, bytes: &[u8]| {
        client.frame(&Frame::new(FrameType::Input, ChannelId(1), 0, bytes).with_flags(flags::REPLY));
    };
    second.input(1, 0, b"a");
    second.until_text(1, "a");
    reply(&mut first, b"<from the other>");
    reply(&mut second, b"<answer>");
    // The answer has taken no place in the stream of what is typed.
    second.input(1, 1, b"b");
    second.until("the ack", |e| matches!(e, Event::InputAck(1, 2)).then_some(()));
    second.input(1, 2, b"!");
    let mut text = String::new();
    first.until("all of it", |e| {
        if let Event::Output(1, _, bytes) = e {
            text.push_str(std::str::from_utf8(bytes).unwrap());
        }
        text.ends_with('!').then_some(())
    });
    assert_eq!(text, "a<answer>b!");
}

#[test]
fn the_simple_socket_shows_and_types() {
    let world = World::new();
    let session = world.session("stty raw -echo; printf ready; exec cat");
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "ready");
    tty.send_message(1, br#"{"type":"resize","cols":100,"rows":30}"#);
    tty.send_message(1, b"typed as text");
    tty.until_text(1, "typed as text");
    tty.send_message(2, b"and as bytes");
    tty.until_text(1, "and as bytes");
    let mut watcher = world.connect_tty(session, false).raw();
    watcher.until_text(1, "and as bytes");
    watcher.send_message(1, b"ignored");
    tty.send_message(1, b"<seen>");
    let seen = watcher.until_text(1, "<seen>");
    assert!(!seen.contains("ignored"));
}

/// The errors told until this one is, all of them on this channel.
fn errors_until(client: &mut Client, channel: u32, last: ErrorCode) -> Vec<ErrorCode> {
    let mut errors = Vec::new();
    client.until("the last error", |event| {
        if let Event::Control(c, ServerMessage::Error(error)) = event {
            assert_eq!(*c, channel, "{error:?}");
            errors.push(error.code);
        }
        errors.contains(&last).then_some(())
    });
    errors
}

#[test]
fn a_signal_that_does_not_exist_is_told_to_who_sent_it_and_to_nobody_else() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let (mut asker, mut other, mut nameless) = (world.connect(), world.connect(), world.connect());
    asker.open(1, interact(session, "one"));
    other.open(2, interact(session, "two"));
    nameless.open(3, Open { input: None, ..interact(session, "") });
    let signal = |name: &str| ClientMessage::Signal { signal: name.to_owned() };
    for (client, channel) in [(&mut asker, 1), (&mut nameless, 3)] {
        client.until_text(channel, "READY");
        client.control(channel, &signal("SIGNONSENSE"));
        assert_eq!(errors_until(client, channel, ErrorCode::BadSignal), [ErrorCode::BadSignal]);
    }
    // It went on all the same; who has no input stream may signal, but not type.
    nameless.control(3, &ClientMessage::StdinEof);
    assert_eq!(errors_until(&mut nameless, 3, ErrorCode::NotWritable), [ErrorCode::NotWritable]);
    nameless.control(3, &signal("SIGKILL"));
    let mut complained = false;
    other.until("the exit", |event| match event {
        Event::Control(2, ServerMessage::Exit(status)) => {
            assert_eq!(status.signal.as_deref(), Some("SIGKILL"));
            Some(())
        }
        event => {
            complained |= matches!(event, Event::Control(_, ServerMessage::Error(_)));
            None
        }
    });
    assert!(!complained, "another viewer's mistake is not told to this one");
    asker.control(1, &signal("SIGTERM"));
    assert_eq!(errors_until(&mut asker, 1, ErrorCode::NotFound), [ErrorCode::NotFound]);
}

#[test]
fn the_end_of_input_reaches_the_program() {
    let world = World::new();
    let session = world.session("printf READY; cat >/dev/null; printf 'cat is through'; exit 0");
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "READY");
    client.input(1, 0, b"text\n");
    client.control(1, &ClientMessage::StdinEof);
    client.until_text(1, "cat is through");
}
