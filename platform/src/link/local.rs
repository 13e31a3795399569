//! The links on the thread that drives them. Owners call in from the same thread, and are called back by the link's task.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lap_wire::FrameType;
use lap_wire::control::{ClientMessage, to_payload};
use lap_wire::keeper::{Call, Reply};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};

use super::bell::Bell;
use super::core::Key;
use super::drive::{Link, drive, now};
use super::outlet::{ENOUGH, ENOUGH_BULK, Outlet};
use super::{Connect, LinkError, Sink};
use crate::sandbox::SandboxName;

/// Why a frame was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The channel is not open on the current connection: `opened` or `closed` will be told.
    NotOpen,
    /// Too much waits for the stream already: to be sent again later.
    Full,
    /// It is larger than a frame may be.
    TooLarge,
}

/// Every sandbox's link, on their own thread.
#[derive(Clone)]
pub struct LocalLinks {
    shared: Rc<Shared>,
}

pub(super) struct Shared {
    pub(super) connect: Arc<dyn Connect>,
    /// Where streams are made.
    pub(super) elsewhere: Handle,
    /// The links that are driven, and by which task.
    pub(super) links: RefCell<HashMap<SandboxName, (Rc<Link>, Id)>>,
    tasks: RefCell<JoinSet<()>>,
    /// A task was begun.
    begun: Bell,
    /// Every link reads into this one: an idle connection holds no buffer.
    pub(super) scratch: RefCell<Vec<u8>>,
}

impl LocalLinks {
    pub(super) fn new(connect: Arc<dyn Connect>, elsewhere: Handle) -> LocalLinks {
        LocalLinks {
            shared: Rc::new(Shared {
                connect,
                elsewhere,
                links: RefCell::default(),
                tasks: RefCell::default(),
                begun: Bell::default(),
                scratch: RefCell::default(),
            }),
        }
    }

    /// The link to a sandbox's keeper. Asking for it does nothing yet.
    #[must_use]
    pub fn link(&self, sandbox: &SandboxName) -> LocalLink {
        LocalLink { links: self.clone(), sandbox: sandbox.clone() }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs a task that ends with the links.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Id {
        let id = self.shared.tasks.borrow_mut().spawn_local(task).id();
        self.shared.begun.ring();
        id
    }

    /// The driven link of a sandbox.
    fn driven(&self, sandbox: &SandboxName) -> Rc<Link> {
        if let Some((link, _)) = self.shared.links.borrow().get(sandbox) {
            return link.clone();
        }
        let link = Rc::new(Link::new(sandbox.clone()));
        let id = self.spawn(drive(self.clone(), link.clone()));
        self.shared.links.borrow_mut().insert(sandbox.clone(), (link.clone(), id));
        link
    }

    /// Waits for a task to end; sees to it that a panic is known, and that nobody waits for what panicked.
    pub(super) async fn reap(&self) {
        let next = |context: &mut Context<'_>| {
            // Before the set is looked at, and until it is silent: then the next task that is begun is heard of.
            while self.shared.begun.poll_rung(context).is_ready() {}
            match self.shared.tasks.borrow_mut().poll_join_next_with_id(context) {
                Poll::Ready(Some(ended)) => Poll::Ready(ended),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        };
        let Err(error) = poll_fn(next).await else { return };
        if !error.is_panic() {
            return;
        }
        let id = error.id();
        let panicked = {
            let links = self.shared.links.borrow();
            links.iter().find(|(_, (_, task))| *task == id).map(|(name, _)| name.clone())
        };
        let Some(sandbox) = panicked else {
            tracing::error!(%error, "a task at a keeper's link panicked");
            return;
        };
        tracing::error!(%sandbox, %error, "a keeper's link panicked; everything on it ends");
        let link = self.shared.links.borrow_mut().remove(&sandbox);
        if let Some((link, _)) = link {
            link.end(&LinkError::Lost("a fault of the server's; its log has it".to_owned()));
        }
    }

    /// Ends every link and every task.
    pub(super) fn end(&self) {
        // Dropped only when nothing is borrowed: what ends may look here.
        let tasks = self.shared.tasks.take();
        drop(tasks);
        let links = self.shared.links.take();
        for (link, _) in links.into_values() {
            link.end(&LinkError::Lost("the server is stopping".to_owned()));
        }
    }
}

/// One sandbox's link, on the links' thread.
#[derive(Clone)]
pub struct LocalLink {
    links: LocalLinks,
    sandbox: SandboxName,
}

impl LocalLink {
    /// Opens a channel for `sink`: at once if the link is up, else when it is. What comes of it the sink is told.
    #[must_use = "dropping the guard closes the channel"]
    pub fn open(&self, sink: Rc<dyn Sink>) -> ChannelGuard {
        let link = self.links.driven(&self.sandbox);
        let key = link.with(|core, _| core.open(sink, now()));
        link.catch_up();
        link.attend();
        ChannelGuard { link, key }
    }

