//! What the dashboard knows and shows. Plain values: nothing in here draws, asks or waits.

mod filter;
mod form;
mod layer;
mod list;
mod reading;
mod sort;
mod toast;

use std::collections::BTreeMap;

use jiff::Timestamp;
use lap_platform::model::{AgentId, AgentRow, Attention, Harness, Session, SessionId, SessionStatus};
use ratatui::layout::Size;

pub use filter::matches;
pub use form::{Choice, Field, Form, FormKind, Input, Value, model_of};
pub use layer::{
    Confirm, DiagnosisState, DiagnosisView, Ending, Help, Layer, Need, Palette, PaletteItem, Target,
};
pub use list::List;
pub use reading::Reading;
pub use sort::{AgentSort, SessionSort};
pub use toast::{Toast, ToastKind, Toasts};

use super::event::Where;
use super::keymap::Keymap;

/// Which list is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tab {
    /// The agents.
    Agents,
    /// The sessions.
    Sessions,
}

/// What fills the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screen {
    /// The lists.
    Lists,
    /// The panes, with the list at their side where there is room.
    Panes,
}

/// How the server is reached.
#[derive(Clone, PartialEq, Debug)]
pub enum Link {
    /// The first connection is being made.
    Connecting,
    /// Changes come in.
    Connected,
    /// The connection is gone; what is shown is as old as that.
    Lost {
        /// Why, as a sentence.
        reason: String,
        /// When it is tried again.
        retry_at: Timestamp,
    },
}

/// A session that is to be opened as soon as it can be, unless the person has gone elsewhere by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// Which one.
    pub session: SessionId,
    /// Where its terminal goes.
    pub place: Where,
    /// Where the person was.
    pub screen: Screen,
}

/// A request that has no answer yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// Comes back with the answer.
    pub id: u64,
    /// What is being done: `Stopping build-7`.
    pub label: String,
    /// When it was sent.
    pub since: Timestamp,
}

