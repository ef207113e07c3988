//! Metrics of a database server that the store uses. They stay at 0 with SQLite.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Metrics of a database server.
#[derive(Debug)]
pub struct DatabaseMetrics {
    connections: Family<PoolLabels, Gauge>,
    round_trips: Counter,
    retries: Counter,
    deadlocks: Counter,
    oldest_lease: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

/// Names of the pools: connections for webhooks, and for everything else.
pub(crate) const POOLS: [&str; 2] = ["webhooks", "other"];

impl Default for DatabaseMetrics {
    fn default() -> Self {
        let metrics = Self {
            connections: Family::default(),
            round_trips: Counter::default(),
            retries: Counter::default(),
            deadlocks: Counter::default(),
            oldest_lease: Gauge::default(),
        };
        // Every pool is shown from the start.
        POOLS.into_iter().for_each(|pool| metrics.pool(pool, 0, 0));
        metrics
    }
}

impl DatabaseMetrics {
    /// Sets the numbers of connections of a pool that are in use and that are idle.
    pub fn pool(&self, pool: &'static str, in_use: usize, idle: usize) {
        for (state, count) in [("in_use", in_use), ("idle", idle)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.connections.get_or_create(&PoolLabels { pool, state }).set(count);
        }
    }

    /// Counts an answer of the server that a thread has waited for.
    pub fn round_trip(&self) {
        self.round_trips.inc();
    }

    /// Counts a transaction that was begun again because another one had changed the same rows.
    pub fn retried(&self, is_deadlock: bool) {
        self.retries.inc();
        if is_deadlock {
            self.deadlocks.inc();
        }
    }

    /// Sets the time since the lease was renewed that was not renewed for longest.
    pub fn set_oldest_lease(&self, age: Duration) {
        self.oldest_lease.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Connections to the database server, by pool and state";
        registry.register("database_connections", help, self.connections.clone());
        let help = "Answers of the database server that were waited for";
        registry.register("database_round_trips", help, self.round_trips.clone());
        let help = "Transactions begun again because another one had changed the same rows";
        registry.register("database_retries", help, self.retries.clone());
        let help = "Transactions begun again because of a deadlock";
        registry.register("database_deadlocks", help, self.deadlocks.clone());
        let help = "Time since the renewal of the lease that was not renewed for longest";
        registry.register("database_oldest_lease_seconds", help, self.oldest_lease.clone());
    }
}
