//! Commands whose server is killed: one under a key is run once and its result is there for whoever asks again; of the
//! others nothing is left.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use lap_platform::model::{CreateSession, ExecRequest, SessionId, SessionStatus};
use lap_platform::sandbox::SandboxRuntime;
use lap_platform::session::Sessions;
use lap_platform::store::Store;
use uuid::Uuid;

use crate::crash::{Mortal, mortal_options};
use crate::support::{Data, Typist, World, agent, reaches, soon};

fn sh(script: String) -> ExecRequest {
    ExecRequest {
        command: vec!["sh".to_owned(), "-c".to_owned(), script],
        stdin: None,
        timeout_seconds: None,
    }
}

/// A session that is ready, of a service that can be killed.
async fn ready(data: &Data) -> (Store, Mortal, SessionId) {
    let store = data.options().store().await.unwrap();
    let agent = store.agents().create(agent()).await.unwrap().agent;
    let first = Mortal::start(mortal_options(data), store.clone()).await;
    let session = first.create(agent.id).await;
    reaches(&first.sessions, &store, session.id, SessionStatus::Ready).await;
    (store, first, session.id)
}

/// The service that comes after it.
async fn next(data: &Data, store: &Store) -> (Arc<dyn SandboxRuntime>, Sessions) {
    let runtime: Arc<dyn SandboxRuntime> = Arc::new(data.options().runtime().unwrap());
    let sessions = mortal_options(data).start(store.clone(), Arc::clone(&runtime)).await.unwrap();
    (runtime, sessions)
}

