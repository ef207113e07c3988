//! Counters of refused webhooks, by the code of the answer.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Every code with which a webhook can be refused.
const REASONS: [&str; 18] = [
    "bad_request",
    "body_memory",
    "disabled",
    "method_not_allowed",
    "not_found",
    "plugin_failed",
    "rate_limited",
    "request_timeout",
    "stopping",
    "store_unavailable",
    "too_large",
    "too_many_events",
    "too_many_hops",
    "too_many_wrong_tokens",
    "unauthorized",
    "unknown_integration",
    "unsupported_encoding",
    "unsupported_media_type",
];

/// Counters of refused webhooks, by the code of the answer.
#[derive(Debug)]
pub(crate) struct RefusalMetrics {
    family: Family<Labels, Counter>,
    /// A counter for each of [`REASONS`].
    counters: Vec<Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reason: &'static str,
}

impl Default for RefusalMetrics {
    fn default() -> Self {
        let family = Family::<Labels, Counter>::default();
        let counters = REASONS.map(|reason| family.get_or_create_owned(&Labels { reason }));
        Self { counters: counters.into(), family }
    }
}

impl RefusalMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Webhooks that were refused, by the code of the answer";
        registry.register("refusals", help, self.family.clone());
    }

    /// Counts a refusal with this code.
    pub(crate) fn count(&self, code: &'static str) {
        let known = REASONS.iter().zip(&self.counters).find(|(reason, _)| **reason == code);
        match known {
            Some((_, counter)) => counter.inc(),
            None => self.family.get_or_create(&Labels { reason: code }).inc(),
        };
    }
}
