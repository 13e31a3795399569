//! The real server binary: how it starts, refuses to, and ends.

use std::process::Stdio;
use std::time::Duration;

use futures_util::SinkExt as _;
use lap_attach_server::Server;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::disk::{Disk, OnDisk, Way, refused};
use crate::support::{AGENTS, Api, Home, KEY, PATIENCE, SESSIONS, config, environment, options};
use crate::terminal::until;

/// The real binary under the settings of a test.
fn binary(dir: &Home, settings: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lap-server"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command.envs(environment(dir, settings).iter());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running server: the process, its address, and what it has logged.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: JoinSet<String>,
}

/// Starts it and waits until it says that it listens.
pub(crate) async fn started(dir: &Home, settings: &[(&str, &str)]) -> Running {
    let mut child = binary(dir, settings, &[]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = String::new();
    let listening = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            seen.push_str(&line);
            seen.push('\n');
            if line.contains("listening") {
                return;
            }
        }
    };
    timeout(PATIENCE, listening).await.unwrap();
    assert!(seen.contains("listening"), "{seen}");
    let mut log = JoinSet::new();
    log.spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            seen.push_str(&line);
            seen.push('\n');
        }
        seen
    });
    let server = std::fs::read_to_string(dir.path().join("state/server.json")).unwrap();
    let server: serde_json::Value = serde_json::from_str(&server).unwrap();
    assert_eq!(server["pid"], child.id().unwrap());
    Running { child, url: server["url"].as_str().unwrap().to_owned(), log }
}

impl Running {
    /// Ends it as a service manager does, and gives all it has logged.
    async fn terminate(mut self) -> String {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        self.log.join_next().await.unwrap().unwrap()
    }
}

