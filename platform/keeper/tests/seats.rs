//! Who is at a terminal, and what is decided by it: the same for every channel, whichever server it came through.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::{Client, Got, Keeper, pty, sh, until};
use lap_wire::control::{
    ClientMessage, ErrorCode, LeaseAction, Mode, ServerMessage, Size, Viewer, ViewerSeat,
};
use lap_wire::frame::flags::REPLY;
use lap_wire::keeper::SizePolicy;
use lap_wire::limits::MAX_VIEWERS;
use lap_wire::{ChannelId, Frame, FrameType};
use proptest::prelude::*;

const RAW_CAT: &str = "echo up; exec cat";

fn lease(client: &mut Client, channel: u32) -> (Option<u64>, bool) {
    match client.message(channel, "the lease", |m| matches!(m, ServerMessage::Lease { .. })) {
        ServerMessage::Lease { holder, mine } => (holder, mine),
        other => panic!("{other:?}"),
    }
}

fn resized(client: &mut Client, channel: u32, wanted: Size) {
    client.message(
        channel,
        &format!("{wanted:?}"),
        |m| matches!(m, ServerMessage::Resized { size, .. } if *size == wanted),
    );
}

fn size(cols: u16, rows: u16) -> Size {
    Size { cols, rows }
}

fn active(viewers: &[Viewer]) -> Option<u64> {
    viewers.iter().find(|v| v.active).map(|v| v.id)
}

#[test]
fn everybody_is_told_who_is_there_and_nobody_s_channel_too() {
    let keeper = Keeper::start();
    let (mut hub, mut other) = (keeper.client(), keeper.client());
    hub.start(&sh("a", RAW_CAT));
    hub.open(1, "a");
    let ana = hub.open_seat(2, "a", "ana", |open| open.size = Some(size(80, 24)));
    let bob = other.open_seat(7, "a", "bob", |open| open.mode = Mode::View);
    assert_ne!(ana, bob);
    let told = |client: &mut Client, channel, you| {
        let all = client.presence(channel, |v| v.len() == 2);
        assert_eq!((all[0].name.as_str(), all[0].person.as_str()), ("ana@test", "p-ana"));
        assert_eq!((all[0].mode, all[0].size, all[0].active), (Mode::Interact, Some(size(80, 24)), true));
        assert_eq!((all[1].mode, all[1].active), (Mode::View, false));
        assert_eq!(all.iter().find(|v| v.you).map(|v| v.id), you);
    };
    told(&mut hub, 1, None);
    told(&mut hub, 2, Some(ana));
    // Who comes later is told too, and what changes nothing is told to nobody.
    other.open_with(8, "a", |_| {});
    assert_eq!(other.presence(8, |_| true).len(), 2);
    hub.settle();
    hub.input(2, 0, b"x");
    hub.acked(2, 1);
    hub.send(2, &ClientMessage::Resize(size(80, 24)));
    let told =
        |all: Vec<Got>| all.iter().any(|g| matches!(g, Got::Message(_, ServerMessage::Presence { .. })));
    assert!(!told(hub.settle()));
    other.send(7, &ClientMessage::Close);
    assert_eq!(hub.presence(1, |v| v.len() == 1)[0].id, ana);
}

#[test]
fn a_channel_without_output_hears_of_everything_else() {
    let keeper = Keeper::start();
    let mut client = keeper.client();
    client.start(&sh("a", "read x; printf '\\033]0;busy\\007\\007'; seq 1 1000; read x; exit 3"));
    client.open_seat(1, "a", "ana", |_| {});
    client.send(1, &ClientMessage::Resize(size(100, 30)));
    resized(&mut client, 1, size(100, 30));
    client.input(1, 0, b"\n");
    client.acked(1, 1);
    client.message(1, "the title", |m| matches!(m, ServerMessage::Title { title } if title == "busy"));
    client.message(1, "the bell", |m| matches!(m, ServerMessage::Attention { .. }));
    client.input(1, 1, b"\n");
    client.message(1, "the exit", |m| matches!(m, ServerMessage::Exit(status) if status.code == Some(3)));
    assert!(!client.passed.iter().any(|got| matches!(got, Got::Output(..) | Got::Snapshot(..))));
}

