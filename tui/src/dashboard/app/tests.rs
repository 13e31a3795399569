//! The whole app, from real keys to the screen: only terminal and server are in memory.

mod keyboard;
mod questions;

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::{SignedDuration, Timestamp};
use lap_platform::client::attach::Command;
use lap_platform::client::{ApiError, ClientError, FeedEvent};
use lap_platform::model::{Change, ChangeKind, Resource, Session, SessionStatus, Unsaved};
use ratatui::Terminal;
use ratatui::backend::{Backend, ClearType, TestBackend, WindowSize};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Size};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::{App, Farewell, FromServer, Input, Options, Outer, Server, TerminalCommand, ToServer, run};
use crate::dashboard::event::{Event, Lists, Reply, Request, Where};
use crate::dashboard::key::Key;
use crate::dashboard::keymap::Keymap;
use crate::dashboard::theme::{ColorDepth, Themes};
use crate::dashboard::view::testing::{agent, harnesses, session};
use crate::panes::PanesConfig;
use crate::term_input::{self, InputEvent};
use crate::unsaved::Tally;

/// A wait that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a person sees, after each frame.
#[derive(Clone, Debug, Default)]
struct Seen {
    text: String,
    frames: usize,
}

/// A terminal in memory that tells what it shows.
struct Watched {
    inner: TestBackend,
    size: watch::Receiver<Size>,
    seen: watch::Sender<Seen>,
}

impl Watched {
    fn follow_size(&mut self) {
        let Size { width, height } = *self.size.borrow();
        self.inner.resize(width, height);
    }
}

impl Backend for Watched {
    type Error = Infallible;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> Result<(), Infallible> {
        self.inner.draw(content)
    }
    fn hide_cursor(&mut self) -> Result<(), Infallible> {
        self.inner.hide_cursor()
    }
    fn show_cursor(&mut self) -> Result<(), Infallible> {
        self.inner.show_cursor()
    }
    fn get_cursor_position(&mut self) -> Result<Position, Infallible> {
        self.inner.get_cursor_position()
    }
    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), Infallible> {
        self.inner.set_cursor_position(position)
    }
    fn clear(&mut self) -> Result<(), Infallible> {
        self.follow_size();
        self.inner.clear()
    }
    fn clear_region(&mut self, kind: ClearType) -> Result<(), Infallible> {
        self.follow_size();
        self.inner.clear_region(kind)
    }
    fn size(&self) -> Result<Size, Infallible> {
        Ok(*self.size.borrow())
    }
    fn window_size(&mut self) -> Result<WindowSize, Infallible> {
        self.inner.window_size()
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        let text = text(self.inner.buffer());
        self.seen.send_modify(|seen| *seen = Seen { text, frames: seen.frames + 1 });
        Ok(())
    }
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    buffer
        .content
        .chunks(width)
        .map(|line| line.iter().map(Cell::symbol).collect::<String>() + "\n")
        .collect()
}

/// A server in memory: what it says is given to it, what it is asked is told.
struct Fake {
    says: mpsc::Receiver<FromServer>,
    asked: mpsc::Sender<ToServer>,
    polls: watch::Sender<usize>,
}

impl Server for Fake {
    async fn next(&mut self) -> FromServer {
        self.polls.send_modify(|polls| *polls += 1);
        match self.says.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    fn ask(&mut self, request: ToServer) {
        self.asked.try_send(request).expect("the test takes what is asked");
    }
}

/// A person before the dashboard, and the server behind it.
struct World {
    input: mpsc::Sender<Input>,
    server: mpsc::Sender<FromServer>,
    asked: mpsc::Receiver<ToServer>,
    seen: watch::Receiver<Seen>,
    polls: watch::Receiver<usize>,
    commands: mpsc::Receiver<TerminalCommand>,
    size: watch::Sender<Size>,
    takes: Takes,
}

/// Whether the terminal takes frames, and who waits for it.
#[derive(Clone)]
struct Takes(Rc<RefCell<(bool, Option<Waker>)>>);

impl Takes {
    fn set(&self, takes: bool) {
        let mut inner = self.0.borrow_mut();
        inner.0 = takes;
        if let Some(waker) = inner.1.take() {
            waker.wake();
        }
    }
}

/// The terminal beside its cells: what it is told is told, and it takes frames or does not.
struct Outside {
    commands: mpsc::Sender<TerminalCommand>,
    takes: Takes,
}

impl Outer for Outside {
    fn command(&mut self, command: TerminalCommand) {
        self.commands.try_send(command).expect("the test takes what the terminal is told");
    }

