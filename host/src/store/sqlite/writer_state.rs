//! State that the writing thread keeps in memory beside the database.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rusqlite::Connection;

use crate::{alert::PluginId, store::request::Quarantined};

/// What the writer knows beside the database, as it is after the last commit. A transaction works on a
/// copy.
#[derive(Clone)]
pub(super) struct WriterState {
    /// The number of the newest alert.
    pub(super) highest: i64,
    /// The number of the transaction.
    pub(super) transaction: i64,
    /// What waits for a replay, by the number of the integration.
    pub(super) quarantine: BTreeMap<i64, Quarantined>,
    pub(super) quarantine_changed: bool,
    /// Malformed requests that left in this transaction because others came, by the number of the
    /// integration.
    pub(super) malformed_pushed_out: BTreeMap<i64, u64>,
    /// Whether any alert with a dedup key was ever resolved.
    pub(super) has_former: bool,
    /// How far the open alerts of an integration have been given another time to resolve by themselves.
    pub(super) adopted: HashMap<i64, i64>,
    pub(super) names: Names,
}

/// The numbers under which names are stored.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) integrations: HashMap<Arc<str>, i64>,
    pub(super) plugins: HashMap<Arc<PluginId>, i64>,
}

/// More than the transactions whose times may have been lost when the host was killed: their numbers
/// are not given again.
const SKIPPED: i64 = 1000;

/// The highest number of a transaction that left a trace.
const LAST_TRANSACTION: &str = "SELECT max( \
     ifnull((SELECT max(id) FROM transactions), 0), \
     ifnull((SELECT max(transaction_id) FROM changes), 0), \
     ifnull((SELECT transaction_id FROM alerts ORDER BY number DESC LIMIT 1), 0), \
     ifnull((SELECT value FROM meta WHERE key = 'transaction'), 0))";

impl WriterState {
    /// Returns the name of an integration that this transaction has stored something of.
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
            has_former: number("SELECT EXISTS (SELECT 1 FROM former)")? == 1,
            adopted: HashMap::new(),
            names: Names::default(),
        })
    }
}