pub(crate) fn http() -> reqwest::Client {
    // Installs the process's cryptography, without which no client can be built.
    lap_platform::client::Client::new("http://127.0.0.1", None).unwrap();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

#[tokio::test]
async fn a_second_server_on_the_same_data_names_the_first() {
    let api = Api::start().await;
    let second = Server::start(config(&api.dir, &[]), options()).await;
    let error = second.err().unwrap().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains("lap down"), "{error}");
    assert_eq!(api.get(AGENTS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_named() {
    let dir = Home::new();
    std::fs::write(dir.path().join("data"), "a file").unwrap();
    let error = Server::start(config(&dir, &[]), options()).await.err().unwrap().to_string();
    assert!(error.contains("/data") && error.contains("LAP_DATA_DIR"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let api = Api::start().await;
    let port = api.server().address().port().to_string();
    let dir = Home::new();
    let error = Server::start(config(&dir, &[("PORT", &port)]), options()).await.err().unwrap().to_string();
    assert!(error.contains(&port) && error.contains("PORT"), "{error}");
}

#[tokio::test]
async fn what_was_made_is_there_after_a_restart() {
    let api = Api::start().await;
    let id = api.agent("lasting").await;
    let dir = api.stop().await;
    assert!(!dir.path().join("state/server.json").exists());
    let api = Api::start_in(dir, &[]).await;
    assert_eq!(api.get(&format!("{AGENTS}/{id}")).await.json()["name"], "lasting");
}

#[tokio::test]
async fn the_binary_serves_until_sigterm_and_takes_its_traces_away() {
    let dir = Home::new();
    let running = started(&dir, &[]).await;
    let get = |path: &str| http().get(format!("{}{path}", running.url)).bearer_auth(KEY).send();
    assert_eq!(get(AGENTS).await.unwrap().status(), StatusCode::OK);
    // A stream that is open does not hold the server back.
    let stream = get("/api/v1/managed_agents/events").await.unwrap();
    running.terminate().await;
    assert!(!dir.path().join("state/server.json").exists());
    drop(stream);
}

#[tokio::test]
async fn no_token_and_no_secret_is_logged() {
    let dir = Home::new();
    let running = started(&dir, &[("LAP_LOG", "trace")]).await;
    let url = &running.url;
    let secret = "sk-this-is-never-to-be-seen-in-any-log";
    let in_query = format!("{url}/api/v1/managed_agents/attach?token={secret}");
    assert_eq!(http().get(in_query).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let in_header = http().get(format!("{url}{AGENTS}")).bearer_auth(secret).send().await.unwrap();
    assert_eq!(in_header.status(), StatusCode::UNAUTHORIZED);
    let body = serde_json::json!({ "model": "m", "env_vars": { "TOKEN": secret }, "oops": secret });
    let refused = http().post(format!("{url}{AGENTS}")).bearer_auth(KEY).json(&body).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(!refused.text().await.unwrap().contains(secret), "faults name fields and never show values");
    let log = running.terminate().await;
    assert!(log.contains("path=/api/v1/managed_agents/attach"), "{log}");
    for hidden in [secret, KEY] {
        assert!(
            !log.contains(hidden),
            "{}",
            log.lines().find(|line| line.contains(hidden)).unwrap_or_default()
        );
    }
}

#[tokio::test]
async fn all_faults_of_a_configuration_are_told_at_once() {
    let dir = Home::new();
    let settings = [("PORT", "many"), ("MASTER_KEY", "short"), ("LAP_LOG_FORMAT", "xml")];
    let output = binary(&dir, &settings, &["--check-config"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    for name in ["PORT", "MASTER_KEY", "LAP_LOG_FORMAT"] {
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn a_configuration_is_shown_with_its_secrets_masked() {
    let dir = Home::new();
    let output = binary(&dir, &[], &["--check-config", "--port", "4999"]).output().await.unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("4999") && !text.contains(KEY), "{text}");
    assert!(!dir.path().join("data").exists(), "checking writes nothing");
}

#[tokio::test]
async fn a_read_only_data_directory_is_named_with_what_to_do() {
    for way in Way::to_read_only().await {
        let (code, text) = refused(way, Disk::ReadOnly).await;
        assert_eq!(code, Some(1), "{way:?}: {text}");
        let why = text.contains("Read-only") || text.contains("Permission denied");
        assert!(why && text.contains("/data") && text.contains("LAP_DATA_DIR"), "{way:?}: {text}");
    }
}

#[tokio::test]
async fn a_full_disk_is_named_with_what_to_do() {
    for way in Way::to_full().await {
        // Room for the lock and the keys, and not for the database.
        let (code, text) = refused(way, Disk::Small(16)).await;
        assert_eq!(code, Some(1), "{way:?}: {text}");
        assert!(text.contains("/data/lap.db") && text.contains("free some space"), "{way:?}: {text}");
    }
}

#[tokio::test]
async fn a_disk_that_becomes_full_ends_nothing_and_once_there_is_room_all_goes_on() {
    for way in Way::to_full().await {
        becomes_full(way).await;
    }
}

async fn becomes_full(way: Way) {
    let mut disk = OnDisk::start(way);
    let mut url = disk.url().await;
    let ask = async |url: &str, method: Method, path: &str, body: Value| {
        let request = http().request(method, format!("{url}{path}")).bearer_auth(KEY).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let agent = |name: &str| json!({ "name": name, "model": "m", "harness_id": "shell" });
    let (status, made) = ask(&url, Method::POST, AGENTS, agent("before")).await;
    assert_eq!(status, StatusCode::CREATED, "{way:?}: {made}");
    let id = |text: &str| serde_json::from_str::<Value>(text).unwrap()["id"].as_str().unwrap().to_owned();
    let sessions = format!("{AGENTS}/{}/session", id(&made));
    let (_, made) = ask(&url, Method::POST, &sessions, json!({})).await;
    let session = format!("{SESSIONS}/{}", id(&made));
    let (_, made) = ask(&url, Method::POST, &sessions, json!({})).await;
    let other = format!("{SESSIONS}/{}", id(&made));
    let ready = async |url: &str| {
        let (status, text) = ask(url, Method::GET, &session, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{way:?}: {text}");
        assert!(!text.contains("\"dead\"") && !text.contains("\"failed\""), "{way:?}: {text}");
        text.contains("\"status\":\"ready\"")
    };
    let up = async {
        while !ready(&url).await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, up).await.unwrap();
    let (mut terminal, _) =
        connect_async(format!("{}{session}/tty?token={KEY}", url.replace("http", "ws"))).await.unwrap();
    terminal.send(Message::text("n=40\r")).await.unwrap();

    disk.fill().await;
    // What is on disk already may be written over: not every change finds the disk full at once.
    let mut made_while_full = 0;
    let text = loop {
        let (status, text) = ask(&url, Method::POST, AGENTS, agent(&format!("full-{made_while_full}"))).await;
        if status != StatusCode::CREATED {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{way:?}: {text}");
            break text;
        }
        made_while_full += 1;
        assert!(made_while_full < 100, "{way:?}: a full disk takes everything");
    };
    assert!(text.contains("full") && text.contains("free some space"), "{way:?}: {text}");
    assert!(ready(&url).await, "{way:?}");
    terminal.send(Message::text("echo mark-$((n+2))\r")).await.unwrap();
    until(&mut terminal, "mark-42").await;
    // More than may still lie in a recording's last block.
    terminal.send(Message::text("seq $((n*500))\r")).await.unwrap();
    until(&mut terminal, "19999").await;
    let (status, text) = ask(&url, Method::POST, &sessions, json!({})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{way:?}: {text}");
    // The way out needs nothing that has run out. Where fullness is only said, nothing that is removed makes room.
    if way != Way::Preload {
        let (status, text) = ask(&url, Method::DELETE, &other, Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{way:?}: {text}");
        let (_, text) = ask(&url, Method::GET, &other, Value::Null).await;
        assert!(text.contains("\"dead\""), "{way:?}: {text}");
    }

    disk.empty().await;
    let (status, text) = ask(&url, Method::POST, AGENTS, agent("after")).await;
    assert_eq!(status, StatusCode::CREATED, "{way:?}: {text}");
    terminal.send(Message::text("echo mark-$((n+3))\r")).await.unwrap();
    until(&mut terminal, "mark-43").await;
    let recorded = async {
        loop {
            let path = format!("{session}/recording");
            let (status, cast) = ask(&url, Method::GET, &path, Value::Null).await;
            if status == StatusCode::OK
                && let Some((_, after)) = cast.split_once("it could not be written to disk")
                && after.contains("mark-43")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        timeout(PATIENCE, recorded).await.is_ok(),
        "{way:?}: the recording goes on, and says what is missing"
    );

    disk.restart().await;
    url = disk.url().await;
    assert!(ready(&url).await, "{way:?}: the session outlives it all");
    let (_, listed) = ask(&url, Method::GET, AGENTS, Value::Null).await;
    assert!(listed.contains("\"before\"") && listed.contains("\"after\""), "{way:?}: {listed}");
    let total = serde_json::from_str::<Value>(&listed).unwrap()["total"].clone();
    assert_eq!(total, made_while_full + 2, "{way:?}: what was answered is there, and nothing else");
    let (mut terminal, _) =
        connect_async(format!("{}{session}/tty?token={KEY}", url.replace("http", "ws"))).await.unwrap();
    terminal.send(Message::text("echo mark-$((n+4))\r")).await.unwrap();
    until(&mut terminal, "mark-44").await;
    assert!(disk.stop().await, "{way:?}");
}
