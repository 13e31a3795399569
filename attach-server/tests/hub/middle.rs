//! The connection between the hub and the keeper breaks, stalls or carries a byte at a time; input is refused; opens are
//! dropped half way: nothing is lost, doubled, or stuck.

use std::time::Duration;

use lap_attach_server::hub::Grant;
use lap_wire::ChannelId;
use lap_wire::PROTOCOL;
use lap_wire::control::{ClientMessage, ErrorCode, How, ServerMessage};
use lap_wire::frame::{Frame, FrameType};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::client::{Client, Event, interact, view};
use crate::typist::Typist;
use crate::world::{PATIENCE, RAW_CAT, World, wait_for};

/// Fresh numbers, which the failure's message shows.
fn fresh(range: std::ops::Range<u64>, n: usize) -> Vec<u64> {
    let mut runner = TestRunner::default();
    let strategy = prop::collection::vec(range, n);
    let numbers = strategy.new_tree(&mut runner).unwrap().current();
    println!("cut after {numbers:?}");
    numbers
}

fn lines(from: u32, to: u32) -> String {
    (from..to).map(|n| format!("line {n}\n")).collect()
}

/// Output of the channel, or of a simple socket; a snapshot may only be the first thing.
fn printed(event: &Event, channel: u32, text: &mut Vec<u8>) {
    match event {
        Event::Output(c, _, bytes) if *c == channel => text.extend_from_slice(bytes),
        Event::Raw(bytes) => text.extend_from_slice(bytes),
        Event::Snapshot(c, ..) if *c == channel => panic!("a snapshot where every byte was to be had"),
        _ => {}
    }
}

#[test]
fn whoever_opens_while_the_way_is_cut_at_any_byte_gets_its_screen_and_types() {
    let world = World::cuttable();
    let session = world.session(RAW_CAT);
    for (n, bytes) in fresh(1..2500, 30).into_iter().enumerate() {
        world.wire.cut_after(bytes);
        let mut client = world.connect();
        client.open(1, interact(session, &format!("keys-{n}")));
        client.until_ready(1);
        world.wire.cut_after(bytes);
        let word = format!("<{n}>");
        let mut typist = Typist::new(1);
        typist.types(&mut client, word.as_bytes());
        let mut text = Vec::new();
        while !typist.is_through() || !String::from_utf8_lossy(&text).contains(&word) {
            let event = client.next();
            // Everybody before has left: sizes do not change, so nothing is left out.
            printed(&event, 1, &mut text);
            typist.hears(&mut client, &event);
        }
    }
}

#[test]
fn twenty_cuts_while_lines_are_typed_lose_and_double_none() {
    let world = World::cuttable();
    let session = world.session(RAW_CAT);
    let (mut client, mut tty) = (world.connect(), world.connect_tty(session, true).raw());
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    tty.until_text(1, "READY");
    let mut watcher = world.connect();
    watcher.open(1, view(session));
    watcher.until_ready(1);
    let cuts = fresh(1..1500, 20);
    let mut typist = Typist::new(1);
    let mut text = Vec::new();
    for (n, bytes) in cuts.into_iter().enumerate() {
        world.wire.cut_after(bytes);
        let from = n as u32 * 100;
        typist.types(&mut client, lines(from, from + 100).as_bytes());
        let last = format!("line {}\n", from + 99);
        while !String::from_utf8_lossy(&text).ends_with(&last) {
            let event = client.next();
            printed(&event, 1, &mut text);
            typist.hears(&mut client, &event);
        }
    }
    assert_eq!(String::from_utf8(text).unwrap(), lines(0, 2000));
    assert!(world.wire.made() > 8, "{} connections: it was hardly cut", world.wire.made());
    // The others have the same, and the simple socket types on as well.
    let mut seen = Vec::new();
    watcher.until("all lines", |event| {
        printed(event, 1, &mut seen);
        seen.ends_with(b"line 1999\n").then_some(())
    });
    assert_eq!(String::from_utf8(seen).unwrap(), lines(0, 2000));
    let mut seen = Vec::new();
    tty.until("all lines", |event| {
        printed(event, 1, &mut seen);
        seen.ends_with(b"line 1999\n").then_some(())
    });
    assert_eq!(String::from_utf8(seen).unwrap(), lines(0, 2000));
}

