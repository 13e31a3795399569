//! One session in the whole terminal.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyEventKind};
use lap_platform::client::attach::{
    AttachClient, ChannelEvent, ChannelSpec, Command, Event, Link, new_channel,
};
use lap_wire::ChannelId;
use lap_wire::control::Mode;
use tokio::time::Instant;

use super::outer::{GENTLE_RESET, Outer};
use super::{AttachError, AttachOptions, Ending};
use crate::panes::same_key;
use crate::term_input::{Held, InputEvent, Key, Parser, Token, What};
use crate::terminal::{Signal, Signals, Tty, install_panic_hook, stop_self};

/// Bytes read from the terminal at once.
const READ: usize = 16 * 1024;
/// Scrollback that comes with the first snapshot, into the outer terminal's own.
const SCROLLBACK: u32 = 64 * 1024;
/// Output that waits for the outer terminal; beyond it no more is taken from the server.
const MAX_WAITING: usize = 256 * 1024;
/// Answers to queries that were answered before we came arrive within this time after them.
const SETTLING: Duration = Duration::from_millis(200);
/// How long a message of ours stands, if no key is pressed before.
const NOTICE_TIME: Duration = Duration::from_secs(4);

/// What woke the loop.
enum Woken {
    Typed(usize),
    Written(usize),
    Server(Event),
    Signal(Signal),
    Time,
}

struct Single {
    tty: Tty,
    signals: Signals,
    client: AttachClient,
    channel: ChannelId,
    mode: Mode,
    prefix: Key,
    prefix_name: String,
    name: String,
    outer: Outer,
    parser: Parser,
    tokens: Vec<Token>,
    /// The key before was the prefix.
    prefixed: bool,
    /// Keys that are down and that the program was not told of.
    kept: Held<()>,
    /// Queries before this offset were answered before we came.
    head: u64,
    /// Until then the terminal may still answer them.
    settling: Option<Instant>,
    notice_until: Option<Instant>,
    /// The output's end that the model and the terminal have.
    written: u64,
    greeted: bool,
    lost: bool,
    ending: Option<Ending>,
}

pub(super) async fn run(options: &AttachOptions, client: AttachClient) -> Result<Ending, AttachError> {
    let Some(session) = options.sessions.first() else { return Err(AttachError::NoSession) };
    install_panic_hook();
    let tty = Tty::open()?;
    tty.set_undo(GENTLE_RESET);
    let signals = Signals::new()?;
    let size = tty.size().unwrap_or_default();
    let mode = options.mode();
    let mut single = Single {
        tty,
        signals,
        client,
        channel: new_channel(),
        mode,
        prefix: options.panes.prefix.clone(),
        prefix_name: crate::panes::key_name(&options.panes.prefix),
        name: session.name.clone(),
        outer: Outer::new(size),
        parser: Parser::new(),
        tokens: Vec::new(),
        prefixed: false,
        kept: Held::default(),
        head: 0,
        settling: None,
        notice_until: None,
        written: 0,
        greeted: false,
        lost: false,
        ending: None,
    };
    let size = (mode != Mode::View).then_some(size);
    let spec = ChannelSpec { size, scrollback: SCROLLBACK, ..ChannelSpec::new(session.id.clone(), mode) };
    single.command(Command::Open { channel: single.channel, spec });
    let ended = single.run().await;
    let farewell = match &ended {
        Ok(Ending::Left) => format!("[left {}: it goes on; `lap attach` comes back]\r\n", session.name),
        Ok(Ending::Exited(status)) => match (&status.signal, status.code) {
            (Some(signal), _) => format!("[{} was ended by {signal}]\r\n", session.name),
            (None, code) => format!("[{} has exited with status {}]\r\n", session.name, code.unwrap_or(0)),
        },
        Ok(Ending::Closed(reason)) => format!("[{}: {reason}]\r\n", session.name),
        Err(_) => String::new(),
    };
    let mut last = single.outer.leave();
    last.extend_from_slice(farewell.as_bytes());
    // Restored by the descriptor's guard, after this is written: in the order of a terminal that is slow.
    single.tty.set_undo(&last);
    ended
}

impl Single {
    fn command(&mut self, command: Command) {
        // Refused where the channel has ended, which is told by an event, or a paste is too large for the program.
        if self.client.command(command).is_err() && self.ending.is_none() {
            self.notice("the program takes no more input now");
        }
    }

