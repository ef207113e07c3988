//! Counts the alerts that are not resolved, for the metrics.
//!
//! A count reads a small part of the alerts at a time and then rests, so that a store of many alerts is not
//! busy with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::REST;
use crate::{host::Host, http::server::Stop, store::StoreError};

/// Time between two counts.
const PAUSE: Duration = Duration::from_secs(5);
/// Number of alerts that are read at a time.
const STEP: u64 = 10_000;

/// Counts again and again until the signal to stop.
pub(crate) async fn run(host: Arc<Host>, mut stop: Stop) {
    // The first count does not rest, so that its numbers come soon.
    let mut rest = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return,
            counted = count(&host, rest) => if let Err(error) = counted {
                tracing::debug!(%error, "a count of the alerts failed and is repeated");
            }
        }
        rest = REST;
        tokio::select! {
            biased;
            () = stop.wait() => return,
            () = sleep(PAUSE) => {}
        }
    }
}

/// Counts once, and rests after each step for a multiple of the time that it took.
async fn count(host: &Host, rest: u32) -> Result<(), StoreError> {
    let mut total = BTreeMap::new();
    let mut next = Some(0);
    while let Some(after) = next {
        let started = Instant::now();
        let step = host.store.count_unresolved(after, STEP).await?;
        for (status, urgency, count) in step.counts {
            *total.entry((status, urgency)).or_default() += count;
        }
        next = step.next;
        if next.is_some() {
            sleep(started.elapsed() * rest).await;
        }
    }
    let count = |status, urgency| total.get(&(status, urgency)).copied().unwrap_or_default();
    host.metrics.unresolved.set(count);
    Ok(())
}
