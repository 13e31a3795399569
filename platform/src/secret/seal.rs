//! Encryption of what is stored, bound to the row it belongs to.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::SecretKey;

/// First byte of everything sealed: how the rest is to be read.
const FORMAT: u8 = 1;
/// Bytes that name the key, so that a rotation can tell which one a value was sealed with.
const KEY_ID: usize = 4;
/// XChaCha20's nonce: long enough to be drawn at random for every value without a counter.
const NONCE: usize = 24;
/// Bytes before the ciphertext.
const HEADER: usize = 1 + KEY_ID + NONCE;

/// Seals values for storage (XChaCha20-Poly1305). Each is bound to a context, such as `agents/<id>/env_vars`: moved to
/// another row or column it does not open.
///
/// Sealed: format byte, 4 bytes of key id, 24 of nonce, ciphertext with its tag.
#[derive(Clone)]
pub struct SecretBox {
    cipher: XChaCha20Poly1305,
    key_id: [u8; KEY_ID],
    fingerprint_key: Zeroizing<[u8; 32]>,
}

impl SecretBox {
    /// One that seals with this key.
    #[must_use]
    pub fn new(key: &SecretKey) -> SecretBox {
        let sealing = key.derive(b"lap seal v1");
        let mut key_id = [0; KEY_ID];
        key_id.copy_from_slice(&key.derive(b"lap key id v1")[..KEY_ID]);
        SecretBox {
            cipher: XChaCha20Poly1305::new((&*sealing).into()),
            key_id,
            fingerprint_key: key.derive(b"lap fingerprint v1"),
        }
    }

    /// Seals a value for a context.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn seal(&self, context: &str, value: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut sealed = Vec::with_capacity(HEADER + value.len() + 16);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.key_id);
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| OpenError::NoRandomness)?;
        sealed.extend_from_slice(&nonce);
        let bound = bound(&sealed[..1 + KEY_ID], context);
        let body = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &bound })
            .map_err(|_| OpenError::Damaged)?;
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what [`SecretBox::seal`] has sealed for the same context.
    ///
    /// # Errors
    /// [`OpenError::OtherKey`] where it was sealed with another key, [`OpenError::Damaged`] where it was changed or
    /// belongs elsewhere.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (Some(&[format, ..]), Some((head, rest))) =
            (sealed.first_chunk::<1>(), sealed.split_at_checked(1 + KEY_ID))
        else {
            return Err(OpenError::Damaged);
        };
        if format != FORMAT {
            return Err(OpenError::Damaged);
        }
        if head[1..] != self.key_id {
            return Err(OpenError::OtherKey);
        }
        let Some((nonce, body)) = rest.split_first_chunk::<NONCE>() else {
            return Err(OpenError::Damaged);
        };
        let bound = bound(head, context);
        self.cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: &bound })
            .map(Zeroizing::new)
            .map_err(|_| OpenError::Damaged)
    }

    /// A keyed hash: tells whether two values are the same without giving away what they were.
    #[must_use]
    pub fn fingerprint(&self, value: &[u8]) -> [u8; 32] {
        keyed_hash(&self.fingerprint_key, value)
    }
}

impl std::fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBox")
    }
}

/// HMAC-SHA256.
pub(super) fn keyed_hash(key: &[u8; 32], value: &[u8]) -> [u8; 32] {
    // HMAC pads a key that is shorter than its block with zeros (RFC 2104); done here, nothing can fail.
    let mut block = Zeroizing::new([0; 64]);
    block[..key.len()].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new((&*block).into());
    mac.update(value);
    mac.finalize().into_bytes().into()
}

fn bound(head: &[u8], context: &str) -> Vec<u8> {
    [head, context.as_bytes()].concat()
}

/// Why a sealed value did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed with another key.
    #[error(
        "it was encrypted with another key: start with the ENCRYPTION_KEY (or key file) it was made with"
    )]
    OtherKey,
    /// It was changed, cut, or taken from another row.
    #[error("an encrypted value is damaged or belongs to another row")]
    Damaged,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret_box(key: &str) -> SecretBox {
        SecretBox::new(&SecretKey::from_text(key).unwrap())
    }

    #[test]
    fn opens_only_for_its_own_row() {
        let secrets = secret_box("correct horse battery");
        let sealed = secrets.seal("agents/1/env_vars", b"value").unwrap();
        assert_eq!(*secrets.open("agents/1/env_vars", &sealed).unwrap(), b"value");
        assert_eq!(secrets.open("agents/2/env_vars", &sealed).unwrap_err(), OpenError::Damaged);
    }

    #[test]
    fn another_key_is_told_from_damage() {
        let sealed = secret_box("correct horse battery").seal("x", b"value").unwrap();
        assert_eq!(secret_box("another horse battery").open("x", &sealed).unwrap_err(), OpenError::OtherKey);
    }

    #[test]
    fn the_same_value_is_never_sealed_alike() {
        let secrets = secret_box("correct horse battery");
        assert_ne!(secrets.seal("x", b"value").unwrap(), secrets.seal("x", b"value").unwrap());
    }

    proptest! {
        #[test]
        fn any_change_of_any_byte_is_noticed(value: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let secrets = secret_box("correct horse battery");
            let mut sealed = secrets.seal("x", &value).unwrap();
            prop_assert_eq!(&*secrets.open("x", &sealed).unwrap(), &value);
            let at = at.index(sealed.len());
            sealed[at] ^= flip;
            prop_assert!(secrets.open("x", &sealed).is_err());
        }

        #[test]
        fn garbage_is_refused(garbage: Vec<u8>) {
            prop_assert!(secret_box("correct horse battery").open("x", &garbage).is_err());
        }
    }
}
