//! Conversations with a session's agent: what is asked is stored, and one task per session (`talk`) has the agent's
//! program answer it. What comes of it is stored as it comes, so that whoever waits for it, on whatever connection, reads
//! it there; and so that a server that is killed is followed by one that goes on in the middle of a word.

mod agent;
mod heard;
mod talk;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::{Inner, SessionError, Sessions};
use crate::model::{
    AnswerPermission, Message, Page, Part, PartBody, Permission, PermissionId, PermissionOption,
    PermissionOutcome, SendMessage, SendPart, SessionId, SessionStatus,
};
use crate::store::{CANCELLED, NewTurn, News, StoreError, Turn};

/// How long a turn may take.
pub const TURN_TIME: Duration = Duration::from_secs(30 * 60);
/// How often whoever waits looks by itself, where another server does the work and its news may not be heard.
const LOOK: Duration = Duration::from_secs(2);

/// The conversations that this process holds: one task each.
#[derive(Debug, Default)]
pub(super) struct Talks(Mutex<HashSet<SessionId>>);

impl Talks {
    /// Enters a conversation until the guard is dropped; nothing where it is held already.
    fn enter(self: &Arc<Talks>, id: SessionId) -> Option<TalkGuard> {
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        new.then(|| TalkGuard { all: Arc::clone(self), id })
    }
}

/// One of them.
struct TalkGuard {
    all: Arc<Talks>,
    id: SessionId,
}

impl Drop for TalkGuard {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Inner {
    /// Sees to it that a session's questions are answered, where this server works on it.
    pub(super) fn take_up_turns(self: &Arc<Inner>, id: SessionId) {
        let Some(guard) = self.talks.enter(id) else { return };
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            let what = format!("the conversation of session {id}");
            tokio::select! {
                () = inner.stopping.cancelled() => return,
                _ = Box::pin(super::caught::caught(&what, talk::talk(&inner, id))) => {}
            }
            drop(guard);
            // What was asked while it was being left.
            if inner.has_turns(id).await {
                inner.take_up_turns(id);
            }
        });
    }

    /// Whether something is asked of a session that this server works on.
    async fn has_turns(&self, id: SessionId) -> bool {
        let record = self.store.sessions().get(id).await;
        let ours = record.is_ok_and(|record| {
            record.status == SessionStatus::Ready && !record.ending && record.owner == Some(self.owner.id)
        });
        ours && self.store.turns().open(id).await.is_ok_and(|open| !open.is_empty())
    }
}

impl Sessions {
    /// Asks a session's agent something. It is stored when this returns, and answered behind it. `key`: what the request's
    /// key makes.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where the session is not ready, its harness answers no messages, or another turn runs.
    pub async fn ask(&self, id: SessionId, message: SendMessage, key: Uuid) -> Result<Turn, SessionError> {
        let inner = &self.inner;
        let record = inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        if record.status != SessionStatus::Ready || record.ending {
            let stands = record.status.as_str();
            let what = format!("the session is {stands}: a message needs one that is ready");
            return Err(SessionError::Conflict(what));
        }
        let agent = inner.store.agents().last_state(record.agent_id).await;
        let agent = agent.map_err(SessionError::of_agent(record.agent_id))?.agent;
        let harness = inner.catalog.get(&agent.harness_id);
        if harness.is_none_or(|harness| harness.acp_command.is_empty()) {
            let name = harness.map_or(agent.harness_id.as_str(), |harness| harness.name.as_str());
            let what = format!("{name} answers no messages: it can be used in its terminal alone");
            return Err(SessionError::Conflict(what));
        }
        let model = Some(agent.model).filter(|model| model != crate::model::Agent::NO_MODEL);
        let prompt = parts(&message);
        let new = NewTurn { id: key, session_id: id, prompt, queue: message.queue, model };
        let turn = inner.store.turns().ask(new).await.map_err(SessionError::of_session(id))?;
        inner.tell_asked(id);
        Ok(turn)
    }

    /// Waits until there is news of a turn since a revision, or it is over.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn turn_news(&self, id: SessionId, turn: Uuid, revision: u64) -> Result<News, SessionError> {
        let inner = &self.inner;
        loop {
            let news = inner.table.get(id).map(|entry| entry.news()).unwrap_or_default();
            // Made before it is looked: what comes in between is heard.
            let mut heard = std::pin::pin!(news.notified_owned());
            heard.as_mut().enable();
            let found = inner.store.turns().since(id, turn, revision).await;
            let found = found.map_err(no_such)?;
            if found.turn.revision > revision || found.turn.status.is_over() {
                return Ok(found);
            }
            tokio::select! {
                () = &mut heard => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// A turn as it stands.
    ///
    /// # Errors
    /// `Conflict` where the session has no such turn.
    pub async fn turn_stands(&self, id: SessionId, turn: Uuid) -> Result<Turn, SessionError> {
        let store = &self.inner.store;
        store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        Ok(store.turns().since(id, turn, u64::MAX >> 1).await.map_err(no_such)?.turn)
    }

    /// A turn's answer so far.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn answer_of(&self, turn: &Turn) -> Result<Message, SessionError> {
        Ok(turn.answer(self.inner.store.turns().parts(turn.id).await?))
    }

    /// A page of a session's messages, oldest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn messages(
        &self,
        id: SessionId,
        offset: u64,
        limit: u32,
    ) -> Result<Page<Message>, SessionError> {
        let store = &self.inner.store;
        store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        let (data, total) = store.turns().messages(id, offset, limit).await?;
        let next = offset + data.len() as u64;
        let next_cursor = (next < total).then(|| next.to_string());
        Ok(Page { data, total, limit, offset, next_cursor })
    }

