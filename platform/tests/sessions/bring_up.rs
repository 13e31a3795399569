//! How sessions come up: their terminal, files, repository and requirements.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lap_platform::model::{Attachment, CreateSession, ExecRequest, Phase, SessionPatch, SessionStatus};
use lap_platform::sandbox::SandboxName;
use lap_platform::session::SessionError;
use lap_wire::control::ErrorCode;

use crate::support::{Typist, World, repository};

#[tokio::test]
async fn a_session_comes_up_and_its_shell_answers() {
    let world = World::new().await;
    let agent = world
        .agent_with(|agent| agent.env_vars = BTreeMap::from([("A".to_owned(), "agent".to_owned())]))
        .await;
    let request = CreateSession {
        title: Some("mine".to_owned()),
        env_vars: BTreeMap::from([("S".to_owned(), "session".to_owned())]),
        ..CreateSession::default()
    };
    let created = world.sessions.create(agent.id, request, "api").await.unwrap();
    assert_eq!((created.status, created.phase), (SessionStatus::Creating, Phase::CreatingSandbox));
    assert_eq!(created.tty_url, None, "there is no terminal yet");

    let session = world.reaches(created.id, SessionStatus::Ready).await;
    assert_eq!(session.phase, Phase::Ready);
    assert!(session.unconfined && session.tty_url.is_some() && session.ready_at.is_some());
    for phase in [Phase::CreatingSandbox, Phase::PodPending, Phase::PodRunning, Phase::HarnessListening] {
        assert!(session.timings.contains_key(&phase), "{phase:?} in {:?}", session.timings);
    }
    let terminal = world.sessions.resolve(session.id).await.unwrap();
    assert_eq!(Some(&terminal.sandbox.0), session.task_arn.as_ref());
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("echo \"<$A $S $SESSION_ID $TERM>\"; pwd; tty\n").await;
    typist.sees(&format!("<agent session {} xterm-256color>", session.id)).await;
    typist.sees("/workspaces/").await;
    typist.sees("/dev/pts/").await;
}

#[tokio::test]
async fn the_users_secrets_are_not_handed_on() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("env | cut -d= -f1 | sort | tr '\\n' ' '; echo end\n").await;
    typist.sees("AGENT_ID COLORTERM HOME LANG LAP_SANDBOX LAP_SANDBOX_HOME LITELLM_DEFAULT_MODEL ").await;
}

#[tokio::test]
async fn phases_never_go_backwards() {
    let world = World::new().await;
    let agent = world.agent().await;
    let mut changes = world.store.changes().watch();
    let session = world.create(&agent).await;
    let mut seen = vec![session.phase];
    crate::support::soon("ready", async {
        while *seen.last().unwrap() != Phase::Ready {
            changes.changed().await.unwrap();
            seen.push(world.sessions.get(session.id).await.unwrap().phase);
        }
    })
    .await;
    assert!(seen.is_sorted(), "{seen:?}");
}

#[tokio::test]
async fn the_repository_is_cloned_shallow_and_the_terminal_starts_in_it() {
    let world = World::new().await;
    let url = repository(&world.data.path().join("origin"), &[]);
    let agent = world.agent_with(|agent| agent.repo_url = Some(url.clone())).await;
    let session = world.ready(&agent).await;
    assert!(session.timings.contains_key(&Phase::CloningRepo));
    let mut typist = Typist::attach(&world.client(&session).await).await;
    typist.types("cat hello.txt; git rev-list --count HEAD; echo \"<$REPO_URL $BRANCH>\"\n").await;
    typist.sees("hello again").await;
    typist.sees("1\r\n").await;
    typist.sees(&format!("<{url} >")).await;
    // What was worked on is there after a restart, and is not cloned over.
    typist.types("echo unsaved >> hello.txt; echo writ''ten\n").await;
    typist.sees("written").await;
    world.sessions.restart(session.id, None).await.unwrap();
    let again = world.reaches(session.id, SessionStatus::Ready).await;
    let mut typist = Typist::attach(&world.client(&again).await).await;
    typist.types("cat hello.txt\n").await;
    typist.sees("unsaved").await;
}

#[tokio::test]
async fn a_clone_that_fails_says_so_with_gits_own_words_and_leaves_nothing() {
    let world = World::new().await;
    let url = repository(&world.data.path().join("origin"), &[]);
    let agent = world
        .agent_with(|agent| {
            agent.repo_url = Some(url);
            agent.branch = Some("nowhere".to_owned());
        })
        .await;
    let created = world.create(&agent).await;
    let session = world.reaches(created.id, SessionStatus::Failed).await;
    let reason = session.failure_reason.unwrap();
    assert!(reason.starts_with("clone: exited with status 128"), "{reason}");
    assert!(reason.contains("Remote branch nowhere not found"), "{reason}");
    world.vanishes(&session.task_arn.unwrap()).await;
    let refused = world.sessions.resolve(session.id).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotReady);
}

