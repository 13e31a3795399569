//! What programs do to a terminal, and what its viewers and its recording have of it.

use lap_vt::{Limits, Terminal};
use lap_wire::control::{ClientMessage, ServerMessage, Size};

use crate::client::{Client, Event, interact, view};
use crate::world::{World, wait_for};

fn exit_of(client: &mut Client, channel: u32) -> Option<i32> {
    client.until("the exit", |e| match e {
        Event::Control(c, ServerMessage::Exit(status)) if *c == channel => Some(status.code),
        _ => None,
    })
}

fn bytes_until_exit(client: &mut Client) -> Vec<u8> {
    let mut seen = Vec::new();
    client.until("the exit", |e| {
        match e {
            Event::Output(1, _, bytes) => seen.extend_from_slice(bytes),
            Event::Snapshot(1, ..) => assert!(seen.is_empty(), "a snapshot in the middle"),
            Event::Control(1, ServerMessage::Exit(_)) => return Some(()),
            _ => {}
        }
        None
    });
    seen
}

#[test]
fn a_program_that_exits_at_once_is_seen_by_whoever_comes_later() {
    let world = World::new();
    let session = world.session("printf 'last words'; exit 3");
    for _ in 0..2 {
        let mut client = world.connect();
        client.open(1, view(session));
        client.until_text(1, "last words");
        assert_eq!(exit_of(&mut client, 1), Some(3));
    }
}

#[test]
fn bytes_that_are_no_utf8_arrive_as_they_are_and_leave_the_recording_readable() {
    let mut world = World::new();
    let bytes: Vec<u8> = (0..3u8).flat_map(|_| 0x80..=0xffu8).chain(*b"\xe6\xbc").collect();
    let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let session = world.session(&format!("stty raw -echo; printf UP; read go; printf '{octal}'; exit 0"));
    world.runtime.block_on(world.hub.record(session));
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "UP");
    client.input(1, 0, b"\n");
    assert_eq!(bytes_until_exit(&mut client), bytes);
    world.stop_hub();
    let cast = String::from_utf8(world.hub.recording(session).unwrap()).unwrap();
    for line in cast.lines().filter(|line| !line.starts_with('#')) {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(cast.contains('\u{fffd}') && cast.contains("\"x\", \"0\""), "{cast}");
}

#[test]
fn the_recording_of_a_program_that_ends_in_a_flood_ends_with_its_last_screen() {
    let mut world = World::new();
    // More than is recorded at once, and faster than is recorded after that: long lines, which terminals are fastest at.
    let script = "stty raw -echo; printf UP; read go; line=$(head -c 4000 /dev/zero | tr '\\0' x); \
                  yes $line | head -c 100000000; printf '\\nTHE END'; exit 7";
    let session = world.session(script);
    world.runtime.block_on(world.hub.record(session));
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "UP");
    wait_for("the recording has begun", || world.sessions.heard.lock().unwrap().recording.then_some(()));
    client.input(1, 0, b"\n");
    assert_eq!(exit_of(&mut client, 1), Some(7));
    let cast = wait_for("the end in the recording", || {
        let cast = String::from_utf8(world.hub.recording(session).unwrap()).unwrap();
        cast.contains("\"x\", \"7\"").then_some(cast)
    });
    world.stop_hub();
    let events: Vec<(f64, String, String)> =
        cast.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(events.iter().any(|event| event.1 == "m" && event.2.contains("left out")), "it was no flood");
    let [.., left_out, before, screen, exit] = events.as_slice() else { panic!("{}", events.len()) };
    assert_eq!((screen.1.as_str(), exit.1.as_str()), ("o", "x"));
    assert!(screen.2.contains("THE END"), "{screen:?}");
    // A machine so busy that the flood became a trickle may have recorded its last bytes as they came.
    if before.1 != "o" {
        assert_eq!((left_out.1.as_str(), before.1.as_str()), ("m", "r"));
        assert!(screen.2.starts_with("\x1bc"), "{screen:?}");
    }
}

#[test]
fn a_hundred_megabytes_without_a_newline_are_all_accounted_for() {
    const BYTES: u64 = 100_000_000;
    let world = World::new();
    let script = format!("stty raw -echo; printf UP; read go; head -c {BYTES} /dev/zero | tr '\\0' x");
    let session = world.session(&script);
    let mut client = world.connect();
    client.open(1, interact(session, "keys"));
    client.until_text(1, "UP");
    client.input(1, 0, b"\n");
    let (mut received, mut skipped, mut at) = (0, 0, 2);
    client.until("the exit", |e| {
        match e {
            Event::Output(1, offset, bytes) => {
                assert_eq!(*offset, at, "a hole nobody was told of");
                assert!(bytes.iter().all(|byte| *byte == b'x'));
                at += bytes.len() as u64;
                received += bytes.len() as u64;
            }
            Event::Control(1, ServerMessage::Skipped { from, to }) => {
                assert_eq!(*from, at);
                (at, skipped) = (*to, skipped + to - from);
            }
            Event::Control(1, ServerMessage::Exit(_)) => return Some(()),
            _ => {}
        }
        None
    });
    assert_eq!(received + skipped, BYTES);
}

#[test]
fn a_terminal_of_one_cell_has_its_viewers_and_comes_back_to_size() {
    let world = World::new();
    let session = world.session("trap 'stty size' WINCH; echo 漢字 $(stty size); while :; do read x; done");
    let mut client = world.connect();
    let mut open = interact(session, "keys");
    open.size = Size::checked(1, 1);
    client.open(1, open);
    let mut model = Terminal::new(lap_vt::Size { cols: 1, rows: 1 }, Limits::default());
    client.until("a screen of one cell", |e| match e {
        Event::Control(1, ServerMessage::Resized { size, .. } | ServerMessage::Opened { size, .. }) => {
            (size.cols == 1 && size.rows == 1).then_some(())
        }
        _ => None,
    });
    client.until("its snapshot", |e| match e {
        Event::Snapshot(1, _, bytes) => {
            model.feed(bytes);
            Some(())
        }
        _ => None,
    });
    client.control(1, &ClientMessage::Resize(Size { cols: 100, rows: 30 }));
    client.until_text(1, "30 100");
}