    /// What a session's agent asks to be allowed and was not answered.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn permissions(&self, id: SessionId) -> Result<Vec<Permission>, SessionError> {
        let store = &self.inner.store;
        store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        Ok(store.turns().waiting(id).await?)
    }

    /// Answers what an agent asks to be allowed.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where there is no such thing asked, it was answered, or has no such option.
    pub async fn permit(
        &self,
        id: SessionId,
        permission: PermissionId,
        answer: &AnswerPermission,
    ) -> Result<Permission, SessionError> {
        let inner = &self.inner;
        inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        let choose = |asked: &Permission| choice(&asked.options, answer).map_err(StoreError::Conflict);
        let answered = inner.store.turns().answer(id, permission, choose).await.map_err(no_such)?;
        inner.tell_asked(id);
        Ok(answered)
    }

    /// Asks for the end of a session's turn. Says whether there was one.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub(super) async fn abort_turns(&self, id: SessionId) -> Result<bool, SessionError> {
        let open = self.inner.store.turns().cancel(id).await?;
        self.inner.tell_asked(id);
        Ok(open > 0)
    }
}

impl Inner {
    /// Wakes whoever waits for news of a session's conversation.
    fn tell_news(&self, id: SessionId) {
        if let Some(entry) = self.table.get(id) {
            entry.news().notify_waiters();
        }
    }

    /// Has what is asked, answered or to be ended seen to, and wakes whoever waits.
    fn tell_asked(self: &Arc<Inner>, id: SessionId) {
        self.attend(id);
        if let Some(entry) = self.table.get(id) {
            entry.ask();
        }
        self.tell_news(id);
    }
}

/// What a session does not have: it contradicts how the session stands.
fn no_such(error: StoreError) -> SessionError {
    match error {
        StoreError::NotFound(what) => SessionError::Conflict(format!("there is no {what}")),
        other => other.into(),
    }
}

/// The option an answer means.
fn choice(options: &[PermissionOption], answer: &AnswerPermission) -> Result<String, String> {
    let of_kind = |kinds: [&str; 2]| {
        let found = kinds.iter().find_map(|kind| options.iter().find(|option| option.kind == *kind));
        found
            .map(|option| option.id.clone())
            .ok_or_else(|| format!("there is no option that is {}", kinds[0]))
    };
    match (&answer.option_id, answer.outcome) {
        (Some(id), _) => {
            options.iter().find(|option| option.id == *id).map(|option| option.id.clone()).ok_or_else(|| {
                let ids: Vec<&str> = options.iter().map(|option| option.id.as_str()).collect();
                format!("there is no option {id}; there are {}", ids.join(", "))
            })
        }
        (None, Some(PermissionOutcome::Allow)) => of_kind(["allow_once", "allow_always"]),
        (None, Some(PermissionOutcome::Deny)) => of_kind(["reject_once", "reject_always"]),
        (None, Some(PermissionOutcome::Cancel) | None) => Ok(CANCELLED.to_owned()),
    }
}

/// The parts of a question.
fn parts(message: &SendMessage) -> Vec<Part> {
    let text = message.text.iter().map(|text| PartBody::Text { text: text.clone() });
    let parts = message.parts.iter().map(|part| match part {
        SendPart::Text { text } => PartBody::Text { text: text.clone() },
        SendPart::Image { mime_type, base64 } => {
            PartBody::Image { mime_type: mime_type.clone(), base64: Some(base64.clone()) }
        }
    });
    let pictures = message.attachments.iter().map(|attachment| PartBody::Image {
        mime_type: attachment.mime_type.clone(),
        base64: Some(attachment.base64.clone()),
    });
    let all = text.chain(parts).chain(pictures).enumerate();
    all.map(|(place, body)| Part { id: format!("part-{}", place + 1), body }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_of_the_options_or_a_word_for_one() {
        let option =
            |id: &str, kind: &str| PermissionOption { id: id.into(), name: id.into(), kind: kind.into() };
        let options = [option("a", "allow_always"), option("o", "allow_once"), option("r", "reject_once")];
        let by = |option_id: Option<&str>, outcome| {
            choice(&options, &AnswerPermission { option_id: option_id.map(str::to_owned), outcome })
        };
        assert_eq!(by(Some("a"), None).unwrap(), "a");
        assert!(by(Some("x"), None).unwrap_err().contains("a, o, r"));
        assert_eq!(by(None, Some(PermissionOutcome::Allow)).unwrap(), "o");
        assert_eq!(by(None, Some(PermissionOutcome::Deny)).unwrap(), "r");
        assert_eq!(by(None, Some(PermissionOutcome::Cancel)).unwrap(), CANCELLED);
        assert!(
            choice(
                &options[..2],
                &AnswerPermission { outcome: Some(PermissionOutcome::Deny), option_id: None }
            )
            .is_err()
        );
    }
}
