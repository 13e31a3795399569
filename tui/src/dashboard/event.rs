//! What happens to the dashboard, and what it wants done.

use crossterm::event::{MouseButton, MouseEventKind};
use lap_platform::client::{ClientError, FeedEvent};
use lap_platform::model::{
    Agent, AgentId, AgentRow, AgentSpec, CreateSession, Diagnosis, Harness, Session, SessionId,
};
use ratatui::layout::Size;

use super::actions::Action;
use super::key::Key;
use super::model::{AgentSort, Ending, PanesStatus, SessionSort, Tab};
use crate::unsaved::Tally;

/// Something has happened.
#[derive(Debug)]
pub enum Event {
    /// A key was pressed.
    Key(Key),
    /// A text was pasted.
    Paste(String),
    /// The mouse, and what was under it.
    Mouse(MouseEventKind, Option<Hit>),
    /// The same place was clicked twice.
    DoubleClick(Hit),
    /// The screen has another size.
    Resize(Size),
    /// The change feed says something.
    Feed(FeedEvent),
    /// A part of the lists has been read, before all of them have.
    Page(Box<Lists>),
    /// The lists have been read.
    Loaded(Box<Result<Lists, ClientError>>),
    /// What an agent can be has been read.
    Harnesses(Vec<Harness>),
    /// A request has its answer.
    Finished(u64, Box<Result<Reply, ClientError>>),
    /// The server is not to be found, for this reason.
    Unfound(String),
    /// The server had died and was started again.
    ServerStarted,
    /// The server is at another address now.
    Moved(String),
    /// The panes say something for the person to read.
    Notice(String),
    /// What is open in panes has changed.
    PanesChanged(PanesStatus),
    /// The person leaves the panes, or closed the last one.
    PanesLeft,
    /// The person wants to choose a session for a new pane there.
    Choose(Where),
    /// The person wants the session of a pane started again.
    RestartPane(SessionId),
    /// The time for which [`crate::dashboard::update::next_wake`] asked has come.
    Tick,
}

/// Everything a dashboard begins with.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// All agents.
    pub agents: Vec<AgentRow>,
    /// All sessions.
    pub sessions: Vec<Session>,
    /// What an agent can be, where that is known by then; else it comes by [`Event::Harnesses`].
    pub harnesses: Vec<Harness>,
}

/// Something on the screen that can be pointed at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hit {
    /// A row of the list, by its place in it.
    Row(usize),
    /// The name of a list.
    Tab(Tab),
    /// A column of the list of agents.
    AgentColumn(AgentSort),
    /// A column of the list of sessions.
    SessionColumn(SessionSort),
    /// A hint for an action.
    Hint(Action),
    /// A field of the form.
    Field(usize),
    /// The button that goes on.
    Submit,
    /// The button that goes back.
    Cancel,
    /// A line of the palette.
    PaletteItem(usize),
    /// A message.
    Toast(usize),
    /// The offer of a harness, by its place among those that can be started.
    Offer(usize),
    /// The preview.
    Preview,
    /// Inside what lies over the lists, but nothing in particular.
    Layer,
}

/// A left click.
pub const CLICK: MouseEventKind = MouseEventKind::Down(MouseButton::Left);

/// Something to be done outside.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Read agents, sessions and harnesses; answered by [`Event::Loaded`] and [`Event::Harnesses`].
    Load,
    /// Ask the server for something; answered by [`Event::Finished`] with the same number.
    Request(u64, Request),
    /// Do not wait any longer for the change feed.
    RetryNow,
    /// Show a session's terminal in a pane.
    Open(SessionId, Where),
    /// A session has a new terminal: show it where its old one was.
    Reopen(SessionId),
    /// Show the panes.
    ShowPanes,
    /// Draw every cell again.
    Redraw,
    /// Read the theme again.
    ReloadTheme,
    /// Stop as a job of the shell.
    Suspend,
    /// Leave.
    Quit,
}

/// Where a terminal is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where {
    /// In its pane if it has one, else in place of the panes there are.
    Here,
    /// Beside the panes there are.
    Right,
    /// Below the panes there are.
    Below,
}

/// What a server is asked for.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// An agent.
    CreateAgent(Box<AgentSpec>),
    /// An agent and at once a session of it, to be opened when it can be.
    CreateAgentAndSession(Box<AgentSpec>),
    /// A session, to be opened there when it can be.
    CreateSession(AgentId, Box<CreateSession>, Option<Where>),
    /// Another title.
    RenameSession(SessionId, Option<String>),
    /// Another name.
    RenameAgent(AgentId, String),
    /// The end of a session.
    Stop(SessionId),
    /// A new sandbox for a session.
    Restart(SessionId),
    /// The end of an agent and its sessions.
    DeleteAgent(AgentId),
    /// What is known about a session.
    Diagnose(SessionId),
    /// How much work of these sessions is nowhere else: for the question whether this is to end.
    Unsaved(Ending, Vec<SessionId>),
}

/// What came of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// The agent as it is now.
    Agent(Box<Agent>),
    /// The session as it is now.
    Session(Box<Session>),
    /// The session as it is now, which is new.
    Started {
        /// Its agent, if that is new too.
        agent: Option<Box<Agent>>,
        /// The session.
        session: Box<Session>,
        /// Where it is to be opened when it can be.
        open: Option<Where>,
    },
    /// It is gone.
    Deleted(AgentId),
    /// What is known about a session.
    Diagnosis(Box<Diagnosis>),
    /// How much work is nowhere else that belongs to what may end.
    Unsaved(Ending, Tally),
}
