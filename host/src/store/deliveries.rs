//! Interface of a store for deliveries, silences and the router's place in the feed.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use tocsin_plugin_api::{Urgency, notification::Kind};
use ulid::Ulid;

use super::{Pending, feed::Cursor};
use crate::{
    alert::{Actor, AlertOutline},
    delivery::{
        Attempt, Delivery, DeliveryStatus, DeliveryWithAttempts, DestinationState, Fact, Parked,
        Silence, Timer,
    },
};

/// [Deliveries](Delivery), their attempts, [silences](Silence), [timers](Timer) and [facts](Fact).
///
/// Every change is one transaction, and answered when it is on disk. Only people's changes of many
/// deliveries are several transactions. One host at a time routes, and one at a time delivers to a
/// destination: see [`DutyStore`](super::duties::DutyStore).
pub trait DeliveryStore: Send + Sync {
    /// Returns the cursor up to which the feed was routed; none if it was never routed, or was
    /// [forgotten](Self::forget_cursor).
    fn router_cursor(&self) -> Pending<Option<Cursor>>;

    /// Forgets the router's cursor: without destinations nothing is routed, and destinations that are
    /// configured later are not told of old changes.
    fn forget_cursor(&self) -> Pending<()>;

    /// Returns the [`AlertOutline`]s of those of these alerts that exist, in the order of their numbers.
    ///
    /// Without `with_details` the details are left empty, which is faster.
    fn outlines(&self, numbers: BTreeSet<u64>, with_details: bool) -> Pending<Vec<AlertOutline>>;

    /// Records the result of routing a page of the feed or of a number of timers, all or nothing.
    ///
    /// A new delivery about an alert replaces the waiting delivery about the same alert to the same
    /// destination, unless an attempt of that one runs or is in doubt: the new one then has its
    /// `skipped` kinds, its number of attempts and its time of the next attempt. `skipped` has the same
    /// kind several times in a row as one, and a largest length. A delivery with an id that the store
    /// knows is not recorded again.
    ///
    /// If more than [`digest_above`](NewDelivery::digest_above) deliveries of the kind `opened` wait for
    /// a destination, they become one delivery of the kind `digest`, which has the id of the last of
    /// them. Further ones are counted by it as long as it waits, and leave no delivery of their own.
    /// Deliveries that have replaced one of the kind `opened` count like it, except `escalated` and
    /// `noted`. News about an alert that a digest has told are not recorded as a delivery but as a
    /// [`Fact`], except `escalated` and `noted`, and except further news once the alert had a message
    /// of its own.
    ///
    /// A fact of the kind `occurred` that repeats the last fact about its alert and destination is not
    /// recorded again.
    ///
    /// A timer for the end of a silence is due at the end of the silence as stored, if that is earlier.
    /// There is one such timer for each alert, destination and silence.
    fn route(&self, routed: Routed) -> Pending<()>;

    /// Returns timers that are due at a time, oldest first.
    fn due_timers(&self, now: Timestamp, limit: usize) -> Pending<Vec<Timer>>;

    /// Returns the time at which the first timer is due.
    fn next_timer(&self) -> Pending<Option<Timestamp>>;

    /// Marks as in doubt and due what an earlier holder of the destination's duty left in flight. Called when
    /// a host takes the duty, before its first [`claim`](Self::claim). The destination does not stay
    /// [paused](Self::pause) for more than 24 hours from now: the clock may have been wrong.
    fn recover_deliveries(&self, destination: String, now: Timestamp) -> Pending<Recovered>;

    /// Takes deliveries that are due, oldest first, and marks them as in flight.
    ///
    /// At most one delivery for each alert and destination is in flight. Later news about an alert
    /// waits until earlier news has ended. An earlier delivery that was
    /// [retried](Self::retry_deliveries) waits until later news in flight or in doubt has ended.
    fn claim(&self, claim: Claim) -> Pending<Claimed>;

