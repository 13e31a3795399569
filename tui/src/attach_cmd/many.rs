//! Several sessions side by side.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lap_platform::client::attach::AttachClient;
use ratatui::layout::Rect;
use ratatui::style::Style;
use tokio::time::Instant;
use unicode_width::UnicodeWidthStr;

use super::{AttachError, AttachOptions, Ending};
use crate::panes::{Effect, PaneEvent, PaneStyle, Panes, Place, ShownCursor, in_rows, write_line};
use crate::terminal::{Inputs, Screen, TermInput};

/// Between two hints.
const SEPARATOR: &str = " · ";
/// The least time between two frames.
const FRAME_GAP: Duration = Duration::from_millis(8);
/// Events taken before a frame that is due.
const DRAIN: usize = 256;
/// How long a message stands.
const NOTICE_TIME: Duration = Duration::from_secs(4);

struct Many<'a> {
    screen: &'a Screen,
    client: AttachClient,
    panes: Panes,
    style: PaneStyle,
    notice: Option<(String, Instant)>,
    left: bool,
    dirty: bool,
}

pub(super) async fn run(options: &AttachOptions, client: AttachClient) -> Result<Ending, AttachError> {
    let screen = Screen::enter(options.reports, options.clipboard.clone())?;
    let mut terminal = screen.terminal()?;
    let mut inputs = Inputs::new(screen.tty())?;
    let size = terminal.size()?;
    let mut many = Many {
        screen: &screen,
        client,
        panes: Panes::new(options.panes.clone()),
        style: PaneStyle::default(),
        notice: None,
        left: false,
        dirty: true,
    };
    let effects = many.panes.set_area(panes_area(Rect::new(0, 0, size.width, size.height)));
    many.effects(effects)?;
    for session in &options.sessions {
        let effects = many.panes.open(session.clone(), options.mode(), Place::Anywhere);
        many.effects(effects)?;
    }
    let mut drawn: Option<Instant> = None;
    while !many.left {
        // The next frame waits until the terminal has taken the last, and so does what it would show: the server then
        // skips. Signals do not wait.
        let behind = screen.outlet().is_behind();
        for _ in 0..if behind { 0 } else { DRAIN } {
            let Some(event) = many.client.next().now_or_never() else { break };
            many.pane_event(PaneEvent::Attach(event))?;
        }
        many.dirty |= many.panes.take_dirty();
        let mut due = None;
        if many.dirty && !behind {
            let next = drawn.map(|at| at + FRAME_GAP).filter(|at| *at > Instant::now());
            if next.is_none() {
                let mut shape = None;
                terminal.draw(|frame| {
                    let cursor = many.draw(frame);
                    if let Some(cursor) = cursor {
                        frame.set_cursor_position(cursor.position);
                    }
                    shape = cursor.map(|cursor| cursor.shape);
                })?;
                if let Some(shape) = shape {
                    screen.cursor_style(shape)?;
                }
                many.dirty = false;
                drawn = Some(Instant::now());
            }
            due = next;
        }
        let behind = screen.outlet().is_behind();
        let notice = many.notice.as_ref().map(|(_, until)| *until);
        let panes = many.panes.deadline().map(Instant::from_std);
        let deadline = [due, notice, panes].into_iter().flatten().min();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            input = inputs.next() => match input {
                None => return Err(AttachError::Signal),
                Some(TermInput::Event(event)) => many.pane_event(PaneEvent::Input(event))?,
                Some(TermInput::Resize(size)) => {
                    let effects = many.panes.set_area(panes_area(Rect::new(0, 0, size.cols, size.rows)));
                    many.effects(effects)?;
                }
                Some(TermInput::Stop) => {
                    screen.suspend()?;
                    terminal.clear()?;
                    many.dirty = true;
                }
            },
            taken = poll_fn(|cx| screen.outlet().poll_taken(cx)), if behind => taken?,
            event = many.client.next(), if !behind => many.pane_event(PaneEvent::Attach(event))?,
            copied = poll_fn(|cx| screen.poll_copied(cx)) => many.tell(copied?),
            () = sleep => many.time()?,
        }
    }
    Ok(Ending::Left)
}

/// All but the last row.
fn panes_area(screen: Rect) -> Rect {
    Rect { height: screen.height.saturating_sub(1), ..screen }
}

impl Many<'_> {
    fn pane_event(&mut self, event: PaneEvent) -> Result<(), AttachError> {
        let effects = self.panes.handle(event, std::time::Instant::now());
        self.effects(effects)
    }

    fn effects(&mut self, effects: Vec<Effect>) -> Result<(), AttachError> {
        for effect in effects {
            match effect {
                Effect::Attach(command) => {
                    if let Err(error) = self.client.command(command) {
                        // A channel that has ended meanwhile says so itself.
                        if matches!(error, lap_platform::client::attach::CommandError::InputFull(_)) {
                            self.tell(error.to_string());
                        }
                    }
                }
                Effect::Copy(text, by) => self.screen.copy(text, by),
                Effect::Notice(text) => self.tell(text),
                Effect::Bell => self.screen.bell()?,
                Effect::Keyboard(keys) => self.screen.keyboard(keys)?,
                Effect::MouseMotion(on) => self.screen.mouse_motion(on)?,
                Effect::Choose(_) => self.tell(
                    "name more sessions to see more: `lap attach A B C`; in the dashboard, `lap`, they open from a list"
                        .into(),
                ),
                Effect::Restart(session) => {
                    // By its id: a title is neither unique nor one word.
                    self.tell(format!("`lap sessions restart {}` starts it again", session.id));
                }
                Effect::Reconnect => self.client.retry_now(),
                Effect::Leave | Effect::Empty => self.left = true,
            }
        }
        self.client.send_now();
        Ok(())
    }

    fn tell(&mut self, text: String) {
        self.notice = Some((text, Instant::now() + NOTICE_TIME));
        self.dirty = true;
    }

    fn time(&mut self) -> Result<(), AttachError> {
        if self.notice.as_ref().is_some_and(|(_, until)| *until <= Instant::now()) {
            self.notice = None;
            self.dirty = true;
        }
        self.pane_event(PaneEvent::Tick)
    }

    fn draw(&self, frame: &mut ratatui::Frame<'_>) -> Option<ShownCursor> {
        let area = frame.area();
        let buf = frame.buffer_mut();
        let cursor = self.panes.render(buf, &self.style);
        if area.height > 0 {
            let hints = self.panes.hints();
            let lines = if let Some((notice, _)) = &self.notice {
                vec![notice.clone()]
            } else if hints.is_empty() {
                let prefix = self.panes.prefix_name();
                vec![format!("{prefix} d leaves, sessions go on · {prefix} alone lists lap's other keys")]
            } else {
                let wide = usize::from(area.width.saturating_sub(2));
                let rows = in_rows(&hints, wide, SEPARATOR.width());
                let said = |(keys, doc): &(String, &str)| format!("{keys} {doc}");
                rows.iter()
                    .map(|row| row.iter().map(said).collect::<Vec<_>>().join(SEPARATOR))
                    .collect::<Vec<_>>()
            };
            let style = if self.notice.is_some() { self.style.warning } else { Style::new() };
            // The last line stands in the last row; more than one lie over the terminals while a key is awaited.
            for (y, line) in (area.y..area.bottom()).rev().zip(lines.iter().rev()) {
                write_line(buf, Rect { y, height: 1, ..area }, &format!(" {line}"), style);
            }
        }
        cursor
    }
}
