//! The panes together: which there are, where, which has the keyboard.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lap_platform::client::attach::{ChannelEvent, Event, Link};
use lap_wire::control::{Mode, Size};
use ratatui::layout::Rect;

use super::bindings;
use super::layout::{Axis, Layout, PaneId, Separator};
use super::look::Look;
use super::pane::{State, Viewed};
use super::render::Painted;
use super::types::{Effect, OuterKeys, PaneEvent, PaneSession, PanesConfig, Place};
use crate::term_input::Held;

/// Scrollback of all panes together, in bytes; with many panes each gets less than its own limit.
const SCROLLBACK_OF_ALL: usize = 128 << 20;

/// A pane: a terminal, and how it is looked at.
pub(super) struct Pane {
    pub(super) viewed: Viewed,
    pub(super) look: Option<Look>,
    pub(super) painted: RefCell<Painted>,
}

/// What the connection is doing, while it is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// Tried again at this time.
    Until(Instant, String),
    /// For good.
    Refused(String),
}

/// Where keys go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keys {
    /// To the program.
    Program,
    /// The next one is ours.
    Prefix,
    /// Keys that resize go on doing so.
    Resizing,
}

/// Several live terminals.
pub struct Panes {
    pub(super) config: PanesConfig,
    pub(super) area: Rect,
    pub(super) panes: BTreeMap<PaneId, Pane>,
    pub(super) layout: Option<Layout>,
    pub(super) focus: PaneId,
    pub(super) zoomed: bool,
    pub(super) keys: Keys,
    pub(super) broken: Option<Broken>,
    /// What was copied last, for prefix p.
    pub(super) copied: String,
    /// The line the mouse is moving.
    pub(super) dragged: Option<Separator>,
    /// The pane the mouse is selecting in.
    pub(super) selecting: Option<PaneId>,
    pub(super) now: Instant,
    shown: bool,
    /// Whether the outer terminal's window has the keyboard.
    outer_focus: bool,
    /// The pane whose program was told that it has the keyboard.
    told_focus: Option<PaneId>,
    /// Keys that are down, and the panes whose programs know.
    pub(super) held: Held<PaneId>,
    keyboard: Option<OuterKeys>,
    motion: bool,
    next: u32,
    dirty: bool,
}

impl Panes {
    /// None yet.
    #[must_use]
    pub fn new(config: PanesConfig) -> Panes {
        Panes {
            config,
            area: Rect::default(),
            panes: BTreeMap::new(),
            layout: None,
            focus: PaneId(0),
            zoomed: false,
            keys: Keys::Program,
            broken: None,
            copied: String::new(),
            dragged: None,
            selecting: None,
            now: Instant::now(),
            shown: true,
            outer_focus: true,
            told_focus: None,
            held: Held::default(),
            keyboard: None,
            motion: false,
            next: 0,
            dirty: true,
        }
    }

    /// Shows a session in a new pane, which gets the focus. The channel it is shown over is opened by the effects.
    pub fn open(&mut self, session: PaneSession, mode: Mode, place: Place) -> Vec<Effect> {
        let mut effects = Vec::new();
        let id = PaneId(self.next);
        self.next += 1;
        match (&mut self.layout, place) {
            (None, _) => self.layout = Some(Layout::new(id)),
            (Some(layout), Place::Right) => layout.split(self.focus, Axis::Columns, id),
            (Some(layout), Place::Down) => layout.split(self.focus, Axis::Rows, id),
            (Some(layout), Place::Here) => {
                layout.replace(self.focus, id);
                effects.extend(self.panes.remove(&self.focus).map(|pane| pane.viewed.close()));
            }
            (Some(layout), Place::Anywhere) => {
                let places = layout.places(self.area);
                let largest =
                    places.iter().max_by_key(|(_, room)| u32::from(room.width) * u32::from(room.height));
                if let Some((pane, room)) = largest {
                    // Cells are about twice as high as wide.
                    let axis =
                        if room.width > room.height.saturating_mul(2) { Axis::Columns } else { Axis::Rows };
                    layout.split(*pane, axis, id);
                }
            }
        }
        self.focus = id;
        self.zoomed = false;
        let size = self.content(id).and_then(|room| Size::checked(room.width, room.height));
        let scrollback = self.config.scrollback.min(SCROLLBACK_OF_ALL / (self.panes.len() + 1));
        let (viewed, open) = Viewed::open(session, mode, size, scrollback, self.config.colors);
        effects.push(open);
        self.panes.insert(id, Pane { viewed, look: None, painted: RefCell::default() });
        self.arrange(&mut effects);
        self.refocus(&mut effects);
        effects
    }

