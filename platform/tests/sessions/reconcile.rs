use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lap_platform::model::SessionStatus;
use lap_platform::sandbox::{SandboxName, SandboxSpec};
use lap_platform::session::ManualClock;

use crate::support::{World, keeper_pid, kill, soon};

async fn stray(world: &World, name: &str) -> SandboxName {
    let name = SandboxName(name.to_owned());
    let spec = SandboxSpec {
        name: name.clone(),
        image: None,
        resources: Default::default(),
        labels: BTreeMap::new(),
    };
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
async fn a_sandbox_that_no_session_knows_is_removed_after_its_grace_and_not_before() {
    let clock = Arc::new(ManualClock::default());
    let hand = Arc::clone(&clock);
    let world = World::with(move |options| {
        options.clock = hand;
        options.settings.defaults.reconcile_interval = Duration::from_millis(50);
        options.settings.defaults.orphan_grace = Duration::from_secs(300);
    })
    .await;
    let name = stray(&world, "s-nobodys").await;
    // It has been seen once a session that came after it has come up and gone.
    let session = world.ready(&world.agent().await).await;
    world.sessions.stop(session.id).await.unwrap();
    clock.advance(Duration::from_secs(299));
    let session = world.ready(&world.agent().await).await;
    world.sessions.stop(session.id).await.unwrap();
    assert!(world.runtime.inspect(&name).await.unwrap().is_some());
    // On a busy machine it may be seen for the first time only now: its grace then begins now.
    let time_passes = async {
        loop {
            clock.advance(Duration::from_secs(301));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = removed(&world, &name) => {}
        () = time_passes => {}
    }
    world.vanishes(&name.0).await;
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
