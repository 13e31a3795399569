//! Who works on what, among servers that come and go.

use std::time::Duration;

use super::*;

const LAPSE: Duration = Duration::from_secs(30);

/// A server on the list of those that live.
async fn server(bench: &Bench) -> OwnerId {
    let id = OwnerId::new();
    bench.store.owners().beat(id, "a-host", LAPSE).await.unwrap();
    id
}

on_every_database! {
    async fn one_server_at_a_time_works_on_a_session(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let sessions = bench.store.sessions();
        let (a, b) = (server(&bench).await, server(&bench).await);
        assert_eq!(sessions.claim(id, a).await.unwrap().unwrap().owner, Some(a));
        assert!(sessions.claim(id, a).await.unwrap().is_some(), "its own stays its own");
        assert!(sessions.claim(id, b).await.unwrap().is_none());
        let note = |record: &mut SessionRecord| -> Result<(), StoreError> {
            record.phase_detail = Some("x".into());
            Ok(())
        };
        assert!(sessions.update_owned(id, a, note).await.is_ok());
        assert!(matches!(sessions.update_owned(id, b, note).await, Err(StoreError::Conflict(_))));
        assert!(matches!(sessions.claim(SessionId::new(), a).await, Err(StoreError::NotFound(_))));
    }

    async fn what_a_server_did_is_free_when_it_leaves_and_when_its_heart_stops(bench) {
        let sessions = bench.store.sessions();
        let id = bench.session(bench.agent("one").await).await;
        let (a, b, c) = (server(&bench).await, server(&bench).await, server(&bench).await);
        sessions.claim(id, a).await.unwrap().unwrap();
        bench.store.owners().remove(a).await.unwrap();
        assert_eq!(sessions.claim(id, b).await.unwrap().unwrap().owner, Some(b));
        // Its heartbeat is older than any the other takes for a living one's.
        let living = bench.store.owners().beat(c, "a-host", LAPSE).await.unwrap();
        assert_eq!(living, [b, c].into(), "nobody's is old");
        let living = bench.store.owners().beat(c, "a-host", Duration::ZERO).await.unwrap();
        assert_eq!(living, [c].into());
        assert_eq!(sessions.claim(id, c).await.unwrap().unwrap().owner, Some(c));
        // One that was taken off and lives after all finds out, and takes nothing before its heart beats again.
        assert!(matches!(
            sessions.update_owned(id, b, |_| Ok::<(), StoreError>(())).await,
            Err(StoreError::Conflict(_))
        ));
        let free = bench.session(bench.agent("two").await).await;
        assert!(sessions.claim(free, b).await.unwrap().is_none());
        bench.store.owners().beat(b, "a-host", LAPSE).await.unwrap();
        assert!(sessions.claim(free, b).await.unwrap().is_some());
        assert!(sessions.claim(id, b).await.unwrap().is_none());
    }

    async fn a_server_that_is_alone_takes_over_at_once_whatever_the_clocks_say(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let dead = server(&bench).await;
        bench.store.sessions().claim(id, dead).await.unwrap().unwrap();
        for days in [0, 10, -20] {
            bench.pass(days * 86_400);
            let next = server(&bench).await;
            bench.store.owners().remove_others(next).await.unwrap();
            assert!(bench.store.sessions().claim(id, next).await.unwrap().is_some(), "{days}");
        }
    }

    async fn a_server_s_own_clock_takes_no_work_from_anybody(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let (a, b) = (server(&bench).await, server(&bench).await);
        bench.store.sessions().claim(id, a).await.unwrap().unwrap();
        for days in [3650, -7300] {
            bench.pass(days * 86_400);
            assert_eq!(bench.store.owners().beat(b, "a-host", LAPSE).await.unwrap(), [a, b].into(), "{days}");
            assert!(bench.store.sessions().claim(id, b).await.unwrap().is_none(), "{days}");
        }
    }

    async fn of_many_that_claim_one_at_once_one_gets_it(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let other = bench.another().await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..16 {
            let store = if n % 2 == 0 { bench.store.clone() } else { other.clone() };
            let owner = server(&bench).await;
            tasks.spawn(async move { store.sessions().claim(id, owner).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.into_iter().flatten().count(), 1);
    }
}