    fn poll_notice(&mut self, _: &mut Context<'_>) -> Poll<String> {
        Poll::Pending
    }

    fn is_behind(&self) -> bool {
        !self.takes.0.borrow().0
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut takes = self.takes.0.borrow_mut();
        takes.1 = Some(cx.waker().clone());
        if takes.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl World {
    async fn press(&mut self, keys: &str) {
        for text in keys.split_whitespace() {
            let key: Key = text.parse().unwrap();
            let modifiers = if key.ctrl() { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
            let key = term_input::Key::new(key.code(), modifiers);
            self.input.send(Input::Event(InputEvent::Key(key))).await.unwrap();
        }
    }

    async fn say(&mut self, event: Event) {
        self.server.send(FromServer::Event(event)).await.unwrap();
    }

    async fn change(&mut self, id: u64, kind: ChangeKind, session: Session) {
        let resource = Resource::Session(Box::new(session));
        let change = Change { id, at: now(), kind, resource };
        self.say(Event::Feed(FeedEvent::Change(Box::new(change)))).await;
    }

    async fn sees(&mut self, what: &str) {
        self.until(what, |seen| seen.text.contains(what)).await;
    }

    async fn sees_no_more(&mut self, what: &str) {
        self.until(&format!("no {what}"), |seen| !seen.text.contains(what)).await;
    }

    async fn until(&mut self, what: &str, mut holds: impl FnMut(&Seen) -> bool) {
        let found = tokio::time::timeout(PATIENCE, self.seen.wait_for(|seen| holds(seen))).await.is_ok();
        assert!(found, "{what}: not on the screen:\n{}", self.seen.borrow().text);
    }

    /// The next thing the server is asked, terminals aside.
    async fn asked(&mut self) -> ToServer {
        loop {
            let asked = tokio::time::timeout(PATIENCE, self.asked.recv()).await;
            match asked.expect("the server is asked something").unwrap() {
                ToServer::Attach(_) => {}
                other => return other,
            }
        }
    }

    async fn asked_request(&mut self) -> (u64, Request) {
        match self.asked().await {
            ToServer::Request(task, request) => (task, request),
            other => panic!("{other:?}"),
        }
    }

    /// Answers what a question asks for while it is read.
    async fn tells_unsaved(&mut self) {
        let (task, request) = self.asked_request().await;
        let Request::Unsaved(ending, _) = request else { panic!("{request:?}") };
        let unsaved = Unsaved { files: 3, commits: 1 };
        let reply = Reply::Unsaved(ending, Tally { unsaved, ..Tally::default() });
        self.say(Event::Finished(task, Box::new(Ok(reply)))).await;
    }

    async fn connect(&mut self, lists: Lists) {
        self.say(Event::Feed(FeedEvent::Connected { resumed: false })).await;
        assert!(matches!(self.asked().await, ToServer::Load));
        self.say(Event::Loaded(Box::new(Ok(lists)))).await;
        self.sees("● connected").await;
    }

    async fn click(&mut self, what: &str) {
        self.sees(what).await;
        let text = self.seen.borrow().text.clone();
        let (row, line) = text.lines().enumerate().find(|(_, line)| line.contains(what)).unwrap();
        let column = line.find(what).map(|at| line[..at].chars().count()).unwrap();
        let mouse = MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column: u16::try_from(column).unwrap(),
            row: u16::try_from(row).unwrap(),
            modifiers: KeyModifiers::NONE,
        };
        self.input.send(Input::Event(InputEvent::Mouse(mouse))).await.unwrap();
    }
}

fn start() -> Timestamp {
    Timestamp::from_second(1_795_456_800).unwrap()
}

fn now() -> Timestamp {
    start()
}

fn lists() -> Lists {
    let agents = vec![agent(1, "backend", "claude-code", "opus"), agent(2, "shell", "shell", "default")];
    let sessions = vec![session(10, 1, "login page", "ready", 12), session(11, 2, "scratch", "ready", 70)];
    Lists { agents, sessions, harnesses: harnesses() }
}

/// Runs the app while the script plays the person and the server; ends when the script does, or gives what the app
/// leaves behind when the script has it quit.
async fn play(script: impl AsyncFnOnce(&mut World)) -> Option<Farewell> {
    let (input, inputs) = mpsc::channel(64);
    let (server, says) = mpsc::channel(64);
    let (asked_tx, asked) = mpsc::channel(64);
    let (seen_tx, seen) = watch::channel(Seen::default());
    let (polls_tx, polls) = watch::channel(0);
    let (command_tx, commands) = mpsc::channel(64);
    let (size, size_rx) = watch::channel(Size::new(120, 36));
    let takes = Takes(Rc::new(RefCell::new((true, None))));
    let mut world = World { input, server, asked, seen, polls, commands, size, takes: takes.clone() };
    let began = Instant::now();
    let options = Options {
        context: "local".into(),
        address: "http://127.0.0.1:4180".into(),
        keymap: Keymap::default(),
        theme: Box::new(|| Themes::default().theme("dark", ColorDepth::Ansi)),
        panes: PanesConfig::default(),
        warnings: Vec::new(),
        open: None,
        own: None,
        again: None,
    };
    let clock = move || {
        let passed = SignedDuration::try_from(began.elapsed()).unwrap();
        start().checked_add(passed).unwrap()
    };
    let mut app = App::new(options, Size::new(120, 36), Box::new(clock));
    let backend = Watched { inner: TestBackend::new(120, 36), size: size_rx, seen: seen_tx };
    let mut terminal = Terminal::new(backend).unwrap();
    let mut fake = Fake { says, asked: asked_tx, polls: polls_tx };
    let outer = Outside { commands: command_tx, takes };
    let running = run(&mut app, &mut terminal, &mut fake, ReceiverStream::new(inputs), outer);
    let script = script(&mut world);
    tokio::pin!(running, script);
    tokio::select! {
        () = &mut script => None,
        left = &mut running => Some(left.unwrap()),
    }
}

fn refused(status: u16, message: &str) -> ClientError {
    ApiError { status, message: message.into(), fields: Vec::new(), request_id: None, retry_after: None }
        .into()
}

#[tokio::test]
async fn what_changes_on_the_server_changes_on_the_screen() {
    play(async |world| {
        world.sees("Connecting").await;
        world.connect(lists()).await;
        world.sees("login page").await;
        world.change(1, ChangeKind::Created, session(12, 1, "a new one", "creating", 0)).await;
        world.sees("a new one").await;
        let mut gone = session(12, 1, "a new one", "dead", 0);
        gone.status = SessionStatus::Dead;
        world.change(2, ChangeKind::Deleted, gone).await;
        world.sees_no_more("a new one").await;
    })
    .await;
}

#[tokio::test]
async fn a_terminal_that_takes_nothing_gets_one_frame_when_it_does_again() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("login page").await;
        world.takes.set(false);
        let (frames, polls) = (world.seen.borrow().frames, *world.polls.borrow());
        for (id, title) in [(1, "first"), (2, "second"), (3, "third")] {
            world.change(id, ChangeKind::Updated, session(10, 1, title, "ready", 12)).await;
        }
        // The server is heard all the while: each change has been taken, and the next is waited for.
        world.polls.wait_for(|now| *now >= polls + 3).await.unwrap();
        world.press("down").await;
        assert_eq!(world.seen.borrow().frames, frames);
        world.takes.set(true);
        world.sees("third").await;
        assert_eq!(world.seen.borrow().frames, frames + 1);
        world.takes.set(false);
        world.press("q").await;
        // It can be left all the same.
        std::future::pending::<()>().await;
    })
    .await
    .expect("left");
}

