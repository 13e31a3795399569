//! Input: every byte once, and answers from one place only.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Client, Got, Keeper, UP, gated, pipes, pty, sh, until};
use lap_wire::control::{Attention, ClientMessage, ErrorCode, Mode, Responder, ServerMessage};
use lap_wire::frame::flags::REPLY;
use lap_wire::limits::INPUT_WINDOW;
use lap_wire::{ChannelId, Frame, FrameType};

fn up(keeper: &Keeper, id: &str) {
    until("it is up", || Some(()).filter(|()| keeper.client().program(id).output >= UP.len() as u64));
}

#[test]
fn a_keystroke_reaches_the_program_and_its_echo_comes_back() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pty("a", &["cat"]));
    client.open(1, "a");
    assert_eq!(client.open_input(2, "a", "me"), 0);
    client.input(2, 0, b"x");
    client.acked(2, 1);
    client.read_until(1, "x");
}

#[test]
fn input_is_written_exactly_once_over_a_storm_of_reconnects() {
    let keeper = Keeper::start();
    keeper.client().start(&sh("a", "echo up; exec cat"));
    up(&keeper, "a");
    let sent: Vec<u8> = (1..=20_000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    let (mut random, mut connections) = (99u64, 0);
    loop {
        let mut client = keeper.client();
        connections += 1;
        let mut at = client.open_input(1, "a", "typist") as usize;
        if at == sent.len() {
            break;
        }
        // A few pieces, the last of which may never arrive; what was sent before is sent again from some way back.
        for _ in 0..4 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let back = (random >> 33) as usize % 200;
            let len = (random >> 45) as usize % 2000 + 1;
            let from = at.saturating_sub(back);
            let to = (at + len).min(sent.len());
            client.input(1, from as u64, &sent[from..to]);
            at = to;
        }
        if connections % 3 == 0 {
            client.acked(1, at as u64);
        }
    }
    assert!(connections > 10);
    let expected = [UP, &sent].concat();
    until("all is echoed", || {
        Some(()).filter(|()| keeper.client().program("a").output >= expected.len() as u64)
    });
    let mut client = keeper.client();
    client.open(1, "a");
    let mut got = Vec::new();
    while got.len() < expected.len() {
        if let Got::Output(1, _, bytes) = client.next() {
            got.extend_from_slice(&bytes);
        }
    }
    assert!(got == expected, "input was lost, doubled or reordered");
}

#[test]
fn two_who_type_at_once_get_their_own_counts() {
    let keeper = Keeper::start();
    keeper.client().start(&sh("a", "echo up; exec cat"));
    up(&keeper, "a");
    let (mut first, mut second) = (keeper.client(), keeper.client());
    first.open_input(1, "a", "one");
    second.open_input(1, "a", "two");
    for i in 0..100 {
        first.input(1, i * 3, b"aaa");
        second.input(1, i * 2, b"bb");
    }
    first.acked(1, 300);
    second.acked(1, 200);
    let mut reader = keeper.client();
    reader.open(1, "a");
    let (mut a, mut b) = (0, 0);
    while a < 300 || b < 200 {
        if let Got::Output(1, _, bytes) = reader.next() {
            a += bytes.iter().filter(|c| **c == b'a').count();
            b += bytes.iter().filter(|c| **c == b'b').count();
        }
    }
    assert_eq!((a, b), (300, 200));
}

#[test]
fn input_that_cannot_be_is_refused_and_the_channel_goes_on() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pty("a", &["cat"]));
    client.open(1, "a");
    client.input(1, 0, b"x");
    assert_eq!(client.error(1), ErrorCode::NotWritable, "a viewer cannot type");
    client.open_with(2, "a", |open| open.mode = Mode::Interact);
    client.input(2, 0, b"x");
    assert_eq!(client.error(2), ErrorCode::NotWritable, "nor one whose bytes nobody counts");
    client.open_input(3, "a", "me");
    client.input(3, 5, b"x");
    let gap = client.whole_error(3);
    assert_eq!((gap.code, gap.retryable, gap.expected), (ErrorCode::InputGap, true, Some(0)));
    client.input(4, 0, b"x");
    assert_eq!(client.error(4), ErrorCode::ChannelNotOpen);
    client.input(3, 0, b"y");
    client.acked(3, 1);
}

