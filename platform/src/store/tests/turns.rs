//! Conversations as they are stored.

use super::*;
use crate::model::{
    Delivery, Part, PartBody, Permission, PermissionId, PermissionOption, Tokens, TurnStatus,
};
use uuid::Uuid;

fn text(words: &str) -> Part {
    Part { id: "part-1".to_owned(), body: PartBody::Text { text: words.to_owned() } }
}

impl Bench {
    async fn asked(&self, session: SessionId, queue: bool) -> Result<Turn, StoreError> {
        self.pass(1);
        let id = Uuid::now_v7();
        let new =
            NewTurn { id, session_id: session, prompt: vec![text("do it")], queue, model: Some("m".into()) };
        self.store.turns().ask(new).await
    }

    /// The turn, running, with these parts of its answer.
    async fn running(&self, turn: Turn, parts: &[Part]) -> Turn {
        let conversation = Conversation { epoch: Some(1), read_at: 7, ..Conversation::default() };
        let step = Step {
            conversation: Some(&conversation),
            turn: Some(Turn {
                status: TurnStatus::Running,
                request: Some(3),
                started_at: Some(self.now()),
                ..turn.clone()
            }),
            parts: parts.iter().enumerate().collect(),
            ..Step::default()
        };
        self.store.turns().save(turn.session_id, step).await.unwrap().unwrap()
    }
}

