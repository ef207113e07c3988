//! The delivery engine: decides who is told of a change, and delivers until the destination has it.
//!
//! The [`router`] reads the feed of changes and records deliveries. A [`dispatcher`] for each destination
//! claims what is due, lets the plugin write the requests of an [`attempt`], sends them, and records the
//! result. Webhooks never wait for any of these: they know only the store.

mod attempt;
mod clock;
mod connected;
mod dispatcher;
mod exchange;
mod kinds;
mod outcome;
mod pace;
mod plan;
#[cfg(test)]
mod pretended;
mod rest;
mod router;
mod schedule;
mod streak;
mod target;
mod told;
pub(crate) mod trial;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use self::{clock::Clock, dispatcher::Shared, target::CurrentTarget};
use crate::{
    config::DeliveryConfig,
    delivery::DestinationState,
    host::{Host, in_force::InForce},
    http::server::Stop,
    outbound::{Client, ClientSettings},
    problem::Problem,
    store::{
        Store, StoreError,
        deliveries::Routed,
        duties::{Duty, Hold, LEASE_LASTS},
        feed::Cursor,
    },
};

/// Time between two looks at the numbers of all destinations.
const SURVEY_EVERY: Duration = Duration::from_secs(5);
/// Pause after the store refused.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Records from where changes are routed, if there are destinations now and there were none before. Blocks.
///
/// Called before the destinations come into force, so that they are told of every change from then on.
pub(crate) fn prepare(store: &dyn Store, next: &InForce) {
    if next.config.routes.is_empty() {
        return;
    }
    let begun = || {
        if store.router_cursor().wait()?.is_some() {
            return Ok(());
        }
        // Another host that holds the duty routes by its own configuration.
        if store.hold(Duty::Routing).wait()? == Hold::Elsewhere {
            return Ok(());
        }
        let cursor = store.changes_since(Cursor::now(), 1).wait()?.cursor;
        let routed = Routed { cursor: Some(cursor), now: Timestamp::now(), ..Routed::default() };
        store.route(routed).wait()
    };
    if let Err(error) = begun() {
        let error: StoreError = error;
        tracing::debug!(%error, "the router will begin later");
    }
}

/// Starts the engine. The task ends after the signal to stop, when no attempt runs any more.
pub(crate) fn start(host: &Arc<Host>, stop: Stop) -> JoinHandle<()> {
    let shared = Shared {
        store: Arc::clone(&host.store),
        duties: Arc::<dyn Store>::clone(&host.store),
        desk: Arc::clone(&host.delivery_desk),
        metrics: Arc::clone(&host.metrics.deliveries),
        clock: Clock::of_system(),
    };
    let host = Arc::clone(host);
    tokio::spawn(async move {
        let mut stopping = stop.clone();
        let left = tokio::select! {
            () = stopping.wait() => return,
            left = recover(&shared) => left,
        };
        let router = tokio::spawn(router::run(Arc::clone(&host), shared.clone(), stop.clone()));
        let engine = Engine {
            host,
            shared,
            stop,
            client: None,
            targets: HashMap::new(),
            dispatchers: JoinSet::new(),
            left,
            leases_end: Instant::now() + 3 * LEASE_LASTS,
        };
        engine.supervise().await;
        let _ = router.await;
    })
}

/// Puts the deliveries in order that an earlier host left. A [`dispatcher`] does so, too, when it takes its duty,
/// but destinations that are disabled, broken or not configured have no duty that is taken.
///
/// Returns the destinations to which another host delivers.
async fn recover(shared: &Shared) -> Vec<String> {
    loop {
        match try_to_recover(shared).await {
            Ok(left) => return left,
            Err(StoreError::Closed) => return Vec::new(),
            Err(error) => {
                tracing::debug!(%error, "deliveries of an earlier host could not be read yet");
                sleep(STORE_PAUSE).await;
            }
        }
    }
}

async fn try_to_recover(shared: &Shared) -> Result<Vec<String>, StoreError> {
    let mut left = Vec::new();
    for DestinationState { name, waiting, .. } in shared.store.destinations().await? {
        if waiting > 0 && !recover_destination(shared, &name).await? {
            left.push(name);
        }
    }
    Ok(left)
}

/// Recovers deliveries to a destination. Returns false if another host delivers to it.
async fn recover_destination(shared: &Shared, name: &str) -> Result<bool, StoreError> {
    let duty = Duty::Delivering(name.into());
    if shared.duties.hold(duty.clone()).await? == Hold::Elsewhere {
        return Ok(false);
    }
    let recovered = dispatcher::recover(shared, name, None).await;
    shared.duties.release(duty).await?;
    dispatcher::log_doubts(name, recovered?.in_doubt);
    Ok(true)
}

