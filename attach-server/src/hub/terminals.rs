//! A terminal on the hub's thread: the core, and everything it needs done that is slower than a write.
//!
//! Every event enters through [`TerminalHandle::with`], which lends the core out for one call, then does what the core
//! wants done and sees to it that time is told to it. A core that panics is given up there and then: its viewers are told,
//! and whoever comes next gets a new one.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use lap_platform::link::{ChannelGuard, LinkError, LocalLink, Opened, Opening, Sink};
use lap_platform::model::SessionId;
use lap_wire::control::{Attention, ClientMessage, ErrorCode, Open, ServerMessage, Size, WireError};
use lap_wire::{Frame, FrameType};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Hub;
use super::core::{Effect, KeeperChannel, Key, NewViewer, RESTARTED, Served, Terminal, ViewerId};
use super::directory::Location;
use super::recorder::Recorder;

/// How often a session whose keeper is out of reach is looked up: at first, and at the least.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_secs(5);
/// How long a session whose program has ended may take to be dead for whoever asks.
const DEAD_WITHIN: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct TerminalHandle {
    pub session: SessionId,
    hub: Weak<Hub>,
    location: Location,
    link: LocalLink,
    core: RefCell<Terminal>,
    /// When time is told to the core at the latest.
    alarm: Cell<Option<Instant>>,
    /// It is being found out whether the session still has its terminal here.
    looking: Cell<bool>,
    /// The hub has let go of it.
    released: Cell<bool>,
}

/// A viewer's place at a terminal; dropping it gives it back.
pub(super) struct ViewerHandle {
    terminal: Rc<TerminalHandle>,
    id: ViewerId,
}

impl TerminalHandle {
    /// A terminal at its keeper, whose channel there is being opened. `core` is new.
    pub(super) fn new(
        session: SessionId,
        hub: Weak<Hub>,
        location: Location,
        link: LocalLink,
        core: Terminal,
    ) -> Rc<TerminalHandle> {
        Rc::new(TerminalHandle {
            session,
            hub,
            location,
            link,
            core: RefCell::new(core),
            alarm: Cell::new(None),
            looking: Cell::new(false),
            released: Cell::new(false),
        })
    }

    /// Whether this is where it runs.
    pub(super) fn is_at(&self, location: &Location) -> bool {
        self.location == *location
    }

