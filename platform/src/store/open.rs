//! Opens a database and brings its schema up to date.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlSafeStr};

use super::StoreError;
use super::error::explain;
use super::sql::{PATIENCE, Pools};

/// Connections for readers of SQLite: reads are short, and each connection is a thread.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL per server: several servers must fit below its default of 100.
#[cfg(feature = "postgres")]
const POSTGRES_CONNECTIONS: u32 = 10;
/// SQLite's log is cut back to this many bytes after a checkpoint, so that a burst does not keep its space.
const WAL_BYTES: &str = "67108864";

/// Opens the database a URL names, and brings its schema up to date.
pub(super) async fn open(url: &str) -> Result<(Pools, Arc<str>), StoreError> {
    if url.starts_with("sqlite:") { open_sqlite(url).await } else { open_postgres(url).await }
}

async fn open_sqlite(url: &str) -> Result<(Pools, Arc<str>), StoreError> {
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
    let place: Arc<str> = path.display().to_string().into();
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
    let migrated = migrator(SQLITE).run(&write).await;
    migrated.map_err(|error| migration_fault(&error, &place))?;
    let read = pool(SQLITE_READERS).connect_with(options).await.map_err(fault)?;
    Ok((Pools::Sqlite { write, read }, place))
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
async fn open_postgres(_: &str) -> Result<(Pools, Arc<str>), StoreError> {
    Err(StoreError::Invalid(
        "DATABASE_URL: this program keeps its state in SQLite alone, sqlite:PATH; PostgreSQL is for lap-server".to_owned(),
    ))
}

#[cfg(feature = "postgres")]
async fn open_postgres(url: &str) -> Result<(Pools, Arc<str>), StoreError> {
    // The parser's own words may carry the URL, and the URL a password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Invalid("DATABASE_URL is no URL of a PostgreSQL database".to_owned()))?
        .application_name("lap");
    let place: Arc<str> = format!(
        "{}:{}/{}",
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
    migrated.map_err(|error| migration_fault(&error, &place))?;
    Ok((Pools::Postgres(pool), place))
}

/// A schema's migrations: number, name, text. One that has been released is never changed; a new one follows it.
type Migrations = &'static [(i64, &'static str, &'static str)];

const SQLITE: Migrations = &[
    (1, "begin", include_str!("../../migrations/sqlite/0001_begin.sql")),
    (2, "intents", include_str!("../../migrations/sqlite/0002_intents.sql")),
];
#[cfg(feature = "postgres")]
const POSTGRES: Migrations = &[
    (1, "begin", include_str!("../../migrations/postgres/0001_begin.sql")),
    (2, "intents", include_str!("../../migrations/postgres/0002_intents.sql")),
];

fn migrator(migrations: Migrations) -> Migrator {
    let all = migrations.iter().map(|(version, name, text)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, text.into_sql_str(), false)
    });
    Migrator::with_migrations(all.collect())
}

fn migration_fault(error: &MigrateError, place: &str) -> StoreError {
    match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => {
            explain(cause, place).into()
        }
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
            StoreError::Unavailable(format!(
                "the database {place} was last used by a newer lap: use that one, or restore a backup from before it"
            ))
        }
        other => StoreError::Unavailable(format!(
            "the schema of the database {place} is not as it should be: {other}"
        )),
    }
}
