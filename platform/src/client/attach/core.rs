//! The connection without its socket.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lap_wire::control::{ClientMessage, ErrorCode, ServerMessage, WireError, from_payload, to_payload};
use lap_wire::frame::{Frame, FrameType, frames};
use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS, MAX_HEARTBEAT_MS};
use lap_wire::{ChannelId, Epoch, PROTOCOL};

use super::channel::{Channel, Out};
use super::event::{Event, Link};
use super::{Backoff, Command, CommandError};

/// A ping is due after this silence, unless the server is on our machine.
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// Our ping comes this much later than the server's, which then serves both sides and wakes an idle client once
/// rather than twice.
const AFTER_SERVERS: Duration = Duration::from_secs(1);
/// How long after a silence that made a ping due a server is given up.
const PONG_WITHIN: Duration = Duration::from_millis(DEAD_AFTER_MS - HEARTBEAT_MS);
/// Connecting, and the greeting after it, may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest a server may ask to be left alone: beyond it we look for ourselves.
const MAX_GOAWAY_WAIT: Duration = Duration::from_secs(10);
/// Bytes for a server that takes none. Input has a window of its own below this; only a stuck link gets here.
const MAX_UNSENT: usize = 8 * 1024 * 1024;

/// Why there is no connection (any more).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// Worth trying again.
    Failed(String),
    /// It will not be better next time.
    Refused(WireError),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// To be connected at this time.
    Waiting(Instant),
    /// The socket is being made since.
    Connecting(Instant),
    /// The greeting was sent at.
    Greeting(Instant),
    Live,
    Stopped,
}

/// The protocol: commands, messages and time in; events, messages and a deadline out.
pub struct Core {
    name: String,
    state: State,
    channels: BTreeMap<ChannelId, Channel>,
    events: VecDeque<Event>,
    outgoing: VecDeque<Vec<u8>>,
    backoff: Backoff,
    seed: u64,
    heard: Instant,
    /// Since when it owes an answer: to what a person did, not to a ping. Anything heard pays it.
    asked: Option<Instant>,
    /// When the server is dead, once it was pinged.
    dead_at: Option<Instant>,
    /// The silence after which the server and we ping each other.
    heartbeat: Duration,
    instance: Option<Epoch>,
}

impl Core {
    /// To be connected at once. `name` is what other viewers see; `seed` makes this client's jitter its own.
    #[must_use]
    pub fn new(name: impl Into<String>, seed: u64, now: Instant) -> Core {
        Core {
            name: name.into(),
            state: State::Waiting(now),
            channels: BTreeMap::new(),
            events: VecDeque::new(),
            outgoing: VecDeque::new(),
            backoff: Backoff::new(seed),
            seed,
            heard: now,
            asked: None,
            dead_at: None,
            heartbeat: HEARTBEAT,
            instance: None,
        }
    }

    /// Does what the caller wants, now or when there is a connection.
    ///
    /// # Errors
    /// The command makes no sense now; nothing has changed.
    pub fn command(&mut self, command: Command, now: Instant) -> Result<(), CommandError> {
        let connected = self.is_connected();
        if connected && !matches!(command, Command::Processed { .. }) {
            self.asked.get_or_insert(now);
        }
        if let Command::Open { channel, spec } = command {
            if self.channels.contains_key(&channel) || channel == ChannelId::CONNECTION {
                return Err(CommandError::InUse(channel));
            }
            let seed = self.seed ^ u64::from(channel.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut new = Channel::new(channel, spec, seed);
            if connected {
                new.open(&mut self.out());
            }
            self.channels.insert(channel, new);
            return Ok(());
        }
        let id = channel_of(&command);
        let mut out = Out { events: &mut self.events, send: connected.then_some(&mut self.outgoing) };
        let channel = self.channels.get_mut(&id).ok_or(CommandError::NotOpen(id))?;
        match command {
            Command::Open { .. } => {}
            Command::Input { bytes, reply, .. } => channel.type_in(&bytes, reply, &mut out)?,
            Command::Processed { offset, .. } => channel.processed(offset, now, &mut out),
            Command::Resize { size, .. } => channel.resize(size, &mut out),
            Command::Visible { visible, .. } => channel.visible(visible, &mut out),
            Command::Signal { signal, .. } => channel.tell(&ClientMessage::Signal { signal }, &mut out),
            Command::StdinEof { .. } => channel.end_input(&mut out),
            Command::Snapshot { scrollback, .. } => {
                channel.tell(&ClientMessage::Snapshot { scrollback }, &mut out)
            }
            Command::Lease { action, .. } => channel.tell(&ClientMessage::Lease { action }, &mut out),
            Command::Close { .. } => {
                channel.tell(&ClientMessage::Close, &mut out);
                self.channels.remove(&id);
            }
        }
        Ok(())
    }

    /// The next thing the caller should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether [`Core::poll_event`] has something.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether [`Core::poll_send`] has something.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The next WebSocket message to send.
    pub fn poll_send(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// When [`Core::tick`] has something to do, if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => Some(at),
            State::Connecting(since) | State::Greeting(since) => Some(since + CONNECT_TIMEOUT),
            State::Live => {
                let heartbeat = self.dead_at.unwrap_or_else(|| self.ping_due() + AFTER_SERVERS);
                self.channels.values().filter_map(Channel::deadline).chain([heartbeat]).min()
            }
            State::Stopped => None,
        }
    }

