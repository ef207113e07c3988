//! Meeting point of the delivery engine and the rest of the host.
//!
//! The API and reloads leave orders here, and the engine leaves the state of the destinations. Nothing
//! here sends or stores anything.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, futures::Notified, watch};

use super::in_force::InForce;
use crate::{delivery::DestinationState, problem::Problem};

/// Time for which a destination may fail before that is a problem of the host.
const NOTABLE: SignedDuration = SignedDuration::from_secs(60);

/// Meeting point of the delivery engine and the rest of the host.
#[derive(Debug)]
pub(crate) struct DeliveryDesk {
    reloads: watch::Sender<u64>,
    silences: watch::Sender<u64>,
    bells: Mutex<HashMap<Arc<str>, Arc<Bell>>>,
    states: ArcSwap<Vec<DestinationState>>,
    /// Destinations at which the last attempt failed.
    failing: Mutex<BTreeMap<String, Failing>>,
    /// Reason why nothing can be sent at all.
    problem: Mutex<Option<Problem>>,
}

/// Bell of one destination: its deliveries have to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Notify,
    unpark: AtomicBool,
}

/// Failures at a destination since its last success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// Time of the first one.
    pub(crate) since: Timestamp,
    /// Reason of the last one.
    pub(crate) reason: String,
}

impl Default for DeliveryDesk {
    fn default() -> Self {
        Self {
            reloads: watch::Sender::new(0),
            silences: watch::Sender::new(0),
            bells: Mutex::default(),
            states: ArcSwap::default(),
            failing: Mutex::default(),
            problem: Mutex::default(),
        }
    }
}

impl DeliveryDesk {
    /// Tells the engine that another configuration is in force.
    pub(crate) fn reloaded(&self) {
        self.reloads.send_modify(|count| *count += 1);
    }

    /// Tells the engine that silences were added or ended.
    pub(crate) fn silences_changed(&self) {
        self.silences.send_modify(|count| *count += 1);
    }

    /// Tells the engine that deliveries of a destination became due, for example because a person retries
    /// them.
    pub(crate) fn look(&self, destination: &str) {
        self.bell(destination).ring();
    }

    /// Tells the engine to try a parked destination again.
    pub(crate) fn unpark(&self, destination: &str) {
        let bell = self.bell(destination);
        bell.unpark.store(true, Ordering::Release);
        bell.ring();
    }

    /// Returns a receiver of the signals of [`reloaded`](Self::reloaded).
    pub(crate) fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.subscribe()
    }

    /// Returns a receiver of the signals of [`silences_changed`](Self::silences_changed).
    pub(crate) fn silence_changes(&self) -> watch::Receiver<u64> {
        self.silences.subscribe()
    }

    /// Returns the [`Bell`] of a destination.
    pub(crate) fn bell(&self, destination: &str) -> Arc<Bell> {
        let mut bells = lock(&self.bells);
        match bells.get(destination) {
            Some(bell) => Arc::clone(bell),
            None => Arc::clone(bells.entry(destination.into()).or_default()),
        }
    }

    /// Returns one sentence on each reason why deliveries wait: destinations that are parked, removed or
    /// fail for a while. Their numbers are some seconds old.
    pub(crate) fn problems(&self, in_force: &InForce, now: Timestamp) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(problem) = &*lock(&self.problem) {
            problems.push(format!("nothing can be delivered: {}", problem.one_line()));
        }
        for state in &**self.states.load() {
            let DestinationState { name, waiting, .. } = state;
            let waits = match waiting {
                1 => "1 delivery waits".to_owned(),
                count => format!("{count} deliveries wait"),
            };
            let is_configured = in_force.destinations.by_name.contains_key(&**name);
            if !is_configured && *waiting > 0 {
                problems.push(format!(
                    "destination `{name}` is not configured, and {waits} for it; hint: configure \
                     it again, or discard them with `tocsin deliveries discard --destination {name}`"
                ));
            } else if is_configured && let Some(parked) = &state.parked {
                problems.push(format!(
                    "destination `{name}` is parked since {:.0}, and {waits}: {}; hint: change its \
                     options, or try again with `tocsin deliveries retry --destination {name}`",
                    parked.since, parked.reason
                ));
            } else if is_configured
                && let Some(Failing { since, reason }) = lock(&self.failing).get(name)
                && now.duration_since(*since) >= NOTABLE
            {
                problems.push(format!(
                    "destination `{name}` fails since {since:.0}, and {waits}: {reason}"
                ));
            }
        }
        problems
    }

    /// Replaces the state of the destinations.
    pub(crate) fn set_states(&self, states: Vec<DestinationState>) {
        self.states.store(Arc::new(states));
    }

    /// Notes that a destination fails, or that it no longer does.
    pub(crate) fn set_failing(&self, destination: &str, failing: Option<Failing>) {
        let mut all = lock(&self.failing);
        match failing {
            Some(failing) => _ = all.insert(destination.to_owned(), failing),
            None => _ = all.remove(destination),
        }
    }

    /// Notes why nothing can be sent at all, or that deliveries are sent again.
    pub(crate) fn set_problem(&self, problem: Option<Problem>) {
        *lock(&self.problem) = problem;
    }
}

impl Bell {
    /// Rings. A ring that nobody waits for is kept.
    pub(crate) fn ring(&self) {
        self.rung.notify_one();
    }

    /// Waits for a ring.
    pub(crate) fn rung(&self) -> Notified<'_> {
        self.rung.notified()
    }

    /// Returns true, once, if the destination is to be tried although it is parked.
    pub(crate) fn take_unpark(&self) -> bool {
        self.unpark.swap(false, Ordering::AcqRel)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