#[test]
fn the_size_is_whose_the_policy_says_and_changes_as_they_act_come_and_go() {
    let keeper = Keeper::start();
    let mut hub = keeper.client();
    for (id, policy, sizes) in [
        ("latest", SizePolicy::Latest, [size(80, 50), size(100, 40), size(80, 50), size(100, 40)]),
        ("owner", SizePolicy::Owner, [size(80, 50), size(80, 50), size(80, 50), size(100, 40)]),
        ("smallest", SizePolicy::Smallest, [size(80, 50), size(80, 40), size(80, 40), size(100, 40)]),
        ("fixed", SizePolicy::Fixed, [size(80, 24); 4]),
    ] {
        let mut spec = sh(id, RAW_CAT);
        spec.size_policy = policy;
        hub.start(&spec);
        let is = |hub: &mut Client, at: usize| {
            hub.settle();
            let lap_wire::keeper::ProgramIo::Pty { size } = hub.program(id).io else { panic!("no terminal") };
            assert_eq!(size, sizes[at], "{policy:?} {at}");
        };
        hub.open_seat(1, id, "ana", |open| open.size = Some(size(80, 50)));
        is(&mut hub, 0);
        hub.open_seat(2, id, "bob", |open| open.size = Some(size(100, 40)));
        hub.open_seat(3, id, "eve", |open| (open.mode, open.size) = (Mode::View, Some(size(9, 9))));
        hub.open_seat(4, id, "tty", |_| {});
        is(&mut hub, 1);
        hub.input(1, 0, b"x");
        is(&mut hub, 2);
        hub.send(1, &ClientMessage::Visible { visible: false });
        is(&mut hub, 3);
        for channel in 1..=4 {
            hub.send(channel, &ClientMessage::Close);
        }
        is(&mut hub, 3);
    }
    let mut bad = keeper.client();
    bad.open_seat(1, "latest", "ana", |_| {});
    bad.send(1, &ClientMessage::Resize(size(0, 9)));
    assert_eq!(bad.error(1), ErrorCode::BadSize);
}

#[test]
fn only_the_active_viewer_answers_and_the_model_while_it_is_away() {
    let keeper = Keeper::start();
    let (mut hub, mut other) = (keeper.client(), keeper.client());
    let ask = "read x; printf '\\r\\033[6n'; dd bs=1 count=6 2>/dev/null | tr '\\033' E; echo .";
    hub.start(&sh("a", &format!("echo up; {ask}; {ask}; {ask}; read x")));
    other.open(1, "a");
    other.read_until(1, "up");
    let ana = hub.open_seat(1, "a", "ana", |open| open.size = Some(size(80, 24)));
    let bob = other.open_seat(2, "a", "bob", |open| open.size = Some(size(80, 24)));
    let reply = |client: &mut Client, channel, bytes: &[u8]| {
        client.send_frame(&Frame::new(FrameType::Input, ChannelId(channel), 0, bytes).with_flags(REPLY));
        // What the program makes of it may be there already.
        let got = client.settle();
        client.passed.extend(got);
    };
    hub.input(1, 0, b"\n");
    hub.presence(1, |v| active(v) == Some(ana));
    other.read_until(1, "[6n");
    reply(&mut other, 2, b"\x1b[1;1R");
    reply(&mut hub, 1, b"\x1b[9;9R");
    assert!(other.read_until(1, ".").contains("E[9;9R"), "the one who typed last answers, and nobody else");
    // With her link gone nobody is active: the model answers.
    drop(hub);
    assert_eq!(active(&other.presence(2, |v| v.len() == 2 && active(v).is_none())), None);
    let mut nobody = keeper.client();
    let at = nobody.open_input(1, "a", "go");
    nobody.input(1, at, b"\n");
    other.read_until(1, "R.");
    // Whoever acts is active again.
    other.input(2, 0, b"\n");
    other.presence(2, |v| active(v) == Some(bob));
    other.read_until(1, "[6n");
    reply(&mut other, 2, b"\x1b[7;7R");
    other.read_until(1, "E[7;7R.");
}

