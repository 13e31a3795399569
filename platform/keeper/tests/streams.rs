//! Output: every byte once, whatever happens to its readers.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Client, Got, Keeper, UP, gated, numbers, output_of, pty, sh, until};
use lap_vt::{Limits, Terminal};
use lap_wire::Epoch;
use lap_wire::control::{ClientMessage, How, ServerMessage, Size};
use lap_wire::flow::Since;
use lap_wire::frame::flags::{FIRST, LAST};
use lap_wire::limits::SKIP_SCROLLBACK;

fn opened(message: &ServerMessage) -> (Epoch, u64, How) {
    match message {
        ServerMessage::Opened { epoch, offset, how, .. } => (*epoch, *offset, *how),
        other => panic!("{other:?}"),
    }
}

/// Lets a gated program go on, once it waits for a line.
fn go(client: &mut Client, id: &str) {
    until("it is up", || Some(()).filter(|()| client.program(id).output >= UP.len() as u64));
    let at = client.open_input(900, id, "go");
    client.input(900, at, b"\n");
    client.send(900, &ClientMessage::Close);
}

/// The next snapshot of a channel: where it stands, and its bytes.
fn snapshot(client: &mut Client, channel: u32) -> (u64, Vec<u8>) {
    let (mut all, mut begun) = (Vec::new(), false);
    loop {
        match client.next() {
            Got::Snapshot(c, at, flags, piece) if c == channel => {
                if flags & FIRST != 0 {
                    all.clear();
                    begun = true;
                }
                assert!(begun, "a snapshot begins with its first piece");
                all.extend_from_slice(&piece);
                if flags & LAST != 0 {
                    return (at, all);
                }
            }
            Got::Output(c, ..) if c == channel && begun => panic!("output inside of a snapshot"),
            _ => {}
        }
    }
}

fn model(size: Size, bytes: &[u8]) -> Terminal {
    let mut terminal = Terminal::new(lap_vt::Size { cols: size.cols, rows: size.rows }, Limits::default());
    terminal.feed(bytes);
    terminal
}

#[test]
fn a_counting_stream_is_exact_over_reconnects_at_any_offset() {
    let keeper = Keeper::start();
    let program = keeper.client().start(&sh("a", "seq 1 400000"));
    let expected = numbers(400_000);
    let mut since = Since { epoch: program.epoch, offset: 0, size_generation: 0 };
    let (mut got, mut random, mut connections) = (Vec::new(), 12345u64, 0);
    while got.len() < expected.len() {
        connections += 1;
        let mut client = keeper.client();
        let (_, at, how) = opened(&client.open_since(1, "a", since));
        assert_eq!((at, how), (since.offset, How::Exact));
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let enough = (random >> 40) as usize % 100_000 + 1;
        let mut read = 0;
        while read < enough && got.len() < expected.len() {
            if let Got::Output(1, offset, bytes) = client.next() {
                assert_eq!(offset, got.len() as u64);
                // Cut inside of a frame: what was not processed comes again.
                let taken = bytes.len().min(enough - read);
                got.extend_from_slice(&bytes[..taken]);
                read += taken;
                if taken < bytes.len() {
                    break;
                }
            }
        }
        since.offset = got.len() as u64;
    }
    assert!(connections > 10);
    assert!(got == expected, "bytes were lost, doubled or changed");
}

#[test]
fn resume_is_exact_where_the_bytes_are_there_and_a_snapshot_where_not() {
    let keeper = Keeper::start();
    let mut spec = sh("a", "seq 1 100000; read x");
    spec.ring = 64 * 1024;
    let program = keeper.client().start(&spec);
    let mut client = keeper.client();
    let end = numbers(100_000).len() as u64;
    until("all is out", || Some(()).filter(|()| client.program("a").output == end));
    let since = |offset| Since { epoch: program.epoch, offset, size_generation: 0 };
    let mut channel = 0;
    let mut how = |client: &mut Client, since: Since| {
        channel += 1;
        opened(&client.open_since(channel, "a", since)).2
    };
    assert_eq!(how(&mut client, since(end)), How::Exact);
    assert_eq!(how(&mut client, since(end - 64 * 1024)), How::Exact);
    assert_eq!(how(&mut client, since(end - 64 * 1024 - 1)), How::Snapshot);
    assert_eq!(how(&mut client, since(end + 1)), How::Snapshot);
    assert_eq!(how(&mut client, Since { epoch: Epoch(1), ..since(end) }), How::Snapshot);
    assert_eq!(how(&mut client, Since { size_generation: 1, ..since(end) }), How::Snapshot);
}

