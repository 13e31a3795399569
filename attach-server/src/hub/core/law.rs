//! The laws of a terminal, over a connection to its keeper that breaks at any moment: every viewer has every byte once
//! and in order, or is told what it does not get and given a snapshot; what is typed is written once and in order; the
//! end comes last, and the sandbox is not given up before everybody has it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use lap_platform::link::{LinkError, Opened};
use lap_wire::control::{
    ClientMessage, ErrorCode, ExitStatus, How, Mode, Open, ServerMessage, Size, ViewerSeat, WireError,
};
use lap_wire::flow::{Cursor, Next, Resume, Since, resume};
use lap_wire::frame::{FrameType, flags};
use lap_wire::input::{Accept, accept};
use lap_wire::limits::{INPUT_WINDOW, MAX_PAYLOAD};
use lap_wire::{ChannelId, Epoch, Frame, Ring};
use proptest::prelude::*;
use tokio::time::Instant;

use super::{Client, Effect, KeeperChannel, Key, NewViewer, Piece, Served, Shared, Terminal, ViewerId};

/// What a keeper keeps here, so that viewers are overtaken now and then.
const RING: usize = 64 * 1024;
/// Input that a program leaves unread before the keeper takes no more.
const UNREAD: usize = 40_000;

fn printed(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn typed(stream: u64, offset: u64) -> u8 {
    printed(offset ^ stream << 40)
}

// --- the keeper's side

enum Up {
    Open(Box<Open>),
    Frame(FrameType, u8, u64, Vec<u8>),
    Control(ClientMessage),
    Close,
}

enum Down {
    Opened(Opened),
    Frame(FrameType, u8, u64, Vec<u8>),
    Message(ServerMessage),
    Closed(WireError),
}

/// The connection between the two, and what is open on it.
#[derive(Default)]
struct Link {
    up: bool,
    asked: HashSet<Key>,
    opened: HashSet<Key>,
    /// Every channel the hub holds, open or not.
    held: HashSet<Key>,
    to_keeper: VecDeque<(Key, Up)>,
    to_hub: VecDeque<(Key, Down)>,
}

struct Channel {
    key: Key,
    link: Rc<RefCell<Link>>,
}

impl KeeperChannel for Channel {
    fn send(&self, kind: FrameType, flags: u8, offset: u64, payload: &[u8]) -> bool {
        let mut link = self.link.borrow_mut();
        let open = link.opened.contains(&self.key);
        if open {
            link.to_keeper.push_back((self.key, Up::Frame(kind, flags, offset, payload.to_vec())));
        }
        open
    }

    fn control(&self, message: &ClientMessage) -> bool {
        let mut link = self.link.borrow_mut();
        let asked = link.asked.contains(&self.key);
        if asked {
            link.to_keeper.push_back((self.key, Up::Control(message.clone())));
        }
        asked
    }

    fn typing(&self) {}
}

impl Drop for Channel {
    fn drop(&mut self) {
        let mut link = self.link.borrow_mut();
        link.held.remove(&self.key);
        link.opened.remove(&self.key);
        if link.asked.remove(&self.key) {
            link.to_keeper.push_back((self.key, Up::Close));
        }
    }
}

/// A channel as the keeper has it.
struct Reader {
    output: Option<Cursor>,
    /// A snapshot is owed; one was asked for.
    owed: bool,
    asked: bool,
    stream: Option<u64>,
    exit_told: bool,
}

struct Keeper {
    ring: Ring,
    size_generation: u32,
    readers: BTreeMap<u64, (Key, Reader)>,
    numbers: HashMap<Key, u64>,
    next: u64,
    /// What each stream's program has been given, and how much of it it has read.
    taken: BTreeMap<u64, Vec<u8>>,
    read: BTreeMap<u64, u64>,
    unread: usize,
    exit: bool,
    pieces: usize,
}

impl Keeper {
    fn written(&self, stream: u64) -> u64 {
        self.read.get(&stream).copied().unwrap_or(0)
    }

    fn take(&mut self, key: Key, up: Up, out: &mut VecDeque<(Key, Down)>) {
        if let Up::Open(open) = up {
            return self.open(key, &open, out);
        }
        let Some(number) = self.numbers.get(&key).copied() else { return };
        let Some((_, reader)) = self.readers.get_mut(&number) else { return };
        match up {
            Up::Open(_) => {}
            Up::Close => {
                self.readers.remove(&number);
                self.numbers.remove(&key);
            }
            Up::Frame(FrameType::Ack, _, offset, _) => {
                if let Some(cursor) = &mut reader.output {
                    cursor.ack(offset);
                }
            }
            Up::Frame(FrameType::Input, 0, offset, bytes) => {
                let Some(stream) = reader.stream else { panic!("input without a stream") };
                let taken = self.taken.entry(stream).or_default();
                let expected = taken.len() as u64;
                let refused = match accept(expected, offset, bytes.len()) {
                    Accept::Duplicate => None,
                    Accept::Gap { .. } => Some(ErrorCode::InputGap),
                    Accept::From(at) if self.unread + bytes.len() - at > UNREAD => {
                        Some(ErrorCode::InputOverflow)
                    }
                    Accept::From(at) => {
                        taken.extend_from_slice(&bytes[at..]);
                        self.unread += bytes.len() - at;
                        None
                    }
                };
                out.push_back((
                    key,
                    match refused {
                        Some(code) => {
                            let error = WireError::new(code, "refused").send_again_from(expected);
                            Down::Message(ServerMessage::Error(error))
                        }
                        None => Down::Frame(FrameType::InputAck, 0, self.written(stream), Vec::new()),
                    },
                ));
            }
            Up::Frame(..) => {}
            Up::Control(ClientMessage::Snapshot { .. }) => (reader.owed, reader.asked) = (true, true),
            Up::Control(_) => {}
        }
    }

    fn open(&mut self, key: Key, open: &Open, out: &mut VecDeque<(Key, Down)>) {
        self.next += 1;
        let stream = open.input.as_deref().and_then(|name| name.parse().ok());
        let resumed = resume(open.since, Epoch(1), self.size_generation, &self.ring);
        let (how, offset) = match resumed {
            Resume::Exact(from) => (How::Exact, from),
            Resume::Snapshot => (How::Snapshot, self.ring.end()),
        };
        let reader = Reader {
            output: open.output.then(|| Cursor::new(offset, open.window)),
            owed: how == How::Snapshot && open.output,
            asked: false,
            stream,
            exit_told: false,
        };
        let old = self.numbers.insert(key, self.next);
        assert!(old.is_none_or(|old| self.readers.remove(&old).is_none()), "{key:?} is opened twice");
        self.readers.insert(self.next, (key, reader));
        out.push_back((
            key,
            Down::Opened(Opened {
                epoch: Epoch(1),
                offset,
                head: self.ring.end(),
                how,
                size: Size::default(),
                size_generation: self.size_generation,
                input_offset: stream.map_or(0, |stream| self.written(stream)),
                mode: open.mode,
                title: None,
            }),
        ));
    }

    /// Sends every reader what it may have, up to so many frames each.
    fn serve(&mut self, frames: usize, out: &mut VecDeque<(Key, Down)>) {
        let (end, pieces) = (self.ring.end(), self.pieces);
        for (key, reader) in self.readers.values_mut() {
            let Some(cursor) = &mut reader.output else { continue };
            for _ in 0..frames {
                if std::mem::take(&mut reader.owed) {
                    cursor.skip_to(end);
                    let answer = if std::mem::take(&mut reader.asked) { flags::ANSWER } else { 0 };
                    for piece in 0..pieces {
                        let first = if piece == 0 { flags::FIRST } else { 0 };
                        let last = if piece + 1 == pieces { flags::LAST } else { 0 };
                        let bytes = end.to_be_bytes().to_vec();
                        out.push_back((
                            *key,
                            Down::Frame(FrameType::Snapshot, first | last | answer, end, bytes),
                        ));
                    }
                    continue;
                }
                match cursor.next(&self.ring) {
                    Next::Send { from, len } => {
                        let (a, b) = self.ring.read(from, len.min(9000)).unwrap();
                        let bytes = [a, b].concat();
                        cursor.sent(bytes.len());
                        out.push_back((*key, Down::Frame(FrameType::Output, 0, from, bytes)));
                    }
                    Next::Lapped => {
                        let skipped = ServerMessage::Skipped { from: cursor.next_offset(), to: end };
                        out.push_back((*key, Down::Message(skipped)));
                        reader.owed = true;
                    }
                    Next::CaughtUp if self.exit && !reader.exit_told => {
                        reader.exit_told = true;
                        let status = ExitStatus { code: Some(7), signal: None, at_ms: 0 };
                        out.push_back((*key, Down::Message(ServerMessage::Exit(status))));
                    }
                    Next::CaughtUp | Next::NoCredit => break,
                }
            }
        }
    }

    fn resize(&mut self, out: &mut VecDeque<(Key, Down)>) {
        self.size_generation += 1;
        let (size, size_generation) = (Size::default(), self.size_generation);
        for (key, reader) in self.readers.values_mut() {
            if let Some(cursor) = &mut reader.output {
                cursor.skip_to(self.ring.end());
                reader.owed = true;
            }
            out.push_back((*key, Down::Message(ServerMessage::Resized { size, size_generation })));
        }
        // A snapshot follows at once.
        self.serve(1, out);
    }

    fn read(&mut self, n: usize, out: &mut VecDeque<(Key, Down)>) {
        for (stream, taken) in &self.taken {
            let read = self.read.entry(*stream).or_default();
            let n = n.min(taken.len() - *read as usize);
            *read += n as u64;
            self.unread -= n;
        }
        for (key, reader) in self.readers.values() {
            if let Some(stream) = reader.stream {
                let written = self.read.get(&stream).copied().unwrap_or(0);
                out.push_back((*key, Down::Frame(FrameType::InputAck, 0, written, Vec::new())));
            }
        }
    }
}

// --- the clients' side

#[derive(Debug)]
enum Sent {
    Output(u64, Vec<u8>),
    Snapshot(u64, u8, Vec<u8>),
    Event(ServerMessage),
    Ack(u64),
}

#[derive(Default)]
struct Socket {
    busy: bool,
    woken: bool,
    ended: bool,
    sent: VecDeque<Sent>,
}

struct FakeClient {
    numbers: bool,
    socket: RefCell<Socket>,
}

impl Client for FakeClient {
    fn output_now(&self, _: u32, offset: u64, payload: &[u8], _: Instant) -> bool {
        let mut socket = self.socket.borrow_mut();
        if socket.busy {
            return false;
        }
        socket.sent.push_back(Sent::Output(offset, payload.to_vec()));
        true
    }

    fn frame(&self, piece: Piece<'_>, _: Instant) {
        let bytes = [piece.bytes.0, piece.bytes.1].concat();
        self.socket.borrow_mut().sent.push_back(match piece.kind {
            FrameType::Output => Sent::Output(piece.offset, bytes),
            _ => Sent::Snapshot(piece.offset, piece.flags, bytes),
        });
    }

    fn event(&self, _: u32, _: u64, message: &ServerMessage) {
        self.socket.borrow_mut().sent.push_back(Sent::Event(message.clone()));
    }

    fn input_ack(&self, _: u32, offset: u64) {
        self.socket.borrow_mut().sent.push_back(Sent::Ack(offset));
    }

    fn wake(&self, _: u32, _: Instant) {
        self.socket.borrow_mut().woken = true;
    }

    fn typed(&self, _: u32, _: Instant) {}

    fn acknowledges(&self) -> bool {
        self.numbers
    }

    fn ended(&self, _: u32) {
        self.socket.borrow_mut().ended = true;
    }
}

/// Somebody with a screen and a keyboard.
struct Person {
    client: Rc<FakeClient>,
    id: ViewerId,
    stream: u64,
    here: bool,
    opened: bool,
    visible: bool,
    /// The end of the output that the screen stands for.
    seen: Option<u64>,
    generation: u32,
    snapshot: Option<Vec<u8>>,
    /// Typed in all, acknowledged, and the next to be sent.
    typed: u64,
    acked: u64,
    next: u64,
    exited: bool,
    closed: Option<String>,
    refused: Option<WireError>,
}

struct World {
    terminal: Terminal,
    link: Rc<RefCell<Link>>,
    keeper: Keeper,
    people: Vec<Person>,
    now: Instant,
    ended: bool,
    row_is_dead: bool,
    delivered: bool,
    ids: u64,
    effects: Vec<Effect>,
}

/// The first types with our protocol, the second with the simple socket, the third only watches.
const PEOPLE: usize = 3;

impl World {
    fn new() -> World {
        let shared = Shared { max_viewers: 8, ..Shared::default() };
        let keeper = Keeper {
            ring: Ring::new(RING),
            size_generation: 1,
            readers: BTreeMap::new(),
            numbers: HashMap::new(),
            next: 0,
            taken: BTreeMap::new(),
            read: BTreeMap::new(),
            unread: 0,
            exit: false,
            pieces: 1,
        };
        let people = (0..PEOPLE).map(|n| Person::new(n != 1, n as u64 + 1)).collect();
        let mut world = World {
            terminal: Terminal::new(Rc::new(shared), "main".to_owned(), None),
            link: Rc::default(),
            keeper,
            people,
            now: Instant::now(),
            ended: false,
            row_is_dead: false,
            delivered: false,
            ids: 1,
            effects: Vec::new(),
        };
        world.settle();
        world
    }

    /// Does what the core wants done.
    fn settle(&mut self) {
        loop {
            let effects = self.terminal.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match &effect {
                    Effect::Open(key) => {
                        self.link.borrow_mut().held.insert(*key);
                        if self.link.borrow().up {
                            self.ask(*key);
                        }
                        let channel = Channel { key: *key, link: self.link.clone() };
                        self.terminal.bound(*key, Box::new(channel));
                    }
                    Effect::Ended(_) => self.ended = true,
                    Effect::Delivered => {
                        assert!(self.row_is_dead && !self.delivered);
                        self.delivered = true;
                    }
                    _ => {}
                }
                self.effects.push(effect);
            }
        }
    }

    fn ask(&mut self, key: Key) {
        let Some(open) = self.terminal.open_of(key) else { panic!("{key:?} is held and not needed") };
        let mut link = self.link.borrow_mut();
        link.asked.insert(key);
        link.to_keeper.push_back((key, Up::Open(Box::new(open))));
    }

    fn connect(&mut self) {
        if self.link.borrow().up {
            return;
        }
        self.link.borrow_mut().up = true;
        let mut held: Vec<Key> = self.link.borrow().held.iter().copied().collect();
        // In any order.
        held.sort_by_key(|key| format!("{key:?}{}", self.ids));
        for key in held {
            self.ask(key);
        }
    }

    fn cut(&mut self) {
        let mut opened: Vec<Key> = {
            let mut link = self.link.borrow_mut();
            link.up = false;
            link.to_keeper.clear();
            link.to_hub.clear();
            link.asked.clear();
            link.opened.drain().collect()
        };
        self.keeper.readers.clear();
        self.keeper.numbers.clear();
        opened.sort_by_key(|key| format!("{key:?}"));
        for key in opened {
            self.terminal.broken(key);
            self.settle();
        }
    }

    fn up(&mut self, n: usize) {
        for _ in 0..n {
            let Some((key, up)) = self.link.borrow_mut().to_keeper.pop_front() else { return };
            let mut out = VecDeque::new();
            self.keeper.take(key, up, &mut out);
            self.link.borrow_mut().to_hub.extend(out);
        }
    }

    fn keeper(&mut self, act: impl FnOnce(&mut Keeper, &mut VecDeque<(Key, Down)>)) {
        let mut out = VecDeque::new();
        act(&mut self.keeper, &mut out);
        if self.link.borrow().up {
            self.link.borrow_mut().to_hub.extend(out);
        }
    }

    fn down(&mut self, n: usize) {
        for _ in 0..n {
            let Some((key, down)) = self.link.borrow_mut().to_hub.pop_front() else { return };
            // The link tells nobody what is said of a channel that was closed.
            if !self.link.borrow().asked.contains(&key) {
                continue;
            }
            let now = self.now;
            match down {
                Down::Opened(opened) => {
                    self.link.borrow_mut().opened.insert(key);
                    self.terminal.opened(key, &opened, now);
                }
                Down::Frame(kind, flag, offset, bytes) => {
                    let frame = Frame::new(kind, ChannelId(1), offset, &bytes).with_flags(flag);
                    self.terminal.frame(key, &frame, now);
                }
                Down::Message(message) => self.terminal.message(key, message, now),
                Down::Closed(error) => {
                    self.link.borrow_mut().held.remove(&key);
                    self.terminal.closed(key, LinkError::Refused(error), now);
                }
            }
            self.settle();
        }
    }

    fn serve(&mut self, who: usize, size: usize) {
        let person = &self.people[who];
        if person.client.socket.borrow().busy {
            return;
        }
        person.client.socket.borrow_mut().woken = false;
        for _ in 0..20 {
            if self.terminal.serve(person.id, size, self.now) == Served::Nothing {
                break;
            }
        }
        self.settle();
    }

    fn attach(&mut self, who: usize) {
        if self.people[who].here {
            return;
        }
        self.ids += 1;
        let id = ViewerId(self.ids);
        let person = &mut self.people[who];
        person.here = true;
        person.opened = false;
        person.snapshot = None;
        person.id = id;
        person.client = Rc::new(FakeClient { numbers: person.client.numbers, socket: RefCell::default() });
        let mode = if who == 2 { Mode::View } else { Mode::Interact };
        let since = person.seen.filter(|_| person.client.numbers).map(|offset| Since {
            epoch: Epoch(1),
            offset,
            size_generation: person.generation,
        });
        if !person.client.numbers {
            // Another stream each time, as such a client has none of its own.
            person.stream += 100;
            (person.typed, person.acked, person.seen) = (0, 0, None);
        }
        let new = NewViewer {
            id,
            client: person.client.clone(),
            channel: 1,
            mode,
            size: Some(Size::default()),
            visible: person.visible,
            window: if who == 0 { 20_000 } else { 0 },
            scrollback: if who == 2 { 200_000 } else { 0 },
            since,
            input: (mode == Mode::Interact).then(|| person.stream.to_string()),
            seat: ViewerSeat { name: String::new(), person: who.to_string(), seat: id.0.to_string() },
        };
        self.terminal.attach(new, self.now).unwrap();
        self.settle();
    }

    fn detach(&mut self, who: usize) {
        let person = &mut self.people[who];
        if std::mem::take(&mut person.here) {
            person.opened = false;
            self.terminal.detach(person.id, self.now);
            self.settle();
        }
    }

    fn type_in(&mut self, who: usize, n: usize) {
        let person = &mut self.people[who];
        if !person.here || who == 2 {
            return;
        }
        if !person.client.numbers {
            if self.terminal.takes_input(person.id) {
                let bytes: Vec<u8> =
                    (person.typed..person.typed + n as u64).map(|at| typed(person.stream, at)).collect();
                person.typed += n as u64;
                self.terminal.type_in(person.id, &bytes, self.now);
            }
        } else if person.typed - person.acked + (n as u64) <= INPUT_WINDOW as u64 {
            person.typed += n as u64;
            self.send_typed(who);
        }
        self.settle();
    }

    fn send_typed(&mut self, who: usize) {
        loop {
            let person = &mut self.people[who];
            if !person.opened || person.next >= person.typed {
                return;
            }
            let end = person.typed.min(person.next + MAX_PAYLOAD as u64);
            let bytes: Vec<u8> = (person.next..end).map(|at| typed(person.stream, at)).collect();
            let at = std::mem::replace(&mut person.next, end);
            if let Err(error) = self.terminal.input(person.id, 0, at, &bytes, self.now) {
                person.next = error.expected.unwrap();
                return;
            }
        }
    }

    /// Somebody looks at up to `n` things that were sent.
    fn look(&mut self, who: usize, n: usize) {
        for _ in 0..n {
            let person = &mut self.people[who];
            if !person.here {
                return;
            }
            let Some(sent) = person.client.socket.borrow_mut().sent.pop_front() else { break };
            if let Some(processed) = person.see(sent)
                && person.client.numbers
            {
                self.terminal.acked(person.id, processed, self.now);
            }
            self.send_typed(who);
            self.settle();
        }
        if self.people[who].client.socket.borrow().ended {
            self.people[who].here &= self.people[who].closed.is_none();
        }
    }

    fn wait(&mut self) {
        if let Some(due) = self.terminal.due() {
            self.now = self.now.max(due);
            self.terminal.tick(self.now);
            self.settle();
        }
    }

    /// Everything goes well for long enough that all should be where it belongs.
    fn heal(&mut self) {
        for _ in 0..120 {
            self.connect();
            self.up(usize::MAX);
            self.keeper(|keeper, out| keeper.serve(50, out));
            self.keeper(|keeper, out| keeper.read(1 << 20, out));
            self.down(usize::MAX);
            for who in 0..PEOPLE {
                self.people[who].client.socket.borrow_mut().busy = false;
                self.serve(who, MAX_PAYLOAD);
                self.look(who, usize::MAX);
            }
            if self.terminal.due().is_some_and(|due| due < self.now + Duration::from_secs(1)) {
                self.wait();
            }
        }
    }

    /// After healing: who is here has everything.
    fn check(&self) {
        for (who, person) in self.people.iter().enumerate() {
            if person.here && person.visible {
                assert!(person.opened, "{who} was never opened");
                assert_eq!(person.seen, Some(self.keeper.ring.end()), "{who}'s screen");
                assert_eq!(person.generation, self.keeper.size_generation, "{who}'s size");
            }
            if person.here && who != 2 {
                let taken = self.keeper.taken.get(&person.stream).map_or(&[][..], Vec::as_slice);
                assert_eq!(taken.len() as u64, person.typed, "{who} typed");
                assert!(taken.iter().zip(0..).all(|(byte, at)| *byte == typed(person.stream, at)));
            }
        }
        let link = self.link.borrow();
        let here = self.people.iter().filter(|person| person.here).count();
        let seats = link.held.iter().filter(|key| matches!(key, Key::Seat(_))).count();
        assert_eq!(seats, here, "a seat for each who is here: {:?}", link.held);
        assert!(!link.held.iter().any(|key| matches!(key, Key::CatchUp(..))), "{:?}", link.held);
        assert_eq!(self.keeper.readers.len(), link.held.len(), "channels at the keeper");
    }
}