#[tokio::test]
async fn requirements_are_installed_for_the_session_alone() {
    let world = World::new().await;
    // What needs no network: nothing at all.
    let agent = world.agent_with(|agent| agent.requirements = Some("# nothing\n".to_owned())).await;
    let session = world.ready(&agent).await;
    assert!(session.timings.contains_key(&Phase::InstallingDeps));
    let command = ["sh", "-c", "command -v python; echo $VIRTUAL_ENV"].map(str::to_owned).to_vec();
    let request = ExecRequest { command, stdin: None, timeout_seconds: None };
    let found = world.sessions.exec(session.id, request, None).await.unwrap().stdout;
    let venv = format!("{}/.lap/venv", world.runtime.workdir(&SandboxName(session.task_arn.unwrap())));
    assert_eq!(found, format!("{venv}/bin/python\n{venv}\n"));
}

#[tokio::test]
async fn requirements_that_cannot_be_installed_fail_with_pips_own_words() {
    let world = World::new().await;
    let agent = world.agent_with(|agent| agent.requirements = Some("/no/such/package\n".to_owned())).await;
    let created = world.create(&agent).await;
    let session = world.reaches(created.id, SessionStatus::Failed).await;
    let reason = session.failure_reason.unwrap();
    assert!(reason.starts_with("install: ") && reason.contains("/no/such/package"), "{reason}");
    world.vanishes(&session.task_arn.unwrap()).await;
}

#[tokio::test]
async fn attachments_are_in_the_workspace_before_the_harness_starts() {
    let world = World::new().await;
    let picture = vec![7u8; 300_000];
    let request = CreateSession {
        initial_attachments: vec![Attachment {
            name: Some("a.png".to_owned()),
            mime_type: "image/png".to_owned(),
            base64: BASE64_STANDARD.encode(&picture),
        }],
        ..CreateSession::default()
    };
    let agent = world.agent().await;
    let created = world.sessions.create(agent.id, request, "api").await.unwrap();
    let session = world.reaches(created.id, SessionStatus::Ready).await;
    let workspace = world.runtime.workdir(&world.sessions.resolve(session.id).await.unwrap().sandbox);
    assert!(std::fs::read(format!("{workspace}/.lap/attachments/0-a.png")).unwrap() == picture);
}

#[tokio::test]
async fn a_program_that_cannot_be_started_fails_the_session_with_the_reason() {
    let world = World::with(|options| {
        options.harnesses = "[custom]\ncommand = ['/bin/sh-that-is-not-there']\n[broken]\nname = 'Broken'\n\
                             family = ['terminal']\ncommand = ['/etc/passwd']"
            .parse()
            .unwrap();
    })
    .await;
    for (harness, words) in [
        ("custom", "/bin/sh-that-is-not-there is not on the PATH"),
        ("broken", "/etc/passwd is not on the PATH"),
        ("claude-code", "claude is not on the PATH: npm install"),
        ("no-such", "there is no harness no-such"),
    ] {
        let agent = world.agent_with(|agent| agent.harness_id = harness.to_owned()).await;
        let created = world.create(&agent).await;
        let session = world.reaches(created.id, SessionStatus::Failed).await;
        let reason = session.failure_reason.unwrap();
        assert!(reason.contains(words), "{harness}: {reason}");
        assert_eq!(session.task_arn, None, "no sandbox was made for it");
    }
    assert_eq!(world.data.sandboxes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_keeper_that_cannot_be_started_fails_the_session_with_the_reason() {
    let world = World::with(|options| options.keeper = "/bin/false".into()).await;
    let agent = world.agent().await;
    let created = world.create(&agent).await;
    let session = world.reaches(created.id, SessionStatus::Failed).await;
    assert!(
        session.failure_reason.as_deref().unwrap().starts_with("sandbox: "),
        "{:?}",
        session.failure_reason
    );
    world.vanishes(&session.task_arn.unwrap()).await;
}

#[tokio::test]
async fn more_sessions_than_the_agent_may_have_are_refused_with_the_count() {
    let world = World::new().await;
    let agent = world.agent_with(|agent| agent.max_sessions = Some(1)).await;
    let session = world.create(&agent).await;
    let refused = world.sessions.create(agent.id, CreateSession::default(), "api").await.unwrap_err();
    assert!(
        matches!(&refused, SessionError::TooMany(message) if message.contains("1 live sessions")),
        "{refused}"
    );
    world.sessions.stop(session.id).await.unwrap();
    world.create(&agent).await;
}

#[tokio::test]
async fn more_sessions_than_the_server_may_have_are_refused() {
    let world = World::with(|options| options.settings.max_live = 1).await;
    let agent = world.agent().await;
    world.create(&agent).await;
    let refused = world.sessions.create(agent.id, CreateSession::default(), "api").await.unwrap_err();
    assert!(
        matches!(&refused, SessionError::TooMany(message) if message.contains("limits.live_sessions")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_session_can_be_renamed_and_a_bad_name_is_refused() {
    let world = World::new().await;
    let session = world.create(&world.agent().await).await;
    let patch = |title: Option<&str>| SessionPatch { title: Some(title.map(str::to_owned)) };
    let renamed = world.sessions.patch(session.id, patch(Some("better"))).await.unwrap();
    assert_eq!((renamed.title.as_deref(), renamed.title_preview.as_str()), (Some("better"), "better"));
    assert_eq!(world.sessions.patch(session.id, patch(None)).await.unwrap().title, None);
    let refused = world.sessions.patch(session.id, patch(Some(&"x".repeat(10_000)))).await;
    assert!(matches!(refused, Err(SessionError::Invalid(_))));
}
