//! Owners of channels, a link, a keeper, and a stream between them that is cut at any byte.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lap_wire::control::{ClientMessage, ErrorCode, How, Mode, Open, ServerMessage, to_payload};
use lap_wire::flow::Since;
use lap_wire::frame::flags;
use lap_wire::input::{Resumed, Unacknowledged};
use lap_wire::keeper::{Call, Reply};
use lap_wire::limits::MAX_PAYLOAD;
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{Epoch, Frame, FrameType};

use super::super::core::{Core, Key, Step, Told, Wire};
use super::super::{LinkError, Opened, Opening, Refused};
use super::keeper::{Keeper, output_byte};

/// Bytes on their way to the keeper.
#[derive(Default)]
pub(super) struct Up(VecDeque<u8>);

impl Wire for Up {
    fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        stream::encode(frame, &mut bytes);
        self.0.extend(bytes);
    }

    fn has_room(&self) -> bool {
        self.0.len() < 4096
    }
}

impl Up {
    pub(super) fn take(&mut self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Who owns a channel.
pub(super) struct Owner {
    key: Key,
    /// Of which link: the one before has ended.
    link: u32,
    kind: Kind,
    open: bool,
    pub(super) ended: Option<LinkError>,
    /// It closed the channel itself, and is to hear nothing more.
    dropped: bool,
}

enum Kind {
    Terminal(Terminal),
    File(File),
}

/// A viewer that also types.
struct Terminal {
    stream: String,
    /// The output's end that its screen stands for.
    seen: Option<u64>,
    generation: u32,
    typed: Vec<u8>,
    input: Unacknowledged,
    sent: u64,
}

struct File {
    path: String,
    contents: Vec<u8>,
    sent: usize,
    finished: bool,
}

pub(super) struct World {
    pub(super) core: Core<usize, u64>,
    pub(super) now: Instant,
    pub(super) keeper: Keeper,
    pub(super) up: Up,
    pub(super) down: VecDeque<u8>,
    decoder: StreamDecoder,
    pub(super) dialing: bool,
    pub(super) owners: Vec<Owner>,
    /// Calls by number, and what was answered.
    pub(super) calls: BTreeMap<u64, Option<Result<Reply, LinkError>>>,
    requests: BTreeMap<u64, u64>,
    pub(super) ended: bool,
    link: u32,
    /// Connections there have been.
    pub(super) connections: u32,
}

impl World {
    pub(super) fn new() -> World {
        let now = Instant::now();
        World {
            core: Core::new("test", 11, now),
            now,
            keeper: Keeper::new(),
            up: Up::default(),
            down: VecDeque::new(),
            decoder: StreamDecoder::new(),
            dialing: false,
            owners: Vec::new(),
            calls: BTreeMap::new(),
            requests: BTreeMap::new(),
            ended: false,
            link: 0,
            connections: 0,
        }
    }

    /// A link that nobody needed was dropped; whoever comes next begins a new one.
    fn begin(&mut self) {
        if std::mem::take(&mut self.ended) {
            self.core = Core::new("test", 13, self.now);
            self.link += 1;
            self.unplug();
        }
    }

    fn own(&mut self, kind: Kind) {
        self.begin();
        let key = self.core.open(self.owners.len(), self.now);
        let link = self.link;
        self.owners.push(Owner { key, link, kind, open: false, ended: None, dropped: false });
        self.settle();
    }

    pub(super) fn view(&mut self) {
        self.own(Kind::Terminal(Terminal {
            stream: format!("typist {}", self.owners.len()),
            seen: None,
            generation: 0,
            typed: Vec::new(),
            input: Unacknowledged::new(),
            sent: 0,
        }));
    }

    pub(super) fn write(&mut self, len: usize) {
        let n = self.owners.len();
        self.own(Kind::File(File {
            path: format!("file {n}"),
            contents: (0..len).map(|i| output_byte((i + n) as u64)).collect(),
            sent: 0,
            finished: false,
        }));
    }

    pub(super) fn call(&mut self, within: Duration) {
        self.begin();
        let id = self.calls.len() as u64;
        self.calls.insert(id, None);
        let call = Call::Signal { id: "t".into(), signal: id.to_string() };
        let request = self.core.call(call, within, id, self.now);
        self.requests.insert(id, request);
        self.settle();
    }

    /// Somebody gives up waiting for a call.
    pub(super) fn forget(&mut self, nth: usize) {
        let open: Vec<u64> = self.calls.iter().filter(|(_, a)| a.is_none()).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let id = open[nth % open.len()];
        self.core.forget(self.requests[&id], self.now);
        self.calls.remove(&id);
        // Its number is taken, so that the others keep theirs.
        self.calls.insert(id + 1_000_000, Some(Err(LinkError::Lost("forgotten".into()))));
    }

    pub(super) fn close(&mut self, nth: usize) {
        let live: Vec<usize> = (0..self.owners.len()).filter(|n| self.is_live(*n)).collect();
        if live.is_empty() {
            return;
        }
        let owner = &mut self.owners[live[nth % live.len()]];
        (owner.dropped, owner.open) = (true, false);
        self.core.close(owner.key, self.now, &mut self.up);
        self.settle();
    }

    fn is_live(&self, owner: usize) -> bool {
        self.owners[owner].ended.is_none() && !self.owners[owner].dropped
    }

    pub(super) fn type_in(&mut self, nth: usize, n: usize) {
        let live: Vec<usize> = (0..self.owners.len())
            .filter(|i| self.is_live(*i) && matches!(self.owners[*i].kind, Kind::Terminal(_)))
            .collect();
        if live.is_empty() {
            return;
        }
        let at = live[nth % live.len()];
        let Kind::Terminal(terminal) = &mut self.owners[at].kind else { return };
        let from = terminal.typed.len();
        let bytes: Vec<u8> = (from..from + n).map(|i| output_byte((i + at) as u64)).collect();
        if terminal.input.push(0, &bytes).is_some() {
            terminal.typed.extend_from_slice(&bytes);
        }
        self.pump(at);
    }

    /// An owner sends what it has to send.
    fn pump(&mut self, at: usize) {
        let owner = &mut self.owners[at];
        if !owner.open || owner.dropped || owner.ended.is_some() {
            return;
        }
        let key = owner.key;
        match &mut owner.kind {
            Kind::Terminal(terminal) => {
                let from = terminal.sent.max(terminal.input.acked());
                let mut sent = from;
                for (piece, _, bytes) in terminal.input.outstanding() {
                    let skip = from.saturating_sub(piece) as usize;
                    let Some(rest) = bytes.get(skip..).filter(|rest| !rest.is_empty()) else { continue };
                    self.core.send(key, FrameType::Input, 0, sent, rest, &mut self.up).unwrap();
                    sent += rest.len() as u64;
                }
                terminal.sent = sent;
            }
            Kind::File(file) => {
                while file.sent < file.contents.len() {
                    let end = file.contents.len().min(file.sent + MAX_PAYLOAD);
                    let piece = &file.contents[file.sent..end];
                    let at = file.sent as u64;
                    self.core.send(key, FrameType::Input, 0, at, piece, &mut self.up).unwrap();
                    file.sent = end;
                }
                if !std::mem::replace(&mut file.finished, true) {
                    let eof = to_payload(&ClientMessage::StdinEof).unwrap();
                    self.core.send(key, FrameType::Control, 0, 0, &eof, &mut self.up).unwrap();
                }
            }
        }
        self.core.expect(self.now);
    }

    /// What must be true of a channel that is not open: nothing can be sent on it.
    pub(super) fn send_while_closed(&mut self) {
        for owner in self.owners.iter().filter(|owner| owner.link == self.link && !owner.open) {
            let sent = self.core.send(owner.key, FrameType::Input, 0, 0, b"x", &mut self.up);
            assert_eq!(sent, Err(Refused::NotOpen));
        }
    }

    /// Tells what there is to tell and opens what there is to open.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some(told) = self.core.poll_told() {
                self.told(told);
            }
            let Some((key, at)) = self.core.next_opening(self.now, &mut self.up) else { break };
            let owner = &self.owners[at];
            assert!(!owner.dropped && owner.ended.is_none() && !owner.open && owner.key == key);
            let opening = match &owner.kind {
                Kind::File(file) => Opening::File { path: file.path.clone(), mode: 0o644 },
                Kind::Terminal(terminal) => Opening::Program(Open {
                    since: terminal.seen.map(|offset| Since {
                        epoch: Epoch(7),
                        offset,
                        size_generation: terminal.generation,
                    }),
                    window: 3000,
                    input: Some(terminal.stream.clone()),
                    ..Open::new("t", Mode::Interact)
                }),
            };
            self.core.opening(key, opening, self.now, &mut self.up);
        }
        if !self.core.has_told() {
            return;
        }
        self.settle();
    }

    fn told(&mut self, told: Told<usize, u64>) {
        match told {
            Told::Answer(id, answer) => {
                let slot = self.calls.get_mut(&id).expect("nobody hears of a call that was forgotten");
                assert_eq!(*slot, None, "answered twice");
                if let Ok(Reply::Info(info)) = &answer {
                    assert_eq!(info.version, id.to_string(), "its own answer");
                }
                *slot = Some(answer);
            }
            Told::Opened(at, opened) => self.opened(at, &opened),
            Told::Broken(at) => {
                let owner = &mut self.owners[at];
                assert!(!owner.dropped && owner.ended.is_none());
                assert!(std::mem::take(&mut owner.open), "broken twice, or before it was open");
            }
            Told::Closed(at, why) => {
                let owner = &mut self.owners[at];
                assert!(!owner.dropped, "told after it was closed");
                assert_eq!(owner.ended, None, "ended twice");
                owner.open = false;
                owner.ended = Some(why);
            }
            Told::Message(at, _, message) => self.message(at, message),
        }
    }

    fn opened(&mut self, at: usize, opened: &Opened) {
        let owner = &mut self.owners[at];
        assert!(!owner.dropped && owner.ended.is_none());
        assert!(!std::mem::replace(&mut owner.open, true), "opened twice");
        match &mut owner.kind {
            Kind::File(file) => (file.sent, file.finished) = (0, false),
            Kind::Terminal(terminal) => {
                assert_eq!(terminal.input.resume(opened.input_offset), Resumed::Continues);
                terminal.sent = terminal.input.acked();
                terminal.generation = opened.size_generation;
                match opened.how {
                    How::Exact => assert_eq!(Some(opened.offset), terminal.seen, "at its position"),
                    How::Snapshot => terminal.seen = None,
                }
            }
        }
        self.pump(at);
    }

    fn message(&mut self, at: usize, message: ServerMessage) {
        let Kind::Terminal(terminal) = &mut self.owners[at].kind else { return };
        match message {
            ServerMessage::Resized { size_generation, .. } => {
                terminal.generation = size_generation;
                terminal.seen = None;
            }
            ServerMessage::Skipped { .. } => terminal.seen = None,
            ServerMessage::Error(error) => {
                assert!(matches!(error.code, ErrorCode::InputGap | ErrorCode::InputOverflow), "{error:?}");
                terminal.sent = terminal.input.acked();
            }
            other => panic!("{other:?}"),
        }
    }

    fn frame(&mut self, at: usize, frame: &Frame<'_>) {
        let owner = &mut self.owners[at];
        assert!(owner.open && !owner.dropped && owner.ended.is_none());
        let key = owner.key;
        let Kind::Terminal(terminal) = &mut owner.kind else { return };
        let processed = match frame.kind {
            FrameType::Output => {
                assert_eq!(Some(frame.offset), terminal.seen, "output goes on where the screen is");
                let due = (frame.offset..).map(output_byte).take(frame.payload.len());
                assert!(frame.payload.iter().copied().eq(due), "the terminal's own bytes");
                frame.offset + frame.payload.len() as u64
            }
            FrameType::Snapshot => {
                assert_eq!(frame.payload, frame.offset.to_be_bytes());
                if frame.flags & flags::LAST == 0 {
                    terminal.seen = None;
                    return;
                }
                frame.offset
            }
            FrameType::InputAck => return terminal.input.ack(frame.offset),
            other => panic!("{other:?}"),
        };
        terminal.seen = Some(processed);
        self.core.send(key, FrameType::Ack, 0, processed, &[], &mut self.up).unwrap();
    }

    /// So many bytes reach the keeper.
    pub(super) fn up(&mut self, n: usize) {
        let n = n.min(self.up.0.len());
        let bytes: Vec<u8> = self.up.0.drain(..n).collect();
        self.keeper.hear(&bytes);
        self.down.extend(std::mem::take(&mut self.keeper.out));
    }

    /// So many bytes reach the link.
    pub(super) fn down(&mut self, n: usize) {
        let n = n.min(self.down.len());
        let bytes: Vec<u8> = self.down.drain(..n).collect();
        if n == 0 || !self.core.is_connected() {
            return;
        }
        self.core.heard(self.now);
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.push(&bytes);
        while let Some(frame) = decoder.next_frame().unwrap() {
            match self.core.received(&frame, self.now, &mut self.up) {
                Ok(Some(at)) => self.frame(at, &frame),
                Ok(None) => self.settle(),
                Err(error) => panic!("a keeper that keeps the protocol is kept: {error}"),
            }
        }
        self.decoder = decoder;
        self.settle();
    }

    pub(super) fn serve(&mut self) {
        self.keeper.serve();
        self.down.extend(std::mem::take(&mut self.keeper.out));
    }

    pub(super) fn resize(&mut self) {
        self.keeper.resize();
        self.down.extend(std::mem::take(&mut self.keeper.out));
    }

    pub(super) fn unplug(&mut self) {
        self.up.0.clear();
        self.down.clear();
        self.decoder = StreamDecoder::new();
        self.keeper.unplug();
    }

    /// The stream is cut: what is on it is gone.
    pub(super) fn cut(&mut self) {
        if self.core.is_connected() {
            self.unplug();
            self.core.lost(&LinkError::Lost("cut".into()), self.now);
            self.settle();
        }
    }

    /// Time passes until what is due next is done.
    pub(super) fn wait(&mut self) {
        self.now = self.core.due().max(self.now);
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        if self.ended {
            return;
        }
        let was = self.core.is_connected();
        match self.core.tick(self.now, &mut self.up) {
            Step::Connect => self.dialing = true,
            Step::End => self.ended = true,
            Step::Nothing => {}
        }
        if was && !self.core.is_connected() {
            self.unplug();
        }
        self.dialing &= self.core.is_connecting();
        self.settle();
    }

    /// Making a stream succeeds, or not.
    pub(super) fn dialed(&mut self, ok: bool) {
        if !std::mem::take(&mut self.dialing) {
            return;
        }
        if ok {
            self.unplug();
            self.connections += 1;
            self.core.connected(false, self.now, &mut self.up);
        } else {
            self.core.lost(&LinkError::Lost("it cannot be reached".into()), self.now);
        }
        self.settle();
    }

    /// Everything goes well for long enough that all should be where it belongs.
    pub(super) fn heal(&mut self) {
        self.keeper.refuse = 0;
        for _ in 0..60 {
            self.serve();
            self.up(usize::MAX);
            self.down(usize::MAX);
            self.dialed(true);
            for at in 0..self.owners.len() {
                self.pump(at);
            }
            if !self.core.is_connected() || self.core.due() < self.now + Duration::from_secs(2) {
                self.wait();
            }
        }
    }

    /// Every owner that is still there has what is its due.
    pub(super) fn check(&self) {
        for owner in &self.owners {
            match (&owner.kind, &owner.ended) {
                _ if owner.dropped => {}
                (Kind::Terminal(terminal), None) => {
                    assert!(owner.open, "it is open again");
                    assert_eq!(terminal.seen, Some(self.keeper.ring.end()));
                    let typed = self.keeper.typed.get(&terminal.stream).map_or(&[][..], Vec::as_slice);
                    assert!(typed == terminal.typed, "{} of {} typed", typed.len(), terminal.typed.len());
                }
                (Kind::File(file), Some(LinkError::Closed(_))) => {
                    assert_eq!(self.keeper.files.get(&file.path), Some(&file.contents), "the file is whole");
                }
                (Kind::File(_), None) => panic!("a file is neither written nor refused"),
                (_, Some(LinkError::Lost(_) | LinkError::TimedOut { .. })) => {}
                (_, Some(other)) => panic!("{other:?}"),
            }
        }
        for (id, answer) in &self.calls {
            assert!(answer.is_some(), "call {id} was not answered");
        }
    }

    /// Everybody lets go: nothing is left.
    pub(super) fn let_go(&mut self) {
        for _ in 0..self.owners.len() {
            self.close(0);
        }
        self.heal();
        assert_eq!(self.keeper.open_channels(), 0, "channels are left at the keeper");
        for _ in 0..10 {
            self.wait();
        }
        assert!(self.ended, "the link goes when nobody needs it");
    }
}
