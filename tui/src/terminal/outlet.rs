//! What a dashboard writes, without ever waiting for the terminal.
//!
//! A terminal that takes nothing (a link that hangs, output stopped by hand) must hold up neither signals nor what
//! comes from the server. So a frame leaves as far as the terminal takes it, and the next is not made before the rest
//! has left: whatever changes meanwhile is in that one, as the difference from what was really written. What waits is
//! bounded by one frame and one of each thing a terminal is told beside it.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::Tty;

/// Where frames go. Copies write to the same terminal.
#[derive(Clone, Debug)]
pub struct Outlet {
    tty: Rc<Tty>,
    state: Rc<RefCell<State>>,
}

#[derive(Default, Debug)]
struct State {
    /// What the terminal has not taken yet: the rest of a frame, and what stands before the next.
    rest: Vec<u8>,
    /// Told when the rest has left.
    told: Told,
}

/// What a terminal is told beside its frames. Only the last of each kind counts for somebody who saw none of them.
#[derive(Default, Debug)]
pub(super) struct Told {
    pub(super) keyboard: Option<Vec<u8>>,
    pub(super) mouse: Option<Vec<u8>>,
    pub(super) cursor: Option<Vec<u8>>,
    pub(super) bell: Option<Vec<u8>>,
    pub(super) copy: Option<Vec<u8>>,
}

impl Told {
    fn append_to(self, bytes: &mut Vec<u8>) {
        let Told { keyboard, mouse, cursor, bell, copy } = self;
        bytes.extend([keyboard, mouse, cursor, bell, copy].into_iter().flatten().flatten());
    }
}

impl Outlet {
    pub(super) fn new(tty: Rc<Tty>) -> Outlet {
        Outlet { tty, state: Rc::default() }
    }

    /// Tells the terminal something, now or as soon as it takes something.
    pub(super) fn tell(&self, tell: impl FnOnce(&mut Told)) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        tell(&mut state.told);
        if state.rest.is_empty() {
            let told = std::mem::take(&mut state.told);
            told.append_to(&mut state.rest);
            drop(state);
            return self.send();
        }
        Ok(())
    }

    /// Writes what the terminal takes now.
    pub(super) fn send(&self) -> io::Result<()> {
        let rest = &mut self.state.borrow_mut().rest;
        let mut sent = 0;
        while let Some(left) = rest.get(sent..).filter(|left| !left.is_empty()) {
            match self.tty.try_write(left)? {
                0 => break,
                n => sent += n,
            }
        }
        rest.drain(..sent);
        Ok(())
    }

    /// Whether it has not taken everything yet.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.state.borrow().rest.is_empty()
    }

    /// Ready when the terminal has taken everything.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        loop {
            while !state.rest.is_empty() {
                let sent = ready!(self.tty.poll_write(cx, &state.rest))?;
                state.rest.drain(..sent);
            }
            std::mem::take(&mut state.told).append_to(&mut state.rest);
            if state.rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// What the terminal has not taken; it is not written any more.
    pub(super) fn take_rest(&self) -> Vec<u8> {
        std::mem::take(&mut *self.state.borrow_mut()).rest
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.state.borrow_mut().rest.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Nothing: a frame leaves whole, by the backend's flush. crossterm flushes after every cursor.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
