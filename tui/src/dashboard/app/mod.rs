//! The dashboard at work: the model, the panes and the last frame together, between a terminal and a server.
//!
//! [`App`] is synchronous: what happens goes in, what is to be done outside comes out ([`Outgoing`]), and a frame is
//! drawn when it is asked for one. [`run`] is the loop around it, generic over backend and server, so that the whole
//! runs under test.

mod input;
mod lists;
mod live;
mod run;
mod server;
mod start;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use lap_platform::client::attach;
use lap_platform::model::SessionId;
use lap_wire::control::Mode;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::layout::{Position, Rect, Size};
use tokio::time::Instant;

use super::event::{Effect, Event, Hit, Where};
use super::keymap::Keymap;
use super::model::{Awaited, Model, PanesStatus, Screen, session_name};
use super::theme::Theme;
use super::update::{next_wake, update};
use super::view::{self, Layout, Shown};
use crate::panes::{self, CopiedBy, PaneSession, PaneStyle, Panes, PanesConfig, Place, Preview, ShownCursor};

pub use input::Input;
pub(crate) use live::endpoint;
pub use live::{Connection, Found, LiveServer, Locate};
pub use run::{Farewell, Outer, run};
pub use server::{FromServer, Server, ToServer};
pub use start::{DashboardError, Start, start};

/// Something to be done outside of the app.
#[derive(Debug)]
pub enum Outgoing {
    /// By the server's side.
    Server(ToServer),
    /// By the terminal.
    Terminal(TerminalCommand),
    /// The dashboard is to be left.
    Quit,
}

/// What a terminal is told beside its cells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TerminalCommand {
    /// Put this into the clipboard (OSC 52).
    Copy(String, CopiedBy),
    /// Ring the bell.
    Bell,
    /// Write keys like that.
    Keyboard(panes::OuterKeys),
    /// (Do not) report the mouse's motion without a button.
    MouseMotion(bool),
    /// Show the cursor like that.
    CursorShape(crossterm::cursor::SetCursorStyle),
    /// Ctrl-Z: stop the job lap belongs to, which comes back as [`Input::Stop`].
    StopJob,
    /// Give the terminal back and stop until somebody lets lap go on.
    Suspend,
    /// Forget what is on the screen: the next frame draws every cell.
    Redraw,
}

/// Tells the time. Tests have one they move.
pub type Clock = Box<dyn Fn() -> Timestamp + Send>;

/// Reads the theme, now and whenever it is asked to; also says what is wrong with it.
pub type ReadTheme = Box<dyn Fn() -> (Theme, Vec<String>) + Send>;

/// What a dashboard begins with.
pub struct Options {
    /// The server's name in the configuration.
    pub context: String,
    /// Its address.
    pub address: String,
    /// Which key does what.
    pub keymap: Keymap,
    /// How it looks.
    pub theme: ReadTheme,
    /// How panes behave.
    pub panes: PanesConfig,
    /// Told at the start: what is wrong with the configuration.
    pub warnings: Vec<String>,
    /// A session to open as soon as it can be.
    pub open: Option<SessionId>,
    /// The session that the dashboard itself runs in.
    pub own: Option<SessionId>,
    /// The command that shows this dashboard again, where `lap` alone may not.
    pub again: Option<String>,
}

/// The dashboard between a terminal and a server.
pub struct App {
    model: Model,
    theme: Theme,
    read_theme: ReadTheme,
    pane_style: PaneStyle,
    panes: Panes,
    depth: panes::ColorDepth,
    preview: Option<Preview>,
    layout: Layout,
    shown: Shown,
    clock: Clock,
    outgoing: Vec<Outgoing>,
    clicks: input::Clicks,
    cursor_shape: Option<String>,
    again: Option<String>,
    dirty: bool,
}

