//! What the evidence comes to. Pure: the same evidence always gives the same issues.

use jiff::Timestamp;
use lap_platform::model::{
    DeathCode, DetectedIssue, HarnessEvidence, SandboxEvidence, Session, SessionStatus, Severity,
};

/// A session that comes up for longer than this without a known cause is stuck, in seconds.
const STUCK_AFTER: i64 = 120;
/// Viewers are told when a session will end for want of activity this soon, in milliseconds.
const IDLE_SOON_MS: i128 = 5 * 60 * 1000;

/// What the evidence comes to, worst first.
pub(super) fn detect(
    session: &Session,
    sandbox: &SandboxEvidence,
    harness: &HarnessEvidence,
    now: Timestamp,
) -> Vec<DetectedIssue> {
    let mut issues: Vec<DetectedIssue> = [
        bring_up_failed(session),
        sandbox_lost(session, sandbox),
        harness_exited(session, harness),
        harness_unreachable(session, sandbox, harness),
        stuck_creating(session, now),
        idle_soon(session, now),
    ]
    .into_iter()
    .flatten()
    .collect();
    issues.sort_by_key(|issue| issue.severity);
    issues
}

fn issue(
    code: &str,
    severity: Severity,
    message: impl Into<String>,
    evidence: Option<String>,
    action: &str,
) -> Option<DetectedIssue> {
    Some(DetectedIssue {
        code: code.to_owned(),
        severity,
        message: message.into(),
        evidence,
        recommended_action: Some(action.to_owned()),
    })
}

fn bring_up_failed(session: &Session) -> Option<DetectedIssue> {
    if session.status != SessionStatus::Failed {
        return None;
    }
    let reason = session.failure_reason.clone();
    let (code, message, action) = match session.death.unwrap_or(DeathCode::Unknown) {
        DeathCode::CloneFailed => (
            "clone_failed",
            "the repository could not be cloned",
            "check the agent's repo_url and branch, and that its credential may read the repository; then restart",
        ),
        DeathCode::InstallFailed => (
            "install_failed",
            "the requirements could not be installed",
            "correct the agent's requirements; then restart",
        ),
        DeathCode::NotInstalled => (
            "harness_not_installed",
            "the program is not installed",
            "install it, or choose another harness for the agent; then restart",
        ),
        DeathCode::StartFailed | DeathCode::Exited | DeathCode::Killed => {
            ("harness_exited", "the program did not come up", "look at its last output; then restart")
        }
        DeathCode::SandboxFailed | DeathCode::SandboxLost => (
            "sandbox_lost",
            "the sandbox did not come up",
            "restart the session; if it fails again, see its reason",
        ),
        // Nobody's fault but the reason's, which says all there is.
        DeathCode::Stopped | DeathCode::Restarted | DeathCode::AgentDeleted | DeathCode::Idle => return None,
        DeathCode::FilesFailed | DeathCode::TimedOut | DeathCode::ServerFault | DeathCode::Unknown => {
            ("bring_up_failed", "the session did not come up", "see its reason; then restart")
        }
    };
    issue(code, Severity::High, message, reason, action)
}

fn sandbox_lost(session: &Session, sandbox: &SandboxEvidence) -> Option<DetectedIssue> {
    let missing = !sandbox.present && sandbox.error.is_none() && sandbox.state.is_some();
    let lost = match session.status {
        SessionStatus::Ready => missing,
        SessionStatus::Dead => session.death == Some(DeathCode::SandboxLost),
        SessionStatus::Creating | SessionStatus::Failed => false,
    };
    let evidence = session.failure_reason.clone().or_else(|| sandbox.state.clone());
    lost.then(|| {
        issue("sandbox_lost", Severity::High, "the sandbox is gone", evidence, "restart the session")
    })?
}

