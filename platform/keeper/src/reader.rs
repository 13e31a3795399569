//! One channel to a program: how far its reader has come, and what it is owed next.
//!
//! Nothing is queued for a reader. What it is told is worked out from where it stands and how the program stands, at
//! the moment its socket takes something; so a slow reader costs nothing, and gets the present when it is back.

use std::rc::Rc;
use std::time::Instant;

use lap_wire::FrameType;
use lap_wire::control::{How, Mode, ServerMessage, Stream};
use lap_wire::flow::{Cursor, Next, Resume, Since, resume};
use lap_wire::frame::flags;
use lap_wire::limits::{DEFAULT_WINDOW, MAX_PAYLOAD, MAX_SNAPSHOT_SCROLLBACK, MAX_WINDOW, SKIP_SCROLLBACK};

use crate::program::{Program, ProgramKey};
use crate::seats::{Generations, SeatId, Seats};

/// What a reader is owed next.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Nothing, until something happens to it or to its program.
    Idle,
    /// A snapshot, but another of this connection's readers is in the middle of one.
    Queue,
    /// This, about the position it stands at.
    Tell(u64, ServerMessage),
    /// Bytes, in two parts.
    Send {
        /// `OUTPUT` or `SNAPSHOT`.
        kind: FrameType,
        /// See [`flags`].
        flags: u8,
        /// Their offset.
        offset: u64,
        /// The first part.
        a: &'a [u8],
        /// The rest.
        b: &'a [u8],
    },
}

/// Why a snapshot cannot be begun.
#[derive(Clone, Copy, Debug)]
enum NotNow {
    /// Another reader's is under way.
    Queue,
    /// The model is behind; the readers are looked at again when it is not.
    Model,
}

impl From<NotNow> for Step<'_> {
    fn from(reason: NotNow) -> Self {
        match reason {
            NotNow::Queue => Step::Queue,
            NotNow::Model => Step::Idle,
        }
    }
}

#[derive(Debug)]
enum State {
    /// `opened` has not been sent.
    Opening(Option<Since>),
    /// Only a snapshot can bring it further, with so much scrollback.
    Behind(u32),
    /// It has asked for a snapshot and is first given what is printed, which a snapshot would take from it. It stood at
    /// `since` when it asked.
    Asked { since: u64 },
    /// In the middle of the snapshot that stands for everything before `at`.
    Snapshot { bytes: Vec<u8>, sent: usize, at: u64, last_sent: bool, answers: bool },
    /// Output follows the position.
    Live,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) program: ProgramKey,
    pub(crate) stream: Stream,
    mode: Mode,
    /// Whether it is sent output.
    output: bool,
    /// Whose seat it is.
    pub(crate) seat: Option<SeatId>,
    /// The name of its input stream.
    pub(crate) input: Option<Rc<str>>,
    /// How far input was acknowledged to it.
    pub(crate) input_acked: u64,
    /// Whether the connection has it in its queue.
    pub(crate) queued: bool,
    cursor: Cursor,
    window: u32,
    scrollback: u32,
    /// Scrollback of a snapshot it asked for and has not wholly been sent.
    asked: Option<u32>,
    visible: bool,
    state: State,
    /// `ready` is due when it has been sent everything before this.
    ready_at: Option<u64>,
    /// Output of a pipe that it asked for and that others have acknowledged away: where it begins.
    gap_from: Option<u64>,
    /// The generations of what it was last told.
    size_generation: u32,
    title_generation: u32,
    attention_generation: u32,
    /// What it was last told of who is there.
    told: Generations,
    /// It has asked for the lease, and is told how that stands.
    lease_asked: bool,
    exit_told: bool,
    /// When it last was sent bytes or acknowledged some.
    moved: Instant,
}

/// What an `open` asked for, as far as it concerns a reader.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) stream: Stream,
    pub(crate) mode: Mode,
    pub(crate) output: bool,
    pub(crate) seat: Option<SeatId>,
    pub(crate) since: Option<Since>,
    pub(crate) window: u32,
    pub(crate) scrollback: u32,
    pub(crate) visible: bool,
    pub(crate) input: Option<String>,
}

