//! One terminal that is shown: its model, fed from its channel, and how it is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lap_platform::client::attach::{ChannelEvent, ChannelSpec, Command, Opened, new_channel};
use lap_vt::{DefaultColors, Limits, Rgb, Terminal};
use lap_wire::ChannelId;
use lap_wire::control::{ExitStatus, How, LeaseAction, Mode, Size, Viewer, WireError};
use lap_wire::limits::MAX_SNAPSHOT_SCROLLBACK;

use super::{CopiedBy, Effect, HostColors, PaneSession};

/// A program's update (mode 2026) is held back no longer than this: beyond it, it forgot to end it.
pub(super) const HELD_AT_MOST: Duration = Duration::from_millis(100);
/// For how long a pane says that it was too slow and had to skip.
const SKIP_SHOWN: Duration = Duration::from_secs(3);
/// Scrollback a snapshot brings: enough to look back after a reconnect, little enough for a slow link.
const SNAPSHOT_SCROLLBACK: u32 = 256 * 1024;
/// Text a program may put into the person's clipboard. Terminals take about this much in one OSC 52.
pub(super) const MAX_CLIPBOARD: usize = 74_994;

/// How the channel is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Asked for.
    Connecting,
    /// What is shown is what is there.
    Live,
    /// It could not be opened; tried again at this time.
    Retrying(WireError, Instant),
    /// The program has ended.
    Ended(ExitStatus),
    /// The channel has ended.
    Closed(String),
}

pub(super) struct Viewed {
    pub(super) session: PaneSession,
    pub(super) channel: ChannelId,
    pub(super) mode: Mode,
    pub(super) terminal: Terminal,
    pub(super) state: State,
    pub(super) title: Option<String>,
    pub(super) viewers: Vec<Viewer>,
    /// Whether another viewer has the only right to type.
    pub(super) locked: bool,
    /// The size the terminal has; the model gets it with the next snapshot.
    remote: Size,
    /// The size last asked for.
    wanted: Option<Size>,
    shown: bool,
    scrollback: usize,
    colors: DefaultColors,
    /// The output before this has had its queries answered.
    head: u64,
    /// Since when the program is in the middle of an update; meanwhile the last whole picture is shown.
    held: Option<Instant>,
    skipped: Option<Instant>,
    /// The next skip is no sign of being slow: a snapshot is due anyway.
    skip_expected: bool,
    /// More scrollback has been asked for than the last snapshot brought unasked.
    history_asked: bool,
    pub(super) dirty: bool,
    /// Rows that went into the scrollback since last asked: what looks at older rows moves with them.
    pub(super) scrolled: usize,
}

impl Viewed {
    /// A terminal and the effects that open its channel.
    pub(super) fn open(
        session: PaneSession,
        mode: Mode,
        size: Option<Size>,
        scrollback: usize,
        colors: HostColors,
    ) -> (Viewed, Effect) {
        let remote = size.unwrap_or_default();
        let channel = new_channel();
        let spec = ChannelSpec {
            size,
            scrollback: SNAPSHOT_SCROLLBACK,
            ..ChannelSpec::new(session.id.clone(), mode)
        };
        let colors = default_colors(colors);
        let viewed = Viewed {
            session,
            channel,
            mode,
            terminal: model(remote, scrollback, colors),
            state: State::Connecting,
            title: None,
            viewers: Vec::new(),
            locked: false,
            remote,
            wanted: size,
            shown: true,
            scrollback,
            colors,
            head: 0,
            held: None,
            skipped: None,
            skip_expected: false,
            history_asked: false,
            dirty: true,
            scrolled: 0,
        };
        (viewed, Effect::Attach(Command::Open { channel, spec }))
    }

    pub(super) fn close(&self) -> Effect {
        Effect::Attach(Command::Close { channel: self.channel })
    }

    pub(super) fn resize(&mut self, size: Size) -> Option<Effect> {
        if self.wanted == Some(size) || !size.is_valid() || self.is_over() {
            return None;
        }
        self.wanted = Some(size);
        Some(Effect::Attach(Command::Resize { channel: self.channel, size }))
    }

    pub(super) fn set_shown(&mut self, shown: bool) -> Option<Effect> {
        if self.shown == shown || self.is_over() {
            return None;
        }
        self.shown = shown;
        self.dirty |= shown;
        self.skip_expected |= shown;
        Some(Effect::Attach(Command::Visible { channel: self.channel, visible: shown }))
    }

