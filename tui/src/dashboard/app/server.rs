//! A server as the dashboard's loop sees it.

use lap_platform::client::attach;

use crate::dashboard::event::{Event, Request};

/// What comes from a server's side.
#[derive(Debug)]
pub enum FromServer {
    /// For the dashboard: the change feed, answers to requests.
    Event(Event),
    /// For the panes: terminals.
    Attach(attach::Event),
}

/// What a server's side is asked to do.
#[derive(Debug)]
pub enum ToServer {
    /// Read the lists.
    Load,
    /// Send a request; the answer comes with the same number.
    Request(u64, Request),
    /// Do not wait any longer before connecting again.
    RetryNow,
    /// Something about a terminal.
    Attach(attach::Command),
}

/// A server as the dashboard sees it: the one that is there, or one in memory under test.
pub trait Server {
    /// The next thing it says. Can be dropped while it waits without losing anything. Whatever was asked for goes out
    /// while it is awaited.
    fn next(&mut self) -> impl Future<Output = FromServer>;

    /// Asks it to do something; what comes of it comes by [`Server::next`].
    fn ask(&mut self, request: ToServer);
}
