//! Conversations in the database: turns, their parts, what agents ask to be allowed, and how far a program has been read.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sql::{Sql, json, to_word};
use super::turns_read::{bare, find, permission};
use super::{ResourceRef, Store, StoreError, Write};
use crate::model::{
    ChangeKind, Delivery, MessageId, Part, Permission, PermissionId, SessionId, Tokens, TurnStatus,
};

/// Turns that may wait behind the one that runs.
pub(super) const MAX_QUEUED: u64 = 32;
/// The answer of a permission that nobody gives any more.
pub const CANCELLED: &str = "cancelled";

/// Conversations.
#[derive(Debug)]
pub struct Turns<'a> {
    pub(super) store: &'a Store,
}

/// A question and its answer, but for the answer's parts.
#[derive(Clone, PartialEq, Debug)]
pub struct Turn {
    /// Its id, and the question's.
    pub id: Uuid,
    /// The answer's id.
    pub reply_id: MessageId,
    /// Whose conversation it is of.
    pub session_id: SessionId,
    /// 1, 2, 3 in its session.
    pub seq: u64,
    /// Where it stands.
    pub status: TurnStatus,
    /// How far the question has come.
    pub delivery: Delivery,
    /// The question.
    pub prompt: Vec<Part>,
    /// The id of the request that the program was given for it.
    pub request: Option<u64>,
    /// Whether somebody wants it ended.
    pub cancel: bool,
    /// The agent's model.
    pub model: Option<String>,
    /// What it took.
    pub tokens: Tokens,
    /// What it cost, in millionths of a US dollar.
    pub cost: Option<u64>,
    /// Why the answer ended.
    pub stop_reason: Option<String>,
    /// Why there is no whole answer.
    pub error: Option<String>,
    /// Rises with every change of it and its parts.
    pub revision: u64,
    /// When it was asked.
    pub created_at: jiff::Timestamp,
    /// When it began.
    pub started_at: Option<jiff::Timestamp>,
    /// When it ended.
    pub finished_at: Option<jiff::Timestamp>,
}

/// A question.
#[derive(Clone, PartialEq, Debug)]
pub struct NewTurn {
    /// Its id.
    pub id: Uuid,
    /// Of which session.
    pub session_id: SessionId,
    /// What is asked.
    pub prompt: Vec<Part>,
    /// Whether it waits where another runs.
    pub queue: bool,
    /// The agent's model.
    pub model: Option<String>,
}

/// How a session's program that speaks ACP stands with us.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// The program's in its keeper; nothing while none runs.
    pub epoch: Option<u64>,
    /// What it was asked last, until it can be prompted.
    pub stage: Stage,
    /// Its own id of the conversation.
    pub acp_session: Option<String>,
    /// Whether it can take up a conversation again.
    pub loads: bool,
    /// Whether it takes a system prompt.
    pub takes_prompt: bool,
    /// Output that has been dealt with: an absolute offset.
    pub read_at: u64,
    /// Where `writing` begins in its input: an absolute offset.
    pub written_at: u64,
    /// Lines on their way into it: it may or may not have them.
    pub writing: Vec<u8>,
    /// The id of our next request.
    pub next_id: u64,
}

/// How far a program has been brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It has not been asked anything.
    #[default]
    Fresh,
    /// It was asked what it can do.
    Initializing(u64),
    /// It was asked for a conversation.
    Opening(u64),
    /// It was asked to take one up again.
    Loading(u64),
    /// It can be prompted.
    Ready,
}

/// What came of a while: stored together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Step<'a> {
    /// How the program stands.
    pub conversation: Option<&'a Conversation>,
    /// The turn as it is now. Its revision is set here.
    pub turn: Option<Turn>,
    /// Parts of its answer that have changed, by their places.
    pub parts: Vec<(usize, &'a Part)>,
    /// Something the agent asks to be allowed, with the id of its request.
    pub asked: Option<(Permission, serde_json::Value)>,
    /// Permissions whose answer the agent has been given.
    pub told: Vec<PermissionId>,
    /// The answer's words, once it is whole.
    pub response: Option<String>,
}

