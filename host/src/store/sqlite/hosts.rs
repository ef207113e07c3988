//! The one host that uses a database, in memory.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use jiff::Timestamp;
use ulid::Ulid;

use super::SqliteStore;
use crate::store::{
    Pending,
    hosts::{HostReport, HostStore, KnownHost},
};

/// Id and last [`HostReport`] of the one host.
pub(super) struct ThisHost {
    id: Ulid,
    last: Mutex<Option<Reported>>,
}

#[derive(Clone)]
struct Reported {
    report: HostReport,
    at: Timestamp,
    instant: Instant,
}

impl ThisHost {
    pub(super) fn new() -> Self {
        Self { id: Ulid::generate(), last: Mutex::default() }
    }
}

impl HostStore for SqliteStore {
    fn this_host(&self) -> Ulid {
        self.this_host.id
    }

    fn report(&self, report: HostReport) -> Pending<()> {
        let reported = Reported { report, at: Timestamp::now(), instant: Instant::now() };
        let last = &mut *self.this_host.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(reported);
        Pending::ready(())
    }

    fn hosts(&self) -> Pending<Vec<KnownHost>> {
        let last = self.this_host.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let this = last.map(|Reported { report, at, instant }| KnownHost {
            id: self.this_host.id,
            report,
            last_seen_at: at,
            silent_for: instant.elapsed(),
            has_stopped: false,
            duties: self.duties.held(),
        });
        Pending::ready(this.into_iter().collect())
    }
}