#[test]
fn a_snapshot_is_the_models_and_ready_follows_it() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("a", "seq 1 5000; printf '\\033[31;1mred\\033]0;name\\007'; read x; echo more; read x"));
    let mut output = numbers(5000);
    output.extend_from_slice(b"\x1b[31;1mred\x1b]0;name\x07");
    until("all is out", || Some(()).filter(|()| client.program("a").output == output.len() as u64));
    let message = client.open_with(1, "a", |open| open.scrollback = 10_000);
    let (_, at, how) = opened(&message);
    assert_eq!((at, how), (output.len() as u64, How::Snapshot));
    assert!(matches!(message, ServerMessage::Opened { title: Some(title), .. } if title == "name"));
    let (at, bytes) = snapshot(&mut client, 1);
    let whole = model(Size::default(), &output);
    assert_eq!(at, output.len() as u64);
    assert!(bytes == whole.snapshot(10_000), "the snapshot is another one");
    client.message(1, "ready", |m| matches!(m, ServerMessage::Ready));
    go(&mut client, "a");
    client.read_until(1, "more");
    assert_eq!(client.program("a").title.as_deref(), Some("name"));
}

#[test]
fn a_stalled_reader_holds_up_neither_the_program_nor_other_readers() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let program = client.start(&gated("a", "seq 1 1000000"));
    let since = Since { epoch: program.epoch, offset: 0, size_generation: 0 };
    // One that does not read its socket at all, one that reads and never acknowledges.
    let mut deaf = keeper.client();
    deaf.open_since(1, "a", since);
    let mut silent = keeper.client();
    silent.acks = false;
    silent.open_with(1, "a", |open| {
        open.since = Some(since);
        open.window = 4096;
    });
    let mut reader = keeper.client();
    reader.open_since(1, "a", since);
    go(&mut client, "a");
    let (bytes, exit) = reader.output_to_exit(1);
    assert_eq!(exit.code, Some(0));
    assert!(bytes == [UP, &numbers(1_000_000)].concat());
    // All that the silent one is ever sent is its window, and not one snapshot after another.
    silent.ask(lap_wire::keeper::Call::Info);
    let mut sent = 0;
    loop {
        match silent.next() {
            Got::Output(1, _, bytes) => sent += bytes.len(),
            Got::Snapshot(..) => panic!("a snapshot for a reader that acknowledges nothing"),
            Got::Message(0, ServerMessage::Reply { .. }) => break,
            _ => {}
        }
    }
    assert_eq!(sent, 4096);
}

#[test]
fn a_lapped_reader_is_told_what_it_missed_and_goes_on_from_a_snapshot() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let mut spec = gated("a", "seq 1 200000; printf '\\033[5;5Hhere'; read x; seq 1 500; read x");
    spec.ring = 64 * 1024;
    client.start(&spec);
    client.acks = false;
    until("it is up", || Some(()).filter(|()| client.program("a").output == UP.len() as u64));
    client.open_with(1, "a", |open| {
        open.window = 10_000;
        open.scrollback = 1 << 20;
    });
    let (begun, _) = snapshot(&mut client, 1);
    go(&mut client, "a");
    let mut whole = [UP, &numbers(200_000)].concat();
    whole.extend_from_slice(b"\x1b[5;5Hhere");
    until("all is out", || Some(()).filter(|()| client.program("a").output == whole.len() as u64));
    let mut sent = 0;
    while sent < 10_000 {
        if let Got::Output(1, offset, bytes) = client.next() {
            assert_eq!(&bytes[..], &whole[offset as usize..offset as usize + bytes.len()]);
            sent += bytes.len();
        }
    }
    let from = begun + 10_000;
    client.ack(1, from);
    let skipped = client.message(1, "skipped", |m| matches!(m, ServerMessage::Skipped { .. }));
    assert_eq!(skipped, ServerMessage::Skipped { from, to: whole.len() as u64 });
    let (at, bytes) = snapshot(&mut client, 1);
    assert_eq!(at, whole.len() as u64);
    assert!(bytes == model(Size::default(), &whole).snapshot(SKIP_SCROLLBACK as usize));
    // What follows makes the same screen as the whole stream.
    client.acks = true;
    go(&mut client, "a");
    let mut mine = model(Size::default(), &bytes);
    let mut next = at;
    let more = numbers(500);
    while next < at + more.len() as u64 {
        if let Got::Output(1, offset, bytes) = client.next() {
            assert_eq!(offset, next);
            next += bytes.len() as u64;
            mine.feed(&bytes);
        }
    }
    whole.extend_from_slice(&more);
    let text = |t: &Terminal| (0..24).map(|y| t.row(y).unwrap().text()).collect::<Vec<_>>();
    assert_eq!(text(&mine), text(&model(Size::default(), &whole)));
}

