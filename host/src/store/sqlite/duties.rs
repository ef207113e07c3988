//! Duties of the one host that uses a database: it holds whatever it asks for.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

use super::SqliteStore;
use crate::store::{
    Pending,
    duties::{Duty, DutyStore, Hold, Term},
};

/// Duties that the host holds, in memory: a database that a host has open is locked for others.
pub(super) struct Duties {
    held: Mutex<Held>,
    other_hosts: watch::Sender<u64>,
}

#[derive(Default)]
struct Held {
    terms: BTreeMap<Duty, Term>,
    /// Number of the last term.
    last_term: u64,
}

impl Duties {
    pub(super) fn new() -> Self {
        Self { held: Mutex::default(), other_hosts: watch::Sender::new(0) }
    }

    /// Returns the duties that the host holds, sorted.
    pub(super) fn held(&self) -> Vec<Duty> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.terms.keys().cloned().collect()
    }
}

impl DutyStore for SqliteStore {
    fn hold(&self, duty: Duty) -> Pending<Hold> {
        let held = &mut *self.duties.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Held { terms, last_term } = held;
        let term = *terms.entry(duty).or_insert_with(|| {
            *last_term += 1;
            Term(*last_term)
        });
        Pending::ready(Hold::Here { term, lasts: None })
    }

    fn release(&self, duty: Duty) -> Pending<()> {
        let held = &mut *self.duties.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.terms.remove(&duty);
        Pending::ready(())
    }

    fn work_of_other_hosts(&self) -> watch::Receiver<u64> {
        self.duties.other_hosts.subscribe()
    }
}
