//! Conversations read back: turns as messages, what is new of one, what an agent asks to be allowed.

use std::collections::HashMap;

use uuid::Uuid;

use super::StoreError;
use super::sql::{Row, Sql, Tx, from_word};
use super::turns::{CANCELLED, MAX_QUEUED, Turn, Turns, not_found};
use crate::model::{
    Message, MessageId, MessageInfo, Part, PartBody, Permission, PermissionId, Role, SessionId,
};

/// What is new of a turn.
#[derive(Clone, PartialEq, Debug)]
pub struct News {
    /// The turn as it is.
    pub turn: Turn,
    /// Parts of its answer that have changed.
    pub parts: Vec<Part>,
    /// What the agent has asked to be allowed, or was answered.
    pub permissions: Vec<Permission>,
}

/// An answer that the agent has not been given yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Answered {
    /// Of which permission.
    pub id: PermissionId,
    /// The id of the agent's request.
    pub request: serde_json::Value,
    /// The option; nothing where nobody answers.
    pub option: Option<String>,
}

impl Turns<'_> {
    /// The turns of a session that are not over, in their order.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn open(&self, session: SessionId) -> Result<Vec<Turn>, StoreError> {
        let mut tx = self.store.read().await?;
        let open = Sql::new("SELECT * FROM turns WHERE status IN ('queued', 'running') AND session_id = ");
        let open = open.bind(session.to_string()).push(" ORDER BY seq LIMIT ").bind(MAX_QUEUED + 1);
        tx.rows(open).await?.iter().map(turn).collect()
    }

    /// The parts of a turn's answer so far.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn parts(&self, turn: Uuid) -> Result<Vec<Part>, StoreError> {
        let mut tx = self.store.read().await?;
        parts(&mut tx, turn, 0).await
    }

    /// Answers that the agent is to be given.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn answered(&self, turn: Uuid) -> Result<Vec<Answered>, StoreError> {
        let mut tx = self.store.read().await?;
        let found =
            Sql::new("SELECT * FROM permissions WHERE answer IS NOT NULL AND answered = ").bind(false);
        let found = found.push(" AND turn_id = ").bind(turn.to_string());
        let rows = tx.rows(found).await?;
        let answered = rows.iter().map(|row| {
            let option = row.maybe_text("answer")?.filter(|answer| answer != CANCELLED);
            Ok(Answered { id: row.word("id")?, request: row.json("request")?, option })
        });
        answered.collect()
    }

    /// What a session's agent asks to be allowed and was not answered.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn waiting(&self, session: SessionId) -> Result<Vec<Permission>, StoreError> {
        let mut tx = self.store.read().await?;
        let found = Sql::new("SELECT * FROM permissions WHERE answer IS NULL AND session_id = ")
            .bind(session.to_string());
        tx.rows(found.push(" ORDER BY created_at, id LIMIT 100")).await?.iter().map(permission).collect()
    }

    /// What is new of a turn since a revision.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the session has no such turn.
    pub async fn since(&self, session: SessionId, id: Uuid, revision: u64) -> Result<News, StoreError> {
        let mut tx = self.store.read().await?;
        let turn = find(&mut tx, id).await?.filter(|turn| turn.session_id == session);
        let turn = turn.ok_or_else(|| not_found(id))?;
        let parts = parts(&mut tx, id, revision).await?;
        let asked = Sql::new("SELECT * FROM permissions WHERE turn_id = ").bind(id.to_string());
        let asked = asked.push(" AND revision > ").bind(revision).push(" ORDER BY created_at, id LIMIT 100");
        let permissions = tx.rows(asked).await?.iter().map(permission).collect::<Result<_, _>>()?;
        Ok(News { turn, parts, permissions })
    }

    /// Messages of a session from a place on, two of each turn, oldest first; with how many there are.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn messages(
        &self,
        session: SessionId,
        offset: u64,
        limit: u32,
    ) -> Result<(Vec<Message>, u64), StoreError> {
        let mut tx = self.store.read().await?;
        let total =
            Sql::new("SELECT COUNT(*) AS total FROM turns WHERE session_id = ").bind(session.to_string());
        let total = tx.row(total).await?.map_or(Ok(0), |row| row.count("total"))? * 2;
        // Turns are numbered without holes.
        let found = Sql::new("SELECT * FROM turns WHERE session_id = ")
            .bind(session.to_string())
            .push(" AND seq > ")
            .bind(offset / 2)
            .push(" ORDER BY seq LIMIT ")
            .bind(limit / 2 + 1);
        let turns = tx.rows(found).await?.iter().map(turn).collect::<Result<Vec<_>, _>>()?;
        let mut of_turns: HashMap<Uuid, Vec<Part>> = HashMap::new();
        for turn in &turns {
            of_turns.insert(turn.id, parts(&mut tx, turn.id, 0).await?);
        }
        let both = turns.iter().flat_map(|turn| {
            let reply = of_turns.remove(&turn.id).unwrap_or_default();
            [turn.question(), turn.answer(reply)]
        });
        let skipped = usize::from(offset % 2 == 1);
        Ok((both.skip(skipped).take(limit as usize).collect(), total))
    }
}

