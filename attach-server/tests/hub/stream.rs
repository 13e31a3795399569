//! Bytes: none lost, none doubled, and the right screen whatever happens.

use lap_vt::{Limits, Terminal};
use lap_wire::Epoch;
use lap_wire::control::{ClientMessage, How, Open, ServerMessage, Size};
use lap_wire::flow::Since;

use crate::client::{Client, Event, interact, since, view};
use crate::world::World;

/// Prints numbered lines, then waits.
fn counting(lines: u32) -> String {
    format!("stty -opost; read go; seq 1 {lines}; echo END; read stop")
}

fn opened(client: &mut Client, channel: u32) -> (Epoch, u64, How, u32) {
    client.until("opened", |e| match e {
        Event::Control(c, ServerMessage::Opened { epoch, offset, how, size_generation, .. })
            if *c == channel =>
        {
            Some((*epoch, *offset, *how, *size_generation))
        }
        _ => None,
    })
}

#[test]
fn a_keystroke_comes_back_and_is_acknowledged() {
    let world = World::new();
    let session = world.session("stty raw -echo; echo ready; exec cat");
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "ready");
    let mut offset = 0;
    for word in ["a", "hello", "\x1b[A"] {
        client.input(1, offset, word.as_bytes());
        offset += word.len() as u64;
        let (mut echoed, mut acked) = (String::new(), 0);
        client.until("echo and ack", |e| {
            match e {
                Event::Output(1, _, bytes) => echoed.push_str(std::str::from_utf8(bytes).unwrap()),
                Event::InputAck(1, at) => acked = *at,
                _ => {}
            }
            (echoed == word && acked == offset).then_some(())
        });
    }
}

#[test]
fn a_viewer_that_reconnects_gets_the_very_next_byte_and_misses_none() {
    let world = World::new();
    let session = world.session(&counting(200_000));
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    let (epoch, mut at, _, size_generation) = opened(&mut client, 1);
    let mut text = Vec::new();
    client.until_ready(1);
    client.input(1, 0, b"\n");
    let mut lives = 0;
    // Each life takes some of it and drops the connection without a word.
    while !text.ends_with(b"END\n") {
        let until = text.len() + 150_000;
        while text.len() < until && !text.ends_with(b"END\n") {
            match client.next() {
                Event::Output(1, offset, bytes) => {
                    assert_eq!(offset, at, "a hole or a repetition in life {lives}");
                    at += bytes.len() as u64;
                    text.extend_from_slice(&bytes);
                }
                Event::Snapshot(..) => assert!(text.is_empty(), "a snapshot where exact resume was possible"),
                _ => {}
            }
        }
        drop(client);
        lives += 1;
        client = world.connect();
        client.open(1, since(session, Since { epoch, offset: at, size_generation }));
        assert_eq!(opened(&mut client, 1).2, How::Exact);
    }
    let text = String::from_utf8(text).unwrap();
    let numbers: Vec<u32> = text.lines().filter_map(|l| l.parse().ok()).collect();
    assert_eq!(numbers, (1..=200_000).collect::<Vec<_>>());
    assert!(lives > 5);
}

#[test]
fn who_was_away_gets_what_the_keeper_still_has_and_else_a_snapshot() {
    // The keeper has 4 MiB; a line is 8 bytes. The one who stays takes everything, so that the hub has nothing left.
    for (lines, expected) in [(400_000, How::Exact), (800_000, How::Snapshot)] {
        let world = World::new();
        let session = world.session(&format!(
            "stty -opost -echo; printf BEGIN; read go; seq -f %07.0f 1 {lines}; printf END; read stop"
        ));
        let mut stays = world.connect();
        stays.open(1, interact(session, "keys"));
        stays.until_text(1, "BEGIN");
        let mut leaves = world.connect();
        leaves.open(1, view(session));
        let (epoch, at, _, size_generation) = opened(&mut leaves, 1);
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
        back.open(1, since(session, Since { epoch, offset: at, size_generation }));
        assert_eq!(opened(&mut back, 1).2, expected);
        if expected == How::Snapshot {
            back.until("a snapshot", |e| matches!(e, Event::Snapshot(..)).then_some(()));
            continue;
        }
        let (mut text, mut next, mut ready) = (Vec::new(), at, false);
        back.until("all of it", |e| {
            match e {
                Event::Output(1, offset, bytes) => {
                    assert_eq!(*offset, next);
                    next += bytes.len() as u64;
                    text.extend_from_slice(bytes);
                }
                Event::Control(1, ServerMessage::Ready) => ready = true,
                _ => {}
            }
            (ready && text.ends_with(b"END")).then_some(())
        });
        let numbers: Vec<u32> =
            String::from_utf8(text).unwrap().lines().filter_map(|l| l.parse().ok()).collect();
        assert_eq!(numbers, (1..=lines).collect::<Vec<_>>());
        // It is a viewer like the other from here on.
        stays.input(1, 1, b"\n");
        back.until("the exit", |e| matches!(e, Event::Control(1, ServerMessage::Exit(_))).then_some(()));
    }
}

