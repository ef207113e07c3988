//! A test of a destination by hand: one marked message now, with all that happens on the way.
//!
//! Nothing is recorded in the store, and no rate limit, pause or parking holds a test up.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tocsin_plugin_api::{
    Detail, Urgency,
    notification::{Alert, Change, Kind, Notification},
    step::{HttpRequest, NotifyCall, Step},
};
use ulid::Ulid;
use utoipa::ToSchema;

use super::{
    attempt::{self, AskNotifier, Coming, Line, SendRequest, Verdict},
    clock::Clock,
    connected,
    exchange::Secrets,
    kinds,
};
use crate::{
    alert::Actor,
    call::CallFailure,
    delivery::{AttemptRequest, AttemptResult},
    host::Host,
    hosts::post::OnDuty,
    outbound::{Client, OutboundRequest, Sent, Trace},
    problem::Problem,
    redaction::{REDACTED, Redactor},
};

/// Record of a test of a destination. All secrets are redacted.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Trial {
    /// The destination.
    pub destination: String,
    /// Id of the delivery, as the destination saw it.
    pub delivery: String,
    /// The requests that were sent, in order.
    pub steps: Vec<TrialStep>,
    /// Verdict of the plugin, or of the host if there was no answer.
    pub result: AttemptResult,
    /// Reason of a failure.
    pub reason: Option<String>,
}

/// One request of a [`Trial`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct TrialStep {
    /// The request and its answer.
    #[serde(flatten)]
    pub request: AttemptRequest,
    /// Headers that the plugin gave, as lines.
    pub headers: Vec<String>,
    /// The first 4 KiB of the request's body.
    pub body: String,
    /// Address and port that were dialled: the receiver's, or the proxy's; null if none was.
    pub address: Option<String>,
    /// Rule that allowed the address.
    pub allowed_by: Option<String>,
    /// Version of TLS; null without TLS, or if no connection was made.
    pub tls: Option<String>,
}

/// Reason why a destination cannot be tested.
#[derive(Debug)]
pub(crate) enum TrialError {
    /// No such destination is configured.
    Unknown,
    /// The destination is disabled or broken, or nothing can be sent at all.
    NotReady(String),
}

/// Longest time of a test. The timeouts of the requests end earlier.
const LONGEST_TRIAL: Duration = Duration::from_secs(300);

/// Sends a marked message to a destination.
///
/// # Errors
///
/// If the destination cannot be tested. A message that is not delivered is no error but a [`Trial`].
pub(crate) async fn trial(host: &Host, name: &str, by: &Actor) -> Result<Trial, TrialError> {
    let not_ready = |problem: Problem| TrialError::NotReady(problem.one_line());
    let target = {
        let in_force = host.in_force();
        let config = &in_force.config;
        let destination = in_force.destinations.by_name.get(name).ok_or(TrialError::Unknown)?;
        let settings = connected::client_settings(&config.config.delivery);
        // A new client opens a connection of its own.
        let client = Client::new(&settings).map_err(not_ready)?;
        let target = connected::target(destination, &client, &config.config.delivery);
        target.ok_or_else(|| {
            let problem = destination.problem();
            let disabled = || "the destination is disabled".to_owned();
            TrialError::NotReady(problem.map_or_else(disabled, |problem| problem.one_line()))
        })?
    };
    let clock = Clock::of_system();
    let notification = notification(name, &clock, by);
    let asked = Arc::<Mutex<Option<HttpRequest>>>::default();
    let watched = Watched { notifier: &*target.notifier, asked: Arc::clone(&asked) };
    let traced = Traced {
        sender: &*target.sender,
        redactor: &target.redactor,
        asked,
        steps: Arc::default(),
    };
    let line = Line {
        notifier: &watched,
        sender: &traced,
        redactor: &target.redactor,
        clock: &clock,
        on_duty: &OnDuty::always(),
    };
    let has_sent = AtomicBool::new(false);
    let attempt = attempt::attempt(&line, &notification, &has_sent);
    let Ok(ended) = tokio::time::timeout(LONGEST_TRIAL, attempt).await else {
        return Err(TrialError::NotReady(format!("the test took longer than {LONGEST_TRIAL:?}")));
    };
    let (result, reason) = match ended.verdict {
        Verdict::Delivered { .. } => (AttemptResult::Delivered, None),
        Verdict::Retry { reason, in_doubt: false, .. } => (AttemptResult::Retry, Some(reason)),
        Verdict::Retry { reason, in_doubt: true, .. } => (AttemptResult::InDoubt, Some(reason)),
        Verdict::Rejected(reason) => (AttemptResult::Rejected, Some(reason)),
        Verdict::DestinationBroken(reason) => (AttemptResult::DestinationBroken, Some(reason)),
    };
    let sent = std::mem::take(&mut *lock(&traced.steps));
    let steps = ended.requests.into_iter().zip(sent).map(|(request, (shown, trace))| TrialStep {
        request,
        headers: shown.headers,
        body: shown.body,
        address: trace.address.map(|address| address.to_string()),
        allowed_by: trace.rule,
        tls: trace.tls,
    });
    Ok(Trial {
        destination: name.to_owned(),
        delivery: notification.delivery_id,
        steps: steps.collect(),
        result,
        reason,
    })
}