fn harness_exited(session: &Session, harness: &HarnessEvidence) -> Option<DetectedIssue> {
    // A session that was stopped, by a person or a rule, ends its program: that it ended is no news.
    let by_itself = match session.status {
        SessionStatus::Creating | SessionStatus::Failed => false,
        SessionStatus::Ready => true,
        SessionStatus::Dead => matches!(session.death, Some(DeathCode::Exited | DeathCode::Killed)),
    };
    let exited = harness.exit_status.clone().filter(|_| !harness.alive && by_itself)?;
    let severity = if exited == "exit code 0" { Severity::Info } else { Severity::High };
    let message = format!("the program has ended ({exited})");
    let evidence = harness.last_output.iter().rev().find(|line| !line.is_empty()).cloned();
    issue(
        "harness_exited",
        severity,
        message,
        evidence,
        "look at its last output; restart the session to go on",
    )
}

fn harness_unreachable(
    session: &Session,
    sandbox: &SandboxEvidence,
    harness: &HarnessEvidence,
) -> Option<DetectedIssue> {
    let silent = session.status == SessionStatus::Ready && sandbox.present && !harness.alive;
    let evidence = harness.error.clone().filter(|_| silent && harness.exit_status.is_none())?;
    let message = "the sandbox is there and cannot be spoken to";
    issue("harness_unreachable", Severity::High, message, Some(evidence), "stop the session, then restart it")
}

fn stuck_creating(session: &Session, now: Timestamp) -> Option<DetectedIssue> {
    let seconds = now.as_second() - session.created_at.as_second();
    if session.status != SessionStatus::Creating || seconds <= STUCK_AFTER {
        return None;
    }
    let message = format!("it has been coming up for {seconds} s");
    let evidence = session.phase_detail.clone();
    issue(
        "stuck_creating",
        Severity::Med,
        message,
        evidence,
        "see what its phase waits for; stop it if that never comes",
    )
}

fn idle_soon(session: &Session, now: Timestamp) -> Option<DetectedIssue> {
    if session.status != SessionStatus::Ready || session.viewers > 0 {
        return None;
    }
    let last = session.last_seen_at.or(session.ready_at)?;
    let idle_ms = i128::from(now.as_millisecond()) - i128::from(last.as_millisecond());
    let left_ms = i128::from(session.idle_timeout_ms) - idle_ms;
    // One with a time-out below that is always about to end; it says so only in its second half.
    let soon = IDLE_SOON_MS.min(i128::from(session.idle_timeout_ms) / 2);
    (left_ms <= soon).then(|| {
        let message = format!("it ends in {} s for want of activity", left_ms.max(0) / 1000);
        issue(
            "idle_soon",
            Severity::Info,
            message,
            None,
            "type into it, or raise the agent's idle_timeout_seconds",
        )
    })?
}

#[cfg(test)]
mod tests {
    use lap_platform::model::{AgentId, Attention, Phase, SessionId};

    use super::*;

