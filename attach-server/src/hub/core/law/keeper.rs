//! A keeper with one program, that keeps its side of the protocol, and the link to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use lap_platform::link::Opened;
use lap_wire::control::{ClientMessage, ErrorCode, ExitStatus, How, Open, ServerMessage, Size, WireError};
use lap_wire::flow::{Cursor, Next, Resume, resume};
use lap_wire::frame::{FrameType, flags};
use lap_wire::input::{Accept, accept};
use lap_wire::{Epoch, Ring};

use super::super::{KeeperChannel, Key};

/// What a keeper keeps here, so that viewers are overtaken now and then.
pub(super) const RING: usize = 64 * 1024;
/// Input that a program leaves unread before the keeper takes no more.
pub(super) const UNREAD: usize = 40_000;

pub(super) enum Up {
    Open(Box<Open>),
    Frame(FrameType, u8, u64, Vec<u8>),
    Control(ClientMessage),
    Close,
}

pub(super) enum Down {
    Opened(Opened),
    Frame(FrameType, u8, u64, Vec<u8>),
    Message(ServerMessage),
    Closed(WireError),
}

/// The connection between the two, and what is open on it.
#[derive(Default)]
pub(super) struct Link {
    pub(super) up: bool,
    pub(super) asked: HashSet<Key>,
    pub(super) opened: HashSet<Key>,
    /// Every channel the hub holds, open or not.
    pub(super) held: HashSet<Key>,
    pub(super) to_keeper: VecDeque<(Key, Up)>,
    pub(super) to_hub: VecDeque<(Key, Down)>,
}

pub(super) struct Channel {
    pub(super) key: Key,
    pub(super) link: Rc<RefCell<Link>>,
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
pub(super) struct Reader {
    pub(super) output: Option<Cursor>,
    /// A snapshot is owed; one was asked for.
    pub(super) owed: bool,
    pub(super) asked: bool,
    pub(super) stream: Option<u64>,
    pub(super) exit_told: bool,
}

pub(super) struct Keeper {
    pub(super) ring: Ring,
    pub(super) size_generation: u32,
    pub(super) readers: BTreeMap<u64, (Key, Reader)>,
    pub(super) numbers: HashMap<Key, u64>,
    pub(super) next: u64,
    /// What each stream's program has been given, and how much of it it has read.
    pub(super) taken: BTreeMap<u64, Vec<u8>>,
    pub(super) read: BTreeMap<u64, u64>,
    pub(super) unread: usize,
    pub(super) exit: bool,
    pub(super) pieces: usize,
}

impl Keeper {
    pub(super) fn written(&self, stream: u64) -> u64 {
        self.read.get(&stream).copied().unwrap_or(0)
    }

    pub(super) fn take(&mut self, key: Key, up: Up, out: &mut VecDeque<(Key, Down)>) {
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

    pub(super) fn open(&mut self, key: Key, open: &Open, out: &mut VecDeque<(Key, Down)>) {
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
    pub(super) fn serve(&mut self, frames: usize, out: &mut VecDeque<(Key, Down)>) {
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

    pub(super) fn resize(&mut self, out: &mut VecDeque<(Key, Down)>) {
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

    pub(super) fn read(&mut self, n: usize, out: &mut VecDeque<(Key, Down)>) {
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
