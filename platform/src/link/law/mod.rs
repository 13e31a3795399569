//! The laws of a link without its stream, against a keeper that keeps the protocol's promises, over a stream that is cut
//! at any byte, stalls, and hands over one byte at a time.

mod keeper;
mod world;

use std::time::Duration;

use lap_wire::control::{ServerMessage, to_payload};
use lap_wire::limits::MAX_CHANNELS;
use lap_wire::{ChannelId, Frame, FrameType};
use proptest::prelude::*;

use self::world::World;
use super::core::{LINGER, MAX_CALLS};
use super::{CALL_TIMEOUT, GIVE_UP, LinkError, OPEN_TIMEOUT};

#[derive(Clone, Debug)]
enum Act {
    View,
    Write(usize),
    Call,
    Forget(usize),
    Close(usize),
    Print(usize),
    Resize,
    Type(usize, usize),
    Refuse(u32),
    Up(usize),
    Down(usize),
    Serve,
    Cut,
    Wait,
    Dialed(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = prop_oneof![Just(1usize), 1..40usize, 40..70_000usize, Just(usize::MAX)];
    prop_oneof![
        2 => Just(Act::View),
        1 => (0..80_000usize).prop_map(Act::Write),
        3 => Just(Act::Call),
        1 => (0..9usize).prop_map(Act::Forget),
        1 => (0..9usize).prop_map(Act::Close),
        4 => (1..2500usize).prop_map(Act::Print),
        1 => (2500..20_000usize).prop_map(Act::Print),
        1 => Just(Act::Resize),
        4 => (0..9usize, 1..300usize).prop_map(|(nth, n)| Act::Type(nth, n)),
        1 => (0..9usize, 300..100_000usize).prop_map(|(nth, n)| Act::Type(nth, n)),
        1 => (1..4u32).prop_map(Act::Refuse),
        8 => bytes.clone().prop_map(Act::Up),
        8 => bytes.prop_map(Act::Down),
        6 => Just(Act::Serve),
        2 => Just(Act::Cut),
        3 => Just(Act::Wait),
        4 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Act::Dialed),
    ]
}

fn perform(world: &mut World, act: &Act) {
    match *act {
        Act::View => world.view(),
        Act::Write(n) => world.write(n),
        Act::Call => world.call(CALL_TIMEOUT),
        Act::Forget(nth) => world.forget(nth),
        Act::Close(nth) => world.close(nth),
        Act::Print(n) => world.keeper.print(n),
        Act::Resize => world.resize(),
        Act::Type(nth, n) => world.type_in(nth, n),
        Act::Refuse(n) => world.keeper.refuse = n,
        Act::Up(n) => world.up(n),
        Act::Down(n) => world.down(n),
        Act::Serve => world.serve(),
        Act::Cut => world.cut(),
        Act::Wait => world.wait(),
        Act::Dialed(ok) => world.dialed(ok),
    }
    world.tick();
    world.send_while_closed();
}

