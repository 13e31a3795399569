//! Databases that are full, foreign, too new or in use.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use sqlx::AssertSqlSafe;

use super::super::sql::Pools;
use super::*;

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(sentence) | StoreError::Full(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_secret_is_in_the_files_bytes() {
    let bench = Bench::sqlite().await;
    let id = bench.agent("an agent's own name").await;
    bench.session(id).await;
    let requests = bench.store.idempotency();
    requests.begin(OwnerId::new(), "r", "k", b"request-body-secret-0123456789").await.unwrap();
    let answer = StoredAnswer { status: 201, body: b"answer-secret-0123456789".to_vec() };
    requests.finish("r", "k", &answer).await.unwrap();
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(bench.folder()).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let found = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(found("an agent's own name"), "the bytes looked at are those written");
    for secret in
        ["agent-secret", "header-secret", "sk-session-secret", "request-body-secret", "answer-secret"]
    {
        assert!(!found(secret), "{secret} is in the file");
    }
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::sqlite().await;
    bench.agent("one").await;
    for entry in std::fs::read_dir(bench.folder()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn another_key_is_told_at_start() {
    let bench = Bench::sqlite().await;
    let sentence = unavailable(Store::open(&bench.url, secrets("another key for tests, 32 chars.")).await);
    assert!(sentence.contains("ENCRYPTION_KEY"), "{sentence}");
}

on_every_database! {
    async fn opening_again_changes_nothing(bench) {
        let id = bench.agent("one").await;
        let again = bench.another().await;
        assert_eq!(again.agents().get(id).await.unwrap(), bench.store.agents().get(id).await.unwrap());
        again.check().await.unwrap();
    }

    async fn a_database_of_a_newer_version_is_left_alone(bench) {
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'of a later day', TRUE, 'x', 0)";
        let newer_pg = newer.replace("'x'", "'x'::bytea");
        match &bench.store.inner.pools {
            Pools::Sqlite { write, .. } => drop(sqlx::query(newer).execute(write).await.unwrap()),
            Pools::Postgres(pool) => drop(sqlx::query(AssertSqlSafe(newer_pg)).execute(pool).await.unwrap()),
        }
        let sentence = unavailable(Store::open(&bench.url, secrets(KEY)).await);
        assert!(sentence.contains("newer lap"), "{sentence}");
    }

    async fn a_closed_store_says_so(bench) {
        bench.store.close().await;
        unavailable(bench.store.check().await);
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_lost() {
    let bench = Bench::sqlite().await;
    let id = bench.agent("one").await;
    let Pools::Sqlite { write, .. } = &bench.store.inner.pools else { unreachable!() };
    // As far as SQLite is concerned the file cannot grow: the same condition, met at the same place.
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(write).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(write).await.unwrap();
    let large = Agent { prompt: Some("x".repeat(200_000)), ..agent("two") };
    let sentence = unavailable(bench.store.agents().create(large.clone()).await);
    assert!(sentence.contains("full") && sentence.contains("free some space"), "{sentence}");
    assert_eq!(bench.feed().await.len(), 1, "what was not done is not told");
    // The connection that met it is replaced, and the file may grow again.
    bench.store.agents().create(large).await.unwrap();
    assert_eq!(bench.store.agents().get(id).await.unwrap().agent.name, "one");
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_said() {
    let bench = Bench::sqlite().await;
    bench.agent("one").await;
    let Pools::Sqlite { write, .. } = &bench.store.inner.pools else { unreachable!() };
    // The condition of a file on a read-only disk.
    sqlx::query("PRAGMA query_only = 1").execute(write).await.unwrap();
    let sentence = unavailable(bench.store.check().await);
    assert!(sentence.contains("read-only") && sentence.contains("writable"), "{sentence}");
}

#[tokio::test]
async fn what_is_said_in_service_names_no_path() {
    let bench = Bench::sqlite().await;
    let Pools::Sqlite { write, .. } = &bench.store.inner.pools else { unreachable!() };
    sqlx::query("PRAGMA query_only = 1").execute(write).await.unwrap();
    let sentence = unavailable(bench.store.check().await);
    assert!(
        sentence.starts_with("the server's database is read-only") && !sentence.contains('/'),
        "{sentence}"
    );
}

/// Makes the database what one of an earlier version is: the last change of its schema is yet to come.
async fn before_the_last_change(bench: &Bench) {
    let Pools::Sqlite { write, .. } = &bench.store.inner.pools else { unreachable!() };
    let last = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::query(last).execute(write).await.unwrap();
}

fn copies(bench: &Bench) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(bench.folder()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().contains(".before-")).collect()
}

#[tokio::test]
async fn a_database_is_copied_before_its_schema_is_changed() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::sqlite().await;
    let id = bench.agent("one").await;
    drop(bench.another().await);
    assert!(copies(&bench).is_empty(), "one that is up to date is not copied");
    before_the_last_change(&bench).await;
    // What that change would do is done already: the opening fails in the middle, and the copy is there.
    assert!(Store::open(&bench.url, secrets(KEY)).await.is_err());
    let copies = copies(&bench);
    let [copy] = copies.as_slice() else { panic!("{copies:?}") };
    assert_eq!(std::fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(copy).unwrap();
    assert!(Store::open(&bench.url, secrets(KEY)).await.is_err());
    assert_eq!(std::fs::read(copy).unwrap(), bytes, "the copy from before the first attempt is kept");
    let name: String = {
        let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", copy.display())).await.unwrap();
        let found = sqlx::query_scalar("SELECT name FROM agents WHERE id = ?").bind(id.to_string());
        found.fetch_one(&pool).await.unwrap()
    };
    assert_eq!(name, "one");
}

#[tokio::test]
async fn a_change_of_the_schema_that_broke_off_is_told_with_what_to_do() {
    let bench = Bench::sqlite().await;
    let Pools::Sqlite { write, .. } = &bench.store.inner.pools else { unreachable!() };
    for (change, says) in [
        ("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 7", "broke off"),
        ("UPDATE _sqlx_migrations SET success = TRUE, checksum = x'00'", "another build of lap"),
    ] {
        sqlx::query(change).execute(write).await.unwrap();
        let sentence = unavailable(Store::open(&bench.url, secrets(KEY)).await);
        assert!(sentence.contains(says) && !sentence.contains("_sqlx"), "{sentence}");
    }
}

#[tokio::test]
async fn a_place_where_nothing_can_be_made_is_said() {
    let sentence = unavailable(Store::open("sqlite:/proc/lap.db", secrets(KEY)).await);
    assert!(sentence.contains("/proc/lap.db") && sentence.contains("LAP_DATA_DIR"), "{sentence}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lap.db");
    let letter = "Dear diary, ".repeat(1000);
    std::fs::write(&path, &letter).unwrap();
    let sentence = unavailable(Store::open(&format!("sqlite:{}", path.display()), secrets(KEY)).await);
    assert!(sentence.contains("not one of lap's"), "{sentence}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
}

#[tokio::test]
async fn a_url_with_a_password_never_shows_it() {
    for url in ["postgres://lap:pass-secret@127.0.0.1:1/lap", "postgres://lap:pass-secret@[bad/lap"] {
        let error = Store::open(url, secrets(KEY)).await.unwrap_err().to_string();
        assert!(!error.contains("pass-secret"), "{error}");
    }
}

#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    const ENOUGH: usize = 25;
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::trouble::writer_that_is_killed", "--ignored", "--nocapture"])
        .env("LAP_DATA_DIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let committed: Vec<String> =
        lines.filter_map(|line| Some(line.split_once("committed ")?.1.to_owned())).take(ENOUGH).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(committed.len(), ENOUGH);
    let url = format!("sqlite:{}", folder.path().join("lap.db").display());
    let store = Store::open(&url, secrets(KEY)).await.unwrap();
    for name in &committed {
        assert!(store.agents().by_name(name).await.unwrap().is_some(), "{name} is lost");
    }
    let total = store.agents().list(&AgentsQuery::default()).await.unwrap().total;
    assert_eq!(store.changes().latest().await.unwrap(), total, "rows and feed agree");
}

#[tokio::test]
#[ignore = "the other process of what_was_committed_survives_a_kill"]
async fn writer_that_is_killed() {
    let environment = Environment::of_process();
    let Some(folder) = environment.get("LAP_DATA_DIR") else { return };
    let store = Store::open(&format!("sqlite:{folder}/lap.db"), secrets(KEY)).await.unwrap();
    for n in 0..100_000 {
        let name = format!("agent-{n}");
        store.agents().create(agent(&name)).await.unwrap();
        println!("\ncommitted {name}");
    }
}
