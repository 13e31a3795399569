//! Sessions over REST, with real sandboxes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{AGENTS, Api, Home, SESSIONS};

#[tokio::test]
async fn a_session_comes_up_runs_commands_and_ends() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let made = api.post(&format!("{AGENTS}/{agent}/session"), &json!({ "title": "First" })).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let made = made.json();
    assert_eq!((&made["status"], &made["title"]), (&json!("creating"), &json!("First")));
    let id = made["id"].as_str().unwrap();
    let ready = api.until(id, |session| session["status"] == "ready").await;
    assert_eq!(ready["tty_url"], format!("{SESSIONS}/{id}/tty"));
    assert!(ready["tty_token"].is_string(), "{ready:#}");
    for time in ["created_at", "ready_at"] {
        assert_eq!(ready[time].as_str().map(str::len), Some("2026-11-26T06:00:00.000Z".len()), "{ready:#}");
    }
    assert_eq!(ready["unconfined"], true);
    assert!(ready["timings"].as_object().unwrap().contains_key("creating_sandbox"), "{ready:#}");
    let path = format!("{SESSIONS}/{id}");

    let listed = api.get(&format!("{SESSIONS}?agent_id={agent}&status=ready&search=fIR")).await.json();
    assert_eq!((&listed["total"], &listed["data"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(listed["data"][0]["tty_token"], Value::Null, "a list opens no terminal");
    let agents = api.get(AGENTS).await.json();
    assert_eq!(agents["data"][0]["session_count"], 1);
    assert_eq!(agents["data"][0]["has_active_session"], true);

    let command = json!({ "command": ["sh", "-c", "cat; echo err >&2; exit 3"], "stdin": "in" });
    let ran = api.post(&format!("{path}/exec"), &command).await;
    assert_eq!(
        ran.json(),
        json!({ "exit_code": 3, "stdout": "in", "stderr": "err\n", "truncated": false }),
        "{}",
        ran.text
    );
    let missing = api.post(&format!("{path}/exec"), &json!({ "command": ["no-such-program"] })).await;
    assert_eq!(missing.faults(), ["command.0: invalid"]);
    assert!(missing.text.contains("no-such-program"), "{}", missing.text);

    let renamed = api.patch(&path, &json!({ "title": null })).await;
    assert_eq!(renamed.json()["title"], Value::Null);
    assert_eq!(api.send(api.request(Method::POST, &format!("{path}/abort"))).await.status, StatusCode::OK);

    let stopped = api.send(api.request(Method::POST, &format!("{path}/stop"))).await;
    assert_eq!(
        (stopped.status, &stopped.json()["status"]),
        (StatusCode::OK, &json!("dead")),
        "{}",
        stopped.text
    );
    let again = api.send(api.request(Method::POST, &format!("{path}/stop"))).await;
    assert_eq!(again.status, StatusCode::OK, "stopping twice is no error");
    for _ in 0..2 {
        assert_eq!(api.delete(&path).await.status, StatusCode::NO_CONTENT);
    }
    let late = api.post(&format!("{path}/exec"), &json!({ "command": ["true"] })).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_session_is_restarted_with_the_same_agent() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let path = format!("{SESSIONS}/{id}");
    api.send(api.request(Method::POST, &format!("{path}/stop"))).await;
    let restarted = api.send(api.request(Method::POST, &format!("{path}/restart"))).await;
    assert_eq!(restarted.status, StatusCode::OK, "{}", restarted.text);
    let ready = api.until(&id, |session| session["status"] == "ready").await;
    assert_eq!(ready["agent_id"], agent.as_str());
    api.delete(&path).await;
}

#[tokio::test]
async fn a_session_outlives_its_server() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let path = format!("{SESSIONS}/{id}");
    let exec = json!({ "command": ["sh", "-c", "echo kept >> kept; cat kept"] });
    assert_eq!(api.post(&format!("{path}/exec"), &exec).await.json()["stdout"], "kept\n");
    let api = Api::start_in(api.stop().await, &[]).await;
    let session = api.get(&path).await.json();
    assert_eq!(session["status"], "ready", "{session:#}");
    let again = api.post(&format!("{path}/exec"), &exec).await;
    assert_eq!(again.json()["stdout"], "kept\nkept\n", "{}", again.text);
    // Its terminal is recorded again by the new server.
    api.until(&id, |session| session["recording"] == true).await;
}

#[tokio::test]
async fn a_request_that_is_being_answered_when_the_server_stops_is_answered() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let path = format!("{SESSIONS}/{id}/exec");
    let begun = api.dir.path().join("begun").display().to_string();
    assert_eq!(api.post(&path, &json!({ "command": ["mkfifo", begun] })).await.json()["exit_code"], 0);
    // Says that it has begun, and ends only when it has been heard that the server is stopping.
    let script = "echo > $0; cat $0; echo done";
    let request =
        api.request(Method::POST, &path).json(&json!({ "command": ["sh", "-c", script, begun] })).send();
    let stopping = api.server().stopping();
    let stop = async {
        tokio::fs::read(&begun).await.unwrap();
        api.stop().await
    };
    let finish = async {
        stopping.await;
        tokio::fs::write(&begun, "").await.unwrap();
    };
    let (answer, _home, ()) = tokio::join!(request, stop, finish);
    let answer: Value = answer.unwrap().json().await.unwrap();
    assert_eq!(answer["stdout"], "done\n", "{answer}");
}

