//! A link without its stream: what is open and asked, and what must be said on each new connection to have it so again.
//!
//! Requests, frames, the loss of a connection and the time go in; frames ([`Wire`]), news for the owners ([`Told`]) and
//! a next time to look come out. `O` names the owner of a channel, `C` whoever waits for a call's answer.

mod receive;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lap_wire::control::{self, ClientMessage, ErrorCode, ServerMessage, WireError, to_payload};
use lap_wire::keeper::{Call, Reply};
use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS, MAX_CHANNELS, MAX_HEARTBEAT_MS};
use lap_wire::{ChannelId, Frame, FrameType, PROTOCOL};

use super::{GIVE_UP, LinkError, OPEN_TIMEOUT, Opened, Opening, Refused};
use crate::client::attach::Backoff;

/// What making a stream may take: TLS, an upgrade, a pod's exec on a busy node.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// From `hello` to the keeper's `welcome`. A keeper that is there answers in well under a millisecond.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// What opening a channel again may take on a connection that stands. A keeper that hangs is found out before.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection that nobody needs is kept: from one request of a session's work to the next.
pub(super) const LINGER: Duration = Duration::from_secs(5);
/// Waits between attempts to connect.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Calls that have no answer yet, each at most a message (64 KiB). One more is refused.
pub(super) const MAX_CALLS: usize = 256;

/// A ping is due after this silence, unless the keeper agreed to a longer one.
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// Ours comes this much later than the keeper's, which then serves both sides with one wake-up of each.
const AFTER_KEEPERS: Duration = Duration::from_secs(1);
/// How long after a silence that made a ping due a keeper is given up.
const PONG_WITHIN: Duration = Duration::from_millis(DEAD_AFTER_MS - HEARTBEAT_MS);

/// Where frames go.
pub(super) trait Wire {
    /// Sends a frame, behind all before it. One that cannot be sent ends the connection, which is then told.
    fn send(&mut self, frame: &Frame<'_>);
    /// Whether more may be sent that could wait.
    fn has_room(&self) -> bool;
}

/// A channel, the same over all connections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key(u64);

/// What somebody is to be told.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Told<O, C> {
    Opened(O, Opened),
    Message(O, u64, ServerMessage),
    Broken(O),
    Closed(O, LinkError),
    Answer(C, Result<Reply, LinkError>),
}

/// What is to be done beyond sending and telling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Nothing,
    /// Make a stream, then say [`Core::connected`] or [`Core::lost`].
    Connect,
    /// Nobody needs the link: it can be dropped.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// To be connected at this time.
    Waiting(Instant),
    /// A stream is being made since.
    Connecting(Instant),
    /// `hello` was sent at.
    Greeting(Instant),
    Up,
}

/// How far a channel is on the current connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// Not asked for yet.
    Down,
    /// Asked for; a file by this call.
    Opening(ChannelId, Option<u64>),
    Open(ChannelId),
}

#[derive(Debug)]
struct Channel<O> {
    owner: O,
    at: At,
    /// Whether it was open before, on whichever connection.
    was_open: bool,
    /// When it must be open, if it is to be soon: until it has been, and again once it is asked for anew.
    by: Option<Instant>,
}

#[derive(Debug)]
struct Pending<C> {
    name: &'static str,
    payload: Vec<u8>,
    asked: Instant,
    by: Instant,
    waiting: C,
}

