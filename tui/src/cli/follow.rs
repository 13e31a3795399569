//! `lap sessions logs --follow`: what a terminal has printed, and then what it prints.

use std::pin::pin;

use bytes::Bytes;
use lap_platform::client::Client;
use lap_platform::client::attach::{
    AttachClient, ChannelEvent, ChannelSpec, Command, Event, Link, new_channel,
};
use lap_platform::model::Session;
use lap_platform::plain_text::{PlainText, lines_of_screen};
use lap_vt::{Limits, Size, Terminal};
use lap_wire::control::{ErrorCode, Mode};

use super::attach::locate;
use super::connect::App;
use super::fault::{Exit, Fault};
use super::print::{nobody_reads, note};
use crate::dashboard::app::endpoint;

/// A follower's screen matters only for where its cursor is: the server cuts lines of any terminal to its own size.
const SIZE: Size = Size { cols: 80, rows: 24 };

/// Prints a live session's log and what follows, line by line, until the program has ended.
pub(super) async fn follow(
    app: &App,
    client: &Client,
    session: &Session,
    tail: Option<u32>,
) -> Result<(), Fault> {
    let find = locate(app, client)?;
    let mut terminal = AttachClient::new("lap sessions logs", Box::new(move || endpoint(find())));
    let channel = new_channel();
    let spec = ChannelSpec::new(session.id.to_string(), Mode::View);
    // Nobody has used this number before.
    let _ = terminal.command(Command::Open { channel, spec });
    let mut following = Following { app, text: PlainText::new(), size: SIZE, screen: None, begun: false };
    let mut nobody_reads = pin!(nobody_reads());
    loop {
        let event = tokio::select! {
            event = terminal.next() => event,
            () = &mut nobody_reads => return Ok(()),
        };
        let event = match event {
            Event::Link(Link::Refused { error }) => {
                let exit = match error.code {
                    ErrorCode::UnsupportedVersion => Exit::Unreachable,
                    _ => Exit::NotAllowed,
                };
                let fault = Fault::new(exit, error.message);
                return Err(match error.hint {
                    Some(hint) => fault.hint(hint),
                    None => fault,
                });
            }
            Event::Channel(id, event) if id == channel => event,
            _ => continue,
        };
        let processed = match &event {
            ChannelEvent::Snapshot { offset, .. } => Some(*offset),
            ChannelEvent::Output { offset, bytes } => Some(offset + bytes.len() as u64),
            _ => None,
        };
        if following.begins(&event) {
            let log = client.session_log(session.id).await?;
            following.begin(&log, tail)?;
        }
        if following.takes(event)? {
            return following.end();
        }
        if let Some(offset) = processed {
            let _ = terminal.command(Command::Processed { channel, offset });
        }
    }
}

struct Following<'a> {
    app: &'a App,
    text: PlainText,
    size: Size,
    /// The first snapshot, and the screen it draws.
    screen: Option<(Terminal, Bytes)>,
    begun: bool,
}

impl Following<'_> {
    /// Whether the log is to be read before this: the first snapshot is there, or there is none.
    fn begins(&self, event: &ChannelEvent) -> bool {
        let live = matches!(
            event,
            ChannelEvent::Ready
                | ChannelEvent::Output { .. }
                | ChannelEvent::Exit(_)
                | ChannelEvent::Closed { .. }
        );
        live && !self.begun
    }

    fn begin(&mut self, log: &str, tail: Option<u32>) -> Result<(), Fault> {
        self.begun = true;
        self.text.push(log.trim_end().replace('\n', "\r\n").as_bytes());
        if let Some((screen, snapshot)) = self.screen.take() {
            if screen.modes().alternate_screen {
                self.text.push(b"\r\n\x1b[?1049h");
            } else {
                // The log is written a little behind: what it has not yet is on the screen.
                self.text.screen(&lines_of_screen(&snapshot));
                // The line with the cursor may go on: it is printed when it is finished.
                let column = screen.cursor().x;
                let next = if column == 0 { String::from("\r\n") } else { format!("\x1b[{}G", column + 1) };
                self.text.push(next.as_bytes());
            }
        }
        let lines = self.text.take_lines();
        let from = tail.map_or(0, |tail| lines.len().saturating_sub(tail as usize));
        lines.iter().skip(from).try_for_each(|line| self.app.printer.line(line))
    }

    /// Takes what the terminal does; tells whether that was all.
    fn takes(&mut self, event: ChannelEvent) -> Result<bool, Fault> {
        match event {
            ChannelEvent::Opened(opened) => {
                self.size = Size { cols: opened.size.cols, rows: opened.size.rows }
            }
            ChannelEvent::Resized { size } => self.size = Size { cols: size.cols, rows: size.rows },
            ChannelEvent::Snapshot { bytes, .. } if !self.begun => {
                let mut screen = Terminal::new(self.size, Limits { scrollback_bytes: 0 });
                screen.feed(&bytes);
                self.screen = Some((screen, bytes));
            }
            ChannelEvent::Output { bytes, .. } => {
                self.text.push(&bytes);
                for line in self.text.take_lines() {
                    self.app.printer.line(&line)?;
                }
            }
            ChannelEvent::Skipped { from, to } => {
                note(&format!("lap: {} bytes were left out here", to - from))?
            }
            ChannelEvent::Exit(_) | ChannelEvent::Closed { .. } => return Ok(true),
            ChannelEvent::Error(error) => return Err(Fault::new(Exit::Failed, error.message)),
            _ => {}
        }
        Ok(false)
    }

    fn end(self) -> Result<(), Fault> {
        self.text.into_lines().iter().try_for_each(|line| self.app.printer.line(line))
    }
}
