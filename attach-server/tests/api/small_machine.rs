//! Machines that have too little of something else than bytes: a session that does not come up says what is missing, and
//! comes up by itself where that can be.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::disk::{Disk, OnDisk, Way};
use crate::support::{AGENTS, KEY, PATIENCE, SESSIONS};

/// A client of a server that is another process.
struct Remote {
    http: reqwest::Client,
    url: String,
}

impl Remote {
    async fn of(disk: &OnDisk) -> Remote {
        let url = disk.url().await;
        lap_platform::client::Client::new(&url, None).unwrap();
        Remote { http: reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap(), url }
    }

    fn request(&self, method: Method, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(KEY).json(body)
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.request(method, path, body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success() || status == StatusCode::NO_CONTENT, "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn agent(&self) -> String {
        let agent = json!({ "name": "small", "model": "m", "harness_id": "shell" });
        let made = self.ask(Method::POST, AGENTS, &agent).await;
        format!("{AGENTS}/{}/session", made["id"].as_str().unwrap())
    }

    /// The session's path.
    async fn session(&self, sessions: &str) -> String {
        let made = self.ask(Method::POST, sessions, &json!({})).await;
        format!("{SESSIONS}/{}", made["id"].as_str().unwrap())
    }

    async fn until(&self, session: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let looking = async {
            loop {
                last = self.ask(Method::GET, session, &Value::Null).await;
                if is(&last) {
                    return last.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let found = timeout(PATIENCE, looking).await;
        found.unwrap_or_else(|_| panic!("it never came to that: {last:#}"))
    }
}

fn has(session: &Value, field: &str, words: &str) -> bool {
    session[field].as_str().is_some_and(|text| text.contains(words))
}

#[tokio::test]
async fn without_an_inode_a_session_says_so_and_comes_up_once_there_is_one() {
    for way in Way::to_mounts().await {
        let mut disk = OnDisk::start_on(way, Disk::Files(200));
        let server = Remote::of(&disk).await;
        let sessions = server.agent().await;
        disk.fill_with_files().await;
        let session = server.session(&sessions).await;
        let waiting = server.until(&session, |session| has(session, "phase_detail", "inode")).await;
        assert_eq!(waiting["status"], "creating", "{way:?}: {waiting:#}");
        disk.empty().await;
        server.until(&session, |session| session["status"] == "ready").await;
        server.ask(Method::DELETE, &session, &Value::Null).await;
        assert!(disk.stop().await, "{way:?}");
    }
}

#[tokio::test]
async fn without_a_terminal_a_session_fails_at_once_and_says_what_to_do() {
    for way in Way::to_mounts().await {
        let disk = OnDisk::start_on(way, Disk::Terminals(1));
        let server = Remote::of(&disk).await;
        let sessions = server.agent().await;
        let first = server.session(&sessions).await;
        server.until(&first, |session| session["status"] == "ready").await;
        let second = server.session(&sessions).await;
        let failed = server.until(&second, |session| session["status"] == "failed").await;
        assert!(has(&failed, "failure_reason", "kernel.pty.max"), "{way:?}: {failed:#}");
        assert_eq!(failed["death"], "start_failed", "{way:?}: {failed:#}");
        server.ask(Method::DELETE, &first, &Value::Null).await;
        // Its terminal is free once its program has gone, which is not waited for.
        let coming_up = async {
            loop {
                let next = server.session(&sessions).await;
                let settled = |session: &Value| session["status"] == "ready" || session["status"] == "failed";
                if server.until(&next, settled).await["status"] == "ready" {
                    return next;
                }
            }
        };
        let third = timeout(PATIENCE, coming_up).await.unwrap();
        server.ask(Method::DELETE, &third, &Value::Null).await;
        assert!(disk.stop().await, "{way:?}");
    }
}

#[tokio::test]
async fn the_last_open_files_are_kept_for_those_who_come_to_end_sessions() {
    let disk = OnDisk::start_on(Way::plain(), Disk::OpenFiles(128));
    let server = Remote::of(&disk).await;
    let sessions = server.agent().await;
    let mut made = Vec::new();
    let refused = loop {
        let answer = server.request(Method::POST, &sessions, &json!({})).send().await.unwrap();
        if answer.status() != StatusCode::OK {
            break answer;
        }
        let session: Value = answer.json().await.unwrap();
        let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
        server.until(&path, |session| session["status"] == "ready").await;
        made.push(path);
        assert!(made.len() < 128, "each session has files open");
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(after >= 1);
    let why = refused.text().await.unwrap();
    assert!(why.contains("ulimit") && why.contains("stop sessions"), "{why}");
    // As many clients as are kept room for still come in, one after the other and together.
    let together = (0..16).map(|_| server.ask(Method::GET, SESSIONS, &Value::Null));
    for listed in futures_util::future::join_all(together).await {
        assert_eq!(listed["total"], made.len());
    }
    for session in &made {
        server.ask(Method::DELETE, session, &Value::Null).await;
    }
    assert!(!made.is_empty(), "there is room for some");
    assert!(disk.stop().await);
}