/// What is still to be said on the current connection.
#[derive(Clone, Copy, Debug)]
enum Owed {
    Open(Key),
    Call(u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Core<O, C> {
    name: String,
    phase: Phase,
    channels: BTreeMap<Key, Channel<O>>,
    /// Channels by their number on the current connection, open or being opened.
    numbers: BTreeMap<ChannelId, Key>,
    /// The last number used on the current connection: none is used twice there, so that what arrives late on a channel
    /// that was closed is not taken for another's.
    last_number: u32,
    last_key: u64,
    calls: BTreeMap<u64, Pending<C>>,
    /// Calls that open a file's channel.
    files: BTreeMap<u64, Key>,
    last_request: u64,
    owed: VecDeque<Owed>,
    told: VecDeque<Told<O, C>>,
    backoff: Backoff,
    /// Since when there is no connection that was of any use.
    down_since: Option<Instant>,
    /// Why there is none.
    reason: String,
    /// Whether the current connection has been of use: something was opened or answered.
    useful: bool,
    heard: Instant,
    /// Since when the keeper owes something. Anything heard pays it.
    asked: Option<Instant>,
    /// When the keeper is dead, once it was pinged.
    dead_at: Option<Instant>,
    heartbeat: Duration,
    idle_since: Option<Instant>,
    /// Nothing is due before this.
    due: Instant,
}

impl<O: Clone, C> Core<O, C> {
    /// To be connected at once. `name` is what the keeper's log calls this side; `seed` makes the jitter its own.
    pub(super) fn new(name: &str, seed: u64, now: Instant) -> Core<O, C> {
        Core {
            name: name.to_owned(),
            phase: Phase::Waiting(now),
            channels: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last_number: 0,
            last_key: 0,
            calls: BTreeMap::new(),
            files: BTreeMap::new(),
            last_request: 0,
            owed: VecDeque::new(),
            told: VecDeque::new(),
            backoff: Backoff::between(FIRST_WAIT, LONGEST_WAIT, seed),
            down_since: Some(now),
            reason: "it has not answered yet".to_owned(),
            useful: false,
            heard: now,
            asked: None,
            dead_at: None,
            heartbeat: HEARTBEAT,
            idle_since: None,
            due: now,
        }
    }

    /// Whether there is a stream to be read and written.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Greeting(_) | Phase::Up)
    }

    /// Whether a stream is being made.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_))
    }

    /// When [`Core::tick`] has something to do, if nothing else happens; it may be early.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The next thing to tell somebody.
    pub(super) fn poll_told(&mut self) -> Option<Told<O, C>> {
        self.told.pop_front()
    }

    /// Whether [`Core::poll_told`] has something.
    pub(super) fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    /// A channel that its owner wants open from now on.
    pub(super) fn open(&mut self, owner: O, now: Instant) -> Key {
        self.last_key += 1;
        let key = Key(self.last_key);
        if self.channels.len() >= MAX_CHANNELS {
            let text = format!("{MAX_CHANNELS} channels are open to this sandbox already");
            let error = WireError::new(ErrorCode::Overloaded, text).retryable();
            self.told.push_back(Told::Closed(owner, LinkError::Refused(error)));
            return key;
        }
        let by = now + OPEN_TIMEOUT;
        self.channels.insert(key, Channel { owner, at: At::Down, was_open: false, by: Some(by) });
        self.idle_since = None;
        self.sooner(by);
        if self.is_connected() {
            self.owed.push_back(Owed::Open(key));
        }
        key
    }

    /// The owner has no use for it any more, and is told nothing more. Gives the owner back.
    pub(super) fn close(&mut self, key: Key, now: Instant, wire: &mut impl Wire) -> Option<O> {
        let channel = self.channels.remove(&key)?;
        if let At::Opening(number, _) | At::Open(number) = channel.at {
            self.release(channel.at);
            self.control(number, &ClientMessage::Close, wire);
        }
        self.rest(now);
        Some(channel.owner)
    }

    /// Forgets a channel's number and the call that was to open it.
    fn release(&mut self, at: At) {
        if let At::Opening(number, _) | At::Open(number) = at {
            self.numbers.remove(&number);
        }
        if let At::Opening(_, Some(request)) = at {
            self.files.remove(&request);
        }
    }

    /// Asks the keeper for something; the answer, or that there is none, comes as [`Told::Answer`].
    pub(super) fn call(&mut self, call: Call, within: Duration, waiting: C, now: Instant) -> u64 {
        self.last_request += 1;
        let (request, name) = (self.last_request, name_of(&call));
        let refused = if self.calls.len() >= MAX_CALLS {
            let text = format!("{MAX_CALLS} requests to this sandbox wait for an answer already");
            Err(WireError::new(ErrorCode::Overloaded, text).retryable())
        } else {
            to_payload(&ClientMessage::Call { request, call })
                .map_err(|error| WireError::new(ErrorCode::Invalid, error.to_string()))
        };
        match refused {
            Ok(payload) => {
                let by = now + within;
                self.idle_since = None;
                self.calls.insert(request, Pending { name, payload, asked: now, by, waiting });
                self.sooner(by);
                if self.is_connected() {
                    self.owed.push_back(Owed::Call(request));
                }
            }
            Err(error) => self.told.push_back(Told::Answer(waiting, Err(LinkError::Refused(error)))),
        }
        request
    }

