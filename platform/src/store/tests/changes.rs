//! Changes as they are told.

use super::super::changes::KEPT;
use super::*;
use crate::model::ChangeKind;

on_every_database! {
    async fn it_has_no_holes_whoever_writes(bench) {
        let id = bench.agent("one").await;
        let other = bench.another().await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..20 {
            let store = if n % 2 == 0 { bench.store.clone() } else { other.clone() };
            tasks.spawn(async move { store.changes().note(ChangeKind::Updated, ResourceRef::Agent(id)).await.unwrap() });
        }
        let mut noted = tasks.join_all().await;
        noted.sort_unstable();
        assert_eq!(noted, (2..=21).collect::<Vec<u64>>());
        let ids: Vec<_> = bench.feed().await.into_iter().map(|change| change.id).collect();
        assert_eq!(ids, (1..=21).collect::<Vec<u64>>());
        assert_eq!(bench.store.changes().latest().await.unwrap(), 21);
    }

    async fn it_goes_on_from_where_a_reader_was(bench) {
        for n in 0..5 {
            bench.agent(&format!("agent {n}")).await;
        }
        let ids = async |after, limit| match bench.store.changes().after(after, limit).await.unwrap() {
            After::Changes(changes) => changes.into_iter().map(|change| change.id).collect::<Vec<_>>(),
            After::TooOld { .. } => panic!("nothing is lost yet"),
        };
        assert_eq!(ids(0, 2).await, [1, 2]);
        assert_eq!(ids(2, 2).await, [3, 4]);
        assert_eq!(ids(4, 2).await, [5]);
        assert!(ids(5, 2).await.is_empty());
    }

    async fn a_place_that_is_not_of_this_feed_is_told_apart(bench) {
        bench.agent("one").await;
        assert_eq!(bench.store.changes().after(7, 10).await.unwrap(), After::TooOld { latest: 1 });
    }

    async fn it_keeps_the_last_ten_thousand(bench) {
        let id = bench.agent("one").await;
        let mut write = bench.store.begin().await.unwrap();
        for _ in 0..KEPT + 500 {
            write.change(ChangeKind::Updated, ResourceRef::Agent(id)).await.unwrap();
        }
        write.commit().await.unwrap();
        let latest = bench.store.changes().latest().await.unwrap();
        assert_eq!(latest, KEPT + 501);
        assert_eq!(bench.store.changes().after(0, 10).await.unwrap(), After::TooOld { latest });
        let After::Changes(kept) = bench.store.changes().after(latest - KEPT, 1).await.unwrap() else {
            panic!("the last {KEPT} are kept")
        };
        assert_eq!(kept[0].id, latest - KEPT + 1);
        let mut tx = bench.store.read().await.unwrap();
        let count = tx.row(Sql::new("SELECT COUNT(*) AS kept FROM changes")).await.unwrap().unwrap();
        assert!(count.count("kept").unwrap() < KEPT + 64, "what is not kept is gone");
    }

    async fn whoever_watches_wakes_when_it_is_committed_and_not_before(bench) {
        let mut watch = bench.store.changes().watch();
        let id = bench.agent("one").await;
        watch.changed().await.unwrap();
        assert_eq!(*watch.borrow_and_update(), 1);
        let mut write = bench.store.begin().await.unwrap();
        write.change(ChangeKind::Updated, ResourceRef::Agent(id)).await.unwrap();
        assert!(!watch.has_changed().unwrap());
        drop(write);
        assert!(!watch.has_changed().unwrap());
        assert_eq!(bench.store.changes().latest().await.unwrap(), 1, "what was dropped has not happened");
        bench.session(id).await;
        watch.changed().await.unwrap();
        assert_eq!(*watch.borrow_and_update(), 3);
    }

    async fn a_store_opened_later_knows_where_it_stands(bench) {
        bench.agent("one").await;
        assert_eq!(*bench.another().await.changes().watch().borrow(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by tests/postgres, which starts a server"]
async fn on_postgres_what_another_server_changes_wakes_whoever_watches_here() {
    let bench = Bench::postgres().await;
    let (one, other) = (bench.store.clone(), bench.another().await);
    let hearing = tokio::task::JoinSet::from_iter([{
        let one = one.clone();
        async move { one.hear_others().await }
    }]);
    let mut watch = one.changes().watch();
    for n in 0..20 {
        let before = *watch.borrow_and_update();
        let agent = other.agents().create(agent(&format!("agent {n}"))).await.unwrap().agent;
        let woken = async {
            while *watch.borrow_and_update() <= before {
                watch.changed().await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), woken).await.unwrap();
        assert_eq!(one.agents().get(agent.id).await.unwrap().agent.name, agent.name);
    }
    drop(hearing);
}
