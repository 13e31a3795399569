//! Whether a request makes sense, judged by its values alone: limits, forms, and parts that must agree. Every fault of
//! a request is found in one go. What needs the state (is the name taken, does the skill exist) is not decided here.

mod agent;
mod env;
mod git;
pub mod limits;
mod memory;
mod message;
mod net;
mod resources;
#[cfg(feature = "kubernetes")]
pub(crate) use resources::quantity;
mod session;
mod skill;
mod text;

pub use agent::{agent, session_env};
pub use memory::memory;
pub use message::send_message;
pub use net::{EgressPattern, PatternError};
pub use session::{create_session, exec, session_patch};
pub use skill::{skill, skill_said};

use super::FieldError;

/// A field has to be there.
pub const REQUIRED: &str = "required";
/// A field that no such request has.
pub const UNKNOWN_FIELD: &str = "unknown_field";
/// A number where a string belongs, and the like.
pub const INVALID_TYPE: &str = "invalid_type";
/// Below the least number, length or count.
pub const TOO_SMALL: &str = "too_small";
/// Above the largest number, length or count.
pub const TOO_BIG: &str = "too_big";
/// Not of the form it must have.
pub const INVALID: &str = "invalid";
/// A name the platform keeps for itself.
pub const RESERVED: &str = "reserved";

/// The faults of one request, in the order they were found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Notes one more.
    pub fn add(&mut self, code: &str, path: &[&str], message: impl Into<String>) {
        self.0.push(FieldError {
            code: code.to_owned(),
            path: path.iter().map(|&part| part.to_owned()).collect(),
            message: message.into(),
        });
    }

    /// Nothing wrong: `Ok`. Otherwise all that is.
    pub fn into_result(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }

    /// At most `max` characters of text for people, and nothing in it that could steer a terminal it is shown on.
    fn line(&mut self, path: &[&str], value: &str, max: usize) {
        if let Err((code, message)) = text::line(value, max) {
            self.add(code, path, message);
        }
    }

    /// At most `max` bytes of any text but NUL, which neither a program's arguments nor PostgreSQL can hold.
    fn block(&mut self, path: &[&str], value: &str, max: usize) {
        if let Err((code, message)) = text::block(value, max) {
            self.add(code, path, message);
        }
    }

    /// `min..=max` entries.
    fn count(&mut self, path: &[&str], count: usize, max: usize) {
        if count > max {
            self.add(TOO_BIG, path, format!("has {count} entries; at most {max} are allowed"));
        }
    }

    /// A number within its bounds.
    fn within(&mut self, path: &[&str], value: u64, min: u64, max: u64) {
        if value < min {
            self.add(TOO_SMALL, path, format!("is {value}; the least is {min}"));
        } else if value > max {
            self.add(TOO_BIG, path, format!("is {value}; the most is {max}"));
        }
    }
}