on_every_database! {
    async fn a_turn_is_asked_once_and_answered_in_parts(bench) {
        let session = bench.session(bench.agent("one").await).await;
        let turns = bench.store.turns();
        let new = NewTurn {
            id: Uuid::now_v7(), session_id: session, prompt: vec![text("do it")], queue: false, model: None,
        };
        let turn = turns.ask(new.clone()).await.unwrap();
        assert_eq!((turn.seq, turn.status, turn.delivery), (1, TurnStatus::Queued, Delivery::Queued));
        assert_eq!(turns.ask(new).await.unwrap(), turn, "asked again under its id it is the same");
        assert_eq!(turns.open(session).await.unwrap(), std::slice::from_ref(&turn));
        let parts = [text("a"), Part { id: "b".into(), ..text("b") }];
        let running = bench.running(turn, &parts).await;
        assert_eq!(turns.parts(running.id).await.unwrap(), parts);
        let conversation = turns.conversation(session).await.unwrap();
        assert_eq!((conversation.epoch, conversation.read_at), (Some(1), 7));

        let seen = running.revision;
        assert_eq!(turns.since(session, running.id, seen).await.unwrap().parts, []);
        let longer = text("a and more");
        let done = Turn {
            status: TurnStatus::Done,
            tokens: Tokens { input: Some(9), output: Some(2), cached: None },
            cost: Some(1_500_000),
            stop_reason: Some("end_turn".into()),
            finished_at: Some(bench.now()),
            ..running
        };
        let step = Step {
            turn: Some(done), parts: vec![(0, &longer)], response: Some("a and more".into()), ..Step::default()
        };
        let done = turns.save(session, step).await.unwrap().unwrap();
        let news = turns.since(session, done.id, seen).await.unwrap();
        assert_eq!((news.parts, news.turn.clone()), (vec![longer], done));
        assert_eq!(turns.open(session).await.unwrap(), []);
        assert_eq!(bench.store.sessions().get(session).await.unwrap().response.as_deref(), Some("a and more"));
        let (messages, total) = turns.messages(session, 0, 10).await.unwrap();
        assert_eq!((messages.len(), total), (2, 2));
        assert_eq!((messages[1].info.cost, messages[1].parts.len()), (Some(1.5), 2));
        let other = bench.session(bench.agent("two").await).await;
        assert!(matches!(turns.since(other, news.turn.id, 0).await, Err(StoreError::NotFound(_))));
    }

    async fn turns_follow_one_another(bench) {
        let session = bench.session(bench.agent("one").await).await;
        let first = bench.asked(session, false).await.unwrap();
        let refused = bench.asked(session, false).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Conflict(what) if what.contains("queue")), "{refused}");
        for seq in 2..=33 {
            assert_eq!(bench.asked(session, true).await.unwrap().seq, seq);
        }
        assert!(matches!(bench.asked(session, true).await, Err(StoreError::Conflict(_))), "too many wait");
        bench.running(first.clone(), &[]).await;
        assert_eq!(bench.store.turns().cancel(session).await.unwrap(), 33);
        let open = bench.store.turns().open(session).await.unwrap();
        assert_eq!(open.iter().map(|turn| (turn.id, turn.cancel)).collect::<Vec<_>>(), [(first.id, true)]);
        assert_eq!(bench.store.turns().end_all(session, "gone").await.unwrap(), 1);
        assert_eq!(bench.store.turns().open(session).await.unwrap(), []);
        // Pages of messages meet, wherever they are cut.
        let (all, total) = bench.store.turns().messages(session, 0, 200).await.unwrap();
        assert_eq!((all.len(), total), (66, 66));
        assert_eq!(all[1].info.error.as_deref(), Some("gone"));
        for (offset, limit) in [(0, 1), (1, 1), (1, 2), (3, 7), (65, 5), (66, 5)] {
            let (page, _) = bench.store.turns().messages(session, offset, limit).await.unwrap();
            let end = (offset as usize + limit as usize).min(66);
            assert_eq!(page, all[offset as usize..end], "{offset} {limit}");
        }
    }

    async fn what_is_asked_is_answered_once(bench) {
        let session = bench.session(bench.agent("one").await).await;
        let turn = bench.running(bench.asked(session, false).await.unwrap(), &[]).await;
        let turns = bench.store.turns();
        let permission = Permission {
            id: PermissionId::new(),
            session_id: session,
            turn_id: turn.id,
            title: "rm -rf /".into(),
            part_id: None,
            options: vec![PermissionOption { id: "y".into(), name: "Yes".into(), kind: "allow_once".into() }],
            answer: None,
            created_at: bench.now(),
        };
        let request = serde_json::json!("r-1");
        let step = Step { turn: Some(turn.clone()), asked: Some((permission.clone(), request.clone())), ..Step::default() };
        turns.save(session, step).await.unwrap();
        assert_eq!(turns.waiting(session).await.unwrap(), std::slice::from_ref(&permission));
        let news = turns.since(session, turn.id, turn.revision).await.unwrap();
        assert_eq!(news.permissions, std::slice::from_ref(&permission));
        assert_eq!(turns.answered(turn.id).await.unwrap(), []);
        let refused = turns.answer(session, permission.id, |_| Err(StoreError::Conflict("no".into()))).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        let answered = turns.answer(session, permission.id, |_| Ok("y".into())).await.unwrap();
        assert_eq!(answered.answer.as_deref(), Some("y"));
        let again = turns.answer(session, permission.id, |_| Ok("y".into())).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))));
        let waiting = turns.answered(turn.id).await.unwrap();
        assert_eq!(waiting, [Answered { id: permission.id, request, option: Some("y".into()) }]);
        turns.save(session, Step { told: vec![permission.id], ..Step::default() }).await.unwrap();
        assert_eq!(turns.answered(turn.id).await.unwrap(), []);
        assert_eq!(turns.waiting(session).await.unwrap(), []);
    }

    async fn nothing_is_left_of_what_is_erased(bench) {
        let session = bench.session(bench.agent("one").await).await;
        let turn = bench.asked(session, false).await.unwrap();
        bench.running(turn, &[text("secret words")]).await;
        bench.store.sessions().erase(session).await.unwrap();
        assert_eq!(bench.store.turns().messages(session, 0, 10).await.unwrap(), (vec![], 0));
        assert_eq!(bench.store.turns().conversation(session).await.unwrap(), Conversation::default());
    }
}