    /// Records the result of an attempt.
    ///
    /// If the attempt surely was not sent, and later news about the alert waits, the later news replaces
    /// the delivery as in [`route`](Self::route). A retried delivery that waits behind the attempt is
    /// replaced, too. A delivery in doubt that becomes dead stays in doubt. The newest 20 attempts of a
    /// delivery are kept.
    fn finish(&self, finished: Finished) -> Pending<()>;

    /// Gives claimed deliveries back that were not attempted, for example because the host stops.
    fn give_back(&self, ids: Vec<Ulid>) -> Pending<()>;

    /// [Gives back](Self::give_back) all deliveries of a destination that are in flight, except those
    /// named. Returns their number. For use after a [`claim`](Self::claim) that was answered with an
    /// error, although it may be on disk.
    fn give_back_all(&self, destination: String, except: Vec<Ulid>) -> Pending<u64>;

    /// Parks a destination, or ends its parking with none. Its deliveries wait. With none, a
    /// [pause](Self::pause) of the destination ends, too.
    fn park(&self, destination: String, parked: Option<Parked>) -> Pending<()>;

    /// Makes no attempt at a destination until a time, or until the end of its present pause if that is
    /// later.
    fn pause(&self, destination: String, until: Timestamp) -> Pending<()>;

    /// Brings forward deliveries that wait for a later attempt than at this time. They become due at that
    /// time. Of one destination, or of all with none. Returns their number.
    fn bring_forward(&self, destination: Option<String>, latest: Timestamp) -> Pending<u64>;

    /// Returns the state of every destination that has one or has deliveries, sorted by name. Also of
    /// those that are not configured any more.
    fn destinations(&self) -> Pending<Vec<DestinationState>>;

    /// Returns a [`DeliveryPage`], newest first.
    fn deliveries(&self, query: DeliveryQuery) -> Pending<DeliveryPage>;

    /// Returns one delivery with its attempts.
    fn delivery(&self, id: Ulid) -> Pending<Option<DeliveryWithAttempts>>;

    /// Makes deliveries due at once: dead ones, and those that wait. Returns their number.
    ///
    /// A choice of all or of the dead deliveries of a destination also ends the destination's
    /// [pause](Self::pause).
    ///
    /// A delivery that is part of a message stands for the message. A dead delivery is replaced by later
    /// news that wait, unless it is in doubt. Many deliveries are changed in parts, between which other
    /// work goes on. After an error, some may have been changed.
    fn retry_deliveries(&self, which: Which, by: Actor, now: Timestamp) -> Pending<u64>;

    /// Ends deliveries that wait, as dead with the actor as the reason. Returns their number.
    ///
    /// An attempt that runs comes to its end: unless it delivers, the delivery is dead then. If the
    /// delivery is [given back](Self::give_back), it ended at the time at which it was discarded. Many
    /// deliveries are changed in parts, as by [`retry_deliveries`](Self::retry_deliveries).
    fn discard_deliveries(&self, which: Which, by: Actor, now: Timestamp) -> Pending<u64>;

    /// Adds a silence. The `id` is ignored. Returns the silence with its id.
    fn add_silence(&self, silence: Silence) -> Pending<Silence>;

    /// Ends a silence early, and makes its timers due. Returns none if there is no such silence.
    fn end_silence(&self, id: u64, by: Actor, now: Timestamp) -> Pending<Option<Silence>>;

    /// Returns the silences that have not ended at a time, or all, newest first.
    fn silences(&self, active_at: Option<Timestamp>) -> Pending<Vec<Silence>>;

    /// Returns the newest 1,000 recorded facts about an alert, oldest first.
    fn facts(&self, alert: u64) -> Pending<Vec<Fact>>;
}

/// Result of routing, for [`DeliveryStore::route`].
#[derive(Clone, Debug, Default)]
pub struct Routed {
    /// Cursor after the page of the feed that was routed; none if timers were.
    pub cursor: Option<Cursor>,
    /// New deliveries, in the order of the changes.
    pub deliveries: Vec<NewDelivery>,
    /// New timers.
    pub timers: Vec<Timer>,
    /// Timers that are done, by their ids.
    pub done_timers: Vec<u64>,
    /// Facts, each with the number of its alert.
    pub facts: Vec<(u64, Fact)>,
    /// The present time.
    pub now: Timestamp,
}