impl Person {
    fn new(numbers: bool, stream: u64) -> Person {
        Person {
            client: Rc::new(FakeClient { numbers, socket: RefCell::default() }),
            id: ViewerId(0),
            stream,
            here: false,
            opened: false,
            visible: true,
            seen: None,
            generation: 0,
            snapshot: None,
            typed: 0,
            acked: 0,
            next: 0,
            exited: false,
            closed: None,
            refused: None,
        }
    }

    /// Takes something in; gives the offset up to which everything is processed now.
    fn see(&mut self, sent: Sent) -> Option<u64> {
        assert!(self.closed.is_none(), "{sent:?} after closed");
        match sent {
            Sent::Output(offset, bytes) => {
                assert!(self.opened && self.snapshot.is_none() && !self.exited);
                assert_eq!(Some(offset), self.seen, "output goes on where the screen is");
                assert!(bytes.iter().zip(offset..).all(|(byte, at)| *byte == printed(at)));
                self.seen = Some(offset + bytes.len() as u64);
                return self.seen;
            }
            Sent::Snapshot(offset, flag, bytes) => {
                assert!(self.opened && !self.exited);
                if flag & flags::FIRST != 0 {
                    self.snapshot = Some(Vec::new());
                }
                let whole = self.snapshot.as_mut().expect("a snapshot begins with FIRST");
                whole.extend_from_slice(&bytes);
                if flag & flags::LAST != 0 {
                    let whole = self.snapshot.take().unwrap();
                    assert!(!whole.is_empty() && whole.chunks(8).all(|piece| piece == offset.to_be_bytes()));
                    self.seen = Some(offset);
                    return self.seen;
                }
                self.seen = None;
            }
            Sent::Event(ServerMessage::Opened { offset, how, size_generation, input_offset, .. }) => {
                assert!(!self.opened);
                self.opened = true;
                self.generation = size_generation;
                if how == How::Exact {
                    assert_eq!(self.seen, Some(offset));
                } else {
                    self.seen = None;
                }
                if self.client.numbers {
                    assert!(input_offset >= self.acked && input_offset <= self.typed);
                    (self.acked, self.next) = (input_offset, input_offset);
                }
            }
            Sent::Event(ServerMessage::Resized { size_generation, .. }) => {
                (self.generation, self.seen, self.snapshot) = (size_generation, None, None);
            }
            Sent::Event(ServerMessage::Skipped { from, to }) => {
                assert!(from < to && self.seen.is_none_or(|seen| seen == from));
                self.seen = None;
            }
            Sent::Event(ServerMessage::Exit(status)) => {
                assert_eq!(status.code, Some(7));
                self.exited = true;
            }
            Sent::Event(ServerMessage::Closed { reason }) => self.closed = Some(reason),
            Sent::Event(ServerMessage::Error(error)) => {
                if let Some(expected) = error.expected {
                    assert!((self.acked..=self.typed).contains(&expected), "{error:?}");
                    self.next = expected;
                } else {
                    self.refused = Some(error);
                }
            }
            Sent::Event(..) => {}
            Sent::Ack(offset) => {
                assert!(offset <= self.typed);
                self.acked = self.acked.max(offset);
                self.next = self.next.max(self.acked);
            }
        }
        None
    }
}

