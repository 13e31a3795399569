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
use lap_platform::store::{NewSession, Store};

use crate::support::{DEADLINE, Data, Options, Typist, World, agent, program, reaches, soon};

/// A service on a runtime of its own, which can be dropped in the middle of everything it does.
struct Mortal {
    runtime: tokio::runtime::Runtime,
    sessions: Sessions,
}

impl Mortal {
    async fn start(options: Options, store: Store) -> Mortal {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.spawn(async move {
            let sandboxes: Arc<dyn SandboxRuntime> = Arc::new(options.runtime().unwrap());
            options.start(store, sandboxes).await.unwrap()
        });
        Mortal { sessions: started.await.unwrap(), runtime }
    }

    async fn create(&self, agent: lap_platform::model::AgentId) -> Session {
        let sessions = self.sessions.clone();
        let created = self
            .runtime
            .spawn(async move { sessions.create(agent, CreateSession::default(), "api").await.unwrap() });
        created.await.unwrap()
    }

    /// No goodbye: every task stops where it is, and no lease is given back.
    fn crash(self) {
        self.runtime.shutdown_background();
    }
}

fn mortal_options(data: &Data) -> Options {
    let mut options = data.options();
    // The one that crashes is this very process, so its leases have to run out.
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
    let held = store.sessions().get(id).await.unwrap().lease;
    assert!(held.is_some(), "it died with the lease in its hands");

    let runtime: Arc<dyn SandboxRuntime> = Arc::new(data.options().runtime().unwrap());
    let mut options = data.options();
    // Far longer than the test may take: the dead server's lease is not waited for.
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
async fn a_live_lease_is_not_taken_by_another_server() {
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
    let claimed = world.store.sessions().claim(id, "other/one", Duration::from_secs(3600)).await.unwrap();
    assert!(claimed.is_some());
    let mut options = world.data.options();
    // A lease further ahead than one's own would be taken for that of a clock set back.
    options.settings.defaults.lease = Duration::from_secs(7200);
    let second = options.start(world.store.clone(), world.runtime.clone()).await.unwrap();
    // Whatever it does with another session, it leaves that one alone.
    let other = second.create(agent.id, CreateSession::default(), "api").await.unwrap();
    reaches(&second, &world.store, other.id, SessionStatus::Ready).await;
    let record = world.store.sessions().get(id).await.unwrap();
    assert_eq!((record.phase, record.sandbox), (Phase::CreatingSandbox, None));
    assert_eq!(record.lease.unwrap().owner, "other/one");
    second.stop(other.id).await.unwrap();
    second.shutdown().await;
}
