//! Limits on how many, held as permits: whoever has one gives it back by dropping it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::metrics::{Gauge, GaugeGuard};

/// After this a client that was turned away may try again: streams and sockets last long, but some end every moment.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// At most so many of a thing.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    what: &'static str,
    max: usize,
    semaphore: Arc<Semaphore>,
    gauge: Option<Gauge>,
}

/// One of those a [`Slots`] has.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    _counted: Option<GaugeGuard>,
}

impl Slots {
    /// `what` is the things' name for people, in the plural.
    #[must_use]
    pub(crate) fn new(what: &'static str, max: usize) -> Slots {
        let semaphore = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Slots { what, max, semaphore, gauge: None }
    }

    /// Shows in this gauge how many are taken.
    #[must_use]
    pub(crate) fn counted(self, gauge: &Gauge) -> Slots {
        Slots { gauge: Some(gauge.clone()), ..self }
    }

    /// One of them, if one is free.
    #[must_use]
    pub(crate) fn try_take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.semaphore).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit, _counted: self.gauge.as_ref().map(Gauge::enter) })
    }

    /// One of them.
    ///
    /// # Errors
    /// 429 when all are taken.
    pub(crate) fn take(&self) -> Result<Slot, ApiError> {
        self.try_take().ok_or_else(|| self.full())
    }

    /// What is said to whoever is turned away.
    #[must_use]
    pub(crate) fn full(&self) -> ApiError {
        let message =
            format!("the server has as many {} as it takes ({}); try again later", self.what, self.max);
        ApiError::too_many(message, RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let gauge = Gauge::default();
        let slots = Slots::new("streams", 1).counted(&gauge);
        let slot = slots.take().unwrap();
        assert_eq!(gauge.get(), 1);
        assert_eq!(slots.take().unwrap_err().kind(), super::super::error::Kind::TooMany);
        drop(slot);
        assert_eq!(gauge.get(), 0);
        assert!(slots.take().is_ok());
    }
}
