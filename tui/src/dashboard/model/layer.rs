//! What can lie over the lists and has the keys while it does.

use lap_platform::model::{AgentId, Diagnosis, SessionId};

use super::form::{Form, Input};
use crate::dashboard::actions::Action;
use crate::dashboard::event::Where;
use crate::unsaved::Fate;

/// What lies over the lists.
#[derive(Clone, Debug)]
pub enum Layer {
    /// All keys.
    Help(Help),
    /// Actions, agents and sessions by a few letters.
    Palette(Palette),
    /// Something to fill in.
    Form(Form),
    /// A question before something ends.
    Confirm(Confirm),
    /// What is known about a session.
    Diagnosis(DiagnosisView),
}

/// The help.
#[derive(Clone, Debug, Default)]
pub struct Help {
    /// Shows only what matches.
    pub filter: Input,
    /// The first line shown.
    pub top: usize,
}

/// The palette.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    /// What was typed.
    pub input: Input,
    /// What fits, best first.
    pub items: Vec<PaletteItem>,
    /// The selected one.
    pub selected: usize,
    /// Only sessions, to be opened there.
    pub choose: Option<Where>,
}

/// One line of the palette.
#[derive(Clone, PartialEq, Debug)]
pub struct PaletteItem {
    /// What choosing it does.
    pub target: Target,
    /// What it is called.
    pub text: String,
    /// More about it.
    pub about: String,
    /// Its key, or what it is.
    pub note: String,
    /// Which letters of the text match, by their place.
    pub matched: Vec<u32>,
}

/// What can be chosen in the palette.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Does it.
    Action(Action),
    /// Goes to it.
    Agent(AgentId),
    /// Opens it.
    Session(SessionId),
    /// Starts a session of it.
    NewSession(AgentId),
}

/// What a person must do to confirm.
#[derive(Clone, Debug)]
pub enum Need {
    /// Press `y`.
    Yes,
    /// Type this: more than one thing ends.
    Typed {
        /// What is to be typed.
        wanted: String,
        /// What has been.
        input: Input,
    },
}

/// A question before something ends.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// The question.
    pub title: String,
    /// What ends, by name, and what stays.
    pub lines: Vec<String>,
    /// How much of the work that ends is nowhere else; absent where none ends.
    pub unsaved: Option<String>,
    /// What the button says.
    pub submit: &'static str,
    /// What must be done to confirm.
    pub need: Need,
    /// What then happens.
    pub then: Ending,
}

/// What can end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// A session.
    Stop(SessionId),
    /// A session's present sandbox.
    Restart(SessionId),
    /// An agent with its sessions.
    DeleteAgent(AgentId),
}

impl Ending {
    /// What becomes of the work.
    #[must_use]
    pub fn fate(self) -> Fate {
        match self {
            Ending::Restart(_) => Fate::GoesOn,
            Ending::Stop(_) | Ending::DeleteAgent(_) => Fate::Kept,
        }
    }
}

/// What is known about a session.
#[derive(Clone, Debug)]
pub struct DiagnosisView {
    /// Whose.
    pub session: SessionId,
    /// The answer.
    pub state: DiagnosisState,
    /// The first line shown.
    pub top: usize,
}

/// See [`DiagnosisView`].
#[derive(Clone, Debug)]
pub enum DiagnosisState {
    /// It is being gathered.
    Loading,
    /// It is here.
    Ready(Box<Diagnosis>),
    /// It could not be gathered; why.
    Failed(String),
}
