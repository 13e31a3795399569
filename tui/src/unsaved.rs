//! What a question says before something ends: how much of the work that ends with it is nowhere else.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lap_platform::client::Client;
use lap_platform::model::{SessionId, Unsaved};

/// Sessions counted at a time.
const AT_ONCE: usize = 4;
/// How long a question waits for the count; what is not counted by then is said to be uncounted.
const TIME: Duration = Duration::from_secs(6);

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is kept for a while.
    Kept,
    /// The session goes on in it.
    GoesOn,
    /// It is erased.
    Erased,
}

/// The unsaved work of some sessions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Of all that could be counted.
    pub unsaved: Unsaved,
    /// How many sessions could not be.
    pub uncounted: usize,
    /// When the first of it is erased.
    pub kept_until: Option<Timestamp>,
}

/// Counts the unsaved work of sessions.
pub async fn tally(client: &Client, sessions: &[SessionId]) -> Tally {
    let mut tally = Tally { uncounted: sessions.len(), ..Tally::default() };
    let works = sessions.iter().map(|id| client.session_work(*id)).collect::<Vec<_>>();
    let mut works = stream::iter(works).buffer_unordered(AT_ONCE);
    let counting = async {
        while let Some(work) = works.next().await {
            let Ok(work) = work else { continue };
            if let Some(unsaved) = work.unsaved {
                tally.uncounted -= 1;
                tally.unsaved.files += unsaved.files;
                tally.unsaved.commits += unsaved.commits;
                if unsaved != Unsaved::default() {
                    tally.kept_until = [tally.kept_until, work.kept_until].into_iter().flatten().min();
                }
            }
        }
    };
    // What was counted until then is told.
    let _ = tokio::time::timeout(TIME, counting).await;
    tally
}

impl Tally {
    /// A sentence or two about it.
    #[must_use]
    pub fn words(&self, fate: Fate) -> String {
        let uncounted = match self.uncounted {
            0 => String::new(),
            1 => "what is unsaved in a session could not be counted".to_owned(),
            n => format!("what is unsaved in {n} sessions could not be counted"),
        };
        let Some(amount) = amount(self.unsaved) else {
            return match self.uncounted {
                0 => "No work is unsaved.".to_owned(),
                _ => format!("W{}.", &uncounted[1..]),
            };
        };
        let fate = match (fate, self.kept_until) {
            (Fate::Kept, Some(until)) => {
                format!(", kept until {}", until.to_zoned_datetime(TimeZone::system()).date())
            }
            (Fate::Kept, None) => ", kept".to_owned(),
            (Fate::GoesOn, _) => ". It stays".to_owned(),
            (Fate::Erased, _) => ". It is erased too".to_owned(),
        };
        let uncounted = if uncounted.is_empty() { uncounted } else { format!("; {uncounted}") };
        format!("Unsaved work: {amount}{fate}{uncounted}.")
    }
}

/// An amount of work in words; `None`: there is none.
#[must_use]
pub fn amount(unsaved: Unsaved) -> Option<String> {
    let of = |count: u64, one: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {one}s")),
    };
    match (of(unsaved.files, "file"), of(unsaved.commits, "commit")) {
        (Some(files), Some(commits)) => Some(format!("{files} and {commits}")),
        (files, commits) => files.or(commits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_sentence() {
        let of = |files, commits, uncounted| Tally {
            unsaved: Unsaved { files, commits },
            uncounted,
            kept_until: None,
        };
        for (tally, fate, words) in [
            (of(0, 0, 0), Fate::Kept, "No work is unsaved."),
            (of(1, 0, 0), Fate::Kept, "Unsaved work: 1 file, kept."),
            (of(3, 1, 0), Fate::GoesOn, "Unsaved work: 3 files and 1 commit. It stays."),
            (of(0, 2, 0), Fate::Erased, "Unsaved work: 2 commits. It is erased too."),
            (of(0, 0, 1), Fate::Kept, "What is unsaved in a session could not be counted."),
            (
                of(1, 0, 2),
                Fate::Kept,
                "Unsaved work: 1 file, kept; what is unsaved in 2 sessions could not be counted.",
            ),
        ] {
            assert_eq!(tally.words(fate), words);
        }
    }
}