    /// Does something with the core, and then what the core wants done. `None`: it has panicked.
    pub(super) fn with<T>(self: &Rc<Self>, act: impl FnOnce(&mut Terminal) -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let done = act(&mut self.core.borrow_mut());
            self.perform();
            done
        }));
        match done {
            Ok(done) => Some(done),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                tracing::error!(session = %self.session, panic = text, "a terminal panicked; it is given up");
                self.give_up();
                None
            }
        }
    }

    /// The core is not to be trusted any more.
    fn give_up(self: &Rc<Self>) {
        let fresh = match self.core.try_borrow_mut() {
            Ok(mut core) => core.abandon(),
            // It panicked within a call from itself, which ends in the same way.
            Err(_) => return,
        };
        let told = catch_unwind(AssertUnwindSafe(|| fresh.tell_viewers(&fault())));
        if told.is_err() {
            tracing::error!(session = %self.session, "its viewers could not be told");
        }
        let Some(hub) = self.hub.upgrade() else { return };
        hub.release(self);
        let told = catch_unwind(AssertUnwindSafe(|| {
            hub.directory.viewers(self.session, 0, 0);
            hub.directory.attention(self.session, Attention::None, None);
            hub.directory.recording(self.session, false);
        }));
        if told.is_err() {
            tracing::error!(session = %self.session, "the rest of the server could not be told");
        }
    }

    fn perform(self: &Rc<Self>) {
        loop {
            let effects = self.core.borrow_mut().take_effects();
            if effects.is_empty() {
                break;
            }
            let Some(hub) = self.hub.upgrade() else { return };
            for effect in effects {
                self.do_one(&hub, effect);
            }
        }
        let core = self.core.borrow();
        if core.has_ended() && !self.released.get() {
            drop(core);
            if let Some(hub) = self.hub.upgrade() {
                hub.release(self);
            }
            return;
        }
        if let Some(due) = core.due()
            && self.alarm.get().is_none_or(|alarm| due < alarm)
        {
            drop(core);
            self.wake_at(due);
        }
    }

    fn do_one(self: &Rc<Self>, hub: &Rc<Hub>, effect: Effect) {
        let directory = &hub.directory;
        match effect {
            Effect::Open(key) => {
                let guard = self.link.open(Rc::new(ChannelSink { terminal: Rc::downgrade(self), key }));
                let channel = Box::new(Channel { guard, link: self.link.clone() });
                self.core.borrow_mut().bound(key, channel);
            }
            Effect::Locate => self.look(hub),
            Effect::Lost(why) => self.lost(hub, why),
            Effect::Ended(status) => {
                let (terminal, directory) = (self.clone(), directory.clone());
                hub.spawn(async move {
                    let dead = AssertUnwindSafe(directory.ended(terminal.session, &status)).catch_unwind();
                    if !matches!(timeout(DEAD_WITHIN, dead).await, Ok(Ok(()))) {
                        tracing::warn!(session = %terminal.session, "its end is told before it is stored");
                    }
                    terminal.with(|core| core.row_is_dead(Instant::now()));
                });
            }
            Effect::Delivered => directory.delivered(self.session),
            Effect::Viewers { people, interactive } => directory.viewers(self.session, people, interactive),
            Effect::Attention(state, text) => directory.attention(self.session, state, text),
            Effect::Activity { typed } => directory.activity(self.session, typed),
            Effect::Recording(on) => directory.recording(self.session, on),
            Effect::Unused => {
                if self.core.borrow().is_unused() && !self.released.get() {
                    hub.release(self);
                    directory.viewers(self.session, 0, 0);
                    directory.attention(self.session, Attention::None, None);
                }
            }
        }
    }

    fn wake_at(self: &Rc<Self>, due: Instant) {
        self.alarm.set(Some(due));
        let terminal = Rc::downgrade(self);
        let Some(hub) = self.hub.upgrade() else { return };
        hub.spawn(async move {
            sleep_until(due).await;
            let Some(terminal) = terminal.upgrade() else { return };
            if terminal.alarm.get() == Some(due) {
                terminal.alarm.set(None);
                terminal.with(|core| core.tick(Instant::now()));
            }
        });
    }

    /// Finds out whether the session still has its terminal here, until it is known or the keeper is reached again.
    fn look(self: &Rc<Self>, hub: &Rc<Hub>) {
        if self.looking.replace(true) {
            return;
        }
        let (terminal, directory) = (self.clone(), hub.directory.clone());
        hub.spawn(async move {
            let mut pause = LOOK_FIRST;
            while terminal.core.borrow().is_out_of_reach() {
                let located = AssertUnwindSafe(directory.locate(terminal.session)).catch_unwind().await;
                if let Some(why) = terminal.gone(located.unwrap_or_else(|_| Err(fault()))) {
                    terminal.end(why);
                    break;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LOOK_LAST);
            }
            terminal.looking.set(false);
        });
    }

    /// The keeper cannot be had any more: that is the end, for which the session's own reason is the better one.
    fn lost(self: &Rc<Self>, hub: &Rc<Hub>, why: WireError) {
        let (terminal, directory) = (self.clone(), hub.directory.clone());
        hub.spawn(async move {
            let located = AssertUnwindSafe(directory.locate(terminal.session)).catch_unwind().await;
            let gone = terminal.gone(located.unwrap_or_else(|_| Err(fault())));
            terminal.end(gone.unwrap_or(why));
        });
    }

    /// Why the terminal is not here any more, going by where the session's is.
    fn gone(&self, located: Result<Location, WireError>) -> Option<WireError> {
        match located {
            Err(error) if !error.retryable => Some(error),
            Ok(location) if !self.is_at(&location) => {
                Some(WireError::new(ErrorCode::SandboxLost, RESTARTED).retryable())
            }
            _ => None,
        }
    }

    /// It is no more.
    pub(super) fn end(self: &Rc<Self>, why: WireError) {
        self.with(|core| core.end(why, Instant::now()));
    }

    /// A viewer comes.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub(super) fn attach(self: &Rc<Self>, new: NewViewer) -> Result<ViewerHandle, WireError> {
        let viewer = ViewerHandle { terminal: self.clone(), id: new.id };
        self.with(|core| core.attach(new, Instant::now())).unwrap_or_else(|| Err(fault()))?;
        Ok(viewer)
    }

    /// From here on it is recorded.
    pub(super) fn record(self: &Rc<Self>, recorder: impl FnOnce() -> Recorder) {
        self.with(|core| {
            if !core.is_recorded() {
                core.record(recorder());
            }
        });
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.get()
    }

    /// The hub lets go of it.
    pub(super) fn set_released(&self) {
        self.released.set(true);
    }

    pub(super) fn count(&self, census: &mut super::Census) {
        self.core.borrow().count(census);
    }
}