proptest! {
    #[test]
    fn however_the_stream_breaks_everything_on_the_link_is_whole_or_definitely_over(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new();
        for act in &acts {
            perform(&mut world, act);
        }
        world.heal();
        world.check();
        world.let_go();
    }

    #[test]
    fn whatever_a_keeper_sends_only_the_owner_of_an_open_channel_hears_of_it(
        kind in prop::sample::select(&FrameType::ALL[..]),
        channel in prop_oneof![0..5u32, any::<u32>()],
        offset in 0..1u64 << 40,
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut world = World::new();
        world.view();
        world.heal();
        let frame = Frame { kind, flags: 0, channel: ChannelId(channel), offset, payload: &payload };
        match world.core.received(&frame, world.now, &mut world.up) {
            Ok(Some(owner)) => prop_assert!(owner == 0 && channel == 1),
            Ok(None) => {
                let told = world.core.poll_told();
                prop_assert!(told.is_none() || channel == 1, "{told:?}");
            }
            Err(LinkError::Protocol(_)) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn a_call_is_sent_again_on_each_connection_until_it_is_answered() {
    let mut world = World::new();
    world.call(Duration::from_secs(60));
    for _ in 0..6 {
        while !world.core.is_connected() {
            world.wait();
            world.dialed(true);
        }
        // The keeper does it, and the answer is cut in the middle.
        world.up(usize::MAX);
        world.down(world.down.len() - 1);
        assert_eq!(world.calls[&0], None);
        world.cut();
    }
    world.heal();
    assert!(matches!(world.calls[&0], Some(Ok(_))), "{:?}", world.calls[&0]);
}

#[test]
fn a_sandbox_out_of_reach_is_looked_for_for_two_minutes_and_then_everything_ends() {
    let mut world = World::new();
    world.view();
    world.write(10);
    world.heal();
    assert!(world.owners[0].ended.is_none());
    world.cut();
    let lost = world.now;
    world.view();
    world.call(CALL_TIMEOUT);
    let mut attempts = 0;
    let mut late = (None, None);
    while !world.ended {
        world.wait();
        attempts += u32::from(world.dialing);
        world.dialed(false);
        let since = world.now - lost;
        if world.calls[&0].is_some() {
            late.0.get_or_insert(since);
        }
        if world.owners[2].ended.is_some() {
            late.1.get_or_insert(since);
        }
        assert!(since <= GIVE_UP + Duration::from_secs(6));
        assert!(world.owners[0].ended.is_none() || since >= GIVE_UP, "given up after {since:?}");
    }
    let why = LinkError::Lost("it cannot be reached".into());
    assert_eq!(world.owners[0].ended, Some(why.clone()));
    assert_eq!(world.calls[&0], Some(Err(why)));
    assert_eq!(late, (Some(CALL_TIMEOUT), Some(OPEN_TIMEOUT)), "what was asked meanwhile has its own time");
    assert!((20..60).contains(&attempts), "{attempts} attempts");
    // Whoever asks now is not told of what was.
    world.call(CALL_TIMEOUT);
    world.heal();
    assert!(matches!(world.calls[&1], Some(Ok(_))));
}

#[test]
fn a_sandbox_that_is_gone_ends_everything_at_once() {
    let mut world = World::new();
    world.view();
    world.call(CALL_TIMEOUT);
    world.wait();
    let gone = LinkError::Gone("it was deleted".into());
    world.core.lost(&gone, world.now);
    world.settle();
    assert_eq!(world.owners[0].ended, Some(gone.clone()));
    assert_eq!(world.calls[&0], Some(Err(gone)));
    world.tick();
    assert!(world.ended);
}

#[test]
fn a_keeper_that_breaks_the_protocol_each_time_is_not_connected_to_in_a_loop_for_ever() {
    let mut world = World::new();
    world.view();
    while !world.ended {
        world.wait();
        world.dialed(true);
        world.up(usize::MAX);
        world.down(usize::MAX);
        if world.core.is_connected() {
            // It opens the channel, and then speaks of one that is not there.
            let stray = Frame::new(FrameType::Output, ChannelId(99), 0, b"x");
            let why = world.core.received(&stray, world.now, &mut world.up).unwrap_err();
            world.unplug();
            world.core.lost(&why, world.now);
            world.settle();
        }
    }
    assert!(world.connections < 60, "{} connections", world.connections);
    assert!(matches!(world.owners[0].ended, Some(LinkError::Lost(_))));
}

#[test]
fn a_keeper_that_hangs_is_found_out_within_half_a_minute_and_a_silent_one_is_pinged_once_in_eleven_seconds() {
    let mut world = World::new();
    world.view();
    world.heal();
    let start = world.now;
    // It is well: nothing but a ping and its answer.
    world.wait();
    assert_eq!(world.now - start, Duration::from_secs(11));
    assert_eq!(world.up.len(), 3 + 1 + 8 + 1);
    world.up(usize::MAX);
    world.down(usize::MAX);
    assert!(world.core.is_connected());
    world.keeper.hangs = true;
    let hung = world.now;
    world.call(Duration::from_secs(60));
    while world.core.is_connected() {
        world.up(usize::MAX);
        world.wait();
    }
    assert_eq!(world.now - hung, Duration::from_secs(30));
    world.keeper.hangs = false;
    world.heal();
    assert!(matches!(world.calls[&0], Some(Ok(_))), "{:?}", world.calls[&0]);
    world.check();
}

#[test]
fn channels_and_calls_are_bounded_and_what_is_too_many_is_told_so() {
    let mut world = World::new();
    for _ in 0..=MAX_CHANNELS {
        world.view();
    }
    for _ in 0..=MAX_CALLS {
        world.call(CALL_TIMEOUT);
    }
    let refused: Vec<usize> = (0..world.owners.len()).filter(|n| world.owners[*n].ended.is_some()).collect();
    assert_eq!(refused, [MAX_CHANNELS]);
    assert!(matches!(&world.owners[MAX_CHANNELS].ended, Some(LinkError::Refused(e)) if e.retryable));
    assert!(matches!(&world.calls[&(MAX_CALLS as u64)], Some(Err(LinkError::Refused(e))) if e.retryable));
    // The others are opened and answered, though not all at once.
    for _ in 0..30 {
        world.heal();
    }
    assert!(world.calls.values().filter(|answer| matches!(answer, Some(Ok(_)))).count() == MAX_CALLS);
    assert_eq!(world.keeper.open_channels(), MAX_CHANNELS);
}

#[test]
fn a_refused_opening_ends_its_channel_alone() {
    let mut world = World::new();
    world.view();
    world.heal();
    world.view();
    world.up.take();
    let refusal = lap_wire::control::WireError::new(lap_wire::control::ErrorCode::NotFound, "no");
    let payload = to_payload(&ServerMessage::Error(refusal.clone())).unwrap();
    let frame = lap_wire::control::frame(ChannelId(2), 0, &payload);
    assert_eq!(world.core.received(&frame, world.now, &mut world.up), Ok(None));
    world.settle();
    assert_eq!(world.owners[1].ended, Some(LinkError::Refused(refusal)));
    assert!(world.owners[0].ended.is_none() && world.core.is_connected());
}

#[test]
fn a_connection_that_nobody_needs_is_kept_for_a_few_seconds() {
    let mut world = World::new();
    world.call(CALL_TIMEOUT);
    world.heal();
    assert!(world.calls[&0].is_some() && !world.ended);
    let idle = world.now;
    world.call(CALL_TIMEOUT);
    world.heal();
    assert_eq!(world.connections, 1, "the next one uses it");
    while !world.ended {
        world.wait();
    }
    assert!(world.now - idle <= LINGER + Duration::from_secs(1));
}
