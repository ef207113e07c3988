//! The [`DeliveryStore`] and [`AuditStore`] of PostgreSQL: each change is a transaction of its own.
//!
//! Deliveries to one destination are changed by one transaction at a time, whichever host it is of: the statements
//! expect that. A lock that ends with the transaction sees to it.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use ulid::Ulid;

use super::{PostgresStore, duties, work};
use crate::{
    alert::{Actor, AlertOutline},
    delivery::{DeliveryWithAttempts, DestinationState, Fact, Parked, Silence, Timer},
    store::{
        Pending,
        audit::{AuditEntry, AuditPage, AuditQuery, AuditStore},
        deliveries::{
            Claim, Claimed, DeliveryPage, DeliveryQuery, DeliveryStore, Finished, Recovered,
            Routed, Which,
        },
        duties::Duty,
        feed::Cursor,
        sql::{Change, DeliveryChange, DeliveryChangeProgress, SqlResult, Transaction, values},
    },
};

/// First key of the locks of destinations: `TCSN` in ASCII.
const LOCKS: i64 = 0x5443_534e;

impl PostgresStore {
    /// Changes deliveries to destinations, which no other transaction changes meanwhile.
    fn change_deliveries<T, F>(&self, destinations: Vec<String>, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut Transaction<'_>) -> SqlResult<T> + Send + 'static,
    {
        work::write(&self.shared, move |open| {
            lock(open, &destinations)?;
            work(open)
        })
    }

    /// Does what only the holder of a [`Duty`] may do. The duty may depend on what is stored.
    fn on_duty<T, D, F>(&self, duty: D, work: F) -> Pending<T>
    where
        T: Send + 'static,
        D: Fn(&mut Transaction<'_>) -> SqlResult<Vec<String>> + Send + 'static,
        F: Fn(&mut Transaction<'_>) -> SqlResult<T> + Send + 'static,
    {
        let (shared, terms) = (Arc::clone(&self.shared), self.shared.terms().clone());
        work::write(&self.shared, move |open| {
            let destinations = duty(open)?;
            for name in &destinations {
                let duty = Duty::Delivering(name.as_str().into());
                duties::check(open, &shared, &terms, &duty)?;
            }
            lock(open, &destinations)?;
            work(open)
        })
    }

    fn change_in_parts(
        &self,
        change: Change,
        which: Which,
        by: Actor,
        now: Timestamp,
    ) -> Pending<u64> {
        let wanted = DeliveryChange { change, which, by, now };
        work::run(&self.shared, move |shared| {
            let mut progress = DeliveryChangeProgress::default();
            loop {
                progress = work::transaction(shared, &|open| {
                    let names = match &wanted.which {
                        Which::DeadOf(name) | Which::AllOf(name) => vec![name.clone()],
                        Which::One(id) => destinations_of(open, &[*id])?,
                    };
                    lock(open, &names)?;
                    open.change_deliveries(&wanted, &progress)
                })?;
                if let Some(count) = progress.finished() {
                    return Ok(count);
                }
            }
        })
    }
}

/// Waits until no other transaction changes deliveries to these destinations. Locks are taken in the order of the
/// names, so that no two transactions wait for each other.
fn lock(open: &mut Transaction<'_>, destinations: &[String]) -> SqlResult<()> {
    let names: BTreeSet<&String> = destinations.iter().collect();
    for name in names {
        let sql = "SELECT CAST(pg_advisory_xact_lock(CAST(CAST(?1 AS BIGINT) AS INT), hashtext(?2)) AS TEXT)";
        open.database.execute(sql, values![LOCKS, name])?;
    }
    Ok(())
}

/// Returns the destinations of deliveries.
fn destinations_of(open: &mut Transaction<'_>, ids: &[Ulid]) -> SqlResult<Vec<String>> {
    let mut names = Vec::new();
    for id in ids {
        let sql = "SELECT n.name FROM deliveries d JOIN destinations n ON n.id = d.destination \
                   WHERE d.id = ?1";
        names.extend(open.database.first(sql, values![*id], |row| row.get::<String>(0))?);
    }
    Ok(names)
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods of `Snapshot` themselves are not general enough"
)]
impl DeliveryStore for PostgresStore {
    fn router_cursor(&self) -> Pending<Option<Cursor>> {
        work::read(&self.shared, |snapshot| snapshot.router_cursor())
    }

    fn forget_cursor(&self) -> Pending<()> {
        let (shared, terms) = (Arc::clone(&self.shared), self.shared.terms().clone());
        work::write(&self.shared, move |open| {
            duties::check(open, &shared, &terms, &Duty::Routing)?;
            open.forget_cursor()
        })
    }

    fn outlines(&self, numbers: BTreeSet<u64>, with_details: bool) -> Pending<Vec<AlertOutline>> {
        work::read(&self.shared, move |snapshot| snapshot.outlines(&numbers, with_details))
    }

    fn route(&self, routed: Routed) -> Pending<()> {
        let new = routed.deliveries.iter().map(|new| new.destination.to_string());
        let timers = routed.timers.iter().map(|timer| timer.destination.clone());
        let facts = routed.facts.iter().map(|(_, fact)| fact.destination.clone());
        let destinations: Vec<_> = new.chain(timers).chain(facts).collect();
        let (shared, terms) = (Arc::clone(&self.shared), self.shared.terms().clone());
        work::write(&self.shared, move |open| {
            duties::check(open, &shared, &terms, &Duty::Routing)?;
            lock(open, &destinations)?;
            open.route(&routed)
        })
    }

    fn due_timers(&self, now: Timestamp, limit: usize) -> Pending<Vec<Timer>> {
        work::read(&self.shared, move |snapshot| snapshot.due_timers(now, limit))
    }

    fn next_timer(&self) -> Pending<Option<Timestamp>> {
        work::read(&self.shared, |snapshot| snapshot.next_timer())
    }

    fn recover_deliveries(&self, destination: String, now: Timestamp) -> Pending<Recovered> {
        let name = destination.clone();
        let duty = move |_: &mut Transaction<'_>| Ok(vec![name.clone()]);
        self.on_duty(duty, move |open| open.recover_deliveries(&destination, now))
    }

    fn claim(&self, claim: Claim) -> Pending<Claimed> {
        let name = claim.destination.clone();
        let duty = move |_: &mut Transaction<'_>| Ok(vec![name.clone()]);
        self.on_duty(duty, move |open| open.claim(&claim))
    }

    fn finish(&self, finished: Finished) -> Pending<()> {
        let id = finished.id;
        let duty = move |open: &mut Transaction<'_>| destinations_of(open, &[id]);
        self.on_duty(duty, move |open| open.finish(&finished))
    }

    fn give_back(&self, ids: Vec<Ulid>) -> Pending<()> {
        let given = ids.clone();
        let duty = move |open: &mut Transaction<'_>| destinations_of(open, &given);
        self.on_duty(duty, move |open| open.give_back(&ids))
    }

    fn give_back_all(&self, destination: String, except: Vec<Ulid>) -> Pending<u64> {
        let name = destination.clone();
        let duty = move |_: &mut Transaction<'_>| Ok(vec![name.clone()]);
        self.on_duty(duty, move |open| open.give_back_all(&destination, &except))
    }

    fn park(&self, destination: String, parked: Option<Parked>) -> Pending<()> {
        self.change_deliveries(vec![destination.clone()], move |open| {
            open.park(&destination, parked.as_ref())
        })
    }

    fn pause(&self, destination: String, until: Timestamp) -> Pending<()> {
        self.change_deliveries(vec![destination.clone()], move |open| {
            open.pause(&destination, until)
        })
    }

    fn bring_forward(&self, destination: Option<String>, latest: Timestamp) -> Pending<u64> {
        let destinations = destination.iter().cloned().collect();
        self.change_deliveries(destinations, move |open| {
            open.bring_forward(destination.as_deref(), latest)
        })
    }

    fn destinations(&self) -> Pending<Vec<DestinationState>> {
        work::read(&self.shared, |snapshot| snapshot.destinations())
    }

    fn deliveries(&self, query: DeliveryQuery) -> Pending<DeliveryPage> {
        work::read(&self.shared, move |snapshot| snapshot.deliveries(&query))
    }

    fn delivery(&self, id: Ulid) -> Pending<Option<DeliveryWithAttempts>> {
        work::read(&self.shared, move |snapshot| snapshot.delivery(id))
    }

    fn retry_deliveries(&self, which: Which, by: Actor, now: Timestamp) -> Pending<u64> {
        self.change_in_parts(Change::Retry, which, by, now)
    }

    fn discard_deliveries(&self, which: Which, by: Actor, now: Timestamp) -> Pending<u64> {
        self.change_in_parts(Change::Discard, which, by, now)
    }

    fn add_silence(&self, silence: Silence) -> Pending<Silence> {
        work::write(&self.shared, move |open| open.add_silence(&silence))
    }

    fn end_silence(&self, id: u64, by: Actor, now: Timestamp) -> Pending<Option<Silence>> {
        work::write(&self.shared, move |open| open.end_silence(id, &by, now))
    }

    fn silences(&self, active_at: Option<Timestamp>) -> Pending<Vec<Silence>> {
        work::read(&self.shared, move |snapshot| snapshot.silences(active_at))
    }

    fn facts(&self, alert: u64) -> Pending<Vec<Fact>> {
        work::read(&self.shared, move |snapshot| snapshot.facts(alert))
    }
}

impl AuditStore for PostgresStore {
    fn add_to_audit(&self, entry: AuditEntry) -> Pending<u64> {
        work::write(&self.shared, move |open| open.add_to_audit(&entry))
    }

    fn audit(&self, query: AuditQuery) -> Pending<AuditPage> {
        work::read(&self.shared, move |snapshot| snapshot.audit(&query))
    }
}
