//! Idle connections, to be used again under the same rules.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use tokio::{task::AbortHandle, time::timeout};

use super::{connection::Connection, rules::NetworkRules, target::Target};
use crate::http::sender::Network;

/// Most idle connections of one [`Key`]. Attempts end together when the store has recorded them together,
/// so that many connections of a busy destination are idle for a moment.
const IDLE_OF_KEY: usize = 64;

/// Most idle connections of all keys.
const IDLE: usize = 256;

/// The receiver of a connection and the rules under which the connection was made. A request under other
/// rules never gets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    target: Target,
    allow_networks: Vec<Network>,
    allow_http: bool,
}

impl Key {
    pub(super) fn new(target: &Target, rules: &NetworkRules) -> Self {
        Self {
            target: target.clone(),
            allow_networks: rules.allow_networks.clone(),
            allow_http: rules.allow_http,
        }
    }
}

/// Idle connections. A closed one leaves the pool at once.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<Key, Vec<Idle>>>);

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

/// An idle connection. A task watches it: the task drops it once the other side has closed it, or after
/// its longest idle time.
struct Idle {
    connection: Arc<Mutex<Option<Connection>>>,
    watch: AbortHandle,
}

impl Pool {
    /// Takes the connection that was used last, if one is still open.
    pub(super) async fn take(&self, key: &Key) -> Option<Connection> {
        while let Some(idle) = self.pop(key) {
            if let Some(mut connection) = idle.take()
                && connection.is_ready().await
            {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection, if there is room.
    pub(super) fn put(&self, key: Key, connection: Connection) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.values().map(Vec::len).sum::<usize>() >= IDLE {
            pool.retain(|_, idle| {
                idle.retain(Idle::is_open);
                !idle.is_empty()
            });
            if pool.values().map(Vec::len).sum::<usize>() >= IDLE {
                return;
            }
        }
        let idle = pool.entry(key).or_default();
        idle.retain(Idle::is_open);
        if idle.len() < IDLE_OF_KEY {
            idle.push(Idle::watched(connection));
        }
    }

    fn pop(&self, key: &Key) -> Option<Idle> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pool.get_mut(key)?;
        let newest = idle.pop();
        if idle.is_empty() {
            pool.remove(key);
        }
        newest
    }
}

impl Idle {
    fn watched(connection: Connection) -> Self {
        let longest = connection.idle;
        let connection = Arc::new(Mutex::new(Some(connection)));
        let watched = Arc::clone(&connection);
        let watch = tokio::spawn(async move {
            let closed = poll_fn(|cx| match &mut *lock(&watched) {
                Some(connection) => connection.poll_closed(cx),
                None => Poll::Ready(()),
            });
            // Closed or too old: dropped in both cases.
            let _ = timeout(longest, closed).await;
            drop(lock(&watched).take());
        });
        Self { connection, watch: watch.abort_handle() }
    }

    fn take(self) -> Option<Connection> {
        lock(&self.connection).take()
    }

    fn is_open(&self) -> bool {
        lock(&self.connection).is_some()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.watch.abort();
        drop(mem::take(&mut *lock(&self.connection)));
    }
}

fn lock(connection: &Mutex<Option<Connection>>) -> std::sync::MutexGuard<'_, Option<Connection>> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
