//! Why the database could not do it, in words that are safe to show.

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing. The user's: names what was not found.
    #[error("there is no {0}")]
    NotFound(String),
    /// It cannot be as long as something else is as it is. The user's.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for makes no sense. The user's.
    #[error("{0}")]
    Invalid(String),
    /// Not now: the disk is full. Says what to do; safe to show.
    #[error("{0}")]
    Full(String),
    /// Not now: the disk is read-only, the database locked or away. Says what to do; safe to show.
    #[error("{0}")]
    Unavailable(String),
    /// The operator's: for the log, never for an answer.
    #[error("store: {0}")]
    Internal(String),
}

impl StoreError {
    pub(super) fn internal(error: impl std::fmt::Display) -> StoreError {
        StoreError::Internal(error.to_string())
    }
}

/// What went wrong in terms of SQL, for those who can tell what it means.
pub(super) enum SqlFault {
    /// A unique index would have had a value twice.
    Unique,
    /// Anything else.
    Other(StoreError),
}

impl From<SqlFault> for StoreError {
    fn from(fault: SqlFault) -> StoreError {
        match fault {
            SqlFault::Unique => {
                StoreError::Internal("a unique index would have had a value twice".to_owned())
            }
            SqlFault::Other(error) => error,
        }
    }
}

/// Says what a database's error means and what to do about it. `place` names the database in a sentence.
pub(super) fn explain(error: &sqlx::Error, place: &str) -> SqlFault {
    let unavailable = |what: String| SqlFault::Other(StoreError::Unavailable(what));
    let full = |what: String| SqlFault::Other(StoreError::Full(what));
    match error {
        sqlx::Error::Database(inner) if inner.is_unique_violation() => SqlFault::Unique,
        sqlx::Error::Database(inner) => {
            let code = inner.code().unwrap_or_default();
            match known(&code, place) {
                Some(sentence) if is_full(&code) => full(sentence),
                Some(sentence) => unavailable(sentence),
                None => SqlFault::Other(StoreError::Internal(format!("{place}: {inner} (code {code})"))),
            }
        }
        sqlx::Error::PoolTimedOut => {
            unavailable(format!("{place} is busy: try again, and if it stays so, look for what holds it"))
        }
        sqlx::Error::Io(cause) => unavailable(format!("{place} cannot be reached: {cause}")),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            unavailable("the server is stopping: try again in a moment".to_owned())
        }
        other => SqlFault::Other(StoreError::Internal(format!("{place}: {other}"))),
    }
}

/// Whether that is a full disk. 4874: the index of SQLite's log, in shared memory on that disk, could not grow
/// (`SQLITE_IOERR_SHMSIZE`).
fn is_full(code: &str) -> bool {
    code == "53100"
        || code == "4874"
        || code.parse().is_ok_and(|number: u32| number & 0xff == 13 && number < 10_000)
}

/// The conditions a person can do something about. SQLite's codes are numbers (their low byte is the condition, see
/// sqlite.org/rescode.html), PostgreSQL's are five characters (its manual, appendix A).
fn known(code: &str, place: &str) -> Option<String> {
    if let Ok(number) = code.parse::<u32>()
        && code.len() != 5
    {
        return match number & 0xff {
            _ if is_full(code) => {
                Some(format!("the disk under {place} is full: free some space, then try again"))
            }
            5 | 6 => Some(format!("{place} is locked by another program: end that one, then try again")),
            8 => Some(format!("{place} is read-only: make it and its directory writable for lap")),
            10 => Some(format!("the disk under {place} gives errors: check it, and the space left on it")),
            11 | 26 => Some(format!("{place} is damaged, or not one of lap's: restore it from a backup")),
            14 => Some(format!("{place} cannot be opened: its directory must exist and be writable for lap")),
            _ => None,
        };
    }
    match code {
        "53100" => Some(format!("the disk of {place} is full: free some space, then try again")),
        "25006" => Some(format!("{place} is read-only: connect to its primary")),
        "53300" => Some(format!("{place} has no connection left: raise its max_connections")),
        "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" => {
            Some(format!("{place} was busy or restarting: try again"))
        }
        "28000" | "28P01" => Some(format!("{place} refuses the login: check DATABASE_URL")),
        "3D000" => Some(format!("{place} is not there: create it, or correct DATABASE_URL")),
        _ => None,
    }
}