#[test]
fn where_one_at_a_time_types_the_keeper_sees_to_it() {
    let keeper = Keeper::start();
    let (mut hub, mut other) = (keeper.client(), keeper.client());
    let mut spec = sh("a", RAW_CAT);
    spec.exclusive_input = true;
    hub.start(&spec);
    let ana = hub.open_seat(1, "a", "ana", |_| {});
    let bob = other.open_seat(1, "a", "bob", |_| {});
    other.open(2, "a");
    assert_eq!(
        (lease(&mut hub, 1), lease(&mut other, 1), lease(&mut other, 2)),
        ((None, false), (None, false), (None, false))
    );
    hub.input(1, 0, b"x");
    let refused = hub.whole_error(1);
    assert_eq!((refused.code, refused.hint.is_some()), (ErrorCode::NotWritable, true));
    hub.send(1, &ClientMessage::StdinEof);
    assert_eq!(hub.error(1), ErrorCode::NotWritable);
    let wants = |client: &mut Client, action| client.send(1, &ClientMessage::Lease { action });
    wants(&mut hub, LeaseAction::Acquire);
    assert_eq!((lease(&mut hub, 1), lease(&mut other, 1)), ((Some(ana), true), (Some(ana), false)));
    assert_eq!(lease(&mut other, 2), (Some(ana), false), "nobody's channel hears it too");
    hub.input(1, 0, b"from ana");
    other.read_until(2, "from ana");
    // Whoever asks in vain is answered.
    wants(&mut other, LeaseAction::Acquire);
    assert_eq!(lease(&mut other, 1), (Some(ana), false));
    wants(&mut other, LeaseAction::Steal);
    assert_eq!((lease(&mut hub, 1), lease(&mut other, 1)), ((Some(bob), false), (Some(bob), true)));
    hub.input(1, 8, b"x");
    assert_eq!(hub.error(1), ErrorCode::NotWritable);
    other.input(1, 0, b"from bob");
    other.read_until(2, "from bob");
    other.send(1, &ClientMessage::Close);
    assert_eq!(lease(&mut hub, 1), (None, false), "it goes with its holder");
    // A watcher gets none, nor does a channel that is nobody's; that one may type.
    other.open_seat(3, "a", "eve", |open| open.mode = Mode::View);
    other.send(3, &ClientMessage::Lease { action: LeaseAction::Acquire });
    assert_eq!(other.error(3), ErrorCode::NotWritable);
    other.send(3, &ClientMessage::Signal { signal: "SIGKILL".into() });
    assert_eq!(other.error(3), ErrorCode::NotWritable);
    other.send(2, &ClientMessage::Lease { action: LeaseAction::Acquire });
    assert_eq!(other.error(2), ErrorCode::UnexpectedMessage);
    let at = other.open_input(4, "a", "server");
    other.input(4, at, b"from the server");
    other.read_until(2, "from the server");
}

#[test]
fn a_seat_outlives_its_link_and_is_found_again() {
    let keeper = Keeper::start();
    let (mut hub, mut other) = (keeper.client(), keeper.client());
    let mut spec = sh("a", RAW_CAT);
    spec.exclusive_input = true;
    hub.start(&spec);
    let bob = other.open_seat(1, "a", "bob", |open| open.size = Some(size(80, 24)));
    let ana = hub.open_seat(1, "a", "ana", |open| open.size = Some(size(100, 30)));
    hub.send(1, &ClientMessage::Lease { action: LeaseAction::Acquire });
    assert_eq!(lease(&mut hub, 1), (None, false));
    assert_eq!(lease(&mut hub, 1), (Some(ana), true));
    drop(hub);
    let all = other.presence(1, |v| v.len() == 2 && active(v).is_none());
    assert_eq!((all[0].id, all[1].id), (bob, ana));
    other.input(1, 0, b"x");
    assert_eq!(other.error(1), ErrorCode::NotWritable, "she has the lease still");
    let mut hub = keeper.client();
    let back = hub.open_seat(5, "a", "ana", |open| open.size = Some(size(100, 30)));
    assert_eq!((back, lease(&mut hub, 5)), (ana, (Some(ana), true)));
    other.presence(1, |v| active(v) == Some(ana));
    // A server that comes back before its old link is missed takes the seat over.
    let mut again = keeper.client();
    assert_eq!(again.open_seat(6, "a", "ana", |open| open.size = Some(size(90, 20))), ana);
    hub.message(5, "closed", |m| matches!(m, ServerMessage::Closed { .. }));
    hub.settle();
    drop(hub);
    again.settle();
    assert_eq!(active(&other.presence(1, |v| v[1].size == Some(size(90, 20)))), Some(ana));
}

