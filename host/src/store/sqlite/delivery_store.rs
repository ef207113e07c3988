//! The [`DeliveryStore`] of SQLite: passes each call on to the writing thread or to a reader.

use std::{cell::RefCell, collections::BTreeSet};

use jiff::Timestamp;
use ulid::Ulid;

use super::{
    SqliteStore,
    delivery_job::{job, patient_job},
    delivery_parts::DeliveryParts,
    write_job::WriteJob,
};
use crate::{
    alert::{Actor, AlertOutline},
    delivery::{DeliveryWithAttempts, DestinationState, Fact, Parked, Silence, Timer},
    store::{
        Pending,
        deliveries::{
            Claim, Claimed, DeliveryPage, DeliveryQuery, DeliveryStore, Finished, Recovered,
            Routed, Which,
        },
        feed::Cursor,
        sql::{Change, DeliveryChange, DeliveryChangeProgress, SqlResult, Transaction},
    },
};

impl SqliteStore {
    /// Has work done by the writing thread.
    pub(super) fn write<T, F>(&self, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut Transaction<'_>) -> SqlResult<T> + Send + 'static,
    {
        self.writer.ask(|responder| WriteJob::Delivery(job(work, responder)))
    }

    fn change_in_parts(
        &self,
        change: Change,
        which: Which,
        by: Actor,
        now: Timestamp,
    ) -> Pending<u64> {
        let wanted = DeliveryChange { change, which, by, now };
        let (progress, result) = (DeliveryChangeProgress::default(), RefCell::default());
        let writer = self.writer.jobs();
        self.writer.ask(|responder| {
            WriteJob::Delivery(Box::new(DeliveryParts {
                wanted,
                progress,
                result,
                writer,
                responder,
            }))
        })
    }
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods of `Snapshot` themselves are not general enough"
)]
impl DeliveryStore for SqliteStore {
    fn router_cursor(&self) -> Pending<Option<Cursor>> {
        self.readers.read(|reader| reader.snapshot(|it| it.router_cursor()))
    }

    fn forget_cursor(&self) -> Pending<()> {
        self.write(|open| open.forget_cursor())
    }

    fn outlines(&self, numbers: BTreeSet<u64>, with_details: bool) -> Pending<Vec<AlertOutline>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.outlines(&numbers, with_details)))
    }

    fn route(&self, routed: Routed) -> Pending<()> {
        // While webhooks pour in, a transaction of its own would make them wait for one more sync.
        let work = move |open: &mut Transaction<'_>| open.route(&routed);
        self.writer.ask(|responder| WriteJob::Delivery(patient_job(work, responder)))
    }

    fn due_timers(&self, now: Timestamp, limit: usize) -> Pending<Vec<Timer>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.due_timers(now, limit)))
    }

    fn next_timer(&self) -> Pending<Option<Timestamp>> {
        self.readers.read(|reader| reader.snapshot(|it| it.next_timer()))
    }

    fn recover_deliveries(&self, destination: String, now: Timestamp) -> Pending<Recovered> {
        self.write(move |open| open.recover_deliveries(&destination, now))
    }

    fn claim(&self, claim: Claim) -> Pending<Claimed> {
        self.write(move |open| open.claim(&claim))
    }

    fn finish(&self, finished: Finished) -> Pending<()> {
        self.write(move |open| open.finish(&finished))
    }

    fn give_back(&self, ids: Vec<Ulid>) -> Pending<()> {
        self.write(move |open| open.give_back(&ids))
    }

    fn give_back_all(&self, destination: String, except: Vec<Ulid>) -> Pending<u64> {
        self.write(move |open| open.give_back_all(&destination, &except))
    }

    fn park(&self, destination: String, parked: Option<Parked>) -> Pending<()> {
        self.write(move |open| open.park(&destination, parked.as_ref()))
    }

    fn pause(&self, destination: String, until: Timestamp) -> Pending<()> {
        self.write(move |open| open.pause(&destination, until))
    }

    fn bring_forward(&self, destination: Option<String>, latest: Timestamp) -> Pending<u64> {
        self.write(move |open| open.bring_forward(destination.as_deref(), latest))
    }

    fn destinations(&self) -> Pending<Vec<DestinationState>> {
        self.readers.read(|reader| reader.snapshot(|it| it.destinations()))
    }

    fn deliveries(&self, query: DeliveryQuery) -> Pending<DeliveryPage> {
        let is_fast = query.status.is_none() && query.destination.is_none();
        if is_fast || query.alert.is_some() {
            return self.readers.read(move |reader| reader.snapshot(|it| it.deliveries(&query)));
        }
        self.readers.search(move |reader| reader.snapshot(|it| it.deliveries(&query)))
    }

    fn delivery(&self, id: Ulid) -> Pending<Option<DeliveryWithAttempts>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.delivery(id)))
    }

    fn retry_deliveries(&self, which: Which, by: Actor, now: Timestamp) -> Pending<u64> {
        self.change_in_parts(Change::Retry, which, by, now)
    }

    fn discard_deliveries(&self, which: Which, by: Actor, now: Timestamp) -> Pending<u64> {
        self.change_in_parts(Change::Discard, which, by, now)
    }

    fn add_silence(&self, silence: Silence) -> Pending<Silence> {
        self.write(move |open| open.add_silence(&silence))
    }

    fn end_silence(&self, id: u64, by: Actor, now: Timestamp) -> Pending<Option<Silence>> {
        self.write(move |open| open.end_silence(id, &by, now))
    }

    fn silences(&self, active_at: Option<Timestamp>) -> Pending<Vec<Silence>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.silences(active_at)))
    }

    fn facts(&self, alert: u64) -> Pending<Vec<Fact>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.facts(alert)))
    }
}