#[tokio::test]
async fn on_first_use_one_key_makes_an_agent_and_opens_its_session() {
    play(async |world| {
        world.connect(Lists { harnesses: harnesses(), ..Lists::default() }).await;
        world.sees("Start your first session").await;
        world.press("1").await;
        let (task, request) = world.asked_request().await;
        let Request::CreateAgentAndSession(spec) = request else { panic!("{request:?}") };
        assert_eq!(spec.harness_id.as_deref(), Some("shell"));
        let reply = Reply::Started {
            agent: Some(Box::new(agent(5, "shell", "shell", "default").agent)),
            session: Box::new(session(50, 5, "", "creating", 0)),
            open: Some(Where::Here),
        };
        world.say(Event::Finished(task, Box::new(Ok(reply)))).await;
        world.sees("◌").await;
        world.change(9, ChangeKind::Updated, session(50, 5, "", "ready", 0)).await;
        // The lists give way to its terminal.
        world.sees_no_more("Sessions").await;
    })
    .await;
}

#[tokio::test]
async fn a_form_shows_what_the_server_finds_wrong_and_keeps_what_was_typed() {
    play(async |world| {
        world.connect(lists()).await;
        world.press("n h i enter").await;
        let (task, request) = world.asked_request().await;
        let Request::CreateSession(_, request, open) = request else { panic!("{request:?}") };
        assert_eq!((request.title.as_deref(), open), (Some("hi"), Some(Where::Here)));
        world.say(Event::Finished(task, Box::new(Err(refused(409, "5 of 5 sessions are live"))))).await;
        world.sees("5 of 5 sessions are live").await;
        world.sees("hi").await;
        world.press("esc").await;
        world.sees_no_more("5 of 5").await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_connection_is_told_and_the_lists_are_read_again_when_it_is_back() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("connected").await;
        let reason = ClientError::Unreachable { url: "http://x".into(), reason: "connection refused".into() };
        world.say(Event::Feed(FeedEvent::Lost { reason, retry_in: Duration::from_secs(9) })).await;
        world.sees("Not connected: connection refused").await;
        world.sees("login page").await;
        // Nothing is asked of a server that is not there.
        world.press("x").await;
        world.sees("nothing can be changed now").await;
        world.press("ctrl-r").await;
        assert!(matches!(world.asked().await, ToServer::RetryNow));
        world.connect(Lists { sessions: vec![session(10, 1, "still here", "ready", 3)], ..lists() }).await;
        world.sees("still here").await;
        world.sees_no_more("Not connected").await;
    })
    .await;
}

