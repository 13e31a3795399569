//! The laws of [`Core`], against a terminal that keeps the protocol's promises, over a link that breaks anywhere:
//! what the viewer has is always the terminal's output up to some offset, and what the program got is what was typed.

mod terminal;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lap_wire::control::{ErrorCode, How, Mode, ServerMessage, Size, WireError};
use lap_wire::frame::{Frame, FrameType};
use lap_wire::limits::MAX_PAYLOAD;
use lap_wire::{ChannelId, Epoch};
use proptest::prelude::*;

use self::terminal::{MAX_WAITING, Terminal, output_byte, say, send};
use super::*;

const CHANNEL: ChannelId = ChannelId(7);
const OTHER: ChannelId = ChannelId(9);

/// A viewer, a terminal, and the link between them.
struct World {
    core: Core,
    now: Instant,
    terminal: Terminal,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    /// The output's end that the viewer's screen stands for.
    seen: Option<u64>,
    typed: Vec<u8>,
    retries: u32,
}

impl World {
    fn new() -> World {
        let now = Instant::now();
        let mut core = Core::new("viewer", 5, now);
        let spec = ChannelSpec { window: 3000, ..ChannelSpec::new("s", Mode::Interact) };
        core.command(Command::Open { channel: CHANNEL, spec }, now).unwrap();
        let terminal = Terminal::new();
        World {
            core,
            now,
            terminal,
            up: VecDeque::new(),
            down: VecDeque::new(),
            seen: None,
            typed: vec![],
            retries: 0,
        }
    }

    /// Time passes until whatever is due next is done.
    fn wait(&mut self) {
        self.now = self.core.deadline().map_or(self.now, |at| at.max(self.now));
        if self.core.tick(self.now) {
            self.core.connected(false, self.now);
        }
        if !self.core.is_connected() {
            self.unplug();
        }
        self.flush();
    }

    fn unplug(&mut self) {
        self.up.clear();
        self.down.clear();
        self.terminal.cursor = None;
    }

    fn flush(&mut self) {
        while let Some(message) = self.core.poll_send() {
            self.up.push_back(message.into());
        }
    }

    fn cut(&mut self) {
        if !self.core.is_connected() {
            return;
        }
        self.core.lost(Lost::Failed("cut".into()), self.now);
        self.unplug();
    }

    fn type_in(&mut self, n: usize) {
        let bytes: Vec<u8> = (0..n).map(|i| output_byte((self.typed.len() + i) as u64)).collect();
        self.typed.extend_from_slice(&bytes);
        let input = Command::Input { channel: CHANNEL, bytes: bytes.into(), reply: false };
        self.core.command(input, self.now).unwrap();
        self.flush();
    }

    fn up(&mut self, n: usize) {
        for _ in 0..n {
            let Some(message) = self.up.pop_front() else { return };
            self.terminal.take(&message, &mut self.down);
        }
    }

    fn down(&mut self, n: usize) {
        for _ in 0..n {
            let Some(message) = self.down.pop_front() else { break };
            self.core.received(&message, self.now);
            assert!(self.core.is_connected(), "a server that keeps the protocol is kept");
        }
        self.flush();
    }