    pub(super) fn type_in(&self, bytes: Vec<u8>) -> Option<Effect> {
        let takes = self.mode != Mode::View && !self.is_over() && !bytes.is_empty();
        takes.then(|| self.input(bytes.into(), false))
    }

    fn input(&self, bytes: Bytes, reply: bool) -> Effect {
        Effect::Attach(Command::Input { channel: self.channel, bytes, reply })
    }

    pub(super) fn take_keyboard(&self) -> Effect {
        Effect::Attach(Command::Lease { channel: self.channel, action: LeaseAction::Steal })
    }

    /// Somebody looks back: asks, once, for the scrollback that snapshots after a resize or a skip leave out.
    pub(super) fn wants_history(&mut self) -> Option<Effect> {
        let enough = self.scrollback.min(MAX_SNAPSHOT_SCROLLBACK as usize);
        let has = self.terminal.scrollback_bytes();
        if self.history_asked || has >= enough || self.terminal.modes().alternate_screen || self.is_over() {
            return None;
        }
        self.history_asked = true;
        let (channel, scrollback) = (self.channel, MAX_SNAPSHOT_SCROLLBACK);
        Some(Effect::Attach(Command::Snapshot { channel, scrollback }))
    }

    /// The channel has nothing more to say.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// Whether a program is there to take keys.
    pub(super) fn has_program(&self) -> bool {
        !matches!(self.state, State::Ended(_) | State::Closed(_))
    }

