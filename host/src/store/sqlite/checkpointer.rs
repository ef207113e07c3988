//! Checkpointing thread: copies the log into the database, so that the writer never has to.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context;
use rusqlite::Connection;

use super::{
    file_watch::{FileWatch, LOOK_EVERY},
    health::Health,
};
use crate::system::fault_injection;

/// Checkpointing thread.
pub(super) struct Checkpointer {
    nudges: Nudges,
    thread: JoinHandle<()>,
}

/// Sending half of the [`Checkpointer`].
#[derive(Clone)]
pub(super) struct Nudges(SyncSender<()>);

/// Turn on the log. The writer holds it during a transaction, and the checkpointer while it copies the end
/// of the log.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<Mutex<()>>);

impl Checkpointer {
    /// Starts the thread with a connection of its own.
    pub(super) fn start(
        connection: Connection,
        turn: Turn,
        health: Health,
        watch: Arc<FileWatch>,
    ) -> anyhow::Result<Self> {
        // Further requests for a checkpoint add nothing.
        let (nudges, nudged) = mpsc::sync_channel(1);
        let state = CheckpointerThread { connection, turn, health, watch };
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || state.serve(&nudged))
            .context("cannot start a thread")?;
        Ok(Self { nudges: Nudges(nudges), thread })
    }

    pub(super) fn nudges(&self) -> Nudges {
        self.nudges.clone()
    }

    /// Ends the thread, once all other [`Nudges`] are dropped.
    pub(super) fn stop(self) {
        drop(self.nudges);
        let _ = self.thread.join();
    }
}

impl Nudges {
    /// Returns nudges that nobody receives.
    #[cfg(test)]
    pub(super) fn to_nobody() -> Self {
        Self(mpsc::sync_channel(1).0)
    }

    /// Has the log copied soon.
    pub(super) fn send(&self) {
        let _ = self.0.try_send(());
    }
}

impl Turn {
    pub(super) fn take(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of the thread behind a [`Checkpointer`].
struct CheckpointerThread {
    connection: Connection,
    turn: Turn,
    health: Health,
    watch: Arc<FileWatch>,
}

impl CheckpointerThread {
    fn serve(self, nudged: &Receiver<()>) {
        loop {
            match nudged.recv_timeout(LOOK_EVERY) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => {
                    // The log and readiness report what is found; further jobs are refused.
                    let _ = self.watch.look();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Most of the log is copied while the writer works, and the small rest while the writer
            // pauses: only a log that was copied completely is written again from its start, and so
            // stays small.
            fault_injection::point("checkpoint");
            self.checkpoint();
            fault_injection::point("half-checkpointed");
            let _turn = self.turn.take();
            self.checkpoint();
            fault_injection::point("checkpointed");
        }
        self.health.prepare_close(&self.connection);
    }

    fn checkpoint(&self) {
        let passive = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = passive {
            // Until the next try, the log holds everything, and grows.
            tracing::warn!(
                event = "store_checkpoint_failed",
                %error,
                "cannot copy the log into the database",
            );
        }
    }
}