#[test]
fn a_resize_is_a_barrier_with_a_snapshot_behind_it() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let program = client.start(&sh("a", "trap 'stty size' WINCH; echo up; while :; do sleep 0.01; done"));
    client.open(1, "a");
    client.open(2, "a");
    client.read_until(1, "up");
    client.read_until(2, "up");
    let size = Size { cols: 100, rows: 30 };
    client.send(2, &ClientMessage::Resize(size));
    for channel in [1, 2] {
        let resized = client.message(channel, "resized", |m| matches!(m, ServerMessage::Resized { .. }));
        assert_eq!(resized, ServerMessage::Resized { size, size_generation: 1 });
        let at = client.find("its snapshot", |got| match got {
            Got::Snapshot(c, at, flags, _) if *c == channel && flags & LAST != 0 => Some(*at),
            _ => None,
        });
        assert_eq!(at, 3, "at its place in the output");
        client.read_until(channel, "30 100");
    }
    let since = Since { epoch: program.epoch, offset: 3, size_generation: 0 };
    let again = client.open_since(3, "a", since);
    assert!(matches!(again, ServerMessage::Opened { how: How::Snapshot, size: s, .. } if s == size));
    client.send(2, &ClientMessage::Resize(Size { cols: 0, rows: 0 }));
    assert_eq!(client.error(2), lap_wire::control::ErrorCode::BadSize);
    client.send(2, &ClientMessage::Resize(size));
    client.send(2, &ClientMessage::Resize(Size { cols: 1, rows: 1 }));
    let resized = client.message(2, "resized", |m| matches!(m, ServerMessage::Resized { .. }));
    let tiny = Size { cols: 1, rows: 1 };
    assert_eq!(
        resized,
        ServerMessage::Resized { size: tiny, size_generation: 2 },
        "the same size is no change"
    );
    client.read_until(2, "1 1");
}

#[test]
fn a_hidden_channel_is_sent_nothing_and_then_just_what_it_missed() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("a", "echo one; read x; echo two; read x"));
    client.open(1, "a");
    client.open(2, "a");
    client.read_until(1, "one");
    client.read_until(2, "one");
    client.send(2, &ClientMessage::Visible { visible: false });
    go(&mut client, "a");
    client.read_until(1, "two");
    assert!(!client.passed.iter().any(|got| matches!(got, Got::Output(2, ..))));
    client.send(2, &ClientMessage::Visible { visible: true });
    assert_eq!(client.read_until(2, "two"), "two\n");
}

#[test]
fn a_hidden_channel_that_missed_too_much_gets_a_snapshot_when_it_is_looked_at() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let mut spec = gated("a", "seq 1 100000; read x");
    spec.ring = 64 * 1024;
    client.start(&spec);
    client.open(1, "a");
    client.read_until(1, "up");
    client.send(1, &ClientMessage::Visible { visible: false });
    go(&mut client, "a");
    let whole = [UP, &numbers(100_000)].concat();
    until("all is out", || Some(()).filter(|()| client.program("a").output == whole.len() as u64));
    assert!(!client.passed.iter().any(|got| matches!(got, Got::Output(1, ..) | Got::Snapshot(1, ..))));
    client.send(1, &ClientMessage::Visible { visible: true });
    let skipped = client.message(1, "skipped", |m| matches!(m, ServerMessage::Skipped { .. }));
    assert_eq!(skipped, ServerMessage::Skipped { from: UP.len() as u64, to: whole.len() as u64 });
    let (at, bytes) = snapshot(&mut client, 1);
    assert_eq!(at, whole.len() as u64);
    assert!(bytes == model(Size::default(), &whole).snapshot(0));
}

