//! What agents remember.

use super::*;
use crate::model::{ChangeKind, Memory, MemoryId, MemorySource, MemoryType, Page};

type Change = Result<(), StoreError>;

fn memory(agent_id: AgentId, text: &str) -> Memory {
    Memory {
        id: MemoryId::new(),
        agent_id,
        text: text.to_owned(),
        tags: vec!["Build".to_owned()],
        kind: MemoryType::Convention,
        priority: 3,
        pinned: false,
        disabled: false,
        times_applied: 99,
        last_applied_at: None,
        source: MemorySource::Ui,
        source_session_id: Some(SessionId::new()),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

impl Bench {
    async fn memory(&self, agent: AgentId, text: &str) -> MemoryId {
        self.pass(1);
        self.store.memories().create(memory(agent, text)).await.unwrap().id
    }

    async fn find(&self, agent: AgentId, q: &str) -> Vec<String> {
        let query = MemoriesQuery { q: Some(q.to_owned()), ..MemoriesQuery::default() };
        texts(&self.store.memories().list(agent, &query).await.unwrap())
    }

    async fn told(&self, agent: AgentId, limit: u32) -> Vec<String> {
        let told = self.store.memories().to_tell(agent, limit).await.unwrap();
        told.into_iter().map(|memory| memory.text).collect()
    }
}

fn texts(page: &Page<Memory>) -> Vec<String> {
    page.data.iter().map(|memory| memory.text.clone()).collect()
}

on_every_database! {
    async fn every_field_of_it_comes_back(bench) {
        let agent = bench.agent("one").await;
        let written = bench.store.memories().create(memory(agent, "Überall \"Tabs\".\n二")).await.unwrap();
        assert_eq!((written.times_applied, written.created_at), (0, bench.now()));
        assert_eq!(bench.store.memories().get(agent, written.id).await.unwrap(), written);
        let other = bench.agent("two").await;
        assert!(matches!(bench.store.memories().get(other, written.id).await, Err(StoreError::NotFound(_))));
        let nobody = bench.store.memories().create(memory(AgentId::new(), "x")).await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))));
    }

    async fn it_is_changed_and_deleted_and_the_feed_tells(bench) {
        let agent = bench.agent("one").await;
        let id = bench.memory(agent, "use make").await;
        bench.pass(5);
        let memories = bench.store.memories();
        let changed = memories.update(agent, id, |memory| -> Change {
            memory.text = "use just".to_owned();
            memory.pinned = true;
            memory.times_applied = 7;
            Ok(())
        });
        let changed = changed.await.unwrap();
        assert_eq!((changed.text.as_str(), changed.times_applied, changed.updated_at), ("use just", 0, bench.now()));
        assert_eq!(memories.get(agent, id).await.unwrap(), changed);
        assert_eq!((bench.find(agent, "make").await.len(), bench.find(agent, "just").await.len()), (0, 1));
        let told = bench.feed().await.len();
        memories.update(agent, id, |_| -> Change { Ok(()) }).await.unwrap();
        assert_eq!(bench.feed().await.len(), told, "nothing has changed");

        memories.delete(agent, id).await.unwrap();
        assert!(matches!(memories.delete(agent, id).await, Err(StoreError::NotFound(_))));
        assert!(matches!(memories.get(agent, id).await, Err(StoreError::NotFound(_))));
        let last = memories.last_state(id).await.unwrap();
        assert_eq!((last.text.as_str(), last.agent_id), ("", agent));
        let told = bench.feed().await;
        let of_it: Vec<ChangeKind> =
            told.iter().filter(|change| change.resource == ResourceRef::Memory(id)).map(|change| change.kind).collect();
        assert_eq!(of_it, [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted]);
        // A day later nothing is left of it.
        let other = bench.memory(agent, "other").await;
        bench.pass(25 * 3600);
        memories.delete(agent, other).await.unwrap();
        assert!(matches!(memories.last_state(id).await, Err(StoreError::NotFound(_))));
        assert!(memories.last_state(other).await.is_ok());
    }

    async fn they_are_found_by_their_words(bench) {
        let (agent, other) = (bench.agent("one").await, bench.agent("two").await);
        for text in [
            "Deploys go through ci/deploy_prod.sh, never by hand.",
            "The staging database is at db.example.com:5432.",
            "Größere Änderungen brauchen eine Prüfung.",
            "deploy deploy deploy",
        ] {
            bench.memory(agent, text).await;
        }
        bench.memory(other, "deploy of another agent").await;
        let deploys = bench.find(agent, "deploy").await;
        assert_eq!(deploys.len(), 2, "{deploys:?}");
        assert_eq!(deploys[0], "deploy deploy deploy", "what fits best comes first");
        assert_eq!(bench.find(agent, "PROD hand").await.len(), 1);
        assert_eq!(bench.find(agent, "example.com").await.len(), 1);
        assert_eq!(bench.find(agent, "5432").await.len(), 1);
        assert_eq!(bench.find(agent, "änderungen größ").await.len(), 1);
        assert_eq!(bench.find(agent, "build").await.len(), 4, "a tag is a word too");
        assert_eq!(bench.find(agent, "deploy staging").await, Vec::<String>::new());
        for q in ["\"", "* OR agent", "') --", "a:* | b", "NEAR(", "\u{0}", "𝟘"] {
            bench.find(agent, q).await;
        }
        assert_eq!(bench.find(agent, "?!").await, Vec::<String>::new(), "signs alone find nothing");
        assert_eq!(bench.find(agent, "").await.len(), 4);
    }

    async fn lists_are_filtered_and_paged(bench) {
        let agent = bench.agent("one").await;
        for n in 0..7 {
            bench.memory(agent, &format!("note {n}")).await;
        }
        let mut tagged = memory(agent, "note with tags");
        tagged.tags = vec!["100%".to_owned(), "a_b".to_owned()];
        tagged.kind = MemoryType::Preference;
        tagged.disabled = true;
        bench.pass(1);
        bench.store.memories().create(tagged).await.unwrap();
        let list = |query: MemoriesQuery| {
            let store = bench.store.clone();
            async move { store.memories().list(agent, &query).await.unwrap() }
        };
        assert_eq!(list(MemoriesQuery::default()).await.total, 7, "without the disabled one");
        let all = MemoriesQuery { include_disabled: true, ..MemoriesQuery::default() };
        assert_eq!(list(all.clone()).await.total, 8);
        for (tag, found) in [("100%", 1), ("A_B", 1), ("a%b", 0), ("BUILD", 7), ("buil", 0)] {
            let query = MemoriesQuery { tag: Some(tag.to_owned()), ..all.clone() };
            assert_eq!(list(query).await.total, found, "{tag}");
        }
        let query = MemoriesQuery { kind: Some(MemoryType::Preference), ..all.clone() };
        assert_eq!(texts(&list(query).await), ["note with tags"]);
        for q in [None, Some("note".to_owned())] {
            let mut query = MemoriesQuery { limit: Some(3), q: q.clone(), ..MemoriesQuery::default() };
            let mut seen = Vec::new();
            loop {
                let page = list(query.clone()).await;
                assert_eq!(page.total, 7);
                seen.extend(texts(&page));
                match page.next_cursor {
                    Some(cursor) => query.cursor = Some(cursor),
                    None => break,
                }
            }
            let expected: Vec<String> = (0..7).rev().map(|n| format!("note {n}")).collect();
            assert_eq!(seen, expected, "{q:?}");
            query.q = Some("another".to_owned());
            assert!(matches!(bench.store.memories().list(agent, &query).await, Err(StoreError::Invalid(_))));
        }
    }

    async fn a_session_is_told_the_pinned_ones_and_then_what_was_of_most_use(bench) {
        let agent = bench.agent("one").await;
        let memories = bench.store.memories();
        let make = |text: &str, priority, pinned, disabled| {
            let memory = Memory { priority, pinned, disabled, ..memory(agent, text) };
            bench.pass(1);
            memories.create(memory)
        };
        make("old", 0, false, false).await.unwrap();
        let used = make("used", 0, false, false).await.unwrap().id;
        make("new", 0, false, false).await.unwrap();
        make("urgent", 9, false, false).await.unwrap();
        make("off", 100, true, true).await.unwrap();
        make("pinned", -100, true, false).await.unwrap();
        assert_eq!(bench.told(agent, 10).await, ["pinned", "urgent", "new", "used", "old"]);
        memories.applied(&[used]).await.unwrap();
        assert_eq!(bench.told(agent, 2).await, ["pinned", "urgent", "used"]);
        assert_eq!(bench.told(agent, 0).await, ["pinned"]);
        let applied = memories.get(agent, used).await.unwrap();
        assert_eq!((applied.times_applied, applied.last_applied_at), (1, Some(bench.now())));
        // Reading, telling and listing are no use.
        memories.list(agent, &MemoriesQuery::default()).await.unwrap();
        assert_eq!(memories.get(agent, used).await.unwrap(), applied);
        for n in 0..25 {
            make(&format!("p{n}"), 0, true, false).await.unwrap();
        }
        assert_eq!(bench.told(agent, 50).await.len(), 20 + 4, "of the pinned ones twenty");
    }

    async fn they_go_with_their_agent(bench) {
        let agent = bench.agent("one").await;
        let id = bench.memory(agent, "gone").await;
        bench.store.agents().delete(agent).await.unwrap();
        assert!(matches!(bench.store.memories().last_state(id).await, Err(StoreError::NotFound(_))));
        let list = bench.store.memories().list(agent, &MemoriesQuery::default()).await;
        assert!(matches!(list, Err(StoreError::NotFound(_))));
    }
}
