//! The writing thread: one transaction for everything that waits.
//!
//! It assigns numbers and enforces both keys. It answers nobody: that is for [`super::syncer`], once
//! the transaction is on disk. While one batch is synced the next is written, and while that is
//! written the one after it gathers: the busier the host, the more requests share a sync.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::Context;
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use tocsin_plugin_api::{Action, Event, Urgency};

use super::{
    rows::{self, Stored},
    syncer::{self, Batch, Problem, Syncer},
};
use crate::{
    alert::{AlertIds, AlertRef, ChangeKind, PluginId, Status},
    metrics::StoreMetrics,
    store::{
        Change, Changed, Committed, Content, Effect, Pending, RawRequest, Responder, StoreError,
        Submission, pending,
    },
};

/// The outcomes in `requests.outcome`, by number.
pub(super) const OUTCOMES: [&str; 4] = ["events", "ignored", "malformed", "failed"];

/// How many requests share a commit at most: enough that the sync costs each next to nothing, few
/// enough that none waits long for the others.
const LARGEST_BATCH: usize = 512;

/// How many failed requests of an integration are kept as they came.
const RAW_REQUESTS_KEPT: i64 = 1000;
/// Larger ones are not: nobody has verified who sent them.
const LARGEST_RAW_REQUEST_BYTES: usize = 64 * 1024;

/// The writing thread.
pub(super) struct Writer {
    jobs: Sender<Job>,
    syncer: Syncer,
    thread: JoinHandle<()>,
}

/// Where writes are asked for.
pub(super) struct Queue {
    jobs: Sender<Job>,
    problem: Problem,
}

pub(super) enum Job {
    Commit(Submission, Committed),
    Change(AlertRef, Change, String, Responder<Changed>),
    Probe(Responder<()>),
    Stop,
}

/// What a job gave, held back until the commit is on disk.
pub(super) enum Done {
    Commit(Vec<Effect>),
    Change(Changed),
    Probe,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        ids: AlertIds,
        metrics: Arc<StoreMetrics>,
        syncer: Syncer,
    ) -> anyhow::Result<Self> {
        let highest = "SELECT ifnull(max(number), 0) FROM alerts";
        let highest = connection.query_row(highest, [], |row| row.get(0))?;
        connection.set_prepared_statement_cache_capacity(32);
        let synced = syncer.queue();
        let mut state =
            State { connection, ids, highest, names: Names::default(), metrics, synced };
        let (jobs, waiting) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || state.serve(&waiting))
            .context("cannot start a thread")?;
        Ok(Self { jobs, syncer, thread })
    }

    pub(super) fn queue(&self) -> Queue {
        Queue { jobs: self.jobs.clone(), problem: self.syncer.problem() }
    }

    /// Commits what waits, and returns when the database is closed.
    pub(super) fn stop(self) {
        let _ = self.jobs.send(Job::Stop);
        let _ = self.thread.join();
        self.syncer.stop();
    }
}

impl Queue {
    pub(super) fn commit(&self, submission: Submission, then: Committed) {
        // A closed store drops the job, and with it what would have followed.
        let _ = self.jobs.send(Job::Commit(submission, then));
    }

    pub(super) fn change(&self, alert: AlertRef, change: Change, by: String) -> Pending<Changed> {
        let (responder, pending) = pending();
        let _ = self.jobs.send(Job::Change(alert, change, by, responder));
        pending
    }

    pub(super) fn probe(&self) -> Pending<()> {
        let (responder, pending) = pending();
        let _ = self.jobs.send(Job::Probe(responder));
        pending
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.problem.get()
    }
}

/// What the thread has.
struct State {
    connection: Connection,
    ids: AlertIds,
    /// The number of the newest alert.
    highest: i64,
    names: Names,
    metrics: Arc<StoreMetrics>,
    synced: syncer::Queue,
}

impl State {
    fn serve(&mut self, waiting: &Receiver<Job>) {
        let mut batch = Vec::new();
        while let Ok(first) = waiting.recv() {
            batch.push(first);
            batch.extend(waiting.try_iter().take(LARGEST_BATCH - 1));
            let stops = batch.iter().any(|job| matches!(job, Job::Stop));
            let mut jobs: Vec<_> =
                batch.drain(..).filter(|job| !matches!(job, Job::Stop)).collect();
            // In the order of arrival, in which the keys of their records grow.
            jobs.sort_by_key(Job::arrival);
            self.commit_together(jobs);
            if stops {
                return;
            }
        }
    }

