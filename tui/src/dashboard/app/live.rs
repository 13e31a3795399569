//! The server that is there: the REST client, the change feed and the attach connection behind one face.

use std::collections::VecDeque;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use lap_platform::client::attach::{self, AttachClient, Credentials, Endpoint};
use lap_platform::client::{Client, ClientError, Feed, FeedEvent};
use lap_platform::model::{
    AgentPatch, CreateSession, Diagnosis, Harness, HarnessEvidence, SandboxEvidence, SessionId, SessionPatch,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lists;
use super::server::{FromServer, Server, ToServer};
use crate::dashboard::event::{Event, Lists, Reply, Request, Where};
use crate::unsaved::tally;

/// Requests at once; more wait for a person's finger anyway.
const MAX_REQUESTS: usize = 32;
/// Lines of a log that stand for a session's last output.
const LAST_LINES: usize = 200;

/// Where a server is, and the key to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// `http://127.0.0.1:4180`
    pub url: String,
    /// Its unix socket, if it runs on this machine and has one.
    pub socket: Option<PathBuf>,
    /// Its key, where it wants one.
    pub key: Option<String>,
    /// Whether it is known to run on this very machine.
    pub same_machine: bool,
}

impl Connection {
    fn client(&self) -> Result<Client, ClientError> {
        if self.same_machine {
            Client::on_this_machine(&self.url, self.key.as_deref())
        } else {
            Client::new(&self.url, self.key.as_deref())
        }
    }
}

impl From<Connection> for Endpoint {
    fn from(connection: Connection) -> Endpoint {
        let Connection { url, socket, key, same_machine } = connection;
        Endpoint {
            url,
            socket,
            credentials: key.map_or(Credentials::None, Credentials::Bearer),
            same_machine,
        }
    }
}

/// A server that was looked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub connection: Connection,
    /// Whether it had died and was started again for this.
    pub started: bool,
}

/// Finds the server, anew after each loss: one that was started again may be at another port, and one that died may be
/// started for this. The error is a sentence.
pub type Locate = std::sync::Arc<dyn Fn() -> BoxFuture<'static, Result<Found, String>> + Send + Sync>;

/// A server reached over the network.
pub struct LiveServer {
    locate: Locate,
    connection: Connection,
    client: Client,
    feed: Feed,
    /// Made with the first terminal: while none is shown nobody keeps a connection for them.
    attach: Option<AttachClient>,
    requests: JoinSet<Event>,
    /// Looked for since it was lost.
    locating: Option<BoxFuture<'static, Result<Found, String>>>,
    /// To be told.
    news: VecDeque<Event>,
    /// Pages of the lists, until all have been read once.
    pages: Option<mpsc::Receiver<Lists>>,
    /// Whether all have been.
    read: bool,
}

impl LiveServer {
    /// The server that `locate` finds.
    ///
    /// # Errors
    /// It finds none, or one whose address or key cannot be used.
    pub async fn new(locate: Locate) -> Result<LiveServer, ClientError> {
        let nowhere = |reason| ClientError::Invalid { what: "the server", reason };
        let connection = locate().await.map_err(nowhere)?.connection;
        let client = connection.client()?;
        let feed = Feed::new(client.clone(), None);
        Ok(LiveServer {
            locate,
            connection,
            client,
            feed,
            attach: None,
            requests: JoinSet::new(),
            locating: None,
            news: VecDeque::new(),
            pages: None,
            read: false,
        })
    }

    /// Where the pages go that are shown as they come.
    fn show_pages(&mut self) -> mpsc::Sender<Lists> {
        let (shown, pages) = mpsc::channel(lists::SHOWN);
        self.pages = Some(pages);
        shown
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        self.connection.url.clone()
    }

    /// Looks for the server, if nobody does yet.
    fn look_for_it(&mut self) {
        let locate = &self.locate;
        self.locating.get_or_insert_with(|| locate());
    }

    /// Follows the server to where it is now.
    fn located(&mut self, found: Result<Found, String>) {
        self.locating = None;
        let now = match found {
            Ok(Found { connection, started }) => {
                if started {
                    self.news.push_back(Event::ServerStarted);
                }
                connection
            }
            Err(reason) => return self.news.push_back(Event::Unfound(reason)),
        };
        if now == self.connection {
            return;
        }
        if let Ok(client) = now.client() {
            self.feed = Feed::new(client.clone(), self.feed.last());
            self.client = client;
            self.news.push_back(Event::Moved(now.url.clone()));
            self.connection = now;
        }
    }

    fn attach(&mut self) -> &mut AttachClient {
        let locate = self.locate.clone();
        self.attach
            .get_or_insert_with(|| AttachClient::new("dashboard", Box::new(move || endpoint(locate()))))
    }
}

