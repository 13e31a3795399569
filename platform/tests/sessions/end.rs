//! How sessions end: by themselves, stopped, deleted, restarted.

use std::time::{Duration, Instant};

use lap_platform::model::{ExecRequest, SessionStatus};
use lap_platform::session::{Live, SessionError};
use lap_wire::control::ErrorCode;

use crate::support::{Typist, World, keeper_pid, kill, marked, soon};

#[tokio::test]
async fn a_stop_leaves_no_process_no_socket_and_no_file() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let name = session.task_arn.clone().unwrap();
    assert!(marked(&name).len() >= 2, "the keeper and the shell");
    let stopped = world.sessions.stop(session.id).await.unwrap();
    assert_eq!((stopped.status, stopped.failure_reason.as_deref()), (SessionStatus::Dead, Some("stopped")));
    assert!(stopped.stopped_at.is_some());
    world.vanishes(&name).await;
    assert_eq!(world.sessions.stop(session.id).await.unwrap(), stopped, "again is the same");
    world.sessions.delete(session.id).await.unwrap();
}

#[tokio::test]
async fn daemons_and_programs_deaf_to_sigterm_end_with_their_session() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    // A daemon in a session of its own, one without an environment, and one that ignores every polite signal.
    typist.types("setsid sleep 1001 & setsid env -i sleep 1002 & setsid sh -c 'trap \"\" TERM HUP INT; sleep 1003; sleep 1004' &\n").await;
    typist.types("trap '' TERM HUP; echo rea''dy\n").await;
    typist.sees("ready").await;
    let name = session.task_arn.clone().unwrap();
    world.sessions.stop(session.id).await.unwrap();
    world.vanishes(&name).await;
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        ["sleep 1001", "sleep 1002", "sleep 1003"].iter().any(|left| line.trim() == *left).then_some(line)
    });
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_that_exits_ends_its_session_with_its_status() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("echo last words; exit 3\n").await;
    let dead = world.reaches(session.id, SessionStatus::Dead).await;
    let reason = dead.failure_reason.unwrap();
    assert!(reason.starts_with("exited with status 3"), "{reason}");
    assert!(reason.contains("last words"), "{reason}");
    world.vanishes(&session.task_arn.unwrap()).await;
    let refused = world.sessions.resolve(session.id).await.unwrap_err();
    assert!(refused.message.contains("exited with status 3"), "{refused}");
}

#[tokio::test]
async fn the_session_is_dead_before_viewers_are_told_and_its_sandbox_stays_until_they_have_the_end() {
    let world = World::new().await;
    for status in [0, 3] {
        let session = world.ready(&world.agent().await).await;
        world.sessions.set_live(session.id, Live { viewers: 1, interactive: 1, ..Live::default() });
        let client = world.client(&session).await;
        let mut typist = Typist::attach(&client).await;
        let mut end = lap_platform_exit(&client).await;
        typist.types(&format!("exit {status}\n")).await;
        soon("the exit", end.next_exit()).await;
        soon("its death", world.sessions.until_dead(session.id)).await.unwrap();
        assert_eq!(world.sessions.get(session.id).await.unwrap().status, SessionStatus::Dead);
        // Nobody has said that the viewers have it.
        let sandbox = lap_platform::sandbox::SandboxName(session.task_arn.clone().unwrap());
        assert!(world.runtime.inspect(&sandbox).await.unwrap().is_some());
        world.sessions.exit_delivered(session.id);
        world.vanishes(&sandbox.0).await;
    }
}

