//! Somebody who types as the protocol's document says: numbers the bytes, keeps what is not acknowledged, and goes back
//! to where the keeper expects when some did not get through.

use std::time::{Duration, Instant};

use lap_wire::control::{ErrorCode, ServerMessage};
use lap_wire::limits::{INPUT_WINDOW, MAX_PAYLOAD};

use crate::client::{Client, Event};

/// When a program takes no more, it is tried again this much later.
const RETRY: Duration = Duration::from_millis(250);

pub(crate) struct Typist {
    channel: u32,
    typed: Vec<u8>,
    next: usize,
    acked: usize,
    wait_until: Option<Instant>,
    refused: bool,
}

impl Typist {
    pub(crate) fn new(channel: u32) -> Typist {
        Typist { channel, typed: Vec::new(), next: 0, acked: 0, wait_until: None, refused: false }
    }

    /// Types more, and sends what may be sent.
    pub(crate) fn types(&mut self, client: &mut Client, bytes: &[u8]) {
        self.typed.extend_from_slice(bytes);
        self.send(client);
    }

    pub(crate) fn is_through(&self) -> bool {
        self.acked == self.typed.len()
    }

    pub(crate) fn send(&mut self, client: &mut Client) {
        if self.wait_until.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.wait_until = None;
        while self.next < self.typed.len().min(self.acked + INPUT_WINDOW) {
            let end = self.typed.len().min(self.acked + INPUT_WINDOW).min(self.next + MAX_PAYLOAD);
            client.input(self.channel, self.next as u64, &self.typed[self.next..end]);
            self.next = end;
        }
    }

    /// Whether it was ever told that the program takes no more.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Takes in what the server said.
    pub(crate) fn hears(&mut self, client: &mut Client, event: &Event) {
        match event {
            Event::InputAck(channel, offset) if *channel == self.channel => {
                self.acked = self.acked.max(*offset as usize);
                self.next = self.next.max(self.acked);
                self.wait_until = None;
            }
            Event::Control(channel, ServerMessage::Error(error)) if *channel == self.channel => {
                let expected = error.expected.unwrap_or_else(|| panic!("{error:?}"));
                self.next = expected as usize;
                if error.code == ErrorCode::InputOverflow {
                    self.refused = true;
                    self.wait_until = Some(Instant::now() + RETRY);
                }
            }
            _ => {}
        }
        self.send(client);
    }
}