    async fn run(&mut self) -> Result<Ending, AttachError> {
        let mut buffer = vec![0; READ];
        let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        loop {
            self.flush()?;
            if let Some(ending) = self.ending.take_if(|_| self.outer.out.is_empty()) {
                return Ok(ending);
            }
            let due = self.deadline();
            if let Some(due) = due
                && due != sleep.deadline()
            {
                sleep.as_mut().reset(due);
            }
            let woken = poll_fn(|cx| {
                if let Poll::Ready(woken) = self.poll(cx, &mut buffer) {
                    return Poll::Ready(woken);
                }
                match due {
                    Some(_) => sleep.as_mut().poll(cx).map(|()| Ok(Woken::Time)),
                    None => Poll::Pending,
                }
            });
            match woken.await? {
                Woken::Typed(0) => return Err(AttachError::Signal),
                Woken::Typed(n) => self.typed(buffer.get(..n).unwrap_or_default()),
                Woken::Written(n) => {
                    self.outer.out.drain(..n);
                }
                Woken::Server(event) => self.event(event)?,
                Woken::Signal(Signal::Resize) => self.resized(),
                Woken::Signal(Signal::Stop) => {
                    let leave = self.outer.leave();
                    self.tty.suspended(&leave, stop_self)?;
                    self.resized();
                    self.outer.repaint();
                }
                Woken::Signal(Signal::End) => return Err(AttachError::Signal),
                Woken::Time => self.time(),
            }
        }
    }

    /// Keys first: what a person does goes before what a program prints.
    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Woken>> {
        if let Poll::Ready(read) = self.tty.poll_read(cx, buffer) {
            return Poll::Ready(Ok(Woken::Typed(read.unwrap_or(0))));
        }
        if let Poll::Ready(signal) = self.signals.poll_next(cx) {
            return Poll::Ready(Ok(Woken::Signal(signal)));
        }
        if !self.outer.out.is_empty()
            && let Poll::Ready(written) = self.tty.poll_write(cx, &self.outer.out)
        {
            return Poll::Ready(written.map(Woken::Written));
        }
        // A terminal that is behind is waited for: the server then skips, and the program is not held up.
        if self.outer.out.len() < MAX_WAITING && self.ending.is_none() {
            return self.client.poll_event(cx).map(|event| Ok(Woken::Server(event)));
        }
        self.client.send_now();
        Poll::Pending
    }

