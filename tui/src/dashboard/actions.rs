//! Everything the dashboard can do, once. Keys, help, footer hints, palette and `docs/keys.md` all come from here.

/// What can be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the registry below documents each one for the people who use it")]
pub enum Action {
    Open,
    OpenRight,
    OpenBelow,
    Panes,
    NewSession,
    NewAgent,
    Diagnose,
    Rename,
    Restart,
    Stop,
    Delete,
    NextWaiting,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Back,
    SwitchList,
    Agents,
    Sessions,
    Filter,
    Sort,
    SortReverse,
    Ended,
    Preview,
    SideList,
    Palette,
    Help,
    Reconnect,
    Dismiss,
    Redraw,
    ReloadTheme,
    Suspend,
    Quit,
}

/// How much is lost when it is done by mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Danger {
    /// Nothing.
    None,
    /// Something ends or is gone: it is asked for first, in a box that names what.
    Confirm,
}

/// Where an action can be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In both lists.
    Lists,
    /// In the list of agents.
    Agents,
    /// In the list of sessions.
    Sessions,
}

impl Place {
    /// Whether the two can be at one place, so that a key cannot belong to both.
    #[must_use]
    pub fn meets(self, other: Place) -> bool {
        self == other || self == Place::Lists || other == Place::Lists
    }
}

/// One action.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub action: Action,
    /// What the configuration calls it.
    pub name: &'static str,
    /// What hints call it: a word or two.
    pub label: &'static str,
    /// What it does, as a sentence.
    pub doc: &'static str,
    /// How much is lost by mistake.
    pub danger: Danger,
    /// Where it can be taken.
    pub place: Place,
    /// The keys it has unless the configuration says otherwise.
    pub keys: &'static [&'static str],
    /// Its place among the footer's hints, smallest first; none for what everybody knows or seldom needs.
    pub hint: Option<u8>,
    /// Under which heading help has it.
    pub group: Group,
}

/// The headings of help, in its order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Attach, make, stop, ...
    Work,
    /// Up, down, back, ...
    Move,
    /// Filter, sort, ...
    Look,
    /// Help, palette, quit.
    Program,
}

impl Group {
    /// All of them, in order.
    pub const ALL: [Group; 4] = [Group::Work, Group::Move, Group::Look, Group::Program];

    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Group::Work => "Agents and sessions",
            Group::Move => "Moving about",
            Group::Look => "What is shown",
            Group::Program => "The dashboard",
        }
    }
}

const fn entry(action: Action, name: &'static str, label: &'static str, group: Group) -> Entry {
    let (danger, place) = (Danger::None, Place::Lists);
    Entry { action, name, label, doc: "", danger, place, keys: &[], hint: None, group }
}

impl Entry {
    const fn doc(self, doc: &'static str) -> Entry {
        Entry { doc, ..self }
    }
    const fn keys(self, keys: &'static [&'static str]) -> Entry {
        Entry { keys, ..self }
    }
    const fn at(self, place: Place) -> Entry {
        Entry { place, ..self }
    }
    const fn hint(self, order: u8) -> Entry {
        Entry { hint: Some(order), ..self }
    }
    const fn dangerous(self) -> Entry {
        Entry { danger: Danger::Confirm, ..self }
    }
}

