//! Faults of a configuration, each with the place it came from.

use std::fmt;

use super::Origin;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it was given.
    pub origin: Option<Origin>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Clone, Debug)]
pub struct ConfigFaults {
    faults: Vec<Fault>,
}

impl ConfigFaults {
    pub(super) fn new(faults: Vec<Fault>) -> ConfigFaults {
        ConfigFaults { faults }
    }

    pub(super) fn of(message: String) -> ConfigFaults {
        ConfigFaults { faults: vec![Fault { origin: None, message }] }
    }

    /// One by one.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [one] => write!(f, "the configuration has a fault: {one}"),
            many => {
                write!(f, "the configuration has {} faults:", many.len())?;
                many.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for ConfigFaults {}