#[tokio::test]
async fn a_terminal_is_opened_for_the_selected_session_and_for_no_other() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("login page").await;
        world.press("down").await;
        world.press("enter").await;
        let scratch = session(11, 2, "scratch", "ready", 70).id.to_string();
        let opened = async {
            loop {
                let asked = world.asked.recv().await.unwrap();
                if let ToServer::Attach(Command::Open { spec, .. }) = asked
                    && spec.input.is_some()
                {
                    return spec.session;
                }
            }
        };
        let opened = tokio::time::timeout(PATIENCE, opened).await.unwrap();
        assert_eq!(opened, scratch);
    })
    .await;
}

#[tokio::test]
async fn the_mouse_selects_opens_and_presses_hints() {
    play(async |world| {
        world.connect(lists()).await;
        world.click("scratch").await;
        world.sees("╭─ scratch").await;
        world.click("new agent").await;
        world.sees("Harness").await;
        world.press("esc").await;
        world.click("Agents").await;
        world.sees("SESSIONS").await;
    })
    .await;
}

#[tokio::test]
async fn quitting_says_what_keeps_running() {
    let left = play(async |world| {
        world.connect(lists()).await;
        world.sees("login page").await;
        world.press("q").await;
        std::future::pending().await
    })
    .await;
    let text = left.unwrap().to_string();
    assert_eq!(text, "2 sessions keep running: `lap` shows them again, `lap down` ends them.");
}