    /// Does what is due. True: make a connection now, and say [`Core::connected`] or [`Core::lost`].
    #[must_use]
    pub fn tick(&mut self, now: Instant) -> bool {
        match self.state {
            State::Waiting(at) if at <= now => {
                self.state = State::Connecting(now);
                return true;
            }
            State::Connecting(since) | State::Greeting(since) if now >= since + CONNECT_TIMEOUT => {
                self.lost(Lost::Failed("the server did not answer in time".into()), now);
            }
            State::Live if self.dead_at.is_some_and(|at| at <= now) => {
                self.lost(Lost::Failed("the server has gone silent".into()), now);
            }
            State::Live => {
                let due = self.ping_due();
                if self.dead_at.is_none() && now >= due + AFTER_SERVERS {
                    self.dead_at = Some(due.max(now - AFTER_SERVERS) + PONG_WITHIN);
                    self.push(&Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &[0; 8]));
                }
                let mut out = Out { events: &mut self.events, send: Some(&mut self.outgoing) };
                self.channels.values_mut().for_each(|channel| channel.tick(now, &mut out));
            }
            _ => {}
        }
        self.limit_unsent(now);
        false
    }

    /// Whether the socket that was made is (still) to be used.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Greeting(_) | State::Live)
    }

    /// Whether a socket is being made.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting(_))
    }

    /// The socket is there: greets, and opens every channel where it was, without waiting for an answer first.
    ///
    /// `same_machine`: the kernel tells each end when the other is gone. What heartbeats then still find out, a server
    /// that hangs, is found out at once when something is wanted of it, and otherwise in no hurry: nobody idle is woken.
    pub fn connected(&mut self, same_machine: bool, now: Instant) {
        self.state = State::Greeting(now);
        self.heard = now;
        self.asked = Some(now);
        self.dead_at = None;
        self.heartbeat = HEARTBEAT;
        self.outgoing.clear();
        let heartbeat_ms = same_machine.then_some(MAX_HEARTBEAT_MS);
        let (versions, name) = (vec![PROTOCOL.into()], self.name.clone());
        let hello = ClientMessage::Hello { versions, name, heartbeat_ms, grant: None };
        if let Ok(payload) = to_payload(&hello) {
            self.push(&lap_wire::control::frame(ChannelId::CONNECTION, 0, &payload));
        }
        let mut out = Out { events: &mut self.events, send: Some(&mut self.outgoing) };
        self.channels.values_mut().for_each(|channel| channel.open(&mut out));
    }

    /// There is no socket (any more).
    pub fn lost(&mut self, why: Lost, now: Instant) {
        if matches!(self.state, State::Stopped) {
            return;
        }
        match why {
            Lost::Failed(reason) => {
                let retry_in = self.backoff.fail();
                self.wait(reason, retry_in, now);
            }
            Lost::Refused(error) => {
                self.leave(State::Stopped);
                self.events.push_back(Event::Link(Link::Refused { error }));
            }
        }
    }

    /// Tries again at once: the person at the keyboard knows more than the clock.
    pub fn retry_now(&mut self, now: Instant) {
        if matches!(self.state, State::Waiting(_) | State::Stopped) {
            self.state = State::Waiting(now);
        }
    }

    /// A message has arrived. A server that breaks the protocol loses the connection.
    pub fn received(&mut self, message: &Bytes, now: Instant) {
        self.heard = now;
        self.asked = None;
        self.dead_at = None;
        for frame in frames(message) {
            let taken = match frame {
                Ok(frame) => self.frame(&frame, message, now),
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = taken {
                self.lost(Lost::Failed(format!("the server broke the protocol: {reason}")), now);
            }
            if !self.is_connected() {
                return;
            }
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, message: &Bytes, now: Instant) -> Result<(), String> {
        let payload = || message.slice_ref(frame.payload);
        if frame.channel == ChannelId::CONNECTION {
            return match frame.kind {
                FrameType::Ping => {
                    self.push(&Frame::new(FrameType::Pong, ChannelId::CONNECTION, 0, frame.payload));
                    Ok(())
                }
                FrameType::Control => self.connection_message(frame.payload, now),
                _ => Ok(()),
            };
        }
        let mut out = Out { events: &mut self.events, send: Some(&mut self.outgoing) };
        // What was on its way when we closed the channel has no reader any more.
        let Some(channel) = self.channels.get_mut(&frame.channel) else { return Ok(()) };
        match frame.kind {
            FrameType::Output => channel.output(frame.offset, payload(), &mut out),
            FrameType::Snapshot => channel.snapshot(frame.offset, frame.flags, payload(), &mut out)?,
            FrameType::InputAck => channel.input_ack(frame.offset, &mut out),
            FrameType::Control => {
                let message: ServerMessage = from_payload(frame.payload).map_err(|e| e.to_string())?;
                if !channel.message(message, now, &mut out) {
                    self.channels.remove(&frame.channel);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connection_message(&mut self, payload: &[u8], now: Instant) -> Result<(), String> {
        match from_payload(payload).map_err(|e| e.to_string())? {
            ServerMessage::Welcome { server, instance, heartbeat_ms, .. } => {
                self.state = State::Live;
                self.heartbeat = Duration::from_millis(heartbeat_ms.clamp(HEARTBEAT_MS, MAX_HEARTBEAT_MS));
                self.backoff.succeed();
                let restarted = self.instance.replace(instance).is_some_and(|before| before != instance);
                self.events.push_back(Event::Link(Link::Connected { server, restarted }));
            }
            ServerMessage::Goaway { reason, reconnect_after_ms } => {
                // Jittered too: everybody is told to go at the same moment.
                let wait =
                    Duration::from_millis(reconnect_after_ms).min(MAX_GOAWAY_WAIT) + self.backoff.fail();
                self.wait(reason, wait, now);
            }
            ServerMessage::Error(error) => {
                let refused = matches!(error.code, ErrorCode::UnsupportedVersion | ErrorCode::NotAllowed);
                let why = if refused { Lost::Refused(error) } else { Lost::Failed(error.message) };
                self.lost(why, now);
            }
            _ => {}
        }
        Ok(())
    }

    /// When the silence is long enough for a ping.
    fn ping_due(&self) -> Instant {
        let idle = self.heard + self.heartbeat;
        self.asked.map_or(idle, |at| idle.min(at + HEARTBEAT))
    }

    fn wait(&mut self, reason: String, retry_in: Duration, now: Instant) {
        self.leave(State::Waiting(now + retry_in));
        let attempt = self.backoff.failures();
        self.events.push_back(Event::Link(Link::Reconnecting { attempt, retry_in, reason }));
    }

    fn leave(&mut self, state: State) {
        self.state = state;
        self.outgoing.clear();
        self.channels.values_mut().for_each(Channel::disconnected);
    }

    fn limit_unsent(&mut self, now: Instant) {
        let unsent: usize = self.outgoing.iter().map(Vec::len).sum();
        if unsent > MAX_UNSENT {
            self.lost(Lost::Failed("the connection takes nothing any more".into()), now);
        }
    }

    fn out(&mut self) -> Out<'_> {
        Out { events: &mut self.events, send: Some(&mut self.outgoing) }
    }

    fn push(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.outgoing.push_back(bytes);
    }
}

fn channel_of(command: &Command) -> ChannelId {
    match command {
        Command::Open { channel, .. }
        | Command::Input { channel, .. }
        | Command::Processed { channel, .. }
        | Command::Resize { channel, .. }
        | Command::Visible { channel, .. }
        | Command::Signal { channel, .. }
        | Command::StdinEof { channel }
        | Command::Snapshot { channel, .. }
        | Command::Lease { channel, .. }
        | Command::Close { channel } => *channel,
    }
}