    /// The viewer looks at up to `n` events.
    fn look(&mut self, n: usize) {
        for _ in 0..n {
            let Some(event) = self.core.poll_event() else { return };
            let Event::Channel(_, event) = event else { continue };
            let processed = match event {
                ChannelEvent::Snapshot { offset, bytes } => {
                    let whole = offset.to_be_bytes().repeat(self.terminal.pieces);
                    assert_eq!(&bytes[..], whole, "a snapshot in one piece");
                    offset
                }
                ChannelEvent::Output { offset, bytes } => {
                    assert_eq!(Some(offset), self.seen, "output goes on where the screen is");
                    let due = (offset..).map(output_byte).take(bytes.len());
                    assert!(bytes.iter().copied().eq(due), "the terminal's own bytes");
                    offset + bytes.len() as u64
                }
                ChannelEvent::InputLost(n) => panic!("{n} keystrokes lost"),
                ChannelEvent::Opened(opened) => {
                    if opened.how == How::Exact && self.seen.is_none() {
                        self.seen = Some(opened.offset);
                    }
                    continue;
                }
                ChannelEvent::Resized { .. } | ChannelEvent::Skipped { .. } => {
                    self.seen = None;
                    continue;
                }
                ChannelEvent::Retrying { .. } => {
                    self.retries += 1;
                    continue;
                }
                _ => continue,
            };
            self.seen = Some(processed);
            self.core.command(Command::Processed { channel: CHANNEL, offset: processed }, self.now).unwrap();
            self.flush();
        }
    }

    /// Everything goes well for long enough that all should be where it belongs.
    fn heal(&mut self) {
        for _ in 0..80 {
            self.terminal.serve(&mut self.down);
            self.up(usize::MAX);
            self.terminal.read(usize::MAX, &mut self.down);
            self.down(usize::MAX);
            self.look(usize::MAX);
            if !self.core.is_connected()
                || self.core.deadline().is_some_and(|at| at < self.now + HALF_HEARTBEAT)
            {
                self.wait();
            }
        }
    }
}

const HALF_HEARTBEAT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
enum Step {
    Print(usize),
    Type(usize),
    Up(usize),
    Serve,
    Down(usize),
    Look(usize),
    Cut,
    Wait,
    Resize,
    Pieces(usize),
    Refuse(ErrorCode, usize),
    Read(usize),
}

fn refusal() -> impl Strategy<Value = ErrorCode> {
    prop_oneof![Just(ErrorCode::InputOverflow), Just(ErrorCode::InputGap), Just(ErrorCode::SandboxLost)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..2500usize).prop_map(Step::Print),
        1 => (2500..20_000usize).prop_map(Step::Print),
        4 => (1..40usize).prop_map(Step::Type),
        1 => (1..3 * MAX_PAYLOAD).prop_map(Step::Type),
        5 => (1..6usize).prop_map(Step::Up),
        5 => Just(Step::Serve),
        6 => (1..6usize).prop_map(Step::Down),
        6 => (1..6usize).prop_map(Step::Look),
        2 => Just(Step::Cut),
        4 => Just(Step::Wait),
        1 => Just(Step::Resize),
        1 => (1..4usize).prop_map(Step::Pieces),
        2 => (refusal(), 1..4usize).prop_map(|(code, n)| Step::Refuse(code, n)),
        3 => (1..2 * MAX_WAITING).prop_map(Step::Read),
    ]
}

proptest! {
    #[test]
    fn however_the_link_breaks_output_is_whole_and_input_exactly_once(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Print(n) => world.terminal.print(n),
                Step::Type(n) => world.type_in(n),
                Step::Up(n) => world.up(n),
                Step::Serve => world.terminal.serve(&mut world.down),
                Step::Down(n) => world.down(n),
                Step::Look(n) => world.look(n),
                Step::Cut => world.cut(),
                Step::Wait => world.wait(),
                Step::Refuse(code, n) => world.terminal.refusals.extend(std::iter::repeat_n(code, n)),
                Step::Read(n) => world.terminal.read(n, &mut world.down),
                Step::Resize => world.terminal.resize(&mut world.down),
                // Snapshots in flight were made in other pieces.
                Step::Pieces(n) => if world.down.is_empty() && !world.core.has_events() { world.terminal.pieces = n },
            }
        }
        world.terminal.refusals.clear();
        world.heal();
        prop_assert_eq!(world.seen, Some(world.terminal.ring.end()));
        prop_assert!(world.terminal.typed == world.typed, "{} of {} typed", world.terminal.typed.len(), world.typed.len());
    }
}

