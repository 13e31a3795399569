//! What these tests share: a data directory with a real store, a real runtime and real keepers, cleaned up whatever
//! happens.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lap_platform::link::{ChannelEvent, Keeper, Links};
use lap_platform::model::{Agent, AgentId, CreateSession, Resources, Session, SessionId, SessionStatus};
use lap_platform::sandbox::{SandboxName, SandboxRuntime};
use lap_platform::session::{Sessions, TERMINAL_PROGRAM};
use lap_platform::store::Store;
use lap_wire::control::{Mode, Open, ServerMessage};

#[path = "service.rs"]
pub mod service;

pub use service::Options;

/// Bounds every wait: reached only when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The program that is a keeper, and a server's session service.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_platform-test-program"))
}

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A data directory. What is left of its sandboxes when the test ends, well or not, is killed.
pub struct Data {
    dir: tempfile::TempDir,
}

impl Data {
    pub fn new() -> Data {
        Data { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn options(&self) -> Options {
        Options::new(self.path().to_owned(), program()).unwrap()
    }

    /// The names of sandboxes there are on disk, whatever their state.
    pub fn sandboxes(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path().join("sandboxes")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        for name in self.sandboxes() {
            for pid in marked(&name) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Processes that carry a sandbox's name.
pub fn marked(name: &str) -> Vec<rustix::process::Pid> {
    let mark = format!("LAP_SANDBOX={name}").into_bytes();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let environ = fs::read(entry.path().join("environ")).ok()?;
            environ.split(|b| *b == 0).any(|v| v == mark).then(|| rustix::process::Pid::from_raw(pid))?
        })
        .collect()
}

/// The keeper's pid, as it is on record.
pub fn keeper_pid(data: &Data, name: &str) -> rustix::process::Pid {
    let file = data.path().join("sandboxes").join(name).join("keeper.json");
    let file: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    rustix::process::Pid::from_raw(i32::try_from(file["pid"].as_i64().unwrap()).unwrap()).unwrap()
}

pub fn kill(pid: rustix::process::Pid) {
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A store, a runtime and a service on a data directory.
pub struct World {
    pub data: Data,
    pub store: Store,
    pub runtime: Arc<dyn SandboxRuntime>,
    pub sessions: Sessions,
}

impl World {
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> World {
        let data = Data::new();
        let mut options = data.options();
        change(&mut options);
        let store = options.store().await.unwrap();
        let runtime: Arc<dyn SandboxRuntime> = Arc::new(options.runtime().unwrap());
        let sessions = options.start(store.clone(), Arc::clone(&runtime)).await.unwrap();
        World { data, store, runtime, sessions }
    }

    /// An agent that runs this script, by the harness `custom`.
    pub async fn agent(&self) -> Agent {
        self.agent_with(|_| {}).await
    }

    pub async fn agent_with(&self, change: impl FnOnce(&mut Agent)) -> Agent {
        let mut agent = agent();
        change(&mut agent);
        self.store.agents().create(agent).await.unwrap().agent
    }

    pub async fn create(&self, agent: &Agent) -> Session {
        self.sessions.create(agent.id, CreateSession::default(), "api").await.unwrap()
    }

    pub async fn ready(&self, agent: &Agent) -> Session {
        let session = self.create(agent).await;
        self.reaches(session.id, SessionStatus::Ready).await
    }

    /// Waits until a session has come to a state; one it cannot leave ends the wait with its reason.
    pub async fn reaches(&self, id: SessionId, status: SessionStatus) -> Session {
        reaches(&self.sessions, &self.store, id, status).await
    }

    pub async fn client(&self, session: &Session) -> Keeper {
        let name = SandboxName(session.task_arn.clone().unwrap());
        let links = Links::start(Arc::new(self.runtime.clone()), tokio::runtime::Handle::current()).unwrap();
        links.keeper(&name)
    }

    /// Waits until nothing of a sandbox is left.
    pub async fn vanishes(&self, name: &str) {
        let mut changes = self.store.changes().watch();
        soon("the sandbox to be removed", async {
            while self.runtime.inspect(&SandboxName(name.to_owned())).await.unwrap().is_some() {
                changes.changed().await.unwrap();
            }
        })
        .await;
        assert_eq!(marked(name), [], "processes are left of {name}");
        assert!(!self.data.sandboxes().contains(&name.to_owned()), "files are left of {name}");
    }
}

pub async fn reaches(sessions: &Sessions, store: &Store, id: SessionId, status: SessionStatus) -> Session {
    let mut changes = store.changes().watch();
    soon(status.as_str(), async {
        loop {
            let session = sessions.get(id).await.unwrap();
            if session.status == status {
                return session;
            }
            let stuck = matches!(session.status, SessionStatus::Failed | SessionStatus::Dead);
            assert!(!stuck, "{}: {:?}", session.status.as_str(), session.failure_reason);
            changes.changed().await.unwrap();
        }
    })
    .await
}

pub fn agent() -> Agent {
    let now = Timestamp::now();
    let id = AgentId::new();
    Agent {
        id,
        name: format!("agent {id}"),
        model: "none".to_owned(),
        prompt: None,
        harness_id: "shell".to_owned(),
        harness_image: None,
        repo_url: None,
        branch: None,
        requirements: None,
        mcp_servers: Vec::new(),
        env_vars: Default::default(),
        env_var_hosts: Default::default(),
        allow_out: Vec::new(),
        deny_out: Vec::new(),
        attached_skill_ids: Vec::new(),
        preload_memory_limit: 10,
        resources: Resources::default(),
        idle_timeout_seconds: 86_400,
        max_sessions: None,
        supports_tui: true,
        config_generation: 1,
        created_at: now,
        updated_at: now,
    }
}

/// A repository on the branch `trunk`, with hello.txt in two commits and these files besides.
pub fn repository(at: &Path, files: &[(&str, &str)]) -> String {
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git")
            .current_dir(at)
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=trunk"])
            .args(arguments)
            .status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    };
    std::fs::create_dir_all(at).unwrap();
    git(&["init", "-q"]);
    std::fs::write(at.join("hello.txt"), "hello").unwrap();
    for (path, contents) in files {
        std::fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
        std::fs::write(at.join(path), contents).unwrap();
    }
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    std::fs::write(at.join("hello.txt"), "hello again").unwrap();
    git(&["commit", "-qam", "two"]);
    format!("file://{}", at.display())
}

/// A terminal seen as its bytes, and typed into.
pub struct Typist {
    channel: lap_platform::link::Channel,
    input: lap_platform::link::InputSender,
    seen: Vec<u8>,
}

impl Typist {
    pub async fn attach(client: &Keeper) -> Typist {
        let open = Open {
            scrollback: 64 * 1024,
            input: Some("typist".to_owned()),
            ..Open::new(TERMINAL_PROGRAM, Mode::Interact)
        };
        let channel = client.open(open).await.unwrap();
        let input = channel.input();
        Typist { channel, input, seen: Vec::new() }
    }

    pub async fn types(&mut self, text: &str) {
        self.input.send(text.as_bytes()).await.unwrap();
    }

    /// Waits until the terminal has shown this since it was last asked.
    pub async fn sees(&mut self, text: &str) {
        soon(text, async {
            loop {
                if let Some(at) = self.seen.windows(text.len()).position(|w| w == text.as_bytes()) {
                    self.seen.drain(..at + text.len());
                    return;
                }
                match self.channel.next().await.unwrap() {
                    ChannelEvent::Output { bytes, .. } | ChannelEvent::Snapshot { bytes, .. } => {
                        self.seen.extend_from_slice(&bytes);
                    }
                    ChannelEvent::Message(ServerMessage::Exit(status)) => {
                        panic!(
                            "ended ({status:?}) before {text:?}; saw {:?}",
                            String::from_utf8_lossy(&self.seen)
                        )
                    }
                    ChannelEvent::Message(_) => {}
                }
            }
        })
        .await;
    }
}
