//! Sends traces to their receiver, some time after the requests were answered.
//!
//! Everything is bounded: the queue, a batch, an attempt and the time for which a batch is tried. If the
//! receiver does not keep up, spans are dropped and counted, and requests notice nothing.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::CONTENT_TYPE};
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    messages::{ExportRequest, Resource, ResourceSpans, Scope, ScopeSpans},
    receiver_answer::Meaning,
    request_trace::Finished,
    spans::{add_spans, number, text},
};
use crate::{
    config::Tracing,
    http::server::Stop,
    limits::line_limit::LineLimit,
    metrics::{Dropped, TraceMetrics},
    outbound::{Client, ClientSettings, NetworkRules, OutboundRequest},
    printable::one_line,
    problem::Problem,
};

/// Most requests in a batch. With all their spans, these are some hundred kilobytes.
const LARGEST_BATCH: usize = 256;
/// Time for which a batch of up to [`LARGEST_BATCH`] requests gathers.
const GATHERING: Duration = Duration::from_millis(200);
/// Pause before the second attempt to send a batch. Each further pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause, unless the receiver asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause that a receiver can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Time after which a batch that still fails is dropped.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// Least time between two log lines of a kind, see [`LineLimit::admit_after`].
const BETWEEN_LINES: Duration = Duration::from_secs(60);
/// Most characters of a receiver's message in a log line.
const LONGEST_MESSAGE: usize = 200;

/// Sender of [traces](Finished) to one receiver.
pub(super) struct Exporter {
    client: Client,
    rules: NetworkRules,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    resource: Resource,
    metrics: Arc<TraceMetrics>,
    random: fastrand::Rng,
    /// Time before which the receiver wants no attempt.
    not_before: Option<Instant>,
    /// True if the last attempt failed.
    is_failing: bool,
    failures: LineLimit,
    rejections: LineLimit,
}

impl Exporter {
    /// Creates the sender for settings; none if they name no receiver.
    ///
    /// # Errors
    ///
    /// If the file of authorities cannot be used.
    pub(super) fn new(
        settings: &Tracing,
        metrics: Arc<TraceMetrics>,
    ) -> Result<Option<Self>, Problem> {
        // The checks of the configuration have refused an endpoint that is no URL.
        let uri = settings.endpoint.as_deref().and_then(|url| url.parse().ok());
        let Some(uri) = uri else { return Ok(None) };
        let client = Client::new(&ClientSettings {
            connect_timeout: settings.timeout,
            tls_timeout: settings.timeout,
            header_timeout: settings.timeout,
            body_timeout: settings.timeout,
            proxy: None,
            ca_pem: settings.ca_pem.clone(),
        })?;
        Ok(Some(Self {
            client,
            rules: NetworkRules::none("tracing"),
            uri,
            headers: headers(settings),
            timeout: settings.timeout,
            resource: resource(&settings.service_name),
            metrics,
            random: fastrand::Rng::new(),
            not_before: None,
            is_failing: false,
            failures: LineLimit::new(),
            rejections: LineLimit::new(),
        }))
    }