impl App {
    /// A dashboard that has not heard of its server yet.
    #[must_use]
    pub fn new(options: Options, size: Size, clock: Clock) -> App {
        let mut model = Model::new(&options.context, &options.address, options.keymap, size, clock());
        let (theme, faults) = (options.theme)();
        for warning in options.warnings.into_iter().chain(faults) {
            model.toasts.push(super::model::ToastKind::Warning, warning, model.now);
        }
        model.own = options.own;
        model.awaited =
            options.open.map(|session| Awaited { session, place: Where::Here, screen: Screen::Lists });
        let depth = options.panes.depth;
        let panes = Panes::new(options.panes);
        let pane_style = pane_style(&theme);
        let mut app = App {
            model,
            theme,
            read_theme: options.theme,
            pane_style,
            panes,
            depth,
            preview: None,
            layout: Layout::default(),
            shown: Shown::default(),
            clock,
            outgoing: Vec::new(),
            clicks: input::Clicks::default(),
            cursor_shape: None,
            again: options.again,
            dirty: true,
        };
        let commands = Panes::commands();
        app.model.panes = PanesStatus { commands, prefix: app.panes.prefix_name(), ..PanesStatus::default() };
        app.settle();
        app
    }

    /// The state, to look at.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Takes something that happened.
    pub fn event(&mut self, event: Event) {
        self.model.now = (self.clock)();
        self.dirty = true;
        let screen = self.model.screen;
        for effect in update(&mut self.model, event) {
            self.effect(effect);
        }
        if self.model.screen != screen {
            let effects = self.panes.set_shown(self.model.screen == Screen::Panes);
            self.pane_effects(effects);
        }
    }

    /// Takes what the attach connection says.
    pub fn attach(&mut self, event: &attach::Event) {
        let now = Instant::now().into_std();
        if let Some(preview) = &mut self.preview {
            let effects = preview.handle(event, now);
            self.pane_effects(effects);
        }
        let effects = self.panes.handle(panes::PaneEvent::Attach(event.clone()), now);
        self.pane_effects(effects);
    }

    /// The time for which [`App::deadline`] asked has come.
    pub fn tick(&mut self) {
        let now = Instant::now().into_std();
        if self.panes.deadline().is_some_and(|due| due <= now) {
            let effects = self.panes.handle(panes::PaneEvent::Tick, now);
            self.pane_effects(effects);
        }
        let time = (self.clock)();
        if next_wake(&self.model, self.layout.rows()).is_some_and(|due| due <= time) {
            self.event(Event::Tick);
        }
    }

