//! Servers killed in the middle, and the ones that go on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lap_platform::model::{CreateSession, Phase, Session, SessionId, SessionStatus};
use lap_platform::sandbox::SandboxRuntime;
use lap_platform::session::Sessions;
use lap_platform::store::{NewSession, OwnerId, Store};

use crate::support::{DEADLINE, Data, Options, Typist, World, agent, program, reaches, soon};

/// A service on a runtime of its own, which can be dropped in the middle of everything it does.
pub(crate) struct Mortal {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) sessions: Sessions,
}

impl Mortal {
    pub(crate) async fn start(options: Options, store: Store) -> Mortal {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.spawn(async move {
            let sandboxes: Arc<dyn SandboxRuntime> = Arc::new(options.runtime().unwrap());
            options.start(store, sandboxes).await.unwrap()
        });
        Mortal { sessions: started.await.unwrap(), runtime }
    }

    pub(crate) async fn create(&self, agent: lap_platform::model::AgentId) -> Session {
        let sessions = self.sessions.clone();
        let created = self
            .runtime
            .spawn(async move { sessions.create(agent, CreateSession::default(), "api").await.unwrap() });
        created.await.unwrap()
    }

    /// No goodbye: every task stops where it is, and it stays on the list of those that live.
    pub(crate) fn crash(self) {
        self.runtime.shutdown_background();
    }
}

pub(crate) fn mortal_options(data: &Data) -> Options {
    let mut options = data.options();
    // As with two servers on one database: what the other did is free once its heartbeat is old.
    options.alone = false;
    options.settings.defaults.lease = Duration::from_secs(1);
    options
}

/// Waits until a session is at a phase or beyond it.
async fn comes_to(store: &Store, id: SessionId, phase: Phase) {
    let mut changes = store.changes().watch();
    soon("the phase", async {
        while store.sessions().get(id).await.unwrap().phase < phase {
            changes.changed().await.unwrap();
        }
    })
    .await;
}

async fn crashed_at(phase: Phase) {
    let data = Data::new();
    let store = data.options().store().await.unwrap();
    let agent = store.agents().create(agent()).await.unwrap().agent;
    let first = Mortal::start(mortal_options(&data), store.clone()).await;
    let session = first.create(agent.id).await;
    comes_to(&store, session.id, phase).await;
    first.crash();

    let runtime: Arc<dyn SandboxRuntime> = Arc::new(data.options().runtime().unwrap());
    let sessions = mortal_options(&data).start(store.clone(), Arc::clone(&runtime)).await.unwrap();
    let ready = reaches(&sessions, &store, session.id, SessionStatus::Ready).await;
    assert_eq!(data.sandboxes(), [ready.task_arn.clone().unwrap()], "exactly one sandbox");
    let world = World { data, store, runtime, sessions };
    let client = world.client(&ready).await;
    assert_eq!(client.programs().await.unwrap().len(), 1, "one terminal and nothing else");
    let mut typist = Typist::attach(&client).await;
    typist.types("echo ali''ve\n").await;
    typist.sees("alive").await;
    world.sessions.stop(session.id).await.unwrap();
    world.vanishes(&ready.task_arn.unwrap()).await;
}

#[tokio::test]
async fn a_server_that_crashed_when_the_session_was_asked_for_is_continued() {
    crashed_at(Phase::CreatingSandbox).await;
}

#[tokio::test]
async fn a_server_that_crashed_while_the_sandbox_started_is_continued() {
    crashed_at(Phase::PodPending).await;
}

#[tokio::test]
async fn a_server_that_crashed_when_the_sandbox_ran_is_continued() {
    crashed_at(Phase::PodRunning).await;
}

#[tokio::test]
async fn a_server_that_crashed_while_the_harness_started_is_continued() {
    crashed_at(Phase::HarnessListening).await;
}

#[tokio::test]
async fn a_server_that_crashed_when_the_session_was_ready_is_continued() {
    crashed_at(Phase::Ready).await;
}

/// A named pipe, for programs and the test to wait for each other.
fn fifo(path: PathBuf) -> PathBuf {
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

async fn read_line(path: PathBuf) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(fs::File::open(path).unwrap()).read_line(&mut line).unwrap();
        line
    });
    soon("the other side of a pipe", reading).await.unwrap()
}