#[test]
fn a_terminal_that_is_not_ready_is_tried_again() {
    let mut world = World::new();
    world.terminal.not_ready = 3;
    world.terminal.print(10);
    world.type_in(3);
    world.heal();
    assert_eq!((world.retries, world.seen), (3, Some(10)));
    assert_eq!(world.terminal.typed, world.typed);
}

#[test]
fn a_refused_opening_ends_the_channel_whether_or_not_the_server_says_closed() {
    let mut world = World::new();
    world.wait();
    let error = WireError::new(ErrorCode::NotFound, "there is no session s");
    world.down.clear();
    say(&mut world.down, CHANNEL, &ServerMessage::Error(error.clone()));
    say(&mut world.down, CHANNEL, &ServerMessage::Closed { reason: "there is no session s".into() });
    while let Some(message) = world.down.pop_front() {
        world.core.received(&message, world.now);
    }
    let events: Vec<Event> = std::iter::from_fn(|| world.core.poll_event()).collect();
    let reason = error.message.clone();
    let expected = [ChannelEvent::Error(error), ChannelEvent::Closed { reason }];
    assert_eq!(events, expected.map(|event| Event::Channel(CHANNEL, event)));
    let again = Command::Close { channel: CHANNEL };
    assert_eq!(world.core.command(again, world.now), Err(CommandError::NotOpen(CHANNEL)));
}

#[test]
fn what_was_typed_into_a_terminal_that_is_gone_is_reported_and_not_typed_into_its_successor() {
    let mut world = World::new();
    world.heal();
    world.type_in(5);
    world.cut();
    world.terminal = Terminal { epoch: Epoch(2), ..Terminal::new() };
    for _ in 0..10 {
        world.wait();
        world.up(usize::MAX);
        while let Some(message) = world.down.pop_front() {
            world.core.received(&message, world.now);
        }
    }
    let lost = std::iter::from_fn(|| world.core.poll_event())
        .any(|event| event == Event::Channel(CHANNEL, ChannelEvent::InputLost(5)));
    assert!(lost);
    assert_eq!(world.terminal.typed, b"");
    world.typed.clear();
    world.type_in(4);
    world.heal();
    assert_eq!(world.terminal.typed.len(), 4);
}

#[test]
fn a_caller_that_takes_nothing_is_sent_one_window_at_most() {
    let mut world = World::new();
    world.wait();
    for _ in 0..200 {
        world.terminal.print(1000);
        world.terminal.serve(&mut world.down);
        world.up(usize::MAX);
        world.down(usize::MAX);
    }
    let mut held = 0;
    while let Some(event) = world.core.poll_event() {
        if let Event::Channel(_, ChannelEvent::Output { bytes, .. }) = event {
            held += bytes.len();
        }
    }
    assert!(held <= 3000, "{held} bytes held for a caller that takes none");
}

#[test]
fn a_snapshot_is_acknowledged_also_where_the_channel_opened_at_its_offset() {
    let mut world = World::new();
    world.terminal.print(100);
    let acks = |world: &World| {
        let sent = world.up.iter().map(|message| Frame::decode(message).unwrap().unwrap());
        sent.filter(|frame| frame.kind == FrameType::Ack).map(|frame| frame.offset).collect::<Vec<_>>()
    };
    world.wait();
    world.up(usize::MAX);
    world.down(usize::MAX);
    // Opened at 100, where the snapshot stands: nothing is processed before the caller says so.
    assert!(acks(&world).is_empty());
    world.look(usize::MAX);
    world.wait();
    assert_eq!(acks(&world), [100]);
    // Once, and again for the next one at the same place.
    world.up(usize::MAX);
    let snapshot = Command::Snapshot { channel: CHANNEL, scrollback: 0 };
    world.core.command(snapshot, world.now).unwrap();
    world.flush();
    world.up(usize::MAX);
    world.down(usize::MAX);
    world.look(usize::MAX);
    world.wait();
    assert_eq!(acks(&world), [100]);
}

