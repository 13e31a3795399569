//! A terminal between its keeper and its viewers, all of it moved by hand.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use lap_platform::link::LinkError;
use lap_wire::control::{Mode, Size, ViewerSeat};
use lap_wire::flow::Since;
use lap_wire::limits::{INPUT_WINDOW, MAX_PAYLOAD};
use lap_wire::{ChannelId, Epoch, Frame, Ring};
use tokio::time::Instant;

use super::super::{Effect, Key, NewViewer, Served, Shared, Terminal, ViewerId};
use super::keeper::{Channel, Down, Keeper, Link, RING, Up};
use super::person::{FakeClient, Person};
use super::typed;

pub(super) struct World {
    pub(super) terminal: Terminal,
    pub(super) link: Rc<RefCell<Link>>,
    pub(super) keeper: Keeper,
    pub(super) people: Vec<Person>,
    pub(super) now: Instant,
    pub(super) ended: bool,
    pub(super) row_is_dead: bool,
    pub(super) delivered: bool,
    pub(super) ids: u64,
    pub(super) effects: Vec<Effect>,
}

/// The first types with our protocol, the second with the simple socket, the third only watches.
pub(super) const PEOPLE: usize = 3;

impl World {
    pub(super) fn new() -> World {
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
    pub(super) fn settle(&mut self) {
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

    pub(super) fn ask(&mut self, key: Key) {
        let Some(open) = self.terminal.open_of(key) else { panic!("{key:?} is held and not needed") };
        let mut link = self.link.borrow_mut();
        link.asked.insert(key);
        link.to_keeper.push_back((key, Up::Open(Box::new(open))));
    }

    pub(super) fn connect(&mut self) {
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

    pub(super) fn cut(&mut self) {
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

    pub(super) fn up(&mut self, n: usize) {
        for _ in 0..n {
            let Some((key, up)) = self.link.borrow_mut().to_keeper.pop_front() else { return };
            let mut out = VecDeque::new();
            self.keeper.take(key, up, &mut out);
            self.link.borrow_mut().to_hub.extend(out);
        }
    }

    pub(super) fn keeper(&mut self, act: impl FnOnce(&mut Keeper, &mut VecDeque<(Key, Down)>)) {
        let mut out = VecDeque::new();
        act(&mut self.keeper, &mut out);
        if self.link.borrow().up {
            self.link.borrow_mut().to_hub.extend(out);
        }
    }

    pub(super) fn down(&mut self, n: usize) {
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

    pub(super) fn serve(&mut self, who: usize, size: usize) {
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

    pub(super) fn attach(&mut self, who: usize) {
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

    pub(super) fn detach(&mut self, who: usize) {
        let person = &mut self.people[who];
        if std::mem::take(&mut person.here) {
            person.opened = false;
            self.terminal.detach(person.id, self.now);
            self.settle();
        }
    }

    pub(super) fn type_in(&mut self, who: usize, n: usize) {
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

    pub(super) fn send_typed(&mut self, who: usize) {
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
    pub(super) fn look(&mut self, who: usize, n: usize) {
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

    pub(super) fn wait(&mut self) {
        if let Some(due) = self.terminal.due() {
            self.now = self.now.max(due);
            self.terminal.tick(self.now);
            self.settle();
        }
    }

    /// Everything goes well for long enough that all should be where it belongs.
    pub(super) fn heal(&mut self) {
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
    pub(super) fn check(&self) {
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
        // Somebody who looks elsewhere is sent nothing, and so goes on catching up only when he looks again.
        let looks_away = |id: &ViewerId| self.people.iter().any(|p| p.here && !p.visible && p.id == *id);
        let finished = link.held.iter().all(|key| match key {
            Key::CatchUp(id, _) => looks_away(id),
            _ => true,
        });
        assert!(finished, "{:?}", link.held);
        assert_eq!(self.keeper.readers.len(), link.held.len(), "channels at the keeper");
    }
}
