//! What a program's output asks of the world outside the screen: answers to its queries, and calls for
//! attention.

use std::collections::VecDeque;

use crate::limits::{MAX_EVENT_BYTES, MAX_EVENTS};

/// Something that came out of [`crate::Terminal::feed`] beside the picture. All text is from the program:
/// control characters are removed, nothing else is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Bytes to write to the program: the answer to a query. Only while replies are switched on.
    Reply(Vec<u8>),
    /// BEL. Several in a row count as one.
    Bell,
    /// The window's title was set (OSC 0 and 2). Only the last of several in a row is kept.
    Title(String),
    /// A desktop notification (OSC 9, 99 or 777). Either text may be empty.
    Notification {
        /// The headline, where the program gave one.
        title: String,
        /// The message.
        body: String,
    },
    /// What an agent says it is doing (OSC 7501).
    State(AgentState),
    /// The program wants to set a clipboard (OSC 52). Empty data clears it.
    Clipboard {
        /// The selections named, such as `c` or `p`; empty means the terminal's choice.
        selection: String,
        /// The text to put there, at most 192 KiB.
        data: Vec<u8>,
    },
    /// Progress of some work (OSC 9;4).
    Progress(Progress),
}

/// OSC 7501's `state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentState {
    /// A turn is running.
    Working,
    /// A turn has ended, and its result has not been seen.
    Done,
    /// Waiting for the user.
    Idle,
}

/// OSC 9;4's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Take the progress bar away.
    None,
    /// Per cent done, 0 to 100.
    Running(u8),
    /// Failed at this per cent.
    Failed(u8),
    /// Busy, nobody knows for how long.
    Indeterminate,
    /// Paused at this per cent.
    Paused(u8),
}

/// A bounded queue. When it is full the newest event is lost: what was said first explains what follows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    bytes: usize,
}

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        match (&event, self.queue.back_mut()) {
            (Event::Bell, Some(Event::Bell)) => return,
            (Event::Title(new), Some(Event::Title(old))) => {
                self.bytes = self.bytes - old.len() + new.len();
                old.clone_from(new);
                return;
            }
            _ => {}
        }
        let weight = event.weight();
        if self.queue.len() < MAX_EVENTS && self.bytes + weight <= MAX_EVENT_BYTES {
            self.bytes += weight;
            self.queue.push_back(event);
        }
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.bytes = 0;
        self.queue.drain(..)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.queue.capacity() * size_of::<Event>()
    }
}

impl Event {
    fn weight(&self) -> usize {
        match self {
            Event::Reply(bytes) => bytes.len(),
            Event::Title(text) => text.len(),
            Event::Notification { title, body } => title.len() + body.len(),
            Event::Clipboard { selection, data } => selection.len() + data.len(),
            Event::Bell | Event::State(_) | Event::Progress(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_events_stays_within_the_bounds() {
        let mut events = Events::default();
        for i in 0..10 * MAX_EVENTS {
            events.push(Event::Reply(vec![0; 16 * i]));
        }
        assert!(events.bytes <= MAX_EVENT_BYTES);
        assert!(events.drain().count() <= MAX_EVENTS);
        events.push(Event::Bell);
        assert_eq!(events.drain().next(), Some(Event::Bell), "drained, there is room again");
    }

    #[test]
    fn bells_and_titles_in_a_row_count_as_one() {
        let mut events = Events::default();
        for event in [Event::Bell, Event::Bell, Event::Title("a".into()), Event::Title("bc".into())] {
            events.push(event);
        }
        assert_eq!(events.drain().collect::<Vec<_>>(), [Event::Bell, Event::Title("bc".into())]);
    }
}
