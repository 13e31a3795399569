//! The tokens with which what runs in a session speaks to the server: of that session's agent, and of nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::seal::keyed_hash;
use super::{SecretKey, equal};
use crate::model::SessionId;

/// Tells these tokens from all others at a glance.
const PREFIX: &str = "lap_agent_";
/// Format byte, session.
const BODY: usize = 1 + 16;
const MAC: usize = 32;
const FORMAT: u8 = 1;

/// Mints and checks agent tokens. Stateless, so that any server with the same key accepts them; one ends with its session,
/// which whoever accepts it looks at.
#[derive(Clone)]
pub struct AgentTokens {
    key: Zeroizing<[u8; 32]>,
}

impl AgentTokens {
    /// Tokens signed with a key derived from this one.
    #[must_use]
    pub fn new(key: &SecretKey) -> AgentTokens {
        AgentTokens { key: key.derive(b"lap agent tokens v1") }
    }

    /// The token of a session.
    #[must_use]
    pub fn mint(&self, session: SessionId) -> String {
        let mut token = Vec::with_capacity(BODY + MAC);
        token.push(FORMAT);
        token.extend_from_slice(session.0.as_bytes());
        let mac = keyed_hash(&self.key, &token);
        token.extend_from_slice(&mac);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&token))
    }

    /// Whose token this is; nothing where it was not minted with this key.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<SessionId> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (body, mac) = bytes.split_at_checked(BODY)?;
        let (format, session) = body.split_first()?;
        let session: [u8; 16] = session.try_into().ok()?;
        let valid = equal(&keyed_hash(&self.key, body), mac) && *format == FORMAT;
        valid.then(|| SessionId(Uuid::from_bytes(session)))
    }
}

impl std::fmt::Debug for AgentTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentTokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_sessions_and_no_other_is() {
        let tokens = |key: &str| AgentTokens::new(&SecretKey::from_text(key).unwrap());
        let (ours, session) = (tokens("correct horse battery"), SessionId::new());
        let token = ours.mint(session);
        assert_eq!(ours.verify(&token), Some(session));
        assert_eq!(tokens("another horse battery").verify(&token), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.verify(&String::from_utf8(changed).unwrap()), None, "byte {at}");
            assert_eq!(ours.verify(&token[..at]), None, "cut at {at}");
        }
    }
}
