//! Keys and their answers as they are stored.

use super::super::idempotency::MAX_KEY;
use super::*;

const HOUR: i64 = 3600;

fn answer(body: &str) -> StoredAnswer {
    StoredAnswer { status: 201, body: body.as_bytes().to_vec() }
}

on_every_database! {
    async fn a_request_sent_again_has_the_first_answer(bench) {
        let requests = bench.store.idempotency();
        assert_eq!(requests.begin("POST /agents", "k", b"body").await.unwrap(), IdempotencyOutcome::Begun);
        assert_eq!(requests.begin("POST /agents", "k", b"body").await.unwrap(), IdempotencyOutcome::AtWork);
        requests.finish("POST /agents", "k", &answer("made")).await.unwrap();
        let again = requests.begin("POST /agents", "k", b"body").await.unwrap();
        assert_eq!(again, IdempotencyOutcome::Answered(answer("made")));
        assert_eq!(requests.begin("POST /agents", "k", b"other").await.unwrap(), IdempotencyOutcome::OtherBody);
        assert_eq!(requests.begin("POST /other", "k", b"body").await.unwrap(), IdempotencyOutcome::Begun);
    }

    async fn an_abandoned_one_may_be_tried_again_and_an_answered_one_not(bench) {
        let requests = bench.store.idempotency();
        requests.begin("r", "k", b"body").await.unwrap();
        requests.abandon("r", "k").await.unwrap();
        assert_eq!(requests.begin("r", "k", b"body").await.unwrap(), IdempotencyOutcome::Begun);
        requests.finish("r", "k", &answer("made")).await.unwrap();
        requests.abandon("r", "k").await.unwrap();
        requests.abandon_all().await.unwrap();
        let again = requests.begin("r", "k", b"body").await.unwrap();
        assert_eq!(again, IdempotencyOutcome::Answered(answer("made")));
    }

    async fn an_answer_is_kept_for_a_day(bench) {
        let requests = bench.store.idempotency();
        requests.begin("r", "k", b"body").await.unwrap();
        requests.finish("r", "k", &answer("made")).await.unwrap();
        bench.pass(24 * HOUR - 1);
        assert!(matches!(requests.begin("r", "k", b"body").await.unwrap(), IdempotencyOutcome::Answered(_)));
        bench.pass(1);
        assert_eq!(requests.begin("r", "k", b"body").await.unwrap(), IdempotencyOutcome::Begun);
    }

    async fn what_a_dead_server_left_at_work_is_not_so_for_ever(bench) {
        let requests = bench.store.idempotency();
        requests.begin("r", "k", b"body").await.unwrap();
        bench.pass(HOUR / 2);
        assert_eq!(requests.begin("r", "k", b"body").await.unwrap(), IdempotencyOutcome::AtWork);
        bench.pass(HOUR / 2);
        assert_eq!(requests.begin("r", "k", b"body").await.unwrap(), IdempotencyOutcome::Begun);
        requests.abandon_all().await.unwrap();
        assert_eq!(requests.begin("r", "k", b"body").await.unwrap(), IdempotencyOutcome::Begun);
    }

    async fn of_many_at_once_one_is_begun(bench) {
        let other = bench.another().await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..12 {
            let store = if n % 2 == 0 { bench.store.clone() } else { other.clone() };
            tasks.spawn(async move { store.idempotency().begin("r", "k", b"body").await.unwrap() });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == IdempotencyOutcome::Begun).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == IdempotencyOutcome::AtWork).count(), 11);
    }

    async fn a_key_has_a_size(bench) {
        for key in [String::new(), "k".repeat(MAX_KEY + 1)] {
            assert!(matches!(bench.store.idempotency().begin("r", &key, b"").await, Err(StoreError::Invalid(_))));
        }
    }
}