async fn written(path: &std::path::Path) {
    soon("the command's file", async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_under_a_key_is_run_once_and_answered_by_the_next_server() {
    let data = Data::new();
    let (store, first, id) = ready(&data).await;
    let (begun, go) = (data.path().join("begun"), data.path().join("go"));
    let script = format!(
        "echo run >> {0}; until [ -e {1} ]; do sleep 0.02; done; cat; echo done; exit 3",
        begun.display(),
        go.display()
    );
    let request = ExecRequest { stdin: Some("given\n".to_owned()), ..sh(script) };
    let key = Uuid::now_v7();
    let (sessions, asked) = (first.sessions.clone(), request.clone());
    first.runtime.spawn(async move { sessions.exec(id, asked, Some(key)).await });
    written(&begun).await;
    first.crash();

    let (_runtime, sessions) = next(&data, &store).await;
    // Before and after the service has taken it up, and twice at once.
    let again = [(); 2].map(|()| sessions.exec(id, request.clone(), Some(key)));
    fs::write(&go, "").unwrap();
    for answered in soon("the answers", futures_util::future::join_all(again)).await {
        let answered = answered.unwrap();
        assert_eq!((answered.exit_code, answered.stdout.as_str()), (3, "given\ndone\n"));
    }
    assert_eq!(fs::read_to_string(&begun).unwrap(), "run\n", "run once");
    sessions.stop(id).await.unwrap();
    let late = sessions.exec(id, request, Some(key)).await.unwrap();
    assert_eq!(late.exit_code, 3, "its result outlives the session's sandbox");
}

#[tokio::test]
async fn one_under_a_key_that_nobody_asks_for_again_ends_in_its_time() {
    let data = Data::new();
    let (store, first, id) = ready(&data).await;
    let begun = data.path().join("begun");
    let request = ExecRequest {
        timeout_seconds: Some(3),
        ..sh(format!("echo run >> {}; exec sleep 1017", begun.display()))
    };
    let key = Uuid::now_v7();
    let (sessions, asked) = (first.sessions.clone(), request.clone());
    first.runtime.spawn(async move { sessions.exec(id, asked, Some(key)).await });
    written(&begun).await;
    first.crash();

    let (runtime, sessions) = next(&data, &store).await;
    let program = format!("exec-{}", key.simple());
    soon("the end of its time", async {
        while store.execs().result(&program).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let world = World { data, store, runtime, sessions };
    let session = world.sessions.get(id).await.unwrap();
    assert_eq!(world.client(&session).await.programs().await.unwrap().len(), 1, "only the terminal is left");
    let answer = world.sessions.exec(id, request, Some(key)).await.unwrap();
    assert_eq!(answer.exit_code, 143);
    assert!(answer.stderr.contains("ended after 3 s"), "{}", answer.stderr);
    assert_eq!(fs::read_to_string(&begun).unwrap(), "run\n", "run once");
    world.sessions.stop(id).await.unwrap();
}

#[tokio::test]
async fn one_that_ended_in_time_while_no_server_was_there_was_in_time() {
    let data = Data::new();
    let (store, first, id) = ready(&data).await;
    let (begun, ended) = (data.path().join("begun"), data.path().join("ended"));
    let script =
        format!("echo > {}; echo fine; sleep 0.2; echo > {}; exit 4", begun.display(), ended.display());
    let request = ExecRequest { timeout_seconds: Some(1), ..sh(script) };
    let key = Uuid::now_v7();
    let (sessions, asked) = (first.sessions.clone(), request.clone());
    first.runtime.spawn(async move { sessions.exec(id, asked, Some(key)).await });
    written(&begun).await;
    first.crash();
    written(&ended).await;
    // Its time is over before anybody asks.
    tokio::time::sleep(Duration::from_millis(1200)).await;

    let (_runtime, sessions) = next(&data, &store).await;
    let answer = soon("the answer", sessions.exec(id, request, Some(key))).await.unwrap();
    assert_eq!((answer.exit_code, answer.stdout.as_str(), answer.stderr.as_str()), (4, "fine\n", ""));
    sessions.stop(id).await.unwrap();
}

#[tokio::test]
async fn what_it_printed_before_is_given_as_far_as_it_is_there_and_else_said_to_be_cut() {
    for (bytes, whole) in [(1, true), (700_000, true), (1_000_000, true), (1_500_000, false)] {
        let data = Data::new();
        let (store, first, id) = ready(&data).await;
        let (begun, go) = (data.path().join("begun"), data.path().join("go"));
        let request = sh(format!(
            "head -c {bytes} /dev/zero | tr '\\0' x; echo > {}; until [ -e {} ]; do sleep 0.02; done; echo end",
            begun.display(),
            go.display()
        ));
        let key = Uuid::now_v7();
        let (sessions, asked) = (first.sessions.clone(), request.clone());
        first.runtime.spawn(async move { sessions.exec(id, asked, Some(key)).await });
        written(&begun).await;
        // The first server has taken what it could.
        tokio::time::sleep(Duration::from_millis(200)).await;
        first.crash();
        let (_runtime, sessions) = next(&data, &store).await;
        fs::write(&go, "").unwrap();
        let answer = soon("the answer", sessions.exec(id, request, Some(key))).await.unwrap();
        assert_eq!(answer.truncated, !whole, "{bytes}: {} bytes", answer.stdout.len());
        if whole {
            assert_eq!(answer.stdout.len(), bytes + 4);
            assert!(answer.stdout.ends_with("end\n"), "{bytes}");
        }
        sessions.stop(id).await.unwrap();
    }
}

#[tokio::test]
async fn one_that_cannot_be_gone_on_with_does_not_keep_its_session_from_being_watched_over() {
    let data = Data::new();
    let store = data.options().store().await.unwrap();
    let mut own = agent();
    own.harness_id = "own".to_owned();
    let own = store.agents().create(own).await.unwrap().agent;
    let harness = "own = { name = 'Own', family = ['terminal'], needs_model = false, command = ['/bin/sh'] }";
    let mut options = mortal_options(&data);
    options.harnesses = harness.parse().unwrap();
    let first = Mortal::start(options, store.clone()).await;
    let session = first.create(own.id).await;
    let ready = reaches(&first.sessions, &store, session.id, SessionStatus::Ready).await;
    let begun = data.path().join("begun");
    let request = sh(format!("echo > {}; exec sleep 1020", begun.display()));
    let (sessions, id) = (first.sessions.clone(), session.id);
    first.runtime.spawn(async move { sessions.exec(id, request, Some(Uuid::now_v7())).await });
    written(&begun).await;
    first.crash();

    // The next server knows no such harness any more, and so not what a command's environment would be.
    let (runtime, sessions) = next(&data, &store).await;
    let world = World { data, store, runtime, sessions };
    let mut typist = Typist::attach(&world.client(&ready).await).await;
    typist.types("exit 6\n").await;
    assert_eq!(world.reaches(session.id, SessionStatus::Dead).await.exit_code, Some(6));
}

#[tokio::test]
async fn of_those_without_a_key_nothing_is_left() {
    let data = Data::new();
    let (store, first, id) = ready(&data).await;
    for n in 0..40 {
        let begun = data.path().join(format!("begun-{n}"));
        let request = sh(format!("echo > {}; exec sleep 1018", begun.display()));
        let sessions = first.sessions.clone();
        first.runtime.spawn(async move { sessions.exec(id, request, None).await });
    }
    for n in 0..40 {
        written(&data.path().join(format!("begun-{n}"))).await;
    }
    first.crash();

    let (runtime, sessions) = next(&data, &store).await;
    let world = World { data, store, runtime, sessions };
    let session = world.sessions.get(id).await.unwrap();
    let client = world.client(&session).await;
    soon("the programs' end", async {
        while client.programs().await.unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(world.store.execs().ids(id).await.unwrap(), Vec::<String>::new());
    // And as many can be begun as ever.
    let done = world.sessions.exec(id, sh("echo fine".to_owned()), None).await.unwrap();
    assert_eq!(done.stdout, "fine\n");
    world.sessions.stop(id).await.unwrap();
}

#[tokio::test]
async fn what_is_asked_again_with_its_key_is_not_made_again() {
    let world = World::new().await;
    let agent = world.agent().await;
    let id = SessionId::new();
    for _ in 0..2 {
        let made = world.sessions.create_as(id, agent.id, CreateSession::default(), "api").await.unwrap();
        assert_eq!(made.id, id);
    }
    world.reaches(id, SessionStatus::Ready).await;
    assert_eq!(world.data.sandboxes().len(), 1);

    let key = Some(Uuid::now_v7());
    let sandbox = |session: lap_platform::model::Session| session.task_arn;
    world.sessions.restart(id, key).await.unwrap();
    let once = sandbox(world.reaches(id, SessionStatus::Ready).await);
    world.sessions.restart(id, key).await.unwrap();
    assert_eq!(sandbox(world.reaches(id, SessionStatus::Ready).await), once, "restarted once");
    world.sessions.restart(id, Some(Uuid::now_v7())).await.unwrap();
    assert_ne!(sandbox(world.reaches(id, SessionStatus::Ready).await), once);
    world.sessions.stop(id).await.unwrap();
}
