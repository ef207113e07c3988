//! Changes of many deliveries that a person asks for, in several transactions.

use std::sync::Arc;

use jiff::Timestamp;

use super::{error::SqlResult, transaction::Transaction};
use crate::{alert::Actor, store::deliveries::Which};

/// Number of deliveries that one transaction changes. News about one alert is in one part.
const PART: usize = 500;

/// Change that a person asks for.
#[derive(Clone, Copy)]
pub(in crate::store) enum Change {
    Retry,
    Discard,
}

/// Message that a person chose.
pub(in crate::store) struct Chosen {
    pub(super) alert: i64,
    pub(super) seq: i64,
}

/// Change of the deliveries that a person chose.
pub(in crate::store) struct DeliveryChange {
    pub(in crate::store) change: Change,
    pub(in crate::store) which: Which,
    pub(in crate::store) by: Actor,
    pub(in crate::store) now: Timestamp,
}

/// Progress of a [`DeliveryChange`].
#[derive(Clone, Default)]
pub(in crate::store) struct DeliveryChangeProgress {
    /// Messages that the first part found; none before it.
    chosen: Option<Arc<[Chosen]>>,
    /// Number of messages from the start of `chosen` that are done.
    done: usize,
    /// Number of messages that were changed.
    count: u64,
}

impl DeliveryChangeProgress {
    /// Returns the number of messages that were changed, once all parts are done.
    pub(in crate::store) fn finished(&self) -> Option<u64> {
        let chosen = self.chosen.as_ref()?;
        (chosen.len() == self.done).then_some(self.count)
    }
}

impl Transaction<'_> {
    /// Does the next part of a change, and returns the progress after it.
    pub(in crate::store) fn change_deliveries(
        &mut self,
        wanted: &DeliveryChange,
        progress: &DeliveryChangeProgress,
    ) -> SqlResult<DeliveryChangeProgress> {
        let DeliveryChangeProgress { chosen, done, count } = progress;
        if chosen.is_none() && matches!(wanted.change, Change::Retry) {
            self.end_pause_of(&wanted.which)?;
        }
        let chosen = match chosen {
            Some(chosen) => chosen.clone(),
            None => self.chosen(&wanted.which)?.into(),
        };
        let part = part(&chosen[*done..]);
        let changed = match wanted.change {
            Change::Retry => self.retry_deliveries(part, &wanted.by, wanted.now)?,
            Change::Discard => self.discard_deliveries(part, &wanted.by, wanted.now)?,
        };
        let (done, count) = (done + part.len(), count + changed);
        Ok(DeliveryChangeProgress { chosen: Some(chosen), done, count })
    }
}

/// Returns the messages of the next transaction.
fn part(left: &[Chosen]) -> &[Chosen] {
    let mut end = PART.min(left.len());
    while end < left.len() && left[end].alert == left[end - 1].alert {
        end += 1;
    }
    &left[..end]
}
