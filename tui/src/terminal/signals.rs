//! The signals a program with a screen has to answer.

use std::io;
use std::task::{Context, Poll};

use tokio::signal::unix::{self, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// The terminal has another size.
    Resize,
    /// Stop for now (SIGTSTP from outside; Ctrl-Z belongs to the program).
    Stop,
    /// End: SIGTERM, SIGHUP or SIGINT.
    End,
}

/// Waits for signals.
#[derive(Debug)]
pub struct Signals {
    all: [(unix::Signal, Signal); 5],
}

impl Signals {
    /// From here on these signals no longer end the process by themselves.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> io::Result<Signals> {
        // Tokio has no name for it.
        let stop = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        Ok(Signals {
            all: [
                (signal(SignalKind::window_change())?, Signal::Resize),
                (signal(stop)?, Signal::Stop),
                (signal(SignalKind::terminate())?, Signal::End),
                (signal(SignalKind::hangup())?, Signal::End),
                (signal(SignalKind::interrupt())?, Signal::End),
            ],
        })
    }

    /// The next one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        for (signal, meaning) in &mut self.all {
            if signal.poll_recv(cx).is_ready() {
                return Poll::Ready(*meaning);
            }
        }
        Poll::Pending
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// Whether somebody is there who lets a stopped lap go on. A shell with jobs gives each a group of its own; in the group
/// of the session's leader (`tmux new lap`, `ssh -t host lap`) lap would stay stopped for ever.
fn is_job() -> bool {
    let group = rustix::process::getpgrp();
    rustix::process::getsid(None).is_ok_and(|session| session != group)
}

/// Stops this process as an unhandled SIGTSTP would; returns when it goes on.
pub(crate) fn stop_self() {
    if is_job() {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }
}

/// What a terminal that is not raw does at Ctrl-Z: the whole job gets SIGTSTP, and lap its [`Signal::Stop`].
pub(crate) fn stop_job() {
    if is_job() {
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
    }
}
