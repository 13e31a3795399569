//! Text that is wiped when it is dropped and never printed.

use std::fmt;

use zeroize::Zeroizing;

use super::mask;

/// A secret in words: shown masked, wiped from memory when it is let go.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The secret itself. Name it where it is used, never where it might be logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> SecretText {
        SecretText(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> SecretText {
        SecretText::from(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}
