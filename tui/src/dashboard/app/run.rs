//! The dashboard's loop: events in, frames out, nothing while nothing happens.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use ratatui::Terminal;
use ratatui::backend::Backend;
use tokio::time::Instant;

use super::{App, FromServer, Input, Outgoing, Server, TerminalCommand};
use crate::dashboard::event::Event;

/// The least time between two frames: a display shows no more, and programs that write much are drawn less often
/// instead of being held up.
const FRAME_GAP: Duration = Duration::from_millis(8);
/// Events taken before a frame is drawn that is due: a flood must not keep the screen from changing.
const DRAIN: usize = 256;

/// What is left behind when the dashboard is left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Farewell {
    /// Sessions that keep running.
    pub running: usize,
    /// The command that shows them again, where they are not this machine's own: `lap` alone may mean others.
    pub elsewhere: Option<String>,
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.elsewhere, self.running) {
            (Some(_), 0) => return f.write_str("No session is running."),
            (Some(again), 1) => return write!(f, "1 session keeps running: `{again}` shows it again."),
            (Some(again), n) => return write!(f, "{n} sessions keep running: `{again}` shows them again."),
            (None, _) => {}
        }
        match self.running {
            0 => f.write_str("No session is running. `lap down` stops the server."),
            1 => f.write_str("1 session keeps running: `lap` shows it again, `lap down` ends it."),
            n => write!(f, "{n} sessions keep running: `lap` shows them again, `lap down` ends them."),
        }
    }
}

/// A person's terminal beside its cells.
pub trait Outer {
    /// Does what it is told.
    fn command(&mut self, command: TerminalCommand);

    /// Ready when there is something about that which the person should know.
    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<String>;

    /// Whether it has not taken all of the last frame.
    fn is_behind(&self) -> bool;

    /// Ready when it has taken the last frame, or is gone: then whoever reads it is told, or whoever draws the next.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Runs the dashboard until it is left or the terminal's input ends.
///
/// A terminal that takes nothing holds nothing up: the next frame is drawn when it has taken the last. Nothing is drawn unless something has changed, and while
/// nothing happens nothing wakes: there is no timer but one for what time itself changes on the screen.
///
/// # Errors
/// What the backend says: the terminal is gone.
pub async fn run<B, S, I, O>(
    app: &mut App,
    terminal: &mut Terminal<B>,
    server: &mut S,
    mut inputs: I,
    mut outer: O,
) -> Result<Farewell, B::Error>
where
    B: Backend,
    S: Server,
    I: Stream<Item = Input> + Unpin,
    O: Outer,
{
    let mut redraw = false;
    let mut drawn: Option<Instant> = None;
    loop {
        if outgoing(app, server, &mut outer, &mut redraw) {
            return Ok(farewell(app));
        }
        // What was asked for goes out before the screen is drawn: a key typed is on its way while we paint.
        for _ in 0..DRAIN {
            let Some(event) = server.next().now_or_never() else { break };
            from_server(app, event);
            outgoing(app, server, &mut outer, &mut redraw);
        }
        let mut due = None;
        if (app.settle() || redraw) && !outer.is_behind() {
            let next_frame = drawn.map(|at| at + FRAME_GAP);
            if next_frame.is_none_or(|at| at <= Instant::now()) {
                if std::mem::take(&mut redraw) {
                    terminal.clear()?;
                }
                app.render(terminal)?;
                drawn = Some(Instant::now());
            } else {
                due = next_frame;
            }
        }
        if outgoing(app, server, &mut outer, &mut redraw) {
            return Ok(farewell(app));
        }
        let deadline = [due, app.deadline()].into_iter().flatten().min();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            input = inputs.next() => {
                let Some(input) = input else { return Ok(farewell(app)) };
                app.input(input);
                for _ in 0..DRAIN {
                    let Some(Some(input)) = inputs.next().now_or_never() else { break };
                    app.input(input);
                }
            }
            event = server.next() => from_server(app, event),
            notice = poll_fn(|cx| from_outer(&mut outer, cx)) => {
                if let Some(notice) = notice {
                    app.event(Event::Notice(notice));
                }
            }
            () = sleep => app.tick(),
        }
    }
}

/// Ready when the terminal has taken the last frame, or has something for the person to know.
fn from_outer(outer: &mut impl Outer, cx: &mut Context<'_>) -> Poll<Option<String>> {
    if outer.is_behind() && outer.poll_taken(cx).is_ready() {
        return Poll::Ready(None);
    }
    outer.poll_notice(cx).map(Some)
}

fn from_server(app: &mut App, event: FromServer) {
    match event {
        FromServer::Event(event) => app.event(event),
        FromServer::Attach(event) => app.attach(&event),
    }
}

/// Hands on what the app wants done. Tells whether it wants to be left.
fn outgoing<S: Server>(app: &mut App, server: &mut S, outer: &mut impl Outer, redraw: &mut bool) -> bool {
    let mut quit = false;
    for one in app.take_outgoing() {
        match one {
            Outgoing::Server(request) => server.ask(request),
            Outgoing::Terminal(TerminalCommand::Redraw) => *redraw = true,
            Outgoing::Terminal(other) => outer.command(other),
            Outgoing::Quit => quit = true,
        }
    }
    quit
}

fn farewell(app: &App) -> Farewell {
    Farewell { running: app.model().counts().live, elsewhere: app.again.clone() }
}
