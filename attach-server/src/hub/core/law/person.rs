//! Somebody with a screen and a keyboard, and the socket in between.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use lap_wire::control::{How, ServerMessage, WireError};
use lap_wire::frame::{FrameType, flags};
use tokio::time::Instant;

use super::super::{Client, Piece, ViewerId};
use super::printed;

#[derive(Debug)]
pub(super) enum Sent {
    Output(u64, Vec<u8>),
    Snapshot(u64, u8, Vec<u8>),
    Event(ServerMessage),
    Ack(u64),
}

#[derive(Default)]
pub(super) struct Socket {
    pub(super) busy: bool,
    pub(super) woken: bool,
    pub(super) ended: bool,
    pub(super) sent: VecDeque<Sent>,
}

pub(super) struct FakeClient {
    pub(super) numbers: bool,
    pub(super) socket: RefCell<Socket>,
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
pub(super) struct Person {
    pub(super) client: Rc<FakeClient>,
    pub(super) id: ViewerId,
    pub(super) stream: u64,
    pub(super) here: bool,
    pub(super) opened: bool,
    pub(super) visible: bool,
    /// The end of the output that the screen stands for.
    pub(super) seen: Option<u64>,
    pub(super) generation: u32,
    pub(super) snapshot: Option<Vec<u8>>,
    /// Typed in all, acknowledged, and the next to be sent.
    pub(super) typed: u64,
    pub(super) acked: u64,
    pub(super) next: u64,
    pub(super) exited: bool,
    pub(super) closed: Option<String>,
    pub(super) refused: Option<WireError>,
}

impl Person {
    pub(super) fn new(numbers: bool, stream: u64) -> Person {
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
    pub(super) fn see(&mut self, sent: Sent) -> Option<u64> {
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