#[test]
fn twenty_cuts_while_lines_are_typed_into_a_simple_socket_lose_and_double_none() {
    let world = World::cuttable();
    let session = world.session(RAW_CAT);
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "READY");
    let mut text = Vec::new();
    for (n, bytes) in fresh(1..1500, 20).into_iter().enumerate() {
        world.wire.cut_after(bytes);
        let from = n as u32 * 100;
        for line in from..from + 100 {
            tty.send_message(2, lines(line, line + 1).as_bytes());
        }
        let last = format!("line {}\n", from + 99);
        tty.until(&last, |event| {
            printed(event, 1, &mut text);
            text.ends_with(last.as_bytes()).then_some(())
        });
    }
    assert_eq!(String::from_utf8(text).unwrap(), lines(0, 2000));
    assert!(world.wire.made() > 8, "{} connections: it was hardly cut", world.wire.made());
}

#[test]
fn cuts_while_a_program_prints_lose_and_double_nothing_for_anybody() {
    let world = World::cuttable();
    let session = world.session("stty -opost; read go; seq 1 60000; echo END; read stop");
    let (mut client, mut tty) = (world.connect(), world.connect_tty(session, true).raw());
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    tty.send_message(2, b"\n");
    let expected: String = (1..=60_000).map(|n| format!("{n}\n")).chain(["END\n".to_owned()]).collect();
    let mut cuts = fresh(1..40_000, 20).into_iter();
    let mut text = Vec::new();
    while !text.ends_with(b"END\n") {
        if text.len() > (20 - cuts.len()) * 10_000
            && let Some(bytes) = cuts.next()
        {
            world.wire.cut_after(bytes);
        }
        printed(&client.next(), 1, &mut text);
    }
    // What was echoed of the key that began it comes first.
    assert!(String::from_utf8_lossy(&text).ends_with(&expected));
    let mut seen = Vec::new();
    tty.until("the end", |event| {
        printed(event, 1, &mut seen);
        seen.ends_with(b"END\n").then_some(())
    });
    assert!(String::from_utf8_lossy(&seen).ends_with(&expected));
}

#[test]
fn a_way_that_carries_a_byte_at_a_time_is_only_slow() {
    let world = World::cuttable();
    let session = world.session(RAW_CAT);
    world.wire.trickle(1);
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    client.input(1, 0, b"one after the other");
    client.until_text(1, "one after the other");
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "one after the other");
    tty.send_message(2, b"<tty>");
    client.until_text(1, "<tty>");
}

#[test]
fn what_is_typed_while_the_way_is_stalled_and_then_cut_is_typed_once() {
    let world = World::cuttable();
    let session = world.session(RAW_CAT);
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "READY");
    let mut typist = Typist::new(1);
    let mut expected = 0;
    for round in 0..3 {
        world.wire.stall(true);
        let paste = vec![b'a' + round; 100_000];
        typist.types(&mut client, &paste);
        tty.send_message(2, &vec![b'A' + round; 100_000]);
        expected += 2 * paste.len();
        if round == 1 {
            world.wire.cut();
        }
        world.wire.stall(false);
        let mut text = Vec::new();
        while text.len() < 200_000 {
            let event = client.next();
            printed(&event, 1, &mut text);
            typist.hears(&mut client, &event);
        }
        for (byte, who) in [(b'a' + round, "client"), (b'A' + round, "tty")] {
            assert_eq!(text.iter().filter(|b| **b == byte).count(), 100_000, "{who} in round {round}");
        }
    }
    let mut seen = 0;
    tty.until("all of it", |event| {
        if let Event::Raw(bytes) = event {
            seen += bytes.len();
        }
        (seen >= expected).then_some(())
    });
}

