//! What other servers on the same database change, heard as it happens: PostgreSQL tells each commit to whoever listens.
//! Where something in between keeps that back (a pooler of transactions does), looking now and then finds it too.

#[cfg(feature = "postgres")]
use std::time::Duration;

#[cfg(feature = "postgres")]
use sqlx::postgres::PgListener;

#[cfg(feature = "postgres")]
use super::error::explain;
use super::sql::{Pools, Sql};
use super::{Store, StoreError, Write};

/// The channel on which a commit tells the newest change's id.
const CHANNEL: &str = "lap_changes";
/// How late a change that was not told is found.
#[cfg(feature = "postgres")]
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Store {
    /// Wakes whoever watches the feed for the changes of other servers too, as long as this runs. Where no other can be
    /// at work it ends at once.
    ///
    /// # Errors
    /// Where the database cannot be listened to: to be tried again.
    pub(crate) async fn hear_others(&self) -> Result<(), StoreError> {
        match &self.inner.pools {
            Pools::Sqlite { .. } => Ok(()),
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => self.listen(pool).await,
        }
    }

    #[cfg(feature = "postgres")]
    async fn listen(&self, pool: &sqlx::PgPool) -> Result<(), StoreError> {
        let fault = |error: sqlx::Error| StoreError::from(explain(&error, &self.inner.place));
        let mut listener = PgListener::connect_with(pool).await.map_err(fault)?;
        listener.listen(CHANNEL).await.map_err(fault)?;
        loop {
            // At first, after a connection that broke, and after a while in which nothing was told.
            self.newer(self.changes().latest().await?);
            while let Ok(told) = tokio::time::timeout(LOOK_EVERY, listener.try_recv()).await {
                match told.map_err(fault)? {
                    Some(told) => self.newer(told.payload().parse().unwrap_or(0)),
                    None => break,
                }
            }
        }
    }

    /// The feed has come this far: whoever watches it is woken, if that is news.
    pub(super) fn newer(&self, latest: u64) {
        self.inner.latest.send_if_modified(|known| {
            let newer = latest > *known;
            *known = latest.max(*known);
            newer
        });
    }
}

impl Write<'_> {
    /// Tells the other servers with this commit.
    pub(super) async fn tell_others(&mut self, latest: u64) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let tell = Sql::new("SELECT pg_notify(").bind(CHANNEL).push(", ").bind(latest.to_string()).push(")");
        self.tx.row(tell).await.map(drop)
    }
}
