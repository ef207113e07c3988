//! The inside of one transaction: what every part of it needs.
//!
//! What a submission does is in [`super::submission`], what an event does to an alert in
//! [`super::life`], what is done from time to time in [`super::chores`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, params};
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use super::writer::{Done, WriteJob};
use crate::{
    alert::{AlertIds, PluginId},
    store::request::{Content, Quarantined, Submission, Terms},
};

/// What the writer knows beside the database, as it is after the last commit. A transaction works on a
/// copy.
#[derive(Clone)]
pub(super) struct Scratch {
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
    names: Names,
}

/// The numbers under which names are stored.
#[derive(Clone, Default)]
struct Names {
    integrations: HashMap<Arc<str>, i64>,
    plugins: HashMap<Arc<PluginId>, i64>,
}

/// More than the transactions whose times may have been lost when the host was killed: their numbers
/// are not given again.
const SKIPPED: i64 = 1000;

impl Scratch {
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
            transaction: number("SELECT ifnull(max(id), 0) FROM transactions")? + SKIPPED,
            quarantine: quarantine.collect::<Result<_, _>>()?,
            quarantine_changed: false,
            malformed_pushed_out: BTreeMap::new(),
            has_former: number("SELECT EXISTS (SELECT 1 FROM former)")? == 1,
            adopted: HashMap::new(),
            names: Names::default(),
        })
    }
}

/// A webhook that opens an alert.
fn webhook() -> Submission {
    let terms = Terms::from(Urgency::Low);
    Submission {
        request_id: Ulid::generate(),
        received_at: Timestamp::now(),
        integration: "".into(),
        plugin: Some(Arc::new(PluginId { name: "".into(), version: "".into() })),
        sender: None,
        size_bytes: None,
        plugin_time: None,
        content: Content::Events { events: vec![Event::create("probe")], terms, remark: None },
        kept: None,
        replayed_by: None,
    }
}

/// The inside of one transaction.
pub(super) struct Step<'s> {
    pub(super) connection: &'s Connection,
    pub(super) ids: AlertIds,
    pub(super) scratch: &'s mut Scratch,
}

impl<'s> Step<'s> {
    pub(super) fn new(connection: &'s Connection, ids: AlertIds, scratch: &'s mut Scratch) -> Self {
        Self { connection, ids, scratch }
    }

    pub(super) fn apply(&mut self, job: &WriteJob) -> rusqlite::Result<Done> {
        match job {
            WriteJob::Commit(submission, _) => self.submit(submission).map(Done::Commit),
            WriteJob::Part(long) => self.submit_part(long).map(Done::Commit),
            WriteJob::ManualChange(alert, change, _) => {
                self.change(*alert, change).map(Done::ManualChange)
            }
            WriteJob::Tidy(chore, _) => self.housekeep(chore).map(Done::Tidy),
            WriteJob::Probe(_) => self.probe(),
            WriteJob::Rehearse(..) | WriteJob::Stop => Ok(Done::Probe),
        }
    }

    /// Whether a webhook would be kept is only known once one was.
    fn probe(&mut self) -> rusqlite::Result<Done> {
        self.connection.execute_batch("SAVEPOINT probe")?;
        let mut draft = self.scratch.clone();
        let tried = Step::new(self.connection, self.ids, &mut draft).submit(&webhook());
        self.connection.execute_batch("ROLLBACK TO probe; RELEASE probe")?;
        tried?;
        let sql = "INSERT INTO meta VALUES ('probes', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1";
        self.statement(sql)?.execute([])?;
        Ok(Done::Probe)
    }

    pub(super) fn integration(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(id) = self.scratch.names.integrations.get(name) {
            return Ok(*id);
        }
        self.statement(
            "INSERT INTO integrations (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
        )?
        .execute([name])?;
        let id = "SELECT id FROM integrations WHERE name = ?1";
        let id = self.statement(id)?.query_row([name], |row| row.get(0))?;
        self.scratch.names.integrations.insert(Arc::clone(name), id);
        Ok(id)
    }

    pub(super) fn plugin(&mut self, plugin: &Arc<PluginId>) -> rusqlite::Result<i64> {
        if let Some(id) = self.scratch.names.plugins.get(plugin) {
            return Ok(*id);
        }
        let names = params![plugin.name, plugin.version];
        self.statement(
            "INSERT INTO plugins (name, version) VALUES (?1, ?2) \
             ON CONFLICT (name, version) DO NOTHING",
        )?
        .execute(names)?;
        let id = "SELECT id FROM plugins WHERE name = ?1 AND version = ?2";
        let id = self.statement(id)?.query_row(names, |row| row.get(0))?;
        self.scratch.names.plugins.insert(Arc::clone(plugin), id);
        Ok(id)
    }

    pub(super) fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }
}
