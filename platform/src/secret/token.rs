//! The tokens that open one session's terminal.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::seal::keyed_hash;
use super::{SecretKey, equal};
use crate::model::SessionId;

/// Tells these tokens from API tokens and from the master key at a glance, in configuration and in code.
const PREFIX: &str = "lap_tty_";
/// Format byte, session, expiry.
const BODY: usize = 1 + 16 + 8;
const MAC: usize = 32;
const FORMAT: u8 = 2;

/// Mints and checks tty tokens: the right to open one session's terminal, for a client that may not have the API's
/// key. Stateless, so that any server with the same key accepts them; a token ends by its expiry alone.
#[derive(Clone)]
pub struct TtyTokens {
    key: Zeroizing<[u8; 32]>,
}

impl TtyTokens {
    /// How long a token can be used to connect, in seconds: enough to read a session and open its terminal, short
    /// enough that one found in a history is worth nothing.
    pub const LIFETIME_SECONDS: i64 = 15 * 60;
    /// For how many of them the same token is given: a client that reads its session again and again keeps its
    /// terminal open instead of opening it with another token each time.
    pub const SHOWN_SECONDS: i64 = 5 * 60;

    /// Tokens signed with a key derived from this one.
    #[must_use]
    pub fn new(key: &SecretKey) -> TtyTokens {
        TtyTokens { key: key.derive(b"lap tty tokens v1") }
    }

    /// Whether this looks like a tty token, valid or not.
    #[must_use]
    pub fn looks_like_one(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// A token for that session's terminal: the same one until [`TtyTokens::SHOWN_SECONDS`] are over.
    ///
    /// # Errors
    /// When the time is none a token could end at.
    pub fn mint(&self, session: SessionId, now: Timestamp) -> Result<String, TokenError> {
        let shown = now.as_second().div_euclid(Self::SHOWN_SECONDS) * Self::SHOWN_SECONDS;
        let expires = Timestamp::from_second(shown)
            .map_err(|_| TokenError::Invalid)?
            .checked_add(SignedDuration::from_secs(Self::LIFETIME_SECONDS))
            .map_err(|_| TokenError::Invalid)?
            .as_second();
        let mut token = Vec::with_capacity(BODY + MAC);
        token.push(FORMAT);
        token.extend_from_slice(session.0.as_bytes());
        token.extend_from_slice(&expires.to_be_bytes());
        let mac = keyed_hash(&self.key, &token);
        token.extend_from_slice(&mac);
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&token)))
    }

    /// Which session's terminal a token opens.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] where it was not minted with this key, [`TokenError::Expired`] where its time is over.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<SessionId, TokenError> {
        let encoded = token.strip_prefix(PREFIX).ok_or(TokenError::Invalid)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Invalid)?;
        let (body, mac) = bytes.split_at_checked(BODY).ok_or(TokenError::Invalid)?;
        if !equal(&keyed_hash(&self.key, body), mac) {
            return Err(TokenError::Invalid);
        }
        let (format, rest) = body.split_first().ok_or(TokenError::Invalid)?;
        let (session, rest) = rest.split_first_chunk::<16>().ok_or(TokenError::Invalid)?;
        let (expires, _) = rest.split_first_chunk::<8>().ok_or(TokenError::Invalid)?;
        if *format != FORMAT {
            return Err(TokenError::Invalid);
        }
        let left = i64::from_be_bytes(*expires).saturating_sub(now.as_second());
        // A token that lives longer than one can was minted under a clock that has since been set back.
        if left <= 0 || left > Self::LIFETIME_SECONDS {
            return Err(TokenError::Expired);
        }
        Ok(SessionId(Uuid::from_bytes(*session)))
    }
}

impl std::fmt::Debug for TtyTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TtyTokens")
    }
}

/// Why a token does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not one of ours, or was changed.
    #[error("the terminal token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the terminal token has expired: read the session again for a new one")]
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(key: &str) -> TtyTokens {
        TtyTokens::new(&SecretKey::from_text(key).unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn opens_its_session_until_it_expires() {
        let tokens = tokens("correct horse battery");
        let session = SessionId::new();
        let token = tokens.mint(session, at(900)).unwrap();
        assert!(TtyTokens::looks_like_one(&token));
        assert_eq!(tokens.verify(&token, at(900)), Ok(session));
        assert_eq!(tokens.verify(&token, at(900 + 15 * 60 - 1)), Ok(session));
        assert_eq!(tokens.verify(&token, at(900 + 15 * 60)), Err(TokenError::Expired));
    }

    #[test]
    fn is_the_same_for_five_minutes_and_has_ten_left_at_least() {
        let tokens = tokens("correct horse battery");
        let (session, other) = (SessionId::new(), SessionId::new());
        let token = tokens.mint(session, at(900)).unwrap();
        assert_eq!(tokens.mint(session, at(900 + 299)).unwrap(), token);
        assert_ne!(tokens.mint(session, at(900 + 300)).unwrap(), token);
        assert_ne!(tokens.mint(other, at(900)).unwrap(), token);
        assert_eq!(tokens.verify(&token, at(900 + 299 + 10 * 60)), Ok(session));
    }

    #[test]
    fn a_clock_set_back_does_not_lengthen_its_life() {
        let tokens = tokens("correct horse battery");
        let token = tokens.mint(SessionId::new(), at(100_000)).unwrap();
        assert_eq!(tokens.verify(&token, at(10_000)), Err(TokenError::Expired));
    }

    #[test]
    fn another_key_or_any_changed_character_is_invalid() {
        let ours = tokens("correct horse battery");
        let token = ours.mint(SessionId::new(), at(0)).unwrap();
        assert_eq!(tokens("another horse battery").verify(&token, at(0)), Err(TokenError::Invalid));
        for at_byte in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at_byte] = if changed[at_byte] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(ours.verify(&changed, at(0)), Err(TokenError::Invalid), "byte {at_byte}");
        }
        for cut in 0..token.len() {
            assert_eq!(ours.verify(&token[..cut], at(0)), Err(TokenError::Invalid));
        }
    }
}
