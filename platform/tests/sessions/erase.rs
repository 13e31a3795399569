//! Sessions of which nothing is to be left, on somebody's word or by the time that has passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use lap_platform::model::{ChangeKind, Session, SessionStatus};
use lap_platform::session::{SessionError, SessionsQuery};
use lap_platform::store::{After, Intent, ResourceRef, StoreError};

use crate::support::{Data, World, agent, marked, soon};

/// A session that has something in its workspace.
async fn with_work(world: &World, agent: &lap_platform::model::Agent) -> Session {
    let session = world.ready(agent).await;
    std::fs::write(workspace(&world.data, &session).join("note"), "work").unwrap();
    session
}

fn workspace(data: &Data, session: &Session) -> std::path::PathBuf {
    data.path().join("workspaces").join(session.id.to_string())
}

async fn is_gone(world: &World, session: &Session) {
    soon("the session's end", async {
        while !matches!(world.sessions.get(session.id).await, Err(SessionError::NotFound(_))) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!workspace(&world.data, session).exists());
    assert!(world.runtime.list().await.unwrap().iter().all(|s| Some(&s.name.0) != session.task_arn.as_ref()));
    let listed = world.sessions.list(&SessionsQuery::default()).await.unwrap();
    assert!(
        listed.data.iter().all(|other| other.id != session.id) && listed.total as usize == listed.data.len()
    );
}

#[tokio::test]
async fn nothing_is_left_of_an_erased_session_whether_it_lived_or_had_ended() {
    let world = World::new().await;
    let agent = world.agent().await;
    let (live, ended) = (with_work(&world, &agent).await, with_work(&world, &agent).await);
    world.sessions.stop(ended.id).await.unwrap();
    let kept = with_work(&world, &agent).await;
    for session in [&live, &ended] {
        world.sessions.erase(session.id).await.unwrap();
        is_gone(&world, session).await;
        assert!(marked(session.task_arn.as_ref().unwrap()).is_empty(), "its programs are gone too");
        for again in [
            world.sessions.erase(session.id).await,
            world.sessions.delete(session.id).await,
            world.sessions.restart(session.id, None).await.map(drop),
        ] {
            assert!(matches!(again, Err(SessionError::NotFound(_))), "{again:?}");
        }
        let told = world.store.changes().after(0, 1000).await.unwrap();
        let After::Changes(told) = told else { panic!("{told:?}") };
        let about = |kind| {
            told.iter().filter(|c| c.kind == kind && c.resource == ResourceRef::Session(session.id)).count()
        };
        assert_eq!((about(ChangeKind::Created), about(ChangeKind::Deleted)), (1, 1));
        assert_eq!(world.sessions.last_state(session.id).await.unwrap().title_preview, "");
    }
    assert_eq!(world.store.agents().get(agent.id).await.unwrap().session_count, 1);
    assert!(workspace(&world.data, &kept).join("note").exists(), "another's work stays");
    world.sessions.stop(kept.id).await.unwrap();
}

#[tokio::test]
async fn an_erasing_that_was_cut_off_is_finished_by_the_next_server() {
    let world = World::new().await;
    let agent = world.agent().await;
    let (live, ended) = (with_work(&world, &agent).await, with_work(&world, &agent).await);
    world.sessions.stop(ended.id).await.unwrap();
    world.sessions.shutdown().await;
    for id in [live.id, ended.id] {
        let sessions = world.store.sessions();
        let mark = sessions.update(id, |record| {
            record.ending = record.status == SessionStatus::Ready;
            record.intent = Some(Intent::Erase);
            Ok::<(), StoreError>(())
        });
        mark.await.unwrap();
    }
    let sessions = world.data.options().start(world.store.clone(), world.runtime.clone()).await.unwrap();
    let world = World { sessions, ..world };
    is_gone(&world, &live).await;
    is_gone(&world, &ended).await;
}

#[tokio::test]
async fn what_ended_long_ago_is_erased_and_what_lives_or_ended_yesterday_is_not() {
    const DAY: i64 = 86_400;
    let offset = Arc::new(AtomicI64::new(0));
    let (wall, data) = (Arc::clone(&offset), Data::new());
    let mut options = data.options();
    options.wall =
        Arc::new(move || Timestamp::now() + SignedDuration::from_secs(wall.load(Ordering::Relaxed)));
    let wall = options.wall.clone();
    let (store, runtime) = (options.store().await.unwrap(), Arc::new(options.runtime().unwrap()));
    let sessions = options.start(store.clone(), runtime.clone()).await.unwrap();
    let made = store.agents().create(agent()).await.unwrap().agent;
    let world = World { data, store, runtime, sessions };
    let (live, old, young) =
        (world.ready(&made).await, with_work(&world, &made).await, world.ready(&made).await);
    world.sessions.stop(old.id).await.unwrap();
    offset.store(29 * DAY, Ordering::Relaxed);
    world.sessions.stop(young.id).await.unwrap();
    world.sessions.shutdown().await;

    offset.store(30 * DAY + 60, Ordering::Relaxed);
    let mut options = world.data.options();
    options.wall = wall;
    let sessions = options.start(world.store.clone(), world.runtime.clone()).await.unwrap();
    let world = World { sessions, ..world };
    is_gone(&world, &old).await;
    assert_eq!(world.sessions.get(young.id).await.unwrap().status, SessionStatus::Dead);
    assert_eq!(world.sessions.get(live.id).await.unwrap().status, SessionStatus::Ready);
    world.sessions.stop(live.id).await.unwrap();
}

/// A machine whose clock is wrong when it starts, and is set right a moment later.
#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_erases_nothing() {
    const DAY: i64 = 86_400;
    let world = World::new().await;
    let agent = world.agent().await;
    let ended = with_work(&world, &agent).await;
    world.sessions.stop(ended.id).await.unwrap();
    world.sessions.shutdown().await;
    let workspace = world.data.path().join("workspaces").join(ended.id.to_string());
    assert!(workspace.is_dir());

    let offset = Arc::new(AtomicI64::new(60 * DAY));
    let wall = Arc::clone(&offset);
    let mut options = world.data.options();
    options.wall =
        Arc::new(move || Timestamp::now() + SignedDuration::from_secs(wall.load(Ordering::Relaxed)));
    options.settings.second_look = std::time::Duration::from_millis(300);
    let store = options.store().await.unwrap();
    let sessions = options.start(store, world.runtime.clone()).await.unwrap();
    let world = World { sessions, ..world };
    // The first look is over; the second comes after this.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    offset.store(0, Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(workspace.is_dir(), "its work is there");
    assert_eq!(world.sessions.get(ended.id).await.unwrap().status, SessionStatus::Dead);
}