    fn commit_together(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let started = Instant::now();
        match self.transaction(&jobs) {
            Ok(done) => self.synced.written(Batch { jobs, done, started }),
            // One job must not fail the others: each gets a transaction of its own.
            Err(error) if jobs.len() > 1 && !concerns_all(&error) => {
                for job in jobs {
                    self.commit_together(vec![job]);
                }
            }
            Err(error) => {
                self.metrics.failed();
                self.synced.refused(jobs, error.to_string());
            }
        }
    }

    fn transaction(&mut self, jobs: &[Job]) -> rusqlite::Result<Vec<Done>> {
        let (highest, mut names) = (self.highest, self.names.clone());
        // A checkpoint that has to see the log at rest waits for the end of a transaction.
        let _turn = self.synced.turn();
        let transaction = Transaction::begin(&self.connection)?;
        let mut step =
            Step { connection: &self.connection, ids: self.ids, highest, names: &mut names };
        let done = jobs.iter().map(|job| step.apply(job)).collect::<Result<_, _>>()?;
        let highest = step.highest;
        transaction.commit()?;
        // Only what is on disk counts.
        (self.highest, self.names) = (highest, names);
        Ok(done)
    }
}

impl Job {
    fn arrival(&self) -> u128 {
        match self {
            Self::Commit(submission, _) => submission.request_id.into(),
            Self::Change(..) | Self::Probe(_) | Self::Stop => u128::MAX,
        }
    }

    pub(super) fn answer(self, done: Done) {
        match (self, done) {
            (Self::Commit(_, then), Done::Commit(effects)) => then(Ok(effects)),
            (Self::Change(.., responder), Done::Change(changed)) => responder.answer(Ok(changed)),
            (Self::Probe(responder), Done::Probe) => responder.answer(Ok(())),
            _ => {}
        }
    }

    pub(super) fn refuse(self, error: &StoreError) {
        match self {
            Self::Commit(_, then) => then(Err(error.clone())),
            Self::Change(.., responder) => responder.answer(Err(error.clone())),
            Self::Probe(responder) => responder.answer(Err(error.clone())),
            Self::Stop => {}
        }
    }
}

/// Whether the disk or the database is at fault rather than what one job asked for.
fn concerns_all(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(
        error.sqlite_error_code(),
        Some(
            Code::DiskFull
                | Code::SystemIoFailure
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::ReadOnly
                | Code::DatabaseCorrupt
                | Code::CannotOpen
                | Code::NotADatabase
                | Code::OutOfMemory
        )
    )
}

/// A message of one line is title and description at once, and stored once: `rows` puts it back.
fn same_as<'t>(title: &str, description: &'t str) -> &'t str {
    if description == title { "" } else { description }
}

/// Rolls back unless it is committed.
struct Transaction<'c>(Option<&'c Connection>);

impl<'c> Transaction<'c> {
    fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(Some(connection)))
    }

    fn commit(mut self) -> rusqlite::Result<()> {
        let Some(connection) = self.0 else { return Ok(()) };
        connection.prepare_cached("COMMIT")?.execute([])?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.filter(|connection| !connection.is_autocommit()) {
            // SQLite rolls back by itself where this fails.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}

/// The numbers under which names are stored.
#[derive(Clone, Default)]
struct Names {
    integrations: HashMap<Arc<str>, i64>,
    plugins: HashMap<Arc<PluginId>, i64>,
}

/// The inside of one transaction.
struct Step<'s> {
    connection: &'s Connection,
    ids: AlertIds,
    highest: i64,
    names: &'s mut Names,
}

/// What every event of a submission shares.
struct Origin<'s> {
    submission: &'s Submission,
    integration: i64,
    plugin: Option<i64>,
    now: i64,
    request: [u8; 16],
}