#[derive(Clone, Debug)]
enum Step {
    Print(usize),
    Resize,
    Read(usize),
    KeeperServes(usize),
    Up(usize),
    Down(usize),
    Cut,
    Connect,
    Attach(usize),
    Detach(usize),
    Visible(usize, bool),
    Busy(usize, bool),
    Serve(usize, usize),
    Look(usize, usize),
    Ask(usize),
    Type(usize, usize),
    Wait,
    Pieces(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    prop_oneof![
        5 => (1..4000usize).prop_map(Step::Print),
        1 => (4000..150_000usize).prop_map(Step::Print),
        1 => Just(Step::Resize),
        2 => (1..60_000usize).prop_map(Step::Read),
        6 => (1..6usize).prop_map(Step::KeeperServes),
        6 => (1..8usize).prop_map(Step::Up),
        6 => (1..8usize).prop_map(Step::Down),
        2 => Just(Step::Cut),
        4 => Just(Step::Connect),
        4 => who.clone().prop_map(Step::Attach),
        1 => who.clone().prop_map(Step::Detach),
        1 => (who.clone(), any::<bool>()).prop_map(|(w, v)| Step::Visible(w, v)),
        2 => (who.clone(), any::<bool>()).prop_map(|(w, b)| Step::Busy(w, b)),
        5 => (who.clone(), 1..MAX_PAYLOAD).prop_map(|(w, n)| Step::Serve(w, n)),
        5 => (who.clone(), 1..8usize).prop_map(|(w, n)| Step::Look(w, n)),
        1 => who.clone().prop_map(Step::Ask),
        3 => (who.clone(), 1..50usize).prop_map(|(w, n)| Step::Type(w, n)),
        1 => (who, 50..100_000usize).prop_map(|(w, n)| Step::Type(w, n)),
        2 => Just(Step::Wait),
        1 => (1..4usize).prop_map(Step::Pieces),
    ]
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Print(n) => {
                let bytes: Vec<u8> = (self.keeper.ring.end()..).map(printed).take(n).collect();
                self.keeper.ring.push(&bytes);
            }
            Step::Resize => self.keeper(Keeper::resize),
            Step::Read(n) => self.keeper(|keeper, out| keeper.read(n, out)),
            Step::KeeperServes(n) => self.keeper(|keeper, out| keeper.serve(n, out)),
            Step::Up(n) => self.up(n),
            Step::Down(n) => self.down(n),
            Step::Cut => self.cut(),
            Step::Connect => self.connect(),
            Step::Attach(who) => self.attach(who),
            Step::Detach(who) => self.detach(who),
            Step::Visible(who, visible) => {
                self.people[who].visible = visible;
                if self.people[who].here {
                    self.terminal.visible(self.people[who].id, visible, self.now);
                    self.settle();
                }
            }
            Step::Busy(who, busy) => self.people[who].client.socket.borrow_mut().busy = busy,
            Step::Serve(who, size) => self.serve(who, size),
            Step::Look(who, n) => self.look(who, n),
            Step::Ask(who) => {
                if self.people[who].here && self.people[who].opened {
                    self.terminal.wants_snapshot(self.people[who].id, 1000);
                    self.settle();
                }
            }
            Step::Type(who, n) => self.type_in(who, n),
            Step::Wait => self.wait(),
            Step::Pieces(n) => self.keeper.pieces = n,
        }
    }

    fn end_program(&mut self) {
        self.keeper.exit = true;
    }
}