/// Returns the news of a test, about an alert that does not exist.
fn notification(destination: &str, clock: &Clock, by: &Actor) -> Notification {
    let now = kinds::time(clock.time_of_day());
    let title = format!("Test of the destination {destination}");
    let mut alert = Alert::new(0, title, Urgency::Low, now);
    alert.description = Some(format!("{by} tests this destination. No alert was opened."));
    alert.details.push(Detail { label: "Destination".into(), value: destination.into() });
    let id = Ulid::generate().to_string();
    let mut notification = Notification::new(id, Kind::Test, alert, now);
    notification.destination = destination.into();
    notification.change = Some(Change::new(now, by.to_string()));
    notification
}

/// A notifier whose last request is kept, as only the notifier knows what is secret in it.
struct Watched<'a> {
    notifier: &'a dyn AskNotifier,
    asked: Arc<Mutex<Option<HttpRequest>>>,
}

impl AskNotifier for Watched<'_> {
    fn next(&self, call: NotifyCall) -> Coming<Result<Step, CallFailure>> {
        let (step, asked) = (self.notifier.next(call), Arc::clone(&self.asked));
        Box::pin(async move {
            let step = step.await;
            if let Ok(Step::Send { request }) = &step {
                *lock(&asked) = Some(request.clone());
            }
            step
        })
    }
}

/// A way of requests that keeps what was sent, without secrets, and how it went.
struct Traced<'a> {
    sender: &'a dyn SendRequest,
    redactor: &'a Redactor,
    asked: Arc<Mutex<Option<HttpRequest>>>,
    steps: Arc<Mutex<Vec<(Shown, Trace)>>>,
}

/// Headers and body of a request without secrets.
struct Shown {
    headers: Vec<String>,
    body: String,
}

/// Most bytes of a body that a [`Trial`] shows.
const SHOWN_BYTES: usize = 4096;

impl Shown {
    fn of(request: &OutboundRequest, secrets: &Secrets<'_>, redactor: &Redactor) -> Self {
        let headers = request.headers.iter().map(|(name, value)| {
            if value.is_sensitive() {
                return format!("{name}: {REDACTED}");
            }
            let value = redactor.header(name.as_str(), value.as_bytes());
            format!("{name}: {}", secrets.remove(&value))
        });
        // A secret header's value or a part of the URL may be part of the body, too.
        let body = secrets.remove_bytes(&request.body);
        let mut body = String::from_utf8_lossy(&body).into_owned();
        body.truncate(body.floor_char_boundary(SHOWN_BYTES));
        Self { headers: headers.collect(), body }
    }
}

impl SendRequest for Traced<'_> {
    fn send(&self, request: OutboundRequest) -> Coming<Sent> {
        let shown = match &*lock(&self.asked) {
            Some(asked) => Shown::of(&request, &Secrets::of(asked, self.redactor), self.redactor),
            // No request comes from anywhere but a notifier.
            None => Shown { headers: Vec::new(), body: String::new() },
        };
        let (sent, steps) = (self.sender.send(request), Arc::clone(&self.steps));
        Box::pin(async move {
            let sent = sent.await;
            let step = (shown, sent.trace.clone());
            lock(&steps).push(step);
            sent
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
