//! The one task that has a session's agent answer: it looks at what is asked and stored, speaks to the agent's program,
//! and stores what comes of it.

use std::sync::Arc;
use std::time::Duration;

use lap_wire::control::Attention;
use tokio::time::Instant;

use super::super::output::Tail;
use super::super::{Inner, SessionError};
use super::TURN_TIME;
use super::agent::{PROGRAM, Place, Running};
use crate::acp::{Lines, Reply, request};
use crate::link::{ChannelEvent, InputSender};
use crate::model::{Delivery, SessionId, SessionStatus, TurnStatus};
use crate::store::{Conversation, Stage, Step, Turn};

/// What has come is stored this often, and at once where it is the first for so long.
pub(super) const SAVE_EVERY: Duration = Duration::from_millis(100);
/// A program that nobody asks anything is ended after this long: it is some hundred megabytes, and takes the conversation
/// up again.
const LEFT_ALONE: Duration = Duration::from_secs(10 * 60);
/// How long a program may take until it can be prompted.
const BEGIN: Duration = Duration::from_secs(120);
/// How long a turn may go on that was asked to end; then its program is ended.
const CANCEL: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL of the program.
const GRACE: Duration = Duration::from_secs(2);
/// How long the last words of a program that has ended are waited for.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
/// After a failure of the store or a connection.
const AGAIN: Duration = Duration::from_secs(1);

/// Has a session's questions answered, until none is left or the session ends.
pub(super) async fn talk(inner: &Arc<Inner>, id: SessionId) {
    loop {
        match hold(inner, id).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(session = %id, %error, "a conversation broke off; it goes on in a moment");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// One go at it: ends when there is nothing to do, or with an error after which it is tried again.
async fn hold(inner: &Arc<Inner>, id: SessionId) -> Result<(), SessionError> {
    loop {
        let record = inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        if record.status != SessionStatus::Ready || record.ending || record.owner != Some(inner.owner.id) {
            return Ok(());
        }
        let open = inner.store.turns().open(id).await?;
        let mut conversation = inner.store.turns().conversation(id).await?;
        if open.is_empty() && conversation.epoch.is_none() {
            return Ok(());
        }
        let Some(place) = inner.acp_place(record).await? else { return Ok(()) };
        if open.is_empty() && place.program().await?.is_none() {
            conversation.epoch = None;
            let step = Step { conversation: Some(&conversation), ..Step::default() };
            inner.store.turns().save(id, step).await?;
            return Ok(());
        }
        let program = match inner.acp_program(&place).await? {
            Ok(program) => program,
            Err(why) => {
                fail(inner, &open, &why).await?;
                continue;
            }
        };
        if conversation.epoch != Some(program.epoch.0) {
            // Another than the one that was: what was said to that one is no more.
            interrupt(inner, &open, "the agent's program ended in the middle of it").await?;
            let (acp_session, next_id) = (conversation.acp_session.take(), conversation.next_id);
            let epoch = Some(program.epoch.0);
            conversation = Conversation { epoch, acp_session, next_id, ..Conversation::default() };
            let step = Step { conversation: Some(&conversation), ..Step::default() };
            inner.store.turns().save(id, step).await?;
        }
        let running = place.attach(&program, &conversation).await?;
        let mut talk = Talk::new(inner, place, conversation, running).await?;
        let ended = talk.run().await;
        talk.entry_attention(None);
        match ended? {
            Ended::Idle => {
                talk.end_program().await?;
                return Ok(());
            }
            Ended::Session => return Ok(()),
            // Looked at again: what waits is asked of another one.
            Ended::Program => {}
        }
    }
}

/// Ends turns that cannot be done.
async fn fail(inner: &Arc<Inner>, turns: &[Turn], why: &str) -> Result<(), SessionError> {
    for turn in turns {
        let turn = Turn {
            status: TurnStatus::Failed,
            delivery: if turn.status == TurnStatus::Queued { Delivery::Refused } else { turn.delivery },
            error: Some(why.to_owned()),
            finished_at: Some(inner.store.now()),
            ..turn.clone()
        };
        let session = turn.session_id;
        let step = Step { turn: Some(turn), ..Step::default() };
        inner.store.turns().save(session, step).await?;
        inner.tell_news(session);
    }
    Ok(())
}

/// Ends the turn that ran.
async fn interrupt(inner: &Arc<Inner>, turns: &[Turn], why: &str) -> Result<(), SessionError> {
    let running: Vec<Turn> =
        turns.iter().filter(|turn| turn.status == TurnStatus::Running).cloned().collect();
    fail(inner, &running, why).await
}

/// Why a conversation is no longer held.
pub(super) enum Ended {
    /// Nothing was asked for a while.
    Idle,
    /// The session has ended, or is another server's.
    Session,
    /// The program has.
    Program,
}

/// What wakes it up.
enum Event {
    Output(ChannelEvent),
    Complaint(ChannelEvent),
    /// Something is asked, answered or to be ended.
    News,
    /// It is time for something.
    Time,
}

/// A conversation at work.
pub(super) struct Talk<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) place: Place,
    pub(super) conversation: Conversation,
    pub(super) running: Running,
    pub(super) input: InputSender,
    pub(super) lines: Lines,
    /// The turn that runs, and its answer so far.
    pub(super) turn: Option<Turn>,
    pub(super) reply: Reply,
    pub(super) complaints: Tail,
    /// Whether something has come that is not stored.
    pub(super) unsaved: bool,
    pub(super) saved_at: Instant,
    /// When the program must be ready.
    pub(super) begin_by: Instant,
    /// When a turn that was asked to end is ended with its program.
    pub(super) cancel_by: Option<Instant>,
    /// Since when nothing was asked.
    pub(super) alone_since: Instant,
}