#[tokio::test]
async fn the_same_request_twice_makes_one_session() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let path = format!("{AGENTS}/{agent}/session");
    let create = || api.send(api.request(Method::POST, &path).header("idempotency-key", "once"));
    let (first, second) = tokio::join!(create(), create());
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(api.get(SESSIONS).await.json()["total"], 1);
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

#[tokio::test]
async fn an_agents_limit_and_its_end_are_its_sessions_too() {
    let api = Api::start().await;
    let body = json!({ "model": "m", "harness_id": "shell", "max_sessions": 1 });
    let agent = api.post(AGENTS, &body).await.json()["id"].as_str().unwrap().to_owned();
    let id = api.ready_session(&agent).await;
    let second = api.send(api.request(Method::POST, &format!("{AGENTS}/{agent}/session"))).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert!(second.error().contains('1'), "{}", second.text);
    assert_eq!(api.delete(&format!("{AGENTS}/{agent}")).await.status, StatusCode::NO_CONTENT);
    let session = api.get(&format!("{SESSIONS}/{id}")).await.json();
    assert_eq!(session["status"], "dead", "{session:#}");
    let sandboxes = api.server().sessions().runtime().list().await.unwrap();
    assert!(sandboxes.is_empty(), "{sandboxes:?}");
}

#[tokio::test]
async fn a_first_prompt_for_a_program_that_takes_none_is_refused() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let ask = json!({ "initial_prompt": "fix the build", "title": "" });
    let refused = api.post(&format!("{AGENTS}/{agent}/session"), &ask).await;
    let mut faults = refused.faults();
    faults.sort();
    assert_eq!(faults, ["initial_prompt: invalid", "title: too_small"]);
    assert!(refused.text.contains("type it into the terminal"), "{}", refused.text);
    assert_eq!(api.get(SESSIONS).await.json()["total"], 0);
}