impl Server for LiveServer {
    async fn next(&mut self) -> FromServer {
        if let Some(event) = self.news.pop_front() {
            return FromServer::Event(event);
        }
        let LiveServer { feed, attach, requests, locating, pages, .. } = self;
        let terminals = async {
            match attach {
                Some(attach) => attach.next().await,
                None => std::future::pending().await,
            }
        };
        let page = async {
            match pages {
                Some(pages) => pages.recv().await,
                None => std::future::pending().await,
            }
        };
        let location = async {
            match locating {
                Some(locating) => locating.await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            event = terminals => {
                if let attach::Event::Link(attach::Link::Connected { restarted, .. }) = &event {
                    // The server is back: there is no need to wait for the feed's own next attempt.
                    feed.retry_now();
                    if *restarted && self.connection.same_machine {
                        self.news.push_back(Event::ServerStarted);
                    }
                }
                return FromServer::Attach(event);
            }
            // Before the answer that has them all.
            page = page => match page {
                Some(page) => Event::Page(Box::new(page)),
                None => {
                    self.pages = None;
                    return FromServer::Event(Event::Tick);
                }
            },
            Some(done) = requests.join_next(), if !requests.is_empty() => match done {
                Ok(event) => {
                    self.read |= matches!(&event, Event::Loaded(lists) if lists.is_ok());
                    event
                }
                // Nothing cancels them; a panic has been told by the hook, and the task stays on the screen.
                Err(_) => return FromServer::Event(Event::Tick),
            },
            found = location => {
                let started = matches!(&found, Ok(found) if found.started);
                self.located(found);
                if started {
                    self.feed.retry_now();
                }
                Event::Tick
            }
            event = feed.next() => Event::Feed(event),
        };
        if matches!(event, Event::Feed(FeedEvent::Lost { .. })) {
            self.look_for_it();
        }
        FromServer::Event(event)
    }

    fn ask(&mut self, request: ToServer) {
        let client = self.client.clone();
        match request {
            ToServer::RetryNow => {
                self.look_for_it();
                self.feed.retry_now();
                if let Some(attach) = &mut self.attach {
                    attach.retry_now();
                }
            }
            ToServer::Attach(command) => {
                // Refused only for a channel that is gone, of which the panes are told by its own event.
                let _ = self.attach().command(command);
            }
            ToServer::Load => {
                // What agents can be is looked for on the server's disk; the lists do not wait for it.
                let harnesses = client.clone();
                let shown = (!self.read).then(|| self.show_pages());
                self.requests
                    .spawn(async move { Event::Loaded(Box::new(lists::read(&client, shown).await)) });
                self.requests.spawn(async move {
                    // A server that does not say what it can start has a shell at least.
                    Event::Harnesses(harnesses.harnesses().await.unwrap_or_else(|_| vec![shell()]))
                });
            }
            ToServer::Request(task, _) if self.requests.len() >= MAX_REQUESTS => {
                let reason = String::from("too many requests are on their way");
                let error = ClientError::Invalid { what: "the request", reason };
                self.requests.spawn(async move { Event::Finished(task, Box::new(Err(error))) });
            }
            ToServer::Request(task, request) => {
                self.requests
                    .spawn(async move { Event::Finished(task, Box::new(perform(&client, request).await)) });
            }
        }
    }
}

/// Where terminals are to be had, once the server is found.
pub(crate) fn endpoint(
    found: BoxFuture<'static, Result<Found, String>>,
) -> BoxFuture<'static, Result<Endpoint, String>> {
    Box::pin(async move { Ok(found.await?.connection.into()) })
}

fn shell() -> Harness {
    Harness {
        id: String::from("shell"),
        title: String::from("Shell"),
        supports_tui: true,
        available: true,
        program: None,
        install: None,
        default_model: None,
    }
}

async fn perform(client: &Client, request: Request) -> Result<Reply, ClientError> {
    let agent = |agent| Reply::Agent(Box::new(agent));
    let session = |session| Reply::Session(Box::new(session));
    match request {
        Request::CreateAgent(spec) => client.create_agent(&spec).await.map(agent),
        Request::CreateAgentAndSession(spec) => {
            let agent = client.create_agent(&spec).await?;
            let session = client.create_session(agent.id, &CreateSession::default()).await?;
            let open = Some(Where::Here);
            Ok(Reply::Started { agent: Some(Box::new(agent)), session: Box::new(session), open })
        }
        Request::CreateSession(agent, request, open) => {
            let session = client.create_session(agent, &request).await?;
            Ok(Reply::Started { agent: None, session: Box::new(session), open })
        }
        Request::RenameSession(id, title) => {
            client.patch_session(id, &SessionPatch { title: Some(title) }).await.map(session)
        }
        Request::RenameAgent(id, name) => {
            let patch = AgentPatch { name: Some(name), ..AgentPatch::default() };
            client.patch_agent(id, &patch).await.map(agent)
        }
        Request::Stop(id) => client.stop_session(id).await.map(session),
        Request::Restart(id) => client.restart_session(id).await.map(session),
        Request::DeleteAgent(id) => client.delete_agent(id).await.map(|()| Reply::Deleted(id)),
        Request::Unsaved(ending, sessions) => Ok(Reply::Unsaved(ending, tally(client, &sessions).await)),
        Request::Diagnose(id) => diagnose(client, id).await.map(|found| Reply::Diagnosis(Box::new(found))),
    }
}

/// What the server knows; from one that does not diagnose, what its other routes tell.
async fn diagnose(client: &Client, id: SessionId) -> Result<Diagnosis, ClientError> {
    match client.diagnose(id).await {
        Err(error) if error.is_not_found() => {}
        other => return other,
    }
    let session = client.session(id).await?;
    let log = client.session_log(id).await.unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let last =
        lines.iter().skip(lines.len().saturating_sub(LAST_LINES)).map(|line| (*line).to_owned()).collect();
    let sandbox = SandboxEvidence {
        name: session.task_arn.clone(),
        present: session.status.is_live(),
        ..SandboxEvidence::default()
    };
    Ok(Diagnosis {
        timings: session.timings.clone(),
        sandbox,
        harness: HarnessEvidence {
            alive: session.status.is_live(),
            last_output: last,
            ..HarnessEvidence::default()
        },
        agent: None,
        session,
        detected_issues: Vec::new(),
    })
}
