//! Keys and their answers as they are stored.

use std::time::Duration;

use uuid::Uuid;

use super::super::idempotency::MAX_KEY;
use super::*;

const HOUR: i64 = 3600;

fn answer(body: &str) -> StoredAnswer {
    StoredAnswer { status: 201, body: body.as_bytes().to_vec() }
}

/// A server that lives.
async fn server(bench: &Bench) -> OwnerId {
    let id = OwnerId::new();
    bench.store.owners().beat(id, "a-host", Duration::from_secs(30)).await.unwrap();
    id
}

fn begun(outcome: &IdempotencyOutcome) -> Option<Uuid> {
    match outcome {
        IdempotencyOutcome::Begun { makes } => Some(*makes),
        _ => None,
    }
}

on_every_database! {
    async fn a_request_sent_again_has_the_first_answer(bench) {
        let (me, other) = (server(&bench).await, server(&bench).await);
        let requests = bench.store.idempotency();
        let begin = |route, body| requests.begin(me, route, "k", body);
        let makes = begun(&begin("POST /agents", b"body").await.unwrap()).unwrap();
        let elsewhere = requests.begin(other, "POST /agents", "k", b"body").await.unwrap();
        assert_eq!(elsewhere, IdempotencyOutcome::AtWork);
        assert_eq!(begin("POST /agents", b"more").await.unwrap(), IdempotencyOutcome::OtherBody);
        requests.finish("POST /agents", "k", &answer("made")).await.unwrap();
        let again = begin("POST /agents", b"body").await.unwrap();
        assert_eq!(again, IdempotencyOutcome::Answered(answer("made")));
        assert_eq!(begin("POST /agents", b"more").await.unwrap(), IdempotencyOutcome::OtherBody);
        assert_ne!(begun(&begin("POST /other", b"body").await.unwrap()).unwrap(), makes);
    }

    async fn one_that_was_put_down_makes_the_same_thing_and_an_answered_one_nothing(bench) {
        let me = server(&bench).await;
        let requests = bench.store.idempotency();
        let first = begun(&requests.begin(me, "r", "k", b"body").await.unwrap()).unwrap();
        requests.put_down("r", "k").await.unwrap();
        assert_eq!(begun(&requests.begin(me, "r", "k", b"body").await.unwrap()), Some(first));
        // One whose task is gone without a word is its server's to begin again.
        assert_eq!(begun(&requests.begin(me, "r", "k", b"body").await.unwrap()), Some(first));
        requests.finish("r", "k", &answer("made")).await.unwrap();
        requests.put_down("r", "k").await.unwrap();
        let again = requests.begin(me, "r", "k", b"body").await.unwrap();
        assert_eq!(again, IdempotencyOutcome::Answered(answer("made")));
    }

    async fn an_answer_is_kept_for_a_day(bench) {
        let me = server(&bench).await;
        let requests = bench.store.idempotency();
        requests.begin(me, "r", "k", b"body").await.unwrap();
        requests.finish("r", "k", &answer("made")).await.unwrap();
        bench.pass(24 * HOUR - 1);
        let again = requests.begin(me, "r", "k", b"body").await.unwrap();
        assert!(matches!(again, IdempotencyOutcome::Answered(_)));
        bench.pass(1);
        assert!(begun(&requests.begin(me, "r", "k", b"body").await.unwrap()).is_some());
    }

    async fn what_a_dead_server_left_is_gone_on_with_and_what_a_living_one_does_is_not(bench) {
        let (dead, living) = (server(&bench).await, server(&bench).await);
        let requests = bench.store.idempotency();
        let makes = begun(&requests.begin(dead, "r", "k", b"body").await.unwrap()).unwrap();
        bench.pass(20 * HOUR);
        assert_eq!(requests.begin(living, "r", "k", b"body").await.unwrap(), IdempotencyOutcome::AtWork);
        bench.store.owners().remove(dead).await.unwrap();
        assert_eq!(begun(&requests.begin(living, "r", "k", b"body").await.unwrap()), Some(makes));
        let third = server(&bench).await;
        assert_eq!(requests.begin(third, "r", "k", b"body").await.unwrap(), IdempotencyOutcome::AtWork);
    }

    async fn of_many_at_once_one_is_begun(bench) {
        let other = bench.another().await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..12 {
            let store = if n % 2 == 0 { bench.store.clone() } else { other.clone() };
            let me = server(&bench).await;
            tasks.spawn(async move { store.idempotency().begin(me, "r", "k", b"body").await.unwrap() });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| begun(outcome).is_some()).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == IdempotencyOutcome::AtWork).count(), 11);
    }

    async fn a_key_has_a_size(bench) {
        let me = server(&bench).await;
        for key in [String::new(), "k".repeat(MAX_KEY + 1)] {
            let refused = bench.store.idempotency().begin(me, "r", &key, b"").await;
            assert!(matches!(refused, Err(StoreError::Invalid(_))));
        }
    }
}
