//! Errors of the database, as the threads of this process have met them.
//!
//! Readiness and metrics are built from them elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, config::DbConfig};

use crate::{problem::Problem, store::sql::SqlError};

/// State of the database as this process knows it. Clones share the state.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<HealthState>>);

#[derive(Default)]
struct HealthState {
    /// Reason why the last commit failed.
    last_write_error: Option<Problem>,
    /// First damage that was found.
    damage: Option<Problem>,
    /// Reason why nothing is written any more.
    write_stop: Option<Problem>,
    /// True if a file of the database is no longer at its path.
    is_displaced: bool,
}

impl Health {
    /// Returns the reason why the last commit failed; none once a later one succeeded.
    pub(super) fn last_write_error(&self) -> Option<Problem> {
        self.state().last_write_error.clone()
    }

    /// Notes that a commit failed, or with `None` that one succeeded.
    pub(super) fn set_write_error(&self, error: Option<Problem>) {
        self.state().last_write_error = error;
    }

    /// Returns the first damage that was found.
    pub(super) fn damage(&self) -> Option<Problem> {
        self.state().damage.clone()
    }

    /// Notes damage of the database if an error tells of it.
    pub(super) fn note_damage(&self, refused: &SqlError) {
        if super::is_damage(refused) {
            self.state().damage.get_or_insert_with(|| super::problem(refused));
        }
    }

    /// Stops all writing for good.
    pub(super) fn stop_writes(&self, reason: Problem) {
        self.state().write_stop = Some(reason);
    }

    /// Stops all writing for good, because a file of the database was removed or replaced.
    pub(super) fn displace(&self, reason: Problem) {
        let mut state = self.state();
        state.last_write_error = Some(reason.clone());
        state.write_stop.get_or_insert(reason);
        state.is_displaced = true;
    }

    /// Returns true if a file of the database was removed or replaced.
    pub(super) fn is_displaced(&self) -> bool {
        self.state().is_displaced
    }

    /// Returns the reason why nothing is written any more.
    pub(super) fn write_stop(&self) -> Option<Problem> {
        self.state().write_stop.clone()
    }

    /// Prepares a connection for its end: if writing was stopped, closing the connection does not
    /// change the log. The last connection otherwise copies the log into the database, although it is
    /// unknown how much of the log reached the disk.
    pub(super) fn prepare_close(&self, connection: &Connection) {
        if self.write_stop().is_some() {
            let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = connection.set_db_config(no_checkpoint, true);
        }
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
