//! Our own client's core at the far end of a link.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use lap_platform::client::attach::{ChannelEvent, ChannelSpec, Command, Core, Event};
use lap_wire::ChannelId;
use lap_wire::control::Mode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use super::net::End;

/// What one channel's viewer has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Whole snapshots.
    pub snapshots: usize,
    /// The last one's bytes.
    pub snapshot_bytes: usize,
    /// Bytes it was shown, of output and of snapshots.
    pub shown: u64,
    /// Bytes left out.
    pub skipped: u64,
    /// Whether it is live.
    pub ready: bool,
}

/// What all channels have seen.
pub(super) type Sight = Rc<RefCell<BTreeMap<ChannelId, Seen>>>;

/// Watches these sessions, each on a channel of its own, until the link ends.
pub(super) async fn watch(mut end: End, sessions: Vec<String>, sight: Sight) {
    let mut core = Core::new("far", 1, Instant::now().into_std());
    for (at, session) in sessions.into_iter().enumerate() {
        let channel = ChannelId(at as u32 + 1);
        sight.borrow_mut().insert(channel, Seen::default());
        let spec = ChannelSpec::new(session, Mode::View);
        core.command(Command::Open { channel, spec }, Instant::now().into_std()).unwrap();
    }
    assert!(core.tick(Instant::now().into_std()));
    core.connected(false, Instant::now().into_std());
    let (mut received, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let now = Instant::now().into_std();
        while let Some(event) = core.poll_event() {
            if let Event::Channel(channel, event) = event
                && let Some(offset) = see(sight.borrow_mut().entry(channel).or_default(), event)
            {
                core.command(Command::Processed { channel, offset }, now).unwrap();
            }
        }
        assert!(!core.tick(now) && core.is_connected(), "the connection was given up");
        while let Some(message) = core.poll_send() {
            if end.write_all(&masked(&message)).await.is_err() {
                return;
            }
        }
        let deadline = core.deadline().map_or(Instant::now() + Duration::from_secs(60), Instant::from_std);
        tokio::select! {
            read = end.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(n) => received.extend_from_slice(&buffer[..n]),
            },
            () = sleep_until(deadline) => {}
        }
        while let Some(message) = take_message(&mut received) {
            core.received(&message, Instant::now().into_std());
        }
    }
}

/// Takes an event in; gives the offset up to which everything is processed now.
fn see(seen: &mut Seen, event: ChannelEvent) -> Option<u64> {
    match event {
        ChannelEvent::Snapshot { offset, bytes } => {
            seen.snapshots += 1;
            seen.snapshot_bytes = bytes.len();
            seen.shown += bytes.len() as u64;
            return Some(offset);
        }
        ChannelEvent::Output { offset, bytes } => {
            seen.shown += bytes.len() as u64;
            return Some(offset + bytes.len() as u64);
        }
        ChannelEvent::Skipped { from, to } => seen.skipped += to - from,
        ChannelEvent::Ready => seen.ready = true,
        ChannelEvent::Error(error) => panic!("{error}"),
        ChannelEvent::Closed { reason } => panic!("{reason}"),
        _ => {}
    }
    None
}

/// A client's WebSocket message.
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82];
    match u16::try_from(payload.len()) {
        Ok(len) if len < 126 => bytes.push(0x80 | len as u8),
        Ok(len) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => panic!("no client sends {} bytes at once", payload.len()),
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// The next whole message of a server.
fn take_message(received: &mut Vec<u8>) -> Option<Bytes> {
    let (len, head) = match *received.get(1)? {
        126 => (usize::from(u16::from_be_bytes([*received.get(2)?, *received.get(3)?])), 4),
        n => (usize::from(n), 2),
    };
    let payload = Bytes::copy_from_slice(received.get(head..head + len)?);
    assert_eq!(received[0], 0x82, "a server sends whole binary messages");
    received.drain(..head + len);
    Some(payload)
}
