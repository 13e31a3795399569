//! What the lists can be sorted by, and their order.

use std::cmp::Ordering;

use lap_platform::model::{AgentId, Attention, Session, SessionId, SessionStatus};

use super::{Model, matches, session_name};

/// What agents can be sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum AgentSort {
    Name,
    Harness,
    Model,
    Sessions,
    Age,
}

/// What sessions can be sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum SessionSort {
    /// Those that want a person first.
    State,
    Title,
    Agent,
    Harness,
    Viewers,
    Age,
}

impl AgentSort {
    /// All of them, in the order of their columns.
    pub const ALL: [AgentSort; 5] =
        [AgentSort::Name, AgentSort::Harness, AgentSort::Model, AgentSort::Sessions, AgentSort::Age];

    /// The next column's.
    #[must_use]
    pub fn next(self) -> AgentSort {
        after(&Self::ALL, self)
    }
}

impl SessionSort {
    /// All of them, in the order of their columns.
    pub const ALL: [SessionSort; 6] = [
        SessionSort::Title,
        SessionSort::Agent,
        SessionSort::Harness,
        SessionSort::State,
        SessionSort::Viewers,
        SessionSort::Age,
    ];

    /// The next column's.
    #[must_use]
    pub fn next(self) -> SessionSort {
        after(&Self::ALL, self)
    }
}

fn after<T: Copy + PartialEq>(all: &[T], one: T) -> T {
    let at = all.iter().position(|other| *other == one).map_or(0, |at| (at + 1) % all.len());
    all.get(at).copied().unwrap_or(one)
}

impl Model {
    /// Brings lists, selections and scroll positions up to date with what is known. To be called before drawing, once
    /// however much has changed.
    pub fn settle(&mut self, rows_on_screen: usize) {
        let agents = self.agents_in_order();
        self.agent_list.settle(agents, rows_on_screen);
        let sessions = self.sessions_in_order();
        self.session_list.settle(sessions, rows_on_screen);
    }

    fn agents_in_order(&self) -> Vec<AgentId> {
        let filter = self.agent_list.filter.text();
        let mut rows: Vec<_> = self
            .agents
            .values()
            .filter(|row| matches(filter, &[&row.agent.name, &row.agent.harness_id, &row.agent.model]))
            .collect();
        let name = |row: &super::AgentRow| row.agent.name.to_lowercase();
        rows.sort_by(|a, b| {
            let by = match self.agent_list.sort {
                AgentSort::Name => Ordering::Equal,
                AgentSort::Harness => a.agent.harness_id.cmp(&b.agent.harness_id),
                AgentSort::Model => a.agent.model.cmp(&b.agent.model),
                AgentSort::Sessions => b.session_count.cmp(&a.session_count),
                AgentSort::Age => b.agent.created_at.cmp(&a.agent.created_at),
            };
            by.then_with(|| name(a).cmp(&name(b))).then_with(|| a.agent.id.cmp(&b.agent.id))
        });
        reversed(rows.into_iter().map(|row| row.agent.id), self.agent_list.reverse)
    }

    fn sessions_in_order(&self) -> Vec<SessionId> {
        let filter = self.session_list.filter.text();
        let mut rows: Vec<_> = self
            .sessions
            .values()
            .filter(|session| self.scope.is_none_or(|agent| session.agent_id == agent))
            .filter(|session| {
                self.show_ended || session.status.is_live() || self.restarting == Some(session.id)
            })
            .filter(|session| filter.is_empty() || self.session_matches(session, filter))
            .collect();
        rows.sort_by(|a, b| {
            let by = match self.session_list.sort {
                SessionSort::State => urgency(a).cmp(&urgency(b)),
                SessionSort::Title => session_name(a).to_lowercase().cmp(&session_name(b).to_lowercase()),
                SessionSort::Agent => self.agent_name(a.agent_id).cmp(&self.agent_name(b.agent_id)),
                SessionSort::Harness => self.harness_of(a).cmp(self.harness_of(b)),
                SessionSort::Viewers => self.viewers(b).cmp(&self.viewers(a)),
                // What runs is above what is over.
                SessionSort::Age => b.status.is_live().cmp(&a.status.is_live()),
            };
            by.then_with(|| b.created_at.cmp(&a.created_at)).then_with(|| b.id.cmp(&a.id))
        });
        reversed(rows.into_iter().map(|session| session.id), self.session_list.reverse)
    }

    fn session_matches(&self, session: &Session, filter: &str) -> bool {
        let (name, id) = (session_name(session), session.id.to_string());
        let agent = self.agent_name(session.agent_id);
        matches(filter, &[&name, &agent, self.harness_of(session), session.status.as_str(), &id])
    }

    /// The harness of a session's agent.
    #[must_use]
    pub fn harness_of(&self, session: &Session) -> &str {
        self.agents.get(&session.agent_id).map_or("", |row| row.agent.harness_id.as_str())
    }
}

fn reversed<T>(rows: impl DoubleEndedIterator<Item = T>, reverse: bool) -> Vec<T> {
    if reverse { rows.rev().collect() } else { rows.collect() }
}

fn urgency(session: &Session) -> u8 {
    match (session.status, session.attention) {
        (SessionStatus::Ready, Attention::WaitingInput | Attention::WaitingPermission) => 0,
        (SessionStatus::Ready, Attention::Bell) => 1,
        (SessionStatus::Failed, _) => 2,
        (SessionStatus::Creating, _) => 3,
        (SessionStatus::Ready, Attention::Working) => 4,
        (SessionStatus::Ready, _) => 5,
        (SessionStatus::Dead, _) => 6,
    }
}