impl Reader {
    pub(crate) fn new(program: ProgramKey, wish: Wish, now: Instant) -> Reader {
        let window = if wish.window == 0 { DEFAULT_WINDOW } else { wish.window.min(MAX_WINDOW) };
        Reader {
            program,
            stream: wish.stream,
            mode: wish.mode,
            output: wish.output && wish.mode != Mode::Input,
            seat: wish.seat,
            input: wish.input.map(Rc::from),
            input_acked: 0,
            queued: false,
            cursor: Cursor::new(0, window),
            window,
            scrollback: wish.scrollback.min(MAX_SNAPSHOT_SCROLLBACK),
            asked: None,
            visible: wish.visible,
            state: State::Opening(wish.since),
            ready_at: None,
            gap_from: None,
            size_generation: 0,
            title_generation: 0,
            attention_generation: 0,
            told: Generations::default(),
            lease_asked: false,
            exit_told: false,
            moved: now,
        }
    }

    /// Whether it may type.
    pub(crate) fn may_write(&self) -> bool {
        self.mode != Mode::View
    }

    /// Whether output is for it at all.
    pub(crate) fn has_output(&self) -> bool {
        self.output
    }

    /// Where it stands: the next output it is sent has this offset.
    pub(crate) fn position(&self) -> u64 {
        self.cursor.next_offset()
    }

    /// What it has acknowledged; before it is open, nothing of the stream is given up for it.
    pub(crate) fn acked(&self) -> Option<u64> {
        (!matches!(self.state, State::Opening(_))).then(|| self.cursor.acked())
    }

    pub(crate) fn ack(&mut self, offset: u64, now: Instant) {
        let before = self.cursor.acked();
        self.cursor.ack(offset);
        if self.cursor.acked() > before {
            self.moved = now;
        }
    }

    /// It was sent bytes.
    pub(crate) fn has_moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// When it was last sent bytes or acknowledged some.
    pub(crate) fn moved(&self) -> Instant {
        self.moved
    }

    /// Whether there is an end for it that it has not been told.
    pub(crate) fn is_owed_the_end(&self) -> bool {
        !self.exit_told && (self.visible || !self.has_output())
    }

    /// Whether it was sent output that it has not acknowledged.
    pub(crate) fn has_unacknowledged(&self, program: &Program) -> bool {
        self.has_output() && self.visible && self.cursor.acked() < program.ring(self.stream).end()
    }

    pub(crate) fn set_visible(&mut self, visible: bool) {
        self.visible = visible;
    }

    /// It asks for a snapshot. One that is to be made anyway answers it too, and says so.
    pub(crate) fn want_snapshot(&mut self, scrollback: u32) {
        self.asked = self.asked.max(Some(scrollback.min(MAX_SNAPSHOT_SCROLLBACK)));
        match self.state {
            State::Opening(_) | State::Behind(_) | State::Asked { .. } => {}
            // Begun without what is asked for now.
            State::Snapshot { last_sent: false, .. } => self.state = State::Behind(0),
            State::Snapshot { .. } | State::Live => self.state = State::Asked { since: self.position() },
        }
    }

    /// Whether it is in the middle of a snapshot.
    pub(crate) fn in_snapshot(&self) -> bool {
        matches!(self.state, State::Snapshot { .. })
    }

    /// What it is owed next. What a step gives counts as sent. `slot` says whether a snapshot may be begun.
    pub(crate) fn step<'a>(&'a mut self, program: &'a mut Program, slot: bool) -> Step<'a> {
        if let State::Opening(since) = self.state {
            return self.open(since, program, slot);
        }
        if let Some(message) = self.news(program) {
            return Step::Tell(self.stands_at(program), message);
        }
        if !self.has_output() {
            let news = match self.ready_at.take() {
                Some(_) => Some(ServerMessage::Ready),
                // Who only types learns of the end too, and so can wait for it without taking any output.
                None if !self.exit_told => program.ended(self.stream).cloned().map(ServerMessage::Exit),
                None => None,
            };
            self.exit_told |= matches!(news, Some(ServerMessage::Exit(_)));
            return news.map_or(Step::Idle, |message| Step::Tell(self.stands_at(program), message));
        }
        if matches!(self.state, State::Snapshot { last_sent: true, .. }) {
            self.state = State::Live;
        }
        if !self.visible {
            // Half a snapshot is of no use to it later; a whole one is made when it looks again.
            if let State::Snapshot { .. } = self.state {
                self.state = State::Behind(self.scrollback);
            }
            return Step::Idle;
        }
        if let State::Behind(scrollback) = self.state {
            return self.begin_snapshot(scrollback, program, slot);
        }
        if let State::Asked { since } = self.state {
            return self.before_snapshot(since, program, slot);
        }
        if self.in_snapshot() {
            return self.snapshot_piece();
        }
        self.output(program, slot)
    }