#[test]
fn two_who_paste_into_a_program_that_does_not_read_both_type_again_once_it_does() {
    const PASTE: usize = 200 * 1024;
    let world = World::new();
    let go = world.dir.path().join("go");
    let script = format!(
        "stty raw -echo; printf READY; while [ ! -e {} ]; do sleep 0.05; done; exec cat",
        go.display()
    );
    let session = world.session(&script);
    let mut people: Vec<(Client, Typist, u8)> = Vec::new();
    for (n, byte) in [b'a', b'b'].into_iter().enumerate() {
        let mut client = world.connect();
        client.open(1, interact(session, &format!("keys-{n}")));
        client.until_text(1, "READY");
        people.push((client, Typist::new(1), byte));
    }
    let mut refused = 0;
    for (client, typist, byte) in &mut people {
        typist.types(client, &vec![*byte; PASTE]);
        // Whatever is said of it is said before the pong. Together they are more than is kept: one is refused.
        client.frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, b"12345678"));
        let mut heard = Vec::new();
        client.until_pong_and(|event| heard.push(event.clone()));
        for event in &heard {
            typist.hears(client, event);
        }
    }
    let (first, second) = people.split_at_mut(1);
    while refused == 0 {
        for (client, typist, _) in [&mut first[0], &mut second[0]] {
            refused += usize::from(typist.was_refused());
            client.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            if let Some(event) = client.try_next() {
                typist.hears(client, &event);
            }
        }
    }
    std::fs::write(&go, "").unwrap();
    let mut threads = Vec::new();
    for (mut client, mut typist, byte) in people {
        client.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        threads.push(std::thread::spawn(move || {
            let until = std::time::Instant::now() + PATIENCE;
            let (mut mine, mut others) = (0, 0);
            while mine + others < 2 * PASTE || !typist.is_through() {
                assert!(std::time::Instant::now() < until, "{mine} and {others} of {PASTE}");
                // What was refused is sent again after a while, whether or not anything comes.
                typist.send(&mut client);
                let Some(event) = client.try_next() else { continue };
                if let Event::Output(1, _, bytes) = &event {
                    mine += bytes.iter().filter(|b| **b == byte).count();
                    others += bytes.iter().filter(|b| **b != byte).count();
                }
                typist.hears(&mut client, &event);
            }
            assert_eq!((mine, others), (PASTE, PASTE));
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_large_paste_into_a_simple_socket_gets_all_of_it_through() {
    const PASTE: usize = 512 * 1024;
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "READY");
    let paste: Vec<u8> = (0..PASTE).map(|n| b'a' + (n * 7 % 26) as u8).collect();
    // As a browser sends it, and as a pipe does.
    for pieces in [PASTE, 10_000] {
        let mut writer = tty.writer();
        let paste_again = paste.clone();
        let sending = std::thread::spawn(move || {
            for piece in paste_again.chunks(pieces) {
                writer.send_message(2, piece);
            }
        });
        let mut seen = Vec::new();
        tty.until("all of it", |event| {
            printed(event, 1, &mut seen);
            (seen.len() >= PASTE).then_some(())
        });
        sending.join().unwrap();
        assert!(seen == paste, "{} bytes came back", seen.len());
    }
}

#[test]
fn a_simple_socket_types_on_after_its_keeper_was_stopped_for_a_while() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let mut tty = world.connect_tty(session, true).raw();
    tty.until_text(1, "READY");
    world.stop_keeper();
    let paste: Vec<u8> = (0..600_000).map(|n| b'a' + (n * 11 % 26) as u8).collect();
    let mut writer = tty.writer();
    let typed = paste.clone();
    let sending = std::thread::spawn(move || {
        for piece in typed.chunks(4_000) {
            writer.send_message(2, piece);
        }
    });
    // It is held up rather than lost: more than anything on the way holds.
    std::thread::sleep(Duration::from_millis(300));
    world.continue_keeper();
    let mut seen = Vec::new();
    tty.until("all of it", |event| {
        printed(event, 1, &mut seen);
        (seen.len() >= paste.len()).then_some(())
    });
    sending.join().unwrap();
    assert!(seen == paste);
}

/// Connects, asks for the session's terminal, and leaves without waiting for anything.
fn open_and_drop(world: &World, session: lap_platform::model::SessionId, n: usize) {
    wait_for("a free slot", || world.hub.slot());
    let mut client = world.connect_raw(Grant { only_session: None, may_type: true });
    let hello = ClientMessage::Hello {
        versions: vec![PROTOCOL.to_owned()],
        name: "prober".to_owned(),
        heartbeat_ms: None,
        grant: None,
    };
    client.control(0, &hello);
    client.open(1, interact(session, &format!("probe-{n}")));
}

#[test]
fn opens_that_are_dropped_at_once_lock_nobody_out() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    for n in 0..1500 {
        if n % 3 == 0 {
            wait_for("a free slot", || world.hub.slot());
            drop(world.connect_tty(session, true));
        } else {
            open_and_drop(&world, session, n);
        }
    }
    wait_for("a free slot", || world.hub.slot());
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    client.input(1, 0, b"open to everybody");
    client.until_text(1, "open to everybody");
    wait_for("they have all gone", || {
        let census = world.runtime.block_on(world.hub.census());
        (census.viewers == 1 && census.attach_connections == 1).then_some(())
    });
}

#[test]
fn opens_that_are_dropped_beside_a_stopped_keeper_lock_nobody_out() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    world.stop_keeper();
    for n in 0..70 {
        open_and_drop(&world, session, n);
    }
    wait_for("they have all gone", || {
        let census = world.runtime.block_on(world.hub.census());
        (census.viewers == 0 && census.attach_connections == 0).then_some(())
    });
    world.continue_keeper();
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
}

