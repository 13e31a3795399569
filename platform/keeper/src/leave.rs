//! How a keeper ends: programs first, then every reader's last bytes, then itself.
//!
//! The end is part of the stream: whoever is still taking bytes gets all of them and the exit, at its own pace, before
//! the keeper goes. Who has taken nothing for [`STILL_TAKING`] is not waited for, and nobody for longer than
//! [`LAST_WORDS_AT_MOST`].

use std::time::Instant;

use lap_wire::ChannelId;
use lap_wire::control::ServerMessage;

use crate::keeper::Keeper;
use crate::limits::{LAST_WORDS, LAST_WORDS_AT_MOST, STILL_TAKING};
use crate::stop::{Asker, Target};

impl Keeper {
    /// Ends every program, then the keeper.
    pub(crate) fn shut_down(&mut self, grace_ms: u64, asker: Option<Asker>, now: Instant) {
        let goaway = ServerMessage::Goaway { reason: "the sandbox is ending".into(), reconnect_after_ms: 0 };
        for connection in self.connections.values_mut().filter(|c| c.greeted) {
            connection.tell(ChannelId::CONNECTION, &goaway);
        }
        self.stop(Target::Everything, grace_ms, asker, now);
    }

    /// Whether the keeper is on its way out.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.ended_at.is_some() || self.stops.iter().any(|stop| stop.target == Target::Everything)
    }

    /// Once everything has ended: when the keeper goes, unless something happens before that.
    pub(crate) fn leaves_at(&self) -> Option<Instant> {
        let ended = self.ended_at?;
        let busy = self.programs.values().any(|program| {
            program.has_model_work() || !(program.is_finished() || program.waits_for_reader())
        });
        let mut at = if busy { ended + LAST_WORDS } else { ended };
        for connection in self.connections.values() {
            if connection.wants_to_write() || connection.acks_due().is_some() {
                at = at.max(connection.moved().max(ended) + STILL_TAKING);
            }
            for reader in connection.readers() {
                let Some(program) = self.programs.get(&reader.program) else { continue };
                let moved = reader.moved().max(connection.moved()).max(ended);
                if reader.is_owed_the_end() {
                    at = at.max(moved + STILL_TAKING);
                } else if reader.has_unacknowledged(program) {
                    at = at.max(moved + LAST_WORDS);
                }
            }
        }
        Some(at.min(ended + LAST_WORDS_AT_MOST))
    }
}