/// What the dashboard shows of the panes around them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PanesStatus {
    /// Their sessions.
    pub sessions: Vec<SessionId>,
    /// What the focused one is called.
    pub focused: Option<String>,
    /// The one key of lap's own in them.
    pub prefix: String,
    /// The keys that mean something now.
    pub hints: Vec<(String, &'static str)>,
    /// All keys after the prefix, for the help.
    pub commands: Vec<(String, &'static str)>,
}

/// The dashboard's whole state.
#[derive(Clone, Debug)]
pub struct Model {
    /// The server's name in the configuration.
    pub context: String,
    /// Its address.
    pub address: String,
    /// How it is reached.
    pub link: Link,
    /// Whether the lists have been read.
    pub loaded: bool,
    /// When they are read again by themselves.
    pub reading: Reading,
    /// All agents.
    pub agents: BTreeMap<AgentId, AgentRow>,
    /// All sessions.
    pub sessions: BTreeMap<SessionId, Session>,
    /// What an agent can be.
    pub harnesses: Vec<Harness>,
    /// What fills the screen.
    pub screen: Screen,
    /// Whether the list stands beside the panes where there is room.
    pub side_list: bool,
    /// The list that is shown.
    pub tab: Tab,
    /// Only this agent's sessions are shown.
    pub scope: Option<AgentId>,
    /// How the agents are listed.
    pub agent_list: List<AgentId, AgentSort>,
    /// How the sessions are listed.
    pub session_list: List<SessionId, SessionSort>,
    /// Whether the keys go to the filter.
    pub filtering: bool,
    /// Whether sessions that have ended are shown.
    pub show_ended: bool,
    /// A session that is being restarted: it ends for a moment, and stays in the list meanwhile.
    pub restarting: Option<SessionId>,
    /// Whether there is a preview.
    pub show_preview: bool,
    /// The session that this dashboard itself runs in.
    pub own: Option<SessionId>,
    /// The session whose terminal the preview shows now.
    pub in_preview: Option<SessionId>,
    /// What lies over the lists and has the keys.
    pub layer: Option<Layer>,
    /// Messages.
    pub toasts: Toasts,
    /// Requests without an answer.
    pub tasks: Vec<Task>,
    /// A session somebody has just asked for, to be opened as soon as it can be.
    pub awaited: Option<Awaited>,
    /// What is open in panes.
    pub panes: PanesStatus,
    /// The screen's size.
    pub size: Size,
    /// The time, as of this event.
    pub now: Timestamp,
    /// Which key does what.
    pub keymap: Keymap,
    next_task: u64,
}

impl Model {
    /// Whether letters are text now: the filter's, or those of what lies over the lists.
    #[must_use]
    pub fn takes_text(&self) -> bool {
        match &self.layer {
            None => self.filtering,
            Some(Layer::Palette(_) | Layer::Form(_) | Layer::Help(_)) => true,
            Some(Layer::Confirm(confirm)) => matches!(confirm.need, Need::Typed { .. }),
            Some(Layer::Diagnosis(_)) => false,
        }
    }

    /// Whether a key answers a question now.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(&self.layer, Some(Layer::Confirm(confirm)) if matches!(confirm.need, Need::Yes))
    }

    /// A dashboard that has not heard of its server yet.
    #[must_use]
    pub fn new(context: &str, address: &str, keymap: Keymap, size: Size, now: Timestamp) -> Model {
        Model {
            context: context.to_owned(),
            address: address.to_owned(),
            link: Link::Connecting,
            loaded: false,
            reading: Reading::new(now),
            agents: BTreeMap::new(),
            sessions: BTreeMap::new(),
            harnesses: Vec::new(),
            screen: Screen::Lists,
            side_list: true,
            tab: Tab::Sessions,
            scope: None,
            agent_list: List::new(AgentSort::Name),
            session_list: List::new(SessionSort::Age),
            filtering: false,
            show_ended: true,
            restarting: None,
            show_preview: true,
            own: None,
            in_preview: None,
            layer: None,
            toasts: Toasts::default(),
            tasks: Vec::new(),
            awaited: None,
            panes: PanesStatus::default(),
            size,
            now,
            keymap,
            next_task: 1,
        }
    }

    /// The selected agent: of the list, or the one whose sessions are shown.
    #[must_use]
    pub fn agent(&self) -> Option<&AgentRow> {
        let id = match self.tab {
            Tab::Agents => self.agent_list.selected?,
            Tab::Sessions => match self.scope {
                Some(id) => id,
                None => self.session()?.agent_id,
            },
        };
        self.agents.get(&id)
    }

    /// The selected session.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        match self.tab {
            Tab::Agents => None,
            Tab::Sessions => self.sessions.get(&self.session_list.selected?),
        }
    }

    /// The sessions of an agent that are not over.
    pub fn live_sessions(&self, agent: AgentId) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(move |session| session.agent_id == agent && session.status.is_live())
    }

    /// Who looks at a session's terminal. This dashboard counts where it has it in a pane: a preview is no visit.
    #[must_use]
    pub fn viewers(&self, session: &Session) -> u32 {
        let only_previewed =
            self.in_preview == Some(session.id) && !self.panes.sessions.contains(&session.id);
        session.viewers.saturating_sub(u32::from(only_previewed))
    }

    /// The session whose terminal the preview shows: the selected one, or the newest live one of the selected agent.
    #[must_use]
    pub fn previewed(&self) -> Option<&Session> {
        match self.tab {
            Tab::Sessions => self.session(),
            Tab::Agents => {
                self.live_sessions(self.agent_list.selected?).max_by_key(|session| session.created_at)
            }
        }
        .filter(|session| session.status == SessionStatus::Ready && session.supports_tui)
        .filter(|session| Some(session.id) != self.own)
    }

    /// The harnesses offered on first use: those that can be started, while there is no agent at all.
    #[must_use]
    pub fn offers(&self) -> Vec<&Harness> {
        if !self.loaded || !self.agents.is_empty() {
            return Vec::new();
        }
        let usable = |harness: &&Harness| harness.available && harness.supports_tui && harness.id != "custom";
        self.harnesses.iter().filter(usable).take(MAX_OFFERS).collect()
    }

    /// An agent's name, also when the agent is not known (any more).
    #[must_use]
    pub fn agent_name(&self, id: AgentId) -> String {
        match self.agents.get(&id) {
            Some(row) => row.agent.name.clone(),
            None => short_id(&id.to_string()),
        }
    }

    /// A harness' name for people.
    #[must_use]
    pub fn harness_title<'a>(&'a self, id: &'a str) -> &'a str {
        self.harnesses.iter().find(|harness| harness.id == id).map_or(id, |harness| harness.title.as_str())
    }

    /// Remembers that a request is on its way.
    pub fn begin_task(&mut self, label: impl Into<String>) -> u64 {
        let id = self.next_task;
        self.next_task += 1;
        self.tasks.push(Task { id, label: label.into(), since: self.now });
        id
    }

    /// The request has its answer.
    pub fn end_task(&mut self, id: u64) -> Option<Task> {
        let at = self.tasks.iter().position(|task| task.id == id)?;
        Some(self.tasks.remove(at))
    }

    /// How many sessions there are, run, and wait for a person.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let live = || self.sessions.values().filter(|session| session.status.is_live());
        Counts {
            sessions: self.sessions.len(),
            live: live().count(),
            waiting: live().filter(|s| waits(s)).count(),
        }
    }
}

/// One per digit key.
const MAX_OFFERS: usize = 9;

/// See [`Model::counts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Counts {
    pub sessions: usize,
    pub live: usize,
    pub waiting: usize,
}

/// What to call a session: its title, else the beginning of its id.
#[must_use]
pub fn session_name(session: &Session) -> String {
    if session.title_preview.is_empty() {
        short_id(&session.id.to_string())
    } else {
        session.title_preview.clone()
    }
}

/// Whether a session wants a person.
#[must_use]
pub fn waits(session: &Session) -> bool {
    session.status == SessionStatus::Ready
        && matches!(
            session.attention,
            Attention::WaitingInput | Attention::WaitingPermission | Attention::Bell
        )
}

/// The part of an id that people tell them apart by. Ids begin with the time, so the end differs most.
fn short_id(id: &str) -> String {
    let tail = id.len().saturating_sub(8);
    id.get(tail..).unwrap_or(id).to_owned()
}

#[cfg(test)]
mod tests {
    use crate::dashboard::view::testing::{sample, session};

    #[test]
    fn a_preview_is_no_viewer_and_a_pane_is() {
        let mut model = sample();
        let mut looked_at = session(10, 1, "login page", "ready", 12);
        looked_at.viewers = 2;
        assert_eq!(model.viewers(&looked_at), 2);
        model.in_preview = Some(looked_at.id);
        assert_eq!(model.viewers(&looked_at), 1);
        model.panes.sessions.push(looked_at.id);
        assert_eq!(model.viewers(&looked_at), 2);
    }
}
