//! Wakes the one task that waits on it, from the same thread.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Like a `Notify` with one waiter and without locks; on the way of every keystroke.
#[derive(Default, Debug)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Bell {
    /// Wakes the waiter, or the next one to wait.
    pub(super) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waiter) = self.waiter.borrow_mut().take()
        {
            waiter.wake();
        }
    }

    /// Ready once for one or more rings.
    pub(super) fn poll_rung(&self, context: &Context<'_>) -> Poll<()> {
        if self.rung.take() {
            return Poll::Ready(());
        }
        let mut waiter = self.waiter.borrow_mut();
        if !waiter.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waiter = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn every_ring_is_heard_before_and_while_somebody_waits() {
        let bell = Rc::new(Bell::default());
        bell.ring();
        bell.ring();
        poll_fn(|context| bell.poll_rung(context)).await;
        let local = tokio::task::LocalSet::new();
        let ringer = bell.clone();
        local.spawn_local(async move {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                ringer.ring();
                tokio::task::yield_now().await;
            }
        });
        local.run_until(poll_fn(|context| bell.poll_rung(context))).await;
        local.await;
        poll_fn(|context| bell.poll_rung(context)).await;
    }
}