    /// A session has a new terminal: it is shown in the panes whose old one is no more.
    pub fn reopen(&mut self, session: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        let over = |pane: &Pane| pane.viewed.session.id == session && !pane.viewed.has_program();
        let ids: Vec<PaneId> = self.panes.iter().filter(|(_, pane)| over(pane)).map(|(id, _)| *id).collect();
        let scrollback = self.config.scrollback.min(SCROLLBACK_OF_ALL / self.panes.len().max(1));
        for id in ids {
            let size = self.content(id).and_then(|room| Size::checked(room.width, room.height));
            let Some(pane) = self.panes.get_mut(&id) else { continue };
            effects.push(pane.viewed.close());
            let (again, mode) = (pane.viewed.session.clone(), pane.viewed.mode);
            let (viewed, open) = Viewed::open(again, mode, size, scrollback, self.config.colors);
            effects.push(open);
            *pane = Pane { viewed, look: None, painted: RefCell::default() };
            self.dirty = true;
        }
        self.arrange(&mut effects);
        self.refocus(&mut effects);
        effects
    }

    /// Where on the screen the panes are. Call it before the first frame and when it changes; channels are resized.
    pub fn set_area(&mut self, area: Rect) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.area != area {
            self.area = area;
            self.arrange(&mut effects);
        }
        effects
    }

    /// Whether the panes are on the screen at all. Hidden ones are sent no output.
    pub fn set_shown(&mut self, shown: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.shown != shown {
            self.shown = shown;
            self.keys = Keys::Program;
            // Whoever has the screen meanwhile may have set its own flags.
            self.keyboard = None;
            self.motion = false;
            self.arrange(&mut effects);
            self.refocus(&mut effects);
        }
        effects
    }

    /// Takes what happened.
    pub fn handle(&mut self, event: PaneEvent, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.now = self.now.max(now);
        match event {
            PaneEvent::Input(input) => self.input(input, &mut effects),
            PaneEvent::Attach(event) => self.attached(event, &mut effects),
            PaneEvent::Tick => {
                self.panes.values_mut().for_each(|pane| pane.viewed.tick(now));
                // A countdown is on the screen.
                self.dirty |= self.countdown().is_some();
            }
        }
        self.refocus(&mut effects);
        effects
    }

    /// When [`PaneEvent::Tick`] is due, if nothing else happens: a program's update is held back no longer, a message
    /// has been shown for long enough, a countdown goes on. Nothing while nothing changes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let panes = self.panes.values().filter_map(|pane| pane.viewed.deadline());
        panes.chain(self.countdown()).min().filter(|_| self.shown)
    }

    /// Whether something has changed since this was last asked that is worth painting now.
    pub fn take_dirty(&mut self) -> bool {
        let mut dirty = std::mem::take(&mut self.dirty);
        for pane in self.panes.values_mut() {
            // In the middle of its update a pane stays as it is.
            if pane.viewed.dirty && !pane.viewed.is_held(self.now) {
                pane.viewed.dirty = false;
                dirty = true;
            }
        }
        dirty && self.shown
    }

    /// Whether there is no pane.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    /// The focused pane's session.
    #[must_use]
    pub fn focused(&self) -> Option<&PaneSession> {
        self.panes.get(&self.focus).map(|pane| &pane.viewed.session)
    }

    /// All sessions that are shown, in the order of their places.
    #[must_use]
    pub fn sessions(&self) -> Vec<&PaneSession> {
        let order = self.layout.as_ref().map(Layout::panes).unwrap_or_default();
        order.iter().filter_map(|id| self.panes.get(id)).map(|pane| &pane.viewed.session).collect()
    }

    /// Gives the keyboard to the pane that shows this session, if one does.
    pub fn focus_session(&mut self, id: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some((pane, _)) = self.panes.iter().find(|(_, pane)| pane.viewed.session.id == id) {
            let pane = *pane;
            self.focus_on(pane, &mut effects);
        }
        effects
    }

    /// Closes the focused pane; its session goes on.
    pub fn close_focused(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.close(&mut effects);
        self.refocus(&mut effects);
        effects
    }

    /// The keys that mean something now, and what they do: after the prefix, or while looking at scrollback. Empty
    /// while all keys go to the program.
    #[must_use]
    pub fn hints(&self) -> Vec<(String, &'static str)> {
        match self.keys {
            Keys::Prefix => bindings::help(),
            Keys::Resizing => vec![("HJKL Ctrl+←↓↑→".to_owned(), "resize")],
            Keys::Program => match self.panes.get(&self.focus) {
                Some(Pane { look: Some(look), .. }) => super::input::look_hints(look),
                Some(pane) if !pane.viewed.has_program() => {
                    vec![("r".to_owned(), "start it again"), ("x".to_owned(), "close the pane")]
                }
                _ => Vec::new(),
            },
        }
    }

    /// How the prefix is called, for the footer: `Ctrl-]`.
    #[must_use]
    pub fn prefix_name(&self) -> String {
        bindings::name(&self.config.prefix)
    }

    /// All commands after the prefix with their keys, for the help page.
    #[must_use]
    pub fn commands() -> Vec<(String, &'static str)> {
        bindings::help()
    }

    // What the parts of this module share.

    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// The panes on the screen and their rooms, title included.
    pub(super) fn rooms(&self) -> Vec<(PaneId, Rect)> {
        match &self.layout {
            None => Vec::new(),
            Some(_) if self.zoomed => vec![(self.focus, self.area)],
            Some(layout) => layout.places(self.area),
        }
    }

    /// Where a pane's terminal is, below its title.
    pub(super) fn content(&self, id: PaneId) -> Option<Rect> {
        let (_, room) = self.rooms().into_iter().find(|(pane, _)| *pane == id)?;
        Some(below_title(room))
    }

    pub(super) fn focus_on(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        if self.focus != id && self.panes.contains_key(&id) {
            self.focus = id;
            self.dirty = true;
            if self.zoomed {
                self.zoomed = false;
                self.arrange(effects);
            }
        }
    }

    pub(super) fn close(&mut self, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.remove(&self.focus) else { return };
        effects.push(pane.viewed.close());
        let heir = self.layout.as_mut().and_then(|layout| layout.remove(self.focus));
        self.zoomed = false;
        self.told_focus = self.told_focus.filter(|told| *told != self.focus);
        match heir {
            Some(heir) => self.focus = heir,
            None => {
                self.layout = None;
                effects.push(Effect::Empty);
            }
        }
        self.arrange(effects);
    }

    /// Tells each channel its size and whether it is seen.
    pub(super) fn arrange(&mut self, effects: &mut Vec<Effect>) {
        self.dirty = true;
        let rooms: BTreeMap<PaneId, Rect> = self.rooms().into_iter().collect();
        for (id, pane) in &mut self.panes {
            let room = rooms.get(id).map(|room| below_title(*room)).filter(|room| !room.is_empty());
            effects.extend(pane.viewed.set_shown(self.shown && room.is_some()));
            if let Some(size) = room.and_then(|room| Size::checked(room.width, room.height)) {
                effects.extend(pane.viewed.resize(size));
            }
        }
    }

    /// Tells programs and the outer terminal what follows from who has the keyboard.
    pub(super) fn refocus(&mut self, effects: &mut Vec<Effect>) {
        let now = Some(self.focus).filter(|id| self.outer_focus && self.shown && self.panes.contains_key(id));
        if self.told_focus != now {
            let told = [(self.told_focus, b"\x1b[O"), (now, b"\x1b[I")];
            for (pane, bytes) in
                told.into_iter().filter_map(|(id, bytes)| Some((self.panes.get(&id?)?, bytes)))
            {
                if pane.viewed.terminal.modes().focus_events {
                    effects.extend(pane.viewed.type_in(bytes.to_vec()));
                }
            }
            self.told_focus = now;
        }
        let focused = self.panes.get(&self.focus).filter(|_| self.shown);
        let keyboard =
            focused.map_or_else(OuterKeys::default, |pane| OuterKeys::serving(&pane.viewed.terminal.modes()));
        if self.keyboard != Some(keyboard) {
            self.keyboard = Some(keyboard);
            effects.push(Effect::Keyboard(keyboard));
        }
        if !self.shown {
            return;
        }
        let motion =
            self.panes.values().any(|pane| pane.viewed.terminal.modes().mouse == lap_vt::MouseTracking::Any);
        if self.motion != motion {
            self.motion = motion;
            effects.push(Effect::MouseMotion(motion));
        }
    }

    pub(super) fn set_outer_focus(&mut self, focus: bool) {
        self.outer_focus = focus;
    }

    fn attached(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Link(link) => {
                self.dirty = true;
                self.broken = match link {
                    Link::Connected { .. } => None,
                    Link::Reconnecting { retry_in, reason, .. } => {
                        Some(Broken::Until(self.now + retry_in, reason))
                    }
                    Link::Refused { error } => Some(Broken::Refused(match error.hint {
                        Some(hint) => format!("{}: {hint}", error.message),
                        None => error.message,
                    })),
                };
            }
            Event::Channel(channel, event) => {
                let Some(pane) = self.panes.values_mut().find(|pane| pane.viewed.channel == channel) else {
                    return;
                };
                let replaced = matches!(event, ChannelEvent::Snapshot { .. });
                if let (true, Some(look)) = (replaced, &mut pane.look) {
                    look.hold(&pane.viewed.terminal);
                }
                pane.viewed.handle(event, self.now, effects);
                let scrolled = std::mem::take(&mut pane.viewed.scrolled);
                if let Some(look) = &mut pane.look {
                    look.follow(&pane.viewed.terminal, scrolled);
                    if replaced && !look.settle(&pane.viewed.terminal) {
                        // It may be in what a snapshot leaves out unless it is asked for.
                        match pane.viewed.wants_history() {
                            Some(effect) => effects.push(effect),
                            None => look.give_up(),
                        }
                    }
                    look.clamp(&pane.viewed.terminal);
                }
            }
        }
    }

    /// When the next second of a countdown that is on the screen begins.
    fn countdown(&self) -> Option<Instant> {
        let link = match &self.broken {
            Some(Broken::Until(at, _)) => Some(*at),
            _ => None,
        };
        let retries = self.panes.values().filter_map(|pane| match &pane.viewed.state {
            State::Retrying(_, at) => Some(*at),
            _ => None,
        });
        let next = |at: Instant| {
            let left = at.checked_duration_since(self.now)?;
            // Just after the whole second, when the number changes.
            let part = Duration::from_nanos(u64::from(left.subsec_nanos()) + 1_000_000);
            (!left.is_zero()).then(|| self.now + part.min(left))
        };
        link.into_iter().chain(retries).filter_map(next).min()
    }
}

/// The room below a pane's title.
pub(super) fn below_title(room: Rect) -> Rect {
    Rect { y: room.y.saturating_add(1), height: room.height.saturating_sub(1), ..room }
}
