//! The reading threads and the queries for alerts that they answer; those for requests are in
//! [`super::records`].
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
use rusqlite::{Connection, ToSql};

use super::{
    problem::Problem,
    rows::{self, Stored},
    transactions::TransactionTimes,
};
use crate::{
    alert::{AlertIds, AlertRef, AlertWithHistory},
    store::{AlertPage, AlertQuery, Pending, StoreError, pending},
};

const READERS: usize = 2;

type Job = Box<dyn FnOnce(&Reader) + Send>;

/// The reading threads.
pub(super) struct Readers {
    jobs: Sender<Option<Job>>,
    threads: Vec<JoinHandle<()>>,
    problem: Problem,
}

/// Where reads are asked for.
pub(super) struct Queue {
    jobs: Sender<Option<Job>>,
    problem: Problem,
}

/// One connection that only reads.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) times: Arc<TransactionTimes>,
    ids: AlertIds,
}

impl Readers {
    pub(super) fn start(
        path: &Path,
        ids: AlertIds,
        times: &Arc<TransactionTimes>,
        problem: &Problem,
    ) -> anyhow::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |_| {
            let connection = super::connect(path)?;
            connection.pragma_update(None, "query_only", true)?;
            connection.pragma_update(None, "cache_size", -4 * 1024)?;
            let reader = Reader { connection, ids, times: Arc::clone(times) };
            let waiting = Arc::clone(&waiting);
            let thread = thread::Builder::new().name("store-reader".into());
            thread.spawn(move || serve(&reader, &waiting)).context("cannot start a thread")
        };
        let threads = (0..READERS).map(start).collect::<Result<_, _>>()?;
        Ok(Self { jobs, threads, problem: problem.clone() })
    }

    pub(super) fn queue(&self) -> Queue {
        Queue { jobs: self.jobs.clone(), problem: self.problem.clone() }
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
        let problem = self.problem.clone();
        let _ = self.jobs.send(Some(Box::new(move |reader| {
            let answer = read(reader);
            responder.answer(answer.map_err(|error| {
                problem.learn(&error);
                StoreError::Unavailable(super::sentence(&error))
            }));
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

    pub(super) fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma| {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            self.connection.pragma_query_value(None, pragma, read).map(i64::cast_unsigned)
        };
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(pages * number("page_size")?)
    }
}
