//! Conversations over REST: asked, answered, permitted, aborted, and gone on with whatever is killed.

use std::time::Duration;

use lap_platform::client::{Answer, AnswerEvent, Client};
use lap_platform::model::{CreateSession, Part, PartBody, SendMessage, SessionId, SessionStatus, TurnStatus};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::startup::started;
use crate::support::{AGENTS, Answer as Reply, Api, Home, KEY, PATIENCE, SESSIONS};

/// A harness `talker` that has a shell for a terminal and the agent beside this file for messages.
pub(crate) fn configure(dir: &Home) {
    let config = dir.path().join("config");
    std::fs::create_dir_all(config.join("harnesses")).unwrap();
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/agent.py");
    let harness = format!(
        "id = 'talker'\nname = 'Talker'\nfamily = ['terminal', 'api']\nneeds_model = false\ncommand = ['/bin/sh']\n\
         acp_command = ['python3', '{agent}']\nacp_model_env = {{ FAKE_MODEL = '{{model}}' }}\n\
         instructions_args = ['-c', 'exec /bin/sh']\n"
    );
    std::fs::write(config.join("harnesses/talker.toml"), harness).unwrap();
}

pub(crate) async fn talking() -> Api {
    let dir = Home::new();
    configure(&dir);
    Api::start_in(dir, &[]).await
}

/// A session of an agent that answers messages.
pub(crate) async fn session(api: &Api) -> String {
    let agent = json!({ "harness_id": "talker", "model": "m-1", "prompt": "Be brief." });
    let agent = api.post(AGENTS, &agent).await.json()["id"].as_str().unwrap().to_owned();
    let made = api.post(&format!("{AGENTS}/{agent}/session"), &json!({})).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    api.until(&id, |session| session["status"] == "ready").await;
    id
}

pub(crate) async fn say(api: &Api, session: &str, text: &str) -> Reply {
    api.post(&format!("{SESSIONS}/{session}/message"), &json!({ "text": text })).await
}

/// The words of a reply.
pub(crate) fn words(message: &Value) -> String {
    let parts = message["parts"].as_array().unwrap();
    parts.iter().filter(|part| part["type"] == "text").map(|part| part["text"].as_str().unwrap()).collect()
}

async fn stream(api: &Api, session: &str, text: &str) -> Answer {
    let message = SendMessage { text: Some(text.to_owned()), ..SendMessage::default() };
    api.client().stream_message(id_of(session), &message).await.unwrap()
}

fn id_of(session: &str) -> SessionId {
    session.parse().unwrap()
}

async fn next(answer: &mut Answer) -> AnswerEvent {
    tokio::time::timeout(PATIENCE, answer.next()).await.unwrap().unwrap()
}