/// What a typist is told of the input that was refused.
fn told(world: &mut World) -> Vec<ChannelEvent> {
    let events = std::iter::from_fn(|| world.core.poll_event());
    let told = |event| match event {
        Event::Channel(_, event @ (ChannelEvent::Error(_) | ChannelEvent::InputLost(_))) => Some(event),
        _ => None,
    };
    events.filter_map(told).collect()
}

fn refuse(world: &mut World, error: WireError) {
    say(&mut world.down, CHANNEL, &ServerMessage::Error(error));
    world.down(usize::MAX);
}

#[test]
fn a_program_that_reads_nothing_for_long_gets_all_of_a_paste_once_it_reads_and_is_not_sent_it_in_vain() {
    let mut world = World::new();
    world.heal();
    world.type_in(200_000);
    let mut sent = 0;
    for _ in 0..200 {
        sent += world.up.iter().map(Bytes::len).sum::<usize>();
        world.up(usize::MAX);
        world.down(usize::MAX);
        world.wait();
    }
    assert!(world.terminal.typed.len() <= MAX_WAITING);
    assert!(sent < 2_000_000, "{sent} bytes sent to a program that reads nothing");
    assert_eq!(told(&mut world), []);
    // It reads slowly at first.
    for n in [1, 5_000, 500] {
        world.terminal.read(n, &mut world.down);
        world.down(usize::MAX);
        world.up(usize::MAX);
    }
    world.heal();
    assert_eq!(world.terminal.typed, world.typed);
}

#[test]
fn what_was_not_allowed_is_not_typed_later_and_what_is_allowed_then_is() {
    let mut world = World::new();
    world.heal();
    world.type_in(4);
    world.heal();
    while world.core.poll_event().is_some() {}
    // Another has the right to type, and gives it back.
    world.type_in(3);
    world.up.clear();
    let error = WireError::new(ErrorCode::NotWritable, "another viewer has the right to type here");
    refuse(&mut world, error.clone());
    assert_eq!(told(&mut world), [ChannelEvent::Error(error)]);
    world.typed.truncate(4);
    world.type_in(5);
    world.heal();
    assert_eq!(world.terminal.typed, world.typed);
    assert_eq!(told(&mut world), []);
}

#[test]
fn a_loss_that_is_certain_is_told_once_and_the_stream_goes_on() {
    let mut world = World::new();
    world.heal();
    world.type_in(4);
    world.heal();
    while world.core.poll_event().is_some() {}
    // The other side has forgotten the stream, and what was on its way with it.
    world.terminal.typed.clear();
    world.terminal.read = 0;
    world.type_in(3);
    world.up(usize::MAX);
    world.down(usize::MAX);
    assert_eq!(told(&mut world), [ChannelEvent::InputLost(3)]);
    world.typed.clear();
    world.type_in(6);
    world.heal();
    assert_eq!(world.terminal.typed, world.typed);
    assert_eq!(told(&mut world), []);
}

#[test]
fn the_end_of_input_comes_behind_what_was_refused_before_it() {
    let mut world = World::new();
    world.heal();
    world.terminal.refusals.extend([ErrorCode::InputOverflow; 2]);
    world.type_in(10);
    world.core.command(Command::StdinEof { channel: CHANNEL }, world.now).unwrap();
    world.flush();
    world.heal();
    assert_eq!((world.terminal.typed.len(), world.terminal.ended_at), (10, Some(10)));
}

#[test]
fn input_beyond_the_bound_is_refused_whole() {
    let mut world = World::new();
    let input = |n: usize| Command::Input { channel: CHANNEL, bytes: vec![b'x'; n].into(), reply: false };
    assert_eq!(world.core.command(input(MAX_QUEUED_INPUT), world.now), Ok(()));
    assert_eq!(world.core.command(input(1), world.now), Err(CommandError::InputFull(1)));
}

