//! The two databases behind one face. Statements are written once, in the SQL both understand; what differs is here.
//! PostgreSQL is there with the feature `postgres`.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, Transaction};
#[cfg(feature = "postgres")]
use sqlx::{
    Postgres,
    postgres::{PgArguments, PgPool, PgRow},
};

use super::StoreError;
use super::error::{SqlFault, explain};

/// How long a statement waits for a lock or a connection before it is refused as busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A value given to a statement.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Text(Option<String>),
    Whole(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Truth(bool),
}

macro_rules! arg {
    ($($from:ty => |$value:ident| $into:expr;)*) => {
        $(impl From<$from> for Arg {
            fn from($value: $from) -> Arg {
                $into
            }
        })*
    };
}

arg! {
    &str => |value| Arg::Text(Some(value.to_owned()));
    String => |value| Arg::Text(Some(value));
    Option<String> => |value| Arg::Text(value);
    i64 => |value| Arg::Whole(Some(value));
    u32 => |value| Arg::Whole(Some(i64::from(value)));
    Option<i64> => |value| Arg::Whole(value);
    // Counts and durations: a number beyond 63 bits never comes from anywhere real.
    u64 => |value| Arg::Whole(Some(i64::try_from(value).unwrap_or(i64::MAX)));
    Timestamp => |value| Arg::Whole(Some(value.as_microsecond()));
    Option<Timestamp> => |value| Arg::Whole(value.map(Timestamp::as_microsecond));
    bool => |value| Arg::Truth(value);
    Vec<u8> => |value| Arg::Bytes(Some(value));
    Option<Vec<u8>> => |value| Arg::Bytes(value);
}

/// A statement under way. Its text can only come from the program: what comes from outside is bound, never pasted in.
#[derive(Debug)]
pub(super) struct Sql {
    text: String,
    args: Vec<Arg>,
}

impl Sql {
    pub(super) fn new(text: &'static str) -> Sql {
        Sql { text: text.to_owned(), args: Vec::new() }
    }

    /// More text.
    pub(super) fn push(mut self, text: &'static str) -> Sql {
        self.text.push_str(text);
        self
    }

    /// A value at this place.
    pub(super) fn bind(mut self, value: impl Into<Arg>) -> Sql {
        self.args.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.args.len().to_string());
        self
    }

    /// Values with commas between.
    pub(super) fn bind_all(mut self, values: impl IntoIterator<Item = Arg>) -> Sql {
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.text.push_str(", ");
            }
            self = self.bind(value);
        }
        self
    }
}

/// A transaction, on whichever database it is. Dropped without [`Tx::commit`] it is rolled back.
pub(super) struct Tx {
    inner: Inner,
    place: std::sync::Arc<str>,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Transaction<'static, Postgres>),
}

/// The connections to a database.
#[derive(Clone, Debug)]
pub(super) enum Pools {
    /// SQLite has one writer at a time: one connection for it, whose queue is fair where waiting for a lock is not,
    /// and others for readers, whom a writer never holds up.
    Sqlite { write: SqlitePool, read: SqlitePool },
    #[cfg(feature = "postgres")]
    Postgres(PgPool),
}

impl Pools {
    pub(super) async fn begin_write(&self, place: &std::sync::Arc<str>) -> Result<Tx, StoreError> {
        let begun = match self {
            // Immediate: the lock is taken now, not halfway, where waiting for it could not be retried.
            Pools::Sqlite { write, .. } => write.begin_with("BEGIN IMMEDIATE").await.map(Inner::Sqlite),
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => pool.begin().await.map(Inner::Postgres),
        };
        Tx::new(begun, place)
    }

    pub(super) async fn begin_read(&self, place: &std::sync::Arc<str>) -> Result<Tx, StoreError> {
        let begun = match self {
            Pools::Sqlite { read, .. } => read.begin().await.map(Inner::Sqlite),
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => pool.begin().await.map(Inner::Postgres),
        };
        Tx::new(begun, place)
    }

