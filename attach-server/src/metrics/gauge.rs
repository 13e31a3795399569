//! A gauge whose guards count: what is open is counted, however it ends.

use prometheus_client::metrics::gauge::Gauge as Counted;

/// How many there are now. What opens one holds a guard, and closing it is dropping that: no path can forget to.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Counted);

impl Gauge {
    /// One more, until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> GaugeGuard {
        self.0.inc();
        GaugeGuard(self.0.clone())
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.get()
    }

    /// For the registry.
    pub(super) fn metric(&self) -> Counted {
        self.0.clone()
    }
}

/// One of those a [`Gauge`] counts.
#[derive(Debug)]
pub struct GaugeGuard(Counted);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
