//! One link and the task that drives it: reads, writes what could not be written at once, keeps time, and tells owners
//! what there is to tell.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use lap_wire::Frame;
use lap_wire::keeper::Reply;
use lap_wire::stream::{self, StreamDecoder};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep_until};

use super::bell::Bell;
use super::core::{Core, Step, Told};
use super::local::{LocalLinks, Shared};
use super::outlet::Outlet;
use super::{ConnectError, LinkError, Sink};
use crate::sandbox::{Dialed, SandboxName};

/// What keepers call this side in their logs.
const NAME: &str = concat!("lap ", env!("CARGO_PKG_VERSION"));
/// One read: two full frames of a keeper and a bit.
const READ: usize = 72 * 1024;

pub(super) type LinkCore = Core<Rc<dyn Sink>, oneshot::Sender<Result<Reply, LinkError>>>;

/// A time that tests can move.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One link, driven by one task.
pub(super) struct Link {
    sandbox: SandboxName,
    pub(super) state: RefCell<State>,
    /// The task has something to do.
    changed: Bell,
    /// What waited is written, or the connection is lost.
    pub(super) drained: Notify,
    /// When the task looks again in any case.
    alarm: Cell<Instant>,
}

pub(super) struct State {
    core: LinkCore,
    pub(super) outlet: Option<Outlet>,
}

/// What its task wakes up for.
enum Event {
    /// So many bytes have come, into the decoder or the scratch buffer; 0 is the end.
    Read(io::Result<usize>),
    /// What waited is written.
    Flushed(io::Result<()>),
    /// A stream was made, or not.
    Dialed(Result<Dialed, LinkError>),
    /// An owner has left something to do.
    Changed,
    /// Something is due.
    Time,
}