    pub(super) fn is_shared(&self) -> bool {
        match self {
            Pools::Sqlite { .. } => false,
            #[cfg(feature = "postgres")]
            Pools::Postgres(_) => true,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    fn new(begun: Result<Inner, sqlx::Error>, place: &std::sync::Arc<str>) -> Result<Tx, StoreError> {
        match begun {
            Ok(inner) => Ok(Tx { inner, place: place.clone() }),
            Err(error) => Err(explain(&error, place).into()),
        }
    }

    /// Runs a statement and tells how many rows it has touched.
    pub(super) async fn run(&mut self, sql: Sql) -> Result<u64, SqlFault> {
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => sqlite(sql).execute(&mut **tx).await.map(|done| done.rows_affected()),
            #[cfg(feature = "postgres")]
            Inner::Postgres(tx) => postgres(sql).execute(&mut **tx).await.map(|done| done.rows_affected()),
        };
        done.map_err(|error| explain(&error, &self.place))
    }

    /// The only row of an answer, or none.
    pub(super) async fn row(&mut self, sql: Sql) -> Result<Option<Row>, StoreError> {
        let found = match &mut self.inner {
            Inner::Sqlite(tx) => sqlite(sql).fetch_optional(&mut **tx).await.map(|row| row.map(Row::Sqlite)),
            #[cfg(feature = "postgres")]
            Inner::Postgres(tx) => {
                postgres(sql).fetch_optional(&mut **tx).await.map(|row| row.map(Row::Postgres))
            }
        };
        found.map_err(|error| explain(&error, &self.place).into())
    }

    /// All rows of an answer. Statements without a bound of their own carry a `LIMIT`.
    pub(super) async fn rows(&mut self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        let found = match &mut self.inner {
            Inner::Sqlite(tx) => {
                sqlite(sql).fetch_all(&mut **tx).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            #[cfg(feature = "postgres")]
            Inner::Postgres(tx) => postgres(sql)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        };
        found.map_err(|error| explain(&error, &self.place).into())
    }

    /// The clause that keeps rows from changing between reading and writing them. SQLite's writer is alone anyway.
    pub(super) fn for_update(&self) -> &'static str {
        match self.inner {
            Inner::Sqlite(_) => "",
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => " FOR UPDATE",
        }
    }

    /// The database's own time, as a term: microseconds since 1970.
    pub(super) fn clock(&self) -> &'static str {
        match self.inner {
            Inner::Sqlite(_) => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }

    /// The rows of `memories` that are one agent's and have all of these words, each at the beginning of one of theirs: a
    /// statement up to the end of its condition. Words are letters and digits alone, in lower case.
    pub(super) fn memories_by_words(&self, select: &'static str, agent: &str, words: &[String]) -> Sql {
        match self.inner {
            Inner::Sqlite(_) => {
                let all = words.iter().map(|word| format!("\"{word}\" *")).collect::<Vec<_>>().join(" AND ");
                // The agent's own word: see the migration that makes the index.
                let found = format!("agent : {} AND words : ({all})", agent.replace('-', ""));
                Sql::new(select)
                    .push(" FROM memory_words JOIN memories ON memories.seq = memory_words.rowid WHERE memory_words MATCH ")
                    .bind(found)
            }
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => {
                let all = words.iter().map(|word| format!("{word}:*")).collect::<Vec<_>>().join(" & ");
                Sql::new(select)
                    .push(" FROM memories, to_tsquery('simple', ")
                    .bind(all)
                    .push(") AS wanted WHERE found_by @@ wanted AND agent_id = ")
                    .bind(agent)
            }
        }
    }

    /// The order of [`Tx::memories_by_words`], best first.
    pub(super) fn best_words_first(&self) -> &'static str {
        match self.inner {
            Inner::Sqlite(_) => " ORDER BY bm25(memory_words, 0.0, 1.0), created_at DESC, id DESC",
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => " ORDER BY ts_rank(found_by, wanted, 2) DESC, created_at DESC, id DESC",
        }
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let done = match self.inner {
            Inner::Sqlite(tx) => tx.commit().await,
            #[cfg(feature = "postgres")]
            Inner::Postgres(tx) => tx.commit().await,
        };
        done.map_err(|error| explain(&error, &self.place).into())
    }
}

// The text of an `Sql` is put together from the program's own literals and `$n` alone.
fn sqlite(sql: Sql) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    sql.args.into_iter().fold(sqlx::query(AssertSqlSafe(sql.text)), |query, arg| match arg {
        Arg::Text(value) => query.bind(value),
        Arg::Whole(value) => query.bind(value),
        Arg::Bytes(value) => query.bind(value),
        Arg::Truth(value) => query.bind(value),
    })
}

#[cfg(feature = "postgres")]
fn postgres(sql: Sql) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    sql.args.into_iter().fold(sqlx::query(AssertSqlSafe(sql.text)), |query, arg| match arg {
        Arg::Text(value) => query.bind(value),
        Arg::Whole(value) => query.bind(value),
        Arg::Bytes(value) => query.bind(value),
        Arg::Truth(value) => query.bind(value),
    })
}

/// A row of an answer. Columns are read by name; one that is missing or of another type is the program's mistake.
pub(super) enum Row {
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
}

macro_rules! read {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)*) => {
        $($(#[$doc])* pub(super) fn $name(&self, column: &str) -> Result<$type, StoreError> {
            match self {
                Row::Sqlite(row) => row.try_get(column),
                #[cfg(feature = "postgres")]
                Row::Postgres(row) => row.try_get(column),
            }
            .map_err(StoreError::internal)
        })*
    };
}

impl Row {
    read! {
        text -> String;
        maybe_text -> Option<String>;
        whole -> i64;
        maybe_whole -> Option<i64>;
        bytes -> Vec<u8>;
        maybe_bytes -> Option<Vec<u8>>;
        truth -> bool;
    }

    /// A number that cannot be negative.
    pub(super) fn count(&self, column: &str) -> Result<u64, StoreError> {
        u64::try_from(self.whole(column)?).map_err(StoreError::internal)
    }

    /// A point in time.
    pub(super) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        Timestamp::from_microsecond(self.whole(column)?).map_err(StoreError::internal)
    }

    /// A point in time, where there is one.
    pub(super) fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        self.maybe_whole(column)?.map(Timestamp::from_microsecond).transpose().map_err(StoreError::internal)
    }

    /// A value kept as JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(StoreError::internal)
    }

    /// An id or a word of an enumeration.
    pub(super) fn word<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        from_word(&self.text(column)?)
    }
}

/// A value as JSON.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::internal)
}

/// The word an enumeration's value has in the API.
pub(super) fn to_word<T: serde::Serialize>(value: T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        Ok(other) => Err(StoreError::Internal(format!("{other} is no word"))),
        Err(error) => Err(StoreError::internal(error)),
    }
}

/// The value of a word: the reverse of [`to_word`].
pub(super) fn from_word<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(StoreError::internal)
}
