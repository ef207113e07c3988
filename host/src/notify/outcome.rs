//! The consequences of an attempt: for its delivery, and for its destination.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    attempt::{Ended, Verdict},
    clock::later,
    schedule::{LONGEST_RETRY_AFTER, Schedule, next_attempt},
};
use crate::{
    delivery::{Attempt, AttemptResult, Delivery, Parked},
    store::deliveries::{AfterAttempt, Finished},
};

/// The consequences of an attempt.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The record for the store.
    pub finished: Finished,
    /// The mark of the destination, if no delivery to it can succeed.
    pub parked: Option<Parked>,
    /// Time until which no attempt is made at the destination.
    pub paused_until: Option<Timestamp>,
}

/// An attempt that has ended.
pub(super) struct EndedAttempt<'a> {
    /// The delivery as it was claimed.
    pub delivery: &'a Delivery,
    /// Time at which the attempt began.
    pub at: Timestamp,
    /// Duration of the attempt.
    pub took: Duration,
    /// End of the attempt.
    pub ended: Ended,
}

impl Outcome {
    /// Decides what follows from an attempt. `random` is from 0 to 1, and `settings` is the digest of the
    /// destination's settings.
    pub(super) fn of(
        attempt: EndedAttempt<'_>,
        schedule: &Schedule,
        settings: &str,
        random: f64,
        now: Timestamp,
    ) -> Self {
        let EndedAttempt { delivery, at, took, ended } = attempt;
        let Ended { requests, verdict, retry_after, too_many } = ended;
        let mut record = Attempt {
            number: delivery.attempts,
            at,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            requests,
            result: AttemptResult::Delivered,
            reason: None,
        };
        let (mut parked, mut paused_until, mut new_state) = (None, None, None);
        let next = match verdict {
            Verdict::Delivered { state } => {
                new_state = state;
                AfterAttempt::Delivered
            }
            Verdict::Rejected(reason) => {
                (record.result, record.reason) = (AttemptResult::Rejected, Some(reason));
                AfterAttempt::Dead
            }
            Verdict::DestinationBroken(reason) => {
                (record.result, record.reason) =
                    (AttemptResult::DestinationBroken, Some(reason.clone()));
                parked = Some(Parked { since: now, reason, settings: settings.to_owned() });
                // The delivery is due as soon as the destination works again.
                AfterAttempt::Waits { until: now, in_doubt: delivery.in_doubt }
            }
            Verdict::Retry { reason, at_least, in_doubt } => {
                let asked = at_least.max(retry_after);
                let until = next_attempt(schedule, delivery.attempts, asked, random, now);
                if too_many {
                    let wait = asked.or_else(|| schedule.wait(1, random)).unwrap_or_default();
                    paused_until = Some(later(now, wait.min(LONGEST_RETRY_AFTER)));
                }
                record.result =
                    if in_doubt { AttemptResult::InDoubt } else { AttemptResult::Retry };
                match until {
                    Some(until) => {
                        record.reason = Some(reason);
                        // A doubt about an earlier attempt remains until the news has arrived.
                        AfterAttempt::Waits { until, in_doubt: in_doubt || delivery.in_doubt }
                    }
                    None => {
                        let attempts = delivery.attempts;
                        record.reason =
                            Some(format!("given up after {attempts} attempts: {reason}"));
                        AfterAttempt::Dead
                    }
                }
            }
        };
        let finished = Finished { id: delivery.id, attempt: record, next, state: new_state, now };
        Self { finished, parked, paused_until }
    }
}