impl<'a> Talk<'a> {
    async fn new(
        inner: &'a Arc<Inner>,
        place: Place,
        conversation: Conversation,
        running: Running,
    ) -> Result<Talk<'a>, SessionError> {
        let now = Instant::now();
        let input = running.output.input();
        let lines = Lines::at(conversation.read_at);
        let mut talk = Talk {
            inner,
            place,
            lines,
            running,
            input,
            conversation,
            turn: None,
            reply: Reply::default(),
            complaints: Tail::default(),
            unsaved: false,
            saved_at: now.checked_sub(SAVE_EVERY).unwrap_or(now),
            begin_by: now + BEGIN,
            cancel_by: None,
            alone_since: now,
        };
        let open = inner.store.turns().open(talk.id()).await?;
        if let Some(turn) = open.into_iter().find(|turn| turn.status == TurnStatus::Running) {
            let parts = inner.store.turns().parts(turn.id).await?;
            let cost = turn.cost.map(|cost| cost as f64 / 1_000_000.0);
            talk.reply = Reply::with(parts, turn.tokens, cost);
            talk.turn = Some(turn);
            talk.entry_attention(Some(Attention::Working));
        }
        // What a server before this one was writing: the program has had some of it.
        let had = talk.input.base().saturating_sub(talk.conversation.written_at);
        let had = usize::try_from(had).unwrap_or(usize::MAX);
        let rest = talk.conversation.writing.get(had..).unwrap_or_default().to_vec();
        talk.conversation.written_at += (talk.conversation.writing.len() - rest.len()) as u64;
        talk.conversation.writing.clone_from(&rest);
        talk.input.send(&rest).await?;
        Ok(talk)
    }

    pub(super) fn id(&self) -> SessionId {
        self.place.record.id
    }

    pub(super) fn entry_attention(&self, attention: Option<Attention>) {
        if let Some(entry) = self.inner.table.get(self.id())
            && entry.set_talk(attention)
        {
            self.inner.unsaid.add(self.id());
        }
    }

    async fn run(&mut self) -> Result<Ended, SessionError> {
        let Some(entry) = self.inner.table.get(self.id()) else { return Ok(Ended::Session) };
        loop {
            if let Some(ended) = self.look().await? {
                return Ok(ended);
            }
            loop {
                let time = self.next_time();
                let event = tokio::select! {
                    event = self.running.output.next() => Event::Output(event?),
                    event = self.running.complaints.next() => Event::Complaint(event?),
                    () = entry.asked() => Event::News,
                    () = tokio::time::sleep_until(time) => Event::Time,
                };
                match event {
                    Event::Output(event) => {
                        if let Some(ended) = self.output(event).await? {
                            return Ok(ended);
                        }
                    }
                    Event::Complaint(ChannelEvent::Output { bytes, .. }) => self.complaints.push(&bytes),
                    Event::Complaint(_) => {}
                    Event::News => break,
                    Event::Time => {
                        if let Some(ended) = self.time().await? {
                            return Ok(ended);
                        }
                    }
                }
            }
        }
    }

    /// Looks at what is stored: whether something is asked, answered, or to be ended.
    async fn look(&mut self) -> Result<Option<Ended>, SessionError> {
        let id = self.id();
        let record = self.inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        if record.status != SessionStatus::Ready || record.ending || record.owner != Some(self.inner.owner.id)
        {
            return Ok(Some(Ended::Session));
        }
        match self.conversation.stage {
            Stage::Fresh => {
                let request = self.next_request();
                self.conversation.stage = Stage::Initializing(request);
                self.write(&request::initialize(request), Step::default()).await?;
            }
            Stage::Ready => self.go_on().await?,
            _ => {}
        }
        Ok(None)
    }

    /// What is to be done now that the program can be prompted.
    pub(super) async fn go_on(&mut self) -> Result<(), SessionError> {
        let id = self.id();
        let open = self.inner.store.turns().open(id).await?;
        let Some(session) = self.conversation.acp_session.clone() else { return Ok(()) };
        if let Some(turn) = &mut self.turn {
            let stored = open.iter().find(|stored| stored.id == turn.id);
            let cancel = stored.is_some_and(|stored| stored.cancel);
            let answered = self.inner.store.turns().answered(turn.id).await?;
            if !answered.is_empty() {
                let told = answered.iter().map(|answer| answer.id).collect();
                let lines: Vec<u8> = answered
                    .iter()
                    .flat_map(|answer| request::permit(&answer.request, answer.option.as_deref()))
                    .collect();
                self.write(&lines, Step { told, ..Step::default() }).await?;
                self.entry_attention(Some(Attention::Working));
            }
            if cancel && self.cancel_by.is_none() {
                self.cancel_by = Some(Instant::now() + CANCEL);
                self.write(&request::cancel(&session), Step::default()).await?;
            }
            return Ok(());
        }
        let Some(turn) = open.into_iter().find(|turn| turn.status == TurnStatus::Queued) else {
            return Ok(());
        };
        let request = self.next_request();
        let line = request::prompt(request, &session, &turn.prompt);
        let turn = Turn {
            status: TurnStatus::Running,
            delivery: Delivery::Delivered,
            request: Some(request),
            started_at: Some(self.inner.store.now()),
            ..turn
        };
        self.reply = Reply::default();
        self.cancel_by = None;
        self.turn = Some(turn.clone());
        self.write(&line, Step { turn: Some(turn), ..Step::default() }).await?;
        self.entry_attention(Some(Attention::Working));
        Ok(())
    }

    pub(super) fn next_request(&mut self) -> u64 {
        self.conversation.next_id += 1;
        self.conversation.next_id
    }

    /// Writes lines to the program. They are stored first, so that they are written once whatever happens.
    pub(super) async fn write(&mut self, lines: &[u8], step: Step<'_>) -> Result<(), SessionError> {
        // What the program has is no longer on its way.
        let had = self.input.acknowledged().saturating_sub(self.conversation.written_at);
        let had = usize::try_from(had).unwrap_or(usize::MAX).min(self.conversation.writing.len());
        self.conversation.writing.drain(..had);
        self.conversation.written_at += had as u64;
        self.conversation.writing.extend_from_slice(lines);
        self.save(step).await?;
        self.input.send(lines).await?;
        Ok(())
    }

    /// Stores how everything stands.
    pub(super) async fn save(&mut self, step: Step<'_>) -> Result<(), SessionError> {
        self.conversation.read_at = self.lines.given();
        let changed = self.reply.take_changed();
        let parts = changed.iter().filter_map(|place| Some((*place, self.reply.parts().get(*place)?)));
        let turn = step.turn.or_else(|| self.turn.clone());
        let turn = turn.map(|turn| Turn {
            tokens: self.reply.tokens,
            cost: self.reply.cost.map(|cost| (cost.max(0.0) * 1_000_000.0).round() as u64).or(turn.cost),
            ..turn
        });
        let step = Step { conversation: Some(&self.conversation), parts: parts.collect(), turn, ..step };
        let saved = self.inner.store.turns().save(self.id(), step).await?;
        if let (Some(turn), Some(saved)) = (&mut self.turn, saved) {
            turn.revision = saved.revision;
        }
        self.running.output.acknowledge(self.conversation.read_at);
        self.unsaved = false;
        self.saved_at = Instant::now();
        self.inner.tell_news(self.id());
        Ok(())
    }

    /// When something is to be done by itself.
    fn next_time(&self) -> Instant {
        let save = self.unsaved.then(|| self.saved_at + SAVE_EVERY);
        let begin = (self.conversation.stage != Stage::Ready).then_some(self.begin_by);
        let alone = self.turn.is_none().then(|| self.alone_since + LEFT_ALONE);
        let late = self.turn.as_ref().and(self.turn_by());
        [save, begin, alone, late, self.cancel_by]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + LEFT_ALONE)
    }

    fn turn_by(&self) -> Option<Instant> {
        let began = self.turn.as_ref()?.started_at?;
        let spent = Duration::try_from(self.inner.store.now().duration_since(began)).unwrap_or_default();
        Some(Instant::now() + TURN_TIME.saturating_sub(spent))
    }

    async fn time(&mut self) -> Result<Option<Ended>, SessionError> {
        let now = Instant::now();
        if self.unsaved && now >= self.saved_at + SAVE_EVERY {
            self.save(Step::default()).await?;
        }
        if self.cancel_by.is_some_and(|by| now >= by) {
            self.finish(TurnStatus::Cancelled, Some("cancelled"), Some("it did not end when it was told to"))
                .await?;
            return self.end_program().await.map(Some);
        }
        if self.conversation.stage != Stage::Ready && now >= self.begin_by {
            let why =
                format!("the agent's program was not ready within {} s{}", BEGIN.as_secs(), self.words());
            return self.give_up(&why).await.map(Some);
        }
        if self.turn.is_some() && self.turn_by().is_some_and(|by| now >= by) && self.cancel_by.is_none() {
            let why = format!("it was not done within {} min", TURN_TIME.as_secs() / 60);
            self.finish(TurnStatus::Failed, None, Some(&why)).await?;
            return self.end_program().await.map(Some);
        }
        if self.turn.is_none() && now >= self.alone_since + LEFT_ALONE {
            let open = self.inner.store.turns().open(self.id()).await?;
            if open.is_empty() {
                return Ok(Some(Ended::Idle));
            }
            self.alone_since = now;
        }
        Ok(None)
    }

    /// Ends the turn that runs, if one does.
    pub(super) async fn finish(
        &mut self,
        status: TurnStatus,
        stop_reason: Option<&str>,
        error: Option<&str>,
    ) -> Result<(), SessionError> {
        let Some(turn) = self.turn.take() else { return Ok(()) };
        let words = self.reply.words();
        let turn = Turn {
            status,
            stop_reason: stop_reason.map(str::to_owned),
            error: error.map(str::to_owned),
            finished_at: Some(self.inner.store.now()),
            ..turn
        };
        self.save(Step {
            turn: Some(turn),
            response: Some(words).filter(|words| !words.is_empty()),
            ..Step::default()
        })
        .await?;
        self.reply = Reply::default();
        self.cancel_by = None;
        self.alone_since = Instant::now();
        self.entry_attention(None);
        Ok(())
    }

    /// The program is of no use: all that waits fails with it.
    pub(super) async fn give_up(&mut self, why: &str) -> Result<Ended, SessionError> {
        self.finish(TurnStatus::Failed, None, Some(why)).await?;
        let open = self.inner.store.turns().open(self.id()).await?;
        fail(self.inner, &open, why).await?;
        self.end_program().await
    }

    pub(super) async fn end_program(&mut self) -> Result<Ended, SessionError> {
        self.place.keeper.stop(PROGRAM, GRACE).await?;
        self.place.keeper.remove(PROGRAM).await?;
        self.conversation.epoch = None;
        self.conversation.stage = Stage::Fresh;
        let step = Step { conversation: Some(&self.conversation), ..Step::default() };
        self.inner.store.turns().save(self.id(), step).await?;
        Ok(Ended::Program)
    }
}
