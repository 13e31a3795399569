//! The links on the thread that drives them.
#![allow(clippy::todo, unused_variables, clippy::unused_async, missing_debug_implementations, dead_code)]

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lap_wire::FrameType;
use lap_wire::control::ClientMessage;
use lap_wire::keeper::{Call, Reply};
use tokio::runtime::Handle;

use super::{Connect, LinkError, Sink};
use crate::sandbox::SandboxName;

/// Every sandbox's link, for any thread. While one of these is there, the links are.
#[derive(Clone)]
pub struct Links {}

/// Links that no thread drives yet; to be handed to the one that will.
pub struct UnstartedLinks {}

impl Links {
    /// Links whose streams are made by `connect` on `runtime`. Nothing happens before [`UnstartedLinks::start`]; what is
    /// asked until then waits.
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>, runtime: Handle) -> (Links, UnstartedLinks) {
        todo!()
    }

    /// The same on a thread of their own, which ends when the last of these handles is dropped.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(connect: Arc<dyn Connect>, runtime: Handle) -> std::io::Result<Links> {
        todo!()
    }
}

impl UnstartedLinks {
    /// The links, to be driven by this thread: a current-thread runtime's `LocalSet`, in which [`LocalLinks::run`] is
    /// polled.
    #[must_use]
    pub fn start(self) -> LocalLinks {
        todo!()
    }
}

/// Every sandbox's link, on their own thread.
#[derive(Clone)]
pub struct LocalLinks {}

impl LocalLinks {
    /// Serves the handles of other threads and sees panics. Returns when every [`Links`] is gone; dropped or returned, it
    /// ends every link.
    pub async fn run(&self) {
        todo!()
    }

    /// The link to a sandbox's keeper. Asking for it does nothing yet.
    #[must_use]
    pub fn link(&self, sandbox: &SandboxName) -> LocalLink {
        todo!()
    }
}

/// One sandbox's link, on the links' thread.
#[derive(Clone)]
pub struct LocalLink {}

impl LocalLink {
    /// Opens a channel for `sink`: at once if the link is up, else when it is. What comes of it the sink is told.
    #[must_use = "dropping the guard closes the channel"]
    pub fn open(&self, sink: Rc<dyn Sink>) -> ChannelGuard {
        todo!()
    }

    /// Asks the keeper for something, within a time that includes connecting. Dropping this forgets the call, which may
    /// be done all the same.
    ///
    /// # Errors
    /// `Refused` when the keeper cannot, else when there is no answer.
    pub async fn call(&self, call: Call, within: Duration) -> Result<Reply, LinkError> {
        todo!()
    }

    /// Tells the keeper that somebody types elsewhere, if the link is up.
    pub fn typing(&self) {
        todo!()
    }
}

/// A channel of one [`Sink`]. Dropping it closes the channel; the program goes on, a file that is not complete goes.
/// The sink is told nothing more.
pub struct ChannelGuard {}

impl ChannelGuard {
    /// Sends a frame: written at once while the stream is idle, else behind what waits. Nothing is kept when it is
    /// refused.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn send(&self, kind: FrameType, flags: u8, offset: u64, payload: &[u8]) -> Result<(), Refused> {
        todo!()
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn control(&self, message: &ClientMessage) -> Result<(), Refused> {
        todo!()
    }

    /// Bytes of input it would take now; 0 while it is not open.
    #[must_use]
    pub fn room(&self) -> usize {
        todo!()
    }
}

/// Why a frame was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The channel is not open on the current connection: `opened` or `closed` will be told, and until then what is
    /// said of size and position is asked for by [`Sink::open`].
    NotOpen,
    /// Too much waits for the stream already: to be sent again later.
    Full,
    /// It is larger than a frame may be.
    TooLarge,
}