    /// What is told whether or not anybody looks.
    fn news(&mut self, program: &Program) -> Option<ServerMessage> {
        if self.mode == Mode::Input {
            return None;
        }
        let (size, generation) = program.size();
        if self.size_generation != generation {
            self.size_generation = generation;
            self.state = State::Behind(self.scrollback);
            return Some(ServerMessage::Resized { size, size_generation: generation });
        }
        if self.title_generation != program.title.generation {
            self.title_generation = program.title.generation;
            return Some(ServerMessage::Title { title: program.title.value.clone().unwrap_or_default() });
        }
        if self.attention_generation != program.attention.generation {
            self.attention_generation = program.attention.generation;
            let (state, text) = program.attention.value.clone();
            return Some(ServerMessage::Attention { state, text });
        }
        self.news_of_others(&program.seats)
    }

    /// What is told of who else is there, once it is settled.
    fn news_of_others(&mut self, seats: &Seats) -> Option<ServerMessage> {
        if seats.has_changed() {
            return None;
        }
        let now = seats.generations();
        if self.told.presence != now.presence {
            self.told.presence = now.presence;
            return Some(seats.presence(self.seat));
        }
        if self.told.lease != now.lease || self.lease_asked {
            (self.told.lease, self.lease_asked) = (now.lease, false);
            return Some(seats.lease_told(self.seat));
        }
        None
    }

    /// It has asked for the lease: it is told how that stands, changed or not.
    pub(crate) fn tell_lease(&mut self) {
        self.lease_asked = true;
    }

    /// Where in the output a message to it stands.
    fn stands_at(&self, program: &Program) -> u64 {
        if self.has_output() { self.position() } else { program.ring(self.stream).end() }
    }

