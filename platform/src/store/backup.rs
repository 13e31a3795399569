//! A copy of a database that is a file, made before its schema is changed: whoever meets a fault of the new version, or
//! wants the old one back, has what there was.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, SqlitePool};

/// The copy's place for a schema that is about to become this version.
pub(super) fn place(database: &Path, version: i64) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".before-{version:04}"));
    name.into()
}

/// Whether the database holds something, under an older schema than this.
pub(super) async fn is_due(pool: &SqlitePool, newest: i64) -> Result<bool, sqlx::Error> {
    let migrated = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";
    if sqlx::query_scalar::<_, i64>(migrated).fetch_one(pool).await? == 0 {
        return Ok(false);
    }
    let applied: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await?;
    Ok(applied.is_some_and(|applied| applied < newest))
}

/// Copies the whole database there, for its owner alone. One that is there already is kept: it was made before a change
/// that broke off.
pub(super) async fn make(pool: &SqlitePool, copy: &Path) -> Result<(), sqlx::Error> {
    if fs::metadata(copy).is_ok_and(|about| about.len() > 0) {
        return Ok(());
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(copy)?;
    // Whole at its name or not at all. SQLite's own words take no parameter for a file's name.
    let quoted = copy.display().to_string().replace('\'', "''");
    let made = sqlx::query(AssertSqlSafe(format!("VACUUM INTO '{quoted}'"))).execute(pool).await;
    if made.is_err() {
        // A part of a copy would be taken for one.
        fs::remove_file(copy)?;
    }
    made.map(drop)
}
