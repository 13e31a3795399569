//! The links for other threads: work is sent to the links' thread and done there, and dropping whoever waits for it ends
//! it there.

use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::{Connect, Keeper, LinkError, LocalLinks};
use crate::sandbox::SandboxName;

/// Work for the links' thread that may wait for it.
const REQUESTS: usize = 256;

type Request = Box<dyn FnOnce(&LocalLinks) + Send>;

/// Every sandbox's link, for any thread. While one of these is there, so are the links.
#[derive(Clone, Debug)]
pub struct Links {
    requests: mpsc::Sender<Request>,
}

/// Links that no thread drives yet, to be handed to the one that will.
pub struct UnstartedLinks {
    connect: Arc<dyn Connect>,
    elsewhere: Handle,
    requests: mpsc::Receiver<Request>,
}

impl Links {
    /// Links whose streams are made by `connect` on the runtime `elsewhere`. What is asked before they are started
    /// waits.
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>, elsewhere: Handle) -> (Links, UnstartedLinks) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        (Links { requests: sender }, UnstartedLinks { connect, elsewhere, requests })
    }

    /// The same on a thread of their own, which ends when the last of these handles is dropped.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(connect: Arc<dyn Connect>, elsewhere: Handle) -> io::Result<Links> {
        let (links, unstarted) = Links::new(connect, elsewhere);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("lap-links".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let (_links, running) = unstarted.start();
                running.await;
            });
        })?;
        Ok(links)
    }

    /// The keeper of a sandbox. Asking for it does nothing yet.
    #[must_use]
    pub fn keeper(&self, sandbox: &SandboxName) -> Keeper {
        Keeper::new(self.clone(), sandbox.clone())
    }

    /// Does `work` on the links' thread. Dropping this drops the work there, wherever it is.
    pub(super) async fn run<T, F>(
        &self,
        work: impl FnOnce(LocalLinks) -> F + Send + 'static,
    ) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LinkError>> + 'static,
    {
        let (mut answer, answered) = oneshot::channel();
        let request: Request = Box::new(move |links| {
            let work = work(links.clone());
            links.spawn(async move {
                tokio::select! {
                    biased;
                    () = answer.closed() => {}
                    done = work => drop(answer.send(done)),
                }
            });
        });
        if self.requests.send(request).await.is_err() {
            return Err(LinkError::Lost("the server is stopping".to_owned()));
        }
        answered.await.unwrap_or_else(|_| Err(LinkError::Lost("the server is stopping".to_owned())))
    }
}

impl UnstartedLinks {
    /// The links, on this thread from here on, and what drives them: to be polled in a `LocalSet` of a current-thread
    /// runtime. It ends when every [`Links`] is gone; ended or dropped, it ends every link.
    pub fn start(self) -> (LocalLinks, impl Future<Output = ()>) {
        let UnstartedLinks { connect, elsewhere, requests } = self;
        let links = LocalLinks::new(connect, elsewhere);
        let running = run(EndWhenDropped(links.clone()), requests);
        (links, running)
    }
}

/// Tasks and links hold each other; this lets go of them.
struct EndWhenDropped(LocalLinks);

impl Drop for EndWhenDropped {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn run(links: EndWhenDropped, mut requests: mpsc::Receiver<Request>) {
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => request(&links.0),
                None => return,
            },
            () = links.0.reap() => {}
        }
    }
}