    /// Writes what the terminal takes at once.
    fn flush(&mut self) -> io::Result<()> {
        while !self.outer.out.is_empty() {
            match self.tty.try_write(&self.outer.out)? {
                0 => return Ok(()),
                n => {
                    self.outer.out.drain(..n);
                }
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let sequence = self.parser.deadline().map(Instant::from_std);
        [self.notice_until, sequence].into_iter().flatten().min()
    }

    fn time(&mut self) {
        let now = Instant::now();
        self.parser.tick(now.into_std(), &mut self.tokens);
        if !self.tokens.is_empty() {
            self.take_tokens();
            self.client.send_now();
        }
        if self.notice_until.is_some_and(|at| at <= now) {
            self.end_notice();
        }
    }

    fn notice(&mut self, text: &str) {
        self.outer.notice(&format!(" {text} "));
        self.notice_until = Some(Instant::now() + NOTICE_TIME);
    }

    fn end_notice(&mut self) {
        self.notice_until = None;
        if self.outer.has_notice() && !self.lost {
            self.outer.repaint();
        }
    }

    // What the person does.

    fn typed(&mut self, bytes: &[u8]) {
        if self.notice_until.is_some() {
            self.end_notice();
        }
        let plain = !self.prefixed && self.parser.is_idle() && !bytes.iter().any(|b| *b < 0x20 || *b == 0x7f);
        if plain && std::str::from_utf8(bytes).is_ok() {
            self.send(bytes.to_vec(), false);
        } else {
            let now = std::time::Instant::now();
            self.parser.feed(bytes, now, &mut self.tokens);
            // A read that ends in a lone Escape is the key: what follows is passed on in order all the same.
            if self.parser.is_escape() {
                self.parser.flush(now, &mut self.tokens);
            }
            self.take_tokens();
        }
        self.client.send_now();
    }

    fn take_tokens(&mut self) {
        let mut typed = Vec::new();
        for token in std::mem::take(&mut self.tokens) {
            match token.what {
                What::Reply => {
                    self.send(std::mem::take(&mut typed), false);
                    self.send(token.raw, true);
                }
                What::Event(InputEvent::Key(key)) => self.key(&key, &token.raw, &mut typed),
                _ => typed.extend_from_slice(&token.raw),
            }
        }
        self.send(typed, false);
    }

    /// The program's, unless it is the prefix or comes after it. Of a key that is ours the program gets neither half.
    fn key(&mut self, key: &Key, raw: &[u8], typed: &mut Vec<u8>) {
        if !key.is_down() {
            if self.kept.release(key).is_none() {
                typed.extend_from_slice(raw);
            }
            return;
        }
        let prefix = same_key(key, &self.prefix);
        if !self.prefixed && !prefix {
            return typed.extend_from_slice(raw);
        }
        self.kept.press(key, ());
        // Shift on its way to a capital is no choice, and the prefix held down is not the prefix twice.
        if matches!(key.code, KeyCode::Modifier(_)) || key.kind == KeyEventKind::Repeat {
            return;
        }
        let second = self.prefixed;
        self.prefixed = !second;
        if second {
            self.after_prefix(key, raw, typed);
        }
    }

    fn after_prefix(&mut self, key: &Key, raw: &[u8], typed: &mut Vec<u8>) {
        if same_key(key, &self.prefix) {
            self.kept.release(key);
            typed.extend_from_slice(raw);
            return;
        }
        match key.command().0 {
            KeyCode::Char('d') => self.ending = Some(Ending::Left),
            KeyCode::Char('r') => self.client.retry_now(),
            _ => {
                let prefix = &self.prefix_name;
                let help = format!(
                    "{prefix} d leaves, the session goes on · {prefix} r reconnects · {prefix} {prefix} sends {prefix}"
                );
                self.notice(&help);
            }
        }
    }

    fn send(&mut self, bytes: Vec<u8>, reply: bool) {
        let settling = self.settling.is_some_and(|until| until > Instant::now()) || self.written < self.head;
        if bytes.is_empty() || self.mode == Mode::View || (reply && (settling || !self.outer.is_straight())) {
            return;
        }
        self.command(Command::Input { channel: self.channel, bytes: Bytes::from(bytes), reply });
    }

    fn resized(&mut self) {
        let Some(size) = self.tty.size() else { return };
        self.outer.size = size;
        if self.mode == Mode::View {
            self.outer.repaint();
        } else {
            self.command(Command::Resize { channel: self.channel, size });
        }
    }

    // What the server says.

    fn event(&mut self, event: Event) -> Result<(), AttachError> {
        match event {
            Event::Link(Link::Connected { restarted: true, .. }) => {
                self.notice("the server was started again · the session went on meanwhile");
            }
            Event::Link(Link::Connected { .. }) => {}
            Event::Link(Link::Reconnecting { retry_in, reason, .. }) => {
                self.lost = true;
                let when = match retry_in.as_secs_f64().round() {
                    0.0 => String::new(),
                    seconds => format!(" in {seconds} s"),
                };
                let prefix = &self.prefix_name;
                let text = format!("{reason} · reconnecting{when} · the session goes on · {prefix} d leaves");
                self.notice(&text);
            }
            Event::Link(Link::Refused { error }) => return Err(AttachError::Refused(error)),
            Event::Channel(channel, event) if channel == self.channel => return self.channel_event(event),
            Event::Channel(..) => {}
        }
        Ok(())
    }

    fn channel_event(&mut self, event: ChannelEvent) -> Result<(), AttachError> {
        match event {
            ChannelEvent::Opened(opened) => {
                self.lost = false;
                self.head = opened.head;
                self.written = opened.offset;
                self.outer.resized(opened.size);
                if opened.how == lap_wire::control::How::Exact {
                    self.outer.repaint();
                    self.greet();
                }
            }
            ChannelEvent::Snapshot { offset, bytes } => {
                self.outer.snapshot(&bytes);
                self.written = offset;
                self.processed(offset);
                self.greet();
            }
            ChannelEvent::Output { offset, bytes } => {
                let straight = self.outer.is_straight() && !self.outer.has_notice();
                self.outer.output(&bytes);
                self.written = offset + bytes.len() as u64;
                if offset < self.head {
                    self.settling = Some(Instant::now() + SETTLING);
                }
                // On its way to the person before anything else is done with it.
                self.flush()?;
                if straight {
                    self.outer.feed(&bytes);
                }
                (0..self.outer.take_reports_asked()).for_each(|_| self.parser.expect_report());
                self.processed(self.written);
            }
            ChannelEvent::Resized { size } => self.outer.resized(size),
            ChannelEvent::Exit(status) => self.ending = Some(Ending::Exited(status)),
            ChannelEvent::Closed { reason } => {
                self.ending.get_or_insert(Ending::Closed(reason));
            }
            ChannelEvent::Error(error) => {
                let text = super::with_hint(&error);
                self.notice(&text);
            }
            ChannelEvent::Retrying { error, .. } => {
                let text = format!("{}: {} · {} d leaves", self.name, error.message, self.prefix_name);
                self.notice(&text);
            }
            ChannelEvent::InputLost(_) => self.notice("the last keys may not have arrived"),
            ChannelEvent::Ready
            | ChannelEvent::Skipped { .. }
            | ChannelEvent::Presence(_)
            | ChannelEvent::Attention { .. }
            | ChannelEvent::Title(_)
            | ChannelEvent::Lease { .. } => {}
        }
        Ok(())
    }

    fn processed(&mut self, offset: u64) {
        self.command(Command::Processed { channel: self.channel, offset });
    }

    /// Says once how to get out again.
    fn greet(&mut self) {
        if std::mem::replace(&mut self.greeted, true) {
            return;
        }
        let view = if self.mode == Mode::View { " (view only)" } else { "" };
        let text = format!("{}{view} · {} d leaves, the session goes on", self.name, self.prefix_name);
        self.notice(&text);
    }
}
