//! A server of a test's own, and a client of its REST API.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use lap_attach_server::{RunOptions, Server};
use lap_platform::client::{Client, Feed, FeedEvent};
use lap_platform::config::{Config, Environment, LoadOptions};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conformance::Document;

/// The master key of the servers of these tests.
pub(crate) const KEY: &str = "correct-horse-battery-staple";
/// Nothing here takes that long; a test that waits for something that never comes ends then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const AGENTS: &str = "/api/v1/managed_agents/agents";
pub(crate) const SESSIONS: &str = "/api/v1/managed_agents/sessions";

/// A place for a server's files. Sandboxes outlive their server; those of a test end with this.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Ends the keepers whose sandboxes are here, and so all that runs in them, as a crash would.
    pub(crate) fn kill_keepers(&self) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words);
            let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid
                && words.contains("__keeper")
                && words.contains(self.path().to_str().unwrap())
            {
                // One that has ended meanwhile is what is wanted.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill_keepers();
    }
}

/// A server and a client of it.
pub(crate) struct Api {
    server: Option<Server>,
    pub(crate) url: String,
    pub(crate) dir: Home,
    pub(crate) http: reqwest::Client,
    document: Document,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The message of an error.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no message: {}", self.text)).to_owned()
    }

    /// The faults of a refused request as `path: code`.
    pub(crate) fn faults(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::BAD_REQUEST, "{}", self.text);
        let body = self.json();
        let faults = body["error"].as_array().unwrap_or_else(|| panic!("no faults: {}", self.text));
        let words = |path: &Value| {
            path.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect::<Vec<_>>().join(".")
        };
        faults
            .iter()
            .map(|fault| format!("{}: {}", words(&fault["path"]), fault["code"].as_str().unwrap()))
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().unwrap()
    }
}

/// The settings of a server below `dir`, with these on top.
pub(crate) fn environment(dir: &Home, settings: &[(&str, &str)]) -> Environment {
    let below = |name: &str| dir.path().join(name).display().to_string();
    let own = [
        ("LAP_CONFIG_DIR", below("config")),
        ("LAP_DATA_DIR", below("data")),
        ("LAP_STATE_DIR", below("state")),
        ("LAP_RUNTIME_DIR", below("run")),
        ("LAP_KEYRING", "false".to_owned()),
        ("MASTER_KEY", KEY.to_owned()),
        ("PORT", "0".to_owned()),
        ("LAP_DEFAULT_HARNESS", "shell".to_owned()),
        ("HOME", below("home")),
        ("SHELL", "/bin/sh".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
    ];
    let given = settings.iter().map(|&(name, value)| (name, value.to_owned()));
    Environment::from_pairs(own.into_iter().chain(given))
}

pub(crate) fn config(dir: &Home, settings: &[(&str, &str)]) -> Config {
    let environment = environment(dir, settings);
    Config::load(LoadOptions { environment, ..LoadOptions::default() })
        .unwrap_or_else(|faults| panic!("{faults}"))
}

/// Keepers are the server's own binary: this process is none.
pub(crate) fn options() -> RunOptions {
    RunOptions {
        keeper: Some(vec![OsString::from(env!("CARGO_BIN_EXE_lap-server")), "__keeper".into()]),
        ..RunOptions::default()
    }
}

impl Api {
    pub(crate) async fn start() -> Api {
        Api::start_with(&[]).await
    }

    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Api {
        Api::start_in(Home::new(), settings).await
    }

    pub(crate) async fn start_in(dir: Home, settings: &[(&str, &str)]) -> Api {
        // Shown when a test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::WARN).try_init();
        let server = Server::start(config(&dir, settings), options()).await.unwrap();
        let url = format!("http://{}", server.address());
        // Installs the process's cryptography, without which no client can be built.
        Client::new(&url, None).unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let document = http.get(format!("{url}/api/v1/openapi.json")).bearer_auth(KEY).send().await.unwrap();
        let document = Document::new(document.json().await.unwrap());
        Api { server: Some(server), url, dir, http, document }
    }

    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// The typed client of the same server.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, Some(KEY)).unwrap()
    }

    /// A request with the master key.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(KEY)
    }

    /// Sends it and holds the answer against the document.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let answer = Answer { status, headers, text };
        assert!(answer.headers.contains_key("x-request-id"), "every answer has a request id");
        self.document.judge(&method, &path, &answer);
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// A new agent's id.
    pub(crate) async fn agent(&self, name: &str) -> String {
        let made = self.post(AGENTS, &json!({ "name": name, "model": "m", "harness_id": "shell" })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// The session as it is when this is true of it. Follows the change feed rather than asking again and again.
    pub(crate) async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut feed = Feed::new(self.client(), None);
        let watching = async {
            loop {
                // Connected, or something has changed: look.
                match feed.next().await {
                    FeedEvent::Lost { reason, .. } => panic!("{reason}"),
                    _ => {
                        let session = self.get(&format!("{SESSIONS}/{id}")).await.json();
                        if wanted(&session) {
                            return session;
                        }
                    }
                }
            }
        };
        match tokio::time::timeout(PATIENCE, watching).await {
            Ok(session) => session,
            Err(_) => {
                panic!("it never came to that: {:#}", self.get(&format!("{SESSIONS}/{id}")).await.json())
            }
        }
    }

    /// A new session's id, when it is ready.
    pub(crate) async fn ready_session(&self, agent: &str) -> String {
        let made = self.send(self.request(Method::POST, &format!("{AGENTS}/{agent}/session"))).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        self.until(&id, |session| session["status"] == "ready").await;
        id
    }

    pub(crate) async fn stop(mut self) -> Home {
        self.server.take().unwrap().stop().await;
        self.dir
    }
}