#[test]
fn snapshots_in_the_middle_of_a_flood_are_right_and_what_follows_joins_them() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    // All of it is within the ring, so that nobody is lapped however slow the machine is.
    client.start(&gated("a", "seq 1 500000"));
    let whole = [UP, &numbers(500_000)].concat();
    assert!(whole.len() < lap_wire::limits::KEEPER_RING);
    go(&mut client, "a");
    // On one connection: they come one after the other, and output of those that have theirs in between.
    let mut flooded = keeper.client();
    let scrollback = 200_000;
    for channel in 1..=8 {
        flooded.open_with(channel, "a", |open| open.scrollback = scrollback);
    }
    let mut whole_model = model(Size::default(), b"");
    let (mut fed, mut exits) = (0, 0);
    let mut places: Vec<Option<(u64, Vec<u8>)>> = vec![None; 9];
    while exits < 8 {
        match flooded.next() {
            Got::Snapshot(channel, at, flags, piece) => {
                let (_, bytes) = match &mut places[channel as usize] {
                    Some(place) if flags & FIRST == 0 => place,
                    place => place.insert((at, Vec::new())),
                };
                bytes.extend_from_slice(&piece);
                if flags & LAST != 0 {
                    assert!(at >= fed, "one after the other");
                    whole_model.feed(&whole[fed as usize..at as usize]);
                    fed = at;
                    assert!(*bytes == whole_model.snapshot(scrollback as usize), "another screen at {at}");
                }
            }
            Got::Output(channel, offset, bytes) => {
                let place = places[channel as usize].as_mut().unwrap();
                assert_eq!(place.0, offset, "a hole");
                let end = offset + bytes.len() as u64;
                assert!(bytes == whole[offset as usize..end as usize]);
                place.0 = end;
            }
            Got::Message(_, ServerMessage::Skipped { from, to }) => panic!("skipped {from}..{to}"),
            Got::Message(_, ServerMessage::Exit(_)) => exits += 1,
            _ => {}
        }
    }
    assert!(places[1..].iter().flatten().all(|(at, _)| *at == whole.len() as u64));
}

#[test]
fn the_exit_comes_after_all_output_even_to_a_late_reader() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let program = client.start(&sh("a", "seq 1 100000; exit 7"));
    until("it ends", || client.program("a").exit);
    for _ in 0..3 {
        let (bytes, exit) = output_of(&keeper.socket(), &program);
        assert!(bytes == numbers(100_000));
        assert_eq!(exit.code, Some(7));
    }
}

#[test]
fn a_hundred_megabytes_without_a_newline_pass_and_leave_the_keeper_small() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let program = client.start(&gated("a", "head -c 100000000 /dev/zero | tr '\\0' x"));
    until("it is up", || Some(()).filter(|()| client.program("a").output == UP.len() as u64));
    let since = Since { epoch: program.epoch, offset: UP.len() as u64, size_generation: 0 };
    client.open_since(1, "a", since);
    let mut other = keeper.client();
    go(&mut other, "a");
    let (mut total, mut skipped) = (0, 0);
    loop {
        match client.next() {
            Got::Output(1, _, bytes) => {
                assert!(bytes.iter().all(|b| *b == b'x'));
                total += bytes.len() as u64;
            }
            Got::Message(1, ServerMessage::Skipped { from, to }) => skipped += to - from,
            Got::Message(1, ServerMessage::Exit(_)) => break,
            _ => {}
        }
    }
    assert_eq!(total + skipped, 100_000_000, "every byte is accounted for");
    let (rss, _) = keeper.memory();
    assert!(rss < 64 * 1024, "{rss} KiB");
}

#[test]
fn a_terminal_of_one_cell_works() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let mut spec = pty("a", &["sh", "-c", "stty size; echo 漢字; read x"]);
    spec.io = lap_wire::keeper::ProgramIo::Pty { size: Size { cols: 1, rows: 1 } };
    client.start(&spec);
    client.open(1, "a");
    client.send(1, &ClientMessage::Snapshot { scrollback: 1000 });
    snapshot(&mut client, 1);
    go(&mut client, "a");
    client.message(1, "the exit", |m| matches!(m, ServerMessage::Exit(_)));
}

/// Whoever asks for a snapshot is not skipped over what it has not been sent yet.
#[test]
fn a_snapshot_that_is_asked_for_takes_no_output_from_whoever_asks() {
    const LINES: usize = 150_000;
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&gated("a", &format!("seq 1 {LINES}; read x")));
    client.open_with(1, "a", |open| open.window = 4 << 20);
    go(&mut client, "a");
    // More than a socket holds: of the rest nothing has been sent.
    let mut other = keeper.client();
    let whole = numbers(LINES).len() as u64;
    until("all is printed", || Some(()).filter(|()| other.program("a").output >= whole));
    client.send(1, &ClientMessage::Snapshot { scrollback: 10 });
    let (mut printed, mut at) = (Vec::new(), None);
    let stands_for = loop {
        match client.next_of(1) {
            Got::Output(_, offset, bytes) => {
                assert!(at.is_none_or(|at| at == offset), "a hole at {offset}");
                at = Some(offset + bytes.len() as u64);
                printed.extend_from_slice(&bytes);
            }
            Got::Snapshot(_, offset, flags, _) if flags & LAST != 0 && !printed.is_empty() => break offset,
            Got::Message(_, ServerMessage::Skipped { from, to }) => panic!("{from}..{to} is left out"),
            _ => {}
        }
    };
    assert_eq!(Some(stands_for), at);
    assert!(printed.ends_with(&numbers(LINES)), "{} bytes of {whole}", printed.len());
}
