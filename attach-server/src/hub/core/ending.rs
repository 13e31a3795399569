//! The end of a terminal, which each viewer is given at its own pace.
//!
//! The program ends ([`Terminal::program_ended`]): the rest of the server is told, and viewers hear of it once the
//! session is known to be dead, behind the program's last byte. When everybody that still takes bytes has acknowledged
//! it, the sandbox may go. The terminal ends ([`Terminal::end`]) when it cannot be had any more: whoever has not yet had
//! what the hub holds for it gets that first.

use std::time::Duration;

use lap_wire::control::{Attention, ExitStatus, ServerMessage, WireError};
use tokio::time::Instant;

use super::super::recorder::Needs;
use super::Effect;
use super::snapshots::Snapshot;
use super::terminal::Terminal;
use super::viewer::{EndSeen, Viewer};

/// A viewer that has taken nothing for this long is not waited for.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// The program's end.
#[derive(Debug)]
pub(super) struct Exit {
    status: ExitStatus,
    /// The session's row says `dead`, or was waited for long enough.
    row_is_dead: bool,
    /// Somebody still reads: the sandbox is kept for them.
    delivered: bool,
}

impl Terminal {
    /// The keeper says that the program has ended and that all its output is here.
    pub(super) fn program_ended(&mut self, status: ExitStatus) {
        if self.exit.is_some() {
            return;
        }
        // The recording is to end with the last screen, which the sandbox still has.
        let wanted = self.recorder.as_mut().map(|recorder| recorder.exited(&status));
        self.recording_ends = wanted == Some(Needs::Snapshot);
        self.exit = Some(Exit { status: status.clone(), row_is_dead: false, delivered: false });
        if self.recording_ends {
            self.ask_for_snapshot();
        }
        self.effects.push(Effect::Ended(status));
    }

    /// A whole snapshot has come: the recorder may have waited for it.
    pub(super) fn record_snapshot(&mut self, snapshot: &Snapshot, announced: bool) {
        let place = self.place;
        let Some(recorder) = &mut self.recorder else { return };
        let recorded = (announced || recorder.wants_snapshot())
            && recorder.snapshot(
                place.epoch,
                snapshot.offset,
                place.size_generation,
                place.size,
                &snapshot.bytes,
            );
        if recorded {
            self.recording_ends = false;
        }
    }

    /// The session is dead for whoever asks: from here on viewers may be told.
    pub(in crate::hub) fn row_is_dead(&mut self, now: Instant) {
        let Some(exit) = &mut self.exit else { return };
        exit.row_is_dead = true;
        for viewer in &mut self.viewers {
            viewer.progressed = now;
            viewer.client.wake(viewer.channel, now);
        }
        self.look_at_the_end(now);
    }

    /// The terminal cannot be had any more. Viewers are told why once they have what is held for them.
    pub(in crate::hub) fn end(&mut self, why: WireError, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        (self.output, self.up) = (None, false);
        for viewer in &mut self.viewers {
            (viewer.seat.channel, viewer.seat.up) = (None, false);
            viewer.progressed = now;
            if !viewer.opened {
                viewer.client.event(viewer.channel, 0, &ServerMessage::Error(why.clone()));
            }
            viewer.client.wake(viewer.channel, now);
        }
        self.closing = Some(why.message);
        self.effects.push(Effect::Viewers { people: 0, interactive: 0 });
        self.effects.push(Effect::Attention(Attention::None, None));
        if self.recorder.take().is_some() {
            self.effects.push(Effect::Recording(false));
        }
        self.recording_ends = false;
        self.look_at_the_end(now);
    }

    /// Whether it has ended, for whoever comes now.
    pub(in crate::hub) fn has_ended(&self) -> bool {
        self.closing.is_some()
    }

    /// Tells a viewer of the end if it has everything before it, `end` being where the output ends.
    pub(super) fn finish_end(&mut self, at: usize, end: u64) {
        let told = self.exit.as_ref().filter(|exit| exit.row_is_dead);
        let viewer = &mut self.viewers[at];
        let waits = viewer.outgoing.is_some() || viewer.wants.is_some() || viewer.catch_up.is_some();
        if let Some(exit) = told
            && viewer.end_seen == EndSeen::No
            && viewer.opened
            && !waits
            && viewer.cursor.next_offset() >= end
        {
            viewer.end_seen = EndSeen::Exit;
            viewer.tell(&ServerMessage::Exit(exit.status.clone()));
        }
    }

    /// Looks who has had the end, and what follows when everybody has.
    pub(super) fn look_at_the_end(&mut self, now: Instant) {
        if self.exit.is_none() && self.closing.is_none() {
            return;
        }
        for at in 0..self.viewers.len() {
            self.finish_end(at, self.flow.ring.end());
        }
        if let Some(reason) = self.closing.clone() {
            self.close_those_who_are_through(&reason, now);
        }
        let recording = self.recording_ends;
        let waiting = |viewer: &Viewer| !viewer.has_had_the_end(now);
        if let Some(exit) = &mut self.exit
            && exit.row_is_dead
            && !exit.delivered
            && !recording
            && !self.viewers.iter().any(waiting)
        {
            exit.delivered = true;
            self.effects.push(Effect::Delivered);
        }
        let undelivered = self.closing.is_some() || self.exit.as_ref().is_some_and(|exit| !exit.delivered);
        if undelivered && let Some(at) = self.viewers.iter().map(|viewer| viewer.progressed).min() {
            self.due_at((at + STUCK).max(now + STUCK / 10));
        }
    }

    /// Closes the channels of those who have what is held for them, or take nothing.
    fn close_those_who_are_through(&mut self, reason: &str, now: Instant) {
        // Whether the session is dead is still being found out: the exit comes first.
        let exit_comes = self.exit.as_ref().is_some_and(|exit| !exit.row_is_dead);
        let end = self.flow.ring.end();
        for viewer in &mut self.viewers {
            let stuck = now.saturating_duration_since(viewer.progressed) >= STUCK;
            if !stuck && (exit_comes || viewer.is_served(end)) {
                continue;
            }
            viewer.end_seen = EndSeen::Closed;
            viewer.tell(&ServerMessage::Closed { reason: reason.to_owned() });
            viewer.client.ended(viewer.channel);
        }
        self.viewers.retain(|viewer| viewer.end_seen != EndSeen::Closed);
    }
}

impl Viewer {
    /// Whether the hub holds something that it can still be sent.
    fn is_served(&self, end: u64) -> bool {
        if !self.opened || !self.visible {
            return false;
        }
        if self.outgoing.is_some() {
            return true;
        }
        let end = self.catch_up.as_ref().map_or(end, |catch_up| catch_up.ring().end());
        self.wants.is_none() && self.cursor.next_offset() < end
    }

    /// Whether nothing is left to wait for before the sandbox goes.
    fn has_had_the_end(&self, now: Instant) -> bool {
        let has_it = self.end_seen != EndSeen::No && self.unacknowledged() == 0;
        has_it || !self.visible || now.saturating_duration_since(self.progressed) >= STUCK
    }
}
