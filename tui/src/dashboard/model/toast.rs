//! Messages that go away by themselves.

use jiff::{SignedDuration, Timestamp};

/// A toast that tells of something done is read at a glance.
const INFO_STAYS: SignedDuration = SignedDuration::from_secs(4);
/// One that tells of a failure has a sentence to read.
const ERROR_STAYS: SignedDuration = SignedDuration::from_secs(12);
/// Toasts at once; the oldest gives way.
const MOST: usize = 4;

/// What kind of news it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ToastKind {
    Info,
    Warning,
    Error,
}

/// A message that goes away by itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Toast {
    /// What kind of news it is.
    pub kind: ToastKind,
    /// What it says.
    pub text: String,
    /// When it goes.
    pub until: Timestamp,
    /// How often it was said in a row.
    pub times: u32,
}

/// The messages, oldest first.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Toasts(Vec<Toast>);

impl Toasts {
    /// Shows a message. The same again counts up instead of stacking.
    pub fn push(&mut self, kind: ToastKind, text: impl Into<String>, now: Timestamp) {
        let text = text.into();
        let stays = if kind == ToastKind::Info { INFO_STAYS } else { ERROR_STAYS };
        let until = now.saturating_add(stays).unwrap_or(Timestamp::MAX);
        if let Some(same) = self.0.iter_mut().find(|toast| toast.text == text && toast.kind == kind) {
            same.times = same.times.saturating_add(1);
            same.until = until;
            return;
        }
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Toast { kind, text, until, times: 1 });
    }

    /// Takes away those whose time has come. Tells whether there were any.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.0.len();
        self.0.retain(|toast| toast.until > now);
        self.0.len() != before
    }

    /// When the next one goes.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.0.iter().map(|toast| toast.until).min()
    }

    /// Takes one away.
    pub fn dismiss(&mut self, index: usize) {
        if index < self.0.len() {
            self.0.remove(index);
        }
    }

    /// Takes a message away that is no longer true.
    pub fn retract(&mut self, text: &str) {
        self.0.retain(|toast| toast.text != text);
    }

    /// Takes all away. Tells whether there were any.
    pub fn clear(&mut self) -> bool {
        let any = !self.0.is_empty();
        self.0.clear();
        any
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Toast> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn they_go_by_themselves_and_failures_stay_longer() {
        let mut toasts = Toasts::default();
        toasts.push(ToastKind::Info, "done", at(0));
        toasts.push(ToastKind::Error, "failed", at(0));
        assert_eq!(toasts.next_end(), Some(at(4)));
        assert!(toasts.expire(at(4)));
        assert_eq!(toasts.iter().map(|toast| toast.text.as_str()).collect::<Vec<_>>(), ["failed"]);
        assert!(!toasts.expire(at(11)));
        assert!(toasts.expire(at(12)));
        assert_eq!(toasts.next_end(), None);
    }

    #[test]
    fn the_same_message_counts_up_and_the_stack_is_bounded() {
        let mut toasts = Toasts::default();
        for _ in 0..3 {
            toasts.push(ToastKind::Info, "again", at(0));
        }
        assert_eq!(toasts.iter().next().map(|toast| toast.times), Some(3));
        for n in 0..10 {
            toasts.push(ToastKind::Info, n.to_string(), at(0));
        }
        assert_eq!(toasts.iter().count(), MOST);
        assert_eq!(toasts.iter().next_back().map(|toast| toast.text.clone()), Some("9".into()));
    }
}
