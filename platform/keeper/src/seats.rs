//! Who is at a terminal, and what follows from it: whose size counts, whose terminal answers queries, who may type, and
//! what everybody is told of everybody else.
//!
//! Values in, decisions out: no socket and no clock. The keeper says who comes, acts and goes, asks what is decided, and
//! tells each channel what it has not been told yet ([`Seats::generations`]).

use std::time::{Duration, Instant};

use lap_wire::ChannelId;
use lap_wire::control::{ErrorCode, LeaseAction, Mode, ServerMessage, Size, Viewer, WireError};
use lap_wire::keeper::SizePolicy;
use lap_wire::limits::{MAX_VIEWERS, SEAT_GRACE_MS};

use crate::connection::ConnectionId;

/// Which seat, for as long as the keeper lives; what `presence` calls a viewer.
pub(crate) type SeatId = u64;
/// The channel a seat is held by.
pub(crate) type Place = (ConnectionId, ChannelId);

/// How long a seat outlives its connection.
const GRACE: Duration = Duration::from_millis(SEAT_GRACE_MS);

/// Somebody who takes a seat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Newcomer {
    /// What the seat is found by when it is opened again.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) person: String,
    pub(crate) mode: Mode,
    pub(crate) size: Option<Size>,
    pub(crate) visible: bool,
}

#[derive(Debug)]
struct Seat {
    id: SeatId,
    viewer: Newcomer,
    /// The highest of all acted last.
    acted: u64,
    held: Held,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// By an open channel.
    By(Place),
    /// By nobody: its connection broke, and it goes at this moment.
    Until(Instant),
}

impl Seat {
    /// Whether it may decide the size and answer queries.
    fn counts(&self) -> bool {
        self.viewer.mode != Mode::View && self.viewer.visible && self.viewer.size.is_some()
    }

    fn is_here(&self) -> bool {
        matches!(self.held, Held::By(_))
    }
}

/// A seat that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) seat: SeatId,
    /// The channel that had it until now.
    pub(crate) from: Option<Place>,
}

/// What channels are told of, by how often it has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Generations {
    pub(crate) presence: u32,
    pub(crate) lease: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Seats {
    policy: SizePolicy,
    exclusive: bool,
    /// In the order in which they came.
    seats: Vec<Seat>,
    acts: u64,
    lease: Option<SeatId>,
    /// Something may have changed that has not been looked at by [`Seats::publish`].
    changed: bool,
    /// As they were last told.
    shown: Vec<Viewer>,
    lease_shown: Option<SeatId>,
    generations: Generations,
}

impl Seats {
    pub(crate) fn new(policy: SizePolicy, exclusive: bool) -> Seats {
        Seats {
            policy,
            exclusive,
            seats: Vec::new(),
            acts: 0,
            lease: None,
            changed: false,
            shown: Vec::new(),
            lease_shown: None,
            generations: Generations::default(),
        }
    }

    // --- who comes, acts and goes

