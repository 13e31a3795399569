//! Pages of lists that change while they are read.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::model::{AgentRow, AgentsSort, Order, Page};

/// Agents of which many are alike in what lists are sorted by, so that ties are common.
fn crowd() -> impl Strategy<Value = Vec<(String, &'static str, u8, u8)>> {
    let harness = prop::sample::select(vec!["shell", "codex", "opencode"]);
    prop::collection::vec(("[a-cA-CäÄß]{1,3}", harness, 0u8..3, 0u8..2), 1..25)
}

async fn walk(store: &Store, query: &AgentsQuery, by_cursor: bool) -> Vec<AgentRow> {
    let mut query = query.clone();
    let mut seen = Vec::new();
    loop {
        let Page { data, total, next_cursor, .. } = store.agents().list(&query).await.unwrap();
        assert!(data.len() <= query.limit.unwrap() as usize);
        seen.extend(data);
        match next_cursor {
            Some(cursor) if by_cursor => query.cursor = Some(cursor),
            Some(_) => query.offset = seen.len() as u64,
            None => {
                assert_eq!(seen.len() as u64, total);
                return seen;
            }
        }
    }
}

fn sort_key(row: &AgentRow, sort: AgentsSort) -> (i64, String, AgentId) {
    let agent = &row.agent;
    match sort {
        AgentsSort::CreatedAt => (agent.created_at.as_microsecond(), String::new(), agent.id),
        AgentsSort::Name => (0, agent.name.to_lowercase(), agent.id),
        AgentsSort::HarnessId => (0, agent.harness_id.clone(), agent.id),
        AgentsSort::Sessions => (row.session_count as i64, String::new(), agent.id),
    }
}