proptest! {
    #[test]
    fn whatever_breaks_every_viewer_has_every_byte_and_every_key_is_written_once(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.heal();
        world.check();
        prop_assert!(!world.ended && !world.delivered);
    }

    #[test]
    fn the_end_reaches_every_viewer_at_its_own_pace_before_the_sandbox_is_given_up(
        steps in prop::collection::vec(step(), 1..80),
        after in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.end_program();
        for step in &after {
            // A program that has ended prints nothing, and takes nothing that is typed.
            if !matches!(step, Step::Print(_) | Step::Type(..) | Step::Resize) {
                world.step(step);
            }
            prop_assert!(world.people.iter().all(|person| !person.exited), "told before the row says so");
        }
        world.heal();
        prop_assert!(world.ended && !world.delivered);
        world.row_is_dead = true;
        world.terminal.row_is_dead(world.now);
        world.settle();
        world.heal();
        world.check();
        for person in world.people.iter().filter(|person| person.here && person.visible) {
            prop_assert!(person.exited);
        }
        prop_assert!(world.delivered);
    }
}

#[test]
fn a_viewer_whose_seat_is_refused_is_told_why_and_is_gone() {
    let mut world = World::new();
    world.connect();
    world.attach(0);
    let key = Key::Seat(world.people[0].id);
    let error = WireError::new(ErrorCode::Overloaded, "128 are here").retryable();
    world.link.borrow_mut().to_hub.push_back((key, Down::Closed(error.clone())));
    world.down(usize::MAX);
    world.look(0, usize::MAX);
    assert_eq!(world.people[0].refused, Some(error));
    assert_eq!(world.people[0].closed.as_deref(), Some("128 are here"));
    assert!(world.effects.contains(&Effect::Unused));
}

