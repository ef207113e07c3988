//! The router: reads the feed of changes, decides who is told, and records it with its place in the feed.
//!
//! Deliveries, timers, facts and the cursor are one transaction, so that a crash loses no change and
//! routes none twice. While webhooks pour in, the router takes only a small part of the time: see
//! [`Rest`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    STORE_PAUSE,
    clock::Clock,
    dispatcher::Shared,
    plan::{Rules, pairs_to_look_up, plan_changes, plan_timers},
    rest::{Page, Rest},
    told::Told,
};
use crate::{
    alert::AlertOutline,
    delivery::{Timer, TimerCause},
    host::{Host, in_force::InForce},
    hosts::post::{OnDuty, Post},
    http::server::Stop,
    routing::{BrokenSilence, Silences},
    store::{
        Store, StoreError,
        deliveries::{DeliveryQuery, Routed},
        duties::{Duty, Hold},
        feed::{Cursor, FeedChange},
    },
};

/// Changes on one page.
const PAGE: usize = 1000;
/// Timers that are looked at together.
const TIMERS: usize = 256;

/// Time between two looks at what people and timers ask for, if another host may have written it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Routes changes until the signal to stop, as long as this host holds the duty.
pub(super) async fn run(host: Arc<Host>, shared: Shared, mut stop: Stop) {
    loop {
        let mut reloads = host.delivery_desk.reloads();
        if host.in_force().config.routes.is_empty() {
            // Without destinations nothing is read, and another host may have some. A reload may bring one.
            tokio::select! {
                biased;
                () = stop.wait() => return,
                () = forget_cursor(&*shared.store) => {}
            }
            tokio::select! {
                biased;
                () = stop.wait() => return,
                _ = reloads.changed() => {}
            }
            continue;
        }
        let post = Post::apply(Arc::clone(&shared.duties), Duty::Routing);
        let ended = tokio::select! {
            biased;
            () = stop.wait() => End::Stop,
            end = route_on_duty(&host, &shared, post.on_duty()) => end,
        };
        post.leave().await;
        if ended == End::Stop {
            return;
        }
    }
}

/// Reason why no more changes are routed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The host stops.
    Stop,
    /// No destination is left.
    WithoutDestinations,
}

async fn route_on_duty(host: &Arc<Host>, shared: &Shared, on_duty: &OnDuty) -> End {
    loop {
        let term = on_duty.taken().await;
        // Another host may have routed meanwhile, so that nothing is remembered.
        let router = Router {
            changed: shared.store.changed(),
            reloads: host.delivery_desk.reloads(),
            silence_changes: host.delivery_desk.silence_changes(),
            host: Arc::clone(host),
            shared: shared.clone(),
            on_duty: on_duty.in_term(term),
            cursor: None,
            has_read_all: false,
            silences: None,
            rules: None,
            told: Told::default(),
            rest: Rest::new(Instant::now()),
            next_timer: None,
        };
        tokio::select! {
            biased;
            () = on_duty.lost(term) => {}
            end = router.route() => return end,
        }
    }
}

/// Forgets the router's place in the feed, unless another host routes.
async fn forget_cursor(store: &dyn Store) {
    let forget = async || {
        if store.router_cursor().await?.is_none() {
            return Ok(());
        }
        if store.hold(Duty::Routing).await? != Hold::Elsewhere {
            store.forget_cursor().await?;
            store.release(Duty::Routing).await?;
        }
        Ok(())
    };
    loop {
        match forget().await {
            Ok(()) | Err(StoreError::Closed) => return,
            Err(error) => {
                let error: StoreError = error;
                tracing::debug!(%error, "the place in the feed was not forgotten yet");
                sleep(STORE_PAUSE).await;
            }
        }
    }
}

struct Router {
    host: Arc<Host>,
    shared: Shared,
    on_duty: OnDuty,
    changed: watch::Receiver<u64>,
    reloads: watch::Receiver<u64>,
    silence_changes: watch::Receiver<u64>,
    cursor: Option<Cursor>,
    /// True if the feed has nothing after the cursor but what was signalled since.
    has_read_all: bool,
    silences: Option<Arc<Silences>>,
    rules: Option<Rules>,
    told: Told,
    rest: Rest,
    next_timer: Option<Timestamp>,
}