/// The dispatchers, and what they deliver to.
struct Engine {
    host: Arc<Host>,
    shared: Shared,
    stop: Stop,
    client: Option<(ClientSettings, Client)>,
    targets: HashMap<Arc<str>, watch::Sender<CurrentTarget>>,
    dispatchers: JoinSet<()>,
    /// Destinations with deliveries that another host held when this one started. It may be dead.
    left: Vec<String>,
    /// Time from which on such a host is alive, since it has renewed its leases.
    leases_end: Instant,
}

impl Engine {
    async fn supervise(mut self) {
        let mut reloads = self.host.delivery_desk.reloads();
        let mut stop = self.stop.clone();
        let mut others = self.shared.store.work_of_other_hosts();
        let mut is_adopted = self.adopt();
        self.survey().await;
        let mut next_survey = Instant::now() + SURVEY_EVERY;
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                Ok(()) = others.changed() => {
                    self.targets.keys().for_each(|name| self.shared.desk.look(name));
                    continue;
                }
                Ok(()) = reloads.changed() => is_adopted = self.adopt(),
                // The cause of a failure may have gone, such as a file that could not be read.
                () = sleep_until(next_survey) => is_adopted = is_adopted || self.adopt(),
            }
            self.recover_left().await;
            self.survey().await;
            next_survey = Instant::now() + SURVEY_EVERY;
        }
        while self.dispatchers.join_next().await.is_some() {}
    }

    /// Gives each dispatcher the target of the configuration in force, and starts those that are missing.
    /// Returns false if the configuration cannot be adopted yet.
    fn adopt(&mut self) -> bool {
        let in_force = self.host.in_force();
        let config = &in_force.config.config.delivery;
        let client = match self.client_for(config) {
            Ok(client) => client,
            Err(problem) => {
                tracing::error!(
                    event = "deliveries_stopped",
                    problem = problem.one_line(),
                    "nothing can be sent",
                );
                self.shared.desk.set_problem(Some(problem));
                return false;
            }
        };
        self.shared.desk.set_problem(None);
        let mut next = HashMap::new();
        for destination in in_force.destinations.sorted() {
            let target = connected::target(destination, &client, config);
            next.insert(Arc::clone(&destination.name), target);
        }
        for (name, sender) in &self.targets {
            sender.send_replace(next.remove(name).flatten());
        }
        for (name, target) in next {
            self.begin(name, target);
        }
        true
    }

    /// Recovers what a host left that has died shortly before this one started: its leases last for a while.
    /// Destinations with a target are recovered by their dispatchers.
    async fn recover_left(&mut self) {
        if Instant::now() > self.leases_end {
            self.left.clear();
        }
        for name in std::mem::take(&mut self.left) {
            let has_target =
                self.targets.get(name.as_str()).is_some_and(|target| target.borrow().is_some());
            if !has_target && !recover_destination(&self.shared, &name).await.unwrap_or(false) {
                self.left.push(name);
            }
        }
    }

    /// Starts the dispatcher of a destination. It lives as long as the host: a destination that is removed
    /// may come back.
    fn begin(&mut self, name: Arc<str>, target: CurrentTarget) {
        let (sender, receiver) = watch::channel(target);
        self.targets.insert(Arc::clone(&name), sender);
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        self.dispatchers.spawn(dispatcher::run(name, shared, receiver, stop));
    }

    /// Returns the client for a configuration: the present one, with its connections, if nothing that
    /// concerns it has changed.
    fn client_for(&mut self, config: &DeliveryConfig) -> Result<Client, Problem> {
        let settings = connected::client_settings(config);
        if let Some((present, client)) = &self.client
            && *present == settings
        {
            return Ok(client.clone());
        }
        let client = Client::new(&settings)?;
        self.client = Some((settings, client.clone()));
        Ok(client)
    }

    /// Reads the numbers of all destinations, for health and metrics.
    async fn survey(&self) {
        // Without an answer, the numbers of before are shown.
        let Ok(states) = self.shared.store.destinations().await else { return };
        let in_force = self.host.in_force();
        let names = in_force.destinations.by_name.keys().map(|name| &**name);
        self.shared.metrics.survey(names, &states, self.shared.clock.now());
        self.shared.desk.set_states(states);
    }
}