#[test]
fn a_viewer_that_takes_nothing_holds_the_end_up_for_so_long_and_no_longer() {
    let mut world = World::new();
    world.attach(0);
    world.attach(2);
    world.heal();
    // The first takes nothing from here on; the other everything.
    world.people[0].client.socket.borrow_mut().busy = true;
    world.step(&Step::Print(5000));
    world.end_program();
    for _ in 0..5 {
        world.keeper(|keeper, out| keeper.serve(50, out));
        world.up(usize::MAX);
        world.down(usize::MAX);
        world.look(2, usize::MAX);
    }
    world.row_is_dead = true;
    world.terminal.row_is_dead(world.now);
    world.settle();
    world.serve(2, MAX_PAYLOAD);
    world.look(2, usize::MAX);
    assert!(world.people[2].exited && !world.delivered);
    let began = world.now;
    for _ in 0..20 {
        world.wait();
    }
    assert!(world.delivered);
    assert!(world.now - began < Duration::from_secs(30), "{:?}", world.now - began);
}

#[test]
fn a_terminal_that_is_lost_gives_everybody_what_is_held_for_them_and_then_the_reason() {
    let mut world = World::new();
    for who in 0..PEOPLE {
        world.attach(who);
    }
    world.heal();
    world.people[0].client.socket.borrow_mut().busy = true;
    world.step(&Step::Print(9000));
    for _ in 0..5 {
        world.keeper(|keeper, out| keeper.serve(50, out));
        world.down(usize::MAX);
    }
    world.cut();
    assert!(world.effects.contains(&Effect::Locate));
    world.terminal.end(WireError::new(ErrorCode::SandboxLost, "the sandbox is gone"), world.now);
    world.settle();
    world.people[0].client.socket.borrow_mut().busy = false;
    for who in 0..PEOPLE {
        world.serve(who, 1000);
        world.look(who, usize::MAX);
        world.serve(who, 1000);
        world.look(who, usize::MAX);
        assert_eq!(world.people[who].seen, Some(9000), "{who}");
        assert_eq!(world.people[who].closed.as_deref(), Some("the sandbox is gone"), "{who}");
    }
    assert!(world.link.borrow().held.is_empty());
}

#[test]
fn another_life_of_the_program_ends_the_terminal_and_is_not_mixed_with_the_first() {
    let mut world = World::new();
    world.attach(0);
    world.step(&Step::Print(100));
    world.heal();
    world.cut();
    world.connect();
    world.up(usize::MAX);
    for (_, down) in &mut world.link.borrow_mut().to_hub {
        if let Down::Opened(opened) = down {
            opened.epoch = Epoch(2);
        }
    }
    world.down(usize::MAX);
    world.look(0, usize::MAX);
    assert_eq!(world.people[0].closed.as_deref(), Some(super::RESTARTED));
}