    /// Somebody sits down at `place`: on the seat of that key, if there is one, else on a new one called `id`. Only a new
    /// one counts as an act.
    pub(crate) fn take(&mut self, viewer: Newcomer, id: SeatId, place: Place) -> Result<Taken, WireError> {
        self.changed = true;
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.viewer.key == viewer.key) {
            let from = match seat.held {
                Held::By(place) => Some(place),
                Held::Until(_) => None,
            };
            (seat.viewer, seat.held) = (viewer, Held::By(place));
            let seat = Taken { seat: seat.id, from };
            self.check_lease();
            return Ok(seat);
        }
        if self.seats.len() >= MAX_VIEWERS {
            let message = format!("this terminal has {MAX_VIEWERS} viewers already");
            return Err(WireError::new(ErrorCode::Overloaded, message).retryable());
        }
        self.acts += 1;
        self.seats.push(Seat { id, viewer, acted: self.acts, held: Held::By(place) });
        Ok(Taken { seat: id, from: None })
    }

    /// Its channel was closed: it is no more.
    pub(crate) fn leave(&mut self, id: SeatId) {
        self.seats.retain(|seat| seat.id != id);
        self.changed = true;
        self.check_lease();
    }

    /// Its connection broke: it is kept for a while, for its server to come back.
    pub(crate) fn lose(&mut self, id: SeatId, now: Instant) {
        if let Some(seat) = self.find(id) {
            seat.held = Held::Until(now + GRACE);
            self.changed = true;
        }
    }

    /// When [`Seats::expire`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let until = |seat: &Seat| match seat.held {
            Held::Until(until) => Some(until),
            Held::By(_) => None,
        };
        self.seats.iter().filter_map(until).min()
    }

    /// Those that nobody came back to go.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.seats.retain(|seat| !matches!(seat.held, Held::Until(until) if until <= now));
            self.changed = true;
            self.check_lease();
        }
    }

    /// A viewer has another size. That is an act, also when it is the same one.
    pub(crate) fn resize(&mut self, id: SeatId, size: Size) {
        self.act(id, |viewer| viewer.size = Some(size));
    }

    /// A viewer is (not) looked at.
    pub(crate) fn show(&mut self, id: SeatId, visible: bool) {
        self.act(id, |viewer| viewer.visible = visible);
    }

    fn act(&mut self, id: SeatId, change: impl FnOnce(&mut Newcomer)) {
        self.acts += 1;
        let acts = self.acts;
        if let Some(seat) = self.find(id) {
            seat.acted = acts;
            change(&mut seat.viewer);
            self.changed = true;
        }
    }

    /// A viewer types. Says whether anything may be decided otherwise by that; mostly the same one goes on typing.
    pub(crate) fn typed(&mut self, id: SeatId) -> bool {
        let acts = self.acts;
        let Some(seat) = self.find(id) else { return false };
        if seat.acted == acts {
            return false;
        }
        seat.acted = acts + 1;
        let counts = seat.counts();
        self.acts += 1;
        self.changed |= counts;
        counts
    }

    /// A viewer wants, or gives back, the right to type.
    pub(crate) fn lease(&mut self, id: SeatId, action: LeaseAction) -> Result<(), WireError> {
        let Some(seat) = self.find(id) else { return Ok(()) };
        if seat.viewer.mode == Mode::View {
            return Err(view_only());
        }
        self.lease = match action {
            LeaseAction::Release => self.lease.filter(|holder| *holder != id),
            LeaseAction::Acquire => self.lease.or(Some(id)),
            LeaseAction::Steal => Some(id),
        };
        self.changed = true;
        Ok(())
    }

    fn find(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.id == id)
    }

    /// The lease goes with its holder, and with the holder's right to type.
    fn check_lease(&mut self) {
        let holds = |seat: &Seat| Some(seat.id) == self.lease && seat.viewer.mode != Mode::View;
        if !self.seats.iter().any(holds) {
            self.lease = None;
        }
    }

    // --- what is decided

    /// The size the terminal should have; `None`: as it is.
    pub(crate) fn size(&self) -> Option<Size> {
        let mut sizes = self.seats.iter().filter(|s| s.counts()).filter_map(|s| Some((s, s.viewer.size?)));
        match self.policy {
            SizePolicy::Latest => sizes.max_by_key(|(seat, _)| seat.acted).map(|(_, size)| size),
            SizePolicy::Owner => sizes.next().map(|(_, size)| size),
            SizePolicy::Smallest => sizes
                .map(|(_, size)| size)
                .reduce(|a, b| Size { cols: a.cols.min(b.cols), rows: a.rows.min(b.rows) }),
            SizePolicy::Fixed => None,
        }
    }

    /// The viewer whose terminal answers queries. Nobody while the one that acted last is away, since the size is still
    /// its own.
    pub(crate) fn active(&self) -> Option<SeatId> {
        let latest = self.seats.iter().filter(|seat| seat.counts()).max_by_key(|seat| seat.acted);
        latest.filter(|seat| seat.is_here()).map(|seat| seat.id)
    }

    /// Whether a viewer may type now.
    pub(crate) fn may_type(&self, id: SeatId) -> Result<(), WireError> {
        let seat = self.seats.iter().find(|seat| seat.id == id);
        if seat.is_none_or(|seat| seat.viewer.mode == Mode::View) {
            return Err(view_only());
        }
        if self.exclusive && self.lease != Some(id) {
            let message = "one viewer at a time may type here, and has to ask for that first";
            let hint = "Acquire the lease, or steal it from whoever has it.";
            return Err(WireError::new(ErrorCode::NotWritable, message).with_hint(hint));
        }
        Ok(())
    }

    // --- what is told

    /// Whether [`Seats::publish`] has something to look at; until then nobody is told anything.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// What has come of all changes since the last time is to be told from here on; says whether there is anything.
    pub(crate) fn publish(&mut self) -> bool {
        if !std::mem::take(&mut self.changed) {
            return false;
        }
        let before = self.generations;
        let viewers = self.describe();
        if viewers != self.shown {
            self.shown = viewers;
            self.generations.presence = self.generations.presence.wrapping_add(1);
        }
        if self.lease != self.lease_shown {
            self.lease_shown = self.lease;
            self.generations.lease = self.generations.lease.wrapping_add(1);
        }
        self.generations != before
    }

    fn describe(&self) -> Vec<Viewer> {
        let active = self.active();
        let describe = |seat: &Seat| Viewer {
            id: seat.id,
            name: seat.viewer.name.clone(),
            person: seat.viewer.person.clone(),
            mode: seat.viewer.mode,
            size: seat.viewer.size,
            active: active == Some(seat.id),
            you: false,
        };
        self.seats.iter().map(describe).collect()
    }

    /// How often presence and lease have changed.
    pub(crate) fn generations(&self) -> Generations {
        self.generations
    }

    /// What a channel that has just been opened counts as told: presence when nobody ever sat here, and the lease where
    /// it means nothing.
    pub(crate) fn told_at_opening(&self) -> Generations {
        let matters = self.exclusive || self.lease_shown.is_some();
        let lease = self.generations.lease.wrapping_sub(u32::from(matters));
        Generations { presence: 0, lease }
    }

    /// Who is there, as the viewer of that seat is told.
    pub(crate) fn presence(&self, you: Option<SeatId>) -> ServerMessage {
        let mut viewers = self.shown.clone();
        for viewer in &mut viewers {
            viewer.you = you == Some(viewer.id);
        }
        ServerMessage::Presence { viewers }
    }

    /// Who may type, as the viewer of that seat is told.
    pub(crate) fn lease_told(&self, you: Option<SeatId>) -> ServerMessage {
        let holder = self.lease_shown;
        ServerMessage::Lease { holder, mine: holder.is_some() && holder == you }
    }
}

/// The refusal of whoever may only watch.
pub(crate) fn view_only() -> WireError {
    let error = WireError::new(ErrorCode::NotWritable, "this terminal is open for viewing only");
    error.with_hint("Open it with mode interact.")
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
