//! A server of a test's own, on directories of its own, that can be killed and started again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use lap_platform::client::Client;
use lap_platform::model::{AgentSpec, CreateSession, Session};
use lap_wire::control::Size;
use portable_pty::CommandBuilder;
use tempfile::TempDir;

use crate::terminal::{NEVER, TestTerminal};

const KEY: &str = "a-key-for-tests-alone";
/// Lines of the log kept until somebody reads them; the server must never wait for a test.
const LOG_LINES: usize = 1024;

/// A program of this workspace, beside the running test's own.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let beside = test.parent().and_then(Path::parent).context("a test stands in target/…/deps")?;
    let path = beside.join(name);
    anyhow::ensure!(path.exists(), "{} is missing: `cargo build --workspace` makes it", path.display());
    Ok(path)
}

/// `lap-server` with everything it owns in a folder that goes away with it.
pub struct TestServer {
    dir: TempDir,
    child: Child,
    log: Option<JoinHandle<()>>,
    url: String,
    port: u16,
    runtime: tokio::runtime::Runtime,
}

impl TestServer {
    /// Starts one at a free port.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<TestServer> {
        let dir = tempfile::tempdir()?;
        let (child, log, url) = spawn(dir.path(), 0)?;
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).context("a URL with a port")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(TestServer { dir, child, log: Some(log), url, port, runtime })
    }

    /// Kills it as the kernel would, without a word.
    ///
    /// # Errors
    /// It was gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
        Ok(())
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
        let (child, log, _) = spawn(self.dir.path(), self.port)?;
        self.child = child;
        self.log = Some(log);
        Ok(())
    }

    /// A session of a new `shell` agent.
    ///
    /// # Errors
    /// The server refuses.
    pub fn shell(&self, name: &str) -> Result<Session> {
        let client = Client::new(&self.url, Some(KEY))?;
        self.runtime.block_on(async {
            let spec = serde_json::json!({ "name": name, "model": "none", "harness_id": "shell" });
            let spec: AgentSpec = serde_json::from_value(spec)?;
            let agent = client.create_agent(&spec).await?;
            let wanted = CreateSession { title: Some(name.into()), ..CreateSession::default() };
            Ok(client.create_session(agent.id, &wanted).await?)
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The server refuses.
    pub fn stop(&self, session: &Session) -> Result<()> {
        let client = Client::new(&self.url, Some(KEY))?;
        self.runtime.block_on(client.stop_session(session.id))?;
        Ok(())
    }

    /// Its address, without the scheme.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// `lap` with arguments, talking to this server.
    ///
    /// # Errors
    /// It has not been built.
    pub fn lap<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<CommandBuilder> {
        let mut command = CommandBuilder::new(program("lap")?);
        command.args(arguments);
        command.env_clear();
        for (name, value) in environment(self.dir.path()) {
            command.env(name, value);
        }
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TERM", "xterm-256color");
        command.env("LAP_URL", &self.url);
        command.env("LAP_API_KEY", KEY);
        command.cwd(self.dir.path());
        Ok(command)
    }

    /// `lap attach` to sessions, in a terminal.
    ///
    /// # Errors
    /// It does not start.
    pub fn attach(&self, sessions: &[&Session], more: &[&str], size: Size) -> Result<TestTerminal> {
        let ids: Vec<String> = sessions.iter().map(|session| session.id.to_string()).collect();
        let arguments =
            ["attach"].into_iter().chain(more.iter().copied()).chain(ids.iter().map(String::as_str));
        TestTerminal::start(self.lap(arguments)?, lap_vt::Size { cols: size.cols, rows: size.rows })
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Asked to end, it leaves sessions running: those of a test are ended with it.
        let client = Client::new(&self.url, Some(KEY));
        if let Ok(client) = client {
            let _ = self.runtime.block_on(async {
                let ended = async {
                    for agent in client.all_agents(&Default::default()).await? {
                        client.delete_agent(agent.agent.id).await?;
                    }
                    Ok::<_, anyhow::Error>(())
                };
                tokio::time::timeout(NEVER, ended).await
            });
        }
        let _ = self.kill();
    }
}

fn environment(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("LAP_CONFIG_DIR", dir.join("config")),
        ("LAP_DATA_DIR", dir.join("data")),
        ("LAP_STATE_DIR", dir.join("state")),
        ("LAP_RUNTIME_DIR", dir.join("run")),
        ("HOME", dir.to_path_buf()),
        ("MASTER_KEY", KEY.into()),
    ]
}

/// Starts a server and waits until it says where it listens.
fn spawn(dir: &Path, port: u16) -> Result<(Child, JoinHandle<()>, String)> {
    let mut child = Command::new(program("lap-server")?)
        .args(["--port", &port.to_string()])
        .env_clear()
        .envs(environment(dir))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().context("a pipe")?;
    let (said, lines) = sync_channel(LOG_LINES);
    let log = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Read on when nobody listens: a server must not be held up by its log.
            let _ = said.try_send(line);
        }
    });
    match address(&lines) {
        Ok(url) => Ok((child, log, url)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn address(lines: &Receiver<String>) -> Result<String> {
    let mut log = String::new();
    loop {
        let line =
            lines.recv_timeout(NEVER).with_context(|| format!("the server does not listen:\n{log}"))?;
        if let (true, Some(at)) = (line.contains("listening"), line.find("http://")) {
            let rest = line.get(at..).unwrap_or_default();
            let end = rest.find(|c: char| c.is_whitespace() || c == '\u{1b}').unwrap_or(rest.len());
            return Ok(rest.get(..end).unwrap_or_default().to_owned());
        }
        log.push_str(&line);
        log.push('\n');
    }
}
