//! State that the writing thread keeps in memory beside the database.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::unindexed_keys::UnindexedKeys;
use crate::{
    request::{Quarantined, Share},
    store::sql::{Names, SqlResult, TaskPlaces, WriterMemory},
};

/// State after the last commit, so that it need not be read again. A transaction works on a copy.
#[derive(Clone)]
pub(super) struct WriterState {
    /// Number of the newest alert.
    pub(super) highest: i64,
    /// Number of the last transaction.
    pub(super) transaction: i64,
    /// [Requests](Quarantined) that wait for a replay, by the number of the integration.
    pub(super) quarantine: BTreeMap<i64, Quarantined>,
    /// True if this transaction has changed `quarantine`.
    pub(super) quarantine_changed: bool,
    /// Malformed requests that this transaction displaced, by the number of the integration.
    pub(super) malformed_pushed_out: BTreeMap<i64, u64>,
    pub(super) keys: UnindexedKeys,
    places: TaskPlaces,
    names: Names,
}

/// Numbers of transactions that are skipped at each start: more than the transactions that may have left no
/// trace when the host was killed.
const SKIPPED: i64 = 1000;

/// The highest number of a transaction that left a trace.
const LAST_TRANSACTION: &str = "SELECT max( \
     ifnull((SELECT max(id) FROM transactions), 0), \
     ifnull((SELECT max(transaction_id) FROM changes), 0), \
     ifnull((SELECT transaction_id FROM alerts ORDER BY number DESC LIMIT 1), 0), \
     ifnull((SELECT value FROM meta WHERE key = 'transaction'), 0))";

impl WriterState {
    /// Returns the name of an integration of which this transaction has stored something.
    pub(super) fn name_of(&self, integration: i64) -> String {
        let mut names = self.names.integrations.iter();
        let found = names.find(|(_, number)| **number == integration);
        found.map_or_else(String::new, |(name, _)| name.to_string())
    }

    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let mut quarantine = connection.prepare(
            "SELECT k.integration, i.name, count(*), sum(k.size) FROM kept_requests k \
             JOIN integrations i ON i.id = k.integration WHERE k.quarantined = 1 GROUP BY 1",
        )?;
        let quarantine = quarantine.query_map([], |row| {
            let quarantined = Quarantined {
                integration: row.get(1)?,
                count: row.get::<_, i64>(2)?.cast_unsigned(),
                bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                pushed_out: 0,
            };
            Ok((row.get(0)?, quarantined))
        })?;
        Ok(Self {
            highest: number("SELECT ifnull(max(number), 0) FROM alerts")?,
            transaction: number(LAST_TRANSACTION)? + SKIPPED,
            quarantine: quarantine.collect::<Result<_, _>>()?,
            quarantine_changed: false,
            malformed_pushed_out: BTreeMap::new(),
            keys: UnindexedKeys::read(connection)?,
            places: TaskPlaces::default(),
            names: Names::default(),
        })
    }
}

impl WriterMemory for WriterState {
    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn places(&mut self) -> &mut TaskPlaces {
        &mut self.places
    }

    fn highest(&mut self) -> SqlResult<i64> {
        Ok(self.highest)
    }

    fn transaction(&mut self) -> SqlResult<i64> {
        Ok(self.transaction)
    }

    fn quarantined(&self, integration: i64) -> Option<(u64, u64)> {
        self.quarantine.get(&integration).map(|waiting| (waiting.count, waiting.bytes))
    }

    fn joined_quarantine(&mut self, integration: i64, name: &str, bytes: u64) {
        self.quarantine_changed = true;
        let waiting = self.quarantine.entry(integration).or_default();
        if waiting.integration.is_empty() {
            name.clone_into(&mut waiting.integration);
        }
        waiting.count += 1;
        waiting.bytes += bytes;
    }

    fn left_quarantine(&mut self, integration: i64, bytes: u64) {
        self.quarantine_changed = true;
        let Some(waiting) = self.quarantine.get_mut(&integration) else { return };
        waiting.count = waiting.count.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
    }

    fn pushed_out(&mut self, integration: i64, share: Share) {
        match share {
            Share::Quarantine => {
                self.quarantine_changed = true;
                if let Some(waiting) = self.quarantine.get_mut(&integration) {
                    waiting.pushed_out += 1;
                }
            }
            Share::Malformed => {
                *self.malformed_pushed_out.entry(integration).or_default() += 1;
            }
        }
    }

    fn forget_keys(&mut self, alert: i64) -> bool {
        self.keys.forget(alert)
    }
}
