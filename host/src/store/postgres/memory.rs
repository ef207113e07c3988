//! Values that only SQLite's writer keeps in memory. Here, other hosts write too, and the tables have them.

use super::{database::Blocking, learned::Learned, shared::Shared};
use crate::{
    request::Share,
    store::sql::{Database, Names, SqlResult, TaskPlaces, WriterMemory, values},
};

/// Values of one transaction.
pub(super) struct PostgresMemory<'t> {
    shared: &'t Shared,
    database: &'t Blocking<'t>,
    /// Copy of the known names, with those that this transaction has added.
    names: Names,
    places: TaskPlaces,
    transaction: Option<i64>,
    /// True if the transaction may have changed `places`.
    has_places: bool,
    /// Integrations of requests that wait for a replay, or waited.
    quarantined: Vec<i64>,
    pushed_out: Vec<(i64, Share)>,
}

impl<'t> PostgresMemory<'t> {
    pub(super) fn new(shared: &'t Shared, database: &'t Blocking<'t>) -> Self {
        let (names, places) = (shared.names().clone(), shared.places().clone());
        let (quarantined, pushed_out) = (Vec::new(), Vec::new());
        let (transaction, has_places) = (None, false);
        Self { shared, database, names, places, transaction, has_places, quarantined, pushed_out }
    }

    /// Returns what the transaction has learned, to be kept once it is committed.
    pub(super) fn learned(self) -> Learned {
        Learned {
            names: self.names,
            places: self.has_places.then_some(self.places),
            // The number is read to mark changes of alerts.
            has_number: self.transaction.is_some(),
            quarantined: self.quarantined,
            pushed_out: self.pushed_out,
        }
    }
}

impl WriterMemory for PostgresMemory<'_> {
    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn places(&mut self) -> &mut TaskPlaces {
        self.has_places = true;
        &mut self.places
    }

    fn highest(&mut self) -> SqlResult<i64> {
        let sql = "SELECT coalesce(max(number), 0) FROM alerts";
        let database: &dyn Database = self.database;
        database.one(sql, values![], |row| row.get(0))
    }

    fn transaction(&mut self) -> SqlResult<i64> {
        if let Some(transaction) = self.transaction {
            return Ok(transaction);
        }
        let sql = "SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)";
        let database: &dyn Database = self.database;
        let own: i64 = database.one(sql, values![], |row| row.get(0))?;
        let transaction = own + self.shared.offset;
        self.transaction = Some(transaction);
        Ok(transaction)
    }

    fn joined_quarantine(&mut self, integration: i64, _: &str, _: u64) {
        self.quarantined.push(integration);
    }

    fn left_quarantine(&mut self, integration: i64, _: u64) {
        self.quarantined.push(integration);
    }

    fn pushed_out(&mut self, integration: i64, share: Share) {
        self.pushed_out.push((integration, share));
    }
}
