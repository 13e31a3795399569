//! Opens a database and brings its schema up to date.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlSafeStr, SqlitePool};

use super::error::explain;
use super::sql::{PATIENCE, Pools};
use super::{StoreError, backup};

/// Connections for readers of SQLite: reads are short, and each connection is a thread.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL per server: several servers must fit below its default of 100.
#[cfg(feature = "postgres")]
const POSTGRES_CONNECTIONS: u32 = 10;
/// SQLite's log is cut back to this many bytes after a checkpoint, so that a burst does not keep its space.
const WAL_BYTES: &str = "67108864";

/// A database that has been opened.
pub(super) struct Opened {
    pub(super) pools: Pools,
    /// What it is called in messages for the operator: its file or server.
    pub(super) place: Arc<str>,
    /// Its file, where it is one.
    pub(super) file: Option<PathBuf>,
}

/// Opens the database a URL names, and brings its schema up to date.
pub(super) async fn open(url: &str) -> Result<Opened, StoreError> {
    if url.starts_with("sqlite:") { open_sqlite(url).await } else { open_postgres(url).await }
}

/// The file of a database that is one.
pub(super) fn file_of(url: &str) -> Option<PathBuf> {
    let options = url.starts_with("sqlite:").then(|| SqliteConnectOptions::from_str(url).ok())??;
    Some(options.get_filename().to_owned())
}

async fn open_sqlite(url: &str) -> Result<Opened, StoreError> {
    let invalid = |error: sqlx::Error| StoreError::Invalid(format!("DATABASE_URL: {error}"));
    let options = SqliteConnectOptions::from_str(url)
        .map_err(invalid)?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With WAL a killed process loses nothing that was committed; a power cut may lose the last moments before
        // it, never the file. Reconcile mends what that leaves behind, and no bring-up step waits for the disk.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PATIENCE)
        .pragma("journal_size_limit", WAL_BYTES);
    let path = options.get_filename().to_owned();
    let place: Arc<str> = format!("the database {}", path.display()).into();
    make_private(&path)?;
    let fault = |error: sqlx::Error| StoreError::from(explain(&error, &place));
    let pool = |size: u32| {
        SqlitePoolOptions::new().max_connections(size).acquire_timeout(2 * PATIENCE).after_release(
            |connection, _| {
                Box::pin(async move {
                    // After some faults (a full disk, SQLITE_FULL) SQLite has rolled back by itself, the library's own
                    // rollback then fails, and its connection would count a transaction for ever. Such a one is closed.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            },
        )
    };
    // The writer first: it makes the file and turns WAL on, which needs the file for itself.
    let write = pool(1).min_connections(1).connect_with(options.clone()).await.map_err(fault)?;
    let copy = backup::place(&path, SQLITE.last().map_or(0, |(newest, ..)| *newest));
    copied(&write, &copy, &place).await?;
    let migrated = migrator(SQLITE).run(&write).await;
    migrated.map_err(|error| migration_fault(&error, &place, Some(&copy).filter(|copy| copy.exists())))?;
    backup::forget_old(&path);
    let read = pool(SQLITE_READERS).connect_with(options).await.map_err(fault)?;
    let file = Some(path).filter(|path| path.is_absolute());
    Ok(Opened { pools: Pools::Sqlite { write, read }, place, file })
}

/// Copies the database where its schema is about to change.
async fn copied(write: &SqlitePool, copy: &Path, place: &str) -> Result<(), StoreError> {
    let newest = SQLITE.last().map_or(0, |(version, ..)| *version);
    let due = backup::is_due(write, newest).await.map_err(|error| explain(&error, place))?;
    if !due {
        return Ok(());
    }
    backup::make(write, copy).await.map_err(|error| {
        let cause = StoreError::from(explain(&error, &format!("the copy {}", copy.display())));
        StoreError::Unavailable(format!(
            "{place} is copied before its schema is changed, and cannot be: {cause}"
        ))
    })?;
    tracing::info!(copy = %copy.display(), "the database's schema is changed; this is how it was before");
    Ok(())
}

/// Makes the file for its owner alone before SQLite would make it for everybody; its log takes the same mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(format!(
            "cannot make the database {}: {error}. Make its directory writable, or set LAP_DATA_DIR or DATABASE_URL \
             to another place",
            path.display()
        ))),
    }
}

#[cfg(not(feature = "postgres"))]
async fn open_postgres(_: &str) -> Result<Opened, StoreError> {
    Err(StoreError::Invalid(
        "DATABASE_URL: this program keeps its state in SQLite alone, sqlite:PATH; PostgreSQL is for lap-server".to_owned(),
    ))
}

