//! The open transaction, in which [jobs](super::write_job::WriteJob) are carried out.
//!
//! [`super::submission`] writes the events of a request, and [`super::alert_changes`] what they change. All
//! other statements are [shared](crate::store::sql) with other databases.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use super::{
    kept_statements::{KeptStatements, StatementsOf},
    writer_state::WriterState,
};
use crate::{
    alert::{AlertIds, PluginId},
    request::{Content, Submission, Terms},
    store::sql::{Database, SqlResult, Transaction, values},
};

/// Open transaction on the writer's connection, with a draft of the [`WriterState`] after it.
pub(super) struct WriteTransaction<'s> {
    pub(super) connection: &'s Connection,
    pub(super) database: &'s dyn Database,
    /// Statements on the way of most requests.
    pub(super) kept: &'s dyn KeptStatements,
    pub(super) ids: AlertIds,
    pub(super) state: &'s mut WriterState,
}

impl<'s> WriteTransaction<'s> {
    pub(super) fn new(
        connection: &'s Connection,
        statements: &'s StatementsOf<'_>,
        ids: AlertIds,
        state: &'s mut WriterState,
    ) -> Self {
        Self { connection, database: statements, kept: statements, ids, state }
    }

    /// Tries whether a request can be committed. Only a real attempt can tell.
    pub(super) fn probe(&mut self) -> SqlResult<()> {
        self.connection.execute_batch("SAVEPOINT probe")?;
        let mut draft = self.state.clone();
        let tried = WriteTransaction { state: &mut draft, ..*self }.submit(&webhook());
        self.connection.execute_batch("ROLLBACK TO probe; RELEASE probe")?;
        tried?;
        let sql = "INSERT INTO meta VALUES ('probes', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1";
        self.database.execute(sql, values![]).map(drop)
    }

    /// Returns the transaction as the statements see it that all databases share.
    pub(super) fn shared(&mut self) -> Transaction<'_> {
        Transaction { database: self.database, ids: self.ids, memory: self.state }
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