#[tokio::test]
async fn a_server_killed_while_it_clones_is_continued_at_once_and_nothing_is_cloned_twice() {
    let data = Data::new();
    // A git that tells when it begins, waits until it may go on, and leaves a mark each time it is run.
    let bin = data.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let (begun, go) = (fifo(data.path().join("begun")), fifo(data.path().join("go")));
    let runs = data.path().join("runs");
    let script = format!(
        "#!/bin/sh\necho run >> {}\necho begun > {}\nread go < {}\nfor last; do :; done\nmkdir -p \"$last\"\n",
        runs.display(),
        begun.display(),
        go.display()
    );
    fs::write(bin.join("git"), script).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();

    let store = data.options().store().await.unwrap();
    let mut with_repository = agent();
    with_repository.repo_url = Some("https://example.invalid/repo.git".to_owned());
    with_repository.env_vars.insert("PATH".to_owned(), format!("{}:/usr/bin:/bin", bin.display()));
    let agent = store.agents().create(with_repository).await.unwrap().agent;
    let id = SessionId::new();
    let request = CreateSession::default();
    let new = NewSession {
        id,
        agent_id: agent.id,
        origin: "api".to_owned(),
        unconfined: true,
        request,
        max_live: 1000,
        adopted: None,
    };
    store.sessions().create(new).await.unwrap();

    let mut server =
        Command::new(program()).arg("serve").arg(data.path()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(read_line(begun).await, "begun\n");
    server.kill().unwrap();
    server.wait().unwrap();
    let owner = store.sessions().get(id).await.unwrap().owner;
    assert!(owner.is_some(), "it died at work");

    let runtime: Arc<dyn SandboxRuntime> = Arc::new(data.options().runtime().unwrap());
    let mut options = data.options();
    // Far longer than the test may take: a server that is alone waits for no heartbeat to grow old.
    options.settings.defaults.lease = DEADLINE * 10;
    let sessions = options.start(store.clone(), Arc::clone(&runtime)).await.unwrap();
    tokio::task::spawn_blocking(move || {
        fs::OpenOptions::new().write(true).open(go).unwrap().write_all(b"go\n").unwrap()
    })
    .await
    .unwrap();
    let ready = reaches(&sessions, &store, id, SessionStatus::Ready).await;
    assert_eq!(fs::read_to_string(runs).unwrap(), "run\n", "cloned once");
    assert_eq!(data.sandboxes(), [ready.task_arn.unwrap()]);
    sessions.stop(id).await.unwrap();
}

#[tokio::test]
async fn a_server_that_crashed_while_it_ended_a_session_is_continued() {
    let data = Data::new();
    let store = data.options().store().await.unwrap();
    let agent = store.agents().create(agent()).await.unwrap().agent;
    let first = Mortal::start(mortal_options(&data), store.clone()).await;
    let session = first.create(agent.id).await;
    comes_to(&store, session.id, Phase::Ready).await;
    let sessions = first.sessions.clone();
    first.runtime.spawn(async move { sessions.delete(session.id).await }).await.unwrap().unwrap();
    first.crash();

    let runtime: Arc<dyn SandboxRuntime> = Arc::new(data.options().runtime().unwrap());
    let sessions = mortal_options(&data).start(store.clone(), Arc::clone(&runtime)).await.unwrap();
    let dead = reaches(&sessions, &store, session.id, SessionStatus::Dead).await;
    assert_eq!(dead.failure_reason.as_deref(), Some("stopped"));
    let world = World { data, store, runtime, sessions };
    world.vanishes(&dead.task_arn.unwrap()).await;
}

#[tokio::test]
async fn what_a_live_server_works_on_is_left_alone_by_another() {
    let world = World::new().await;
    world.sessions.shutdown().await;
    let agent = world.agent().await;
    let id = SessionId::new();
    let request = CreateSession::default();
    let new = NewSession {
        id,
        agent_id: agent.id,
        origin: "api".to_owned(),
        unconfined: true,
        request,
        max_live: 1000,
        adopted: None,
    };
    world.store.sessions().create(new).await.unwrap();
    // Somebody who may live, anywhere.
    let first = OwnerId::new();
    world.store.owners().beat(first, "elsewhere", DEADLINE * 10).await.unwrap();
    assert!(world.store.sessions().claim(id, first).await.unwrap().is_some());
    let mut options = world.data.options();
    options.alone = false;
    options.settings.defaults.lease = DEADLINE * 10;
    let second = options.start(world.store.clone(), world.runtime.clone()).await.unwrap();
    // Whatever it does with another session, it leaves that one alone.
    let other = second.create(agent.id, CreateSession::default(), "api").await.unwrap();
    reaches(&second, &world.store, other.id, SessionStatus::Ready).await;
    let record = world.store.sessions().get(id).await.unwrap();
    assert_eq!((record.phase, record.sandbox), (Phase::CreatingSandbox, None));
    assert_eq!(record.owner, Some(first));
    second.stop(other.id).await.unwrap();
    second.shutdown().await;
}

#[tokio::test]
async fn what_a_server_that_left_by_itself_watched_over_is_watched_over_by_another() {
    let world = World::new().await;
    world.sessions.shutdown().await;
    let start = async || {
        let mut options = world.data.options();
        options.alone = false;
        // Nothing but the list of servers tells of another's end in the test's time.
        options.settings.defaults.reconcile_interval = DEADLINE * 10;
        options.settings.defaults.lease = Duration::from_secs(1);
        options.start(world.store.clone(), world.runtime.clone()).await.unwrap()
    };
    let agent = world.agent().await;
    let first = start().await;
    let session = first.create(agent.id, CreateSession::default(), "api").await.unwrap();
    let ready = reaches(&first, &world.store, session.id, SessionStatus::Ready).await;
    let owner = || async { world.store.sessions().get(session.id).await.unwrap().owner };
    let before = owner().await;
    let second = start().await;
    // Long enough for both hearts to have beaten.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(owner().await, before, "it is left alone while its server lives");
    first.shutdown().await;
    soon("another owner", async {
        while owner().await == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut typist = Typist::attach(&world.client(&ready).await).await;
    typist.types("exit 5\n").await;
    let dead = reaches(&second, &world.store, session.id, SessionStatus::Dead).await;
    assert_eq!(dead.exit_code, Some(5));
    second.shutdown().await;
}
