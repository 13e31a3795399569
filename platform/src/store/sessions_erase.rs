//! Sessions of which nothing is to be left.

use jiff::{SignedDuration, Timestamp};

use super::sql::Sql;
use super::{ResourceRef, SessionRecord, Sessions, StoreError};
use crate::model::{ChangeKind, SessionId};

/// For how long the empty row of an erased one is kept: whoever follows the feed is told by it that it is gone.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Sessions that are found at a time whose time is over.
const MOST: u32 = 500;

impl Sessions<'_> {
    /// Empties a session's row and hides it: what it was called, was asked for with and came to.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn erase(&self, id: SessionId) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        let old = write.now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        write.tx.run(Sql::new("DELETE FROM sessions WHERE erased_at <= ").bind(old)).await?;
        let empty = Sql::new(
            "UPDATE sessions SET title = NULL, title_preview = '', search_text = '', phase_detail = NULL, \
             failure_reason = NULL, response = NULL, harness_session_id = NULL, steps = '{}', intent = NULL, \
             request = ",
        )
        .bind(Vec::new())
        .push(", erased_at = ")
        .bind(write.now)
        .push(" WHERE erased_at IS NULL AND id = ")
        .bind(id.to_string())
        .push(" RETURNING agent_id");
        let row = write.tx.row(empty).await?.ok_or_else(|| super::sessions::not_found(id))?;
        write.tx.run(Sql::new("DELETE FROM execs WHERE session_id = ").bind(id.to_string())).await?;
        write.forget_turns(id).await?;
        let counted = Sql::new("UPDATE agents SET session_count = session_count - 1 WHERE id = ");
        write.tx.run(counted.bind(row.text("agent_id")?)).await?;
        write.change(ChangeKind::Deleted, ResourceRef::Session(id)).await?;
        write.change(ChangeKind::Updated, ResourceRef::Agent(row.word("agent_id")?)).await?;
        write.commit().await
    }

    /// A session's row, also of one that was erased: for whoever tells that it is gone.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none any more.
    pub async fn last_state(&self, id: SessionId) -> Result<SessionRecord, StoreError> {
        let mut tx = self.store.read().await?;
        let row = tx.row(Sql::new("SELECT * FROM sessions WHERE id = ").bind(id.to_string())).await?;
        SessionRecord::read(&row.ok_or_else(|| super::sessions::not_found(id))?)
    }

    /// Sessions that ended before then, the oldest first, some at a time.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn ended_before(&self, then: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        let mut tx = self.store.read().await?;
        let sql = Sql::new(
            "SELECT id FROM sessions WHERE status IN ('dead', 'failed') AND NOT ending AND intent IS NULL \
             AND erased_at IS NULL AND stopped_at <= ",
        )
        .bind(then)
        .push(" ORDER BY stopped_at LIMIT ")
        .bind(MOST);
        tx.rows(sql).await?.iter().map(|row| row.word("id")).collect()
    }
}