/// Runs the law over generated crowds, each added to what is there already.
fn holds_on(bench: impl Future<Output = Bench>, runtime: &tokio::runtime::Runtime) {
    let bench = runtime.block_on(bench);
    let mut round = 0;
    let law = |(crowd, limit): (Vec<(String, &'static str, u8, u8)>, u32)| {
        round += 1;
        runtime.block_on(async {
            for (n, (name, harness, sessions, second)) in crowd.into_iter().enumerate() {
                bench.pass(i64::from(second));
                let one = Agent { harness_id: harness.to_owned(), ..agent(&format!("{name} {round} {n}")) };
                let id = bench.store.agents().create(one).await.unwrap().agent.id;
                for _ in 0..sessions {
                    bench.session(id).await;
                }
            }
            for sort in [AgentsSort::CreatedAt, AgentsSort::Name, AgentsSort::HarnessId, AgentsSort::Sessions]
            {
                for order in [Order::Asc, Order::Desc] {
                    let query = AgentsQuery { sort, order, limit: Some(limit), ..AgentsQuery::default() };
                    let by_cursor = walk(&bench.store, &query, true).await;
                    assert_eq!(by_cursor, walk(&bench.store, &query, false).await);
                    let mut sorted = by_cursor.clone();
                    sorted.sort_by_key(|row| sort_key(row, sort));
                    if order == Order::Desc {
                        sorted.reverse();
                    }
                    assert_eq!(by_cursor, sorted, "{sort:?} {order:?}");
                }
            }
        });
        Ok(())
    };
    let law = std::cell::RefCell::new(law);
    let config = Config { cases: 6, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&(crowd(), 1u32..30), |case| (law.borrow_mut())(case)).unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn cursor_and_offset_give_the_same_sorted_list_on_sqlite() {
    holds_on(Bench::sqlite(), &runtime());
}

#[test]
#[ignore = "run by tests/postgres, which starts a server"]
fn cursor_and_offset_give_the_same_sorted_list_on_postgres() {
    holds_on(Bench::postgres(), &runtime());
}

on_every_database! {
    async fn a_limit_is_kept_within_bounds(bench) {
        bench.agent("one").await;
        for (asked, given) in [(None, 50), (Some(0), 1), (Some(7), 7), (Some(u32::MAX), 200)] {
            let page = bench.store.agents().list(&AgentsQuery { limit: asked, ..AgentsQuery::default() }).await.unwrap();
            assert_eq!(page.limit, given);
            let query = SessionsQuery { limit: asked, ..SessionsQuery::default() };
            assert_eq!(bench.store.sessions().list(&query).await.unwrap().limit, given);
        }
    }

    async fn a_cursor_does_not_miss_what_was_there_when_rows_come_and_go(bench) {
        for n in 0..6 {
            bench.pass(1);
            bench.agent(&format!("agent {n}")).await;
        }
        let first = AgentsQuery { limit: Some(3), ..AgentsQuery::default() };
        let page = bench.store.agents().list(&first).await.unwrap();
        bench.pass(1);
        bench.agent("newer than the first page").await;
        bench.store.agents().delete(page.data[0].agent.id).await.unwrap();
        let rest = AgentsQuery { cursor: page.next_cursor, ..first };
        let names: Vec<_> = bench.store.agents().list(&rest).await.unwrap().data.into_iter().map(|row| row.agent.name).collect();
        assert_eq!(names, ["agent 2", "agent 1", "agent 0"]);
    }

    async fn a_cursor_of_another_list_or_none_at_all_is_refused(bench) {
        for n in 0..2 {
            bench.agent(&format!("agent {n}")).await;
        }
        let page = bench.store.agents().list(&AgentsQuery { limit: Some(1), ..AgentsQuery::default() }).await.unwrap();
        let cursor = page.next_cursor;
        let other = |query: AgentsQuery| AgentsQuery { cursor: cursor.clone(), ..query };
        for query in [
            other(AgentsQuery { sort: AgentsSort::Name, ..AgentsQuery::default() }),
            other(AgentsQuery { search: Some("agent".into()), ..AgentsQuery::default() }),
            other(AgentsQuery { name: Some("agent 1".into()), ..AgentsQuery::default() }),
            other(AgentsQuery { harness_id: Some("shell".into()), ..AgentsQuery::default() }),
            AgentsQuery { cursor: Some("not a cursor".into()), ..AgentsQuery::default() },
            AgentsQuery { cursor: Some("x".repeat(100_000)), ..AgentsQuery::default() },
        ] {
            assert!(matches!(bench.store.agents().list(&query).await, Err(StoreError::Invalid(_))));
        }
        let sessions = SessionsQuery { cursor: cursor.clone(), ..SessionsQuery::default() };
        assert!(matches!(bench.store.sessions().list(&sessions).await, Err(StoreError::Invalid(_))));
        let same = other(AgentsQuery { search: Some(String::new()), ..AgentsQuery::default() });
        assert_eq!(bench.store.agents().list(&same).await.unwrap().data.len(), 1);
    }

    async fn sessions_page_alike_by_cursor_and_by_offset(bench) {
        let agent = bench.agent("one").await;
        let unlimited = |agent: &mut Agent| -> Result<(), StoreError> { agent.max_sessions = None; Ok(()) };
        bench.store.agents().update(agent, unlimited).await.unwrap();
        for n in 0..11 {
            bench.pass(n % 2);
            bench.session(agent).await;
        }
        for order in [Order::Asc, Order::Desc] {
            let (mut by_cursor, mut by_offset) = (Vec::new(), Vec::new());
            let mut query = SessionsQuery { limit: Some(3), order, ..SessionsQuery::default() };
            loop {
                let page = bench.store.sessions().list(&query).await.unwrap();
                by_cursor.extend(page.data);
                query.cursor = page.next_cursor;
                if query.cursor.is_none() {
                    break;
                }
            }
            while by_offset.len() < by_cursor.len() {
                let offset = by_offset.len() as u64;
                let query = SessionsQuery { limit: Some(3), order, offset, ..SessionsQuery::default() };
                by_offset.extend(bench.store.sessions().list(&query).await.unwrap().data);
            }
            assert_eq!(by_cursor.len(), 11);
            assert_eq!(by_cursor, by_offset);
        }
    }
}