/// What a client is told of a fault of ours.
fn fault() -> WireError {
    WireError::new(ErrorCode::Internal, "a fault of the server's; its log has it").retryable()
}

impl ViewerHandle {
    /// Sends it the next at most `size` bytes it is to have.
    pub(super) fn serve(&self, size: usize, now: Instant) -> Served {
        self.terminal.with(|core| core.serve(self.id, size, now)).unwrap_or(Served::Nothing)
    }

    pub(super) fn acked(&self, offset: u64, now: Instant) {
        self.terminal.with(|core| core.acked(self.id, offset, now));
    }

    /// # Errors
    /// The viewer's to read.
    pub(super) fn input(&self, flags: u8, offset: u64, bytes: &[u8], now: Instant) -> Result<(), WireError> {
        self.terminal.with(|core| core.input(self.id, flags, offset, bytes, now)).unwrap_or(Ok(()))
    }

    pub(super) fn type_in(&self, bytes: &[u8]) {
        self.terminal.with(|core| core.type_in(self.id, bytes, Instant::now()));
    }

    pub(super) fn takes_input(&self) -> bool {
        self.terminal.core.borrow().takes_input(self.id)
    }

    pub(super) fn resize(&self, size: Size) {
        self.terminal.with(|core| core.resize(self.id, size));
    }

    pub(super) fn visible(&self, visible: bool) {
        self.terminal.with(|core| core.visible(self.id, visible, Instant::now()));
    }

    pub(super) fn wants_snapshot(&self, scrollback: u32) {
        self.terminal.with(|core| core.wants_snapshot(self.id, scrollback));
    }

    /// # Errors
    /// The viewer's to read.
    pub(super) fn forward(&self, message: &ClientMessage) -> Result<(), WireError> {
        self.terminal.with(|core| core.forward(self.id, message)).unwrap_or(Ok(()))
    }
}

impl Drop for ViewerHandle {
    fn drop(&mut self) {
        self.terminal.with(|core| core.detach(self.id, Instant::now()));
    }
}

/// One of a terminal's channels, for the link.
struct ChannelSink {
    terminal: Weak<TerminalHandle>,
    key: Key,
}

impl ChannelSink {
    fn with(&self, act: impl FnOnce(&mut Terminal, Key)) {
        if let Some(terminal) = self.terminal.upgrade() {
            terminal.with(|core| act(core, self.key));
        }
    }
}

impl Sink for ChannelSink {
    fn open(&self) -> Opening {
        let open = self.terminal.upgrade().and_then(|terminal| terminal.core.borrow().open_of(self.key));
        // One that is not needed any more is closed as soon as it is open.
        Opening::Program(open.unwrap_or_else(|| Open {
            output: false,
            ..Open::new(String::new(), lap_wire::control::Mode::View)
        }))
    }

    fn opened(&self, opened: &Opened) {
        self.with(|core, key| core.opened(key, opened, Instant::now()));
    }

    fn frame(&self, frame: &Frame<'_>) {
        self.with(|core, key| core.frame(key, frame, Instant::now()));
    }

    fn message(&self, _at: u64, message: ServerMessage) {
        self.with(|core, key| core.message(key, message, Instant::now()));
    }

    fn broken(&self) {
        self.with(|core, key| core.broken(key));
    }

    fn closed(&self, why: LinkError) {
        self.with(|core, key| core.closed(key, why, Instant::now()));
    }
}

/// A channel at the keeper, for the core.
struct Channel {
    guard: ChannelGuard,
    link: LocalLink,
}

impl KeeperChannel for Channel {
    fn send(&self, kind: FrameType, flags: u8, offset: u64, payload: &[u8]) -> bool {
        self.guard.send(kind, flags, offset, payload).is_ok()
    }

    fn control(&self, message: &ClientMessage) -> bool {
        self.guard.control(message).is_ok()
    }

    fn typing(&self) {
        self.link.typing();
    }
}