/// All actions, in the order in which help shows them.
pub static ACTIONS: &[Entry] = &[
    entry(Action::Open, "open", "open", Group::Work)
        .doc("Open the selected session's terminal; on an agent, show its sessions.")
        .keys(&["enter"])
        .hint(1),
    entry(Action::OpenRight, "open-right", "open right", Group::Work)
        .doc("Open the selected session beside the terminals that are open.")
        .keys(&["|"])
        .at(Place::Sessions),
    entry(Action::OpenBelow, "open-below", "open below", Group::Work)
        .doc("Open the selected session below the terminals that are open.")
        .keys(&["minus"])
        .at(Place::Sessions),
    entry(Action::Panes, "panes", "terminals", Group::Work)
        .doc("Go back to the terminals that are open.")
        .keys(&["w"]),
    entry(Action::NewSession, "new-session", "new session", Group::Work)
        .doc("Start a session of the selected agent.")
        .keys(&["n"])
        .hint(2),
    entry(Action::NewAgent, "new-agent", "new agent", Group::Work)
        .doc("Make an agent: a harness, a model, and what it begins with.")
        .keys(&["a"])
        .hint(3),
    entry(Action::Diagnose, "diagnose", "diagnose", Group::Work)
        .doc("Show what is known about the selected session: phases with their times, why it ended, its last output.")
        .keys(&["d"])
        .at(Place::Sessions)
        .hint(4),
    entry(Action::Rename, "rename", "rename", Group::Work)
        .doc("Give the selected agent or session another name.")
        .keys(&["e"]),
    entry(Action::Restart, "restart", "restart", Group::Work)
        .doc("Bring the selected session up again in a new sandbox.")
        .keys(&["R"])
        .at(Place::Sessions)
        .dangerous(),
    entry(Action::Stop, "stop", "stop", Group::Work)
        .doc("End the selected session and its sandbox. Its log and recording stay.")
        .keys(&["x"])
        .at(Place::Sessions)
        .dangerous()
        .hint(5),
    entry(Action::Delete, "delete", "delete", Group::Work)
        .doc("Delete the selected agent, with all its sessions.")
        .keys(&["D"])
        .at(Place::Agents)
        .dangerous()
        .hint(5),
    entry(Action::NextWaiting, "next-waiting", "next waiting", Group::Move)
        .doc("Go to the next session that waits for you.")
        .keys(&["!"])
        .hint(9),
    entry(Action::Up, "up", "up", Group::Move).doc("One row up.").keys(&["up", "k"]),
    entry(Action::Down, "down", "down", Group::Move).doc("One row down.").keys(&["down", "j"]),
    entry(Action::PageUp, "page-up", "page up", Group::Move).doc("One page up.").keys(&["pgup", "ctrl-b"]),
    entry(Action::PageDown, "page-down", "page down", Group::Move)
        .doc("One page down.")
        .keys(&["pgdn", "ctrl-f"]),
    entry(Action::First, "first", "first", Group::Move).doc("To the first row.").keys(&["home", "g"]),
    entry(Action::Last, "last", "last", Group::Move).doc("To the last row.").keys(&["end", "G"]),
    entry(Action::Back, "back", "back", Group::Move)
        .doc("Out of what is open: the filter, an agent's sessions.")
        .keys(&["esc", "backspace"]),
    entry(Action::SwitchList, "switch-list", "agents/sessions", Group::Move)
        .doc("From agents to sessions and back.")
        .keys(&["tab"])
        .hint(8),
    entry(Action::Agents, "agents", "agents", Group::Move).doc("Show the agents.").keys(&["A"]),
    entry(Action::Sessions, "sessions", "sessions", Group::Move)
        .doc("Show the sessions of all agents.")
        .keys(&["S"]),
    entry(Action::Filter, "filter", "filter", Group::Look)
        .doc("Show only the rows that contain what you type.")
        .keys(&["/"])
        .hint(7),
    entry(Action::Sort, "sort", "sort", Group::Look).doc("Sort by the next column.").keys(&["o"]),
    entry(Action::SortReverse, "sort-reverse", "reverse", Group::Look)
        .doc("Sort the other way round.")
        .keys(&["O"]),
    entry(Action::Ended, "ended", "ended", Group::Look)
        .doc("Show or hide sessions that have ended.")
        .keys(&["h"])
        .at(Place::Sessions),
    entry(Action::Preview, "preview", "preview", Group::Look)
        .doc("Show or hide the preview of the selected one.")
        .keys(&["p"]),
    entry(Action::SideList, "side-list", "side list", Group::Look)
        .doc("Show or hide the list beside the terminals.")
        .keys(&["b"]),
    entry(Action::Palette, "palette", "commands", Group::Program)
        .doc("Find an action, an agent or a session by a few letters of its name.")
        .keys(&[":", "ctrl-p"])
        .hint(10),
    entry(Action::Help, "help", "help", Group::Program)
        .doc("Show all keys.")
        .keys(&["?", "f1"])
        .hint(11),
    entry(Action::Reconnect, "reconnect", "reconnect", Group::Program)
        .doc("Connect to the server now, or read everything again.")
        .keys(&["ctrl-r"]),
    entry(Action::Dismiss, "dismiss", "dismiss", Group::Program)
        .doc("Take the messages away.")
        .keys(&["ctrl-x"]),
    entry(Action::Redraw, "redraw", "redraw", Group::Program)
        .doc("Draw the whole screen again.")
        .keys(&["ctrl-l"]),
    entry(Action::ReloadTheme, "reload-theme", "reload theme", Group::Program)
        .doc("Read the theme's file again and show it.")
        .keys(&["ctrl-t"]),
    entry(Action::Suspend, "suspend", "suspend", Group::Program)
        .doc("Stop the dashboard as a job of your shell, from any list or box; `fg` brings it back.")
        .keys(&["ctrl-z"]),
    entry(Action::Quit, "quit", "quit", Group::Program)
        .doc("Leave the dashboard. Sessions keep running.")
        .keys(&["q", "ctrl-c"])
        .hint(12),
];

impl Action {
    /// Its entry in the registry.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        // The test below holds that every action has one.
        ACTIONS.iter().find(|entry| entry.action == self).unwrap_or(&ACTIONS[0])
    }
}

/// The action of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Entry> {
    ACTIONS.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_action_is_named_and_documented_once() {
        let names: HashSet<_> = ACTIONS.iter().map(|entry| entry.name).collect();
        let actions: HashSet<_> = ACTIONS.iter().map(|entry| entry.action).collect();
        assert_eq!(names.len(), ACTIONS.len());
        assert_eq!(actions.len(), ACTIONS.len());
        for entry in ACTIONS {
            assert!(entry.doc.ends_with('.'), "{}", entry.name);
            assert!(!entry.keys.is_empty(), "{}", entry.name);
            assert_eq!(entry.action.entry().name, entry.name);
        }
        // The last of the enum: adding one without an entry makes the counts differ.
        assert_eq!(ACTIONS.len(), Action::Quit as usize + 1);
    }
}
