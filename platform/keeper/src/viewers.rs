//! From messages to seats: who an `open` says sits down, what acts mean, and what is done when something is decided.

use std::time::Instant;

use lap_wire::ChannelId;
use lap_wire::control::{ErrorCode, LeaseAction, Mode, Open, Size, WireError, is_plain};
use lap_wire::limits::{MAX_NAME, MAX_SEAT};

use crate::cli::say;
use crate::clock::random;
use crate::connection::{Connection, ConnectionId};
use crate::grants::Allowed;
use crate::keeper::Keeper;
use crate::program::{Program, ProgramKey};
use crate::seats::{Newcomer, Place, SeatId, view_only};
use crate::spawn::bad_size;

impl Keeper {
    /// Takes the seat an `open` asks for; a channel that had it is closed.
    pub(crate) fn take_seat(
        &mut self,
        key: ProgramKey,
        place: Place,
        newcomer: Option<Newcomer>,
    ) -> Result<Option<SeatId>, WireError> {
        let Some(newcomer) = newcomer else { return Ok(None) };
        let seat = self.next_id();
        let Some(program) = self.programs.get_mut(&key) else { return Ok(None) };
        if !program.on_terminal() {
            return Err(WireError::new(ErrorCode::Invalid, "a program on pipes has no viewers"));
        }
        let taken = program.seats.take(newcomer, seat, place)?;
        if let Some((connection, channel)) = taken.from {
            if let Some(reader) = self.connections.get_mut(&connection).and_then(|c| c.reader(channel)) {
                reader.seat = None;
            }
            // It may be gone already, and then there is nothing to close.
            let _ = self.close(connection, channel, "its viewer has come back on another channel");
        }
        Ok(Some(taken.seat))
    }

    /// A viewer's size, or that of the terminal itself where nobody in particular says so.
    pub(crate) fn resize(
        &mut self,
        key: ProgramKey,
        seat: Option<SeatId>,
        size: Size,
        now: Instant,
    ) -> Result<(), WireError> {
        if !size.is_valid() {
            return Err(bad_size(size.cols, size.rows));
        }
        let Some(seat) = seat else { return self.set_size(key, size, now) };
        if let Some(program) = self.programs.get_mut(&key) {
            program.seats.resize(seat, size);
        }
        self.decide(key, now);
        Ok(())
    }

    /// Applies a new size, and lets every reader take what came before it first, as far as its socket does.
    fn set_size(&mut self, key: ProgramKey, size: Size, now: Instant) -> Result<(), WireError> {
        self.serve(key, now);
        if let Some(program) = self.programs.get_mut(&key)
            && program.resize(size)?
        {
            self.wake(key, now);
        }
        Ok(())
    }

    /// A viewer wants, or gives back, the right to type. It is told how that stands also when nothing has changed.
    pub(crate) fn lease(
        &mut self,
        key: ProgramKey,
        (id, channel): Place,
        seat: Option<SeatId>,
        action: LeaseAction,
    ) -> Result<(), WireError> {
        let Some(seat) = seat else {
            let message = "a channel without a viewer types without a lease";
            return Err(WireError::new(ErrorCode::UnexpectedMessage, message));
        };
        if let Some(program) = self.programs.get_mut(&key) {
            program.seats.lease(seat, action)?;
        }
        self.with_reader(id, channel, |reader| reader.tell_lease());
        Ok(())
    }

    /// Whether that channel may type, or do what only those may who type.
    pub(crate) fn check_writer(&mut self, id: ConnectionId, channel: ChannelId) -> Result<(), WireError> {
        let reader = self.connections.get_mut(&id).and_then(|c| c.reader(channel));
        let Some(reader) = reader.filter(|reader| reader.may_write()) else { return Err(view_only()) };
        let (key, seat) = (reader.program, reader.seat);
        match (seat, self.programs.get(&key)) {
            (Some(seat), Some(program)) => program.seats.may_type(seat),
            _ => Ok(()),
        }
    }

    /// What follows for the terminal itself from who is there and has acted: its size, and who answers queries.
    pub(crate) fn decide(&mut self, key: ProgramKey, now: Instant) {
        let Some(program) = self.programs.get_mut(&key) else { return };
        program.choose_responder();
        let size = program.seats.size().filter(|size| *size != program.size().0);
        if let Some(size) = size
            && let Err(error) = self.set_size(key, size, now)
        {
            say(&format!("lap-keeper: {error}\n"));
        }
    }

