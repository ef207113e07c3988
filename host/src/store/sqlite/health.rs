//! What is wrong with the database, as its threads have found it.
//!
//! What it means for those who ask is not known here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, config::DbConfig};

/// What is wrong, for everybody to see.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<Wrong>>);

#[derive(Default)]
struct Wrong {
    /// Why the last commit failed.
    last: Option<String>,
    /// What was found to be damaged.
    damage: Option<String>,
    /// Why nothing is written any more.
    lost: Option<String>,
    /// True if a file of the database is no longer at its path.
    is_displaced: bool,
}

impl Health {
    pub(super) fn get(&self) -> Option<String> {
        self.wrong().last.clone()
    }

    pub(super) fn set(&self, problem: Option<String>) {
        self.wrong().last = problem;
    }

    pub(super) fn damage(&self) -> Option<String> {
        self.wrong().damage.clone()
    }

    /// Remembers what an error says of the database.
    pub(super) fn learn(&self, refused: &rusqlite::Error) {
        if super::is_damage(refused) {
            self.wrong().damage.get_or_insert_with(|| super::sentence(refused));
        }
    }

    /// Has nothing written any more.
    pub(super) fn lose(&self, reason: String) {
        self.wrong().lost = Some(reason);
    }

    /// Has nothing written any more, because a file of the database was removed or replaced.
    pub(super) fn displace(&self, reason: String) {
        let mut wrong = self.wrong();
        wrong.last = Some(reason.clone());
        wrong.lost.get_or_insert(reason);
        wrong.is_displaced = true;
    }

    /// Returns whether a file of the database was removed or replaced.
    pub(super) fn is_displaced(&self) -> bool {
        self.wrong().is_displaced
    }

    pub(super) fn lost(&self) -> Option<String> {
        self.wrong().lost.clone()
    }

    /// Has a connection that is about to close leave the log alone if what became of it on its way to
    /// disk is not known. Otherwise the last one copies it into the database.
    pub(super) fn spare(&self, connection: &Connection) {
        if self.lost().is_some() {
            let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = connection.set_db_config(no_checkpoint, true);
        }
    }

    fn wrong(&self) -> MutexGuard<'_, Wrong> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