#[test]
fn input_nobody_reads_is_bounded_and_not_acknowledged() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pipes("a", &["sh", "-c", "read x; exec wc -c"]));
    client.open_input(1, "a", "me");
    let chunk = [b'x'; 32 * 1024];
    let mut offset = 0;
    let refused = loop {
        client.input(1, offset, &chunk);
        client.send_frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, &[0; 8]));
        let refused = client.find("a pong, or a refusal before it", |got| match got {
            Got::Other(FrameType::Pong) => Some(None),
            Got::Message(1, ServerMessage::Error(error)) => Some(Some(error.clone())),
            _ => None,
        });
        if let Some(error) = refused {
            break error;
        }
        offset += chunk.len() as u64;
        assert!(offset < 10 * INPUT_WINDOW as u64, "it takes everything");
    };
    assert_eq!((refused.code, refused.expected), (ErrorCode::InputOverflow, Some(offset)));
    assert!(!client.passed.iter().any(|got| matches!(got, Got::InputAck(_, at) if *at >= offset)));
    // As soon as the program reads, all of it can be sent again.
    let mut other = keeper.client();
    let written = other.open_input(1, "a", "me");
    assert!(written < offset);
    other.send(1, &ClientMessage::Signal { signal: "SIGKILL".into() });
    until("it ends", || keeper.client().program("a").exit);
}

/// Sends all of `sent`, however often it is refused: goes back to where the keeper says each time.
fn send_all(client: &mut Client, sent: &[u8]) -> usize {
    let (mut at, mut refusals) = (0, 0);
    let mut outstanding = 0;
    loop {
        // Never waiting for an answer before the next frame: what follows a refused one leaves a gap.
        while outstanding < 12 && at < sent.len() {
            let to = sent.len().min(at + 32 * 1024);
            client.input(1, at as u64, &sent[at..to]);
            (at, outstanding) = (to, outstanding + 1);
        }
        client.send_frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, &[0; 8]));
        let (mut back, mut written) = (None, None);
        client.find("the answers to all of it", |got| {
            match got {
                Got::Message(1, ServerMessage::Error(error)) => {
                    refusals += 1;
                    back = back.or(error.expected);
                    assert_eq!(back, error.expected, "all that were on their way say the same");
                }
                Got::InputAck(1, to) => written = Some(*to),
                _ => {}
            }
            matches!(got, Got::Other(FrameType::Pong)).then_some(())
        });
        client.passed.clear();
        outstanding = 0;
        at = back.map_or(at, |back| usize::try_from(back).unwrap());
        if written == Some(sent.len() as u64) {
            return refusals;
        }
    }
}

#[test]
fn refused_input_can_always_be_sent_again_and_arrives_once() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    // One that reads nothing until the file is there, and then slowly.
    let gate = keeper.folder().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done; exec cksum", gate.display());
    client.start(&pipes("a", &["sh", "-c", &script]));
    client.open_input(1, "a", "me");
    let sent: Vec<u8> = (0..2_000_000u32).map(|i| (i % 251) as u8).collect();
    let opener = std::thread::spawn(move || {
        std::thread::park_timeout(std::time::Duration::from_millis(200));
        std::fs::write(gate, "").unwrap();
    });
    let refusals = send_all(&mut client, &sent);
    opener.join().unwrap();
    assert!(refusals > 0, "it was never refused");
    client.send(1, &ClientMessage::StdinEof);
    let (sum, _) = common::output_of(&keeper.socket(), &client.program("a"));
    let file = keeper.folder().join("sent");
    std::fs::write(&file, &sent).unwrap();
    let wanted =
        std::process::Command::new("cksum").stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&sum), String::from_utf8_lossy(&wanted.stdout));
}

#[test]
fn who_has_lost_bytes_goes_on_from_where_the_keeper_is() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("a", "echo up; exec cat"));
    client.open(2, "a");
    client.read_until(2, "up");
    client.open_input(1, "a", "me");
    client.input(1, 0, b"before ");
    client.input(1, 100, b"a hole");
    let gap = client.whole_error(1);
    assert_eq!((gap.code, gap.expected), (ErrorCode::InputGap, Some(7)));
    client.input(1, gap.expected.unwrap(), b"after");
    client.read_until(2, "before after");
}