#[tokio::test]
async fn a_deleted_session_is_out_of_the_way_at_once_and_its_program_still_has_its_grace() {
    let world = World::new().await;
    let agent = world.agent().await;
    let session = world.ready(&agent).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    let mark = world.data.path().join("was-asked");
    typist
        .types(&format!(
            "trap 'echo yes > {}; exit' TERM; echo rea''dy; while :; do sleep 0.01; done\n",
            mark.display()
        ))
        .await;
    typist.sees("ready").await;
    world.sessions.delete(session.id).await.unwrap();
    let dead = world.sessions.get(session.id).await.unwrap();
    assert_eq!((dead.status, dead.failure_reason.as_deref()), (SessionStatus::Dead, Some("stopped")));
    let exec = ExecRequest { command: vec!["true".to_owned()], stdin: None, timeout_seconds: None };
    assert!(matches!(world.sessions.exec(session.id, exec, None).await, Err(SessionError::Conflict(_))));
    world.vanishes(&session.task_arn.unwrap()).await;
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "yes\n");
    assert_eq!(world.sessions.get(session.id).await.unwrap().failure_reason.as_deref(), Some("stopped"));
}

#[tokio::test]
async fn a_restart_goes_on_whoever_asked_for_it_is_gone_and_the_server_too() {
    use lap_platform::store::Intent;
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("trap '' TERM HUP; echo rea''dy\n").await;
    typist.sees("ready").await;
    {
        // Dropped in the grace of its program.
        let asked = world.sessions.restart(session.id, None);
        tokio::pin!(asked);
        let stored = async {
            while world.store.sessions().get(session.id).await.unwrap().intent != Some(Intent::Restart) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = &mut asked => panic!("it ignores SIGTERM: {done:?}"),
            () = stored => {}
        }
    }
    world.sessions.shutdown().await;
    assert_eq!(world.store.sessions().get(session.id).await.unwrap().intent, Some(Intent::Restart));
    let next = world.data.options().start(world.store.clone(), world.runtime.clone()).await.unwrap();
    let again = crate::support::reaches(&next, &world.store, session.id, SessionStatus::Ready).await;
    soon("its new sandbox", async {
        loop {
            let now = next.get(session.id).await.unwrap();
            if now.status == SessionStatus::Ready && now.task_arn != session.task_arn {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(again.id, session.id);
    next.stop(session.id).await.unwrap();
    next.shutdown().await;
}

#[tokio::test]
async fn a_session_that_is_stopped_or_deleted_while_it_is_restarted_stays_ended() {
    let world = World::new().await;
    let agent = world.agent().await;
    for delete in [false, true] {
        let session = world.ready(&agent).await;
        let mut typist = Typist::attach(&world.client(&session).await).await;
        typist.types("trap '' TERM HUP; echo rea''dy\n").await;
        typist.sees("ready").await;
        let (restarting, ending) = tokio::join!(world.sessions.restart(session.id, None), async {
            while world.store.sessions().get(session.id).await.unwrap().intent.is_none() {
                tokio::task::yield_now().await;
            }
            if delete {
                world.sessions.delete(session.id).await.map(drop)
            } else {
                world.sessions.stop(session.id).await.map(drop)
            }
        });
        ending.unwrap();
        assert_eq!(restarting.unwrap().status, SessionStatus::Dead);
        world.vanishes(&session.task_arn.unwrap()).await;
        assert_eq!(world.sessions.get(session.id).await.unwrap().status, SessionStatus::Dead);
    }
}

#[tokio::test]
async fn sessions_deleted_at_every_moment_of_their_coming_up_leave_nothing() {
    let world = World::new().await;
    let agent = world.agent().await;
    let mut names = Vec::new();
    for round in 0..60u64 {
        let session = world.create(&agent).await;
        tokio::time::sleep(Duration::from_micros(round * 250)).await;
        world.sessions.delete(session.id).await.unwrap();
        assert_eq!(world.sessions.get(session.id).await.unwrap().status, SessionStatus::Dead);
        names.push(format!("s-{}", session.id));
    }
    // Some never had one, and tell nobody that it is gone.
    soon("their removal", async {
        while !world.store.sessions().live().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(world.data.sandboxes(), Vec::<String>::new());
    assert!(names.iter().all(|name| marked(name).is_empty()), "processes are left");
}

#[tokio::test]
async fn no_more_sessions_live_than_may_however_they_are_asked_for() {
    let world = World::with(|options| options.settings.max_live = 3).await;
    let agent = world.agent().await;
    let asked = (0..12).map(|_| world.sessions.create(agent.id, Default::default(), "api"));
    let made: Vec<_> = futures_util::future::join_all(asked).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 3);
    assert!(refused.iter().all(|error| matches!(error, Err(SessionError::TooMany(_)))), "{refused:?}");
    let first = made.into_iter().next().unwrap().unwrap();
    world.sessions.stop(first.id).await.unwrap();
    let fourth = world.create(&agent).await;
    assert!(matches!(world.sessions.restart(first.id, None).await, Err(SessionError::TooMany(_))));
    world.sessions.stop(fourth.id).await.unwrap();
    world.sessions.restart(first.id, None).await.unwrap();
    world.sessions.stop_all().await.unwrap();
}

/// Waits for a program's end beside its viewers.
struct End(lap_platform::link::Channel);

async fn lap_platform_exit(client: &lap_platform::link::Keeper) -> End {
    use lap_wire::control::{Mode, Open};
    let open = Open { output: false, ..Open::new(lap_platform::session::TERMINAL_PROGRAM, Mode::View) };
    End(client.open(open).await.unwrap())
}

impl End {
    async fn next_exit(&mut self) {
        use lap_platform::link::ChannelEvent;
        use lap_wire::control::ServerMessage;
        while !matches!(self.0.next().await.unwrap(), ChannelEvent::Message(ServerMessage::Exit(_))) {}
    }
}

#[tokio::test]
async fn a_killed_keeper_ends_its_session_with_the_reason_and_leaves_no_orphan() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let name = session.task_arn.clone().unwrap();
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("trap '' HUP; setsid sleep 1005 & echo rea''dy\n").await;
    typist.sees("ready").await;
    kill(keeper_pid(&world.data, &name));
    let dead = world.reaches(session.id, SessionStatus::Dead).await;
    let reason = dead.failure_reason.unwrap();
    assert!(reason.starts_with("its sandbox is gone: the sandbox's keeper"), "{reason}");
    world.vanishes(&name).await;
}

#[tokio::test]
async fn a_session_stopped_while_it_comes_up_is_dead_and_leaves_nothing() {
    let world = World::new().await;
    let agent = world.agent().await;
    for _ in 0..5 {
        let session = world.create(&agent).await;
        let stopped = world.sessions.stop(session.id).await.unwrap();
        assert_eq!(stopped.status, SessionStatus::Dead);
        if let Some(name) = stopped.task_arn {
            world.vanishes(&name).await;
        }
    }
    assert_eq!(world.data.sandboxes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_restart_is_a_new_sandbox_for_the_same_session() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let restarted = world.sessions.restart(session.id, None).await.unwrap();
    assert_eq!((restarted.id, restarted.status), (session.id, SessionStatus::Creating));
    let refused = world.sessions.restart(session.id, None).await.unwrap_err();
    assert!(matches!(refused, SessionError::Conflict(_)), "{refused}");
    let again = world.reaches(session.id, SessionStatus::Ready).await;
    assert_ne!(again.task_arn, session.task_arn);
    assert_eq!(again.failure_reason, None);
    world.vanishes(&session.task_arn.unwrap()).await;
    world.sessions.stop(session.id).await.unwrap();
    world.sessions.restart(session.id, None).await.unwrap();
    world.reaches(session.id, SessionStatus::Ready).await;
    assert_eq!(world.data.sandboxes().len(), 1);
}

#[tokio::test]
async fn abort_interrupts_what_the_terminal_runs() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("trap 'echo inter''rupted' INT; echo rea''dy\n").await;
    typist.sees("ready").await;
    world.sessions.abort(session.id).await.unwrap();
    typist.types("\n").await;
    typist.sees("interrupted").await;
    world.sessions.stop(session.id).await.unwrap();
    assert!(matches!(world.sessions.abort(session.id).await, Err(SessionError::Conflict(_))));
}

#[tokio::test]
async fn all_sessions_of_an_agent_end_and_no_others() {
    let world = World::new().await;
    let (mine, other) = (world.agent().await, world.agent().await);
    let (a, b, c) = (world.ready(&mine).await, world.ready(&mine).await, world.ready(&other).await);
    world.sessions.stop_all_of(mine.id).await.unwrap();
    for id in [a.id, b.id] {
        assert_eq!(world.sessions.get(id).await.unwrap().status, SessionStatus::Dead);
    }
    assert_eq!(world.sessions.get(c.id).await.unwrap().status, SessionStatus::Ready);
    assert_eq!(world.data.sandboxes().len(), 1);
    world.sessions.stop_all().await.unwrap();
    assert_eq!(world.data.sandboxes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_shutdown_leaves_sandboxes_running_for_the_next_server() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("X=kept; echo rea''dy\n").await;
    typist.sees("ready").await;
    soon("the shutdown", world.sessions.shutdown()).await;
    let refused = world.sessions.restart(session.id, None).await.unwrap_err();
    assert!(matches!(refused, SessionError::Unavailable(_)), "{refused}");
    typist.types("echo \"<$X>\"\n").await;
    typist.sees("<kept>").await;

    let next = world.data.options().start(world.store.clone(), world.runtime.clone()).await.unwrap();
    assert_eq!(next.get(session.id).await.unwrap().status, SessionStatus::Ready);
    next.stop(session.id).await.unwrap();
    world.vanishes(&session.task_arn.unwrap()).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    let id = lap_platform::model::SessionId::new();
    assert!(matches!(world.sessions.get(id).await, Err(SessionError::NotFound(_))));
    assert!(matches!(world.sessions.stop(id).await, Err(SessionError::NotFound(_))));
    assert!(matches!(world.sessions.delete(id).await, Err(SessionError::NotFound(_))));
    assert!(matches!(world.sessions.restart(id, None).await, Err(SessionError::NotFound(_))));
    assert!(matches!(world.sessions.abort(id).await, Err(SessionError::NotFound(_))));
    assert_eq!(world.sessions.resolve(id).await.unwrap_err().code, ErrorCode::NotFound);
    let agent = lap_platform::model::AgentId::new();
    let refused = world.sessions.create(agent, Default::default(), "api").await;
    assert!(matches!(refused, Err(SessionError::AgentNotFound(_))));
}

#[tokio::test]
async fn the_grace_is_given_to_a_program_that_uses_it() {
    let world = World::with(|options| options.settings.defaults.stop_grace = Duration::from_secs(20)).await;
    let session = world.ready(&world.agent().await).await;
    let mark = world.data.path().join("went-in-order");
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist
        .types(&format!(
            "trap 'echo yes > {}; exit 0' TERM; echo rea''dy; while :; do read x; done\n",
            mark.display()
        ))
        .await;
    typist.sees("ready").await;
    world.sessions.stop(session.id).await.unwrap();
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "yes\n");
}

/// A restart that is asked for while a session is just ending is not lost, whatever the end is at.
#[tokio::test]
async fn a_restart_at_any_moment_of_an_end_brings_the_session_up_again() {
    let world = World::new().await;
    let agent = world.agent().await;
    for n in 0..40 {
        let session = world.ready(&agent).await;
        let mut typist = Typist::attach(&world.client(&session).await).await;
        typist.types("exit\n").await;
        world.reaches(session.id, SessionStatus::Dead).await;
        // From here on what is left of the end is short, and reads and writes what is asked for.
        world.vanishes(session.task_arn.as_deref().unwrap()).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(50 * n) {}
        world.sessions.restart(session.id, None).await.unwrap();
        let again = world.reaches(session.id, SessionStatus::Ready).await;
        assert_ne!(again.task_arn, session.task_arn, "in a new sandbox");
        world.sessions.stop(session.id).await.unwrap();
    }
}
