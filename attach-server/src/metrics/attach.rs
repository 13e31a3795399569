//! How many are attached to terminals, as metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::hub::Census;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct KindLabels {
    /// `attach` or `tty`.
    kind: &'static str,
}

/// Who is attached to terminals: counted by the hub when it is asked, and shown here.
pub(super) struct Attached {
    connections: Family<KindLabels, Gauge>,
    terminals: Gauge,
    viewers: Gauge,
    in_flight: Gauge,
}

impl Attached {
    pub(super) fn register(registry: &mut Registry) -> Attached {
        let attached = Attached {
            connections: Family::default(),
            terminals: Gauge::default(),
            viewers: Gauge::default(),
            in_flight: Gauge::default(),
        };
        let help = "Sockets terminals are seen through now";
        registry.register("attach_connections", help, attached.connections.clone());
        let help = "Terminals somebody looks at, or that are recorded";
        registry.register("attach_terminals", help, attached.terminals.clone());
        registry.register("attach_viewers", "Viewers of terminals now", attached.viewers.clone());
        let help = "Bytes sent to viewers that they have not acknowledged";
        registry.register("attach_in_flight_bytes", help, attached.in_flight.clone());
        attached
    }

    pub(super) fn set(&self, census: Census) {
        let of = |kind| self.connections.get_or_create_owned(&KindLabels { kind });
        of("attach").set(census.attach_connections.cast_signed());
        of("tty").set(census.tty_connections.cast_signed());
        self.terminals.set(census.terminals.cast_signed());
        self.viewers.set(census.viewers.cast_signed());
        self.in_flight.set(census.in_flight_bytes.cast_signed());
    }
}