    /// Nobody waits for that call any more. The keeper may do it all the same.
    pub(super) fn forget(&mut self, request: u64, now: Instant) {
        self.calls.remove(&request);
        self.rest(now);
    }

    /// Sends on a channel.
    pub(super) fn send(
        &mut self,
        key: Key,
        kind: FrameType,
        flags: u8,
        offset: u64,
        payload: &[u8],
        wire: &mut impl Wire,
    ) -> Result<(), Refused> {
        let channel = self.channels.get(&key).ok_or(Refused::NotOpen)?;
        let number = match channel.at {
            At::Open(number) => number,
            // A size or what is looked at may have changed since the opening was sent.
            At::Opening(number, None) if kind == FrameType::Control => number,
            At::Opening(..) | At::Down => return Err(Refused::NotOpen),
        };
        if payload.len() > kind.max_payload() {
            return Err(Refused::TooLarge);
        }
        wire.send(&Frame { kind, flags, channel: number, offset, payload });
        Ok(())
    }

    /// Something was sent that the keeper owes an answer to.
    pub(super) fn expect(&mut self, now: Instant) {
        if self.asked.is_none() && self.is_connected() {
            self.asked = Some(now);
            self.sooner(now + HEARTBEAT + AFTER_KEEPERS);
        }
    }

    /// Tells the keeper itself something that is worth nothing later.
    pub(super) fn mention(&mut self, message: &ClientMessage, wire: &mut impl Wire) {
        if self.phase == Phase::Up {
            self.control(ChannelId::CONNECTION, message, wire);
        }
    }

    /// The stream is there: greets. What is open and asked follows by [`Core::next_opening`], without waiting for an
    /// answer first.
    pub(super) fn connected(&mut self, same_machine: bool, now: Instant, wire: &mut impl Wire) {
        self.phase = Phase::Greeting(now);
        self.useful = false;
        self.heard = now;
        self.asked = Some(now);
        self.dead_at = None;
        self.heartbeat = HEARTBEAT;
        let hello = ClientMessage::Hello {
            versions: vec![PROTOCOL.to_owned()],
            name: self.name.clone(),
            heartbeat_ms: same_machine.then_some(MAX_HEARTBEAT_MS),
            grant: None,
        };
        self.control(ChannelId::CONNECTION, &hello, wire);
        self.owed.extend(self.channels.keys().map(|key| Owed::Open(*key)));
        self.owed.extend(self.calls.keys().map(|request| Owed::Call(*request)));
        self.sooner(now + HELLO_TIMEOUT);
    }

    /// Says what is owed on this connection as far as there is room; gives the next channel whose owner is to say how
    /// it is to be opened, for [`Core::opening`].
    pub(super) fn next_opening(&mut self, now: Instant, wire: &mut impl Wire) -> Option<(Key, O)> {
        while self.is_connected() && wire.has_room() {
            match self.owed.pop_front()? {
                Owed::Open(key) => {
                    if let Some(channel) = self.channels.get(&key)
                        && channel.at == At::Down
                    {
                        return Some((key, channel.owner.clone()));
                    }
                }
                Owed::Call(request) => {
                    let Some(call) = self.calls.get(&request) else { continue };
                    wire.send(&control::frame(ChannelId::CONNECTION, 0, &call.payload));
                    self.expect(now);
                }
            }
        }
        None
    }