impl Link {
    pub(super) fn new(sandbox: SandboxName) -> Link {
        let (seed, now) = (uuid::Uuid::new_v4().as_u64_pair().0, now());
        Link {
            sandbox,
            state: RefCell::new(State { core: Core::new(NAME, seed, now), outlet: None }),
            changed: Bell::default(),
            drained: Notify::new(),
            alarm: Cell::new(now),
        }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut LinkCore, &mut Option<Outlet>) -> T) -> T {
        let State { core, outlet } = &mut *self.state.borrow_mut();
        act(core, outlet)
    }

    /// Has the task see to what an owner has left to do.
    pub(super) fn attend(&self) {
        let state = self.state.borrow();
        let busy = state.outlet.as_ref().is_some_and(Outlet::needs_task);
        if busy || state.core.has_told() || state.core.due() < self.alarm.get() {
            self.changed.ring();
        }
    }

    /// Opens and asks what is still to be opened and asked on this connection, as far as there is room.
    pub(super) fn catch_up(&self) {
        while let Some((key, sink)) = self.with(|core, outlet| core.next_opening(now(), outlet)) {
            // With nothing borrowed: the owner may use the link to find out.
            let opening = sink.open();
            self.with(|core, outlet| core.opening(key, opening, now(), outlet));
        }
    }

    /// Tells owners what there is to tell. For the task alone.
    fn tell(&self) {
        loop {
            let told = self.state.borrow_mut().core.poll_told();
            match told {
                None => return,
                Some(Told::Opened(sink, opened)) => sink.opened(&opened),
                Some(Told::Message(sink, at, message)) => sink.message(at, message),
                Some(Told::Broken(sink)) => sink.broken(),
                Some(Told::Closed(sink, why)) => sink.closed(why),
                // Whoever asked may have gone.
                Some(Told::Answer(waiting, answer)) => drop(waiting.send(answer)),
            }
        }
    }

    /// Ends everything on it.
    pub(super) fn end(&self, why: &LinkError) {
        self.with(|core, outlet| {
            *outlet = None;
            core.end(why, now());
        });
        self.tell();
    }

    fn lost(&self, why: &LinkError) {
        tracing::debug!(sandbox = %self.sandbox, %why, "a keeper cannot be reached");
        self.with(|core, outlet| {
            *outlet = None;
            core.lost(why, now());
        });
        self.drained.notify_waiters();
    }

    /// Hands one frame to whom it is for, and tells what it means.
    fn dispatch(&self, frame: &Frame<'_>, now: Instant) -> Result<(), LinkError> {
        let owner = {
            let mut state = self.state.borrow_mut();
            let State { core, outlet } = &mut *state;
            core.received(frame, now, outlet)?
        };
        match owner {
            Some(sink) => sink.frame(frame),
            None => self.tell(),
        }
        Ok(())
    }

    /// Hands on what was read straight from where it lies; what is no whole frame yet is kept.
    fn take_in(&self, mut bytes: &[u8], decoder: &mut StreamDecoder, now: Instant) -> Result<(), LinkError> {
        while let Some((frame, len)) = stream::first(bytes).map_err(malformed)? {
            if let Some(frame) = frame {
                self.dispatch(&frame, now)?;
            }
            bytes = &bytes[len..];
        }
        if !bytes.is_empty() {
            decoder.push(bytes);
        }
        Ok(())
    }

    /// Hands on what is whole now that more was read behind it.
    fn take_rest(&self, decoder: &mut StreamDecoder, now: Instant) -> Result<(), LinkError> {
        while let Some(frame) = decoder.next_frame().map_err(malformed)? {
            self.dispatch(&frame, now)?;
        }
        decoder.shrink();
        Ok(())
    }

    /// What happens next, with one poll of each source.
    fn poll_event(
        &self,
        context: &mut Context<'_>,
        scratch: &RefCell<Vec<u8>>,
        decoder: &mut StreamDecoder,
        dialing: &mut Option<Dialing>,
        alarm: Pin<&mut Sleep>,
    ) -> Poll<Event> {
        let mut state = self.state.borrow_mut();
        if let Some(outlet) = state.outlet.as_mut() {
            outlet.driven_by(context);
            // First, so that a flood does not hold up what is typed.
            if outlet.needs_task()
                && let Poll::Ready(flushed) = outlet.poll_flush(context)
            {
                return Poll::Ready(Event::Flushed(flushed));
            }
            let read = if decoder.buffered() > 0 {
                let read = outlet.poll_read(context, decoder.space(READ));
                let n = match &read {
                    Poll::Ready(Ok(n)) => *n,
                    _ => 0,
                };
                decoder.filled(READ, n);
                read
            } else {
                let mut scratch = scratch.borrow_mut();
                scratch.resize(READ, 0);
                outlet.poll_read(context, &mut scratch)
            };
            if let Poll::Ready(read) = read {
                return Poll::Ready(Event::Read(read));
            }
        }
        if let Some(dialing) = dialing
            && let Poll::Ready(dialed) = dialing.poll(context, &self.sandbox)
        {
            return Poll::Ready(Event::Dialed(dialed));
        }
        if self.changed.poll_rung(context).is_ready() {
            return Poll::Ready(Event::Changed);
        }
        alarm.poll(context).map(|()| Event::Time)
    }
}

fn malformed(error: lap_wire::FrameError) -> LinkError {
    LinkError::Protocol(error.to_string())
}

/// A stream that is being made elsewhere; given up when dropped.
struct Dialing(JoinHandle<Result<Dialed, ConnectError>>);

impl Dialing {
    fn start(shared: &Shared, sandbox: &SandboxName) -> Dialing {
        let (connect, sandbox) = (shared.connect.clone(), sandbox.clone());
        Dialing(shared.elsewhere.spawn(async move { connect.connect(&sandbox).await }))
    }

