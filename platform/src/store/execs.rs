//! Commands in sessions' sandboxes. Each has a row before it is started, so that the server that goes on with a session
//! knows which programs at its keeper are still wanted; one under a key keeps what it was asked to run, and its result.

use jiff::{SignedDuration, Timestamp};

use super::owners::FREE;
use super::sql::Sql;
use super::{OwnerId, Store, StoreError};
use crate::model::{ExecRequest, ExecResult, SessionId};
use crate::sandbox::SandboxName;

/// For how long the result of one under a key is kept: as long as its key.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Commands.
#[derive(Debug)]
pub struct Execs<'a> {
    pub(super) store: &'a Store,
}

/// A command to be begun.
#[derive(Clone, PartialEq, Debug)]
pub struct NewExec {
    /// Its program's id at the keeper: the same for the same command, asked for again.
    pub id: String,
    /// Whose it is.
    pub session_id: SessionId,
    /// The sandbox it is begun in: a session that is restarted gets another, where the command is not run again.
    pub sandbox: SandboxName,
    /// Who sees it through.
    pub owner: OwnerId,
    /// What is to be run, where it is under a key.
    pub request: Option<ExecRequest>,
    /// When its time is up.
    pub ends_by: Timestamp,
}

/// Where a command stands.
#[derive(Clone, PartialEq, Debug)]
pub enum ExecStand {
    /// It runs, or is to be run.
    Running {
        /// Until then at the latest.
        ends_by: Timestamp,
        /// Where it was begun.
        sandbox: SandboxName,
    },
    /// It has ended.
    Done(ExecResult),
}

impl Execs<'_> {
    /// Writes a command down before it is started, or finds the one that was written down under its id.
    ///
    /// # Errors
    /// Where the database cannot be read and written.
    pub async fn begin(&self, new: &NewExec) -> Result<ExecStand, StoreError> {
        let mut write = self.store.begin().await?;
        let too_old = write.now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        write.tx.run(Sql::new("DELETE FROM execs WHERE created_at <= ").bind(too_old)).await?;
        let insert = Sql::new(
            "INSERT INTO execs (id, session_id, owner, sandbox, request, ends_by, created_at) VALUES (",
        )
        .bind_all([
            new.id.as_str().into(),
            new.session_id.to_string().into(),
            new.owner.to_string().into(),
            new.sandbox.0.as_str().into(),
            self.sealed(&new.id, "request", new.request.as_ref())?.into(),
            new.ends_by.into(),
            write.now.into(),
        ])
        .push(") ON CONFLICT (id) DO UPDATE SET owner = excluded.owner RETURNING result, ends_by, sandbox");
        let row = write.tx.row(insert).await?;
        let row =
            row.ok_or_else(|| StoreError::Internal("a row that was written is not there".to_owned()))?;
        let stand = match row.maybe_bytes("result")? {
            Some(sealed) => ExecStand::Done(self.store.unseal(&context(&new.id, "result"), &sealed)?),
            None => ExecStand::Running {
                ends_by: row.time("ends_by")?,
                sandbox: row.maybe_text("sandbox")?.map_or_else(|| new.sandbox.clone(), SandboxName),
            },
        };
        write.commit().await?;
        Ok(stand)
    }

    /// Keeps what came of one under a key.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn finish(&self, id: &str, result: &ExecResult) -> Result<(), StoreError> {
        let sealed = self.sealed(id, "result", Some(result))?;
        let mut write = self.store.begin().await?;
        write
            .tx
            .run(Sql::new("UPDATE execs SET result = ").bind(sealed).push(" WHERE id = ").bind(id))
            .await?;
        write.commit().await
    }

    /// What came of one, if it has ended and that was kept.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn result(&self, id: &str) -> Result<Option<ExecResult>, StoreError> {
        let mut tx = self.store.read().await?;
        let row = tx.row(Sql::new("SELECT result FROM execs WHERE id = ").bind(id)).await?;
        let sealed = row.map(|row| row.maybe_bytes("result")).transpose()?.flatten();
        sealed.map(|sealed| self.store.unseal(&context(id, "result"), &sealed)).transpose()
    }

    /// Forgets one.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn forget(&self, id: &str) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        write.tx.run(Sql::new("DELETE FROM execs WHERE id = ").bind(id)).await?;
        write.commit().await
    }

    /// The commands of a session that have not ended and that no other server sees through: from here on `owner` does.
    /// `sandbox`: the session's now.
    ///
    /// # Errors
    /// Where the database cannot be read and written.
    pub async fn take_over(
        &self,
        session: SessionId,
        sandbox: &SandboxName,
        owner: OwnerId,
    ) -> Result<Vec<NewExec>, StoreError> {
        let mut write = self.store.begin().await?;
        let taken = Sql::new("UPDATE execs SET owner = ")
            .bind(owner.to_string())
            .push(" WHERE result IS NULL AND session_id = ")
            .bind(session.to_string())
            .push(" AND (owner = ")
            .bind(owner.to_string())
            .push(" OR ")
            .push(FREE)
            .push(") RETURNING id, sandbox, request, ends_by");
        let rows = write.tx.rows(taken).await?;
        write.commit().await?;
        rows.iter()
            .map(|row| {
                let id = row.text("id")?;
                let request = row.maybe_bytes("request")?;
                let request =
                    request.map(|sealed| self.store.unseal(&context(&id, "request"), &sealed)).transpose()?;
                let began_in = row.maybe_text("sandbox")?.map_or_else(|| sandbox.clone(), SandboxName);
                let ends_by = row.time("ends_by")?;
                Ok(NewExec { session_id: session, sandbox: began_in, owner, request, ends_by, id })
            })
            .collect()
    }

    /// The ids of all commands of a session that are written down.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn ids(&self, session: SessionId) -> Result<Vec<String>, StoreError> {
        let mut tx = self.store.read().await?;
        let sql = Sql::new("SELECT id FROM execs WHERE session_id = ").bind(session.to_string());
        tx.rows(sql).await?.iter().map(|row| row.text("id")).collect()
    }

    fn sealed<T: serde::Serialize>(
        &self,
        id: &str,
        what: &str,
        value: Option<&T>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        value.map(|value| self.store.seal(&context(id, what), value)).transpose()
    }
}

fn context(id: &str, what: &str) -> String {
    format!("execs/{id}/{what}")
}
