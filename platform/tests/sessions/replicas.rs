//! Two servers on one PostgreSQL: what one is asked for a session that the other works on is done at once.

use std::time::Duration;

use lap_platform::model::{CreateSession, SessionStatus};
use lap_platform::secret::{SecretBox, SecretKey};
use lap_platform::session::Sessions;
use lap_platform::store::Store;
use sqlx::AssertSqlSafe;

use crate::support::{DEADLINE, World, reaches};

/// An empty database of its own.
async fn database() -> String {
    let server = std::env::var("LAP_TEST_POSTGRES").expect("LAP_TEST_POSTGRES names a PostgreSQL server");
    let name = format!("lap_test_{}", uuid::Uuid::new_v4().simple());
    let pool = sqlx::PgPool::connect(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    let (before, after) = server.split_once("/postgres").unwrap();
    format!("{before}/{name}{after}")
}

async fn open(url: &str) -> Store {
    let key = SecretKey::from_text("a key for tests, of no use elsewhere").unwrap();
    Store::open(url, SecretBox::new(&key)).await.unwrap()
}

#[tokio::test]
#[ignore = "run by tests/postgres, which starts a server"]
async fn on_postgres_a_session_is_ended_by_the_server_that_works_on_it_whichever_is_asked() {
    let world = World::new().await;
    world.sessions.shutdown().await;
    let url = database().await;
    let start = async |store: &Store| -> Sessions {
        let mut options = world.data.options();
        options.alone = false;
        // Nothing but what the database tells is quick enough for this test.
        options.settings.defaults.reconcile_interval = DEADLINE * 10;
        options.settings.defaults.lease = DEADLINE * 10;
        options.start(store.clone(), world.runtime.clone()).await.unwrap()
    };
    let (here, there) = (open(&url).await, open(&url).await);
    let (first, second) = (start(&here).await, start(&there).await);
    let agent = here.agents().create(crate::support::agent()).await.unwrap().agent;
    let sessions = [
        first.create(agent.id, CreateSession::default(), "api").await.unwrap(),
        second.create(agent.id, CreateSession::default(), "api").await.unwrap(),
    ];
    for session in &sessions {
        reaches(&first, &here, session.id, SessionStatus::Ready).await;
    }
    // Each is stopped at the other.
    let stopped = tokio::time::timeout(
        Duration::from_secs(60),
        futures_util::future::try_join(second.stop(sessions[0].id), first.stop(sessions[1].id)),
    )
    .await
    .expect("at once, and not at the next look")
    .unwrap();
    assert_eq!((stopped.0.status, stopped.1.status), (SessionStatus::Dead, SessionStatus::Dead));
    for session in &sessions {
        let sandbox = session_sandbox(&here, session.id).await;
        crate::support::soon("its sandbox to go", async {
            while world.runtime.inspect(&sandbox).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    first.shutdown().await;
    second.shutdown().await;
}

async fn session_sandbox(
    store: &Store,
    id: lap_platform::model::SessionId,
) -> lap_platform::sandbox::SandboxName {
    store.sessions().get(id).await.unwrap().sandbox.unwrap()
}
