//! What the snapshot tests share: a model as it is after a day's work, and a frame written as text with its styles.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lap_platform::client::{ApiError, ClientError, FeedEvent};
use lap_platform::model::{
    AgentRow, Attention, DetectedIssue, Diagnosis, FieldError, Harness, HarnessEvidence, Phase,
    SandboxEvidence, Session, Severity,
};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Style;

use super::{Layout, draw};
use crate::dashboard::event::{Event, Lists, Reply};
use crate::dashboard::keymap::Keymap;
use crate::dashboard::model::{Layer, Model, Tab, session_name};
use crate::dashboard::theme::{ColorDepth, Theme, Themes};
use crate::dashboard::update::update;

const NOW: i64 = 1_795_456_800;

fn at(minutes_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - minutes_ago * 60).unwrap()
}

fn uuid(n: u8) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0193_5f00_7000_8000_0000_0000_0000 + u128::from(n))
}

/// The theme that names its styles: 16 colours are told apart in a snapshot, and do not change with a shade.
fn theme() -> Theme {
    Themes::default().theme("dark", ColorDepth::Ansi).0
}

pub(crate) fn agent(n: u8, name: &str, harness: &str, model: &str) -> AgentRow {
    let value = serde_json::json!({
        "id": uuid(n), "name": name, "model": model, "harness_id": harness, "branch": "main",
        "mcp_servers": [], "env_vars": {}, "env_var_hosts": {}, "allow_out": [], "deny_out": [],
        "attached_skill_ids": [], "preload_memory_limit": 10, "resources": {}, "idle_timeout_seconds": 86400,
        "supports_tui": true, "config_generation": 1, "created_at": at(3000 + i64::from(n)).to_string(),
        "updated_at": at(3000).to_string(), "session_count": 1, "has_active_session": true,
    });
    serde_json::from_value(value).unwrap()
}

pub(crate) fn session(n: u8, agent: u8, title: &str, status: &str, minutes_ago: i64) -> Session {
    let value = serde_json::json!({
        "id": uuid(n), "agent_id": uuid(agent), "title": title, "status": status, "phase": "ready",
        "unconfined": true, "supports_tui": true, "title_preview": title, "origin": "ui",
        "idle_timeout_ms": 86_400_000, "attention": "none", "viewers": 0, "recording": true, "timings": {},
        "config_generation": 1, "created_at": at(minutes_ago).to_string(),
    });
    serde_json::from_value(value).unwrap()
}

pub(crate) fn harnesses() -> Vec<Harness> {
    let one = |id: &str, title: &str, program: Option<&str>| Harness {
        id: id.into(),
        title: title.into(),
        supports_tui: true,
        available: program.is_some(),
        program: program.map(str::to_owned),
        install: Some(format!("npm install -g {id}")),
        default_model: None,
    };
    vec![
        one("shell", "Shell", Some("/bin/bash")),
        one("claude-code", "Claude Code", Some("/usr/local/bin/claude")),
        one("codex", "Codex", None),
        one("gemini", "Gemini CLI", None),
    ]
}

/// A dashboard whose server has not answered.
pub(crate) fn blank() -> Model {
    Model::new("local", "http://127.0.0.1:4180", Keymap::default(), Size::new(100, 24), at(0))
}

fn connect(model: &mut Model, lists: Lists) {
    update(model, Event::Feed(FeedEvent::Connected { resumed: false }));
    update(model, Event::Loaded(Box::new(Ok(lists))));
    model.settle(20);
}

/// One on a machine where lap was never used.
pub(crate) fn first_use() -> Model {
    let mut model = blank();
    connect(&mut model, Lists { harnesses: harnesses(), ..Lists::default() });
    model
}

/// One after a day's work.
pub(crate) fn sample() -> Model {
    let mut model = blank();
    let with = |mut session: Session, change: &dyn Fn(&mut Session)| {
        change(&mut session);
        session
    };
    let sessions = vec![
        with(session(10, 1, "login page", "ready", 12), &|s| {
            s.attention = Attention::WaitingInput;
            s.viewers = 2;
        }),
        with(session(11, 1, "flaky test in the payment suite", "ready", 63), &|s| {
            s.attention = Attention::Working;
        }),
        session(12, 2, "scratch", "ready", 200),
        with(session(13, 3, "api docs", "creating", 0), &|s| {
            s.phase = Phase::CloningRepo;
            s.phase_detail = Some("cloning https://example.org/api (412/7031 files)".into());
            s.unconfined = false;
        }),
        session(14, 1, "old experiment", "dead", 1600),
        with(session(15, 3, "broken clone", "failed", 90), &|s| {
            s.phase = Phase::CloningRepo;
            s.failure_reason = Some("cloning failed: repository not found".into());
            s.timings.insert(Phase::CreatingSandbox, 120);
            s.timings.insert(Phase::WaitingHarness, 2340);
        }),
    ];
    let mut backend = agent(1, "backend", "claude-code", "claude-opus");
    backend.agent.repo_url = Some("https://example.org/shop.git".into());
    backend.agent.prompt = Some("Keep the tests green.\nNever push.".into());
    let agents =
        vec![backend, agent(2, "shell", "shell", "default"), agent(3, "docs", "claude-code", "claude-haiku")];
    connect(&mut model, Lists { agents, sessions, harnesses: harnesses() });
    model.panes.prefix = String::from("Ctrl-]");
    model.panes.commands = vec![("d".into(), "back to the lists")];
    model
}