impl Turn {
    /// The question.
    #[must_use]
    pub fn question(&self) -> Message {
        let info = MessageInfo {
            id: MessageId(self.id),
            role: Role::User,
            delivery: Some(self.delivery),
            ..self.info()
        };
        Message { info, parts: self.prompt.iter().map(bare).collect() }
    }

    /// The answer, whose parts these are.
    #[must_use]
    pub fn answer(&self, parts: Vec<Part>) -> Message {
        Message { info: self.info(), parts }
    }

    fn info(&self) -> MessageInfo {
        MessageInfo {
            id: self.reply_id,
            session_id: self.session_id,
            turn_id: self.id,
            role: Role::Assistant,
            status: self.status,
            delivery: None,
            model: self.model.clone(),
            tokens: self.tokens,
            cost: self.cost.map(|cost| cost as f64 / 1_000_000.0),
            stop_reason: self.stop_reason.clone(),
            error: self.error.clone(),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        }
    }
}

/// Without a picture's bytes: whoever sent it has it.
pub(super) fn bare(part: &Part) -> Part {
    match &part.body {
        PartBody::Image { mime_type, .. } => {
            let body = PartBody::Image { mime_type: mime_type.clone(), base64: None };
            Part { id: part.id.clone(), body }
        }
        _ => part.clone(),
    }
}

pub(super) async fn find(tx: &mut Tx, id: Uuid) -> Result<Option<Turn>, StoreError> {
    let found = tx.row(Sql::new("SELECT * FROM turns WHERE id = ").bind(id.to_string())).await?;
    found.as_ref().map(turn).transpose()
}

async fn parts(tx: &mut Tx, turn: Uuid, revision: u64) -> Result<Vec<Part>, StoreError> {
    let found = Sql::new("SELECT part FROM turn_parts WHERE turn_id = ").bind(turn.to_string());
    let found = found.push(" AND revision > ").bind(revision).push(" ORDER BY place");
    tx.rows(found).await?.iter().map(|row| row.json("part")).collect()
}

fn turn(row: &Row) -> Result<Turn, StoreError> {
    let number = |column| -> Result<Option<u64>, StoreError> {
        Ok(row.maybe_whole(column)?.and_then(|number| u64::try_from(number).ok()))
    };
    Ok(Turn {
        id: from_word(&row.text("id")?)?,
        reply_id: row.word("reply_id")?,
        session_id: row.word("session_id")?,
        seq: row.count("seq")?,
        status: row.word("status")?,
        delivery: row.word("delivery")?,
        prompt: row.json("prompt")?,
        request: number("request")?,
        cancel: row.truth("cancel")?,
        model: row.maybe_text("model")?,
        tokens: row.json("tokens")?,
        cost: number("cost")?,
        stop_reason: row.maybe_text("stop_reason")?,
        error: row.maybe_text("error")?,
        revision: row.count("revision")?,
        created_at: row.time("created_at")?,
        started_at: row.maybe_time("started_at")?,
        finished_at: row.maybe_time("finished_at")?,
    })
}

pub(super) fn permission(row: &Row) -> Result<Permission, StoreError> {
    Ok(Permission {
        id: row.word("id")?,
        session_id: row.word("session_id")?,
        turn_id: from_word(&row.text("turn_id")?)?,
        title: row.text("title")?,
        part_id: row.maybe_text("part_id")?,
        options: row.json("options")?,
        answer: row.maybe_text("answer")?,
        created_at: row.time("created_at")?,
    })
}