    fn session(status: SessionStatus, phase: Phase) -> Session {
        Session {
            id: SessionId::new(),
            agent_id: AgentId::new(),
            title: None,
            status,
            phase,
            phase_detail: None,
            failure_reason: None,
            death: None,
            exit_code: None,
            sandbox_url: None,
            task_arn: Some("s-1".into()),
            unconfined: true,
            harness_session_id: None,
            tty_url: None,
            tty_token: None,
            supports_tui: true,
            response: None,
            title_preview: String::new(),
            origin: "api".into(),
            idle_timeout_ms: 86_400_000,
            attention: Attention::None,
            viewers: 0,
            recording: true,
            unsaved: None,
            timings: [].into(),
            config_generation: 1,
            created_at: at(0),
            last_seen_at: None,
            ready_at: Some(at(0)),
            stopped_at: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn present() -> SandboxEvidence {
        SandboxEvidence { present: true, state: Some("running".into()), ..SandboxEvidence::default() }
    }

    fn alive() -> HarnessEvidence {
        HarnessEvidence { alive: true, ..HarnessEvidence::default() }
    }

    fn codes(
        session: &Session,
        sandbox: &SandboxEvidence,
        harness: &HarnessEvidence,
        now: i64,
    ) -> Vec<String> {
        detect(session, sandbox, harness, at(now)).into_iter().map(|issue| issue.code).collect()
    }

    #[test]
    fn a_healthy_session_has_no_issues() {
        let ready = session(SessionStatus::Ready, Phase::Ready);
        assert!(codes(&ready, &present(), &alive(), 60).is_empty());
        let creating = session(SessionStatus::Creating, Phase::CloningRepo);
        assert!(codes(&creating, &present(), &HarnessEvidence::default(), 60).is_empty());
        let stopped = session(SessionStatus::Dead, Phase::Ready);
        let ended = HarnessEvidence { exit_status: Some("SIGTERM".into()), ..HarnessEvidence::default() };
        assert!(codes(&stopped, &SandboxEvidence::default(), &ended, 60).is_empty());
    }

    #[test]
    fn a_failed_step_is_named_for_what_it_is() {
        for (death, code) in [
            (DeathCode::CloneFailed, "clone_failed"),
            (DeathCode::InstallFailed, "install_failed"),
            (DeathCode::StartFailed, "harness_exited"),
            (DeathCode::NotInstalled, "harness_not_installed"),
            (DeathCode::SandboxFailed, "sandbox_lost"),
            (DeathCode::TimedOut, "bring_up_failed"),
        ] {
            let failed =
                Session { death: Some(death), ..session(SessionStatus::Failed, Phase::CreatingSandbox) };
            assert_eq!(codes(&failed, &SandboxEvidence::default(), &HarnessEvidence::default(), 0), [code]);
        }
    }

    #[test]
    fn an_end_that_somebody_wanted_is_no_issue_and_one_that_nobody_did_is() {
        for ended in ["exit code 0", "exit code 1", "SIGTERM", "SIGKILL"] {
            let harness = HarnessEvidence { exit_status: Some(ended.into()), ..HarnessEvidence::default() };
            let told = |death| {
                let dead = Session {
                    death: Some(death),
                    failure_reason: Some("why".into()),
                    ..session(SessionStatus::Dead, Phase::Ready)
                };
                codes(&dead, &SandboxEvidence::default(), &harness, 0)
            };
            for wanted in [DeathCode::Stopped, DeathCode::Restarted, DeathCode::AgentDeleted, DeathCode::Idle]
            {
                assert!(told(wanted).is_empty(), "{wanted:?}, {ended}");
            }
            assert_eq!(told(DeathCode::Exited), ["harness_exited"], "{ended}");
            assert_eq!(told(DeathCode::Killed), ["harness_exited"], "{ended}");
            assert_eq!(told(DeathCode::SandboxLost), ["sandbox_lost"], "{ended}");
        }
    }

    #[test]
    fn what_is_gone_and_what_does_not_answer_are_told_apart() {
        let ready = session(SessionStatus::Ready, Phase::Ready);
        let gone = SandboxEvidence { state: Some("gone".into()), ..SandboxEvidence::default() };
        assert_eq!(codes(&ready, &gone, &HarnessEvidence::default(), 0), ["sandbox_lost"]);
        let silent =
            HarnessEvidence { error: Some("the keeper did not answer".into()), ..HarnessEvidence::default() };
        assert_eq!(codes(&ready, &present(), &silent, 0), ["harness_unreachable"]);
        let exited =
            HarnessEvidence { exit_status: Some("exit code 1".into()), ..HarnessEvidence::default() };
        assert_eq!(codes(&ready, &present(), &exited, 0), ["harness_exited"]);
    }

    #[test]
    fn time_makes_issues_of_its_own() {
        let creating = session(SessionStatus::Creating, Phase::PodPending);
        assert_eq!(codes(&creating, &present(), &HarnessEvidence::default(), 121), ["stuck_creating"]);
        let ready = session(SessionStatus::Ready, Phase::Ready);
        assert_eq!(codes(&ready, &present(), &alive(), 86_400 - 299), ["idle_soon"]);
        let watched = Session { viewers: 1, ..ready };
        assert!(codes(&watched, &present(), &alive(), 86_400 - 299).is_empty());
    }
}
