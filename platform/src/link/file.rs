//! Writing a file in a sandbox.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lap_wire::control::{ClientMessage, ServerMessage, WireError};
use lap_wire::limits::{INPUT_WINDOW, MAX_PAYLOAD};
use lap_wire::{Frame, FrameType};
use tokio::sync::Notify;

use super::{ChannelGuard, Keeper, LinkError, LocalLink, Opened, Opening, Sink};

/// What writing one file may take: attachments of some megabytes through a slow exec.
const WRITE_FILE_TIMEOUT: Duration = Duration::from_secs(60);

/// A file on its way, which begins anew on each connection.
struct Writing {
    path: String,
    mode: u32,
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    is_open: bool,
    sent: usize,
    acked: usize,
    eof_sent: bool,
    /// What the keeper says is wrong with it; its `closed` follows.
    wrong: Option<WireError>,
    ended: Option<Result<(), LinkError>>,
}

impl Sink for Writing {
    fn open(&self) -> Opening {
        Opening::File { path: self.path.clone(), mode: self.mode }
    }

    fn opened(&self, _: &Opened) {
        self.state.replace(State { is_open: true, ..State::default() });
        self.changed.notify_one();
    }

    fn frame(&self, frame: &Frame<'_>) {
        if frame.kind == FrameType::InputAck {
            let mut state = self.state.borrow_mut();
            state.acked = state.acked.max(usize::try_from(frame.offset).unwrap_or(usize::MAX));
            self.changed.notify_one();
        }
    }

    fn message(&self, _: u64, message: ServerMessage) {
        if let ServerMessage::Error(error) = message {
            self.state.borrow_mut().wrong = Some(error);
        }
    }

    fn broken(&self) {
        self.state.borrow_mut().is_open = false;
    }

    fn closed(&self, why: LinkError) {
        let mut state = self.state.borrow_mut();
        let ended = match (state.wrong.take(), why) {
            (Some(wrong), _) => Err(LinkError::Refused(wrong)),
            (None, LinkError::Closed(_)) if state.eof_sent => Ok(()),
            (None, why) => Err(why),
        };
        state.ended = Some(ended);
        self.changed.notify_one();
    }
}

impl Writing {
    /// Sends of the contents what there is room for. False: there is more than there is room for now.
    fn send(&self, contents: &[u8], guard: &ChannelGuard) -> bool {
        let mut state = self.state.borrow_mut();
        while state.is_open && state.sent < contents.len() {
            let window = (state.acked + INPUT_WINDOW).saturating_sub(state.sent);
            let piece = MAX_PAYLOAD.min(window).min(contents.len() - state.sent);
            let Some(piece) = contents.get(state.sent..state.sent + piece).filter(|p| !p.is_empty()) else {
                // What is acknowledged next makes room.
                return true;
            };
            if guard.bulk_room() == 0 || guard.send(FrameType::Input, 0, state.sent as u64, piece).is_err() {
                return false;
            }
            state.sent += piece.len();
        }
        if state.is_open && !state.eof_sent {
            state.eof_sent = guard.control(&ClientMessage::StdinEof).is_ok();
        }
        true
    }
}

/// Writes a file whole, over as many connections as it takes.
async fn write(link: LocalLink, path: String, mode: u32, contents: Vec<u8>) -> Result<(), LinkError> {
    let file = Rc::new(Writing { path, mode, state: RefCell::default(), changed: Notify::new() });
    let guard = link.open(file.clone());
    loop {
        let drained = guard.drained();
        if let Some(ended) = file.state.borrow_mut().ended.take() {
            return ended;
        }
        let all_sent = file.send(&contents, &guard);
        tokio::select! {
            () = file.changed.notified() => {}
            () = drained, if !all_sent => {}
        }
    }
}

impl Keeper {
    /// Writes a file in the sandbox: it appears whole or not at all. `path` is absolute or relative to the keeper's
    /// working directory, folders are made as needed, `mode` is as in chmod. Dropped before its end, nothing of it is
    /// left.
    ///
    /// # Errors
    /// `Refused` with the reason when it cannot be written.
    pub async fn write_file(&self, path: &str, mode: u32, contents: &[u8]) -> Result<(), LinkError> {
        let (sandbox, path, contents) = (self.sandbox().clone(), path.to_owned(), contents.to_vec());
        let late = LinkError::TimedOut { call: "write_file", after: WRITE_FILE_TIMEOUT };
        let writing = self.links().run(move |links| async move {
            let writing = write(links.link(&sandbox), path, mode, contents);
            tokio::time::timeout(WRITE_FILE_TIMEOUT, writing).await.unwrap_or(Err(late))
        });
        writing.await
    }
}
