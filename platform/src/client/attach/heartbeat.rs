//! When a silent server is pinged, and when it is given up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lap_wire::control::{ClientMessage, Mode, ServerMessage, from_payload, to_payload};
use lap_wire::frame::{FrameType, frames};
use lap_wire::{ChannelId, Epoch, PROTOCOL};

use super::{ChannelSpec, Command, Core, Event, Link};

const CHANNEL: ChannelId = ChannelId(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A connection that has just been greeted, and what it asked for.
fn greeted(same_machine: bool, granted: Duration, now: Instant) -> (Core, Option<u64>) {
    let mut core = Core::new("test", 7, now);
    assert!(core.tick(now));
    core.connected(same_machine, now);
    let hello = core.poll_send().unwrap();
    let frame = frames(&hello).next().unwrap().unwrap();
    let ClientMessage::Hello { heartbeat_ms: asked, .. } = from_payload(frame.payload).unwrap() else {
        panic!("not a hello")
    };
    let welcome = ServerMessage::Welcome {
        version: PROTOCOL.into(),
        server: "test".into(),
        instance: Epoch(1),
        heartbeat_ms: granted.as_millis() as u64,
        max_message: 65_536,
        max_channels: 16,
    };
    let payload = to_payload(&welcome).unwrap();
    let mut message = Vec::new();
    lap_wire::control::frame(ChannelId::CONNECTION, 0, &payload).encode(&mut message);
    core.received(&Bytes::from(message), now);
    while core.poll_event().is_some() {}
    (core, asked)
}

fn pings(core: &mut Core) -> usize {
    let sent: Vec<Vec<u8>> = std::iter::from_fn(|| core.poll_send()).collect();
    let kinds = sent.iter().flat_map(|message| frames(message)).map(|frame| frame.unwrap().kind);
    kinds.filter(|kind| *kind == FrameType::Ping).count()
}

fn given_up(core: &mut Core) -> bool {
    std::iter::from_fn(|| core.poll_event())
        .any(|event| matches!(event, Event::Link(Link::Reconnecting { .. })))
}

#[test]
fn over_a_network_a_silent_server_is_pinged_after_eleven_seconds_and_dead_after_thirty() {
    let now = Instant::now();
    let (mut core, asked) = greeted(false, Duration::from_secs(10), now);
    assert_eq!(asked, None);
    assert_eq!(core.deadline(), Some(now + Duration::from_secs(11)));
    assert!(!core.tick(now + Duration::from_secs(11)));
    assert_eq!(pings(&mut core), 1);
    assert_eq!(core.deadline(), Some(now + Duration::from_secs(30)));
    assert!(!core.tick(now + Duration::from_secs(30)));
    assert!(given_up(&mut core));
}

#[test]
fn on_one_machine_silence_wakes_nobody_for_minutes() {
    let now = Instant::now();
    let (core, asked) = greeted(true, 5 * MINUTE, now);
    assert_eq!(asked, Some(300_000));
    assert_eq!(core.deadline(), Some(now + 5 * MINUTE + Duration::from_secs(1)));
    // A server that grants nothing has its way.
    let (core, _) = greeted(true, Duration::from_secs(10), now);
    assert_eq!(core.deadline(), Some(now + Duration::from_secs(11)));
}

#[test]
fn a_server_that_hangs_is_found_out_as_fast_as_ever_by_who_wants_something_of_it() {
    let now = Instant::now();
    let (mut core, _) = greeted(true, 5 * MINUTE, now);
    let typed = now + 2 * MINUTE;
    let spec = ChannelSpec::new("s", Mode::Interact);
    core.command(Command::Open { channel: CHANNEL, spec }, typed).unwrap();
    assert_eq!(pings(&mut core), 0);
    let due = typed + Duration::from_secs(11);
    assert_eq!(core.deadline(), Some(due));
    assert!(!core.tick(due));
    assert_eq!(pings(&mut core), 1);
    assert!(!given_up(&mut core));
    assert!(!core.tick(typed + Duration::from_secs(30)));
    assert!(given_up(&mut core));
}
