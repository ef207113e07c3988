//! Looks for changes that other hosts have committed, so that readers of the feed need not poll.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use super::{connection::Connection, duties, feed_queries, shared::Shared};
use crate::metrics::database::POOLS;
use anyhow::Context;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Number of looks of which one asks for the age of leases, too.
const SURVEY_EVERY: u32 = 20;

/// Thread that looks for changes.
pub(super) struct Watcher {
    stop: Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Watcher {
    pub(super) fn start(shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("store-watcher".into());
        let thread = thread.spawn(move || watch(&shared, &stopped));
        Ok(Self { stop, thread: thread.context("cannot start a thread")? })
    }

    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn watch(shared: &Shared, stopped: &Receiver<()>) {
    let mut seen = None;
    for look in (0..SURVEY_EVERY).cycle() {
        if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        for (name, pool) in POOLS.into_iter().zip([&shared.ingest, &shared.work]) {
            let status = pool.status();
            let in_use = status.size.saturating_sub(status.available);
            shared.metrics.database.pool(name, in_use, status.available);
        }
        // A server that is away is noticed, and said, by those who need it.
        let Ok(connection) = shared.connection(&shared.work) else { continue };
        match feed_queries::horizon(shared, &shared.blocking(&connection)) {
            Ok(horizon) if seen != Some(horizon) => {
                seen = Some(horizon);
                shared.note_change();
                shared.note_work_of_other_hosts();
            }
            Ok(_) => {}
            Err(_) => {
                drop(Connection::take(connection));
                continue;
            }
        }
        if look == 0
            && let Ok(age) = duties::oldest_lease(&shared.blocking(&connection))
        {
            shared.metrics.database.set_oldest_lease(age);
        }
    }
}