    fn poll(&mut self, context: &mut Context<'_>, sandbox: &SandboxName) -> Poll<Result<Dialed, LinkError>> {
        Pin::new(&mut self.0).poll(context).map(|ended| match ended {
            Ok(Ok(dialed)) => Ok(dialed),
            Ok(Err(ConnectError::Gone(reason))) => Err(LinkError::Gone(reason)),
            Ok(Err(ConnectError::Unavailable(reason))) => Err(LinkError::Lost(reason)),
            Err(error) if error.is_panic() => {
                tracing::error!(%sandbox, %error, "connecting to a keeper panicked");
                Err(LinkError::Lost("a fault of the server's; its log has it".to_owned()))
            }
            Err(_) => Err(LinkError::Lost("the server is stopping".to_owned())),
        })
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Drives a link for as long as anybody needs it.
pub(super) async fn drive(links: LocalLinks, link: Rc<Link>) {
    let shared = links.shared();
    let mut decoder = StreamDecoder::new();
    let mut dialing = None;
    let mut alarm = pin!(sleep_until(tokio::time::Instant::from_std(link.alarm.get())));
    loop {
        link.tell();
        link.catch_up();
        let failure = link.with(|_, outlet| outlet.as_mut().and_then(Outlet::take_failure));
        if let Some(why) = failure {
            link.lost(&why);
            continue;
        }
        let now = now();
        let step = link.with(|core, outlet| match core.due() <= now {
            true => core.tick(now, outlet),
            false => Step::Nothing,
        });
        match step {
            Step::Nothing => {}
            Step::Connect => dialing = Some(Dialing::start(shared, &link.sandbox)),
            Step::End if link.with(|core, _| core.has_told()) => continue,
            Step::End => {
                shared.links.borrow_mut().remove(&link.sandbox);
                link.with(|_, outlet| *outlet = None);
                return;
            }
        }
        let due = {
            let mut state = link.state.borrow_mut();
            if !state.core.is_connected() {
                state.outlet = None;
                decoder = StreamDecoder::new();
            }
            if !state.core.is_connecting() {
                dialing = None;
            }
            if state.core.has_told() {
                continue;
            }
            state.core.due()
        };
        // A later one is noticed when the earlier has passed: not each time something is heard.
        if due < link.alarm.get() || link.alarm.get() <= now {
            link.alarm.set(due);
            alarm.as_mut().reset(tokio::time::Instant::from_std(due));
        }
        let event = poll_fn(|context| {
            link.poll_event(context, &shared.scratch, &mut decoder, &mut dialing, alarm.as_mut())
        });
        match event.await {
            Event::Read(Ok(n)) if n > 0 => {
                let now = self::now();
                link.state.borrow_mut().core.heard(now);
                let taken = if decoder.buffered() > 0 {
                    link.take_rest(&mut decoder, now)
                } else {
                    // Taken, since an owner that is told may be the end of this thread's links.
                    let scratch = shared.scratch.take();
                    let taken = link.take_in(&scratch[..n], &mut decoder, now);
                    shared.scratch.replace(scratch);
                    taken
                };
                if let Err(why) = taken {
                    if let LinkError::Protocol(_) = why {
                        tracing::warn!(sandbox = %link.sandbox, %why, "a keeper's connection is given up");
                    }
                    link.lost(&why);
                }
            }
            Event::Read(Ok(_)) => {
                link.lost(&LinkError::Lost("its keeper has closed the connection".to_owned()))
            }
            Event::Read(Err(error)) | Event::Flushed(Err(error)) => {
                link.lost(&LinkError::Lost(error.to_string()));
            }
            Event::Flushed(Ok(())) => link.drained.notify_waiters(),
            Event::Dialed(dialed) => {
                dialing = None;
                let same_machine = dialed.as_ref().is_ok_and(Dialed::is_same_machine);
                let stream = dialed.and_then(|dialed| {
                    dialed.into_stream().map_err(|error| LinkError::Lost(error.to_string()))
                });
                match stream {
                    Ok(stream) => link.with(|core, outlet| {
                        *outlet = Some(Outlet::new(stream));
                        core.connected(same_machine, self::now(), outlet);
                    }),
                    Err(why) => link.lost(&why),
                }
            }
            Event::Changed | Event::Time => {}
        }
    }
}
