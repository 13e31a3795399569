//! A copy of a database that is a file, made before its schema is changed: whoever meets a fault of the new version, or
//! wants the old one back, has what there was.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, SqlitePool};

/// Copies that are kept, the newest: each is as large as the database was.
const KEPT: usize = 3;

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

/// Removes the copies that later ones have made of no use. Only after the schema was changed well.
pub(super) fn forget_old(database: &Path) {
    let (Some(folder), Some(name)) = (database.parent(), database.file_name().and_then(|name| name.to_str()))
    else {
        return;
    };
    let beginning = format!("{name}.before-");
    let version = |path: &Path| path.file_name()?.to_str()?.strip_prefix(&beginning)?.parse::<i64>().ok();
    let Ok(entries) = fs::read_dir(folder) else { return };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut copies: Vec<(i64, PathBuf)> = paths.filter_map(|path| Some((version(&path)?, path))).collect();
    copies.sort();
    let old = copies.len().saturating_sub(KEPT);
    for (_, copy) in copies.into_iter().take(old) {
        match fs::remove_file(&copy) {
            Ok(()) => tracing::info!(copy = %copy.display(), "an old copy of the database is removed"),
            Err(error) => {
                tracing::warn!(copy = %copy.display(), %error, "an old copy of the database cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_copies_stay_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let database = at("lap.db");
        let others = ["lap.db", "lap.db-wal", "lap.db.before-mine", "other.db.before-0001"];
        for version in [2, 3, 9, 10, 11] {
            fs::write(place(&database, version), "copy").unwrap();
        }
        others.iter().for_each(|name| fs::write(at(name), "").unwrap());
        forget_old(&database);
        let left = |version| place(&database, version).exists();
        assert_eq!([2, 3, 9, 10, 11].map(left), [false, false, true, true, true]);
        assert!(others.iter().all(|name| at(name).exists()));
        // One whose folder is not there is nobody's trouble.
        forget_old(&at("gone").join("lap.db"));
    }
}