#[test]
fn seats_are_bounded_and_only_terminals_have_them() {
    let keeper = Keeper::start();
    let mut hub = keeper.client();
    hub.start(&pty("a", &["cat"]));
    hub.start(&common::pipes("p", &["cat"]));
    let seat =
        |name: &str| ViewerSeat { name: "\"\u{7}ü".repeat(100), person: "p".repeat(64), seat: name.into() };
    let open = |hub: &mut Client, channel: u32, id: &str, viewer: ViewerSeat| {
        let open = lap_wire::control::Open {
            viewer: Some(viewer),
            output: false,
            size: Some(size(1000, 500)),
            ..lap_wire::control::Open::new(id, Mode::Interact)
        };
        hub.send(channel, &ClientMessage::Open(open));
    };
    for i in 1..=MAX_VIEWERS as u32 {
        open(&mut hub, i, "a", seat(&i.to_string()));
    }
    let all = hub.presence(MAX_VIEWERS as u32, |v| v.len() == MAX_VIEWERS);
    assert!(all.iter().all(|v| v.name.len() <= 200 && !v.name.contains('\u{7}')));
    open(&mut hub, 500, "a", seat("one-more"));
    let refused = hub.whole_error(500);
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Overloaded, true));
    hub.send(1, &ClientMessage::Close);
    open(&mut hub, 500, "a", seat("one-more"));
    hub.message(500, "opened", |m| matches!(m, ServerMessage::Opened { .. }));
    open(&mut hub, 501, "p", seat("x"));
    assert_eq!(hub.error(501), ErrorCode::Invalid);
    for bad in ["", "with space", "with\"quote", &"x".repeat(65)] {
        open(&mut hub, 501, "a", seat(bad));
        assert_eq!(hub.error(501), ErrorCode::Invalid, "{bad}");
        open(&mut hub, 501, "a", ViewerSeat { person: bad.into(), ..seat("x") });
        assert_eq!(hub.error(501), ErrorCode::Invalid, "{bad}");
    }
    let (rss, _) = keeper.memory();
    assert!(rss < 48 * 1024, "{rss} KiB");
}

/// One of two servers in front of the keeper, and what its channels have been told last.
struct Hub {
    client: Client,
    channels: u32,
    /// The seats it has now, each with its channel.
    seats: BTreeMap<usize, u32>,
    told: BTreeMap<u32, Told>,
}

#[derive(Clone, Default, PartialEq, Debug)]
struct Told {
    presence: Vec<Viewer>,
    you: Option<u64>,
    lease: Option<u64>,
    size: Option<Size>,
}

impl Hub {
    fn new(keeper: &Keeper) -> Hub {
        let mut hub =
            Hub { client: keeper.client(), channels: 0, seats: BTreeMap::new(), told: BTreeMap::new() };
        hub.channels += 1;
        hub.client.send(1, &ClientMessage::Open(lap_wire::control::Open::new("a", Mode::View)));
        hub
    }

    fn open(&mut self, seat: usize, mode: Mode, size: Option<Size>) {
        self.channels += 1;
        let viewer =
            ViewerSeat { name: seat.to_string(), person: format!("p{seat}"), seat: format!("s{seat}") };
        let open = lap_wire::control::Open {
            viewer: Some(viewer),
            size,
            output: false,
            input: Some(format!("i{seat}")),
            ..lap_wire::control::Open::new("a", mode)
        };
        self.client.send(self.channels, &ClientMessage::Open(open));
        if let Some(old) = self.seats.insert(seat, self.channels) {
            self.told.remove(&old);
        }
    }

