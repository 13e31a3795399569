//! What must not be read by others: values encrypted at rest, the keys for that, tokens, and how secrets are shown.
//!
//! - [`SecretBox`] seals values for the database, each bound to the row it belongs to.
//! - [`SecretKey`] and [`MasterKey`] are found or made once, at start.
//! - [`TtyTokens`] mints and checks the short-lived right to open one session's terminal.
//! - [`mask`] is the only form in which a secret is ever shown again.

mod agent_token;
mod keyfile;
mod keyring_store;
mod keys;
mod looks;
mod mask;
mod seal;
mod text;
mod token;

pub use agent_token::AgentTokens;
pub use keyfile::KeyFileError;
pub use keyring_store::Keyring;
pub use keys::{KeyError, KeyOrigin, MasterKey, SecretKey};
pub use looks::looks_secret;
pub use mask::{mask, mask_map};
pub use seal::{OpenError, SecretBox};
pub use text::SecretText;
pub use token::{TokenError, TtyTokens};

use subtle::ConstantTimeEq;

/// Whether two secrets are equal, in a time that depends on neither's contents. Their lengths may be learned.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
