//! How sessions end: what is told of an end, by code and in words, in the API, by a diagnosis and in the metrics.

use futures_util::SinkExt as _;
use reqwest::{Method, StatusCode};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{AGENTS, Api, KEY, PATIENCE, SESSIONS};
use crate::terminal::{open, until};

/// How a session is ended, what it has died of, and what a diagnosis says about that.
#[tokio::test]
async fn an_end_is_known_by_its_code_whatever_the_program_printed() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let ends = [
        // What it printed has all the words that other ends have.
        ("echo stopped idle keeper sandbox signal; exit 3", "exited", Some("exit code 3")),
        ("echo it was idle; exit 0", "exited", Some("exit code 0")),
        ("echo exited with status 3; kill -KILL $$", "killed", Some("SIGKILL")),
        ("kill -SEGV $$", "killed", Some("SIGSEGV")),
        ("", "stopped", None),
    ];
    for (typed, death, exit_status) in ends {
        let id = api.ready_session(&agent).await;
        // Open until the session has ended: what was typed is delivered for as long.
        let key = ("authorization", &*format!("Bearer {KEY}"));
        let mut socket = open(&api, &format!("{SESSIONS}/{id}/tty"), &[key]).await.unwrap();
        if typed.is_empty() {
            api.send(api.request(Method::POST, &format!("{SESSIONS}/{id}/stop"))).await;
        } else {
            socket.send(Message::text(format!("exec sh -c '{typed}'\r"))).await.unwrap();
        }
        let dead = api.until(&id, |session| session["status"] == "dead").await;
        assert_eq!(dead["death"], death, "{typed}: {dead:#}");
        let diagnosis = api.get(&format!("{SESSIONS}/{id}/diagnose")).await.json();
        let codes: Vec<&str> = diagnosis["detected_issues"]
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| issue["code"].as_str().unwrap())
            .collect();
        let expected: &[&str] = if exit_status.is_some() { &["harness_exited"] } else { &[] };
        assert_eq!(codes, expected, "{typed}: {diagnosis:#}");
        if let Some(exit_status) = exit_status {
            let message = diagnosis["detected_issues"][0]["message"].as_str().unwrap();
            assert!(message.contains(exit_status), "{typed}: {message}");
        }
    }
    let metrics = api.get("/api/v1/metrics").await.text;
    for (reason, count) in [("exited", 2), ("killed", 2), ("stopped", 1)] {
        let line = format!("session_death_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

#[tokio::test]
async fn an_erased_session_leaves_neither_row_nor_recording() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let key = ("authorization", &*format!("Bearer {KEY}"));
    let mut socket = open(&api, &format!("{SESSIONS}/{id}/tty"), &[key]).await.unwrap();
    socket.send(Message::text("echo rec''orded\r")).await.unwrap();
    until(&mut socket, "recorded").await;
    let traces = || {
        let mut all = Vec::new();
        let mut folders = vec![api.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.to_string_lossy().contains(&id) {
                    all.push(path.clone());
                }
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
            }
        }
        all
    };
    // Recorded off the way to the viewers: it is there a moment later.
    let recorded = async {
        while !traces().iter().any(|path| path.to_string_lossy().contains("recordings")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, recorded).await.expect("nothing is recorded");
    let erased = api.send(api.request(Method::DELETE, &format!("{SESSIONS}/{id}?erase=true"))).await;
    assert_eq!(erased.status, StatusCode::NO_CONTENT, "{}", erased.text);
    assert_eq!(traces(), Vec::<std::path::PathBuf>::new());
    for path in ["", "/log", "/recording", "/diagnose"] {
        assert_eq!(api.get(&format!("{SESSIONS}/{id}{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(api.get(SESSIONS).await.json()["total"], 0);
    let again = api.send(api.request(Method::DELETE, &format!("{SESSIONS}/{id}?erase=true"))).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let wrong = api.send(api.request(Method::DELETE, &format!("{SESSIONS}/{id}?erase=perhaps"))).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.text);
}
