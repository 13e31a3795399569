//! Sessions that nobody uses, and when they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lap_platform::model::SessionStatus;
use lap_platform::session::{Live, ManualClock};

use crate::support::{World, soon};

const MINUTE: Duration = Duration::from_secs(60);

async fn world(clock: &Arc<ManualClock>) -> World {
    let clock = Arc::clone(clock);
    World::with(move |options| options.clock = clock).await
}

/// Waits until the session's detail is as wanted.
async fn detail(world: &World, id: lap_platform::model::SessionId, wanted: impl Fn(Option<&str>) -> bool) {
    let mut changes = world.store.changes().watch();
    soon("the detail", async {
        while !wanted(world.sessions.get(id).await.unwrap().phase_detail.as_deref()) {
            changes.changed().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_nobody_uses_is_told_of_and_then_ended() {
    let clock = Arc::new(ManualClock::default());
    let world = world(&clock).await;
    let session = world.ready(&world.agent_with(|agent| agent.idle_timeout_seconds = 3600).await).await;
    clock.advance(MINUTE * 55);
    detail(&world, session.id, |detail| detail.is_some_and(|d| d.starts_with("ends in 5 minutes"))).await;
    clock.advance(MINUTE * 5);
    let dead = world.reaches(session.id, SessionStatus::Dead).await;
    assert_eq!(dead.failure_reason.as_deref(), Some("nobody used it for 1 hour"));
    world.vanishes(&session.task_arn.unwrap()).await;
}

#[tokio::test]
async fn use_puts_the_end_off_and_takes_the_notice_back() {
    let clock = Arc::new(ManualClock::default());
    let world = world(&clock).await;
    let session = world.ready(&world.agent_with(|agent| agent.idle_timeout_seconds = 3600).await).await;
    clock.advance(MINUTE * 56);
    detail(&world, session.id, |detail| detail.is_some()).await;
    world.sessions.note_activity(session.id);
    detail(&world, session.id, |detail| detail.is_none()).await;
    clock.advance(MINUTE * 2);
    world.sessions.note_activity(session.id);
    // What this server has stored of its use itself is no use by another.
    soon("its being stored", async {
        while world.store.sessions().get(session.id).await.unwrap().last_seen_at.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    clock.advance(MINUTE * 54);
    assert_eq!(world.sessions.get(session.id).await.unwrap().status, SessionStatus::Ready);
    clock.advance(MINUTE * 2);
    detail(&world, session.id, |detail| detail.is_some()).await;
    clock.advance(MINUTE * 4);
    world.reaches(session.id, SessionStatus::Dead).await;
}

#[tokio::test]
async fn somebody_at_the_keyboard_keeps_a_session_alive_and_somebody_who_watches_does_not() {
    let clock = Arc::new(ManualClock::default());
    let world = world(&clock).await;
    let agent = world.agent_with(|agent| agent.idle_timeout_seconds = 3600).await;
    let (typed, watched) = (world.ready(&agent).await, world.ready(&agent).await);
    world.sessions.set_live(typed.id, Live { viewers: 1, interactive: 1, ..Live::default() });
    world.sessions.set_live(watched.id, Live { viewers: 1, interactive: 0, ..Live::default() });
    clock.advance(MINUTE * 56);
    detail(&world, watched.id, |detail| detail.is_some()).await;
    clock.advance(MINUTE * 60 * 24);
    world.sessions.set_live(watched.id, Live::default());
    world.reaches(watched.id, SessionStatus::Dead).await;
    let kept = world.sessions.get(typed.id).await.unwrap();
    assert_eq!((kept.status, kept.viewers), (SessionStatus::Ready, 1));
    // From when it leaves, the time begins.
    world.sessions.set_live(typed.id, Live::default());
    clock.advance(MINUTE * 56);
    detail(&world, typed.id, |detail| detail.is_some()).await;
    clock.advance(MINUTE * 4);
    world.reaches(typed.id, SessionStatus::Dead).await;
}

#[tokio::test]
async fn the_last_use_is_known_after_the_end() {
    let clock = Arc::new(ManualClock::default());
    let world = world(&clock).await;
    let session = world.ready(&world.agent().await).await;
    let ready = world.sessions.get(session.id).await.unwrap().last_seen_at;
    // Too soon to be stored by itself.
    world.sessions.note_activity(session.id);
    world.sessions.stop(session.id).await.unwrap();
    world.reaches(session.id, SessionStatus::Dead).await;
    let seen = world.sessions.get(session.id).await.unwrap().last_seen_at;
    assert!(seen > ready && seen <= Some(Timestamp::now()), "{seen:?} {ready:?}");
}

/// Restarts the service with its wall clock so much later (or earlier), and says after how many minutes that pass the
/// session is told to end soon.
async fn minutes_left_after_a_restart(set_by: SignedDuration) -> u32 {
    let offset = Arc::new(AtomicI64::new(0));
    let wall = Arc::clone(&offset);
    let mut world = World::with(move |options| {
        options.wall =
            Arc::new(move || Timestamp::now() + SignedDuration::from_secs(wall.load(Ordering::Relaxed)));
    })
    .await;
    let session = world.ready(&world.agent_with(|agent| agent.idle_timeout_seconds = 3600).await).await;
    world.sessions.shutdown().await;
    offset.store(set_by.as_secs(), Ordering::Relaxed);
    let clock = Arc::new(ManualClock::default());
    let mut options = world.data.options();
    options.clock = clock.clone();
    world.sessions = options.start(world.store.clone(), Arc::clone(&world.runtime)).await.unwrap();
    for minutes in 0..150 {
        let now = world.sessions.get(session.id).await.unwrap();
        assert_eq!(now.status, SessionStatus::Ready, "it is told before it ends");
        if now.phase_detail.is_some_and(|detail| detail.starts_with("ends in 5 minutes")) {
            clock.advance(MINUTE * 5);
            world.reaches(session.id, SessionStatus::Dead).await;
            return minutes;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        clock.advance(MINUTE);
    }
    panic!("it is never told");
}

#[tokio::test]
async fn a_restart_forgets_no_idleness_and_a_clock_that_was_set_neither_ends_nor_keeps_a_session() {
    // Some minutes may have passed before the new service looked at its sessions.
    let idle = minutes_left_after_a_restart(SignedDuration::from_mins(50)).await;
    assert!((5..40).contains(&idle), "{idle}");
    let forward = minutes_left_after_a_restart(SignedDuration::from_hours(240)).await;
    assert!(forward < 35, "{forward}");
    let back = minutes_left_after_a_restart(SignedDuration::from_hours(-240)).await;
    assert!((55..90).contains(&back), "{back}");
}

#[tokio::test]
async fn what_the_hub_knows_is_shown_and_told() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut changes = world.store.changes().watch();
    changes.mark_unchanged();
    let attention = lap_wire::control::Attention::Bell;
    world.sessions.set_live(session.id, Live { viewers: 2, interactive: 1, attention, recording: true });
    soon("the change", changes.changed()).await.unwrap();
    let shown = world.sessions.get(session.id).await.unwrap();
    assert_eq!((shown.viewers, shown.attention, shown.recording), (2, attention, true));
}

#[tokio::test]
async fn a_clock_that_is_set_while_sessions_run_costs_them_nothing() {
    let offset = Arc::new(AtomicI64::new(0));
    let wall = Arc::clone(&offset);
    let world = World::with(move |options| {
        options.settings.defaults.lease = Duration::from_millis(600);
        options.wall =
            Arc::new(move || Timestamp::now() + SignedDuration::from_secs(wall.load(Ordering::Relaxed)));
    })
    .await;
    let agent = world.agent_with(|agent| agent.idle_timeout_seconds = 3600).await;
    let session = world.ready(&agent).await;
    for days in [10, -10] {
        offset.store(days * 86_400, Ordering::Relaxed);
        // The server's heart beats several times in this.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = world.sessions.get(session.id).await.unwrap();
        assert_eq!((now.status, now.phase_detail), (SessionStatus::Ready, None));
        // Whoever drives it still does, and another one comes up beside it.
        let other = world.ready(&agent).await;
        world.sessions.stop(other.id).await.unwrap();
        world.reaches(other.id, SessionStatus::Dead).await;
    }
    world.sessions.stop(session.id).await.unwrap();
    world.reaches(session.id, SessionStatus::Dead).await;
    world.vanishes(&session.task_arn.unwrap()).await;
}