#[test]
fn a_fault_of_the_server_s_ends_that_terminal_and_whoever_comes_back_gets_it_again() {
    let world = World::new();
    let session = world.session(RAW_CAT);
    let bystanders = world.session(RAW_CAT);
    let mut other = world.connect();
    other.open(1, interact(bystanders, "other"));
    other.until_ready(1);
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    *world.sessions.faulty.lock().unwrap() = Some(session);
    client.input(1, 0, b"\x07");
    let error = client.until_error(1);
    assert_eq!((error.code, error.retryable), (ErrorCode::Internal, true));
    client.until("closed", |e| matches!(e, Event::Control(1, ServerMessage::Closed { .. })).then_some(()));
    *world.sessions.faulty.lock().unwrap() = None;
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    client.input(1, 1, b"again");
    client.until_text(1, "again");
    other.input(1, 0, b"undisturbed");
    other.until_text(1, "undisturbed");
}

#[test]
fn who_was_away_while_the_way_broke_gets_every_byte() {
    let world = World::cuttable();
    // Everything is taken by one who stays, so that the hub has nothing of it left.
    let session =
        world.session("stty -opost -echo; printf BEGIN; read go; seq -f %07.0f 1 300000; printf END; read x");
    let mut stays = world.connect();
    stays.open(1, interact(session, "keys"));
    stays.until_text(1, "BEGIN");
    let mut leaves = world.connect();
    leaves.open(1, view(session));
    let position = leaves.until("opened", |e| match e {
        Event::Control(1, ServerMessage::Opened { epoch, offset, size_generation, .. }) => {
            Some(lap_wire::flow::Since { epoch: *epoch, offset: *offset, size_generation: *size_generation })
        }
        _ => None,
    });
    leaves.until_ready(1);
    drop(leaves);
    stays.input(1, 0, b"\n");
    let mut tail = Vec::new();
    stays.until("the end", |e| {
        if let Event::Output(1, _, bytes) = e {
            tail.extend_from_slice(&bytes[bytes.len().saturating_sub(3)..]);
        }
        tail.ends_with(b"END").then_some(())
    });
    let mut back = world.connect();
    let cuts = fresh(1..200_000, 10);
    world.wire.cut_after(cuts[0]);
    back.open(1, crate::client::since(session, position));
    let (mut text, mut next, mut cut) = (Vec::new(), position.offset, 1);
    back.until("all of it", |e| {
        match e {
            Event::Control(1, ServerMessage::Opened { how, .. }) => assert_eq!(*how, How::Exact),
            Event::Output(1, offset, bytes) => {
                assert_eq!(*offset, next);
                next += bytes.len() as u64;
                text.extend_from_slice(bytes);
                if text.len() > cut * 200_000 && cut < cuts.len() {
                    world.wire.cut_after(cuts[cut]);
                    cut += 1;
                }
            }
            Event::Snapshot(..) => panic!("a snapshot where every byte was to be had"),
            _ => {}
        }
        text.ends_with(b"END").then_some(())
    });
    let numbers =
        String::from_utf8(text).unwrap().lines().filter_map(|l| l.parse().ok()).collect::<Vec<u32>>();
    assert_eq!(numbers, (1..=300_000).collect::<Vec<_>>());
}

#[test]
fn an_answer_to_a_ping_means_that_a_cut_way_holds_up_no_client() {
    let world = World::cuttable();
    let session = world.session(RAW_CAT);
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_ready(1);
    world.wire.stall(true);
    world.wire.cut();
    client.input(1, 0, b"kept");
    client.frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, b"12345678"));
    client.until_pong();
    world.wire.stall(false);
    let mut typist_next = None;
    client.until("it is asked for again, or written", |e| match e {
        Event::Control(1, ServerMessage::Error(error)) => {
            typist_next = error.expected;
            Some(())
        }
        Event::InputAck(1, 4) => Some(()),
        _ => None,
    });
    if let Some(next) = typist_next {
        client.input(1, next, &b"kept"[next as usize..]);
    }
    client.until_text(1, "kept");
}
