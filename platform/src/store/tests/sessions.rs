//! Sessions as they are stored.

use std::time::Duration;

use super::*;
use jiff::SignedDuration;

use crate::model::{ChangeKind, Death, DeathCode, Phase, SessionStatus};
use crate::sandbox::SandboxName;

type Change = Result<(), StoreError>;

on_every_database! {
    async fn every_field_comes_back(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let at = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        let sessions = bench.store.sessions();
        let written = sessions.update(id, |record| -> Change {
            record.title = Some("a title".into());
            record.status = SessionStatus::Ready;
            record.phase = Phase::Ready;
            record.phase_detail = Some("detail".into());
            record.phase_started_at = Some(at);
            record.death = Some(Death { exit_code: Some(137), ..Death::new(DeathCode::Killed, "reason") });
            record.ending = true;
            record.sandbox = Some(SandboxName("s-1".into()));
            record.sandbox_url = Some("http://sandbox".into());
            record.program = Some("main".into());
            record.unconfined = false;
            record.harness_session_id = Some("h-1".into());
            record.supports_tui = false;
            record.response = Some("done".into());
            record.idle_timeout_ms = 5;
            record.timings = BTreeMap::from([(Phase::CreatingSandbox, 7), (Phase::CloningRepo, 9)]);
            record.steps = BTreeMap::from([("clone".to_owned(), serde_json::json!({"commit": "abc"}))]);
            record.config_generation = 3;
            record.owner = Some(OwnerId::new());
            record.last_seen_at = Some(at);
            record.ready_at = Some(at);
            record.stopped_at = Some(at);
            Ok(())
        });
        let written = written.await.unwrap();
        assert_eq!(bench.store.sessions().get(id).await.unwrap(), written);
        let session = written.to_session();
        assert_eq!((session.title_preview.as_str(), session.task_arn.as_deref()), ("a title", Some("s-1")));
    }

    async fn what_it_was_asked_for_with_comes_back(bench) {
        let new = new_session(bench.agent("one").await);
        let record = bench.store.sessions().create(new.clone()).await.unwrap();
        assert_eq!(bench.store.sessions().get(new.id).await.unwrap(), record);
        assert_eq!(record.status, SessionStatus::Creating);
        assert_eq!(record.to_session().title_preview, "session-prompt-secret: fix the build");
        assert_eq!(bench.store.sessions().request(new.id).await.unwrap(), new.request);
    }

    async fn none_begins_without_its_agent(bench) {
        let nobody = bench.store.sessions().create(new_session(AgentId::new())).await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))));
        let id = bench.agent("one").await;
        let session = bench.session(id).await;
        let deleted = bench.store.agents().delete(id).await.unwrap();
        assert_eq!(deleted.ending, [session]);
        let record = bench.store.sessions().get(session).await.unwrap();
        assert!(record.ending);
        assert_eq!(record.death, Some(Death::new(DeathCode::AgentDeleted, "its agent was deleted")));
        assert!(matches!(bench.store.sessions().create(new_session(id)).await, Err(StoreError::NotFound(_))));
    }

    async fn an_agent_never_has_more_than_it_may_whoever_asks(bench) {
        let id = bench.agent("one").await;
        let limit = |agent: &mut Agent| -> Change { agent.max_sessions = Some(3); Ok(()) };
        bench.store.agents().update(id, limit).await.unwrap();
        let other = bench.another().await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..10 {
            let store = if n % 2 == 0 { bench.store.clone() } else { other.clone() };
            tasks.spawn(async move { store.sessions().create(new_session(id)).await });
        }
        let (made, refused): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((made.len(), refused.len()), (3, 7));
        assert!(refused.iter().all(|error| matches!(error, Err(StoreError::Conflict(_)))), "{refused:?}");
        // An ended one makes room; a refused one does not count.
        let end = |record: &mut SessionRecord| -> Change { record.status = SessionStatus::Dead; Ok(()) };
        bench.store.sessions().update(made[0].as_ref().unwrap().id, end).await.unwrap();
        bench.session(id).await;
        assert_eq!(bench.store.agents().get(id).await.unwrap().session_count, 4);
    }

    async fn who_works_on_it_and_activity_are_not_told(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let told = bench.feed().await.len();
        let owner = OwnerId::new();
        bench.store.owners().beat(owner, "here", Duration::from_secs(30)).await.unwrap();
        bench.store.sessions().claim(id, owner).await.unwrap().unwrap();
        bench.store.sessions().touch(id, bench.now()).await.unwrap();
        assert_eq!(bench.feed().await.len(), told);
    }

    async fn activity_never_goes_back(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let later = bench.now();
        bench.store.sessions().touch(id, later).await.unwrap();
        bench.store.sessions().touch(id, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(bench.store.sessions().get(id).await.unwrap().last_seen_at, Some(later));
    }

    async fn a_last_use_that_has_yet_to_come_is_put_right(bench) {
        let id = bench.session(bench.agent("one").await).await;
        let late = bench.now() + SignedDuration::from_hours(24 * 365);
        bench.store.sessions().touch(id, late).await.unwrap();
        // The clock that said so has been set right since.
        bench.pass(60);
        bench.store.sessions().touch(id, bench.now()).await.unwrap();
        assert_eq!(bench.store.sessions().get(id).await.unwrap().last_seen_at, Some(bench.now()));
    }

    async fn the_feed_tells_of_their_agents_too_where_its_row_changes(bench) {
        let agent = bench.agent("one").await;
        let id = bench.session(agent).await;
        let step = |record: &mut SessionRecord| -> Change { record.phase = Phase::CloningRepo; Ok(()) };
        bench.store.sessions().update(id, step).await.unwrap();
        let end = |record: &mut SessionRecord| -> Change { record.status = SessionStatus::Failed; Ok(()) };
        bench.store.sessions().update(id, end).await.unwrap();
        let told: Vec<_> = bench.feed().await.into_iter().map(|change| (change.kind, change.resource)).collect();
        let (agent, session) = (ResourceRef::Agent(agent), ResourceRef::Session(id));
        assert_eq!(told, [
            (ChangeKind::Created, agent),
            (ChangeKind::Created, session), (ChangeKind::Updated, agent),
            (ChangeKind::Updated, session),
            (ChangeKind::Updated, session), (ChangeKind::Updated, agent),
        ]);
    }

    async fn live_ones_are_those_a_sandbox_may_belong_to(bench) {
        let agent = bench.agent("one").await;
        let mut expected = Vec::new();
        for (status, ending) in [
            (SessionStatus::Creating, false),
            (SessionStatus::Ready, false),
            (SessionStatus::Dead, false),
            (SessionStatus::Dead, true),
            (SessionStatus::Failed, false),
        ] {
            let id = bench.session(agent).await;
            let is_live = status.is_live() || ending;
            let stand = |record: &mut SessionRecord| -> Change { record.status = status; record.ending = ending; Ok(()) };
            bench.store.sessions().update(id, stand).await.unwrap();
            if is_live {
                expected.push(id);
            }
        }
        let live: Vec<_> = bench.store.sessions().live().await.unwrap().into_iter().map(|record| record.id).collect();
        assert_eq!(live, expected);
    }

    async fn lists_are_filtered(bench) {
        let (one, two) = (bench.agent("one").await, bench.agent("two").await);
        let first = bench.session(one).await;
        let second = bench.session(two).await;
        let ready = |record: &mut SessionRecord| -> Change {
            record.status = SessionStatus::Ready;
            record.title = Some("Straße".into());
            Ok(())
        };
        bench.store.sessions().update(second, ready).await.unwrap();
        let list = async |query: SessionsQuery| {
            let page = bench.store.sessions().list(&query).await.unwrap();
            page.data.into_iter().map(|record| record.id).collect::<Vec<_>>()
        };
        assert_eq!(list(SessionsQuery::default()).await, [second, first]);
        assert_eq!(list(SessionsQuery { agent_id: Some(one), ..SessionsQuery::default() }).await, [first]);
        let ready = Some(SessionStatus::Ready);
        assert_eq!(list(SessionsQuery { status: ready, ..SessionsQuery::default() }).await, [second]);
        let search = |text: &str| SessionsQuery { search: Some(text.into()), ..SessionsQuery::default() };
        assert_eq!(list(search("STRASS")).await, []);
        assert_eq!(list(search("stra")).await, [second]);
        assert_eq!(list(search(&first.to_string())).await, [first]);
    }
}

#[test]
fn a_preview_is_the_first_line_and_no_longer_than_it_may_be() {
    use super::super::record::preview;
    assert_eq!(preview("\n  first \nsecond"), "first");
    let long = preview(&"ü".repeat(200));
    assert_eq!(long.chars().count(), crate::model::Session::TITLE_PREVIEW_CHARS);
    assert!(long.ends_with('…'));
}
