//! The process's environment, read once.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The environment variables as they were at start.
#[derive(Clone, Default)]
pub struct Environment {
    vars: Arc<BTreeMap<String, String>>,
}

impl Environment {
    /// This process's. Variables that are not UTF-8 are left out: no setting can be.
    #[must_use]
    pub fn of_process() -> Environment {
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Environment { vars: Arc::new(vars) }
    }

    /// One made of these pairs.
    #[must_use]
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Environment {
        let vars = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Environment { vars: Arc::new(vars) }
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// A variable's value, where it has one that is not empty.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether colours are unwanted (<https://no-color.org>: any value but the empty one).
    #[must_use]
    pub fn no_color(&self) -> bool {
        self.filled("NO_COLOR").is_some()
    }
}

/// Names alone: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.vars.keys()).finish()
    }
}