/// A delivery to be recorded.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Id of the delivery.
    pub id: Ulid,
    /// The destination.
    pub destination: Arc<str>,
    /// Number of the alert.
    pub alert: u64,
    /// Kind of the news.
    pub kind: Kind,
    /// Place of the change in the alert's history, if a change is the cause.
    pub place: Option<u64>,
    /// Time of the change.
    pub changed_at: Timestamp,
    /// Urgency of the alert, for a digest.
    pub urgency: Urgency,
    /// Integration of the alert, for a digest.
    pub integration: Arc<str>,
    /// Number of waiting deliveries of the kind `opened` above which a digest replaces them; 0 for never.
    pub digest_above: u32,
}

/// Answer of [`DeliveryStore::recover_deliveries`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Number of deliveries that are in doubt now.
    pub in_doubt: u64,
    /// Mark of the destination, if it is parked.
    pub parked: Option<Parked>,
    /// Time until which the destination is paused.
    pub paused_until: Option<Timestamp>,
}

/// Order for [`DeliveryStore::claim`].
#[derive(Clone, Debug)]
pub struct Claim {
    /// The destination.
    pub destination: String,
    /// The present time.
    pub now: Timestamp,
    /// Largest number of deliveries.
    pub limit: usize,
}

/// Answer of [`DeliveryStore::claim`].
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The deliveries.
    pub deliveries: Vec<ClaimedDelivery>,
    /// Time at which the next delivery is due, beyond those taken; none if the destination is parked, if no
    /// other delivery waits, or if only deliveries behind those in flight wait.
    pub next_due: Option<Timestamp>,
}

/// A delivery that is now in flight.
#[derive(Clone, Debug)]
pub struct ClaimedDelivery {
    /// The delivery. [`attempts`](Delivery::attempts) counts the attempt that begins.
    pub delivery: Delivery,
    /// Place of the change in the alert's history.
    pub place: Option<u64>,
    /// Value that the notifier keeps about this alert at this destination.
    pub state: Option<Value>,
}

/// Result of an attempt, for [`DeliveryStore::finish`].
#[derive(Clone, Debug)]
pub struct Finished {
    /// The delivery.
    pub id: Ulid,
    /// Record of the attempt.
    pub attempt: Attempt,
    /// The delivery's state from now on.
    pub next: AfterAttempt,
    /// New value of the notifier about the alert at the destination; none to keep the present one.
    pub state: Option<Value>,
    /// The present time.
    pub now: Timestamp,
}

/// State of a delivery after an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum AfterAttempt {
    /// Delivered.
    Delivered,
    /// Waits for another attempt.
    Waits {
        /// Time of the next attempt.
        until: Timestamp,
        /// True if the attempt was in doubt. The delivery is then not replaced by later news.
        in_doubt: bool,
    },
    /// Dead.
    Dead,
}

/// Choice of deliveries to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// One delivery.
    One(Ulid),
    /// All dead deliveries of a destination.
    DeadOf(String),
    /// All waiting and dead deliveries of a destination.
    AllOf(String),
}

/// Query for [`DeliveryStore::deliveries`]. Filters that are `None` match every delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// Status.
    pub status: Option<DeliveryStatus>,
    /// The destination.
    pub destination: Option<String>,
    /// Number of the alert. Digests that told of the alert are found, too.
    pub alert: Option<u64>,
    /// Largest number of deliveries on the page, 1 or more.
    pub limit: usize,
    /// Exclusive upper bound of the ids.
    pub before: Option<Ulid>,
}

/// Page of [deliveries](Delivery), newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryPage {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// Start of the next page, if there is one: a value for [`DeliveryQuery::before`].
    pub next: Option<Ulid>,
}