#[tokio::test]
async fn a_flood_of_changes_is_drawn_in_few_frames_and_ends_right() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("login page").await;
        let before = world.seen.borrow().frames;
        for n in 0..2000 {
            let title = format!("step {n}");
            world.change(n, ChangeKind::Updated, session(10, 1, &title, "ready", 12)).await;
        }
        world.sees("step 1999").await;
        let frames = world.seen.borrow().frames - before;
        assert!(frames < 1000, "{frames} frames for 2000 changes");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_dashboard_draws_nothing_and_wakes_nobody() {
    play(async |world| {
        // Nothing on it is younger than an hour: no age changes within the next minutes.
        let mut lists = lists();
        lists.sessions = vec![session(11, 2, "scratch", "ready", 70)];
        world.connect(lists).await;
        world.sees("scratch").await;
        let frames = world.seen.borrow().frames;
        let polls = *world.polls.borrow();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(world.seen.borrow().frames, frames);
        assert_eq!(*world.polls.borrow(), polls);
        // It is not dead, either.
        world.press("/").await;
        world.sees("keep").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn time_alone_changes_ages_and_takes_messages_away() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("12m").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        world.sees("13m").await;
        world.press("w").await;
        world.sees("No terminal is open").await;
        world.sees_no_more("No terminal is open").await;
    })
    .await;
}

#[tokio::test]
async fn a_new_size_is_drawn_at_once_however_small() {
    play(async |world| {
        world.connect(lists()).await;
        for (cols, rows) in [(80, 24), (1, 1), (19, 5), (40, 10), (250, 70), (120, 36)] {
            world.size.send_replace(Size::new(cols, rows));
            world.input.send(Input::Resize(Size::new(cols, rows))).await.unwrap();
            let cells = usize::from(cols + 1) * usize::from(rows);
            world.until("the new size", |seen| seen.text.chars().count() == cells).await;
        }
        world.press("ctrl-l ?").await;
        world.sees("type to search").await;
        let mouse = InputEvent::Key(term_input::Key::new(KeyCode::Esc, KeyModifiers::NONE));
        world.input.send(Input::Event(mouse)).await.unwrap();
        world.sees_no_more("type to search").await;
        assert!(world.commands.try_recv().is_ok(), "the cursor has been given its shape");
    })
    .await;
}

#[tokio::test]
async fn beside_a_terminal_a_new_session_can_be_started_and_opens_there() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("login page").await;
        world.press("enter").await;
        world.sees("every other key goes to the program").await;
        world.press("ctrl-] |").await;
        world.sees("Which session?").await;
        world.press("n e w s h e l l enter").await;
        let (task, request) = world.asked_request().await;
        let Request::CreateSession(agent, _, place) = request else { panic!("{request:?}") };
        assert_eq!((agent, place), (lists().agents[1].agent.id, Some(Where::Right)));
        let fresh = session(60, 2, "fresh", "ready", 0);
        let reply = Reply::Started { agent: None, session: Box::new(fresh), open: place };
        world.say(Event::Finished(task, Box::new(Ok(reply)))).await;
        world.sees("shell · fresh").await;
        world.sees("backend · login page").await;
    })
    .await;
}