#[test]
fn a_silent_server_is_pinged_and_then_given_up() {
    let mut world = World::new();
    world.heal();
    let (mut pings, mut lost) = (0, false);
    for _ in 0..10 {
        world.wait();
        pings += world.up.drain(..).filter(|m| m[0] == FrameType::Ping as u8).count();
        while let Some(event) = world.core.poll_event() {
            lost |= matches!(event, Event::Link(Link::Reconnecting { .. }));
        }
        if lost {
            break;
        }
    }
    assert_eq!((pings, lost), (1, true));
}

#[test]
fn a_ping_is_answered_with_its_own_bytes() {
    let mut world = World::new();
    world.heal();
    send(&mut world.down, &Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, b"12345678"));
    world.down(1);
    let pong = world.up.pop_front().unwrap();
    let frame = Frame::decode(&pong).unwrap().unwrap();
    assert_eq!((frame.kind, frame.payload), (FrameType::Pong, &b"12345678"[..]));
}

#[test]
fn a_server_that_goes_away_is_come_back_to_after_the_time_it_asked_for() {
    let mut world = World::new();
    world.heal();
    let goaway = ServerMessage::Goaway { reason: "restarting".into(), reconnect_after_ms: 700 };
    say(&mut world.down, ChannelId::CONNECTION, &goaway);
    let message = world.down.pop_front().unwrap();
    world.core.received(&message, world.now);
    assert!(!world.core.is_connected());
    assert!(world.core.deadline().unwrap() >= world.now + Duration::from_millis(700));
    world.terminal.cursor = None;
    world.terminal.print(100);
    world.heal();
    assert_eq!(world.seen, Some(100));
}

#[test]
fn a_refusal_is_final_until_somebody_asks_again() {
    let mut world = World::new();
    world.heal();
    let error = WireError::new(ErrorCode::UnsupportedVersion, "too old");
    say(&mut world.down, ChannelId::CONNECTION, &ServerMessage::Error(error.clone()));
    let message = world.down.pop_front().unwrap();
    world.core.received(&message, world.now);
    assert_eq!(world.core.poll_event(), Some(Event::Link(Link::Refused { error })));
    assert_eq!(world.core.deadline(), None);
    world.core.retry_now(world.now);
    assert!(world.core.tick(world.now), "connects again");
}

#[test]
fn bytes_that_are_no_frames_cost_the_connection_and_nothing_else() {
    let mut world = World::new();
    world.heal();
    world.core.received(&Bytes::from_static(b"\x77\x00\x00\x00"), world.now);
    assert!(!world.core.is_connected());
    world.terminal.cursor = None;
    world.heal();
    assert!(world.core.is_connected());
}

#[test]
fn commands_for_channels_that_are_not_open_are_refused() {
    let mut world = World::new();
    let resize = Command::Resize { channel: OTHER, size: Size::default() };
    assert_eq!(world.core.command(resize, world.now), Err(CommandError::NotOpen(OTHER)));
    let again = Command::Open { channel: CHANNEL, spec: ChannelSpec::new("s", Mode::View) };
    assert_eq!(world.core.command(again, world.now), Err(CommandError::InUse(CHANNEL)));
    let watching = Command::Open { channel: OTHER, spec: ChannelSpec::new("s", Mode::View) };
    world.core.command(watching, world.now).unwrap();
    let input = Command::Input { channel: OTHER, bytes: Bytes::from_static(b"x"), reply: false };
    assert_eq!(world.core.command(input, world.now), Err(CommandError::ReadOnly(OTHER)));
    world.core.command(Command::Close { channel: OTHER }, world.now).unwrap();
    let input = Command::Input { channel: OTHER, bytes: Bytes::from_static(b"x"), reply: false };
    assert_eq!(world.core.command(input, world.now), Err(CommandError::NotOpen(OTHER)));
}
