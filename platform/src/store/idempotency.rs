//! Answers kept under Idempotency-Keys.

use jiff::{SignedDuration, Timestamp};

use super::error::SqlFault;
use super::sql::Sql;
use super::{Store, StoreError};

/// For how long an answer is kept for a request that is sent again.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// For how long a request is taken to be still at work: longer than the longest turn (30 min). After that its server
/// is taken for dead, and the request is begun anew.
const AT_WORK: SignedDuration = SignedDuration::from_mins(45);
/// The longest key, in bytes.
pub(super) const MAX_KEY: usize = 255;

/// Answers to requests that carried an `Idempotency-Key`.
#[derive(Debug)]
pub struct Idempotency<'a> {
    pub(super) store: &'a Store,
}

/// An answer as it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// What is to be done with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IdempotencyOutcome {
    /// It is new: do it, then [`Idempotency::finish`] or [`Idempotency::abandon`] it.
    Begun,
    /// It was done: give this answer again.
    Answered(StoredAnswer),
    /// It is being done at this moment.
    AtWork,
    /// Its key was used for another body.
    OtherBody,
}

impl Idempotency<'_> {
    /// Begins a request: marks it as at work, unless it was seen before. Keys of different routes have nothing to do
    /// with each other; of the body only a keyed hash is kept.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a key that is empty or longer than 255 bytes.
    pub async fn begin(&self, route: &str, key: &str, body: &[u8]) -> Result<IdempotencyOutcome, StoreError> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(StoreError::Invalid(format!("Idempotency-Key must have 1 to {MAX_KEY} bytes")));
        }
        let hash = self.store.inner.secrets.fingerprint(body);
        let mut write = self.store.begin().await?;
        let now = write.now;
        let expired = Sql::new("DELETE FROM idempotency_keys WHERE created_at <= ")
            .bind(before(now, KEPT))
            .push(" OR (status IS NULL AND created_at <= ")
            .bind(before(now, AT_WORK));
        write.tx.run(expired.push(")")).await?;
        let seen =
            Sql::new("SELECT body_hash, status, answer FROM idempotency_keys WHERE route = ").bind(route);
        let outcome = match write.tx.row(seen.push(" AND key = ").bind(key)).await? {
            Some(row) if !crate::secret::equal(&row.bytes("body_hash")?, &hash) => {
                IdempotencyOutcome::OtherBody
            }
            Some(row) => match (row.maybe_whole("status")?, row.maybe_bytes("answer")?) {
                (Some(status), Some(sealed)) => {
                    let status = u16::try_from(status).map_err(StoreError::internal)?;
                    let body = self.store.inner.secrets.open(&context(route, key), &sealed);
                    let body = body.map_err(StoreError::internal)?.to_vec();
                    IdempotencyOutcome::Answered(StoredAnswer { status, body })
                }
                _ => IdempotencyOutcome::AtWork,
            },
            None => {
                let insert =
                    Sql::new("INSERT INTO idempotency_keys (route, key, body_hash, created_at) VALUES (")
                        .bind_all([route.into(), key.into(), hash.to_vec().into(), now.into()]);
                match write.tx.run(insert.push(")")).await {
                    Ok(_) => IdempotencyOutcome::Begun,
                    // Another server began it since we looked.
                    Err(SqlFault::Unique) => return Ok(IdempotencyOutcome::AtWork),
                    Err(SqlFault::Other(error)) => return Err(error),
                }
            }
        };
        write.commit().await?;
        Ok(outcome)
    }

    /// Keeps the answer to a request that was begun, sealed: it may carry what is shown only once.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn finish(&self, route: &str, key: &str, answer: &StoredAnswer) -> Result<(), StoreError> {
        let sealed = self
            .store
            .inner
            .secrets
            .seal(&context(route, key), &answer.body)
            .map_err(StoreError::internal)?;
        let mut write = self.store.begin().await?;
        let sql = Sql::new("UPDATE idempotency_keys SET status = ").bind(i64::from(answer.status));
        let sql = sql.push(", answer = ").bind(sealed).push(" WHERE route = ").bind(route);
        write.tx.run(sql.push(" AND key = ").bind(key)).await?;
        write.commit().await
    }

    /// Forgets a request that was begun and came to nothing, so that it can be tried again with the same key.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn abandon(&self, route: &str, key: &str) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        let sql = Sql::new("DELETE FROM idempotency_keys WHERE status IS NULL AND route = ").bind(route);
        write.tx.run(sql.push(" AND key = ").bind(key)).await?;
        write.commit().await
    }

    /// Forgets all requests at work: for a server that starts alone on its database, where they can be nobody's.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn abandon_all(&self) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        write.tx.run(Sql::new("DELETE FROM idempotency_keys WHERE status IS NULL")).await?;
        write.commit().await
    }
}

fn before(now: Timestamp, time: SignedDuration) -> Timestamp {
    now.checked_sub(time).unwrap_or(Timestamp::MIN)
}

fn context(route: &str, key: &str) -> String {
    format!("idempotency_keys/{route}/{key}/answer")
}