    /// When [`App::tick`] is due if nothing happens before. None while time alone changes nothing on the screen.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let wake = next_wake(&self.model, self.layout.rows()).map(|due| {
            let wait = due.duration_since((self.clock)());
            now + std::time::Duration::try_from(wait).unwrap_or_default()
        });
        let preview = self.preview.as_ref().and_then(Preview::deadline);
        let terminals = [self.panes.deadline(), preview].into_iter().flatten().map(Instant::from_std);
        terminals.chain(wake).min()
    }

    /// What is to be done outside, in order.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Brings everything that follows from the model up to date; to be called before waiting. Tells whether a frame is
    /// to be drawn.
    pub fn settle(&mut self) -> bool {
        self.tell_panes();
        if self.dirty {
            self.layout = Layout::of(&self.model, Rect::from((Position::ORIGIN, self.model.size)));
            self.model.settle(self.layout.rows());
            // The first selection makes room for the detail.
            self.layout = Layout::of(&self.model, Rect::from((Position::ORIGIN, self.model.size)));
            self.model.settle(self.layout.rows());
            if let Some(area) = self.layout.panes {
                let effects = self.panes.set_area(area);
                self.pane_effects(effects);
            }
            self.follow_selection();
        }
        let now = Instant::now().into_std();
        let panes = self.model.screen == Screen::Panes && self.panes.take_dirty();
        let preview = self.preview.as_mut().is_some_and(|preview| preview.take_dirty(now));
        self.dirty |= panes || (preview && self.layout.preview.is_some());
        self.dirty
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// What the backend says: the terminal is gone.
    pub fn render<B: Backend>(&mut self, terminal: &mut Terminal<B>) -> Result<(), B::Error> {
        // The terminal may have another size by now than the last event said; what is drawn outside of it is a panic.
        terminal.autoresize()?;
        let size = terminal.get_frame().area().as_size();
        if size != self.model.size {
            self.event(Event::Resize(size));
            self.settle();
        }
        self.dirty = false;
        let mut cursor: Option<ShownCursor> = None;
        terminal.draw(|frame| {
            let area = frame.area();
            let buf = frame.buffer_mut();
            buf.set_style(area, self.theme.text);
            if self.layout.panes.is_some() {
                cursor = self.panes.render(buf, &self.pane_style);
            }
            if let (Some(area), Some(preview)) = (self.layout.preview, &self.preview) {
                preview.render(area, buf, &self.pane_style);
            }
            self.shown = view::draw(&self.model, &self.theme, buf);
            // What lies over the panes has the cursor, or nobody.
            if self.model.layer.is_some() {
                cursor = None;
            }
            let place = self.shown.cursor.or(cursor.map(|cursor| cursor.position));
            if let Some(place) = place {
                frame.set_cursor_position(place);
            }
        })?;
        self.shape_cursor(cursor);
        Ok(())
    }

    fn shape_cursor(&mut self, cursor: Option<ShownCursor>) {
        let shape = cursor.map_or(crossterm::cursor::SetCursorStyle::DefaultUserShape, |cursor| cursor.shape);
        // The type has no equality; its command does.
        let name = shape.to_string();
        if self.cursor_shape.as_ref() != Some(&name) {
            self.cursor_shape = Some(name);
            self.outgoing.push(Outgoing::Terminal(TerminalCommand::CursorShape(shape)));
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Load => self.ask(ToServer::Load),
            Effect::Request(task, request) => self.ask(ToServer::Request(task, request)),
            Effect::RetryNow => self.ask(ToServer::RetryNow),
            Effect::ReloadTheme => self.reload_theme(),
            Effect::Redraw => self.outgoing.push(Outgoing::Terminal(TerminalCommand::Redraw)),
            Effect::Suspend => self.outgoing.push(Outgoing::Terminal(TerminalCommand::StopJob)),
            Effect::Quit => self.outgoing.push(Outgoing::Quit),
            Effect::ShowPanes => {}
            Effect::Reopen(id) => {
                let id = id.to_string();
                let effects = self.panes.reopen(&id);
                self.pane_effects(effects);
                // What follows the selection opens it again.
                if let Some(preview) = self.preview.take_if(|preview| preview.session().id == id) {
                    let effects = preview.close();
                    self.pane_effects(effects);
                    self.follow_selection();
                }
            }
            Effect::Open(id, place) => {
                let session = self.pane_session(id);
                let place = match place {
                    Where::Here if self.panes.is_empty() => Place::Anywhere,
                    Where::Here => Place::Here,
                    Where::Right => Place::Right,
                    Where::Below => Place::Down,
                };
                let effects = self.panes.open(session, Mode::Interact, place);
                self.pane_effects(effects);
            }
        }
    }

    fn reload_theme(&mut self) {
        let (theme, faults) = (self.read_theme)();
        self.pane_style = pane_style(&theme);
        let done = format!("Theme {} read again.", theme.name);
        self.theme = theme;
        let (kind, texts) = if faults.is_empty() {
            (super::model::ToastKind::Info, vec![done])
        } else {
            (super::model::ToastKind::Warning, faults)
        };
        for text in texts {
            self.model.toasts.push(kind, text, self.model.now);
        }
    }

    fn pane_session(&self, id: SessionId) -> PaneSession {
        let name = match self.model.sessions.get(&id) {
            Some(session) => {
                format!("{} · {}", self.model.agent_name(session.agent_id), session_name(session))
            }
            None => id.to_string(),
        };
        PaneSession { id: id.to_string(), name }
    }

    fn pane_effects(&mut self, effects: Vec<panes::Effect>) {
        let terminal = |command| Outgoing::Terminal(command);
        for effect in effects {
            match effect {
                panes::Effect::Attach(command) => self.ask(ToServer::Attach(command)),
                panes::Effect::Copy(text, by) => {
                    self.outgoing.push(terminal(TerminalCommand::Copy(text, by)))
                }
                panes::Effect::Bell => self.outgoing.push(terminal(TerminalCommand::Bell)),
                panes::Effect::Keyboard(keys) => {
                    self.outgoing.push(terminal(TerminalCommand::Keyboard(keys)));
                }
                panes::Effect::MouseMotion(on) => {
                    self.outgoing.push(terminal(TerminalCommand::MouseMotion(on)));
                }
                panes::Effect::Notice(text) => self.event(Event::Notice(text)),
                panes::Effect::Choose(place) => {
                    let place = match place {
                        Place::Right => Where::Right,
                        Place::Down => Where::Below,
                        Place::Here | Place::Anywhere => Where::Here,
                    };
                    self.event(Event::Choose(place));
                }
                panes::Effect::Restart(session) => {
                    if let Ok(id) = session.id.parse() {
                        self.event(Event::RestartPane(id));
                    }
                }
                panes::Effect::Reconnect => self.ask(ToServer::RetryNow),
                panes::Effect::Leave | panes::Effect::Empty => self.event(Event::PanesLeft),
            }
        }
    }

    /// What the dashboard shows of the panes around them.
    fn tell_panes(&mut self) {
        let sessions = self.panes.sessions();
        let status = PanesStatus {
            sessions: sessions.iter().filter_map(|session| session.id.parse().ok()).collect(),
            focused: self.panes.focused().map(|session| session.name.clone()),
            prefix: self.panes.prefix_name(),
            hints: self.panes.hints(),
            commands: std::mem::take(&mut self.model.panes.commands),
        };
        let same = PanesStatus { commands: Vec::new(), ..status.clone() } == self.model.panes;
        self.model.panes.commands.clone_from(&status.commands);
        if !same {
            self.event(Event::PanesChanged(status));
        }
    }

    /// Shows the selected session's terminal in the preview, while there is one.
    fn follow_selection(&mut self) {
        let wanted = match (self.layout.preview, self.model.previewed()) {
            (Some(_), Some(session)) => Some(self.pane_session(session.id)),
            _ => None,
        };
        self.model.in_preview = match (self.layout.preview, self.model.previewed()) {
            (Some(_), Some(session)) => Some(session.id),
            _ => None,
        };
        if self.preview.as_ref().map(|preview| &preview.session().id)
            == wanted.as_ref().map(|session| &session.id)
        {
            return;
        }
        if let Some(preview) = self.preview.take() {
            let effects = preview.close();
            self.pane_effects(effects);
        }
        if let Some(session) = wanted {
            let (preview, effects) = Preview::open(session, self.depth);
            self.preview = Some(preview);
            self.pane_effects(effects);
        }
    }

    fn ask(&mut self, request: ToServer) {
        self.outgoing.push(Outgoing::Server(request));
    }

    /// What was at that place in the last frame.
    fn hit(&self, position: Position) -> Option<Hit> {
        self.shown.at(position)
    }
}

fn pane_style(theme: &Theme) -> PaneStyle {
    PaneStyle {
        border: theme.border,
        border_focused: theme.border_focus,
        title: theme.dim,
        title_focused: theme.accent,
        note: theme.dim,
        warning: theme.attention,
        outside: theme.dim,
        selection: theme.selection,
        found: theme.matched,
    }
}