impl Step<'_> {
    fn apply(&mut self, job: &Job) -> rusqlite::Result<Done> {
        match job {
            Job::Commit(submission, _) => self.submit(submission).map(Done::Commit),
            Job::Change(alert, change, by, _) => self.change(*alert, *change, by).map(Done::Change),
            Job::Probe(_) => self.probe(),
            Job::Stop => Ok(Done::Probe),
        }
    }

    fn probe(&self) -> rusqlite::Result<Done> {
        let sql =
            "INSERT INTO meta VALUES ('probes', 1) ON CONFLICT DO UPDATE SET value = value + 1";
        self.statement(sql)?.execute([])?;
        Ok(Done::Probe)
    }

    fn submit(&mut self, submission: &Submission) -> rusqlite::Result<Vec<Effect>> {
        let plugin = submission.plugin.as_ref().map(|plugin| self.plugin(plugin)).transpose()?;
        let origin = Origin {
            submission,
            integration: self.integration(&submission.integration)?,
            plugin,
            now: submission.received_at.as_millisecond(),
            request: submission.request_id.to_bytes(),
        };
        let (effects, reason) = match &submission.content {
            Content::Events { events, default_urgency } => {
                let effects =
                    events.iter().map(|event| self.event(&origin, event, *default_urgency));
                (effects.collect::<Result<Vec<_>, _>>()?, None)
            }
            Content::Ignored { reason } | Content::Malformed { reason } => {
                (Vec::new(), Some(reason))
            }
            Content::Failed { reason, raw } => {
                self.keep_raw(&origin, raw)?;
                (Vec::new(), Some(reason))
            }
        };
        self.record(&origin, effects.first(), reason.map(String::as_str))?;
        Ok(effects)
    }

    fn event(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        default_urgency: Urgency,
    ) -> rusqlite::Result<Effect> {
        if let Some(event_id) = &event.event_id
            && !self.first_delivery(origin.integration, event_id)?
        {
            return Ok(Effect::Duplicate);
        }
        match event.action {
            Action::Create => self.create(origin, event, event.urgency.unwrap_or(default_urgency)),
            Action::Acknowledge => self.by_key(origin, event, Change::Acknowledge),
            Action::Resolve => self.by_key(origin, event, Change::Resolve),
            // What a later plugin-api adds is refused before it gets here.
            _ => Ok(Effect::NoMatch),
        }
    }

    fn first_delivery(&self, integration: i64, event_id: &str) -> rusqlite::Result<bool> {
        let sql = "INSERT INTO deliveries VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        Ok(self.statement(sql)?.execute(params![integration, event_id])? == 1)
    }

    fn create(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        urgency: Urgency,
    ) -> rusqlite::Result<Effect> {
        let number = self.highest + 1;
        let details = match event.details.as_slice() {
            [] => None,
            // Strings can always be written as JSON.
            details => Some(serde_json::to_string(details).unwrap_or_default()),
        };
        // The unique index decides whether the problem is known, so that nothing can race it.
        let description = event.description.as_deref().map(|text| same_as(&event.title, text));
        let sql = "INSERT INTO alerts VALUES (?1, ?2, ?3, 0, ?4, 1, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
                   ON CONFLICT DO NOTHING";
        let inserted = self.statement(sql)?.execute(params![
            number,
            origin.integration,
            origin.plugin,
            Stored(urgency),
            origin.now,
            origin.request.as_slice(),
            event.title,
            description,
            event.dedup_key,
            event.link,
            details,
        ])?;
        if inserted == 1 {
            self.highest = number;
            return Ok(Effect::Opened(number.cast_unsigned()));
        }
        self.occur(origin, event)
    }

    fn occur(&self, origin: &Origin<'_>, event: &Event) -> rusqlite::Result<Effect> {
        let sql = "UPDATE alerts SET occurrences = occurrences + 1, updated_at = max(updated_at, ?3) \
                   WHERE integration = ?1 AND dedup_key = ?2 AND status < 2 RETURNING number";
        let number: i64 = self
            .statement(sql)?
            .query_row(params![origin.integration, event.dedup_key, origin.now], |row| {
                row.get(0)
            })?;
        self.add_history(number, origin, ChangeKind::Occurred)?;
        Ok(Effect::Occurred(number.cast_unsigned()))
    }

    fn by_key(
        &self,
        origin: &Origin<'_>,
        event: &Event,
        change: Change,
    ) -> rusqlite::Result<Effect> {
        let sql = "SELECT number, status FROM alerts \
                   WHERE integration = ?1 AND dedup_key = ?2 AND status < 2";
        let found = self
            .statement(sql)?
            .query_row(params![origin.integration, event.dedup_key], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Stored<Status>>(1)?.0))
            })
            .optional()?;
        let Some((number, status)) = found else { return Ok(Effect::NoMatch) };
        let (kind, target, effect): (_, _, fn(u64) -> Effect) = match change {
            Change::Acknowledge => {
                (ChangeKind::Acknowledged, Status::Acknowledged, Effect::Acknowledged)
            }
            Change::Resolve => (ChangeKind::Resolved, Status::Resolved, Effect::Resolved),
        };
        if status != target {
            self.set_status(number, target, origin.now)?;
            self.add_history(number, origin, kind)?;
        }
        Ok(effect(number.cast_unsigned()))
    }

    fn change(&mut self, alert: AlertRef, change: Change, by: &str) -> rusqlite::Result<Changed> {
        let Some(number) = rows::resolve(self.connection, self.ids, alert)? else {
            return Ok(Changed::NotFound);
        };
        let status = "SELECT status FROM alerts WHERE number = ?1";
        let status: Stored<Status> =
            self.statement(status)?.query_row([number.cast_signed()], |row| row.get(0))?;
        let (kind, target) = match (change, status.0) {
            (Change::Acknowledge, Status::Resolved) => return Ok(Changed::AlreadyResolved),
            (Change::Acknowledge, _) => (ChangeKind::Acknowledged, Status::Acknowledged),
            (Change::Resolve, _) => (ChangeKind::Resolved, Status::Resolved),
        };
        if status.0 != target {
            let now = Timestamp::now().as_millisecond();
            self.set_status(number.cast_signed(), target, now)?;
            self.add_change(number.cast_signed(), now, kind, by, None)?;
        }
        let changed = rows::with_history(self.connection, self.ids, number)?;
        Ok(Changed::Done(Box::new(changed)))
    }

    fn set_status(&self, number: i64, status: Status, now: i64) -> rusqlite::Result<()> {
        let sql =
            "UPDATE alerts SET status = ?2, updated_at = max(updated_at, ?3) WHERE number = ?1";
        self.statement(sql)?.execute(params![number, Stored(status), now]).map(drop)
    }

    fn add_history(
        &self,
        number: i64,
        origin: &Origin<'_>,
        kind: ChangeKind,
    ) -> rusqlite::Result<()> {
        let by = rows::by_integration(&origin.submission.integration);
        self.add_change(number, origin.now, kind, &by, Some(&origin.request))
    }

    fn add_change(
        &self,
        number: i64,
        now: i64,
        kind: ChangeKind,
        by: &str,
        request: Option<&[u8; 16]>,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO changes VALUES (?1, \
                   (SELECT ifnull(max(seq), 0) + 1 FROM changes WHERE alert = ?1), ?2, ?3, ?4, ?5)";
        let request = request.map(<[u8; 16]>::as_slice);
        self.statement(sql)?.execute(params![number, now, Stored(kind), by, request]).map(drop)
    }

    fn record(
        &self,
        origin: &Origin<'_>,
        first: Option<&Effect>,
        reason: Option<&str>,
    ) -> rusqlite::Result<()> {
        let outcome = match origin.submission.content {
            Content::Events { .. } => 0,
            Content::Ignored { .. } => 1,
            Content::Malformed { .. } => 2,
            Content::Failed { .. } => 3,
        };
        let alert = match first {
            Some(
                Effect::Opened(number)
                | Effect::Occurred(number)
                | Effect::Acknowledged(number)
                | Effect::Resolved(number),
            ) => Some(number.cast_signed()),
            Some(Effect::Duplicate | Effect::NoMatch) | None => None,
        };
        let sql = "INSERT INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let Origin { request, integration, plugin, now, .. } = origin;
        let values = params![request.as_slice(), integration, plugin, now, outcome, alert, reason];
        self.statement(sql)?.execute(values).map(drop)
    }

    fn keep_raw(&self, origin: &Origin<'_>, raw: &RawRequest) -> rusqlite::Result<()> {
        let Origin { integration, request, .. } = origin;
        let RawRequest { query, headers, body } = raw;
        if query.len() + headers.len() + body.len() > LARGEST_RAW_REQUEST_BYTES {
            return Ok(());
        }
        self.statement("INSERT INTO raw_requests VALUES (NULL, ?1, ?2, ?3, ?4, ?5)")?
            .execute(params![integration, request.as_slice(), query, headers, body.as_ref()])?;
        let oldest = "DELETE FROM raw_requests WHERE integration = ?1 AND seq <= (SELECT seq FROM \
                      raw_requests WHERE integration = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
        self.statement(oldest)?.execute(params![integration, RAW_REQUESTS_KEPT]).map(drop)
    }

    fn integration(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(id) = self.names.integrations.get(name) {
            return Ok(*id);
        }
        self.statement("INSERT INTO integrations (name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([name])?;
        let id = "SELECT id FROM integrations WHERE name = ?1";
        let id = self.statement(id)?.query_row([name], |row| row.get(0))?;
        self.names.integrations.insert(Arc::clone(name), id);
        Ok(id)
    }

    fn plugin(&mut self, plugin: &Arc<PluginId>) -> rusqlite::Result<i64> {
        if let Some(id) = self.names.plugins.get(plugin) {
            return Ok(*id);
        }
        let names = params![plugin.name, plugin.version];
        self.statement(
            "INSERT INTO plugins (name, version) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute(names)?;
        let id = "SELECT id FROM plugins WHERE name = ?1 AND version = ?2";
        let id = self.statement(id)?.query_row(names, |row| row.get(0))?;
        self.names.plugins.insert(Arc::clone(plugin), id);
        Ok(id)
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }
}