#[test]
fn a_keeper_that_was_stopped_takes_input_again() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("a", "echo up; exec cat"));
    client.open(1, "a");
    client.read_until(1, "up");
    let seat = client.open_seat(2, "a", "ana", |_| {});
    client.input(2, 0, b"one ");
    client.acked(2, 4);
    let pid = rustix::process::Pid::from_raw(keeper.pid() as i32).unwrap();
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    signal(rustix::process::Signal::STOP);
    // Some of this is in the sockets when the server gives up and connects again, more than once.
    client.input(2, 4, b"two ");
    drop(client);
    let hello = ClientMessage::Hello {
        versions: vec![lap_wire::PROTOCOL.into()],
        name: "gives up too".into(),
        heartbeat_ms: None,
        grant: None,
    };
    let mut given_up = Client::silent(&keeper.socket());
    given_up.send(0, &hello);
    drop(given_up);
    let mut client = Client::silent(&keeper.socket());
    client.send(0, &hello);
    signal(rustix::process::Signal::CONT);
    assert_eq!(client.open_seat(2, "a", "ana", |_| {}), seat);
    // Whatever was written of it is not written again.
    client.input(2, 4, b"two three");
    client.acked(2, 13);
    client.open(1, "a");
    assert!(client.read_until(1, "three").ends_with("one two three"));
}

#[test]
fn the_end_of_input_is_a_terminals_end_of_file() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pty("a", &["sh", "-c", "echo up; cat; echo cat is done; cat; echo so is the second"]));
    client.open(1, "a");
    client.read_until(1, "up");
    client.open_input(2, "a", "me");
    client.input(2, 0, b"line\n");
    client.send(2, &ClientMessage::StdinEof);
    client.read_until(1, "cat is done");
    client.input(2, 5, b"more\n");
    client.send(2, &ClientMessage::StdinEof);
    client.read_until(1, "so is the second");
    client.send(1, &ClientMessage::StdinEof);
    assert_eq!(client.error(1), ErrorCode::NotWritable);
}

#[test]
fn the_model_answers_queries_until_a_viewer_does() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    // Asks for the cursor's position, and prints the answer with its escape made visible.
    let ask = "printf '\\r\\033[6n'; dd bs=1 count=6 2>/dev/null | tr '\\033' E; echo .";
    client.start(&sh("a", &format!("printf 'up'; read x; {ask}; read x; {ask}; read x; {ask}; read x")));
    client.open(1, "a");
    client.read_until(1, "up");
    client.open_input(2, "a", "me");
    client.input(2, 0, b"\n");
    client.read_until(1, "E[1;1R.");
    client.send(2, &ClientMessage::Responder { by: Responder::Viewer });
    client.input(2, 1, b"\n");
    let query = client.read_until(1, "[6n");
    assert!(!query.contains('E'));
    client.send_frame(&Frame::new(FrameType::Input, ChannelId(2), 0, b"\x1b[9;9R").with_flags(REPLY));
    client.read_until(1, "E[9;9R.");
    // With that connection gone, the model answers again. The answer was no part of what was typed.
    drop(client);
    let mut client = keeper.client();
    let written = client.open_input(2, "a", "me");
    assert_eq!(written, 2);
    client.input(2, 2, b"\n");
    client.open(1, "a");
    client.read_until(1, "E[3;1R.");
}

#[test]
fn a_bell_asks_for_attention_until_somebody_types() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&gated("a", "printf '\\007'; printf '\\033]0;busy\\007'; cat"));
    up(&keeper, "a");
    client.open(1, "a");
    client.open_input(2, "a", "me");
    client.input(2, 0, b"\n");
    let attention = |state| move |m: &ServerMessage| matches!(m, ServerMessage::Attention { state: s, .. } if *s == state);
    client.message(1, "the bell", attention(Attention::Bell));
    client.message(1, "the title", |m| matches!(m, ServerMessage::Title { title } if title == "busy"));
    assert_eq!(client.program("a").attention, Attention::Bell);
    client.input(2, 1, b"x");
    client.message(1, "no bell", attention(Attention::None));
    client.send(1, &ClientMessage::Signal { signal: "SIGKILL".into() });
    client.message(1, "the end", attention(Attention::Exited));
}

#[test]
fn only_a_terminal_has_a_size_and_a_screen_and_only_a_server_leases() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&pipes("a", &["cat"]));
    client.open(1, "a");
    client.send(1, &ClientMessage::Resize(lap_wire::control::Size::default()));
    assert_eq!(client.error(1), ErrorCode::Invalid);
    client.send(1, &ClientMessage::Snapshot { scrollback: 0 });
    assert_eq!(client.error(1), ErrorCode::Invalid);
    client.send(1, &ClientMessage::Lease { action: lap_wire::control::LeaseAction::Acquire });
    assert_eq!(client.error(1), ErrorCode::UnexpectedMessage);
}
