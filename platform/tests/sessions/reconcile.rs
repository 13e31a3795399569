//! What is stored and what runs, when the two differ.

use std::sync::Arc;
use std::time::Duration;

use lap_platform::model::{Session, SessionId, SessionStatus};
use lap_platform::sandbox::{SandboxName, SandboxSpec, SandboxState};
use lap_platform::session::TERMINAL_PROGRAM;
use lap_platform::store::StoreError;

use crate::support::{Typist, World, keeper_pid, kill, marked, soon};

/// A sandbox that was made behind the sessions' backs.
async fn stray(world: &World, name: &str, labels: &[(&str, String)]) -> SandboxName {
    let name = SandboxName(name.to_owned());
    let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), value.clone())).collect();
    let spec = SandboxSpec { name: name.clone(), image: None, resources: Default::default(), labels };
    world.runtime.create(&spec).await.unwrap();
    let (progress, _states) = tokio::sync::mpsc::channel(8);
    world.runtime.wait_running(&name, &progress).await.unwrap();
    name
}

/// Waits until a sandbox is removed that no session's row tells of.
async fn removed(world: &World, name: &SandboxName) {
    soon("its removal", async {
        while world.runtime.inspect(name).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_that_says_of_no_session_that_it_was_its_own_is_left_alone() {
    let world = World::with(|options| {
        options.settings.defaults.reconcile_interval = Duration::from_millis(20);
    })
    .await;
    let foreign = stray(&world, "s-nobodys", &[]).await;
    let orphan = stray(&world, "s-orphan", &[("lap.session", SessionId::new().to_string())]).await;
    // Several looks at everything later.
    for _ in 0..3 {
        let session = world.ready(&world.agent().await).await;
        world.sessions.stop(session.id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for name in [foreign, orphan] {
        let status = world.runtime.inspect(&name).await.unwrap().unwrap();
        assert_eq!(status.state, SandboxState::Running, "{name}");
        world.runtime.delete(&name).await.unwrap();
    }
}

/// Its keeper's process, which is the same as long as nobody ends it.
fn keeper(world: &World, session: &Session) -> rustix::process::Pid {
    keeper_pid(&world.data, session.task_arn.as_deref().unwrap())
}

#[tokio::test]
async fn sessions_that_an_empty_database_does_not_know_are_found_again_and_go_on() {
    let world = World::new().await;
    let agent = world.agent().await;
    let (one, two) = (world.ready(&agent).await, world.ready(&world.agent().await).await);
    let again = world.ready(&agent).await;
    let again = world.sessions.restart(again.id, None).await.unwrap();
    let again = world.reaches(again.id, SessionStatus::Ready).await;
    world.sessions.shutdown().await;
    let before = [&one, &two, &again].map(|session| keeper(&world, session));
    // As after a power cut, or a backup of nothing.
    for file in ["lap.db", "lap.db-wal", "lap.db-shm"] {
        let _ = std::fs::rename(world.data.path().join(file), world.data.path().join(format!("{file}.lost")));
    }
    let store = world.data.options().store().await.unwrap();
    let next = world.data.options().start(store.clone(), world.runtime.clone()).await.unwrap();
    for session in [&one, &two, &again] {
        let found = soon("its return", async {
            loop {
                match next.get(session.id).await {
                    Ok(found) => break found,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        assert_eq!((found.status, &found.task_arn), (SessionStatus::Ready, &session.task_arn));
        assert_eq!((found.agent_id, found.origin.as_str()), (session.agent_id, "adopted"));
        assert_eq!(next.resolve(session.id).await.unwrap().program, TERMINAL_PROGRAM);
    }
    assert_eq!([&one, &two, &again].map(|session| keeper(&world, session)), before, "nothing was ended");
    next.stop_all().await.unwrap();
    for session in [&one, &two, &again] {
        world.vanishes(session.task_arn.as_deref().unwrap()).await;
    }
    next.shutdown().await;
}

#[tokio::test]
async fn a_session_that_an_older_copy_of_the_database_has_for_dead_lives_on() {
    let world = World::new().await;
    let agent = world.agent().await;
    let session = world.ready(&agent).await;
    world.sessions.stop(session.id).await.unwrap();
    // The copy is made here: what comes after is not in it.
    let copied = world.store.sessions().get(session.id).await.unwrap();
    world.sessions.restart(session.id, None).await.unwrap();
    let running = world.reaches(session.id, SessionStatus::Ready).await;
    let before = keeper(&world, &running);
    world.sessions.shutdown().await;
    let stored = world.store.sessions();
    let restored = stored.update::<StoreError>(session.id, |record| {
        *record = copied;
        Ok(())
    });
    restored.await.unwrap();
    let next = world.data.options().start(world.store.clone(), world.runtime.clone()).await.unwrap();
    let ready_in = async |sandbox: &dyn Fn(&str) -> bool| {
        soon("its sandbox", async {
            loop {
                let now = next.get(session.id).await.unwrap();
                if now.status == SessionStatus::Ready && now.task_arn.as_deref().is_some_and(sandbox) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    ready_in(&|name| Some(name) == running.task_arn.as_deref()).await;
    assert_eq!(keeper(&world, &running), before);
    // The next restart takes a name that is free.
    next.restart(session.id, None).await.unwrap();
    ready_in(&|name| name.ends_with("-3")).await;
    next.stop(session.id).await.unwrap();
    next.shutdown().await;
}

#[tokio::test]
async fn sessions_outlive_the_absence_of_their_directory() {
    let world = World::with(|options| {
        options.settings.defaults.reconcile_interval = Duration::from_millis(20);
    })
    .await;
    let session = world.ready(&world.agent().await).await;
    let before = keeper(&world, &session);
    let (there, away) = (world.data.path().join("sandboxes"), world.data.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.sessions.get(session.id).await.unwrap().status, SessionStatus::Ready);
    std::fs::create_dir(&there).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.sessions.get(session.id).await.unwrap().status, SessionStatus::Ready);
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.sessions.get(session.id).await.unwrap().status, SessionStatus::Ready);
    assert_eq!(keeper(&world, &session), before);
    world.sessions.stop(session.id).await.unwrap();
}

#[tokio::test]
async fn a_restarted_session_goes_on_in_its_workspace_and_one_that_ended_long_ago_leaves_none() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("echo mine > notes; exit\n").await;
    world.reaches(session.id, SessionStatus::Dead).await;
    world.vanishes(session.task_arn.as_deref().unwrap()).await;
    world.sessions.restart(session.id, None).await.unwrap();
    let again = world.reaches(session.id, SessionStatus::Ready).await;
    let mut typist = Typist::attach(&world.client(&again).await).await;
    typist.types("cat notes\n").await;
    typist.sees("mine").await;
    let kept = world.data.path().join("workspaces").join(session.id.to_string());
    world.sessions.stop(session.id).await.unwrap();
    assert_eq!(std::fs::read_to_string(kept.join("notes")).unwrap(), "mine\n");
    world.sessions.shutdown().await;
    // A server that is started fifteen days later.
    let mut options = world.data.options();
    options.wall = Arc::new(|| jiff::Timestamp::now() + jiff::SignedDuration::from_hours(15 * 24));
    let store = options.store().await.unwrap();
    let next = options.start(store, world.runtime.clone()).await.unwrap();
    soon("its removal", async {
        while kept.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    next.shutdown().await;
}

#[tokio::test]
async fn the_sandbox_of_a_session_that_has_ended_is_removed_at_once() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    world.sessions.shutdown().await;
    // As another server would have left it that ended the session and was killed before it removed the sandbox.
    let stored = world.store.sessions();
    let ended = stored.update::<lap_platform::store::StoreError>(session.id, |record| {
        record.status = SessionStatus::Dead;
        Ok(())
    });
    ended.await.unwrap();
    let next = world.data.options().start(world.store.clone(), world.runtime.clone()).await.unwrap();
    let name = SandboxName(session.task_arn.unwrap());
    removed(&world, &name).await;
    world.vanishes(&name.0).await;
    next.shutdown().await;
}

#[tokio::test]
async fn a_session_whose_keeper_died_while_no_server_ran_is_dead_with_the_reason() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let name = session.task_arn.clone().unwrap();
    world.sessions.shutdown().await;
    kill(keeper_pid(&world.data, &name));
    let next = world.data.options().start(world.store.clone(), world.runtime.clone()).await.unwrap();
    let dead = crate::support::reaches(&next, &world.store, session.id, SessionStatus::Dead).await;
    assert!(dead.failure_reason.unwrap().contains("was killed or crashed"));
    world.vanishes(&name).await;
}

/// Removes a sandbox's folder. At one stroke: a keeper that sees its socket go makes it again.
fn remove_folder(world: &World, sandbox: &str) {
    let folder = world.data.path().join("sandboxes").join(sandbox);
    let aside = world.data.path().join(format!("removed-{sandbox}"));
    std::fs::rename(folder, &aside).unwrap();
    std::fs::remove_dir_all(aside).unwrap();
}

#[tokio::test]
async fn a_session_whose_folder_was_removed_is_dead_and_nothing_of_it_runs_on() {
    let world = World::with(|options| {
        options.settings.defaults.reconcile_interval = Duration::from_millis(20);
    })
    .await;
    let session = world.ready(&world.agent().await).await;
    let sandbox = session.task_arn.clone().unwrap();
    remove_folder(&world, &sandbox);
    let dead = world.reaches(session.id, SessionStatus::Dead).await;
    assert!(dead.failure_reason.unwrap().contains("gone"));
    soon("the end of its processes", async {
        while !marked(&sandbox).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Also of one that had ended before, as after a kill in the middle of its removal.
    let ended = world.ready(&world.agent().await).await;
    let sandbox = ended.task_arn.clone().unwrap();
    world
        .store
        .sessions()
        .update::<StoreError>(ended.id, |record| {
            (record.status, record.ending) = (SessionStatus::Dead, false);
            Ok(())
        })
        .await
        .unwrap();
    remove_folder(&world, &sandbox);
    soon("the end of its processes", async {
        while !marked(&sandbox).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
