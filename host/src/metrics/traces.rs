//! Counters of the spans of [traces](crate::traces).

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counters of spans that were made, and of attempts to export them.
#[derive(Debug)]
pub(crate) struct TraceMetrics {
    /// Spans that the receiver has accepted.
    pub exported: Counter,
    /// Attempts to export spans that failed.
    pub failed_exports: Counter,
    family: Family<Labels, Counter>,
    /// A counter for each of [`Dropped::ALL`].
    dropped: [Counter; 3],
}

/// Reason why a span does not reach the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Too many spans wait already, or the host stops.
    QueueFull,
    /// The receiver could not be reached, or refused a whole request.
    NotExported,
    /// The receiver has accepted a request without these spans.
    Rejected,
}

impl Dropped {
    const ALL: [Self; 3] = [Self::QueueFull, Self::NotExported, Self::Rejected];

    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NotExported => "not_exported",
            Self::Rejected => "rejected",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reason: &'static str,
}

impl Default for TraceMetrics {
    fn default() -> Self {
        let family = Family::<Labels, Counter>::default();
        let dropped = Dropped::ALL
            .map(|reason| family.get_or_create_owned(&Labels { reason: reason.as_str() }));
        Self { exported: Counter::default(), failed_exports: Counter::default(), family, dropped }
    }
}

impl TraceMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Spans of traces that the receiver has accepted";
        registry.register("trace_spans_exported", help, self.exported.clone());
        let help = "Spans of traces that did not reach the receiver, by reason";
        registry.register("trace_spans_dropped", help, self.family.clone());
        let help = "Attempts to export spans of traces that failed";
        registry.register("trace_exports_failed", help, self.failed_exports.clone());
    }

    /// Counts spans that do not reach the receiver, for a [reason](Dropped).
    pub(crate) fn dropped(&self, reason: Dropped, spans: u64) {
        self.dropped[reason as usize].inc_by(spans);
    }

    /// Returns the number of spans that were dropped for a reason.
    #[cfg(test)]
    pub(crate) fn dropped_so_far(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize].get()
    }
}