    /// Asks the keeper for something, within a time that includes connecting. Dropping this forgets the call, which may
    /// be done all the same.
    ///
    /// # Errors
    /// `Refused` when the keeper cannot, else when there is no answer.
    pub async fn call(&self, call: Call, within: Duration) -> Result<Reply, LinkError> {
        let link = self.links.driven(&self.sandbox);
        let (answer, answered) = oneshot::channel();
        let request = link.with(|core, _| core.call(call, within, answer, now()));
        let _forgotten = CallGuard { link: link.clone(), request };
        link.catch_up();
        link.attend();
        answered.await.unwrap_or_else(|_| Err(LinkError::Lost("the server is stopping".to_owned())))
    }

    /// Tells the keeper that somebody types elsewhere, if the link is up.
    pub fn typing(&self) {
        let link = self.links.shared.links.borrow().get(&self.sandbox).map(|(link, _)| link.clone());
        if let Some(link) = link {
            link.with(|core, outlet| core.mention(&ClientMessage::Typing, outlet));
            link.attend();
        }
    }
}

/// A call under way; forgotten when dropped.
struct CallGuard {
    link: Rc<Link>,
    request: u64,
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.link.with(|core, _| core.forget(self.request, now()));
        self.link.attend();
    }
}

/// A channel of one [`Sink`]. Dropping it closes the channel; the program goes on, a file that is not complete goes.
/// The sink is told nothing more.
pub struct ChannelGuard {
    link: Rc<Link>,
    key: Key,
}

impl ChannelGuard {
    /// Sends a frame: written at once while the stream is idle, else behind what waits. Nothing is kept when it is
    /// refused. Control messages may be sent as soon as the link has asked [`Sink::open`], input and acknowledgements
    /// once the sink was told [`Sink::opened`].
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn send(&self, kind: FrameType, flags: u8, offset: u64, payload: &[u8]) -> Result<(), Refused> {
        let sent = self.link.with(|core, outlet| {
            let Some(waiting) = outlet.as_ref().map(Outlet::waiting) else { return Err(Refused::NotOpen) };
            if kind == FrameType::Input && waiting + payload.len() > ENOUGH {
                return Err(Refused::Full);
            }
            core.send(self.key, kind, flags, offset, payload, outlet)?;
            if kind != FrameType::Ack {
                core.expect(now());
            }
            Ok(())
        });
        self.link.attend();
        sent
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn control(&self, message: &ClientMessage) -> Result<(), Refused> {
        let payload = to_payload(message).map_err(|_| Refused::TooLarge)?;
        self.send(FrameType::Control, 0, 0, &payload)
    }

    /// Bytes of input it would take now; 0 while there is no connection.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room_below(ENOUGH)
    }

    /// The same for bulk, which is to leave room for keystrokes.
    pub(super) fn bulk_room(&self) -> usize {
        self.room_below(ENOUGH_BULK)
    }

    fn room_below(&self, enough: usize) -> usize {
        let state = self.link.state.borrow();
        state.outlet.as_ref().map_or(0, |outlet| enough.saturating_sub(outlet.waiting()))
    }

    /// Waits until all that waited has been written, or the connection is lost: to be asked for before room is looked
    /// for.
    pub(super) fn drained(&self) -> impl Future<Output = ()> + '_ {
        self.link.drained.notified()
    }
}

impl Drop for ChannelGuard {
    fn drop(&mut self) {
        // The owner goes when nothing is borrowed: it may have guards of its own.
        let _owner = self.link.with(|core, outlet| core.close(self.key, now(), outlet));
        self.link.attend();
    }
}