    /// Whether the picture is in the middle of an update.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held.is_some_and(|held| now < held + HELD_AT_MOST)
    }

    /// Whether the reader was too slow a moment ago.
    pub(super) fn has_skipped(&self, now: Instant) -> bool {
        self.skipped.is_some_and(|at| now < at + SKIP_SHOWN)
    }

    /// When it looks different although nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let held = self.held.map(|since| since + HELD_AT_MOST);
        held.into_iter().chain(self.skipped.map(|at| at + SKIP_SHOWN)).min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.held.is_some_and(|held| now >= held + HELD_AT_MOST) {
            // Held no longer, until the program ends this update and begins another.
            self.held = None;
            self.dirty = true;
        }
        if self.skipped.is_some_and(|at| now >= at + SKIP_SHOWN) {
            self.skipped = None;
            self.dirty = true;
        }
    }

    /// Whose size the terminal has, if not ours.
    pub(super) fn sized_by(&self) -> Option<&Viewer> {
        self.viewers.iter().find(|viewer| viewer.active && !viewer.you)
    }

    /// Whether the terminal has another size than its place here.
    pub(super) fn is_foreign_size(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted != self.remote) && self.state == State::Live
    }

    /// Takes what the channel says.
    pub(super) fn handle(&mut self, event: ChannelEvent, now: Instant, effects: &mut Vec<Effect>) {
        self.dirty = true;
        match event {
            ChannelEvent::Opened(opened) => self.opened(opened),
            ChannelEvent::Snapshot { offset, bytes } => {
                self.terminal = model(self.remote, self.scrollback, self.colors);
                self.terminal.set_replies(false);
                self.terminal.feed(&bytes);
                // A snapshot says nothing new: what it rings or asks was rung and asked before.
                self.terminal.events().for_each(drop);
                self.scrolled = 0;
                self.skip_expected = false;
                self.after_feed(now);
                self.processed(offset, effects);
            }
            ChannelEvent::Output { offset, bytes } => {
                self.skip_expected = false;
                self.output(offset, &bytes, effects);
                self.after_feed(now);
                self.processed(offset + bytes.len() as u64, effects);
            }
            ChannelEvent::Ready => {}
            ChannelEvent::Resized { size } => {
                self.remote = size;
                self.skip_expected = true;
                self.history_asked = false;
            }
            ChannelEvent::Skipped { .. } => {
                self.history_asked = false;
                if !self.skip_expected {
                    self.skipped = Some(now);
                }
            }
            ChannelEvent::Exit(status) => self.state = State::Ended(status),
            ChannelEvent::Presence(viewers) => self.viewers = viewers,
            ChannelEvent::Attention { .. } => {}
            ChannelEvent::Title(title) => self.title = Some(title),
            ChannelEvent::Lease { holder, mine } => self.locked = holder.is_some() && !mine,
            ChannelEvent::Error(error) => effects.push(Effect::Notice(with_hint(&self.session.name, &error))),
            ChannelEvent::Retrying { error, retry_in } => self.state = State::Retrying(error, now + retry_in),
            ChannelEvent::InputLost(n) => {
                let what = if n == 1 { "the last key".to_owned() } else { format!("the last {n} bytes") };
                effects.push(Effect::Notice(format!("{}: {what} may not have arrived", self.session.name)));
            }
            ChannelEvent::Closed { reason } => {
                // How the program ended says more than that the channel did.
                if !matches!(self.state, State::Ended(_)) {
                    self.state = State::Closed(reason);
                }
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        self.state = State::Live;
        self.history_asked = false;
        self.head = opened.head;
        self.remote = opened.size;
        if opened.title.is_some() {
            self.title = opened.title;
        }
        if opened.how == How::Exact && lap_size(self.remote) != self.terminal.size() {
            // Only a program that has printed nothing yet is begun with exactly at another size.
            self.terminal = model(self.remote, self.scrollback, self.colors);
        }
    }

    fn output(&mut self, offset: u64, bytes: &[u8], effects: &mut Vec<Effect>) {
        let before = self.terminal.rows_pushed();
        let known = usize::try_from(self.head.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let (answered, new) = bytes.split_at(known);
        if !answered.is_empty() {
            self.terminal.set_replies(false);
            self.terminal.feed(answered);
            self.terminal.events().for_each(drop);
        }
        if !new.is_empty() {
            self.terminal.set_replies(self.mode != Mode::View);
            self.terminal.feed(new);
            let mut replies = Vec::new();
            for event in self.terminal.events() {
                match event {
                    lap_vt::Event::Reply(bytes) => replies.extend_from_slice(&bytes),
                    lap_vt::Event::Bell => effects.push(Effect::Bell),
                    lap_vt::Event::Title(title) => self.title = Some(title),
                    lap_vt::Event::Clipboard { data, .. } => copy(&data, effects),
                    lap_vt::Event::Notification { title, body } => {
                        let text = [title, body]
                            .into_iter()
                            .filter(|t| !t.is_empty())
                            .collect::<Vec<_>>()
                            .join(": ");
                        effects.push(Effect::Notice(format!("{}: {text}", self.session.name)));
                    }
                    lap_vt::Event::State(_) | lap_vt::Event::Progress(_) => {}
                }
            }
            if !replies.is_empty() {
                effects.push(self.input(replies.into(), true));
            }
        }
        let pushed = self.terminal.rows_pushed().saturating_sub(before);
        self.scrolled += usize::try_from(pushed).unwrap_or(usize::MAX);
    }

    fn after_feed(&mut self, now: Instant) {
        if !self.terminal.modes().synchronized_output {
            self.held = None;
        } else if self.held.is_none() {
            self.held = Some(now);
        }
    }

    fn processed(&self, offset: u64, effects: &mut Vec<Effect>) {
        effects.push(Effect::Attach(Command::Processed { channel: self.channel, offset }));
    }
}

/// A program wants something in the clipboard.
fn copy(data: &[u8], effects: &mut Vec<Effect>) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() <= MAX_CLIPBOARD {
        effects.push(Effect::Copy(text.to_owned(), CopiedBy::Program));
    } else {
        effects.push(Effect::Notice(format!("a program wanted to copy {} bytes: too much", text.len())));
    }
}

fn with_hint(name: &str, error: &WireError) -> String {
    match &error.hint {
        Some(hint) => format!("{name}: {}: {hint}", error.message),
        None => format!("{name}: {}", error.message),
    }
}

fn lap_size(size: Size) -> lap_vt::Size {
    lap_vt::Size { cols: size.cols, rows: size.rows }
}

fn model(size: Size, scrollback: usize, colors: DefaultColors) -> Terminal {
    let mut terminal = Terminal::new(lap_size(size), Limits { scrollback_bytes: scrollback });
    terminal.set_default_colors(colors);
    terminal
}

fn default_colors(host: HostColors) -> DefaultColors {
    let default = DefaultColors::default();
    let rgb = |color: Option<(u8, u8, u8)>| color.map(|(r, g, b)| Rgb(r, g, b));
    let foreground = rgb(host.foreground).unwrap_or(default.foreground);
    DefaultColors {
        foreground,
        background: rgb(host.background).unwrap_or(default.background),
        cursor: rgb(host.foreground).unwrap_or(default.cursor),
    }
}
