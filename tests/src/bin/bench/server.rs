//! Our server as its users run it: the real `lap-server` with directories of its own, spoken to over its unix socket, as
//! `lap` does on the same machine, or over TCP.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lap_platform::client::Client;
use lap_platform::model::{AgentId, AgentSpec, CreateSession, Session, SessionId, SessionStatus};
use lap_wire::PROTOCOL;
use lap_wire::control::Mode;
use tokio::runtime::Runtime;

use crate::attach::{Attach, AttachLine};
use crate::ws::{Stream, WebSocket};

/// How long it may take to listen, and a session to come up.
const START: Duration = Duration::from_secs(20);
/// How often that is looked at. The wait is no part of any figure but the session's own coming up.
const LOOK: Duration = Duration::from_millis(1);
const KEY: &str = "bench-master-key";
/// The agent's name: a word that stands in no help text.
pub(crate) const AGENT: &str = "benchmarked-agent";
const ATTACH: &str = "/api/v1/managed_agents/attach";

/// The process with what is needed to use it. Its sessions and itself end when this is dropped.
pub(crate) struct Server {
    process: Child,
    dir: PathBuf,
    address: String,
    client: Client,
    runtime: Runtime,
    agent: AgentId,
    sessions: Vec<SessionId>,
}

impl Server {
    /// Starts one that keeps everything in `dir` and listens on `host`.
    pub(crate) fn start(bin: &Path, dir: &Path, host: &str) -> Result<Server> {
        let program = bin.join("lap-server");
        std::fs::create_dir_all(dir.join("home"))?;
        let log = File::create(dir.join("server.log"))?;
        let process = Command::new(&program)
            .args(["--bind-host", host, "--port", "0"])
            .envs(environment(dir))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        let mut process = process.with_context(|| format!("cannot start {}", program.display()))?;
        let url = match listening(&mut process, dir) {
            Ok(url) => url,
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(error);
            }
        };
        // A thread of its own, so that the client notices connections that the server has closed meanwhile.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = Client::new(&url, Some(KEY))?;
        let spec = AgentSpec {
            name: Some(AGENT.into()),
            model: "none".into(),
            harness_id: Some("shell".into()),
            ..AgentSpec::default()
        };
        let agent = runtime.block_on(client.create_agent(&spec))?.id;
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Server { process, dir: dir.to_owned(), address, client, runtime, agent, sessions: Vec::new() })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens, `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Makes programs on this machine believe that the server listens at this address.
    pub(crate) fn announce(&self, address: &str) -> Result<()> {
        let path = self.dir.join("state/server.json");
        let mut said: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        if let Some(url) = said.get_mut("url") {
            *url = format!("http://{address}").into();
        }
        // There is no shorter way past that address.
        if let Some(said) = said.as_object_mut() {
            said.remove("socket");
        }
        Ok(std::fs::write(&path, serde_json::to_vec(&said)?)?)
    }

    /// What a program must be given to find this server and no other.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        environment(&self.dir)
    }

    /// A new session, ready.
    pub(crate) fn session(&mut self) -> Result<SessionId> {
        let session = self.create()?;
        self.ready(session.id)
    }

    /// Asks for a session.
    pub(crate) fn create(&mut self) -> Result<Session> {
        let made =
            self.runtime.block_on(self.client.create_session(self.agent, &CreateSession::default()))?;
        self.sessions.push(made.id);
        Ok(made)
    }

    /// Waits until a session is ready.
    pub(crate) fn ready(&self, id: SessionId) -> Result<SessionId> {
        let deadline = Instant::now() + START;
        loop {
            let session = self.runtime.block_on(self.client.session(id))?;
            match session.status {
                SessionStatus::Ready => return Ok(id),
                SessionStatus::Creating if Instant::now() < deadline => std::thread::sleep(LOOK),
                status => bail!("the session is {}: {:?}", status.as_str(), session.failure_reason),
            }
        }
    }

    /// A socket, greeted, as a program of the same machine has it.
    pub(crate) fn socket(&self) -> Result<Attach> {
        self.upgrade(Stream::Unix(UnixStream::connect(self.dir.join("data/server.sock"))?))
    }

    /// The same over a connection that was made elsewhere.
    pub(crate) fn greet(&self, stream: TcpStream) -> Result<Attach> {
        self.upgrade(Stream::Tcp(stream))
    }

    fn upgrade(&self, stream: Stream) -> Result<Attach> {
        let bearer = format!("Bearer {KEY}");
        let headers = [("Sec-WebSocket-Protocol", PROTOCOL), ("Authorization", bearer.as_str())];
        Attach::over(WebSocket::upgrade(stream, ATTACH, &headers)?)
    }

    /// Two new shells on one socket.
    pub(crate) fn shells(&mut self) -> Result<AttachLine> {
        let attach = self.socket()?;
        self.shells_over(attach)
    }

    /// The same over TCP.
    pub(crate) fn shells_over_tcp(&mut self) -> Result<AttachLine> {
        let attach = self.greet(TcpStream::connect(&self.address)?)?;
        self.shells_over(attach)
    }

    fn shells_over(&mut self, mut attach: Attach) -> Result<AttachLine> {
        let (first, second) = (self.session()?, self.session()?);
        let first = attach.open(1, &first.to_string(), Mode::Interact)?;
        let second = attach.open(2, &second.to_string(), Mode::Interact)?;
        Ok(AttachLine::new(attach, first, second))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for id in &self.sessions {
            let _ = self.runtime.block_on(self.client.delete_session(*id));
        }
        // Deleting answers at once; the sandboxes are gone when their directories are.
        let deadline = Instant::now() + START;
        while running(&self.dir) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// Whether a keeper of ours still runs: each has this directory in its command line.
fn running(dir: &Path) -> bool {
    let needle = dir.to_string_lossy();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(&format!("{needle}/")))
}

fn environment(dir: &Path) -> Vec<(String, String)> {
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    vec![
        ("LAP_CONFIG_DIR".into(), at("config")),
        ("LAP_DATA_DIR".into(), at("data")),
        ("LAP_STATE_DIR".into(), at("state")),
        ("LAP_RUNTIME_DIR".into(), at("run")),
        ("LAP_KEYRING".into(), "false".into()),
        // The shells' start-up files are the machine's, and would be measured with everything else.
        ("HOME".into(), at("home")),
        ("SHELL".into(), "/bin/bash".into()),
        // A thousand viewers share ten terminals in one of the measures.
        ("LAP_VIEWERS_PER_SESSION".into(), "256".into()),
        ("MASTER_KEY".into(), KEY.into()),
    ]
}

/// Waits until the server has written where it listens.
fn listening(process: &mut Child, dir: &Path) -> Result<String> {
    let deadline = Instant::now() + START;
    loop {
        let said = std::fs::read(dir.join("state/server.json")).unwrap_or_default();
        let said = serde_json::from_slice::<serde_json::Value>(&said).unwrap_or_default();
        if let Some(url) = said.get("url").and_then(serde_json::Value::as_str) {
            return Ok(url.to_owned());
        }
        if process.try_wait()?.is_some() || Instant::now() > deadline {
            bail!(
                "the server does not listen: {}",
                std::fs::read_to_string(dir.join("server.log")).unwrap_or_default()
            );
        }
        std::thread::sleep(LOOK);
    }
}
