//! The platform's own MCP server, as a harness starts it: what an agent remembers and which skills it has, with its
//! session's token and nothing more.

use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::messages::{say, session, talking, words};
use crate::support::{AGENTS, Api, PATIENCE, SESSIONS};

/// The server, spoken to as a harness does.
struct Tools {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    id: u64,
}

impl Tools {
    /// Started as the harness was told to start it.
    async fn start(told: &Value) -> Tools {
        let args = told["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        let env = told["env"].as_array().unwrap().iter();
        let env = env.map(|pair| (pair["name"].as_str().unwrap(), pair["value"].as_str().unwrap()));
        let mut child = Command::new(told["command"].as_str().unwrap())
            .args(args)
            .env_clear()
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut tools = Tools { _child: child, stdin, lines: BufReader::new(stdout).lines(), id: 0 };
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        });
        let welcome = tools.ask("initialize", hello).await;
        assert!(welcome["capabilities"]["tools"].is_object(), "{welcome}");
        tools.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        tools
    }

    async fn write(&mut self, message: &Value) {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        self.write(&json!({ "jsonrpc": "2.0", "id": self.id, "method": method, "params": params })).await;
        loop {
            let line =
                tokio::time::timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == self.id {
                return answer["result"].clone();
            }
        }
    }

    /// What a tool says, and whether it is an error.
    async fn call(&mut self, name: &str, arguments: Value) -> (String, bool) {
        let said = self.ask("tools/call", json!({ "name": name, "arguments": arguments })).await;
        let text = said["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        (text, said["isError"] == true)
    }
}

/// What a session's agent was told of the platform's own server, and its token.
async fn told(api: &Api, id: &str) -> (Value, String) {
    let said = say(api, id, "told").await.json();
    let said: Value = serde_json::from_str(&words(&said)).unwrap();
    let server = said["opened"]["mcpServers"][0].clone();
    assert_eq!(server["name"], "lap");
    let env = server["env"].as_array().unwrap();
    let token = env.iter().find(|pair| pair["name"] == "LAP_AGENT_TOKEN").unwrap()["value"].clone();
    (server, token.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_agent_saves_finds_and_corrects_what_it_remembers() {
    let api = talking().await;
    let id = session(&api).await;
    let agent = api.get(&format!("{SESSIONS}/{id}")).await.json()["agent_id"].as_str().unwrap().to_owned();
    let mut tools = Tools::start(&told(&api, &id).await.0).await;
    let listed = tools.ask("tools/list", json!({})).await;
    let mut names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["list_skills", "read_skill", "save_memory", "search_memory", "update_memory"]);

    let memories = format!("{AGENTS}/{agent}/memory");
    let saved = json!({ "text": "Deploys go through ci.", "kind": "constraint", "tags": ["deploy"] });
    let (said, failed) = tools.call("save_memory", saved).await;
    assert!(!failed && said.starts_with("Remembered as "), "{said}");
    let memory = api.get(&memories).await.json()["data"][0].clone();
    assert_eq!((&memory["source"], &memory["source_session_id"]), (&json!("agent"), &json!(id)));
    assert_eq!((&memory["type"], &memory["times_applied"]), (&json!("constraint"), &json!(0)));
    let (said, _) = tools.call("search_memory", json!({ "query": "deploy" })).await;
    assert!(said.contains("[constraint, deploy] Deploys go through ci."), "{said}");
    assert_eq!(api.get(&memories).await.json()["data"][0]["times_applied"], 1, "a find is a use");
    assert_eq!(
        tools.call("search_memory", json!({ "query": "nothing" })).await.0,
        "Nothing like it is remembered."
    );
    let correction = json!({ "id": memory["id"], "text": "Deploys go through just." });
    assert!(!tools.call("update_memory", correction).await.1);
    assert!(!tools.call("update_memory", json!({ "id": memory["id"], "forget": true })).await.1);
    let now = api.get(&format!("{memories}?include_disabled=true")).await.json()["data"][0].clone();
    assert_eq!((&now["text"], &now["disabled"]), (&json!("Deploys go through just."), &json!(true)));

    let secret = format!("the key is ghp_{}", "a1b2c3d4e5".repeat(4));
    let (said, failed) = tools.call("save_memory", json!({ "text": secret })).await;
    assert!(failed && said.contains("password, key or token"), "{said}");
    let (said, failed) = tools.call("save_memory", json!({ "text": "x", "kind": "rumour" })).await;
    assert!(failed && said.contains("convention, constraint"), "{said}");
}

#[tokio::test]
async fn it_reads_its_own_skills() {
    let api = talking().await;
    let skill = |name: &str| json!({ "name": name, "description": format!("To {name}."), "content": format!("# {name}") });
    let mine = api.post("/api/v1/skills", &skill("mine")).await.json()["id"].clone();
    let other = api.post("/api/v1/skills", &skill("other")).await.json()["id"].as_str().unwrap().to_owned();
    let id = session(&api).await;
    let agent = api.get(&format!("{SESSIONS}/{id}")).await.json()["agent_id"].as_str().unwrap().to_owned();
    api.patch(&format!("{AGENTS}/{agent}"), &json!({ "skill_ids": [mine] })).await;
    let (server, token) = told(&api, &id).await;
    let mut tools = Tools::start(&server).await;
    assert_eq!(tools.call("list_skills", json!({})).await.0, "- mine: To mine.");
    assert_eq!(tools.call("read_skill", json!({ "name": "mine" })).await.0, "# mine");
    let (said, failed) = tools.call("read_skill", json!({ "name": "other" })).await;
    assert!(failed && said.ends_with("there are: mine"), "{said}");
    let refused = api.http.get(format!("{}/api/v1/skills/{other}", api.url)).bearer_auth(&token).send().await;
    assert_eq!(refused.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn its_token_is_good_for_nothing_else_and_ends_with_its_session() {
    let api = talking().await;
    let id = session(&api).await;
    let agent = api.get(&format!("{SESSIONS}/{id}")).await.json()["agent_id"].as_str().unwrap().to_owned();
    let (_, token) = told(&api, &id).await;
    let other = api.agent("other").await;
    let asked = async |method: Method, path: String| {
        let request = api.http.request(method, format!("{}{path}", api.url)).bearer_auth(&token);
        request.json(&json!({ "text": "x" })).send().await.unwrap().status()
    };
    let own = format!("{AGENTS}/{agent}/memory");
    assert_eq!(asked(Method::POST, own.clone()).await, StatusCode::CREATED);
    for (method, path) in [
        (Method::GET, format!("{AGENTS}/{other}/memory")),
        (Method::POST, format!("{AGENTS}/{other}/memory")),
        (Method::GET, AGENTS.to_owned()),
        (Method::GET, format!("{AGENTS}/{agent}")),
        (Method::GET, format!("{SESSIONS}/{id}")),
        (Method::POST, format!("{SESSIONS}/{id}/message")),
        (Method::POST, "/api/v1/skills".to_owned()),
        (Method::GET, format!("{SESSIONS}/{id}/tty")),
    ] {
        let status = asked(method.clone(), path.clone()).await;
        assert!(
            matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED),
            "{method} {path}: {status}"
        );
    }
    api.delete(&format!("{SESSIONS}/{id}")).await;
    assert_eq!(asked(Method::GET, own).await, StatusCode::UNAUTHORIZED);
}
