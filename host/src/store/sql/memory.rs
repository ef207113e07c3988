//! Interface to values about a database that only its writer changes.
//!
//! SQLite has one writer, which keeps them in memory. A database with several writers reads them from its tables,
//! and keeps the methods that do nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::error::SqlResult;
use crate::{alert::PluginId, request::Share};

/// Values of the writer of a database, as of the open transaction.
pub(in crate::store) trait WriterMemory {
    /// Returns the numbers under which names are stored.
    fn names(&mut self) -> &mut Names;

    /// Returns the places up to which tasks in several steps have come.
    fn places(&mut self) -> &mut TaskPlaces;

    /// Returns the number of the newest alert.
    ///
    /// # Errors
    ///
    /// If the database refuses to tell it.
    fn highest(&mut self) -> SqlResult<i64>;

    /// Returns the number of the open transaction.
    ///
    /// # Errors
    ///
    /// If the database refuses to tell it.
    fn transaction(&mut self) -> SqlResult<i64>;

    /// Returns the number and the bytes of the requests of an integration that wait for a replay; none if
    /// they are to be counted in the tables.
    fn quarantined(&self, _integration: i64) -> Option<(u64, u64)> {
        None
    }

    /// Counts a request that waits for a replay from now on.
    fn joined_quarantine(&mut self, _integration: i64, _name: &str, _bytes: u64) {}

    /// Takes a request off the count of those that wait for a replay.
    fn left_quarantine(&mut self, _integration: i64, _bytes: u64) {}

    /// Counts a request that is not kept, or no longer, because of others.
    fn pushed_out(&mut self, _integration: i64, _share: Share) {}

    /// Forgets the keys of an alert that is about to be deleted. Returns true if its event id is not in the
    /// table of seen events.
    fn forget_keys(&mut self, _alert: i64) -> bool {
        false
    }
}

/// Numbers under which names are stored.
#[derive(Clone, Default)]
pub(in crate::store) struct Names {
    pub(in crate::store) integrations: HashMap<Arc<str>, i64>,
    pub(in crate::store) plugins: HashMap<Arc<PluginId>, i64>,
    pub(in crate::store) destinations: HashMap<Arc<str>, i64>,
    /// Destinations that are known to have had a delivery.
    pub(in crate::store) used_destinations: HashSet<i64>,
}

/// Places up to which tasks in several steps have come. A task whose place is lost begins again.
#[derive(Clone, Default)]
pub(in crate::store) struct TaskPlaces {
    /// Number of the last alert that has the new time of the automatic resolve, by the number of the
    /// integration.
    pub(in crate::store) adopted: HashMap<i64, i64>,
    /// Time and place of the last finished delivery that housekeeping has looked at; none if the next
    /// step begins with the oldest.
    pub(in crate::store) last_looked_at: Option<(i64, i64)>,
}
