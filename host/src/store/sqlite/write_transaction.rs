//! The open transaction, in which [jobs](super::write_job::WriteJob) are carried out.
//!
//! [`super::submission`] writes the events and the record of a request, [`super::alert_changes`] the changes
//! of alerts, and [`super::housekeeping`] does recurring tasks. [`super::routing`] and
//! [`super::delivery_changes`] write deliveries.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, params};
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use super::{kept_statements::KeptStatements, writer_state::WriterState};
use crate::{
    alert::{AlertIds, PluginId},
    request::{Content, Submission, Terms},
};

/// Open transaction on the writer's connection, with a draft of the [`WriterState`] after it.
pub(super) struct WriteTransaction<'s> {
    pub(super) connection: &'s Connection,
    /// Statements on the way of most requests.
    pub(super) kept: &'s dyn KeptStatements,
    pub(super) ids: AlertIds,
    pub(super) state: &'s mut WriterState,
}

impl<'s> WriteTransaction<'s> {
    pub(super) fn new(
        connection: &'s Connection,
        kept: &'s dyn KeptStatements,
        ids: AlertIds,
        state: &'s mut WriterState,
    ) -> Self {
        Self { connection, kept, ids, state }
    }

    /// Tries whether a request can be committed. Only a real attempt can tell.
    pub(super) fn probe(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("SAVEPOINT probe")?;
        let mut draft = self.state.clone();
        let mut open = WriteTransaction::new(self.connection, self.kept, self.ids, &mut draft);
        let tried = open.submit(&webhook());
        self.connection.execute_batch("ROLLBACK TO probe; RELEASE probe")?;
        tried?;
        let sql = "INSERT INTO meta VALUES ('probes', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1";
        self.statement(sql)?.execute([]).map(drop)
    }

    pub(super) fn integration(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(id) = self.state.names.integrations.get(name) {
            return Ok(*id);
        }
        self.statement(
            "INSERT INTO integrations (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
        )?
        .execute([name])?;
        let id = "SELECT id FROM integrations WHERE name = ?1";
        let id = self.statement(id)?.query_row([name], |row| row.get(0))?;
        self.state.names.integrations.insert(Arc::clone(name), id);
        Ok(id)
    }

    pub(super) fn plugin(&mut self, plugin: &Arc<PluginId>) -> rusqlite::Result<i64> {
        if let Some(id) = self.state.names.plugins.get(plugin) {
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
        self.state.names.plugins.insert(Arc::clone(plugin), id);
        Ok(id)
    }

    pub(super) fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }
}

/// Returns a [`Submission`] that opens an alert, to be tried.
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
        content: Content::Events {
            events: vec![Event::create("probe").into()],
            terms,
            remark: None,
        },
        kept: None,
        replayed_by: None,
        hops: 0,
        timeline: None,
    }
}