/// One whose connection is lost.
pub(crate) fn lost() -> Model {
    let mut model = sample();
    let reason = ClientError::Unreachable { url: model.address.clone(), reason: "connection refused".into() };
    update(&mut model, Event::Feed(FeedEvent::Lost { reason, retry_in: Duration::from_secs(8) }));
    model
}

pub(crate) fn press(model: &mut Model, keys: &[&str]) {
    for key in keys {
        update(model, Event::Key(key.parse().unwrap()));
        model.settle(20);
    }
}

pub(crate) fn select(model: &mut Model, title: &str) {
    let id = model.sessions.values().find(|session| session_name(session) == title).unwrap().id;
    model.tab = Tab::Sessions;
    model.session_list.select_id(id);
}

pub(crate) fn later(model: &mut Model, seconds: i64) {
    model.now = model.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
}

/// The server refuses the form that was sent.
pub(crate) fn refuse_form(model: &mut Model, faults: &[(&str, &str)]) {
    let Some(Layer::Form(form)) = &model.layer else { panic!("no form") };
    let task = form.sent.expect("the form was sent");
    let fields = faults
        .iter()
        .map(|(name, message)| FieldError {
            code: "invalid".into(),
            path: vec![(*name).into()],
            message: (*message).into(),
        })
        .collect();
    let error = ApiError { status: 400, message: String::new(), fields, request_id: None, retry_after: None };
    update(model, Event::Finished(task, Box::new(Err(error.into()))));
}

/// The server answers what is known about the session that was asked about.
pub(crate) fn diagnose(model: &mut Model) {
    let task = model.tasks.last().unwrap().id;
    let session = model.session().unwrap().clone();
    let diagnosis = Diagnosis {
        timings: session.timings.clone(),
        session,
        agent: None,
        sandbox: SandboxEvidence {
            name: Some("s-7".into()),
            state: Some("removed".into()),
            ..Default::default()
        },
        harness: HarnessEvidence {
            exit_status: Some("exit code 128".into()),
            last_output: vec!["Cloning into 'repo'...".into(), "fatal: repository not found".into()],
            ..Default::default()
        },
        detected_issues: vec![DetectedIssue {
            code: "clone_failed".into(),
            severity: Severity::High,
            message: "The repository could not be cloned.".into(),
            evidence: Some("fatal: repository not found".into()),
            recommended_action: Some("Check the agent's repository address and its credentials.".into()),
        }],
    };
    update(model, Event::Finished(task, Box::new(Ok(Reply::Diagnosis(Box::new(diagnosis))))));
}

/// Draws a frame of that width and 24 to 36 lines.
pub(crate) fn frame(model: &Model, width: u16, height: u16) -> Buffer {
    let mut model = model.clone();
    let area = Rect::new(0, 0, width, height);
    model.settle(Layout::of(&model, area).rows());
    let mut buf = Buffer::empty(area);
    draw(&model, &theme(), &mut buf);
    buf
}

/// Holds lines of a frame to their snapshot: the text, and below each line the styles of its parts.
pub(crate) fn snapshot(name: &str, model: &Model, width: u16, lines: Range<u16>) {
    let height = lines.end.max(24);
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "snapshots", omit_expression => true }, {
        insta::assert_snapshot!(name, written(&frame(model, width, height), lines));
    });
}

fn written(buf: &Buffer, lines: Range<u16>) -> String {
    let mut text = String::new();
    for y in lines {
        let mut line = String::new();
        let mut runs: Vec<(Style, u16, u16)> = Vec::new();
        let mut covered = 0;
        for x in 0..buf.area.width {
            let Some(cell) = buf.cell((x, y)) else { continue };
            if covered > 0 {
                covered -= 1;
            } else {
                line.push_str(cell.symbol());
                covered = super::text::width(cell.symbol()).saturating_sub(1);
            }
            match runs.last_mut() {
                Some((style, _, end)) if *style == cell.style() => *end = x,
                _ => runs.push((cell.style(), x, x)),
            }
        }
        let _ = writeln!(text, "{}", line.trim_end());
        let named: Vec<String> = runs
            .iter()
            .filter_map(|(style, from, to)| Some(format!("{from}-{to} {}", style_words(*style)?)))
            .collect();
        if !named.is_empty() {
            let _ = writeln!(text, "    ~ {}", named.join(", "));
        }
    }
    text
}

fn style_words(style: Style) -> Option<String> {
    use ratatui::style::Color;
    let mut words = Vec::new();
    if let Some(color) = style.fg.filter(|color| *color != Color::Reset) {
        words.push(format!("{color}").to_lowercase());
    }
    if let Some(color) = style.bg.filter(|color| *color != Color::Reset) {
        words.push(format!("on {color}").to_lowercase());
    }
    for (name, _) in style.add_modifier.iter_names() {
        words.push(name.to_lowercase());
    }
    (!words.is_empty()).then(|| words.join(" "))
}