    /// Ends a turn's changes of who is there: what follows from them is done, and everybody is told once.
    pub(crate) fn settle(&mut self, now: Instant) {
        // Deciding may find a connection broken, whose seats are then lost: again until nothing has changed.
        while let Some(key) = self.programs.iter().find(|(_, p)| p.seats.has_changed()).map(|(key, _)| *key) {
            self.decide(key, now);
            if self.programs.get_mut(&key).is_some_and(|program| program.seats.publish()) {
                self.wake(key, now);
            }
        }
    }

    /// The seats of a connection that has ended: a server may come back for them, a client that was let in for itself is
    /// gone.
    pub(crate) fn lose_seats(&mut self, connection: &Connection, now: Instant) {
        let granted = connection.allowed.is_some();
        for reader in connection.readers() {
            let Some(program) = self.programs.get_mut(&reader.program) else { continue };
            match reader.seat {
                Some(seat) if granted => program.seats.leave(seat),
                Some(seat) => program.seats.lose(seat, now),
                None => {}
            }
        }
    }

    /// When a lost seat is given up; at once where a change waits to be settled.
    pub(crate) fn seats_due(&self, now: Instant) -> Option<Instant> {
        let due = |p: &Program| if p.seats.has_changed() { Some(now) } else { p.seats.due() };
        self.programs.values().filter_map(due).min()
    }

    /// Gives up the seats nobody came back for.
    pub(crate) fn expire_seats(&mut self, now: Instant) {
        for program in self.programs.values_mut() {
            program.seats.expire(now);
        }
    }
}

/// Who sits down by this `open`, if anybody does.
pub(crate) fn newcomer(open: &Open, allowed: Option<&Allowed>) -> Result<Option<Newcomer>, WireError> {
    let (mode, size, visible) = (open.mode, open.size, open.visible);
    match (allowed, &open.viewer) {
        (Some(_), Some(_)) => Err(not_allowed("who it is was said by the server that let it in")),
        (Some(allowed), None) => {
            let (name, person) = (allowed.name.clone(), allowed.person.clone());
            let key = format!("{:016x}{:016x}", random(), random());
            Ok(Some(Newcomer { key, name, person, mode, size, visible }))
        }
        (None, Some(viewer)) => {
            if !is_plain(&viewer.person, MAX_SEAT) || !is_plain(&viewer.seat, MAX_SEAT) {
                let message = format!("a person and a seat are 1 to {MAX_SEAT} printable ASCII characters");
                return Err(WireError::new(ErrorCode::Invalid, message));
            }
            let (key, name, person) = (viewer.seat.clone(), clean_name(&viewer.name), viewer.person.clone());
            Ok(Some(Newcomer { key, name, person, mode, size, visible }))
        }
        (None, None) => Ok(None),
    }
}

/// Whether a connection that was let in for one program may open this.
pub(crate) fn check_allowed(
    allowed: &Allowed,
    program: Result<ProgramKey, WireError>,
    mode: Mode,
) -> Result<(), WireError> {
    // One that is not there is answered like one that is not for it.
    if program.ok() != Some(allowed.program) {
        return Err(not_allowed("this connection was let in for another program"));
    }
    if allowed.mode == Mode::View && mode != Mode::View {
        let error = not_allowed("this connection was let in to watch");
        return Err(error.with_hint("Open it with mode view."));
    }
    Ok(())
}

/// The refusal of what a connection that was let in for one program may not do.
pub(crate) fn not_allowed(message: &str) -> WireError {
    WireError::new(ErrorCode::NotAllowed, message)
}

/// A name as others are shown it: without control characters, and no longer in a message than it may be.
pub(crate) fn clean_name(name: &str) -> String {
    let mut clean = String::new();
    let mut room = MAX_NAME;
    for c in name.chars().filter(|c| !c.is_control()) {
        // What JSON puts a backslash before.
        let takes = c.len_utf8() + usize::from(matches!(c, '"' | '\\'));
        if takes > room {
            break;
        }
        room -= takes;
        clean.push(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_control_characters_and_cut() {
        assert_eq!(clean_name("ana\x1b[31m\n@host"), "ana[31m@host");
        assert_eq!(clean_name(&"ü".repeat(300)).len(), 200);
        assert_eq!(clean_name(&"\"".repeat(300)).len(), 100);
    }
}
