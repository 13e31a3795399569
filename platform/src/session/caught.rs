//! Panics in the service's tasks: each is seen, logged with what it was about, and what it cut short is begun again.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::Inner;

/// Before a task that has panicked is begun again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs something to its end; `None`: it has panicked, which is in the log. What it shared is of use afterwards: locks
/// of the service are taken over from whoever panicked, and what is stored is written in transactions.
pub(super) async fn caught<T>(what: impl Display, work: impl Future<Output = T>) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            tracing::error!(panic = words(&*panic), "{what} panicked");
            None
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

impl Inner {
    /// Runs a task once, at most until the service stops.
    pub(super) fn spawn(
        self: &Arc<Inner>,
        what: impl Display + Send + 'static,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move { caught(what, stopping.run_until_cancelled(task)).await });
    }

    /// Runs a task for as long as the service runs.
    pub(super) fn keep_running<F>(
        self: &Arc<Inner>,
        what: &'static str,
        task: impl Fn(Arc<Inner>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            while caught(what, task(Arc::clone(&inner))).await.is_none() {
                tokio::select! {
                    () = inner.stopping.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        });
    }
}