impl Router {
    async fn route(mut self) -> End {
        loop {
            match self.step().await {
                Ok(Some(end)) => return end,
                Ok(None) => {}
                Err(StoreError::Closed) => return End::Stop,
                Err(StoreError::UnknownCursor) => {
                    tracing::warn!(
                        event = "routing_restarted",
                        "the store no longer knows up to where changes were routed; destinations \
                         are told of changes from now on",
                    );
                    self.cursor = Some(Cursor::now());
                }
                Err(error) => {
                    tracing::debug!(%error, "changes could not be routed yet");
                    sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// Routes one page of changes and the timers that are due, or waits for one of them.
    async fn step(&mut self) -> Result<Option<End>, StoreError> {
        self.on_duty.certain().await;
        self.forget_what_others_change();
        self.prepare().await?;
        let Some(cursor) = self.cursor.clone() else { return Ok(Some(End::WithoutDestinations)) };
        let is_due = self.next_timer.is_some_and(|time| time <= self.shared.clock.now());
        if is_due {
            self.route_timers().await?;
        }
        if self.has_read_all && !self.changed.has_changed().unwrap_or_default() {
            if !is_due {
                self.wait().await;
            }
            return Ok(None);
        }
        let began = Instant::now();
        self.has_read_all = false;
        self.changed.borrow_and_update();
        let page = self.shared.store.changes_since(cursor, PAGE).await?;
        // A silence that was added before one of these changes holds for the change.
        self.forget_what_others_change();
        self.prepare().await?;
        if self.cursor.is_none() {
            return Ok(None);
        }
        let count = page.changes.len();
        if count > 0 {
            self.route_changes(&page.changes, page.cursor).await?;
        } else {
            self.cursor = Some(page.cursor);
        }
        self.has_read_all = count < PAGE;
        let now = Instant::now();
        let page = Page {
            count,
            is_full: !self.has_read_all,
            took: now - began,
            more_arrived: self.changed.has_changed().unwrap_or_default(),
        };
        sleep(self.rest.after(page, now)).await;
        Ok(None)
    }

    /// Has silences and the next timer read again, if people may have changed them through another host.
    fn forget_what_others_change(&mut self) {
        if self.on_duty.is_leased() {
            (self.silences, self.rules) = (None, None);
        }
    }

    /// Reads what decides about the next changes, if it has changed: destinations, routes and silences.
    async fn prepare(&mut self) -> Result<(), StoreError> {
        if self.silence_changes.has_changed().unwrap_or_default() {
            self.silence_changes.borrow_and_update();
            (self.silences, self.rules) = (None, None);
        }
        if self.reloads.has_changed().unwrap_or_default() {
            self.reloads.borrow_and_update();
            self.rules = None;
        }
        if self.rules.is_some() {
            return Ok(());
        }
        let store = Arc::clone(&self.shared.store);
        let silences = match &self.silences {
            Some(silences) => Arc::clone(silences),
            None => {
                let silences = silences(&*store, self.shared.clock.now()).await?;
                self.next_timer = store.next_timer().await?;
                self.silences = Some(Arc::clone(&silences));
                silences
            }
        };
        let rules = rules(&self.host.in_force(), silences);
        if rules.routes.is_empty() {
            self.cursor = None;
        } else if self.cursor.is_none() {
            self.cursor = Some(begin(&*store, self.shared.clock.now()).await?);
        }
        self.rules = Some(rules);
        Ok(())
    }

    async fn route_changes(
        &mut self,
        changes: &[FeedChange],
        cursor: Cursor,
    ) -> Result<(), StoreError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let numbers: BTreeSet<_> = changes.iter().map(|change| change.alert).collect();
        let alerts = outlines(&*self.shared.store, numbers, rules).await?;
        let pairs = pairs_to_look_up(rules, changes, &alerts, &self.told);
        look_up(&*self.shared.store, pairs, &mut self.told).await?;
        let now = self.shared.clock.now();
        let mut routed = plan_changes(rules, changes, &alerts, &mut self.told, now);
        if let Some(last) = changes.last() {
            let lag = now.duration_since(last.entry.last_at);
            self.shared.metrics.routed(Duration::try_from(lag).unwrap_or_default());
        }
        // A page of which nothing follows may be read once more after a crash.
        if !is_empty(&routed) {
            routed.cursor = Some(cursor.clone());
            self.store(routed).await?;
        }
        self.cursor = Some(cursor);
        self.told.bound();
        Ok(())
    }

    async fn route_timers(&mut self) -> Result<(), StoreError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let (store, now) = (Arc::clone(&self.shared.store), self.shared.clock.now());
        let timers = store.due_timers(now, TIMERS).await?;
        if !timers.is_empty() {
            let numbers = timers.iter().map(|timer| timer.alert).collect();
            let alerts = outlines(&*store, numbers, rules).await?;
            let ends_silence =
                |timer: &&Timer| matches!(timer.cause, TimerCause::SilenceEnds { .. });
            let pairs = timers.iter().filter(ends_silence);
            let pairs = pairs.map(|timer| (timer.alert, timer.destination.clone()));
            let pairs = pairs.filter(|(alert, name)| !self.told.contains(*alert, name)).collect();
            look_up(&*store, pairs, &mut self.told).await?;
            let routed = plan_timers(rules, &timers, &alerts, &mut self.told, now);
            self.store(routed).await?;
        }
        self.next_timer = store.next_timer().await?;
        Ok(())
    }

    /// Records what was decided, and wakes the dispatchers that have something to do.
    async fn store(&mut self, routed: Routed) -> Result<(), StoreError> {
        let destinations = routed.deliveries.iter().map(|delivery| &delivery.destination);
        let destinations: HashSet<_> = destinations.map(Arc::clone).collect();
        let first_timer = routed.timers.iter().map(|timer| timer.due_at).min();
        let result = self.shared.store.route(routed).await;
        // Deliveries may be there after an error, too.
        for destination in destinations {
            self.shared.desk.look(&destination);
        }
        if result.is_err() {
            self.told.clear();
            // A refused transaction may have been committed all the same. The store knows the place in the
            // feed and the timers, so that the next try plans nothing twice.
            (self.cursor, self.silences, self.rules) = (None, None, None);
            return result;
        }
        self.next_timer = self.next_timer.into_iter().chain(first_timer).min();
        Ok(())
    }

    /// Waits until there may be something to route.
    async fn wait(&mut self) {
        let timer = wait_for(&self.shared.clock, self.next_timer);
        let look = async {
            if !self.on_duty.is_leased() {
                std::future::pending::<()>().await;
            }
            sleep(LOOK_EVERY).await;
        };
        tokio::select! {
            _ = self.changed.changed() => self.has_read_all = false,
            _ = self.reloads.changed() => self.rules = None,
            _ = self.silence_changes.changed() => (self.silences, self.rules) = (None, None),
            () = timer => {}
            () = look => {}
        }
    }
}

/// Returns true if nothing follows from what was routed.
fn is_empty(routed: &Routed) -> bool {
    let Routed { deliveries, timers, done_timers, facts, .. } = routed;
    deliveries.is_empty() && timers.is_empty() && done_timers.is_empty() && facts.is_empty()
}

/// Returns the cursor from which to route. A store that was never routed is routed from now on.
async fn begin(store: &dyn Store, now: Timestamp) -> Result<Cursor, StoreError> {
    if let Some(cursor) = store.router_cursor().await? {
        return Ok(cursor);
    }
    let page = store.changes_since(Cursor::now(), 1).await?;
    let cursor = page.cursor;
    store.route(Routed { cursor: Some(cursor.clone()), now, ..Routed::default() }).await?;
    Ok(cursor)
}

async fn silences(store: &dyn Store, now: Timestamp) -> Result<Arc<Silences>, StoreError> {
    let (silences, broken) = Silences::new(store.silences(Some(now)).await?);
    for BrokenSilence { id, .. } in broken {
        tracing::error!(
            event = "silence_broken",
            silence = id,
            "a silence cannot be evaluated and silences nothing",
        );
    }
    Ok(Arc::new(silences))
}

fn rules(in_force: &InForce, silences: Arc<Silences>) -> Rules {
    let destinations = in_force.destinations.sorted();
    let digest_above = destinations.iter().map(|destination| {
        let section = destination.section().digest_above;
        let above = destination.ready().map_or(section, |ready| ready.digest_above);
        (Arc::clone(&destination.name), above)
    });
    Rules {
        routes: Arc::clone(&in_force.config.routes),
        silences,
        digest_above: digest_above.collect(),
    }
}

async fn outlines(
    store: &dyn Store,
    numbers: BTreeSet<u64>,
    rules: &Rules,
) -> Result<HashMap<u64, AlertOutline>, StoreError> {
    let outlines = store.outlines(numbers, rules.reads_details()).await?;
    Ok(outlines.into_iter().map(|outline| (outline.number, outline)).collect())
}

/// Adds the pairs of which the store has a delivery.
async fn look_up(
    store: &dyn Store,
    pairs: BTreeSet<(u64, String)>,
    told: &mut Told,
) -> Result<(), StoreError> {
    // All pairs are asked for at once, and answered by several threads.
    let asked: Vec<_> = pairs
        .into_iter()
        .map(|(alert, destination)| {
            let query = DeliveryQuery {
                alert: Some(alert),
                destination: Some(destination.clone()),
                limit: 1,
                ..DeliveryQuery::default()
            };
            ((alert, destination), store.deliveries(query))
        })
        .collect();
    for (pair, answer) in asked {
        if !answer.await?.deliveries.is_empty() {
            told.insert(pair.0, &pair.1.into());
        }
    }
    Ok(())
}

async fn wait_for(clock: &Clock, time: Option<Timestamp>) {
    match time {
        Some(time) => sleep_until(clock.instant_of(time)).await,
        None => std::future::pending().await,
    }
}
