//! When something on the screen changes by time alone. Nothing else wakes an idle dashboard.

use jiff::{SignedDuration, Timestamp};

use crate::dashboard::model::{Link, Model, Screen, Tab};

/// A request that takes longer is shown: what is done by then needs no words.
pub const SLOW: SignedDuration = SignedDuration::from_secs(1);

/// How old something is, for people: `<1m`, `12m`, `3h`, `9d`.
#[must_use]
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(since).as_mins().max(0);
    match (minutes, minutes / 60) {
        (0, _) => String::from("<1m"),
        (m, 0) => format!("{m}m"),
        (_, h @ 1..=47) => format!("{h}h"),
        (_, h) => format!("{}d", h / 24),
    }
}

/// When [`age`] says something else.
fn age_changes(since: Timestamp, now: Timestamp) -> Timestamp {
    let minutes = now.duration_since(since).as_mins().max(0);
    let next = match (minutes, minutes / 60) {
        (m, 0) => m + 1,
        (_, h @ 1..=46) => (h + 1) * 60,
        (_, h) => (h / 24 + 1) * 24 * 60,
    };
    since.saturating_add(SignedDuration::from_mins(next)).unwrap_or(Timestamp::MAX)
}

/// How long until something happens, for people, and when that text changes: every 5 s, at the end every second.
#[must_use]
pub fn countdown(until: Timestamp, now: Timestamp) -> (String, Option<Timestamp>) {
    let left = until.duration_since(now).as_millis();
    let Ok(seconds @ 1..) = i64::try_from((left + 999) / 1000) else {
        return (String::from("now"), None);
    };
    let shown = if seconds > 5 { (seconds + 4) / 5 * 5 } else { seconds };
    let next = if shown > 5 { shown - 5 } else { shown - 1 };
    let changes = until.saturating_sub(SignedDuration::from_secs(next)).unwrap_or(Timestamp::MAX);
    (format!("in {shown} s"), Some(changes))
}

/// The next time at which the screen is to be drawn again although nothing happens. `rows` is how many rows of the
/// list are on the screen.
#[must_use]
pub fn next_wake(model: &Model, rows: usize) -> Option<Timestamp> {
    let toasts = model.toasts.next_end();
    let link = match &model.link {
        Link::Lost { retry_at, .. } => countdown(*retry_at, model.now).1,
        Link::Connecting | Link::Connected => None,
    };
    let tasks = model.tasks.iter().map(|task| {
        let seconds = model.now.duration_since(task.since).as_secs().max(0) + 1;
        task.since.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    });
    let ages = ages(model, rows).map(whole_minute);
    toasts.into_iter().chain(model.reading.due()).chain(link).chain(tasks).chain(ages).min()
}

/// The next whole minute from there. Ages are brought up to date all together, once a minute at most, rather than each
/// row's in its own second.
fn whole_minute(due: Timestamp) -> Timestamp {
    const MINUTE: i64 = 60;
    let second = due.as_second() + i64::from(due.subsec_nanosecond() > 0);
    let minutes = second.div_euclid(MINUTE) + i64::from(second.rem_euclid(MINUTE) > 0);
    Timestamp::from_second(minutes * MINUTE).unwrap_or(Timestamp::MAX)
}

fn ages(model: &Model, rows: usize) -> Option<Timestamp> {
    if model.screen != Screen::Lists {
        return None;
    }
    let changes = |since| age_changes(since, model.now);
    match model.tab {
        Tab::Agents => {
            let shown = model.agent_list.order.iter().skip(model.agent_list.top).take(rows);
            shown.filter_map(|id| model.agents.get(id)).map(|row| changes(row.agent.created_at)).min()
        }
        Tab::Sessions => {
            let shown = model.session_list.order.iter().skip(model.session_list.top).take(rows);
            shown.filter_map(|id| model.sessions.get(id)).map(|session| changes(session.created_at)).min()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_age_changes_when_it_says_so_and_not_before() {
        let mut now = 0;
        let mut texts = Vec::new();
        while now < 80 * 24 * 3600 {
            let text = age(at(0), at(now));
            let next = age_changes(at(0), at(now)).as_second();
            assert!(next > now);
            assert_eq!(age(at(0), at(next - 1)), text, "at {now}");
            assert_ne!(age(at(0), at(next)), text, "at {now}");
            texts.push(text);
            now = next;
        }
        assert_eq!(&texts[..3], ["<1m", "1m", "2m"]);
        assert!(texts.contains(&"47h".into()) && texts.contains(&"2d".into()), "{texts:?}");
        assert_eq!(age(at(100), at(0)), "<1m", "a clock that is behind");
    }

    #[test]
    fn ages_change_together_at_whole_minutes() {
        assert_eq!(whole_minute(at(60)), at(60));
        assert_eq!(whole_minute(at(61)), at(120));
        let due = at(119).saturating_add(SignedDuration::from_millis(1)).unwrap();
        assert_eq!(whole_minute(due), at(120));
        assert_eq!(whole_minute(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_countdown_changes_sparsely() {
        let mut now = at(0);
        let mut texts = Vec::new();
        loop {
            let (text, next) = countdown(at(17), now);
            texts.push(text);
            match next {
                Some(next) => now = next,
                None => break,
            }
        }
        assert_eq!(
            texts,
            ["in 20 s", "in 15 s", "in 10 s", "in 5 s", "in 4 s", "in 3 s", "in 2 s", "in 1 s", "now"]
        );
    }
}
