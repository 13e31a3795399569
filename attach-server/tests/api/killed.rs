//! Programs killed on purpose while somebody is attached: a server, a keeper.

use lap_platform::client::attach::{
    AttachClient, ChannelEvent, ChannelSpec, Command, Credentials, Endpoint, Event, Link, new_channel,
};
use lap_wire::control::Mode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::startup::{http, started};
use crate::support::{AGENTS, Api, Home, KEY, PATIENCE, SESSIONS};

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        credentials: Credentials::Bearer(KEY.to_owned()),
        socket: None,
        same_machine: false,
    }
}

/// A session of the shell at a server that is another process.
async fn ready_session(url: &str) -> String {
    let post = |path: String, body: Value| {
        let request = http().post(format!("{url}{path}")).bearer_auth(KEY).json(&body);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let agent =
        post(AGENTS.to_owned(), json!({ "name": "counter", "model": "m", "harness_id": "shell" })).await;
    let session = post(format!("{AGENTS}/{}/session", agent["id"].as_str().unwrap()), json!({})).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let ready = async {
        loop {
            let answer = http().get(format!("{url}{SESSIONS}/{id}")).bearer_auth(KEY).send().await.unwrap();
            if answer.json::<Value>().await.unwrap()["status"] == "ready" {
                return;
            }
        }
    };
    timeout(PATIENCE, ready).await.unwrap();
    id
}

/// A stream in which every byte has its place, through a server that is killed again and again in the middle of it: the
/// viewer comes back by itself, and has each byte once.
#[tokio::test]
async fn a_counting_stream_is_exact_over_servers_killed_while_it_flows() {
    const LAST: u32 = 200_000;
    let dir = Home::new();
    let mut running = started(&dir, &[]).await;
    let port = running.url.rsplit(':').next().unwrap().to_owned();
    let id = ready_session(&running.url).await;
    let mut client = AttachClient::to("test", endpoint(&running.url));
    let channel = new_channel();
    client.command(Command::Open { channel, spec: ChannelSpec::new(id, Mode::Interact) }).unwrap();
    let count = format!(
        "stty -opost -echo; printf 'BE''GIN'; for i in $(seq 1000 1000 {LAST}); do seq $((i-999)) $i; sleep 0.01; \
         done; echo END\r"
    );
    client.command(Command::Input { channel, bytes: count.into(), reply: false }).unwrap();

    let (mut text, mut at, mut began, mut kills, mut reconnects) = (Vec::new(), None, false, 0, 0);
    let reading = async {
        // The prompt may have come in the same piece.
        while !text[text.len().saturating_sub(100)..].windows(4).any(|window| window == b"END\n") {
            match client.next().await {
                Event::Channel(_, ChannelEvent::Output { offset, bytes }) => {
                    assert!(at.is_none_or(|at| at == offset), "a hole or a repetition at {offset}");
                    at = Some(offset + bytes.len() as u64);
                    text.extend_from_slice(&bytes);
                    // Looked for only until it is found: a slow reader is skipped ahead, as it should be.
                    if !began && let Some(found) = text.windows(5).position(|window| window == b"BEGIN") {
                        text.drain(..found + 5);
                        began = true;
                    }
                    client.command(Command::Processed { channel, offset: at.unwrap() }).unwrap();
                    if began && kills < 3 && text.len() > (kills + 1) * 200_000 {
                        running.child.kill().await.unwrap();
                        running = started(&dir, &[("PORT", &port)]).await;
                        kills += 1;
                    }
                }
                Event::Channel(_, ChannelEvent::Snapshot { offset, .. }) => {
                    assert!(
                        !began,
                        "a snapshot at {offset} after {kills} kills, where every byte was there from {at:?}"
                    );
                    client.command(Command::Processed { channel, offset }).unwrap();
                }
                Event::Channel(_, ChannelEvent::Skipped { from, to }) => panic!("{from}..{to} is left out"),
                Event::Channel(_, ChannelEvent::Closed { reason }) => panic!("closed: {reason}"),
                Event::Link(Link::Reconnecting { .. }) => reconnects += 1,
                Event::Link(Link::Refused { error }) => panic!("{error:?}"),
                _ => {}
            }
        }
    };
    let done = timeout(2 * PATIENCE, reading).await;
    let numbers: Vec<u32> =
        String::from_utf8(text).unwrap().lines().filter_map(|line| line.parse().ok()).collect();
    assert!(done.is_ok(), "it stopped at {:?}", numbers.last());
    assert_eq!(numbers, (1..=LAST).collect::<Vec<_>>());
    assert_eq!(kills, 3);
    assert!(reconnects >= 3);
}

#[tokio::test]
async fn a_killed_keeper_ends_its_session_with_the_reason_and_tells_the_viewers() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let mut client = AttachClient::to("test", endpoint(&api.url));
    let channel = new_channel();
    client.command(Command::Open { channel, spec: ChannelSpec::new(&id, Mode::View) }).unwrap();
    let mut until_closed = async |kill: bool| {
        loop {
            match client.next().await {
                Event::Channel(_, ChannelEvent::Ready) if kill => api.dir.kill_keepers(),
                Event::Channel(_, ChannelEvent::Closed { reason }) => return reason,
                _ => {}
            }
        }
    };
    let told = timeout(PATIENCE, until_closed(true)).await.unwrap();
    let dead = api.until(&id, |session| session["status"] == "dead").await;
    let reason = dead["failure_reason"].as_str().unwrap();
    assert!(reason.contains("keeper"), "{reason}");
    assert!(told.contains("keeper") || told.contains("dead"), "viewers are told why: {told}");
    let issues = api.get(&format!("{SESSIONS}/{id}/diagnose")).await.json();
    assert!(
        issues["failure_reason"].is_null() && issues["session"]["failure_reason"] == reason,
        "{issues:#}"
    );
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

/// What a command under a key printed before its server was killed is in its result: as much of it as is ever kept.
#[tokio::test]
async fn a_commands_output_is_whole_over_a_killed_server() {
    const LINES: usize = 60_000;
    let dir = Home::new();
    let mut running = started(&dir, &[]).await;
    let port = running.url.rsplit(':').next().unwrap().to_owned();
    let id = ready_session(&running.url).await;
    let script = format!(
        "seq {LINES}; seq {LINES} >&2; touch printed; until [ -e go ]; do sleep 0.05; done; echo end"
    );
    let body = json!({ "command": ["sh", "-c", script] });
    let exec = |key: Option<&str>, body: &Value| {
        let mut request =
            http().post(format!("{}{SESSIONS}/{id}/exec", running_url(&port))).bearer_auth(KEY).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        async move { request.send().await?.json::<Value>().await }
    };
    let mut asking = JoinSet::new();
    asking.spawn(exec(Some("long-output"), &body));
    // Printed, and taken by the server that is killed now.
    let wait = json!({ "command": ["sh", "-c", "until [ -e printed ]; do sleep 0.05; done; sleep 0.3"] });
    assert_eq!(exec(None, &wait).await.unwrap()["exit_code"], 0);
    running.child.kill().await.unwrap();
    assert!(asking.join_next().await.unwrap().unwrap().is_err(), "its server is gone");
    running = started(&dir, &[("PORT", &port)]).await;
    asking.spawn(exec(Some("long-output"), &body));
    assert_eq!(exec(None, &json!({ "command": ["touch", "go"] })).await.unwrap()["exit_code"], 0);
    let result = timeout(PATIENCE, asking.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    let numbers = (1..=LINES).map(|n| format!("{n}\n")).collect::<String>();
    assert!(numbers.len() > 300 * 1024);
    assert_eq!((&result["exit_code"], &result["truncated"]), (&json!(0), &json!(false)));
    assert_eq!(result["stdout"].as_str().map(str::len), Some(numbers.len() + 4));
    assert_eq!(result["stdout"], format!("{numbers}end\n"));
    assert_eq!(result["stderr"], numbers);
    drop(running);
}

fn running_url(port: &str) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A command under a key is begun once, also where its session is restarted meanwhile: in the new sandbox it is not run
/// again, and whoever asks is told why.
#[tokio::test]
async fn a_command_under_a_key_is_not_run_again_in_another_sandbox() {
    let dir = Home::new();
    let running = started(&dir, &[]).await;
    let id = ready_session(&running.url).await;
    let at = |what: &str| format!("{}{SESSIONS}/{id}{what}", running.url);
    let exec = |key: Uuid, script: &str| {
        let body = json!({ "command": ["sh", "-c", script] });
        let request = http().post(at("/exec")).bearer_auth(KEY).header("Idempotency-Key", key.to_string());
        let request = request.json(&body);
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        }
    };
    let (key, script) = (Uuid::new_v4(), "echo ran >>log; sleep 60");
    let mut asking = JoinSet::new();
    asking.spawn(exec(key, script));
    let begun = exec(Uuid::new_v4(), "until [ -e log ]; do sleep 0.05; done").await;
    assert_eq!(begun.0, 200, "{}", begun.1);
    let restarted = http().post(at("/restart")).bearer_auth(KEY).send().await.unwrap();
    assert!(restarted.status().is_success());
    let (status, first) = timeout(PATIENCE, asking.join_next()).await.unwrap().unwrap().unwrap();
    assert!(status >= 400, "{first}");
    let ready = async {
        loop {
            let session = http().get(at("")).bearer_auth(KEY).send().await.unwrap();
            if session.json::<Value>().await.unwrap()["status"] == "ready" {
                return;
            }
        }
    };
    timeout(PATIENCE, ready).await.unwrap();
    let (status, again) = exec(key, script).await;
    assert_eq!(status, 409, "{again}");
    assert!(again.to_string().contains("it is not run again"), "{again}");
    let (_, log) = exec(Uuid::new_v4(), "cat log").await;
    assert_eq!(log["stdout"], "ran\n");
}