/// The text of the whole answer, and its end.
async fn whole(answer: &mut Answer) -> (String, AnswerEvent) {
    let mut text = String::new();
    loop {
        match next(answer).await {
            AnswerEvent::Part(part) => {
                if let PartBody::Text { text: words } = part.body {
                    assert!(words.starts_with(&text), "it only grows: {words} after {text}");
                    text = words;
                }
            }
            end @ (AnswerEvent::Done(_) | AnswerEvent::Error(_)) => return (text, end),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_message_is_answered_and_the_thread_has_both() {
    let api = talking().await;
    let id = session(&api).await;
    let reply = say(&api, &id, "echo hello there").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let reply = reply.json();
    assert_eq!(words(&reply), "hello there");
    assert_eq!(reply["parts"][0], json!({ "id": "reasoning-1", "type": "reasoning", "text": "hm" }));
    let info = &reply["info"];
    assert_eq!((&info["model"], &info["stop_reason"]), (&json!("m-1"), &json!("end_turn")));
    assert_eq!(info["tokens"], json!({ "input": 7, "output": 3, "cached": null }));
    assert!(info["started_at"].is_string() && info["finished_at"].is_string());

    let told = say(&api, &id, "told").await.json();
    let told: Value = serde_json::from_str(&words(&told)).unwrap();
    assert_eq!((&told["prompts"], &told["model"]), (&json!(2), &json!("m-1")));
    assert_eq!(told["opened"]["systemPrompt"]["content"][0]["text"], "Be brief.");

    let thread = api.get(&format!("{SESSIONS}/{id}/messages")).await.json();
    assert_eq!(thread["total"], 4);
    let roles: Vec<&Value> =
        thread["data"].as_array().unwrap().iter().map(|one| &one["info"]["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    let question = &thread["data"][0];
    assert_eq!(
        (words(question), &question["info"]["delivery"]),
        ("echo hello there".into(), &json!("confirmed"))
    );
    assert_eq!(thread["data"][1], reply);
    let page = api.get(&format!("{SESSIONS}/{id}/messages?limit=2&offset=1")).await.json();
    assert_eq!(page["data"], json!([thread["data"][1], thread["data"][2]]));
    let rest = format!("{SESSIONS}/{id}/messages?cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(api.get(&rest).await.json()["data"], json!([thread["data"][3]]));
    let session = api.get(&format!("{SESSIONS}/{id}")).await.json();
    assert!(session["response"].as_str().unwrap().contains("prompts"));
}

#[tokio::test]
async fn an_answer_comes_as_it_is_made_and_can_be_resumed() {
    let api = talking().await;
    let id = session(&api).await;
    let mut answer = stream(&api, &id, "count 100").await;
    let (text, end) = whole(&mut answer).await;
    let expected: String = (0..100).map(|n| format!("{n} ")).collect();
    assert_eq!(text, expected);
    let AnswerEvent::Done(info) = end else { panic!("{end:?}") };

    // From any event on, the same comes again, and nothing is sent to the agent.
    let path = format!("{SESSIONS}/{id}/message_stream");
    for seen in ["0", "3"] {
        let request = api.request(reqwest::Method::POST, &path).json(&json!({ "text": "ignored" }));
        let point = format!("{}:{seen}", info.turn_id);
        let response = request.header("last-event-id", point).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let text = response.text().await.unwrap();
        assert!(text.contains("event: done") && text.contains("98 99 "), "{text}");
    }
    let request = api.request(reqwest::Method::POST, &path).json(&json!({ "text": "x" }));
    let refused = request.header("last-event-id", "0197c0de-0000-7000-8000-000000000000:1");
    assert_eq!(api.send(refused).await.status, StatusCode::CONFLICT);
    assert_eq!(api.get(&format!("{SESSIONS}/{id}/messages")).await.json()["total"], 2);
}

#[tokio::test]
async fn what_it_asks_waits_until_it_is_answered() {
    let api = talking().await;
    let id = session(&api).await;
    for (answer, words_of_it, status) in [
        (json!({ "option_id": "yes" }), "wrote it", "completed"),
        (json!({ "outcome": "deny" }), "not allowed (selected)", "error"),
        (json!({ "outcome": "cancel" }), "not allowed (cancelled)", "error"),
    ] {
        let mut stream = stream(&api, &id, "tool").await;
        let permission = loop {
            if let AnswerEvent::Permission(permission) = next(&mut stream).await {
                break permission;
            }
        };
        assert_eq!((permission.title.as_str(), permission.part_id.as_deref()), ("Write a", Some("tool-c-1")));
        api.until(&id, |session| session["attention"] == "waiting_permission").await;
        let path = format!("{SESSIONS}/{id}/permissions");
        let waiting = api.get(&path).await.json();
        assert_eq!(waiting["data"][0]["options"][1]["kind"], "reject_once");
        let path = format!("{path}/{}", permission.id);
        let wrong = api.post(&path, &json!({ "option_id": "perhaps" })).await;
        assert_eq!(wrong.status, StatusCode::CONFLICT);
        assert!(wrong.error().contains("yes, no"), "{}", wrong.text);
        assert_eq!(api.post(&path, &json!({})).await.status, StatusCode::BAD_REQUEST);
        let answered = api.post(&path, &answer).await;
        assert_eq!(answered.status, StatusCode::OK, "{}", answered.text);
        assert_eq!(api.post(&path, &answer).await.status, StatusCode::CONFLICT, "it was answered");
        assert_eq!(whole(&mut stream).await.0, words_of_it);
        let thread = api.get(&format!("{SESSIONS}/{id}/messages?limit=200")).await.json();
        let tool = &thread["data"].as_array().unwrap().last().unwrap()["parts"][0];
        assert_eq!((&tool["type"], &tool["name"]), (&json!("tool"), &json!("edit")));
        assert_eq!(tool["state"]["status"], status);
        assert_eq!(tool["state"]["diffs"][0]["after"], "new");
    }
    api.until(&id, |session| session["attention"] == "none").await;
}

#[tokio::test]
async fn one_turn_runs_at_a_time_and_others_wait_where_they_are_to() {
    let api = talking().await;
    let id = session(&api).await;
    let mut running = stream(&api, &id, "wait").await;
    api.until(&id, |session| session["attention"] == "working").await;
    let refused = say(&api, &id, "echo no").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.error().contains("queue"), "{}", refused.text);
    let path = format!("{SESSIONS}/{id}/message");
    let queued = api.post(&path, &json!({ "text": "echo next", "queue": true })).await;
    assert_eq!(queued.status, StatusCode::ACCEPTED);
    assert_eq!(queued.json()["info"]["delivery"], "queued");
    // An abort ends the one and takes back the other.
    let aborted = api.post(&format!("{SESSIONS}/{id}/abort"), &json!({})).await;
    assert_eq!(aborted.status, StatusCode::OK, "{}", aborted.text);
    let (text, end) = whole(&mut running).await;
    let AnswerEvent::Done(info) = end else { panic!("{end:?}") };
    assert_eq!((text.as_str(), info.stop_reason.as_deref()), ("stopped", Some("cancelled")));
    let thread = api.get(&format!("{SESSIONS}/{id}/messages")).await.json();
    assert_eq!((&thread["data"][2]["info"]["status"], &thread["total"]), (&json!("cancelled"), &json!(4)));

    let mut running = stream(&api, &id, "count 20").await;
    next(&mut running).await;
    let queued = api.post(&path, &json!({ "text": "echo next", "queue": true })).await.json();
    whole(&mut running).await;
    let turn = queued["info"]["turn_id"].as_str().unwrap();
    let done = async {
        loop {
            let thread = api.get(&format!("{SESSIONS}/{id}/messages?limit=200")).await.json();
            let last = thread["data"].as_array().unwrap().last().unwrap().clone();
            if last["info"]["turn_id"] == turn && last["info"]["status"] == "done" {
                return words(&last);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, done).await.unwrap(), "next");
}

#[tokio::test]
async fn a_program_that_fails_says_why_and_the_next_message_has_another() {
    let api = talking().await;
    let id = session(&api).await;
    assert_eq!(say(&api, &id, "echo first").await.status, StatusCode::OK);
    let gone = say(&api, &id, "exit").await;
    assert_eq!(gone.status, StatusCode::BAD_GATEWAY, "{}", gone.text);
    assert!(
        gone.error().contains("status 3") && gone.error().contains("the reason it went"),
        "{}",
        gone.text
    );
    // The next program takes the conversation up; what it says again was heard before.
    let told = say(&api, &id, "told").await.json();
    let told: Value = serde_json::from_str(&words(&told)).unwrap();
    assert_eq!(
        (&told["opened"]["method"], &told["opened"]["sessionId"]),
        (&json!("session/load"), &json!("s-1"))
    );
    assert_eq!(told["prompts"], 1);
    let refused = say(&api, &id, "refuse").await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    assert!(refused.error().contains("429 slow down"), "{}", refused.text);
    let thread = api.get(&format!("{SESSIONS}/{id}/messages")).await.json();
    assert_eq!(words(&thread["data"][3]), "going", "what it said before is kept");
    assert_eq!(thread["data"][6]["info"]["delivery"], "refused");
}

#[tokio::test]
async fn a_flood_is_taken_and_stays_bounded() {
    let api = talking().await;
    let id = session(&api).await;
    let reply = say(&api, &id, "flood 2000").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", &reply.text[..reply.text.len().min(500)]);
    let text = words(&reply.json());
    assert!(text.len() > 400_000 && text.len() < 600_000, "{}", text.len());
    assert!(text.ends_with("more than is kept\n"));
    assert_eq!(words(&say(&api, &id, "echo after").await.json()), "after");
}

/// Words in which each has its place, through a server that is killed again and again while they come: whoever follows
/// them comes back by itself, and the thread has each once.
#[tokio::test]
async fn servers_that_are_killed_in_the_middle_are_gone_on_from() {
    const LAST: usize = 400;
    let dir = Home::new();
    configure(&dir);
    let mut running = started(&dir, &[]).await;
    let port = running.url.rsplit(':').next().unwrap().to_owned();
    let client = Client::new(&running.url, Some(KEY)).unwrap();
    let spec = serde_json::from_value(json!({ "harness_id": "talker", "model": "m-1" })).unwrap();
    let agent = client.create_agent(&spec).await.unwrap();
    let id = client.create_session(agent.id, &CreateSession::default()).await.unwrap().id;
    let ready = async {
        while client.session(id).await.unwrap().status != SessionStatus::Ready {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
    let message = SendMessage { text: Some(format!("count {LAST}")), ..SendMessage::default() };
    let mut answer = client.stream_message(id, &message).await.unwrap();
    let (mut text, mut kills) = (String::new(), 0);
    let end = loop {
        match next(&mut answer).await {
            AnswerEvent::Part(Part { body: PartBody::Text { text: words }, .. }) => {
                assert!(words.starts_with(&text), "it only grows: {words} after {text}");
                text = words;
                if kills < 3 && text.len() > (kills + 1) * 300 {
                    running.child.kill().await.unwrap();
                    running = started(&dir, &[("PORT", &port)]).await;
                    kills += 1;
                }
            }
            end @ (AnswerEvent::Done(_) | AnswerEvent::Error(_)) => break end,
            _ => {}
        }
    };
    assert!(matches!(end, AnswerEvent::Done(_)), "{end:?}");
    let expected: String = (0..LAST).map(|n| format!("{n} ")).collect();
    assert_eq!((text, kills), (expected.clone(), 3));
    let thread = client.all_messages(id).await.unwrap();
    assert_eq!((thread.len(), thread[1].info.status), (2, TurnStatus::Done));
    assert_eq!(words(&serde_json::to_value(&thread[1]).unwrap()), expected, "no word lost, none twice");
    // The same program goes on, and was asked each thing once.
    let told = SendMessage { text: Some("told".to_owned()), ..SendMessage::default() };
    let told = words(&serde_json::to_value(client.send_message(id, &told).await.unwrap()).unwrap());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["prompts"], &told["opened"]["method"]), (&json!(2), &json!("session/new")));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let api = talking().await;
    let id = session(&api).await;
    let path = format!("{SESSIONS}/{id}/message");
    for (body, fault) in [
        (json!({}), "text: required"),
        (json!({ "text": " " }), "text: required"),
        (json!({ "text": "a", "parts": [{ "type": "text", "text": "b" }] }), "parts: invalid"),
        (json!({ "text": "x".repeat(256 * 1024 + 1) }), "text: too_big"),
        (
            json!({ "attachments": [{ "mime_type": "text/html", "base64": "AAAA" }] }),
            "attachments.0.mime_type: invalid",
        ),
        (json!({ "words": "a" }), "words: unknown_field"),
    ] {
        let faults = api.post(&path, &body).await.faults();
        assert!(faults.contains(&fault.to_owned()), "{body}: {faults:?}");
    }
    let picture = json!({ "attachments": [{ "mime_type": "image/png", "base64": "AAAA" }] });
    let reply = api.post(&path, &picture).await.json();
    assert_eq!(words(&reply), "image");
    let shell = api.agent("shelly").await;
    let shell = api.ready_session(&shell).await;
    let refused = say(&api, &shell, "hello").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.error().contains("answers no messages"), "{}", refused.text);
    api.delete(&format!("{SESSIONS}/{id}")).await;
    assert_eq!(say(&api, &id, "hello").await.status, StatusCode::CONFLICT);
    let nobody = "0197c0de-0000-7000-8000-000000000000";
    assert_eq!(say(&api, nobody, "hello").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_turn_ends_with_its_session_and_a_deaf_program_with_its_turn() {
    let api = talking().await;
    let id = session(&api).await;
    let mut answer = stream(&api, &id, "deaf").await;
    while !matches!(next(&mut answer).await, AnswerEvent::Part(_)) {}
    api.post(&format!("{SESSIONS}/{id}/abort"), &json!({})).await;
    let (_, end) = whole(&mut answer).await;
    let AnswerEvent::Done(info) = end else { panic!("{end:?}") };
    assert_eq!(info.error.as_deref(), Some("it did not end when it was told to"));

    let mut answer = stream(&api, &id, "wait").await;
    api.until(&id, |session| session["attention"] == "working").await;
    api.delete(&format!("{SESSIONS}/{id}")).await;
    let (_, end) = whole(&mut answer).await;
    assert_eq!(end, AnswerEvent::Error("the session has ended".to_owned()));
}