    /// How the channel is to be opened: it is.
    pub(super) fn opening(&mut self, key: Key, opening: Opening, now: Instant, wire: &mut impl Wire) {
        if !self.is_connected() {
            return;
        }
        let Some(channel) = self.channels.get_mut(&key) else { return };
        if channel.at != At::Down {
            return;
        }
        let Some(next) = self.last_number.checked_add(1) else {
            // Four thousand million openings on one connection: the next one has numbers again.
            return self.lost(&LinkError::Lost("it has run out of channel numbers".to_owned()), now);
        };
        self.last_number = next;
        let number = ChannelId(next);
        let (on, message, request) = match opening {
            Opening::Program(open) => (number, ClientMessage::Open(open), None),
            Opening::File { path, mode } => {
                self.last_request += 1;
                let call = Call::WriteFile { channel: number, path, mode };
                let request = self.last_request;
                (ChannelId::CONNECTION, ClientMessage::Call { request, call }, Some(request))
            }
        };
        let payload = match to_payload(&message) {
            Ok(payload) => payload,
            Err(error) => {
                let error = WireError::new(ErrorCode::Invalid, error.to_string());
                return self.end_channel(key, LinkError::Refused(error), now);
            }
        };
        channel.at = At::Opening(number, request);
        let by = *channel.by.get_or_insert(now + REOPEN_TIMEOUT);
        self.numbers.insert(number, key);
        if let Some(request) = request {
            self.files.insert(request, key);
        }
        wire.send(&control::frame(on, 0, &payload));
        self.sooner(by);
        self.expect(now);
    }

    /// A channel's end, told to its owner. The keeper has no such channel, or not for long.
    fn end_channel(&mut self, key: Key, why: LinkError, now: Instant) {
        let Some(channel) = self.channels.remove(&key) else { return };
        self.release(channel.at);
        self.told.push_back(Told::Closed(channel.owner, why));
        self.rest(now);
    }

    /// The connection is lost, or could not be made. One that will not be better next time is the end of everything
    /// that waits for it.
    pub(super) fn lost(&mut self, why: &LinkError, now: Instant) {
        // A keeper that breaks the protocol each time must not be connected to in a loop for ever.
        if std::mem::take(&mut self.useful) && !matches!(why, LinkError::Protocol(_)) {
            self.backoff.succeed();
            self.down_since = None;
        }
        let down_since = *self.down_since.get_or_insert(now);
        self.numbers.clear();
        self.last_number = 0;
        self.files.clear();
        self.owed.clear();
        for channel in self.channels.values_mut() {
            if let At::Open(_) = std::mem::replace(&mut channel.at, At::Down) {
                self.told.push_back(Told::Broken(channel.owner.clone()));
            }
            // From here on it is bounded by how long the keeper is looked for.
            channel.by = channel.by.filter(|_| !channel.was_open);
        }
        let wait = self.backoff.fail();
        self.phase = Phase::Waiting(now + wait);
        self.due = now;
        match why {
            LinkError::Lost(reason) => self.reason.clone_from(reason),
            other => self.reason = other.to_string(),
        }
        if matches!(why, LinkError::Gone(_) | LinkError::Refused(_)) {
            self.end(why, now);
        } else if now >= down_since + GIVE_UP {
            self.end(&LinkError::Lost(self.reason.clone()), now);
        }
    }

    /// Ends everything.
    pub(super) fn end(&mut self, why: &LinkError, now: Instant) {
        for (_, channel) in std::mem::take(&mut self.channels) {
            self.told.push_back(Told::Closed(channel.owner, why.clone()));
        }
        for (_, call) in std::mem::take(&mut self.calls) {
            self.told.push_back(Told::Answer(call.waiting, Err(why.clone())));
        }
        self.numbers.clear();
        self.files.clear();
        self.owed.clear();
        self.rest(now);
    }

    fn is_needed(&self) -> bool {
        !self.channels.is_empty() || !self.calls.is_empty()
    }

    fn sooner(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// Something has ended: perhaps nobody needs the link any more.
    fn rest(&mut self, now: Instant) {
        if !self.is_needed() {
            self.due = self.due.min(now);
        }
    }

    fn control(&mut self, number: ChannelId, message: &ClientMessage, wire: &mut impl Wire) {
        match to_payload(message) {
            Ok(payload) => wire.send(&control::frame(number, 0, &payload)),
            // None of these is longer than what its caller has checked.
            Err(error) => tracing::error!(%error, "a message to a keeper cannot be written"),
        }
    }
}

fn name_of(call: &Call) -> &'static str {
    match call {
        Call::Start(_) => "start",
        Call::Programs => "programs",
        Call::Signal { .. } => "signal",
        Call::Stop { .. } => "stop",
        Call::Remove { .. } => "remove",
        Call::WriteFile { .. } => "write_file",
        Call::Grant(_) => "grant",
        Call::Revoke { .. } => "revoke",
        Call::Info => "info",
        Call::Shutdown { .. } => "shutdown",
    }
}