    fn settle(&mut self) {
        for got in self.client.settle() {
            let Got::Message(channel, message) = got else { continue };
            let told = self.told.entry(channel).or_default();
            match message {
                ServerMessage::Presence { mut viewers } => {
                    told.you = viewers.iter().find(|v| v.you).map(|v| v.id);
                    viewers.iter_mut().for_each(|v| v.you = false);
                    told.presence = viewers;
                }
                ServerMessage::Lease { holder, mine } => {
                    assert_eq!(mine, holder.is_some() && holder == told.you);
                    told.lease = holder;
                }
                ServerMessage::Opened { size, .. } | ServerMessage::Resized { size, .. } => {
                    told.size = Some(size);
                }
                ServerMessage::Closed { .. } => {
                    self.told.remove(&channel);
                }
                _ => {}
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Open(usize, bool, Option<Size>),
    Close(usize),
    Resize(usize, Size),
    Show(usize, bool),
    Type(usize),
    Lease(usize, LeaseAction),
    /// The link of one of the two breaks, and it comes back at once for some of its seats.
    Cut(usize, Vec<bool>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    // Even seats are of the one server, odd ones of the other.
    let seat = || 0..8usize;
    let sizes = || (2..6u16, 2..6u16).prop_map(|(cols, rows)| Size { cols, rows });
    let action =
        prop_oneof![Just(LeaseAction::Acquire), Just(LeaseAction::Release), Just(LeaseAction::Steal)];
    let act = prop_oneof![
        5 => (seat(), prop::bool::weighted(0.8), prop::option::weighted(0.8, sizes()))
            .prop_map(|(seat, types, size)| Act::Open(seat, types, size)),
        1 => seat().prop_map(Act::Close),
        2 => (seat(), sizes()).prop_map(|(seat, size)| Act::Resize(seat, size)),
        1 => (seat(), any::<bool>()).prop_map(|(seat, visible)| Act::Show(seat, visible)),
        3 => seat().prop_map(Act::Type),
        2 => (seat(), action).prop_map(|(seat, action)| Act::Lease(seat, action)),
        2 => (0..2usize, prop::collection::vec(any::<bool>(), 8)).prop_map(|(hub, back)| Act::Cut(hub, back)),
    ];
    prop::collection::vec(act, 1..40)
}

/// Each case is a keeper of its own; PROPTEST_CASES asks for more of them.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn two_servers_in_front_of_one_keeper_agree_whatever_happens_to_their_links(
        acts in acts(),
        policy in prop_oneof![Just(SizePolicy::Latest), Just(SizePolicy::Owner), Just(SizePolicy::Smallest)],
        exclusive: bool,
    ) {
        let keeper = Keeper::start();
        let mut spec = sh("a", RAW_CAT);
        (spec.size_policy, spec.exclusive_input) = (policy, exclusive);
        keeper.client().start(&spec);
        let mut hubs = [Hub::new(&keeper), Hub::new(&keeper)];
        let mut everybody: BTreeMap<usize, (Option<u64>, bool)> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Open(seat, types, size) => {
                    let mode = if types { Mode::Interact } else { Mode::View };
                    hubs[seat % 2].open(seat, mode, size);
                    everybody.entry(seat).or_default().1 = true;
                }
                Act::Close(seat) => {
                    let hub = &mut hubs[seat % 2];
                    if let Some(channel) = hub.seats.remove(&seat) {
                        hub.client.send(channel, &ClientMessage::Close);
                        everybody.remove(&seat);
                    }
                }
                Act::Cut(which, back) => {
                    let old = std::mem::replace(&mut hubs[which], Hub::new(&keeper));
                    let seats: Vec<usize> = old.seats.keys().copied().collect();
                    // Either the old link is gone first, or it is still there when the seats are taken again.
                    let (first, late) = if back[0] { (Some(old), None) } else { (None, Some(old)) };
                    drop(first);
                    for seat in seats.into_iter().filter(|seat| back[*seat]) {
                        hubs[which].open(seat, Mode::Interact, Some(Size { cols: 7, rows: 7 }));
                    }
                    drop(late);
                }
                Act::Resize(seat, size) => say(&mut hubs[seat % 2], seat, &ClientMessage::Resize(size)),
                Act::Show(seat, visible) => say(&mut hubs[seat % 2], seat, &ClientMessage::Visible { visible }),
                Act::Lease(seat, action) => say(&mut hubs[seat % 2], seat, &ClientMessage::Lease { action }),
                Act::Type(seat) => {
                    let hub = &mut hubs[seat % 2];
                    if let Some(channel) = hub.seats.get(&seat) {
                        // What was written before is dropped, and counts as typing.
                        hub.client.input(*channel, 0, b"x");
                    }
                }
            }
        }
        // Links that were cut are noticed before anything is compared.
        until("the keeper has noticed", || {
            let lap_wire::keeper::Reply::Info(info) = hubs[0].client.call(lap_wire::keeper::Call::Info) else {
                panic!("no info")
            };
            (info.connections == 2).then_some(())
        });
        hubs.iter_mut().for_each(Hub::settle);
        hubs.iter_mut().for_each(Hub::settle);
        let all: Vec<&Told> = hubs.iter().flat_map(|hub| hub.told.values()).collect();
        prop_assert_eq!(all.len(), hubs.iter().map(|hub| hub.seats.len() + 1).sum::<usize>());
        for told in &all {
            prop_assert_eq!((&told.presence, told.lease, told.size), (&all[0].presence, all[0].lease, all[0].size));
        }
        let viewers = &all[0].presence;
        prop_assert!(viewers.iter().filter(|v| v.active).count() <= 1);
        prop_assert_eq!(viewers.len(), everybody.len(), "all are there, also those whose link is gone");
        if let Some(holder) = all[0].lease {
            prop_assert!(viewers.iter().any(|v| v.id == holder && v.mode == Mode::Interact));
        }
        if policy == SizePolicy::Latest && let Some(active) = viewers.iter().find(|v| v.active) {
            prop_assert_eq!(active.size, all[0].size);
        }
        for hub in &hubs {
            for (seat, channel) in &hub.seats {
                let id = hub.told[channel].you.unwrap();
                let viewer = viewers.iter().find(|v| v.id == id).unwrap();
                prop_assert_eq!(&viewer.person, &format!("p{seat}"), "each knows its own");
            }
        }
    }
}

fn say(hub: &mut Hub, seat: usize, message: &ClientMessage) {
    if let Some(channel) = hub.seats.get(&seat) {
        hub.client.send(*channel, message);
    }
}
