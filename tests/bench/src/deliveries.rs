//! Deliveries to a receiver in this process: how fast they leave, how soon, and what they cost the
//! reception of webhooks.

use std::{
    mem,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};

use crate::{
    load::{Load, Throughput},
    steady::{self, Latency},
    subject::Subject,
};

/// A receiver that answers 200, at once or after a delay. It ends with the process.
pub(crate) struct Sink {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
}

struct Arrivals {
    count: AtomicU64,
    last: Mutex<Option<Instant>>,
    /// The messages, if the receiver is slow.
    bodies: Mutex<Vec<Bytes>>,
    answers_after: Duration,
}

impl Sink {
    fn start(answers_after: Duration) -> anyhow::Result<Self> {
        let arrivals = Arc::new(Arrivals {
            count: AtomicU64::new(0),
            last: Mutex::new(None),
            bodies: Mutex::new(Vec::new()),
            answers_after,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/", post(arrived)).with_state(Arc::clone(&arrivals));
        thread::spawn(move || runtime.block_on(axum::serve(listener, router).into_future()));
        Ok(Self { address, arrivals })
    }

    fn count(&self) -> u64 {
        self.arrivals.count.load(Ordering::Acquire)
    }

    fn last(&self) -> Option<Instant> {
        *self.arrivals.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the messages since the last call.
    fn take_bodies(&self) -> Vec<Bytes> {
        mem::take(&mut *self.arrivals.bodies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until this many messages have arrived, and returns the time of the last one.
    fn wait_for(&self, count: u64) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.count() < count {
            ensure!(Instant::now() < deadline, "only {} of {count} arrived", self.count());
            thread::sleep(Duration::from_millis(1));
        }
        self.last().context("something arrived")
    }

    /// Returns the configuration of a destination at this receiver.
    fn destination(&self, more: &str) -> String {
        format!(
            "[destinations.sink]\nplugin = \"webhook-out\"\nallow_networks = [\"127.0.0.0/8\"]\n\
             allow_http = true\n{more}\noptions.url = \"http://{}/\"\n",
            self.address
        )
    }
}

async fn arrived(State(arrivals): State<Arc<Arrivals>>, body: Bytes) -> StatusCode {
    *arrivals.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    arrivals.count.fetch_add(1, Ordering::AcqRel);
    if !arrivals.answers_after.is_zero() {
        arrivals.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        tokio::time::sleep(arrivals.answers_after).await;
    }
    StatusCode::OK
}

/// The load of webhooks on a host that tells a destination of every alert, with one message a second.
pub(crate) fn load(tocsin: &Path, plugins: &Path, lasts: Duration) -> anyhow::Result<Throughput> {
    let sink = Sink::start(Duration::ZERO)?;
    let config = sink.destination("rate_limit = \"1/s\"");
    Load::slack(&Subject::tocsin_with(tocsin, plugins, None, &config)?, lasts)
}

/// Returns the deliveries a second, each with a result that is committed by itself.
pub(crate) fn rate(tocsin: &Path, plugins: &Path) -> anyhow::Result<f64> {
    const ALERTS: u32 = 20_000;
    let sink = Sink::start(Duration::ZERO)?;
    let config = sink.destination("digest_above = 0\nparallel = 64");
    let subject = Subject::tocsin_with(tocsin, plugins, None, &config)?;
    steady::run(&subject, ALERTS / 2, Duration::from_secs(2))?;
    let (before, began) = (sink.count(), Instant::now());
    let sent = u64::from(ALERTS - ALERTS % steady::CONNECTIONS);
    let ended = sink.wait_for(sent)?;
    Ok((sent - before) as f64 / (ended - began).as_secs_f64())
}

/// Returns the 99th percentile of the time from the answer to a webhook until the message arrives, on a
/// host with nothing else to do.
pub(crate) fn latency_p99(tocsin: &Path, plugins: &Path) -> anyhow::Result<Duration> {
    const ALERTS: u64 = 300;
    let sink = Sink::start(Duration::ZERO)?;
    let subject = Subject::tocsin_with(tocsin, plugins, None, &sink.destination(""))?;
    let mut latencies = Vec::new();
    for number in 0..ALERTS {
        let committed = steady::send_one(subject.address, number)?;
        let arrived = sink.wait_for(number + 1)?;
        latencies.push(arrived.saturating_duration_since(committed));
        thread::sleep(Duration::from_millis(20));
    }
    latencies.sort();
    Ok(latencies[latencies.len() * 99 / 100])
}

/// A storm of alerts, and what a slow destination was told of it.
pub(crate) struct Storm {
    /// Each request opened an alert.
    pub(crate) with: Latency,
    pub(crate) without: Latency,
    /// The number of alerts of which the destination was told, by messages and digests.
    pub(crate) told: u64,
    /// The number of messages.
    pub(crate) messages: u64,
}

/// Alerts of a [`Storm`] in a second.
const STORM_RATE: u32 = 1000;
/// Duration of a [`Storm`].
const STORM_LASTS: Duration = Duration::from_secs(10);

/// Opens 10,000 alerts in ten seconds: with a destination that needs five seconds for each answer, and
/// without a destination, in one order or the other.
pub(crate) fn storm(tocsin: &Path, plugins: &Path, with_first: bool) -> anyhow::Result<Storm> {
    let earlier = if with_first { None } else { Some(storm_without(tocsin, plugins)?) };
    let (with, told, messages) = storm_with(tocsin, plugins)?;
    let without = earlier.map_or_else(|| storm_without(tocsin, plugins), Ok)?;
    Ok(Storm { with, without, told, messages })
}

fn storm_without(tocsin: &Path, plugins: &Path) -> anyhow::Result<Latency> {
    steady::run_on_a_quiet_disk(&Subject::tocsin(tocsin, plugins, None)?, STORM_RATE, STORM_LASTS)
}

/// Returns the latency, the number of alerts of which the destination was told, and the number of messages.
fn storm_with(tocsin: &Path, plugins: &Path) -> anyhow::Result<(Latency, u64, u64)> {
    let sink = Sink::start(Duration::from_secs(5))?;
    let subject = Subject::tocsin_with(tocsin, plugins, None, &sink.destination(""))?;
    let with = steady::run_on_a_quiet_disk(&subject, STORM_RATE, STORM_LASTS)?;
    let alerts = with.requests;
    // The rest waits until earlier messages are answered.
    let (deadline, mut told, mut messages) = (Instant::now() + Duration::from_secs(60), 0, 0);
    while told < alerts {
        ensure!(Instant::now() < deadline, "only {told} of {alerts} alerts were told");
        thread::sleep(Duration::from_millis(50));
        for body in sink.take_bodies() {
            messages += 1;
            told += alerts_in(&body)?;
        }
    }
    Ok((with, told, messages))
}

/// Returns the number of alerts that a message tells of.
fn alerts_in(body: &[u8]) -> anyhow::Result<u64> {
    let event: serde_json::Value = serde_json::from_slice(body)?;
    let news = &event["data"];
    match &news["digest"] {
        serde_json::Value::Null => Ok(1),
        digest => digest["count"].as_u64().with_context(|| format!("no count: {event}")),
    }
}
