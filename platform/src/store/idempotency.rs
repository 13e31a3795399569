//! Answers kept under Idempotency-Keys.

use jiff::{SignedDuration, Timestamp};

use uuid::Uuid;

use super::owners::FREE;
use super::sql::Sql;
use super::{OwnerId, Store, StoreError};

/// For how long an answer is kept for a request that is sent again.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
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
    /// It is to be done, and then [`Idempotency::finish`] or [`Idempotency::put_down`]: it is new, was put down, or
    /// whoever did it is gone.
    Begun {
        /// The id of what it makes. The same each time, so that what was made before it was cut off is found again.
        makes: Uuid,
    },
    /// It was done: give this answer again.
    Answered(StoredAnswer),
    /// Another server does it at this moment.
    AtWork,
    /// Its key was used for another body.
    OtherBody,
}

impl Idempotency<'_> {
    /// Begins a request: marks it as being done by `owner`, unless another server does it or it has been done. That no
    /// two of one server do it at once is the caller's to see to. Keys of different routes have nothing to do with each
    /// other; of the body only a keyed hash is kept.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a key that is empty or longer than 255 bytes.
    pub async fn begin(
        &self,
        owner: OwnerId,
        route: &str,
        key: &str,
        body: &[u8],
    ) -> Result<IdempotencyOutcome, StoreError> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(StoreError::Invalid(format!("Idempotency-Key must have 1 to {MAX_KEY} bytes")));
        }
        let hash = self.store.inner.secrets.fingerprint(body);
        let mut write = self.store.begin().await?;
        let too_old = write.now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        write.tx.run(Sql::new("DELETE FROM idempotency_keys WHERE created_at <= ").bind(too_old)).await?;
        let insert = Sql::new(
            "INSERT INTO idempotency_keys (route, key, body_hash, makes, owner, created_at) VALUES (",
        )
        .bind_all([
            route.into(),
            key.into(),
            hash.to_vec().into(),
            Uuid::now_v7().to_string().into(),
            owner.to_string().into(),
            write.now.into(),
        ]);
        let new = write.tx.run(insert.push(") ON CONFLICT (route, key) DO NOTHING")).await? > 0;
        let seen = Sql::new("SELECT body_hash, status, answer, makes FROM idempotency_keys WHERE route = ");
        let seen = seen.bind(route).push(" AND key = ").bind(key);
        let Some(row) = write.tx.row(seen).await? else { return Ok(IdempotencyOutcome::AtWork) };
        let outcome = if !crate::secret::equal(&row.bytes("body_hash")?, &hash) {
            IdempotencyOutcome::OtherBody
        } else if let (Some(status), Some(sealed)) = (row.maybe_whole("status")?, row.maybe_bytes("answer")?)
        {
            let status = u16::try_from(status).map_err(StoreError::internal)?;
            let body = self.store.inner.secrets.open(&context(route, key), &sealed);
            let body = body.map_err(StoreError::internal)?.to_vec();
            IdempotencyOutcome::Answered(StoredAnswer { status, body })
        } else {
            let take = Sql::new("UPDATE idempotency_keys SET owner = ").bind(owner.to_string());
            let take = take.push(" WHERE route = ").bind(route).push(" AND key = ").bind(key);
            let take = take.push(" AND status IS NULL AND (owner = ").bind(owner.to_string());
            let take = take.push(" OR ").push(FREE).push(")");
            if new || write.tx.run(take).await? > 0 {
                IdempotencyOutcome::Begun { makes: row.word("makes")? }
            } else {
                IdempotencyOutcome::AtWork
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

    /// Puts down a request that was begun and has no answer that would be the same for good: it can be tried again with
    /// the same key, and goes on from what was made.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn put_down(&self, route: &str, key: &str) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        let sql = Sql::new("UPDATE idempotency_keys SET owner = NULL WHERE status IS NULL AND route = ");
        write.tx.run(sql.bind(route).push(" AND key = ").bind(key)).await?;
        write.commit().await
    }
}

fn context(route: &str, key: &str) -> String {
    format!("idempotency_keys/{route}/{key}/answer")
}
