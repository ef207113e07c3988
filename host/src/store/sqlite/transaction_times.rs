//! Times until transactions were on disk.
//!
//! The time of a transaction is known only after its end. The next transaction writes it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::params;

use super::kept_statements::KeptStatements;
use crate::store::sql::SqlResult;

/// Times that are not written yet.
#[derive(Default)]
pub(super) struct TransactionTimes(Mutex<VecDeque<(i64, i64)>>);

impl TransactionTimes {
    /// Notes the time of a transaction that is on disk.
    pub(super) fn synced(&self, transaction: i64, took: Duration) {
        let microseconds = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        self.waiting().push_back((transaction, microseconds));
    }

    /// Writes all known times, within a transaction, and returns their number.
    pub(super) fn write(&self, statements: &dyn KeptStatements) -> SqlResult<usize> {
        let waiting = self.unwritten();
        for (transaction, microseconds) in &waiting {
            let sql = "INSERT INTO transactions VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";
            statements.execute(sql, params![transaction, microseconds])?;
        }
        Ok(waiting.len())
    }

    /// Forgets that many times, since they are committed.
    pub(super) fn written(&self, count: usize) {
        self.waiting().drain(..count);
    }

    /// Returns the times that are not written yet: the numbers of the transactions, and microseconds.
    pub(super) fn unwritten(&self) -> Vec<(i64, i64)> {
        self.waiting().iter().copied().collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(i64, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