impl Turns<'_> {
    /// A new turn. Asked again under its id, it is the same.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where another runs and it is not to wait, or too many wait.
    pub async fn ask(&self, new: NewTurn) -> Result<Turn, StoreError> {
        let mut write = self.store.begin().await?;
        // Questions of one session follow one another.
        let lock = Sql::new("SELECT id FROM sessions WHERE erased_at IS NULL AND id = ");
        let lock = lock.bind(new.session_id.to_string()).push(write.tx.for_update());
        write.tx.row(lock).await?.ok_or_else(|| super::sessions::not_found(new.session_id))?;
        if let Some(turn) = find(&mut write.tx, new.id).await? {
            return Ok(turn);
        }
        let open = Sql::new(
            "SELECT COUNT(*) AS total FROM turns WHERE status IN ('queued', 'running') AND session_id = ",
        );
        let open = write.tx.row(open.bind(new.session_id.to_string())).await?;
        let open = open.map_or(Ok(0), |row| row.count("total"))?;
        if open > 0 && !new.queue {
            let what =
                "a turn is running: wait for its end, abort it, or send the message with \"queue\": true";
            return Err(StoreError::Conflict(what.to_owned()));
        }
        if open > MAX_QUEUED {
            return Err(StoreError::Conflict(format!("{MAX_QUEUED} messages wait already, as many as may")));
        }
        let last = Sql::new("SELECT COALESCE(MAX(seq), 0) AS last FROM turns WHERE session_id = ");
        let last = write.tx.row(last.bind(new.session_id.to_string())).await?;
        let seq = last.map_or(Ok(0), |row| row.count("last"))? + 1;
        let insert = Sql::new(
            "INSERT INTO turns (id, reply_id, session_id, seq, status, delivery, prompt, cancel, model, tokens, revision, \
             created_at) VALUES (",
        )
        .bind_all([
            new.id.to_string().into(),
            MessageId::new().to_string().into(),
            new.session_id.to_string().into(),
            seq.into(),
            TurnStatus::Queued.as_str().into(),
            to_word(Delivery::Queued)?.into(),
            json(&new.prompt)?.into(),
            false.into(),
            new.model.into(),
            json(&Tokens::default())?.into(),
            1_i64.into(),
            write.now.into(),
        ]);
        write.tx.run(insert.push(")")).await?;
        // Whichever server works on the session hears of it.
        write.change(ChangeKind::Updated, ResourceRef::Session(new.session_id)).await?;
        let turn = find(&mut write.tx, new.id).await?.ok_or_else(|| not_found(new.id))?;
        write.commit().await?;
        Ok(turn)
    }

    /// How a session's program stands with us.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn conversation(&self, session: SessionId) -> Result<Conversation, StoreError> {
        let mut tx = self.store.read().await?;
        let found = Sql::new("SELECT state FROM conversations WHERE session_id = ").bind(session.to_string());
        match tx.row(found).await? {
            Some(row) => self.store.unseal(&context(session), &row.bytes("state")?),
            None => Ok(Conversation::default()),
        }
    }

    /// Stores what came of a while. Gives the turn as it was stored.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn save(&self, session: SessionId, step: Step<'_>) -> Result<Option<Turn>, StoreError> {
        let mut write = self.store.begin().await?;
        if let Some(conversation) = step.conversation {
            let state = self.store.seal(&context(session), conversation)?;
            let upsert = Sql::new("INSERT INTO conversations (session_id, state) VALUES (")
                .bind_all([session.to_string().into(), state.into()])
                .push(") ON CONFLICT (session_id) DO UPDATE SET state = excluded.state");
            write.tx.run(upsert).await?;
        }
        let saved = match step.turn {
            Some(turn) => Some(write.turn(turn, &step.parts).await?),
            None => None,
        };
        if saved.as_ref().is_some_and(|turn| turn.status.is_over()) {
            write.change(ChangeKind::Updated, ResourceRef::Session(session)).await?;
        }
        let revision = saved.as_ref().map_or(0, |turn| turn.revision);
        if let Some((permission, request)) = step.asked {
            write.ask_permission(&permission, &request, revision).await?;
        }
        for id in step.told {
            let told = Sql::new("UPDATE permissions SET answered = ").bind(true).push(" WHERE id = ");
            write.tx.run(told.bind(id.to_string())).await?;
        }
        if let Some(response) = step.response {
            let update = Sql::new("UPDATE sessions SET response = ").bind(response).push(" WHERE id = ");
            write.tx.run(update.bind(session.to_string())).await?;
        }
        write.commit().await?;
        Ok(saved)
    }

    /// Asks for the end of the turn that runs, and takes back those that wait. Gives how many there are of both.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn cancel(&self, session: SessionId) -> Result<u64, StoreError> {
        let mut write = self.store.begin().await?;
        let waiting = Sql::new("UPDATE turns SET revision = revision + 1, status = 'cancelled', stop_reason = 'cancelled', finished_at = ")
            .bind(write.now)
            .push(" WHERE status = 'queued' AND session_id = ")
            .bind(session.to_string());
        let waiting = write.tx.run(waiting).await?;
        let running = Sql::new("UPDATE turns SET cancel = ")
            .bind(true)
            .push(" WHERE status = 'running' AND session_id = ");
        let running = write.tx.run(running.bind(session.to_string())).await?;
        if waiting + running > 0 {
            write.change(ChangeKind::Updated, ResourceRef::Session(session)).await?;
        }
        write.commit().await?;
        Ok(waiting + running)
    }

    /// Ends all turns of a session that can no longer go on.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn end_all(&self, session: SessionId, why: &str) -> Result<u64, StoreError> {
        let mut write = self.store.begin().await?;
        let ended = Sql::new("UPDATE turns SET revision = revision + 1, status = 'failed', error = ")
            .bind(why)
            .push(", finished_at = ")
            .bind(write.now)
            .push(" WHERE status IN ('queued', 'running') AND session_id = ")
            .bind(session.to_string());
        let ended = write.tx.run(ended).await?;
        let unanswered = Sql::new("UPDATE permissions SET answer = ")
            .bind(CANCELLED)
            .push(", answered = ")
            .bind(true)
            .push(" WHERE answer IS NULL AND session_id = ");
        write.tx.run(unanswered.bind(session.to_string())).await?;
        write.commit().await?;
        Ok(ended)
    }

    /// Answers what an agent asks to be allowed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] where it was answered before.
    pub async fn answer(
        &self,
        session: SessionId,
        id: PermissionId,
        choose: impl FnOnce(&Permission) -> Result<String, StoreError>,
    ) -> Result<Permission, StoreError> {
        let mut write = self.store.begin().await?;
        let found = Sql::new("SELECT * FROM permissions WHERE session_id = ").bind(session.to_string());
        let found = found.push(" AND id = ").bind(id.to_string()).push(write.tx.for_update());
        let row =
            write.tx.row(found).await?.ok_or_else(|| StoreError::NotFound(format!("permission {id}")))?;
        let mut permission = permission(&row)?;
        if let Some(answer) = &permission.answer {
            return Err(StoreError::Conflict(format!("it was answered already: {answer}")));
        }
        let answer = choose(&permission)?;
        let rise = Sql::new("UPDATE turns SET revision = revision + 1 WHERE id = ")
            .bind(permission.turn_id.to_string())
            .push(" RETURNING revision");
        let revision = write.tx.row(rise).await?.map_or(Ok(0), |row| row.count("revision"))?;
        let update = Sql::new("UPDATE permissions SET answer = ").bind(answer.as_str()).push(", revision = ");
        let update = update.bind(revision).push(" WHERE id = ").bind(id.to_string());
        write.tx.run(update).await?;
        write.change(ChangeKind::Updated, ResourceRef::Session(session)).await?;
        write.commit().await?;
        permission.answer = Some(answer);
        Ok(permission)
    }
}

