//! Duties that are held as a test says.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::store::{
    self, Pending, StoreError,
    duties::{Duty, DutyStore, Hold, LEASE_LASTS, Term},
};

/// Only a broken host needs that long.
const TIMEOUT: Duration = Duration::from_secs(180);

/// A [`DutyStore`] that gives every question the same answer, until a test changes the answer.
#[derive(Clone)]
pub(crate) struct PretendedDuties(Arc<Inner>);

struct Inner {
    /// None while the store refuses.
    answer: Mutex<Option<Hold>>,
    asked: AtomicUsize,
    released: AtomicUsize,
}

impl PretendedDuties {
    /// Creates duties that another host holds.
    pub(crate) fn elsewhere() -> Self {
        let answer = Mutex::new(Some(Hold::Elsewhere));
        Self(Arc::new(Inner { answer, asked: AtomicUsize::new(0), released: AtomicUsize::new(0) }))
    }

    /// Gives the duties to another host.
    pub(crate) fn give_elsewhere(&self) {
        self.set(Hold::Elsewhere);
    }

    /// Gives the duties to the host that asks, in a term.
    pub(crate) fn lease(&self, term: u64) {
        self.set(Hold::Here { term: Term(term), lasts: Some(LEASE_LASTS) });
    }

    /// Gives the duties to the host that asks, as long as its store is open.
    pub(crate) fn own(&self, term: u64) {
        self.set(Hold::Here { term: Term(term), lasts: None });
    }

    /// Refuses to say who holds the duties.
    pub(crate) fn fall_silent(&self) {
        self.set_answer(None);
    }

    /// Gives the duties to the host that asks, with leases that are over at once.
    pub(crate) fn let_lapse(&self, term: u64) {
        self.set(Hold::Here { term: Term(term), lasts: Some(Duration::ZERO) });
    }

    fn set(&self, answer: Hold) {
        self.set_answer(Some(answer));
    }

    fn set_answer(&self, answer: Option<Hold>) {
        *self.0.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Returns how often a duty was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::Acquire)
    }

    /// Returns how often a duty was released.
    pub(crate) fn released(&self) -> usize {
        self.0.released.load(Ordering::Acquire)
    }

    /// Waits until a duty was asked for so often.
    pub(crate) async fn until_asked(&self, times: usize) {
        let end = Instant::now() + TIMEOUT;
        while self.asked() < times {
            assert!(Instant::now() < end, "nobody asks for the duty");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl DutyStore for PretendedDuties {
    fn hold(&self, _: Duty) -> Pending<Hold> {
        self.0.asked.fetch_add(1, Ordering::AcqRel);
        let (responder, pending) = store::pending();
        let answer = *self.0.answer.lock().unwrap_or_else(PoisonError::into_inner);
        responder.answer(answer.ok_or(StoreError::Busy));
        pending
    }

    fn release(&self, _: Duty) -> Pending<()> {
        self.0.released.fetch_add(1, Ordering::AcqRel);
        let (responder, pending) = store::pending();
        responder.answer(Ok(()));
        pending
    }

    fn work_of_other_hosts(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
}
