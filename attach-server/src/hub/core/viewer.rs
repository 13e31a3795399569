//! Somebody who looks at a terminal.

use std::rc::Rc;

use lap_wire::control::{Mode, Open, ServerMessage, Size, Viewer as Description, ViewerSeat};
use lap_wire::flow::{Cursor, Since};
use tokio::time::Instant;

use super::catch_up::CatchUp;
use super::input::{Relay, Sender};
use super::snapshots::Snapshot;
use super::{Client, KeeperChannel, ViewerId};

/// A viewer that is about to be there.
pub(in crate::hub) struct NewViewer {
    pub id: ViewerId,
    pub client: Rc<dyn Client>,
    /// Its channel at the client.
    pub channel: u32,
    pub mode: Mode,
    pub size: Option<Size>,
    pub visible: bool,
    pub window: u32,
    pub scrollback: u32,
    pub since: Option<Since>,
    /// The name of its input stream.
    pub input: Option<String>,
    /// Who it is, for the keeper and for other viewers.
    pub seat: ViewerSeat,
}

/// A viewer's place at the keeper.
pub(super) struct Seat {
    /// As the keeper is told of it.
    pub told: ViewerSeat,
    /// Its channel there.
    pub channel: Option<Box<dyn KeeperChannel>>,
    /// The channel is open on the present connection.
    pub up: bool,
    /// How far its input had been written when it was last opened; absent until it is opened for the first time.
    pub input_offset: Option<u64>,
}

/// How what a viewer types finds its way.
pub(super) enum Input {
    /// It does not type.
    None,
    /// The client numbers its bytes and keeps them.
    Relayed(Relay),
    /// The hub does.
    Kept(Sender),
}

/// A snapshot on its way to a viewer.
pub(super) struct Outgoing {
    pub snapshot: Rc<Snapshot>,
    pub sent: usize,
}

/// How much of the end of a terminal a viewer has had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndSeen {
    /// Nothing.
    No,
    /// It was sent `exit`.
    Exit,
    /// It was sent `closed`, and is to be removed.
    Closed,
}

pub(super) struct Viewer {
    pub id: ViewerId,
    pub client: Rc<dyn Client>,
    pub channel: u32,
    pub mode: Mode,
    pub size: Option<Size>,
    pub visible: bool,
    pub scrollback: u32,
    pub since: Option<Since>,
    pub input_name: Option<String>,
    pub input: Input,
    /// So much of it is held that its socket is not read.
    pub is_full: bool,
    pub seat: Seat,
    /// What the keeper last told of who is there and who may type, for when the viewer is told `opened`.
    pub presence: Option<Vec<Description>>,
    pub lease: Option<(Option<u64>, bool)>,
    pub window: u32,
    pub cursor: Cursor,
    /// The size generation of the screen it was last sent.
    pub size_generation: u32,
    /// It has been decided how it begins: from the ring, from the keeper, or with a snapshot.
    pub begun: bool,
    /// It was sent `opened`.
    pub opened: bool,
    /// `ready` is due once it has everything before this.
    pub ready_at: Option<u64>,
    pub end_seen: EndSeen,
    /// It can go on only with a snapshot that is still to come, carrying at least this much scrollback.
    pub wants: Option<u32>,
    pub outgoing: Option<Outgoing>,
    /// It is given what the keeper still has, until it is where the terminal's ring begins.
    pub catch_up: Option<CatchUp>,
    /// Snapshot bytes sent, to be acknowledged with this offset.
    pub snapshot_unacked: (u64, u64),
    /// When it was last sent anything or acknowledged anything.
    pub progressed: Instant,
}

impl NewViewer {
    pub(super) fn into_viewer(self, now: Instant) -> Viewer {
        let input = match (self.mode, self.client.acknowledges()) {
            (Mode::View, _) => Input::None,
            (_, true) => Input::Relayed(Relay::default()),
            (_, false) => Input::Kept(Sender::default()),
        };
        Viewer {
            id: self.id,
            client: self.client,
            channel: self.channel,
            mode: self.mode,
            size: self.size,
            visible: self.visible,
            scrollback: self.scrollback,
            since: self.since,
            input_name: self.input,
            input,
            is_full: false,
            seat: Seat { told: self.seat, channel: None, up: false, input_offset: None },
            presence: None,
            lease: None,
            window: self.window,
            cursor: Cursor::new(0, self.window),
            size_generation: 0,
            begun: false,
            opened: false,
            ready_at: None,
            end_seen: EndSeen::No,
            wants: None,
            outgoing: None,
            catch_up: None,
            snapshot_unacked: (0, 0),
            progressed: now,
        }
    }
}

impl Viewer {
    /// How its seat is opened, for the first time or again.
    pub(super) fn open_seat(&self, program: &str) -> Open {
        Open {
            size: self.size,
            visible: self.visible,
            input: self.input_name.clone(),
            output: false,
            viewer: Some(self.seat.told.clone()),
            ..Open::new(program, self.mode)
        }
    }

    pub(super) fn tell(&self, message: &ServerMessage) {
        self.client.event(self.channel, self.cursor.next_offset(), message);
    }

    /// Bytes sent to it that it has not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.cursor.in_flight() + self.snapshot_unacked.0
    }

    /// Whether the next output can go straight to it, `offset` being where that begins.
    pub(super) fn is_current(&self, offset: u64) -> bool {
        self.can_go_on()
            && self.outgoing.is_none()
            && self.catch_up.is_none()
            && self.cursor.next_offset() == offset
    }

    /// Whether bytes of a ring are what it needs.
    pub(super) fn can_go_on(&self) -> bool {
        self.opened && self.visible && self.wants.is_none()
    }

    pub(super) fn sent_output(&mut self, len: usize, now: Instant) {
        self.cursor.sent(len);
        self.progressed = now;
        if !self.client.acknowledges() {
            self.cursor.ack(self.cursor.next_offset());
        }
    }

    /// Passes on what the keeper said of who is there, or keeps it until the viewer is open.
    pub(super) fn tell_presence(&mut self, viewers: Vec<Description>) {
        if self.opened {
            self.tell(&ServerMessage::Presence { viewers });
        } else {
            self.presence = Some(viewers);
        }
    }

    /// The same of the right to type.
    pub(super) fn tell_lease(&mut self, holder: Option<u64>, mine: bool) {
        if self.opened {
            self.tell(&ServerMessage::Lease { holder, mine });
        } else {
            self.lease = Some((holder, mine));
        }
    }

    /// Sends what is held of its input, as far as the keeper takes it.
    pub(super) fn pump_input(&mut self, now: Instant) {
        let Input::Kept(sender) = &mut self.input else { return };
        let Some(channel) = &self.seat.channel else { return };
        while let Some((offset, bytes)) = sender.next() {
            let len = bytes.len();
            if !channel.send(lap_wire::FrameType::Input, 0, offset, bytes) {
                sender.unsent(now);
                break;
            }
            sender.sent(len);
        }
        let was_full = std::mem::replace(&mut self.is_full, sender.is_full());
        if was_full && !self.is_full {
            self.client.wake(self.channel, now);
        }
    }
}