#[test]
fn a_restarted_server_goes_on_exactly_for_all_its_viewers() {
    let mut world = World::new();
    let session = world.session(&counting(60_000));
    let mut first = world.connect();
    let mut second = world.connect();
    first.open(1, interact(session, "keys"));
    let (epoch, _, _, size_generation) = opened(&mut first, 1);
    first.until_ready(1);
    second.open(7, view(session));
    second.until_ready(7);
    first.input(1, 0, b"\n");
    let mut positions = [0, 0];
    for (client, channel, place) in [(&mut first, 1, 0), (&mut second, 7, 1)] {
        client.until("some output", |e| match e {
            Event::Output(c, offset, bytes) if *c == channel => {
                positions[place] = offset + bytes.len() as u64;
                (positions[place] > 50_000).then_some(())
            }
            _ => None,
        });
    }
    world.restart_hub();
    assert_eq!(first.until_close(), 1012);
    let mut ends = Vec::new();
    for at in positions {
        let mut client = world.connect();
        client.open(1, since(session, Since { epoch, offset: at, size_generation }));
        assert_eq!(opened(&mut client, 1).2, How::Exact);
        let mut next = at;
        let mut tail = Vec::new();
        client.until("the end", |e| {
            if let Event::Output(1, offset, bytes) = e {
                assert_eq!(*offset, next);
                next += bytes.len() as u64;
                tail.extend_from_slice(bytes);
            }
            tail.ends_with(b"END\n").then_some(())
        });
        ends.push(next);
    }
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_stalled_viewer_slows_nobody_and_comes_back_to_the_right_screen() {
    let world = World::new();
    // Far more than every buffer on the way holds.
    let session = world.session("read go; seq 1 3000000; printf 'END\\033[1mbold'; read stop");
    let mut fast = world.connect();
    fast.open(1, interact(session, "keys"));
    fast.until_ready(1);
    let mut stalled = world.connect();
    stalled.acks = false;
    stalled.open(1, view(session));
    stalled.until_ready(1);
    fast.input(1, 0, b"\n");
    let mut model = Terminal::new(lap_vt::Size { cols: 80, rows: 24 }, Limits::default());
    let mut end = 0;
    let mut tail = Vec::new();
    fast.until("the end", |e| {
        match e {
            Event::Output(1, offset, bytes) => {
                end = offset + bytes.len() as u64;
                tail.extend_from_slice(bytes);
                let keep = tail.len().saturating_sub(64);
                tail.drain(..keep);
            }
            // A machine too slow for the whole stream has it skipped ahead too.
            Event::Snapshot(1, offset, bytes) => (end, tail) = (*offset, bytes.clone()),
            _ => {}
        }
        String::from_utf8_lossy(&tail).contains("bold").then_some(())
    });
    // It wakes up, acknowledges, and is told of the gap.
    stalled.acks = true;
    let (mut at, mut skipped) = (0, false);
    stalled.ack(1, lap_wire::limits::MAX_OFFSET);
    stalled.until("the present", |e| {
        match e {
            Event::Output(1, offset, bytes) => {
                assert!(at == 0 || *offset == at, "a hole nobody was told of");
                at = offset + bytes.len() as u64;
                model.feed(bytes);
            }
            Event::Control(1, ServerMessage::Skipped { .. }) => skipped = true,
            Event::Snapshot(1, offset, bytes) => {
                at = *offset;
                model.feed(bytes);
            }
            _ => {}
        }
        (at == end).then_some(())
    });
    assert!(skipped, "the flood was larger than any buffer");
    let bottom = model.row(23).map(|row| row.text());
    assert_eq!(bottom.as_deref(), Some("ENDbold"), "{bottom:?}");
}

#[test]
fn a_late_viewer_sees_what_is_on_the_screen() {
    let world = World::new();
    let session = world.session("printf '\\033[?1049h\\033[2J\\033[5;10Hhello'; read stop");
    let mut first = world.connect();
    first.open(1, view(session));
    first.until_text(1, "hello");
    let mut late = world.connect();
    late.open(9, view(session));
    let snapshot = late.until("a snapshot", |e| match e {
        Event::Snapshot(9, _, bytes) => Some(bytes.clone()),
        _ => None,
    });
    let mut model = Terminal::new(lap_vt::Size { cols: 80, rows: 24 }, Limits::default());
    model.feed(&snapshot);
    assert_eq!(model.row(4).map(|row| row.text()).as_deref(), Some("         hello"));
    assert!(model.modes().alternate_screen);
}

/// Who comes with another size than the terminal has resizes it by coming: whichever of both snapshots is made first, the
/// first whole one has the scrollback that was asked for.
#[test]
fn who_comes_with_another_size_is_given_the_scrollback_all_the_same() {
    let world = World::new();
    let session =
        world.session("for i in $(seq 1 500); do echo line $i; done; printf READY; exec sleep 1000");
    let mut watcher = world.connect();
    watcher.open(1, view(session));
    watcher.until_text(1, "READY");
    for round in 0..60u16 {
        if round == 30 {
            // From here on nobody else is there.
            watcher.control(1, &ClientMessage::Close);
        }
        let mut client = world.connect();
        let size = Some(Size { cols: 60 + round, rows: 20 + round % 7 });
        client.open(1, Open { size, scrollback: 64 * 1024, ..interact(session, &format!("keys-{round}")) });
        let snapshot = client.until("a snapshot", |e| match e {
            Event::Snapshot(1, _, bytes) => Some(bytes.clone()),
            _ => None,
        });
        let text = String::from_utf8_lossy(&snapshot);
        assert!(text.contains("line 250"), "round {round}: {} bytes without the scrollback", snapshot.len());
    }
}

#[test]
fn a_resize_is_a_barrier_with_a_fresh_snapshot_for_everybody() {
    let world = World::new();
    let session = world.session("trap 'echo now $(stty size)' WINCH; echo up; while :; do read x; done");
    let mut watcher = world.connect();
    watcher.open(1, view(session));
    watcher.until_text(1, "up");
    let mut typist = world.connect();
    let mut open = interact(session, "keys");
    open.size = Size::checked(100, 40);
    typist.open(3, open);
    for (client, channel) in [(&mut watcher, 1), (&mut typist, 3)] {
        let (mut resized, mut snapshot) = (false, false);
        let mut text = String::new();
        client.until("the new size", |e| {
            match e {
                Event::Control(
                    c,
                    ServerMessage::Resized { size, .. } | ServerMessage::Opened { size, .. },
                ) if *c == channel && size.cols == 100 => {
                    resized = true;
                }
                Event::Snapshot(c, _, _) if *c == channel => snapshot = resized,
                Event::Output(c, _, bytes) if *c == channel => text.push_str(&String::from_utf8_lossy(bytes)),
                _ => {}
            }
            (resized && snapshot).then_some(())
        });
    }
}

#[test]
fn the_recording_has_the_whole_session() {
    let mut world = World::new();
    let session = world.session("echo one; read x; echo two; exit 3");
    world.runtime.block_on(world.hub.record(session));
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "one");
    crate::world::wait_for("recording", || world.sessions.heard.lock().unwrap().recording.then_some(()));
    client.input(1, 0, b"\n");
    client.until("exit", |e| match e {
        Event::Control(1, ServerMessage::Exit(status)) => (status.code == Some(3)).then_some(()),
        _ => None,
    });
    world.stop_hub();
    let cast = String::from_utf8(world.hub.recording(session).unwrap()).unwrap();
    assert!(cast.contains("one") && cast.contains("two") && cast.contains("\"x\", \"3\""), "{cast}");
    assert_eq!(world.sessions.heard.lock().unwrap().exits, [(session, Some(3))]);
}