#[tokio::test]
async fn a_first_prompt_reaches_the_program_that_takes_one() {
    let home = Home::new();
    let harnesses = home.path().join("config/harnesses");
    std::fs::create_dir_all(&harnesses).unwrap();
    let script = r#"printf %s "$1" > asked; exec cat"#;
    let harness = format!(
        "id = 'greeter'\nname = 'Greeter'\nfamily = ['terminal']\nneeds_model = false\n\
         command = ['/bin/sh', '-c', '{script}', 'greeter']\nprompt_args = ['--ask={{prompt}}']\n"
    );
    std::fs::write(harnesses.join("greeter.toml"), harness).unwrap();
    let api = Api::start_in(home, &[]).await;
    let made = api.post(AGENTS, &json!({ "harness_id": "greeter" })).await.json();
    let agent = made["id"].as_str().unwrap();
    let ask = json!({ "initial_prompt": "fix \"it\" $HOME\nplease" });
    let made = api.post(&format!("{AGENTS}/{agent}/session"), &ask).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    api.until(&id, |session| session["status"] == "ready").await;
    // The program has begun, and may not have come to its first command yet.
    let read = json!({ "command": ["sh", "-c", "until [ -s asked ]; do sleep 0.01; done; cat asked"] });
    let asked = api.post(&format!("{SESSIONS}/{id}/exec"), &read).await.json();
    assert_eq!(asked["stdout"], "--ask=fix \"it\" $HOME\nplease", "{asked}");

    // A restart goes on in the same workspace; what was asked there is not asked again.
    let forget = json!({ "command": ["rm", "asked"] });
    api.post(&format!("{SESSIONS}/{id}/exec"), &forget).await;
    api.send(api.request(Method::POST, &format!("{SESSIONS}/{id}/restart"))).await;
    api.until(&id, |session| session["status"] == "ready").await;
    let read = json!({ "command": ["sh", "-c", "until [ -e asked ]; do sleep 0.01; done; cat asked"] });
    let asked = api.post(&format!("{SESSIONS}/{id}/exec"), &read).await.json();
    assert_eq!(asked["stdout"], "", "{asked}");
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

#[tokio::test]
async fn a_program_is_told_its_model_its_instructions_and_the_gateway_by_its_own_means() {
    let home = Home::new();
    let harnesses = home.path().join("config/harnesses");
    std::fs::create_dir_all(&harnesses).unwrap();
    let script = r#"for a in \"$@\"; do printf \"<%s>\" \"$a\"; done >args; echo \"$GATE_URL $GATE_KEY\" >>args; exec cat"#;
    for (id, means) in [
        ("speaks", "instructions_args = ['--system', '{instructions}']"),
        ("reads", "instructions_file = 'RULES.md'"),
        ("deaf", ""),
    ] {
        let harness = format!(
            "id = '{id}'\nname = 'N'\nfamily = ['terminal']\ncommand = ['/bin/sh', '-c', \"{script}\", 'x']\n\
             model_args = ['-m', '{{model}}']\nprompt_args = ['{{prompt}}']\n{means}\n\
             [gateway.env]\nGATE_URL = '{{api_base}}'\nGATE_KEY = '{{api_key}}'\n\
             [bypass]\nargs = ['--do-as-you-like']\n[[seed]]\npath = '~/.seeded'\ncontents = 'x'\n"
        );
        std::fs::write(harnesses.join(format!("{id}.toml")), harness).unwrap();
    }
    let gateway = [("LITELLM_API_BASE", "http://gateway.example"), ("LITELLM_API_KEY", "sk-gate")];
    let api = Api::start_in(home, &gateway).await;
    let instructions = "Be \"brief\".\nAlways.";
    for (harness, model, args, delivered) in [
        (
            "speaks",
            "m-7",
            "<-m><m-7><--system><Be \"brief\".\nAlways.><go>http://gateway.example sk-gate\n",
            "arguments",
        ),
        ("reads", "m-7", "<-m><m-7><go>http://gateway.example sk-gate\n", "RULES.md"),
        // The name of whatever the program is set to.
        (
            "speaks",
            "default",
            "<--system><Be \"brief\".\nAlways.><go>http://gateway.example sk-gate\n",
            "arguments",
        ),
        ("deaf", "m-7", "<-m><m-7><go>http://gateway.example sk-gate\n", "not: N takes none"),
    ] {
        let agent = json!({ "harness_id": harness, "model": model, "prompt": instructions });
        let agent = api.post(AGENTS, &agent).await.json();
        let path = format!("{AGENTS}/{}", agent["id"].as_str().unwrap());
        let made = api.post(&format!("{path}/session"), &json!({ "initial_prompt": "go" })).await;
        let id = made.json()["id"].as_str().unwrap().to_owned();
        api.until(&id, |session| session["status"] == "ready").await;
        let run = async |script: &str| {
            let command = json!({ "command": ["sh", "-c", script] });
            api.post(&format!("{SESSIONS}/{id}/exec"), &command).await.json()["stdout"].clone()
        };
        assert_eq!(run("until grep -q http args 2>/dev/null; do sleep 0.01; done; cat args").await, args);
        if harness == "reads" {
            assert_eq!(run("cat RULES.md").await, instructions);
        }
        let told = api.get(&format!("{SESSIONS}/{id}/prompt")).await.json();
        let files = if harness == "reads" { vec!["RULES.md"] } else { vec![] };
        let all = json!({
            "model": (model != "default").then_some(model), "instructions": instructions, "delivered": delivered,
            "initial_prompt": "go", "memories": [], "skills": [], "mcp_servers": [], "files": files,
        });
        assert_eq!(told, all);
        // A user's own home is left alone.
        assert_eq!(run("ls -a ~ | grep seeded").await, "");
        api.delete(&path).await;
    }
}

#[tokio::test]
async fn a_session_of_nobody_is_not_found() {
    let api = Api::start().await;
    let nobody = "0197c0de-0000-7000-8000-000000000000";
    let made = api.send(api.request(Method::POST, &format!("{AGENTS}/{nobody}/session"))).await;
    assert_eq!(made.status, StatusCode::NOT_FOUND);
    assert!(made.error().contains(nobody), "{}", made.text);
    for rest in ["/stop", "/restart", "/abort"] {
        let answer = api.send(api.request(Method::POST, &format!("{SESSIONS}/{nobody}{rest}"))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{rest}");
    }
    for rest in ["/recording", "/log", "/sandbox_logs", "/diagnose", "/events", "/work", "/prompt"] {
        let answer = api.get(&format!("{SESSIONS}/{nobody}{rest}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{rest}");
    }
    let exec = api.post(&format!("{SESSIONS}/{nobody}/exec"), &json!({ "command": ["true"] })).await;
    assert_eq!(exec.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_wrong_with_a_session_request_is_told_at_once() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let path = format!("{AGENTS}/{agent}/session");
    let body = json!({
        "titel": "x", "env_vars": { "OK": 1 },
        "initial_attachments": [{ "mime_type": "image/png" }, { "mime_type": "text/html", "base64": "AAAA" }],
    });
    let mut faults = api.post(&path, &body).await.faults();
    faults.sort();
    let expected = [
        "env_vars.OK: invalid_type",
        "initial_attachments.0.base64: required",
        "initial_attachments.1.mime_type: invalid",
        "titel: unknown_field",
    ];
    assert_eq!(faults, expected);
    assert_eq!(
        api.post(&path, &json!({ "env_vars": { "LAP_X": "" } })).await.faults(),
        ["env_vars.LAP_X: reserved"]
    );
    assert_eq!(api.get(SESSIONS).await.json()["total"], 0);
    // Attachments may be larger than any other body.
    let picture = "A".repeat(2 * 1024 * 1024);
    let body = json!({ "initial_attachments": [{ "mime_type": "image/png", "base64": picture }] });
    let made = api.post(&path, &body).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_diagnosed() {
    let api = Api::start().await;
    let body = json!({ "model": "m", "harness_id": "codex" });
    let agent = api.post(AGENTS, &body).await.json()["id"].as_str().unwrap().to_owned();
    let made = api.send(api.request(Method::POST, &format!("{AGENTS}/{agent}/session"))).await.json();
    let id = made["id"].as_str().unwrap();
    let failed = api.until(id, |session| session["status"] == "failed").await;
    assert!(failed["failure_reason"].as_str().unwrap().contains("codex"), "{failed:#}");
    let diagnosis = api.get(&format!("{SESSIONS}/{id}/diagnose")).await.json();
    assert_eq!(diagnosis["session"]["status"], "failed");
    assert_eq!(diagnosis["agent"]["id"], agent.as_str());
    let issue = &diagnosis["detected_issues"][0];
    assert_eq!(issue["severity"], "high", "{diagnosis:#}");
    assert_eq!(
        (&failed["death"], &issue["code"]),
        (&json!("not_installed"), &json!("harness_not_installed"))
    );
    assert!(issue["evidence"].as_str().unwrap().contains("codex"), "{diagnosis:#}");
}

#[tokio::test]
async fn harnesses_say_whether_they_can_be_started() {
    let api = Api::start().await;
    let all = api.get("/api/v1/managed_agents/harnesses").await.json();
    let of = |id: &str| {
        let rows = all["data"].as_array().unwrap();
        rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no {id}: {all:#}")).clone()
    };
    assert_eq!((&of("shell")["available"], &of("shell")["program"]), (&json!(true), &json!("/bin/sh")));
    assert_eq!(of("codex")["available"], false);
    assert!(of("codex")["install"].is_string());
    assert_eq!(all["data"][0]["available"], true, "those that can be started come first");
}

#[tokio::test]
async fn metrics_tell_of_requests_and_sessions() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let spawned = "session_spawn_total{path=\"cold\",result=\"ready\"} 1";
    // The watcher counts what the feed tells it, at its own pace.
    let counted = async {
        while !api.get("/api/v1/metrics").await.text.contains(spawned) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, counted).await.unwrap();
    let metrics = api.get("/api/v1/metrics").await.text;
    let created = format!("method=\"POST\",route=\"{AGENTS}\",code=\"201\"}} 1");
    assert!(metrics.contains(&created), "{metrics}");
    assert!(
        metrics.contains("session_phase_duration_seconds_count{phase=\"creating_sandbox\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("http_requests_in_flight 1"), "this one");
    assert!(!metrics.contains(&id), "no ids in labels");
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

#[tokio::test]
async fn what_a_session_has_worked_on_is_counted_when_asked_and_at_its_end_and_kept() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let session = api.ready_session(&agent).await;
    let path = format!("{SESSIONS}/{session}");
    let work = || async { api.get(&format!("{path}/work")).await.json() };
    let empty = work().await;
    assert_eq!(empty["unsaved"], json!({ "files": 0, "commits": 0 }), "{empty:#}");
    let exec = format!("{path}/exec");
    let run = async |script: &str| api.post(&exec, &json!({ "command": ["sh", "-c", script] })).await;
    let made = run("git init -q repo && cd repo && echo 1 >a && git add a && \
         git -c user.name=a -c user.email=a@b commit -qm one && echo 2 >a && echo 3 >b")
    .await;
    assert_eq!(made.json()["exit_code"], 0, "{}", made.text);
    let unsaved = json!({ "files": 2, "commits": 1 });
    let counted = work().await;
    assert_eq!((&counted["unsaved"], &counted["detail"]), (&unsaved, &Value::Null));
    assert_eq!(api.get(&path).await.json()["unsaved"], unsaved, "as last counted");
    run("echo 4 >notes").await;
    assert_eq!(api.delete(&path).await.status, StatusCode::NO_CONTENT);
    let unsaved = json!({ "files": 3, "commits": 1 });
    let ended = api.until(&session, |session| session["unsaved"] == unsaved).await;
    assert_eq!(ended["status"], "dead");
    let kept = work().await;
    assert_eq!(kept["unsaved"], unsaved);
    let days = |text: &Value| text.as_str().unwrap()[8..10].parse::<i64>().unwrap();
    assert_ne!(days(&kept["kept_until"]), days(&ended["stopped_at"]), "{kept:#}");
    let folder = std::path::PathBuf::from(kept["path"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(folder.join("notes")).unwrap(), "4\n");
    let erased = api.delete(&format!("{path}?erase=true")).await;
    assert_eq!(erased.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&format!("{path}/work")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn work_that_cannot_be_counted_is_no_reason_not_to_end() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let session = api.ready_session(&agent).await;
    let path = format!("{SESSIONS}/{session}");
    let script = "git init -q . && mkfifo x && echo broken >.git/index";
    api.post(&format!("{path}/exec"), &json!({ "command": ["sh", "-c", script] })).await;
    let work = api.get(&format!("{path}/work")).await.json();
    assert_eq!(work["unsaved"], Value::Null);
    assert!(work["detail"].as_str().unwrap().contains("cannot be counted"), "{work:#}");
    assert_eq!(api.delete(&path).await.status, StatusCode::NO_CONTENT);
    let sandbox = api.get(&path).await.json();
    assert_eq!(sandbox["status"], "dead");
}
