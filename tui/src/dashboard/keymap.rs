//! Which key does what: the registry's defaults, changed by the configuration.

use std::collections::{BTreeMap, HashMap};

use super::actions::{ACTIONS, Action, Place, by_name};
use super::key::Key;

/// The keys of an action in the configuration: one, several, or none (`[]`).
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(untagged)]
pub enum KeyList {
    /// One key.
    One(String),
    /// Any of these; an empty list takes the action's keys away.
    Many(Vec<String>),
}

/// Keys to actions, and back.
#[derive(Clone, Debug)]
pub struct Keymap {
    bound: HashMap<Key, Vec<(Place, Action)>>,
    keys: Vec<(Action, Vec<Key>)>,
}

impl Default for Keymap {
    fn default() -> Keymap {
        Keymap::new(&BTreeMap::new()).0
    }
}

impl Keymap {
    /// The registry's keys with `changes` (action name to keys) over them, and what is wrong with the changes. A key
    /// somebody chose goes before a default; of two chosen ones the first in the registry's order has it.
    #[must_use]
    pub fn new(changes: &BTreeMap<String, KeyList>) -> (Keymap, Vec<String>) {
        let mut faults = Vec::new();
        let mut chosen: HashMap<Action, Vec<Key>> = HashMap::new();
        for (name, list) in changes {
            let Some(entry) = by_name(name) else {
                faults.push(format!("keys.{name}: there is no such action{}", suggestion(name)));
                continue;
            };
            let texts = match list {
                KeyList::One(text) => std::slice::from_ref(text),
                KeyList::Many(texts) => texts.as_slice(),
            };
            let mut keys = Vec::new();
            for text in texts {
                match text.parse() {
                    Ok(key) => keys.push(key),
                    Err(error) => faults.push(format!("keys.{name}: {error}")),
                }
            }
            chosen.insert(entry.action, keys);
        }
        let mut map = Keymap { bound: HashMap::new(), keys: Vec::new() };
        for entry in ACTIONS {
            for key in chosen.get(&entry.action).into_iter().flatten() {
                if let Some(other) = map.taken(*key, entry.place) {
                    let other = other.entry().name;
                    faults.push(format!("keys.{}: {key} is already the key of {other}", entry.name));
                } else {
                    map.bind(*key, entry.place, entry.action);
                }
            }
        }
        for entry in ACTIONS.iter().filter(|entry| !chosen.contains_key(&entry.action)) {
            for key in entry.keys.iter().filter_map(|text| text.parse().ok()) {
                // A default gives way in silence: the key was wanted for something else.
                if map.taken(key, entry.place).is_none() {
                    map.bind(key, entry.place, entry.action);
                }
            }
        }
        (map, faults)
    }

    /// The keymap of the configuration's `[ui.keys]`, and what is wrong with it.
    #[must_use]
    pub fn configured(table: &toml::Table) -> (Keymap, Vec<String>) {
        let mut changes = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, value) in table {
            match value.clone().try_into() {
                Ok(list) => drop(changes.insert(name.clone(), list)),
                Err(_) => faults.push(format!("keys.{name}: is neither a key nor a list of keys")),
            }
        }
        let (keymap, more) = Keymap::new(&changes);
        faults.extend(more);
        (keymap, faults)
    }

    /// What the key does at that place.
    #[must_use]
    pub fn action(&self, key: Key, place: Place) -> Option<Action> {
        let bound = self.bound.get(&key)?;
        bound.iter().find(|(at, _)| at.meets(place)).map(|(_, action)| *action)
    }

    /// The action's keys, the one to show first.
    #[must_use]
    pub fn keys(&self, action: Action) -> &[Key] {
        self.keys.iter().find(|(of, _)| *of == action).map_or(&[], |(_, keys)| keys)
    }

    /// The key to show for it.
    #[must_use]
    pub fn hint(&self, action: Action) -> Option<Key> {
        self.keys(action).first().copied()
    }

    fn taken(&self, key: Key, place: Place) -> Option<Action> {
        self.action(key, place)
    }

    fn bind(&mut self, key: Key, place: Place, action: Action) {
        self.bound.entry(key).or_default().push((place, action));
        match self.keys.iter_mut().find(|(of, _)| *of == action) {
            Some((_, keys)) => keys.push(key),
            None => self.keys.push((action, vec![key])),
        }
    }
}

