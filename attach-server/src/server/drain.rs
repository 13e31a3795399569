//! How a server stops: one [`Drain`] is in the hands of every part that runs until then.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long whatever is cut off may take to let go: an answer is written, a guard dropped.
const LAST: Duration = Duration::from_secs(2);

/// Says when to stop, and waits until all have. Cheap to clone; all clones are one.
///
/// Stopping has two steps: from [`Drain::stopping`] on nothing new is begun and what has been is finished; from
/// [`Drain::cut`] on what is not finished is given up.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    stopping: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
    patience: Duration,
}

impl Drain {
    /// `patience` is the time between the two steps.
    pub(crate) fn new(patience: Duration) -> Drain {
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        Drain { stopping, cut, tasks: TaskTracker::new(), patience }
    }

    /// True once the server stops.
    pub(crate) async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// True once what has been begun is given up.
    pub(crate) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Whether the server stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Runs a part of the server, which ends by itself when the server stops. One that panics is told.
    pub(crate) fn run(&self, what: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            if AssertUnwindSafe(part).catch_unwind().await.is_err() {
                tracing::error!("a fault of lap's own: {what} ended in a panic");
            }
        });
    }

    /// The same for a part that knows no end: it is dropped when the server stops.
    pub(crate) fn run_until_stopped(
        &self,
        what: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) {
        let stopping = self.stopping.clone();
        self.run(what, async move {
            stopping.run_until_cancelled_owned(part).await;
        });
    }

    /// Does work that outlives who asked for it; nothing comes of it where it is not done when it is given up.
    pub(crate) fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let cut = self.cut.clone();
        self.tasks.spawn(async move { cut.run_until_cancelled_owned(work).await })
    }

    /// Stops, and waits for all. Says whether nothing had to be given up.
    pub(crate) async fn stop(&self) -> bool {
        self.stopping.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(self.patience, self.tasks.wait()).await.is_ok();
        self.cut.cancel();
        if tokio::time::timeout(LAST, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "parts of the server do not let go; it ends without them"
            );
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_begun_is_finished_and_what_takes_too_long_is_given_up() {
        let drain = Drain::new(Duration::from_secs(10));
        let short = drain.finish(tokio::time::sleep(Duration::from_secs(3)));
        let parts = drain.clone();
        drain.run("a part", async move { parts.stopping().await });
        drain.run("a part that panics", async { panic!("on purpose") });
        assert!(drain.stop().await);
        assert!(short.await.unwrap().is_some());

        let drain = Drain::new(Duration::from_secs(10));
        let endless = drain.finish(std::future::pending::<()>());
        assert!(!drain.stop().await);
        assert!(endless.await.unwrap().is_none());
    }
}