#[cfg(feature = "postgres")]
async fn open_postgres(url: &str) -> Result<Opened, StoreError> {
    // The parser's own words may carry the URL, and the URL a password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Invalid("DATABASE_URL is no URL of a PostgreSQL database".to_owned()))?
        .application_name("lap");
    let place: Arc<str> = format!(
        "the database {}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or_default()
    )
    .into();
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(2 * PATIENCE)
        .connect_with(options)
        .await
        .map_err(|error| StoreError::from(explain(&error, &place)))?;
    // Servers that start together take turns: the migrator holds an advisory lock.
    let migrated = migrator(POSTGRES).run(&pool).await;
    migrated.map_err(|error| migration_fault(&error, &place, None))?;
    Ok(Opened { pools: Pools::Postgres(pool), place, file: None })
}

/// A schema's migrations: number, name, text. One that has been released is never changed; a new one follows it.
type Migrations = &'static [(i64, &'static str, &'static str)];

const SQLITE: Migrations = &[
    (1, "begin", include_str!("../../migrations/sqlite/0001_begin.sql")),
    (2, "intents", include_str!("../../migrations/sqlite/0002_intents.sql")),
    (3, "deaths", include_str!("../../migrations/sqlite/0003_deaths.sql")),
    (4, "owners", include_str!("../../migrations/sqlite/0004_owners.sql")),
    (5, "erase", include_str!("../../migrations/sqlite/0005_erase.sql")),
    (6, "agents_lists", include_str!("../../migrations/sqlite/0006_agents_lists.sql")),
    (7, "unsaved", include_str!("../../migrations/sqlite/0007_unsaved.sql")),
    (8, "memories", include_str!("../../migrations/sqlite/0008_memories.sql")),
    (9, "skills", include_str!("../../migrations/sqlite/0009_skills.sql")),
    (10, "turns", include_str!("../../migrations/sqlite/0010_turns.sql")),
    (11, "execs_sandbox", include_str!("../../migrations/sqlite/0011_execs_sandbox.sql")),
];
#[cfg(feature = "postgres")]
const POSTGRES: Migrations = &[
    (1, "begin", include_str!("../../migrations/postgres/0001_begin.sql")),
    (2, "intents", include_str!("../../migrations/postgres/0002_intents.sql")),
    (3, "deaths", include_str!("../../migrations/postgres/0003_deaths.sql")),
    (4, "owners", include_str!("../../migrations/postgres/0004_owners.sql")),
    (5, "erase", include_str!("../../migrations/postgres/0005_erase.sql")),
    (6, "agents_lists", include_str!("../../migrations/postgres/0006_agents_lists.sql")),
    (7, "unsaved", include_str!("../../migrations/postgres/0007_unsaved.sql")),
    (8, "memories", include_str!("../../migrations/postgres/0008_memories.sql")),
    (9, "skills", include_str!("../../migrations/postgres/0009_skills.sql")),
    (10, "turns", include_str!("../../migrations/postgres/0010_turns.sql")),
    (11, "execs_sandbox", include_str!("../../migrations/postgres/0011_execs_sandbox.sql")),
];

fn migrator(migrations: Migrations) -> Migrator {
    let all = migrations.iter().map(|(version, name, text)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, text.into_sql_str(), false)
    });
    Migrator::with_migrations(all.collect())
}

/// `copy`: the database as it was before, where there is one.
fn migration_fault(error: &MigrateError, place: &str, copy: Option<&PathBuf>) -> StoreError {
    let before = match copy {
        Some(copy) => format!("its copy {}", copy.display()),
        None => "a backup".to_owned(),
    };
    match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => {
            explain(cause, place).into()
        }
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => StoreError::Unavailable(
            format!("{place} was last used by a newer lap: use that one, or restore a backup from before it"),
        ),
        MigrateError::Dirty(_) => StoreError::Unavailable(format!(
            "a change of the schema of {place} broke off in the middle: put {before} from before in its place, and start again"
        )),
        MigrateError::VersionMismatch(_) => StoreError::Unavailable(format!(
            "{place} was made by another build of lap, whose schema is not this one's: use that build, or another \
             database (LAP_DATA_DIR, DATABASE_URL)"
        )),
        other => StoreError::Unavailable(format!(
            "the schema of {place} is not as it should be ({other}): put {before} from before in its place"
        )),
    }
}
