//! The reading threads and the queries they answer.
//!
//! A reader sees what is committed, and never makes the writer wait.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, ToSql};
use ulid::Ulid;

use super::rows::{self, Stored};
use crate::{
    alert::{AlertIds, AlertRef, AlertWithHistory, PluginId},
    store::{AlertPage, AlertQuery, Pending, RequestRecord, StoreError, pending},
};

const READERS: usize = 2;

type Job = Box<dyn FnOnce(&Reader) + Send>;

/// The reading threads.
pub(super) struct Readers {
    jobs: Sender<Option<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where reads are asked for.
pub(super) struct Queue(Sender<Option<Job>>);

/// One connection that only reads.
pub(super) struct Reader {
    connection: Connection,
    ids: AlertIds,
}

impl Readers {
    pub(super) fn start(path: &Path, ids: AlertIds) -> anyhow::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |_| {
            let connection = super::connect(path)?;
            connection.pragma_update(None, "query_only", true)?;
            connection.pragma_update(None, "cache_size", -4 * 1024)?;
            let reader = Reader { connection, ids };
            let waiting = Arc::clone(&waiting);
            let thread = thread::Builder::new().name("store-reader".into());
            thread.spawn(move || serve(&reader, &waiting)).context("cannot start a thread")
        };
        let threads = (0..READERS).map(start).collect::<Result<_, _>>()?;
        Ok(Self { jobs, threads })
    }

    pub(super) fn queue(&self) -> Queue {
        Queue(self.jobs.clone())
    }

    pub(super) fn stop(self) {
        for _ in &self.threads {
            let _ = self.jobs.send(None);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Queue {
    pub(super) fn read<T, F>(&self, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    {
        let (responder, pending) = pending();
        // A closed store drops the job, and with it the responder, which answers so.
        let _ = self.0.send(Some(Box::new(move |reader| {
            let answer = read(reader);
            responder.answer(answer.map_err(|error| StoreError::Unavailable(error.to_string())));
        })));
        pending
    }
}

fn serve(reader: &Reader, waiting: &Mutex<Receiver<Option<Job>>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(Some(job)) => job(reader),
            Ok(None) | Err(_) => return,
        }
    }
}

impl Reader {
    pub(super) fn alert(&self, alert: AlertRef) -> rusqlite::Result<Option<AlertWithHistory>> {
        // One snapshot: the alert and its history belong together.
        let snapshot = self.connection.unchecked_transaction()?;
        rows::resolve(&snapshot, self.ids, alert)?
            .map(|number| rows::with_history(&snapshot, self.ids, number))
            .transpose()
    }

    pub(super) fn alerts(&self, query: &AlertQuery) -> rusqlite::Result<AlertPage> {
        let mut sql = format!("{} WHERE 1", rows::ALERT);
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut condition = |column: &str, value: Box<dyn ToSql>| {
            values.push(value);
            sql.push_str(&format!(" AND {column} ?{}", values.len()));
        };
        if let Some(status) = query.status {
            condition("a.status =", Box::new(Stored(status)));
        }
        if let Some(urgency) = query.urgency {
            condition("a.urgency =", Box::new(Stored(urgency)));
        }
        if let Some(integration) = &query.integration {
            condition("i.name =", Box::new(integration.clone()));
        }
        if let Some(before) = query.before {
            condition("a.number <", Box::new(i64::try_from(before).unwrap_or(i64::MAX)));
        }
        // One more than asked for tells whether there is a next page.
        sql.push_str(&format!(" ORDER BY a.number DESC LIMIT {}", query.limit + 1));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let values = rusqlite::params_from_iter(values);
        let mut alerts = statement
            .query_map(values, |row| rows::alert(row, self.ids))?
            .collect::<Result<Vec<_>, _>>()?;
        let has_more = alerts.len() > query.limit;
        alerts.truncate(query.limit);
        let next = alerts.last().map(|alert| alert.number).filter(|_| has_more);
        Ok(AlertPage { alerts, next })
    }

    pub(super) fn request(&self, id: Ulid) -> rusqlite::Result<Option<RequestRecord>> {
        let sql = "SELECT i.name, p.name, p.version, r.outcome, r.reason, r.alert, r.received_at \
                   FROM requests r JOIN integrations i ON i.id = r.integration \
                   LEFT JOIN plugins p ON p.id = r.plugin WHERE r.id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let record = statement.query_row([id.to_bytes().as_slice()], |row| {
            let plugin = row.get::<_, Option<String>>(1)?.zip(row.get::<_, Option<String>>(2)?);
            let outcome = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(usize::MAX);
            Ok(RequestRecord {
                id,
                integration: row.get(0)?,
                plugin: plugin.map(|(name, version)| PluginId { name, version }),
                outcome: super::writer::OUTCOMES.get(outcome).copied().unwrap_or("unknown").into(),
                reason: row.get(4)?,
                alert: row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned),
                received_at: rows::time(row, 6)?,
            })
        });
        record.optional()
    }
}
