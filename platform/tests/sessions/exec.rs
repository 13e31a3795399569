//! Commands run in a session's sandbox.

use lap_platform::model::{ExecRequest, ExecResult, SessionId};
use lap_platform::session::{SessionError, Sessions};

use crate::support::{World, soon};

fn sh(script: &str) -> ExecRequest {
    ExecRequest {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        stdin: None,
        timeout_seconds: None,
    }
}

async fn exec(sessions: &Sessions, id: SessionId, request: ExecRequest) -> ExecResult {
    soon("the command", sessions.exec(id, request, None)).await.unwrap()
}

#[tokio::test]
async fn commands_run_beside_the_harness() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let done =
        exec(&world.sessions, session.id, sh("pwd; echo \"$SESSION_ID\"; echo oops >&2; exit 4")).await;
    assert_eq!((done.exit_code, done.stderr.as_str(), done.truncated), (4, "oops\n", false));
    assert!(done.stdout.ends_with(&format!("/workspaces/{0}\n{0}\n", session.id)), "{}", done.stdout);

    let stdin = ExecRequest { stdin: Some("line one\nline two".to_owned()), ..sh("wc -l; cat") };
    assert_eq!(exec(&world.sessions, session.id, stdin).await.stdout.trim(), "1");
    let killed = exec(&world.sessions, session.id, sh("kill -SEGV $$")).await;
    assert_eq!(killed.exit_code, 139);
    let invalid = exec(&world.sessions, session.id, sh("printf '\\377\\376'")).await;
    assert_eq!(invalid.stdout, "\u{fffd}\u{fffd}");
}

#[tokio::test]
async fn a_command_out_of_time_is_ended_and_says_so() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let request = ExecRequest { timeout_seconds: Some(1), ..sh("echo begun; sleep 1006") };
    let done = exec(&world.sessions, session.id, request).await;
    assert_eq!((done.stdout.as_str(), done.exit_code), ("begun\n", 143));
    assert!(done.stderr.contains("ended after 1 s"), "{}", done.stderr);
    assert_eq!(world.client(&session).await.programs().await.unwrap().len(), 1, "only the terminal is left");
}

#[tokio::test]
async fn a_command_that_prints_too_much_is_cut() {
    let world = World::new().await;
    let session = world.ready(&world.agent().await).await;
    let done = exec(&world.sessions, session.id, sh("head -c 3000000 /dev/zero | tr '\\0' x")).await;
    assert_eq!((done.stdout.len(), done.truncated, done.exit_code), (1024 * 1024, true, 0));
}

#[tokio::test]
async fn a_command_that_cannot_be_run_says_why() {
    let world = World::new().await;
    let agent = world.agent().await;
    let session = world.ready(&agent).await;
    let missing = ExecRequest { command: vec!["no-such-program".to_owned()], ..sh("") };
    let refused = world.sessions.exec(session.id, missing, None).await.unwrap_err();
    assert!(
        matches!(&refused, SessionError::CannotStart(message) if message.contains("no-such-program")),
        "{refused}"
    );
    let empty = ExecRequest { command: Vec::new(), ..sh("") };
    assert!(matches!(world.sessions.exec(session.id, empty, None).await, Err(SessionError::Invalid(_))));
    world.sessions.stop(session.id).await.unwrap();
    assert!(matches!(
        world.sessions.exec(session.id, sh("true"), None).await,
        Err(SessionError::Conflict(_))
    ));
}
