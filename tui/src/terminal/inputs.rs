//! What the person does, as a stream of events.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use lap_wire::control::Size;
use tokio::time::{Instant, Sleep};

use super::signals::{Signal, Signals};
use super::{TerminalError, Tty};
use crate::term_input::{InputEvent, Parser, Token, What};

/// The longest paste that is kept; one byte more is enough for whoever refuses it to see that it is too long.
const MAX_PASTE: usize = 4 * 1024 * 1024;
/// Read at once: a fast typist's key, or a good part of a paste.
const READ: usize = 16 * 1024;

/// From the terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TermInput {
    /// A key, the mouse, a paste, the focus.
    Event(InputEvent),
    /// The terminal has another size.
    Resize(Size),
    /// Lap is to stop for now: [`super::Screen::suspend`], then draw everything anew.
    Stop,
}

/// Reads the terminal and waits for signals. Ends when the terminal is gone or a signal asks lap to end.
pub struct Inputs<'a> {
    tty: &'a Tty,
    signals: Signals,
    parser: Parser,
    tokens: Vec<Token>,
    ready: VecDeque<TermInput>,
    paste: Option<Vec<u8>>,
    /// Until what has begun is given up.
    waits: Pin<Box<Sleep>>,
    buffer: Box<[u8]>,
}

impl Inputs<'_> {
    /// Of this terminal.
    ///
    /// # Errors
    /// The system refuses to hand signals over.
    pub fn new(tty: &Tty) -> Result<Inputs<'_>, TerminalError> {
        Ok(Inputs {
            tty,
            signals: Signals::new()?,
            parser: Parser::new(),
            tokens: Vec::new(),
            ready: VecDeque::new(),
            paste: None,
            waits: Box::pin(tokio::time::sleep(Duration::ZERO)),
            buffer: vec![0; READ].into_boxed_slice(),
        })
    }

    fn take_tokens(&mut self) {
        for token in self.tokens.drain(..) {
            match token.what {
                What::Event(event) => self.ready.push_back(TermInput::Event(event)),
                What::PasteBegin => self.paste = Some(Vec::new()),
                What::Pasted => {
                    if let Some(paste) = &mut self.paste {
                        let room = (MAX_PASTE + 1).saturating_sub(paste.len());
                        paste.extend(token.raw.iter().take(room));
                    }
                }
                What::PasteEnd => {
                    if let Some(paste) = self.paste.take() {
                        self.ready.push_back(TermInput::Event(InputEvent::Paste(paste)));
                    }
                }
                What::Unknown => {
                    self.ready.push_back(TermInput::Event(InputEvent::Unknown(token.raw)));
                }
                // Answers to queries nobody made here, and parts of what nobody knows.
                What::Reply | What::Broken => {}
            }
        }
    }
}

impl Stream for Inputs<'_> {
    type Item = TermInput;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TermInput>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            match this.signals.poll_next(cx) {
                Poll::Ready(Signal::End) => return Poll::Ready(None),
                Poll::Ready(Signal::Stop) => return Poll::Ready(Some(TermInput::Stop)),
                Poll::Ready(Signal::Resize) => {
                    if let Some(size) = this.tty.size() {
                        return Poll::Ready(Some(TermInput::Resize(size)));
                    }
                    continue;
                }
                Poll::Pending => {}
            }
            match this.tty.poll_read(cx, &mut this.buffer) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    let read = this.buffer.get(..n).unwrap_or_default();
                    this.parser.feed(read, std::time::Instant::now(), &mut this.tokens);
                    // Else the timer would wake us after each key for nothing.
                    if let Some(due) = this.parser.deadline() {
                        this.waits.as_mut().reset(Instant::from_std(due));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => {
                    if this.parser.deadline().is_none() || this.waits.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.parser.flush(std::time::Instant::now(), &mut this.tokens);
                }
            }
            this.take_tokens();
        }
    }
}
