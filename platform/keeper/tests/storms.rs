//! Viewers that do everything a viewer may do, in any order, while a program prints: in the end their screen is the
//! program's.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Client, Got, Keeper, UP, gated, numbers, until};
use lap_vt::{Limits, Terminal};
use lap_wire::control::{ClientMessage, How, ServerMessage};
use lap_wire::flow::Since;
use lap_wire::frame::flags::{FIRST, LAST};
use proptest::prelude::*;

fn fresh() -> Terminal {
    Terminal::new(lap_vt::Size { cols: 80, rows: 24 }, Limits::default())
}

/// What a viewer holds: its screen, and how far into the output that is.
struct Viewer {
    screen: Terminal,
    since: Since,
    half: Vec<u8>,
    ended: bool,
}

impl Viewer {
    fn open(&mut self, client: &mut Client, window: u32) {
        let opened = client.open_with(1, "a", |open| {
            open.since = Some(self.since);
            open.window = window;
        });
        let ServerMessage::Opened { how, offset, .. } = opened else { panic!("{opened:?}") };
        assert!(how == How::Snapshot || offset == self.since.offset);
        self.half.clear();
    }

    fn take(&mut self, got: &Got) {
        match got {
            Got::Output(1, offset, bytes) => {
                assert_eq!(*offset, self.since.offset, "a hole nobody told of");
                self.screen.feed(bytes);
                self.since.offset += bytes.len() as u64;
            }
            Got::Snapshot(1, at, flags, piece) => {
                if flags & FIRST != 0 {
                    self.half.clear();
                }
                self.half.extend_from_slice(piece);
                if flags & LAST != 0 {
                    self.screen = fresh();
                    self.screen.feed(&self.half);
                    self.since.offset = *at;
                }
            }
            Got::Message(1, ServerMessage::Exit(_)) => self.ended = true,
            Got::Message(1, ServerMessage::Error(error)) => panic!("{error}"),
            _ => {}
        }
    }
}

/// What it does, and how many frames it takes in afterwards.
#[derive(Clone, Debug)]
enum Act {
    Read(usize),
    Ack,
    Hide,
    Look,
    AskForSnapshot(u32),
    ComeAgain,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1..30usize).prop_map(Act::Read),
        4 => Just(Act::Ack),
        1 => Just(Act::Hide),
        2 => Just(Act::Look),
        1 => (0..100_000u32).prop_map(Act::AskForSnapshot),
        2 => Just(Act::ComeAgain),
    ];
    prop::collection::vec(act, 0..60)
}

/// Each case is a keeper of its own; PROPTEST_CASES asks for more of them.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16);
    ProptestConfig { cases, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_a_viewer_does_its_screen_is_right_in_the_end(
        acts in acts(),
        window in 1000..200_000u32,
        ring in prop_oneof![Just(32 * 1024), Just(256 * 1024), Just(4 * 1024 * 1024)],
    ) {
        let keeper = Keeper::start();
        let mut client = keeper.client();
        client.acks = false;
        let mut spec = gated("a", "seq 1 60000; printf '\\033[2J\\033[3;4Hx\\033[7mend'; seq 1 60000");
        spec.ring = ring;
        let program = client.start(&spec);
        let mut whole = UP.to_vec();
        let numbers = numbers(60_000);
        whole.extend_from_slice(&numbers);
        whole.extend_from_slice(b"\x1b[2J\x1b[3;4Hx\x1b[7mend");
        whole.extend_from_slice(&numbers);

        until("it is up", || Some(()).filter(|()| client.program("a").output >= UP.len() as u64));
        let since = Since { epoch: program.epoch, offset: 0, size_generation: 0 };
        let mut viewer = Viewer { screen: fresh(), since, half: Vec::new(), ended: false };
        viewer.open(&mut client, window);
        client.open_input(2, "a", "me");
        client.input(2, 0, b"\n");
        client.acked(2, 1);
        for act in acts {
            match act {
                Act::Read(frames) => {
                    // A pong ends what may be less than that.
                    client.send_frame(&lap_wire::Frame::new(
                        lap_wire::FrameType::Ping, lap_wire::ChannelId(0), 0, &[]));
                    let mut left = Some(frames);
                    while let Some(n) = left {
                        let got = client.next();
                        left = n.checked_sub(1).filter(|_| !matches!(got, Got::Other(_)));
                        viewer.take(&got);
                    }
                }
                Act::Ack => client.ack(1, viewer.since.offset),
                Act::Hide => client.send(1, &ClientMessage::Visible { visible: false }),
                Act::Look => client.send(1, &ClientMessage::Visible { visible: true }),
                Act::AskForSnapshot(scrollback) => client.send(1, &ClientMessage::Snapshot { scrollback }),
                Act::ComeAgain => {
                    client = keeper.client();
                    client.acks = false;
                    viewer.open(&mut client, window);
                }
            }
        }
        client.send(1, &ClientMessage::Visible { visible: true });
        client.ack(1, viewer.since.offset);
        while !viewer.ended {
            let got = client.next();
            viewer.take(&got);
            client.ack(1, viewer.since.offset);
        }
        prop_assert_eq!(viewer.since.offset, whole.len() as u64);
        let mut model = fresh();
        model.feed(&whole);
        prop_assert!(viewer.screen.snapshot(0) == model.snapshot(0), "another screen");
    }
}