    fn open(&mut self, since: Option<Since>, program: &mut Program, slot: bool) -> Step<'static> {
        let (size, generation) = program.size();
        let ring = program.ring(self.stream);
        let (head, oldest) = (ring.end(), ring.start());
        let (how, offset) = if !self.has_output() {
            (How::Exact, head)
        } else if !program.on_terminal() {
            // A pipe's output is a file's: from where it was, or from the oldest that nobody has taken.
            let asked = since.filter(|s| s.epoch == program.epoch).map_or(oldest, |s| s.offset);
            self.gap_from = Some(asked).filter(|asked| *asked < oldest);
            (How::Exact, asked.clamp(oldest, head))
        } else {
            match resume(since, program.epoch, generation, ring) {
                Resume::Exact(offset) => (How::Exact, offset),
                Resume::Snapshot => (How::Snapshot, head),
            }
        };
        self.cursor = Cursor::new(offset, self.window);
        self.ready_at = Some(head);
        self.size_generation = generation;
        self.state = if self.asked.is_some() { State::Asked { since: offset } } else { State::Live };
        if how == How::Snapshot && self.visible {
            // `opened` names the offset the snapshot stands for, so both are made in one moment.
            match self.make_snapshot(self.scrollback, program, slot) {
                Ok(at) => self.ready_at = Some(at),
                Err(reason) => {
                    self.state = State::Opening(since);
                    return reason.into();
                }
            }
        } else if how == How::Snapshot {
            self.state = State::Behind(self.scrollback);
        }
        let input_offset = self.input.as_deref().map_or(0, |name| program.input.remember(name));
        self.input_acked = input_offset;
        self.title_generation = program.title.generation;
        self.told = program.seats.told_at_opening();
        let title = program.title.value.clone();
        let (epoch, mode) = (program.epoch, self.mode);
        let size_generation = generation;
        let opened = ServerMessage::Opened {
            epoch,
            offset,
            head,
            how,
            size,
            size_generation,
            input_offset,
            mode,
            title,
        };
        Step::Tell(offset, opened)
    }

    fn begin_snapshot<'a>(&'a mut self, scrollback: u32, program: &mut Program, slot: bool) -> Step<'a> {
        let from = self.position();
        match self.make_snapshot(scrollback, program, slot) {
            Ok(to) if to > from => Step::Tell(to, ServerMessage::Skipped { from, to }),
            Ok(_) => self.snapshot_piece(),
            Err(reason) => reason.into(),
        }
    }

    /// What is printed, as far as the reader takes it and a flood has an end within its window; then the snapshot it
    /// asked for, which then skips nothing.
    fn before_snapshot<'a>(&'a mut self, since: u64, program: &'a mut Program, slot: bool) -> Step<'a> {
        if self.position() - since < u64::from(self.window)
            && let Next::Send { from, len } = self.cursor.next(program.ring(self.stream))
        {
            let Some((a, b)) = program.ring(self.stream).read(from, len) else { return Step::Idle };
            self.cursor.sent(len);
            return Step::Send { kind: FrameType::Output, flags: 0, offset: from, a, b };
        }
        self.begin_snapshot(0, program, slot)
    }

    /// Takes the snapshot, moves to where it stands, and says where that is.
    fn make_snapshot(&mut self, scrollback: u32, program: &mut Program, slot: bool) -> Result<u64, NotNow> {
        if !slot {
            return Err(NotNow::Queue);
        }
        let Some(terminal) = program.terminal() else { return Err(NotNow::Model) };
        let scrollback = scrollback.max(self.asked.unwrap_or(0));
        // Not there yet: the output is held still, and its readers are looked at again when the model is there.
        let Some(bytes) = terminal.snapshot(scrollback as usize) else { return Err(NotNow::Model) };
        let at = terminal.ring().end();
        self.cursor.skip_to(at);
        let answers = self.asked.is_some();
        self.state = State::Snapshot { bytes, sent: 0, at, last_sent: false, answers };
        // What the model met with on its way there is known from here on, a title for instance.
        program.take_events();
        Ok(at)
    }

    fn snapshot_piece(&mut self) -> Step<'_> {
        let State::Snapshot { bytes, sent, at, last_sent, answers } = &mut self.state else {
            return Step::Idle;
        };
        let first = if *sent == 0 { flags::FIRST } else { 0 };
        let rest = bytes.get(*sent..).unwrap_or_default();
        let piece = rest.get(..MAX_PAYLOAD).unwrap_or(rest);
        *sent += piece.len();
        *last_sent = piece.len() == rest.len();
        let last = if *last_sent { flags::LAST } else { 0 };
        let answer = if *answers { flags::ANSWER } else { 0 };
        if *last_sent && *answers {
            self.asked = None;
        }
        Step::Send { kind: FrameType::Snapshot, flags: first | last | answer, offset: *at, a: piece, b: &[] }
    }

    fn output<'a>(&'a mut self, program: &'a mut Program, slot: bool) -> Step<'a> {
        let at = self.position();
        if let Some(from) = self.gap_from.take() {
            return Step::Tell(at, ServerMessage::Skipped { from, to: at });
        }
        if self.ready_at.is_some_and(|head| head <= at) {
            self.ready_at = None;
            return Step::Tell(at, ServerMessage::Ready);
        }
        match self.cursor.next(program.ring(self.stream)) {
            Next::Send { from, len } => {
                let Some((a, b)) = program.ring(self.stream).read(from, len) else { return Step::Idle };
                self.cursor.sent(len);
                Step::Send { kind: FrameType::Output, flags: 0, offset: from, a, b }
            }
            Next::CaughtUp if !self.exit_told => match program.ended(self.stream) {
                Some(status) => {
                    self.exit_told = true;
                    Step::Tell(at, ServerMessage::Exit(status.clone()))
                }
                None => Step::Idle,
            },
            Next::CaughtUp | Next::NoCredit => Step::Idle,
            // One that acknowledges nothing gets its window, and not snapshot after snapshot.
            Next::Lapped if self.cursor.in_flight() >= u64::from(self.window) => Step::Idle,
            Next::Lapped => {
                let scrollback = self.scrollback.min(SKIP_SCROLLBACK);
                self.state = State::Behind(scrollback);
                self.begin_snapshot(scrollback, program, slot)
            }
        }
    }
}