    /// Sends what comes through the queue, until the queue is closed and empty. After the signal to stop,
    /// each batch has one attempt.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Finished>, mut stop: Stop) {
        let mut batch = Vec::new();
        loop {
            let taken = tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, LARGEST_BATCH) => taken,
                () = stop.wait(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            if batch.len() < LARGEST_BATCH && timeout(GATHERING, stop.wait()).await.is_ok() {
                queue.close();
            }
            while batch.len() < LARGEST_BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            self.export(&batch, &mut stop).await;
            batch.clear();
        }
    }

    /// Sends a batch, and tries again for a while.
    async fn export(&mut self, batch: &[Finished], stop: &mut Stop) {
        let (body, spans) = self.encode(batch);
        let mut give_up_at = Instant::now() + GIVE_UP_AFTER;
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(at) = self.not_before.take()
                && tokio::time::timeout_at(at, stop.wait()).await.is_ok()
            {
                give_up_at = Instant::now();
            }
            let (reason, wait) = match self.attempt(body.clone()).await {
                Meaning::Accepted { rejected, message } => {
                    return self.accepted(spans, rejected.min(spans), &message);
                }
                Meaning::Retry(reason, asked) => {
                    let jittered = pause.mul_f64(0.5 + self.random.f64() / 2.0);
                    let asked = asked.map(|asked| asked.min(LONGEST_RETRY_AFTER));
                    pause = (2 * pause).min(LONGEST_PAUSE);
                    (reason, Some(asked.unwrap_or(jittered)))
                }
                Meaning::Refused(reason) => (reason, None),
            };
            let next = wait.map(|wait| Instant::now() + wait);
            let is_over = next.is_none_or(|next| next > give_up_at);
            self.not_before = next;
            self.failed(&reason, if is_over { spans } else { 0 });
            if is_over {
                return;
            }
        }
    }

    async fn attempt(&self, body: Bytes) -> Meaning {
        let request = OutboundRequest {
            method: Method::POST,
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            body,
        };
        match timeout(self.timeout, self.client.send(&request, &self.rules)).await {
            Ok(sent) => Meaning::of(sent.result, SystemTime::now()),
            Err(_) => Meaning::Retry(
                format!("the receiver did not answer within {:?}", self.timeout),
                None,
            ),
        }
    }

    fn accepted(&mut self, spans: u64, rejected: u64, message: &str) {
        self.metrics.exported.inc_by(spans - rejected);
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(event = "trace_export_recovered", "traces are exported again");
        }
        if rejected == 0 && message.is_empty() {
            return;
        }
        self.metrics.dropped(Dropped::Rejected, rejected);
        let now = Instant::now().into_std();
        if let Some(left_out) = self.rejections.admit_after(BETWEEN_LINES, now) {
            let message: String = one_line(message).chars().take(LONGEST_MESSAGE).collect();
            tracing::warn!(
                event = "trace_spans_rejected",
                rejected,
                message,
                left_out,
                "the receiver of traces does not accept all spans",
            );
        }
    }

    /// Counts an attempt that failed, and the spans that are dropped with it.
    fn failed(&mut self, reason: &str, dropped: u64) {
        self.metrics.dropped(Dropped::NotExported, dropped);
        self.metrics.failed_exports.inc();
        // The first failure after a success is always logged.
        if !std::mem::replace(&mut self.is_failing, true) {
            self.failures = LineLimit::new();
        }
        let now = Instant::now().into_std();
        if let Some(left_out) = self.failures.admit_after(BETWEEN_LINES, now) {
            tracing::warn!(
                event = "trace_export_failed",
                reason = &*one_line(reason),
                left_out,
                "traces cannot be exported; requests are answered as usual",
            );
        }
    }

    /// Returns a batch in the form of OTLP, and the number of its spans.
    fn encode(&mut self, batch: &[Finished]) -> (Bytes, u64) {
        let mut spans = Vec::new();
        for finished in batch {
            add_spans(finished, &mut self.random, &mut spans);
        }
        let count = spans.len() as u64;
        let (name, version) = (env!("CARGO_PKG_NAME").into(), env!("CARGO_PKG_VERSION").into());
        let scope_spans = ScopeSpans { scope: Some(Scope { name, version }), spans };
        let resource = Some(self.resource.clone());
        let resource_spans = ResourceSpans { resource, scope_spans: vec![scope_spans] };
        let request = ExportRequest { resource_spans: vec![resource_spans] };
        (request.encode_to_vec().into(), count)
    }
}

fn headers(settings: &Tracing) -> HeaderMap {
    let own = settings.headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value.expose()).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    });
    let mut headers: HeaderMap = own.collect();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers
}

/// Describes this host.
fn resource(service_name: &str) -> Resource {
    let attributes = vec![
        text("service.name", service_name),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("host.name", rustix::system::uname().nodename().to_string_lossy()),
        number("process.pid", std::process::id().into()),
    ];
    Resource { attributes }
}
