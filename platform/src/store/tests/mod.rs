//! One suite for both databases. SQLite runs always; PostgreSQL by `tests/postgres`, which starts a
//! server for it; `LAP_TEST_POSTGRES` is the URL of one where databases may be made.

mod agents;
mod changes;
mod idempotency;
mod memories;
mod owners;
mod paging;
mod sessions;
mod skills;
mod trouble;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::*;
use crate::config::Environment;
use crate::model::{Agent, AgentId, CreateSession, McpServer, ResourceAmounts, Resources, SessionId};
use crate::secret::SecretKey;

/// Writes each test once and runs it on every database.
macro_rules! on_every_database {
    ($(async fn $name:ident($bench:ident) $body:block)*) => {
        mod bodies {
            use super::*;
            $(pub(super) async fn $name($bench: Bench) $body)*
        }
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                bodies::$name(Bench::sqlite().await).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "run by tests/postgres, which starts a server"]
            async fn $name() {
                bodies::$name(Bench::postgres().await).await;
            })*
        }
    };
}
use on_every_database;

pub(super) const KEY: &str = "a key for tests, 32 characters..";

/// A store on an empty database, with a clock that stands still until it is moved.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) url: String,
    seconds: Arc<AtomicI64>,
    folder: Option<tempfile::TempDir>,
}

pub(super) fn secrets(key: &str) -> SecretBox {
    SecretBox::new(&SecretKey::from_text(key).unwrap())
}

impl Bench {
    pub(super) async fn sqlite() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("lap.db").display());
        Bench::on(url, Some(folder)).await
    }

    pub(super) async fn postgres() -> Bench {
        let environment = Environment::of_process();
        let server =
            environment.get("LAP_TEST_POSTGRES").expect("LAP_TEST_POSTGRES names a PostgreSQL server");
        let name = format!("lap_test_{}", uuid::Uuid::new_v4().simple());
        let pool = sqlx::PgPool::connect(server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
        let mut url = reqwest::Url::parse(server).unwrap();
        url.set_path(&name);
        Bench::on(url.to_string(), None).await
    }

    async fn on(url: String, folder: Option<tempfile::TempDir>) -> Bench {
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        let store = Store::open_with_clock(&url, secrets(KEY), clock(&seconds)).await.unwrap();
        Bench { store, url, seconds, folder }
    }

    /// Another server on the same database.
    pub(super) async fn another(&self) -> Store {
        Store::open_with_clock(&self.url, secrets(KEY), clock(&self.seconds)).await.unwrap()
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::SeqCst)).unwrap()
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().unwrap().path()
    }

    pub(super) async fn agent(&self, name: &str) -> AgentId {
        self.store.agents().create(agent(name)).await.unwrap().agent.id
    }

    pub(super) async fn session(&self, agent: AgentId) -> SessionId {
        self.store.sessions().create(new_session(agent)).await.unwrap().id
    }

    /// All changes there are, as the feed tells them.
    pub(super) async fn feed(&self) -> Vec<ChangeEntry> {
        match self.store.changes().after(0, u32::MAX).await.unwrap() {
            After::Changes(changes) => changes,
            After::TooOld { .. } => panic!("the feed has lost its beginning"),
        }
    }
}

fn clock(seconds: &Arc<AtomicI64>) -> Clock {
    let seconds = seconds.clone();
    Arc::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap())
}

/// An agent with something in every field.
pub(super) fn agent(name: &str) -> Agent {
    Agent {
        id: AgentId::new(),
        name: name.to_owned(),
        model: "claude-opus".to_owned(),
        prompt: Some("Überprüfe alles.\n二".to_owned()),
        harness_id: "shell".to_owned(),
        harness_image: Some("registry/image:1".to_owned()),
        repo_url: Some("https://example.com/repo.git".to_owned()),
        branch: Some("main".to_owned()),
        requirements: Some("requests==2".to_owned()),
        mcp_servers: vec![
            McpServer::Named("search".to_owned()),
            McpServer::Http {
                name: "docs".to_owned(),
                url: "https://mcp.example.com".to_owned(),
                headers: BTreeMap::from([(
                    "Authorization".to_owned(),
                    "Bearer header-secret-0123456789".to_owned(),
                )]),
            },
        ],
        env_vars: BTreeMap::from([("TOKEN".to_owned(), "ghp_agent-secret-0123456789".to_owned())]),
        env_var_hosts: BTreeMap::from([("TOKEN".to_owned(), vec!["api.github.com".to_owned()])]),
        allow_out: vec!["*.github.com".to_owned()],
        deny_out: vec!["10.0.0.0/8".to_owned()],
        attached_skill_ids: vec![],
        preload_memory_limit: 10,
        resources: Resources {
            requests: ResourceAmounts { cpu: Some("500m".to_owned()), ..ResourceAmounts::default() },
            ..Resources::default()
        },
        idle_timeout_seconds: 86_400,
        max_sessions: Some(8),
        supports_tui: true,
        config_generation: 0,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

pub(super) fn new_session(agent_id: AgentId) -> NewSession {
    NewSession {
        id: SessionId::new(),
        agent_id,
        origin: "api".to_owned(),
        unconfined: true,
        request: CreateSession {
            initial_prompt: Some("session-prompt-secret: fix the build".to_owned()),
            env_vars: BTreeMap::from([("KEY".to_owned(), "sk-session-secret-0123456789".to_owned())]),
            ..CreateSession::default()
        },
        max_live: 1000,
        adopted: None,
    }
}
