//! Reading threads.
//!
//! The query for the feed is in [`super::feed_queries`], and the other ones are [shared](Snapshot) with other
//! databases.
//!
//! A reader sees what is committed, and never makes the writer wait. Searches, which may read a large
//! part of the database, have a thread of their own: a read of one alert does not wait for them.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use rusqlite::Connection;

use super::{durable::DurableTransaction, health::Health, transaction_times::TransactionTimes};
use crate::{
    alert::AlertIds,
    limits::reached::{Limit, LimitsReached},
    store::{
        Pending, StoreError, pending,
        sql::{Snapshot, SqlResult},
    },
};

/// Number of threads for fast reads: one alert, one record, the newest of all.
const READERS: usize = 2;
/// Number of threads for searches.
const SEARCHERS: usize = 1;
/// Number of threads for the feed, which may wait for the disk.
const FEED_READERS: usize = 1;
/// Largest number of searches that run or wait.
const MOST_SEARCHES: usize = 16;
/// Longest time that a search waits for its turn. The caller may try again. Unit tests try once, and may
/// run on a machine that stands still for a while.
const LONGEST_WAIT: Duration = Duration::from_secs(if cfg!(test) { 180 } else { 1 });

type Query = Box<dyn FnOnce(&Reader) + Send>;

/// Threads that each have a [`Reader`].
pub(super) struct Readers {
    jobs: Sender<Option<Query>>,
    searches: Sender<Option<Query>>,
    feeds: Sender<Option<Query>>,
    threads: Vec<JoinHandle<()>>,
    health: Health,
    limits: Arc<LimitsReached>,
}

/// Sending half of the queues of the [`Readers`].
pub(super) struct Queue {
    jobs: Sender<Option<Query>>,
    searches: Sender<Option<Query>>,
    feeds: Sender<Option<Query>>,
    /// Number of searches that run or wait.
    searching: Arc<AtomicUsize>,
    health: Health,
    limits: Arc<LimitsReached>,
}

/// Connection that only reads.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) times: Arc<TransactionTimes>,
    pub(super) ids: AlertIds,
    pub(super) durable: Arc<DurableTransaction>,
}

impl Readers {
    pub(super) fn start(
        path: &Path,
        ids: AlertIds,
        times: &Arc<TransactionTimes>,
        durable: &Arc<DurableTransaction>,
        health: &Health,
        limits: Arc<LimitsReached>,
    ) -> anyhow::Result<Self> {
        let mut threads = Vec::new();
        let mut start = |name: &str, count: usize| -> anyhow::Result<_> {
            let (jobs, waiting) = mpsc::channel();
            let waiting = Arc::new(Mutex::new(waiting));
            for _ in 0..count {
                let connection = super::connect(path)?;
                connection.pragma_update(None, "query_only", true)?;
                connection.pragma_update(None, "cache_size", -4 * 1024)?;
                let (times, durable) = (Arc::clone(times), Arc::clone(durable));
                let reader = Reader { connection, ids, times, durable };
                let (thread, waiting) =
                    (thread::Builder::new().name(name.into()), Arc::clone(&waiting));
                let serve = move || serve(&reader, &waiting);
                threads.push(thread.spawn(serve).context("cannot start a thread")?);
            }
            Ok(jobs)
        };
        let jobs = start("store-reader", READERS)?;
        let searches = start("store-search", SEARCHERS)?;
        let feeds = start("store-feed", FEED_READERS)?;
        Ok(Self { jobs, searches, feeds, threads, health: health.clone(), limits })
    }

    pub(super) fn queue(&self) -> Queue {
        Queue {
            jobs: self.jobs.clone(),
            searches: self.searches.clone(),
            feeds: self.feeds.clone(),
            searching: Arc::default(),
            health: self.health.clone(),
            limits: Arc::clone(&self.limits),
        }
    }

    pub(super) fn stop(self) {
        for _ in 0..READERS {
            let _ = self.jobs.send(None);
        }
        for _ in 0..SEARCHERS {
            let _ = self.searches.send(None);
        }
        for _ in 0..FEED_READERS {
            let _ = self.feeds.send(None);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Queue {
    /// Runs a fast read.
    pub(super) fn read<T, F>(&self, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> SqlResult<T> + Send + 'static,
    {
        let (responder, pending) = pending();
        // A closed store drops the job, and with it the responder, which answers so.
        let health = self.health.clone();
        let _ = self.jobs.send(Some(Box::new(move |reader| {
            responder.answer(answer(read(reader), &health));
        })));
        pending
    }

    /// Runs a read of the feed.
    pub(super) fn feed<T, F>(&self, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> SqlResult<Result<T, StoreError>> + Send + 'static,
    {
        let (responder, pending) = pending();
        let health = self.health.clone();
        let _ = self.feeds.send(Some(Box::new(move |reader| {
            responder.answer(answer(read(reader), &health).flatten());
        })));
        pending
    }

    /// Runs a search, which may read much. Too many searches at once are refused.
    pub(super) fn search<T, F>(&self, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> SqlResult<T> + Send + 'static,
    {
        let (responder, pending) = pending();
        if self.searching.fetch_add(1, Ordering::Relaxed) >= MOST_SEARCHES {
            self.searching.fetch_sub(1, Ordering::Relaxed);
            self.limits.reached(Limit::Searches, format_args!("{MOST_SEARCHES} at once"));
            responder.answer(Err(StoreError::Busy));
            return pending;
        }
        let (health, limits) = (self.health.clone(), Arc::clone(&self.limits));
        let (searching, asked_at) = (Arc::clone(&self.searching), Instant::now());
        let _ = self.searches.send(Some(Box::new(move |reader| {
            if asked_at.elapsed() > LONGEST_WAIT {
                limits.reached(Limit::Searches, format_args!("one waited {LONGEST_WAIT:?}"));
                responder.answer(Err(StoreError::Busy));
            } else {
                responder.answer(answer(read(reader), &health));
            }
            searching.fetch_sub(1, Ordering::Relaxed);
        })));
        pending
    }
}

fn answer<T>(read: SqlResult<T>, health: &Health) -> Result<T, StoreError> {
    read.map_err(|error| {
        health.note_damage(&error);
        StoreError::Unavailable(super::problem(&error))
    })
}

fn serve(reader: &Reader, waiting: &Mutex<Receiver<Option<Query>>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(Some(job)) => job(reader),
            Ok(None) | Err(_) => return,
        }
    }
}

impl Reader {
    /// Reads in one snapshot, since what is read belongs together.
    pub(super) fn snapshot<T>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> SqlResult<T>,
    ) -> SqlResult<T> {
        // A transaction whose time is written meanwhile is in the snapshot, or its time is here.
        let unwritten_times = self.times.unwritten();
        let snapshot = self.connection.unchecked_transaction()?;
        read(&Snapshot { database: &*snapshot, ids: self.ids, unwritten_times: &unwritten_times })
    }

    pub(super) fn used_bytes(&self) -> SqlResult<u64> {
        let number = |pragma| {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            let number = self.connection.pragma_query_value(None, pragma, read);
            number.map(i64::cast_unsigned)
        };
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(pages * number("page_size")?)
    }
}
