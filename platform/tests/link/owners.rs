//! Channels with owners on the links' own thread, as the hub has them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use lap_platform::link::{
    ChannelGuard, LinkError, Links, LocalLink, LocalLinks, Opened, Opening, Refused, Sink,
};
use lap_platform::sandbox::SandboxRuntime;
use lap_wire::control::{Mode, Open, ServerMessage};
use lap_wire::keeper::{Call, ProgramIo, ProgramSpec, Reply};
use lap_wire::{Frame, FrameType};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::Sandbox;
use crate::support::{DEADLINE, soon};

/// What to do when a frame comes.
type OnFrame = Box<dyn Fn(&Viewer, &Frame<'_>)>;

/// Looks at a terminal and types into it.
struct Viewer {
    program: &'static str,
    guard: RefCell<Option<ChannelGuard>>,
    seen: RefCell<Vec<u8>>,
    closed: RefCell<Option<LinkError>>,
    opened: Cell<u32>,
    on_frame: Option<OnFrame>,
    changed: Notify,
}

impl Viewer {
    fn of(link: &LocalLink, program: &'static str, on_frame: Option<OnFrame>) -> Rc<Viewer> {
        let viewer = Rc::new(Viewer {
            program,
            guard: RefCell::default(),
            seen: RefCell::default(),
            closed: RefCell::default(),
            opened: Cell::new(0),
            on_frame,
            changed: Notify::new(),
        });
        let guard = link.open(viewer.clone());
        viewer.guard.replace(Some(guard));
        viewer
    }

    async fn until(&self, what: &str, done: impl Fn(&Viewer) -> bool) {
        soon(what, async {
            while !done(self) {
                self.changed.notified().await;
            }
        })
        .await;
    }
}

impl Sink for Viewer {
    fn open(&self) -> Opening {
        Opening::Program(Open {
            input: Some(format!("of {:p}", self)),
            ..Open::new(self.program, Mode::Interact)
        })
    }

    fn opened(&self, _: &Opened) {
        self.opened.set(self.opened.get() + 1);
        self.changed.notify_one();
    }

    fn frame(&self, frame: &Frame<'_>) {
        if frame.kind == FrameType::Output {
            self.seen.borrow_mut().extend_from_slice(frame.payload);
        }
        if let Some(on_frame) = &self.on_frame {
            on_frame(self, frame);
        }
        self.changed.notify_one();
    }

    fn message(&self, _: u64, _: ServerMessage) {}

    fn broken(&self) {}

    fn closed(&self, why: LinkError) {
        self.closed.replace(Some(why));
        self.changed.notify_one();
    }
}

/// Runs a test on the links' own thread, with a program `cat` on a terminal.
async fn on_the_links_thread<F: Future<Output = ()>>(test: impl FnOnce(LocalLinks, LocalLink) -> F) {
    let sandbox = Sandbox::new().await;
    let argv = ["sh", "-c", "stty raw -echo; printf ready; exec cat"].map(str::to_owned).to_vec();
    let io = ProgramIo::Pty { size: Default::default() };
    let spec = ProgramSpec::new("cat", argv, sandbox.env(), sandbox.workdir(), io);
    sandbox.keeper().start(spec).await.unwrap();
    let connect = Arc::new(Arc::new(sandbox.runtime.clone()) as Arc<dyn SandboxRuntime>);
    let (_links, unstarted) = Links::new(connect, Handle::current());
    let (links, running) = unstarted.start();
    let local = LocalSet::new();
    local.spawn_local(running);
    let link = links.link(&sandbox.name);
    local.run_until(test(links, link)).await;
}

async fn ready(link: &LocalLink, on_frame: Option<OnFrame>) -> Rc<Viewer> {
    let viewer = Viewer::of(link, "cat", on_frame);
    viewer.until("it to be open", |viewer| viewer.opened.get() == 1).await;
    viewer
}

#[tokio::test]
#[allow(clippy::await_holding_refcell_ref, reason = "nobody else borrows the guard meanwhile")]
async fn what_is_typed_comes_back_to_the_owner() {
    on_the_links_thread(|_links, link| async move {
        let viewer = ready(&link, None).await;
        let guard = viewer.guard.borrow();
        let guard = guard.as_ref().unwrap();
        assert!(guard.room() > 0);
        guard.send(FrameType::Input, 0, 0, b"hello").unwrap();
        viewer.until("the echo", |viewer| viewer.seen.borrow().ends_with(b"hello")).await;
        let large = vec![b'x'; 32 * 1024 + 1];
        assert_eq!(guard.send(FrameType::Input, 0, 5, &large), Err(Refused::TooLarge));
    })
    .await;
}

#[tokio::test]
async fn an_owner_may_close_and_open_channels_from_within_what_it_is_told() {
    on_the_links_thread(|_links, link| async move {
        let other: Rc<RefCell<Option<Rc<Viewer>>>> = Rc::default();
        let on_frame: OnFrame = Box::new({
            let (other, link) = (other.clone(), link.clone());
            move |viewer, frame| {
                if frame.kind == FrameType::Output && other.borrow().is_none() {
                    viewer.guard.replace(None);
                    other.replace(Some(Viewer::of(&link, "cat", None)));
                }
            }
        });
        let viewer = ready(&link, Some(on_frame)).await;
        if let Some(guard) = &*viewer.guard.borrow() {
            guard.send(FrameType::Input, 0, 0, b"x").unwrap();
        }
        viewer.until("its output", |_| other.borrow().is_some()).await;
        let other = other.borrow().clone().unwrap();
        other.until("the other to be open", |viewer| viewer.opened.get() == 1).await;
        assert!(viewer.closed.borrow().is_none(), "who has closed its channel is told nothing");
    })
    .await;
}

#[tokio::test]
#[allow(clippy::await_holding_refcell_ref, reason = "nobody else borrows the guard meanwhile")]
async fn a_full_stream_refuses_input_and_takes_it_again_when_it_has_drained() {
    on_the_links_thread(|_links, link| async move {
        let viewer = ready(&link, None).await;
        let guard = viewer.guard.borrow();
        let guard = guard.as_ref().unwrap();
        // The same bytes again and again: the keeper passes over what it has seen.
        let piece = vec![b'y'; 32 * 1024];
        let refused = (0..1000).find_map(|_| guard.send(FrameType::Input, 0, 0, &piece).err());
        assert_eq!(refused, Some(Refused::Full));
        let info = link.call(Call::Info, DEADLINE).await.unwrap();
        assert!(matches!(info, Reply::Info(_)), "who can wait is asked behind it");
        soon("room", async {
            while guard.send(FrameType::Input, 0, 0, b"y").is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_that_panics_ends_its_link_with_a_reason_and_the_next_one_works() {
    on_the_links_thread(|_links, link| async move {
        let beside = ready(&link, None).await;
        let panics: OnFrame =
            Box::new(|_, frame| assert_ne!(frame.kind, FrameType::Output, "as the test wants it"));
        let viewer = ready(&link, Some(panics)).await;
        // The shell's prompt may have been too much for it already.
        let _ = viewer.guard.borrow().as_ref().unwrap().send(FrameType::Input, 0, 0, b"x");
        for viewer in [&viewer, &beside] {
            viewer.until("the end", |viewer| viewer.closed.borrow().is_some()).await;
            assert!(matches!(&*viewer.closed.borrow(), Some(LinkError::Lost(_))));
            let guard = viewer.guard.borrow();
            assert_eq!(guard.as_ref().unwrap().send(FrameType::Ack, 0, 0, &[]), Err(Refused::NotOpen));
        }
        ready(&link, None).await;
    })
    .await;
}
