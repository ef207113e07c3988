//! Duties of hosts that share the database: leases, by the clock of the database.
//!
//! A transaction that only the holder of a duty may do locks the lease, so that no other host takes the duty before
//! the transaction has ended.

use std::time::Duration;

use tokio::sync::watch;

use super::{PostgresStore, database::Blocking, shared::Shared, terms::Terms, work};
use crate::store::{
    Pending,
    duties::{Duty, DutyStore, Hold, LEASE_LASTS, Term},
    sql::{Database, SqlError, SqlResult, Transaction, values},
};

/// Takes a [`Duty`] that is free, or whose lease is over, and renews the lease of this host.
const TAKE: &str = "INSERT INTO leases AS l (duty, holder, term, until) \
     VALUES (?1, ?2, 1, clock_timestamp() + CAST(?3 AS BIGINT) * INTERVAL '1 ms') \
     ON CONFLICT (duty) DO UPDATE SET holder = excluded.holder, until = excluded.until, \
     term = CASE WHEN l.holder = excluded.holder THEN l.term ELSE l.term + 1 END \
     WHERE l.holder IS NULL OR l.holder = excluded.holder OR l.until < clock_timestamp() RETURNING term";

const RELEASE: &str = "UPDATE leases SET holder = NULL WHERE duty = ?1 AND holder = ?2";

/// Gives up all duties of a host.
pub(super) const RELEASE_ALL: &str = "UPDATE leases SET holder = NULL WHERE holder = ?1";

const HELD: &str = "SELECT 1 FROM leases WHERE duty = ?1 AND holder = ?2 AND term = ?3 FOR SHARE";

/// Checks that this host still holds a duty in the same term, and sees to it until the transaction ends.
///
/// # Errors
///
/// [`SqlError::NotOnDuty`] if it does not.
pub(super) fn check(
    open: &Transaction<'_>,
    shared: &Shared,
    terms: &Terms,
    duty: &Duty,
) -> SqlResult<()> {
    let Some(Term(term)) = terms.of(duty) else { return Err(SqlError::NotOnDuty) };
    let values = values![duty.to_string(), shared.this_host, term];
    let held = open.database.first(HELD, values, |_| Ok(()))?;
    held.ok_or(SqlError::NotOnDuty)
}

/// Returns the time since the renewal of the lease that was not renewed for longest.
pub(super) fn oldest_lease(database: &Blocking<'_>) -> SqlResult<Duration> {
    let sql = "SELECT CAST(coalesce(max(extract(epoch FROM clock_timestamp() - until)), 0) * 1000 AS BIGINT), \
               CAST(count(*) AS BIGINT) FROM tocsin.leases WHERE holder IS NOT NULL";
    let database: &dyn Database = database;
    let (over_ms, count): (i64, i64) =
        database.one(sql, values![], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let lasts = i64::try_from(LEASE_LASTS.as_millis()).unwrap_or(i64::MAX);
    let age = if count == 0 { 0 } else { over_ms.saturating_add(lasts).max(0) };
    Ok(Duration::from_millis(age.cast_unsigned()))
}

impl DutyStore for PostgresStore {
    fn hold(&self, duty: Duty) -> Pending<Hold> {
        work::run(&self.shared, move |shared| {
            let term = work::transaction(shared, &|open| {
                let lasts = i64::try_from(LEASE_LASTS.as_millis()).unwrap_or(i64::MAX);
                let values = values![duty.to_string(), shared.this_host, lasts];
                open.database.first(TAKE, values, |row| row.get::<u64>(0))
            })?;
            Ok(match term {
                Some(term) => {
                    let term = Term(term);
                    shared.terms().hold(duty.clone(), term);
                    Hold::Here { term, lasts: Some(LEASE_LASTS) }
                }
                None => {
                    shared.terms().lose(&duty);
                    Hold::Elsewhere
                }
            })
        })
    }

    fn release(&self, duty: Duty) -> Pending<()> {
        self.shared.terms().lose(&duty);
        work::run(&self.shared, move |shared| {
            work::transaction(shared, &|open| {
                let values = values![duty.to_string(), shared.this_host];
                open.database.execute(RELEASE, values).map(drop)
            })
        })
    }

    fn work_of_other_hosts(&self) -> watch::Receiver<u64> {
        self.shared.work_of_other_hosts()
    }
}
