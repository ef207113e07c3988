//! State that the writing thread keeps in memory beside the database.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use rusqlite::Connection;

use super::unindexed_keys::UnindexedKeys;
use crate::{alert::PluginId, request::Quarantined};

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
    /// Number of the last alert that has the new time of the automatic resolve, by the number of the
    /// integration.
    pub(super) adopted: HashMap<i64, i64>,
    /// Time and place of the last finished delivery that housekeeping has looked at; none if the next
    /// step begins with the oldest.
    pub(super) last_looked_at: Option<(i64, i64)>,
    pub(super) names: Names,
}

/// Numbers under which names are stored.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) integrations: HashMap<Arc<str>, i64>,
    pub(super) plugins: HashMap<Arc<PluginId>, i64>,
    pub(super) destinations: HashMap<Arc<str>, i64>,
    /// Destinations that are known to have had a delivery.
    pub(super) used_destinations: HashSet<i64>,
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
            adopted: HashMap::new(),
            last_looked_at: None,
            names: Names::default(),
        })
    }
}
