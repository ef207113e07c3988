//! Memory of which destinations were told of which alerts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Most pairs of an alert and a destination that are remembered.
const MOST_REMEMBERED: usize = 50_000;

/// Alerts of which destinations were told lately, so that most news needs no look-up in the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Numbers of the destinations, given in the order in which they were first told.
    destinations: HashMap<Arc<str>, usize>,
    /// Number of the alert and of the destination.
    pairs: HashSet<(u64, usize)>,
}

impl Told {
    pub(super) fn contains(&self, alert: u64, destination: &str) -> bool {
        let destination = self.destinations.get(destination);
        destination.is_some_and(|destination| self.pairs.contains(&(alert, *destination)))
    }

    pub(super) fn insert(&mut self, alert: u64, destination: &Arc<str>) {
        let next = self.destinations.len();
        let destination = match self.destinations.get(destination) {
            Some(known) => *known,
            None => *self.destinations.entry(Arc::clone(destination)).or_insert(next),
        };
        self.pairs.insert((alert, destination));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.destinations.clear();
        self.pairs.clear();
    }

    /// Forgets everything if it is much. The store still knows.
    pub(super) fn bound(&mut self) {
        if self.pairs.len() > MOST_REMEMBERED {
            self.clear();
        }
    }
}
