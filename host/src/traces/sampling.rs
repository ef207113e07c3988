//! The decision if a request has a trace, and the ids of its trace.

use super::trace_context::SenderContext;

/// Bits of a trace id that decide on a trace that begins here. They are the random ones of every id.
const RANDOM_BITS: u32 = 56;

/// The trace that a request belongs to, and the id of the request's own span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace_id: u128,
    /// The sender's span; none if the trace begins here.
    pub(super) parent_id: Option<u64>,
    pub(super) span_id: u64,
    /// The sender's `tracestate`.
    pub(super) state: String,
}

impl TraceParent {
    /// Decides if a request has a trace, and returns it. A sender that has [begun one](SenderContext) decides itself. Of
    /// the other requests, this part has one.
    pub(super) fn decide(
        sender: Option<SenderContext>,
        ratio: f64,
        random: &mut fastrand::Rng,
    ) -> Option<Self> {
        if let Some(SenderContext { trace_id, parent_id, is_sampled, state }) = sender {
            let span_id = span_id(random);
            let parent_id = Some(parent_id);
            return is_sampled.then_some(Self { trace_id, parent_id, span_id, state });
        }
        let trace_id = random.u128(1..);
        let is_sampled = is_within(ratio, trace_id);
        let state = String::new();
        is_sampled.then(|| Self { trace_id, parent_id: None, span_id: span_id(random), state })
    }
}

/// Returns the id of a new span.
pub(super) fn span_id(random: &mut fastrand::Rng) -> u64 {
    random.u64(1..)
}

/// Returns true for this part of all ids. An id within a part is also within every larger part.
fn is_within(ratio: f64, trace_id: u128) -> bool {
    const ALL: u64 = 1 << RANDOM_BITS;
    #[expect(clippy::cast_precision_loss, reason = "a power of 2 has an exact value")]
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is not needed")]
    #[expect(clippy::cast_sign_loss, reason = "a ratio is at most 1")]
    let left_out = ((1.0 - ratio) * ALL as f64) as u64;
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
    let random = trace_id as u64 & (ALL - 1);
    random >= left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(is_sampled: bool) -> Option<SenderContext> {
        Some(SenderContext { trace_id: 7, parent_id: 8, is_sampled, state: "a=1".into() })
    }

    #[test]
    fn a_sender_that_records_its_trace_gets_a_span_in_it_whatever_the_ratio() {
        let mut random = fastrand::Rng::with_seed(1);
        let parent = TraceParent::decide(sender(true), 0.0, &mut random).expect("a trace");
        assert_eq!((parent.trace_id, parent.parent_id, &*parent.state), (7, Some(8), "a=1"));
        assert_eq!(TraceParent::decide(sender(false), 1.0, &mut random), None);
    }

    #[test]
    fn the_ratio_is_the_part_of_the_other_requests_that_have_a_trace() {
        let mut random = fastrand::Rng::with_seed(2);
        for (ratio, expected) in [(0.0, 0..=0), (0.1, 900..=1100), (1.0, 10_000..=10_000)] {
            let traces = (0..10_000).filter_map(|_| TraceParent::decide(None, ratio, &mut random));
            let traces: Vec<_> = traces.collect();
            assert!(expected.contains(&traces.len()), "{ratio}: {}", traces.len());
            assert!(traces.iter().all(|it| it.parent_id.is_none() && it.state.is_empty()));
        }
    }

    #[test]
    fn ids_come_from_the_random_numbers_alone_and_differ() {
        let decide = |seed| TraceParent::decide(None, 1.0, &mut fastrand::Rng::with_seed(seed));
        assert_eq!(decide(3), decide(3));
        assert_ne!(decide(3).map(|it| it.trace_id), decide(4).map(|it| it.trace_id));
    }
}
