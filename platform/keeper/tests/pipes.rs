//! Programs on pipes: nothing is lost, whoever reads and however slowly.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Got, Keeper, numbers, pipes, until};
use lap_wire::control::{ClientMessage, How, Mode, ServerMessage, Stream};
use lap_wire::flow::Since;

#[test]
fn pipes_lose_nothing_and_hold_the_program_up_until_somebody_reads() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    let mut spec = pipes("a", &["sh", "-c", "seq 1 300000; seq 1 1000 >&2; exit 4"]);
    spec.ring = 64 * 1024;
    let program = client.start(&spec);
    let expected = numbers(300_000);
    until("the ring is full", || Some(()).filter(|()| client.program("a").output == 64 * 1024));
    assert_eq!(client.program("a").exit, None, "it waits for a reader");
    // A reader that takes some and goes; the next one gets the rest.
    let mut first = keeper.client();
    let since = Since { epoch: program.epoch, offset: 0, size_generation: 0 };
    let opened = first.open(1, "a");
    assert!(matches!(opened, ServerMessage::Opened { how: How::Exact, offset: 0, .. }));
    let mut got = Vec::new();
    while got.len() < 100_000 {
        if let Got::Output(1, offset, bytes) = first.next() {
            assert_eq!(offset, got.len() as u64);
            got.extend_from_slice(&bytes);
        }
    }
    drop(first);
    client.open_since(1, "a", Since { offset: got.len() as u64, ..since });
    client.open_with(2, "a", |open| open.stream = Stream::Stderr);
    let (rest, exit) = client.output_to_exit(1);
    got.extend_from_slice(&rest);
    assert!(got == expected);
    assert_eq!(exit.code, Some(4));
    let (errors, _) = client.output_to_exit(2);
    assert!(errors == numbers(1000));
    // Who wants again what was given up is told what is missing.
    let mut late = keeper.client();
    late.open_since(1, "a", since);
    let gap = late.message(1, "skipped", |m| matches!(m, ServerMessage::Skipped { .. }));
    assert!(matches!(gap, ServerMessage::Skipped { from: 0, .. }));
}

#[test]
fn the_slowest_reader_of_a_pipe_is_waited_for() {
    let keeper = Keeper::start();
    let mut fast = keeper.client();
    let mut spec = pipes("a", &["sh", "-c", "read x; seq 1 100000"]);
    spec.ring = 64 * 1024;
    fast.start(&spec);
    let mut slow = keeper.client();
    slow.acks = false;
    slow.open_with(1, "a", |open| open.window = 1000);
    fast.open_with(1, "a", |_| {});
    let at = fast.open_input(2, "a", "me");
    fast.input(2, at, b"\n");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while first.len() < 64 * 1024 {
        if let Got::Output(1, _, bytes) = fast.next() {
            first.extend_from_slice(&bytes);
        }
    }
    // The fast one has taken and acknowledged all there was room for; what the slow one has not is still there.
    assert_eq!(first.len(), 64 * 1024);
    let acked = fast.call(lap_wire::keeper::Call::Info);
    assert!(matches!(acked, lap_wire::keeper::Reply::Info(_)));
    assert_eq!(fast.program("a").output, 64 * 1024);
    let reading = std::thread::spawn(move || {
        let (rest, _) = fast.output_to_exit(1);
        first.extend_from_slice(&rest);
        first
    });
    loop {
        match slow.next() {
            Got::Output(1, offset, bytes) => {
                assert_eq!(offset, second.len() as u64);
                second.extend_from_slice(&bytes);
                slow.ack(1, second.len() as u64);
            }
            Got::Message(1, ServerMessage::Exit(_)) => break,
            _ => {}
        }
    }
    assert!(second == numbers(100_000));
    assert!(reading.join().unwrap() == second);
}

#[test]
fn a_program_on_pipes_reads_its_input_to_the_end() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pipes("a", &["cat"]));
    client.open_with(1, "a", |open| {
        open.mode = Mode::Interact;
        open.input = Some("me".into());
    });
    client.input(1, 0, b"all of it");
    client.send(1, &ClientMessage::StdinEof);
    let (bytes, exit) = client.output_to_exit(1);
    assert_eq!((bytes.as_slice(), exit.code), (b"all of it".as_slice(), Some(0)));
    client.input(1, 9, b"more");
    assert_eq!(client.error(1), lap_wire::control::ErrorCode::NotWritable);
}
