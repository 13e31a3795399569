//! A channel's end on the links' thread: fills the inbox, and sends what its user leaves to be sent.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lap_wire::control::{ClientMessage, ErrorCode, Open, ServerMessage};
use lap_wire::limits::MAX_PAYLOAD;
use lap_wire::{Frame, FrameType};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::super::{ChannelGuard, LinkError, LocalLink, Opened, Opening, Refused, Sink};
use super::shared::Shared;

/// How long input that was refused is held back, unless some is acknowledged before.
const REFUSED_WAIT: Duration = Duration::from_millis(250);

/// The end of a channel on the links' thread.
pub(super) struct Remote {
    pub(super) shared: Arc<Shared>,
    pub(super) open: Open,
    /// Whoever waits for it to be open for the first time.
    pub(super) opened: Cell<Option<oneshot::Sender<Result<Opened, LinkError>>>>,
}

impl Sink for Remote {
    fn open(&self) -> Opening {
        let state = self.shared.lock();
        let since = state.since(self.open.since);
        Opening::Program(Open { since, ..self.open.clone() })
    }

    fn opened(&self, opened: &Opened) {
        let accepted = self.shared.lock().opened(opened);
        if let Err(why) = accepted {
            return self.closed(why);
        }
        if let Some(waiting) = self.opened.take() {
            let _ = waiting.send(Ok(opened.clone()));
        }
        self.shared.progress.notify_one();
        self.shared.to_do.notify_one();
    }

    fn frame(&self, frame: &Frame<'_>) {
        match frame.kind {
            FrameType::Output => self.shared.arrive(|state| state.output(frame.offset, frame.payload)),
            FrameType::Snapshot => {
                self.shared.arrive(|state| state.snapshot(frame.offset, frame.flags, frame.payload));
            }
            FrameType::InputAck => {
                let mut state = self.shared.lock();
                let acked = frame.offset.saturating_sub(state.base);
                state.input.ack(acked);
                state.held_until = None;
                drop(state);
                self.shared.progress.notify_one();
                self.shared.to_do.notify_one();
            }
            _ => {}
        }
    }

    fn message(&self, _at: u64, message: ServerMessage) {
        if let ServerMessage::Error(error) = &message
            && matches!(error.code, ErrorCode::InputGap | ErrorCode::InputOverflow)
        {
            let mut state = self.shared.lock();
            // Never beyond what there is, whatever the keeper says, and never before what is acknowledged.
            let expected = error.expected.map_or(0, |at| at.saturating_sub(state.base));
            state.sent = expected.clamp(state.input.acked(), state.input.end());
            state.held_until = Some(Instant::now() + REFUSED_WAIT);
            drop(state);
            return self.shared.to_do.notify_one();
        }
        self.shared.arrive(|state| state.message(message));
    }

    fn broken(&self) {
        self.shared.broken();
    }

    fn closed(&self, why: LinkError) {
        if let Some(waiting) = self.opened.take() {
            let _ = waiting.send(Err(why.clone()));
        }
        if let LinkError::Closed(reason) = &why {
            let closed = ServerMessage::Closed { reason: reason.clone() };
            self.shared.arrive(|state| state.message(closed));
        }
        self.shared.end(why);
    }
}

impl Shared {
    /// Sends what there is to send. False: there is more, and no room for it now.
    fn send(&self, guard: &ChannelGuard) -> Result<bool, Refused> {
        let mut state = self.lock();
        if !state.is_open {
            return Ok(true);
        }
        if let Some(offset) = state.ack.take() {
            guard.send(FrameType::Ack, 0, offset, &[])?;
        }
        while let Some(message) = state.outgoing.pop_front() {
            match guard.control(&message) {
                Ok(()) => {}
                Err(Refused::TooLarge) => tracing::warn!("a control message for a keeper is too large"),
                Err(refused) => {
                    state.outgoing.push_front(message);
                    return Err(refused);
                }
            }
        }
        if state.held_until.is_some() {
            return Ok(true);
        }
        let (base, from) = (state.base, state.sent.max(state.input.acked()));
        let mut sent = from;
        let mut all_sent = true;
        'pieces: for (at, piece_flags, bytes) in state.input.outstanding() {
            let skip = usize::try_from(from.saturating_sub(at)).unwrap_or(usize::MAX);
            for piece in bytes.get(skip..).unwrap_or_default().chunks(MAX_PAYLOAD) {
                let room = guard.bulk_room() > 0;
                if !room || guard.send(FrameType::Input, piece_flags, base + sent, piece).is_err() {
                    all_sent = false;
                    break 'pieces;
                }
                sent += piece.len() as u64;
            }
        }
        state.sent = sent;
        if !all_sent {
            return Ok(false);
        }
        // Not before the last byte is written: it may be refused, and nothing is taken after the end.
        if state.eof && !state.eof_sent && state.input.acked() == state.input.end() {
            guard.control(&ClientMessage::StdinEof)?;
            state.eof_sent = true;
        }
        Ok(true)
    }
}

/// Keeps a channel open, and sends what is to be sent on it, until nobody uses it or it has ended.
pub(super) async fn serve(link: LocalLink, remote: Remote) {
    let shared = remote.shared.clone();
    let guard = link.open(Rc::new(remote));
    loop {
        let drained = guard.drained();
        let (done, held_until) = {
            let state = shared.lock();
            (state.dropped || state.end.is_some(), state.held_until)
        };
        if done {
            return;
        }
        // Not open just now: it is tried again when it is.
        let all_sent = shared.send(&guard).unwrap_or(true);
        let held = async {
            match held_until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.to_do.notified() => {}
            () = drained, if !all_sent => {}
            () = held => shared.lock().held_until = None,
        }
    }
}
