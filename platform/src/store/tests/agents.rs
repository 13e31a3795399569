//! Agents as they are stored.

use super::*;
use crate::model::{ChangeKind, SessionStatus};

/// Nothing else than the store's own errors comes out of these changes.
type Change = Result<(), StoreError>;

on_every_database! {
    async fn every_field_comes_back(bench) {
        let written = bench.store.agents().create(agent("one")).await.unwrap();
        assert_eq!(written.agent.created_at, bench.now());
        assert_eq!(written.agent.config_generation, 1);
        let read = bench.store.agents().get(written.agent.id).await.unwrap();
        assert_eq!(read, written);
        assert_eq!(bench.store.agents().by_name("one").await.unwrap(), Some(written));
        assert_eq!(bench.store.agents().by_name("One").await.unwrap(), None);
    }

    async fn a_name_belongs_to_one_live_agent(bench) {
        let first = bench.agent("one").await;
        let taken = bench.store.agents().create(agent("one")).await.unwrap_err();
        assert!(matches!(&taken, StoreError::Conflict(what) if what.contains("\"one\"")), "{taken}");
        let second = bench.agent("two").await;
        let rename = bench.store.agents().update(second, |agent| -> Change { agent.name = "one".into(); Ok(()) }).await;
        assert!(matches!(rename, Err(StoreError::Conflict(_))));
        bench.store.agents().delete(first).await.unwrap();
        bench.agent("one").await;
    }

    async fn a_deleted_agent_is_gone_but_for_its_last_state(bench) {
        let id = bench.agent("one").await;
        bench.store.agents().delete(id).await.unwrap();
        assert!(matches!(bench.store.agents().get(id).await, Err(StoreError::NotFound(_))));
        assert!(matches!(bench.store.agents().delete(id).await, Err(StoreError::NotFound(_))));
        let change = bench.store.agents().update(id, |_| -> Change { Ok(()) }).await;
        assert!(matches!(change, Err(StoreError::NotFound(_))));
        assert_eq!(bench.store.agents().last_state(id).await.unwrap().agent.name, "one");
        assert_eq!(bench.store.agents().list(&AgentsQuery::default()).await.unwrap().total, 0);
    }

    async fn its_generation_rises_with_what_alters_a_sandbox_alone(bench) {
        let id = bench.agent("one").await;
        bench.pass(5);
        let agents = bench.store.agents();
        let renamed = agents.update(id, |agent| -> Change { agent.name = "two".into(); Ok(()) }).await.unwrap();
        assert_eq!((renamed.agent.config_generation, renamed.agent.updated_at), (1, bench.now()));
        let altered = agents.update(id, |agent| -> Change { agent.prompt = None; Ok(()) }).await.unwrap();
        assert_eq!(altered.agent.config_generation, 2);
        assert_eq!(agents.get(id).await.unwrap(), altered);
    }

    async fn what_is_fixed_for_its_life_stays(bench) {
        let before = bench.store.agents().create(agent("one")).await.unwrap();
        let agents = bench.store.agents();
        let after = agents.update(before.agent.id, |agent| -> Change {
            agent.id = AgentId::new();
            agent.harness_id = "codex".into();
            agent.config_generation = 99;
            Ok(())
        });
        assert_eq!(after.await.unwrap(), before);
    }

    async fn an_update_that_changes_nothing_tells_nothing(bench) {
        let id = bench.agent("one").await;
        let told = bench.feed().await.len();
        bench.store.agents().update(id, |_| -> Change { Ok(()) }).await.unwrap();
        assert_eq!(bench.feed().await.len(), told);
    }

    async fn an_update_that_fails_leaves_all_as_it_was(bench) {
        let id = bench.agent("one").await;
        let (before, told) = (bench.store.agents().get(id).await.unwrap(), bench.feed().await.len());
        let agents = bench.store.agents();
        let failed = agents.update(id, |agent| -> Change {
            agent.name = "two".into();
            Err(StoreError::Invalid("no".into()))
        });
        assert!(matches!(failed.await, Err(StoreError::Invalid(_))));
        assert_eq!(bench.store.agents().get(id).await.unwrap(), before);
        assert_eq!(bench.feed().await.len(), told);
    }

    async fn updates_at_the_same_time_all_count(bench) {
        const EACH: u32 = 10;
        let id = bench.agent("one").await;
        let other = bench.another().await;
        let mut tasks = tokio::task::JoinSet::new();
        for store in [bench.store.clone(), other] {
            for _ in 0..EACH {
                let store = store.clone();
                tasks.spawn(async move {
                    let agents = store.agents();
                    let raise = |agent: &mut Agent| -> Change { agent.preload_memory_limit += 1; Ok(()) };
                    agents.update(id, raise).await.unwrap();
                });
            }
        }
        tasks.join_all().await;
        let agent = bench.store.agents().get(id).await.unwrap().agent;
        assert_eq!(agent.preload_memory_limit, 10 + 2 * EACH);
        assert_eq!(agent.config_generation, u64::from(1 + 2 * EACH));
    }

    async fn search_is_for_text_in_whatever_case_and_takes_wildcards_for_themselves(bench) {
        for name in ["Über-Prüfer", "100%_done", "100x_done", "back\\slash"] {
            bench.agent(name).await;
        }
        let found = async |search: &str| {
            let query = AgentsQuery { search: Some(search.to_owned()), ..AgentsQuery::default() };
            let page = bench.store.agents().list(&query).await.unwrap();
            assert_eq!(page.total as usize, page.data.len());
            let mut names: Vec<_> = page.data.into_iter().map(|row| row.agent.name).collect();
            names.sort();
            names
        };
        assert_eq!(found("ÜBER-prü").await, ["Über-Prüfer"]);
        assert_eq!(found("100%").await, ["100%_done"]);
        assert_eq!(found("_DONE").await, ["100%_done", "100x_done"]);
        assert_eq!(found("\\").await, ["back\\slash"]);
        assert_eq!(found("SHELL").await.len(), 4);
        assert_eq!(found("' OR 1=1 --").await.len(), 0);
        let id = bench.store.agents().by_name("100x_done").await.unwrap().unwrap().agent.id;
        assert_eq!(found(&id.to_string().to_uppercase()).await, ["100x_done"]);
        assert_eq!(found(&"x".repeat(100_000)).await.len(), 0);
    }

    async fn rows_count_their_sessions(bench) {
        let (one, two) = (bench.agent("one").await, bench.agent("two").await);
        let session = bench.session(one).await;
        bench.session(two).await;
        bench.session(two).await;
        let end = |record: &mut SessionRecord| -> Change { record.status = SessionStatus::Dead; Ok(()) };
        bench.store.sessions().update(session, end).await.unwrap();
        let row = bench.store.agents().get(one).await.unwrap();
        assert_eq!((row.session_count, row.has_active_session), (1, false));
        let row = bench.store.agents().get(two).await.unwrap();
        assert_eq!((row.session_count, row.has_active_session), (2, true));
    }

    async fn the_feed_tells_what_happens_to_them(bench) {
        let id = bench.agent("one").await;
        let rename = |agent: &mut Agent| -> Change { agent.name = "two".into(); Ok(()) };
        bench.store.agents().update(id, rename).await.unwrap();
        bench.store.agents().delete(id).await.unwrap();
        let told: Vec<_> = bench.feed().await.into_iter().map(|change| (change.id, change.kind, change.resource)).collect();
        let agent = ResourceRef::Agent(id);
        assert_eq!(told, [(1, ChangeKind::Created, agent), (2, ChangeKind::Updated, agent), (3, ChangeKind::Deleted, agent)]);
    }
}