fn suggestion(name: &str) -> String {
    let close = ACTIONS.iter().find(|entry| entry.name.contains(name) || name.contains(entry.name));
    close.map_or_else(String::new, |entry| format!("; did you mean {}?", entry.name))
}

/// The page about keys, `docs/keys.md`.
#[must_use]
pub fn page() -> String {
    use std::fmt::Write as _;

    use super::actions::{Danger, Group};

    let mut page = String::from(
        "# Keys of the dashboard\n\n\
         The names are what `[ui.keys]` in `config.toml` calls them: `stop = \"ctrl-k\"` changes an action's key,\n\
         `stop = [\"x\", \"ctrl-k\"]` gives it two, `stop = []` none. In a terminal pane every key but the prefix\n\
         belongs to the program in it.\n",
    );
    for group in Group::ALL {
        let _ = writeln!(page, "\n## {}\n\n| keys | name | does |\n|---|---|---|", group.title());
        for entry in ACTIONS.iter().filter(|entry| entry.group == group) {
            let keys: Vec<String> = entry
                .keys
                .iter()
                .filter_map(|text| text.parse::<Key>().ok())
                .map(|key| format!("`{}`", key.to_string().replace('|', "\\|")))
                .collect();
            let place = match entry.place {
                Place::Lists => "",
                Place::Agents => " (on agents)",
                Place::Sessions => " (on sessions)",
            };
            let asked = if entry.danger == Danger::Confirm { " Asks first." } else { "" };
            let _ = writeln!(page, "| {} | `{}`{place} | {}{asked} |", keys.join(" "), entry.name, entry.doc);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> (Keymap, Vec<String>) {
        Keymap::new(&toml::from_str(text).unwrap())
    }

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn no_two_defaults_share_a_key() {
        let map = Keymap::default();
        for entry in ACTIONS {
            let wanted: Vec<Key> = entry.keys.iter().map(|text| key(text)).collect();
            assert_eq!(map.keys(entry.action), wanted, "{}", entry.name);
        }
    }

    #[test]
    fn a_chosen_key_takes_the_place_of_the_default() {
        let (map, faults) = with("stop = \"q\"\nquit = []");
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(map.action(key("q"), Place::Sessions), Some(Action::Stop));
        assert_eq!(map.action(key("x"), Place::Sessions), None);
        assert_eq!(map.keys(Action::Quit), []);
    }

    #[test]
    fn one_key_can_mean_two_things_at_two_places() {
        let (map, faults) = with("stop = \"ctrl-k\"\ndelete = \"ctrl-k\"");
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(map.action(key("ctrl-k"), Place::Sessions), Some(Action::Stop));
        assert_eq!(map.action(key("ctrl-k"), Place::Agents), Some(Action::Delete));
    }

    #[test]
    fn the_configurations_table_says_what_it_cannot_be() {
        let (map, faults) = Keymap::configured(&toml::from_str("stop = 7\nopen = [\"y\"]").unwrap());
        assert_eq!(faults, ["keys.stop: is neither a key nor a list of keys"]);
        assert_eq!(map.action(key("y"), Place::Lists), Some(Action::Open));
        assert_eq!(map.action(key("x"), Place::Sessions), Some(Action::Stop));
    }

    #[test]
    fn faults_are_told_all_at_once() {
        let (map, faults) =
            with("stpo = \"x\"\nstop = \"ctrl-\"\nopen = \"y\"\nhelp = [\"y\", \"z\"]\nsto = \"v\"");
        assert_eq!(
            faults,
            [
                "keys.sto: there is no such action; did you mean stop?",
                "keys.stop: \"ctrl-\" is no key: write one like ctrl-r, alt-x, G, enter, f5 or ?",
                "keys.stpo: there is no such action",
                "keys.help: y is already the key of open",
            ]
        );
        assert_eq!(map.action(key("z"), Place::Lists), Some(Action::Help));
    }

    #[test]
    fn the_page_about_keys_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keys.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        if written != page() && std::env::var_os("LAP_UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
            return;
        }
        assert_eq!(written, page(), "LAP_UPDATE_DOCS=1 cargo test -p lap-tui writes docs/keys.md anew");
    }
}