impl Write<'_> {
    async fn turn(&mut self, turn: Turn, parts: &[(usize, &Part)]) -> Result<Turn, StoreError> {
        // A picture is of use until the turn is over.
        let prompt: Vec<Part> = turn
            .prompt
            .iter()
            .map(|part| if turn.status.is_over() { bare(part) } else { part.clone() })
            .collect();
        let update = Sql::new("UPDATE turns SET revision = revision + 1, status = ")
            .bind(turn.status.as_str())
            .push(", delivery = ")
            .bind(to_word(turn.delivery)?)
            .push(", prompt = ")
            .bind(json(&prompt)?)
            .push(", request = ")
            .bind(turn.request.map(i64::try_from).transpose().map_err(StoreError::internal)?)
            .push(", tokens = ")
            .bind(json(&turn.tokens)?)
            .push(", cost = ")
            .bind(turn.cost.map(i64::try_from).transpose().map_err(StoreError::internal)?)
            .push(", stop_reason = ")
            .bind(turn.stop_reason.clone())
            .push(", error = ")
            .bind(turn.error.clone())
            .push(", started_at = ")
            .bind(turn.started_at)
            .push(", finished_at = ")
            .bind(turn.finished_at)
            .push(" WHERE id = ")
            .bind(turn.id.to_string())
            .push(" RETURNING revision");
        let row = self.tx.row(update).await?.ok_or_else(|| not_found(turn.id))?;
        let revision = row.count("revision")?;
        for (place, part) in parts {
            let upsert = Sql::new("INSERT INTO turn_parts (turn_id, place, part, revision) VALUES (")
                .bind_all([
                    turn.id.to_string().into(),
                    (*place as u64).into(),
                    json(part)?.into(),
                    revision.into(),
                ])
                .push(
                    ") ON CONFLICT (turn_id, place) DO UPDATE SET part = excluded.part, revision = excluded.revision",
                );
            self.tx.run(upsert).await?;
        }
        Ok(Turn { revision, ..turn })
    }

    async fn ask_permission(
        &mut self,
        permission: &Permission,
        request: &serde_json::Value,
        revision: u64,
    ) -> Result<(), StoreError> {
        let insert = Sql::new(
            "INSERT INTO permissions (id, session_id, turn_id, request, title, part_id, options, answer, answered, \
             revision, created_at) VALUES (",
        )
        .bind_all([
            permission.id.to_string().into(),
            permission.session_id.to_string().into(),
            permission.turn_id.to_string().into(),
            json(request)?.into(),
            permission.title.as_str().into(),
            permission.part_id.clone().into(),
            json(&permission.options)?.into(),
            permission.answer.clone().into(),
            permission.answer.is_some().into(),
            revision.into(),
            permission.created_at.into(),
        ]);
        self.tx.run(insert.push(")")).await?;
        Ok(())
    }

    /// Removes the conversation of a session of which nothing is to be left.
    pub(super) async fn forget_turns(&mut self, session: SessionId) -> Result<(), StoreError> {
        for table in
            ["DELETE FROM conversations WHERE session_id = ", "DELETE FROM turns WHERE session_id = "]
        {
            self.tx.run(Sql::new(table).bind(session.to_string())).await?;
        }
        Ok(())
    }
}

pub(super) fn not_found(id: Uuid) -> StoreError {
    StoreError::NotFound(format!("turn {id} of this session"))
}

fn context(session: SessionId) -> String {
    format!("conversations/{session}")
}
