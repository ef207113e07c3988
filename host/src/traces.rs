//! Traces of requests for OpenTelemetry: which requests have one, its spans, and their export by OTLP.
//!
//! A trace is made of what a request leaves on its way: moments in its [`Timeline`](crate::request::timeline)
//! and facts in its [`RequestTrace`]. Spans are made of these on the exporter's task only, so that a request
//! pays for little more than the clock. Requests without a trace pay for one look at an empty pointer.
//!
//! The log is elsewhere, in [`log`](crate::log): the crate `tracing` writes its lines, and makes no traces
//! here.

mod exporter;
mod messages;
mod receiver_answer;
mod request_trace;
mod sampling;
mod spans;
mod trace_context;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, StatusCode};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};

use self::exporter::Exporter;
pub(crate) use self::request_trace::{Head, RequestTrace};
use self::{
    request_trace::{Answered, Finished},
    sampling::TraceParent,
    spans::span_count,
    trace_context::SenderContext,
};
use crate::{
    config::Tracing,
    http::server::{Stop, Stopper, stop_sign},
    metrics::{Dropped, TraceMetrics},
    problem::Problem,
};

/// Most requests whose traces wait for their export.
const QUEUE: usize = 4096;

/// Longest time for which a stop of the host waits for the export of what is left.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Traces of the host. There are none until [`configure`](Self::configure) names a receiver.
pub(crate) struct Traces {
    tracer: ArcSwapOption<Tracer>,
    metrics: Arc<TraceMetrics>,
    runtime: Handle,
    /// Tasks that export: that of the present tracer, and those of earlier ones that still have spans.
    exporters: Mutex<Vec<JoinHandle<()>>>,
    stopper: Stopper,
    stop: Stop,
}

/// The way of traces to one receiver, with an [`Exporter`] at its end.
struct Tracer {
    settings: Tracing,
    queue: mpsc::Sender<Finished>,
    metrics: Arc<TraceMetrics>,
}

impl Traces {
    /// Creates traces that have no receiver yet. Exports run in a runtime.
    pub(crate) fn new(runtime: Handle, metrics: Arc<TraceMetrics>) -> Self {
        let (stopper, stop) = stop_sign();
        let (tracer, exporters) = (ArcSwapOption::empty(), Mutex::default());
        Self { tracer, metrics, runtime, exporters, stopper, stop }
    }

    /// Applies settings. Traces that wait go to the receiver of the settings before.
    ///
    /// # Errors
    ///
    /// If the file of authorities cannot be used. The settings before then stay.
    pub(crate) fn configure(&self, settings: &Tracing) -> Result<(), Problem> {
        let present = self.tracer.load();
        if present.as_ref().is_some_and(|tracer| tracer.settings.is_same(settings)) {
            return Ok(());
        }
        let Some(exporter) = Exporter::new(settings, Arc::clone(&self.metrics))? else {
            self.tracer.store(None);
            return Ok(());
        };
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (settings, metrics) = (settings.clone(), Arc::clone(&self.metrics));
        let task = self.runtime.spawn(exporter.run(waiting, self.stop.clone()));
        self.tracer.store(Some(Arc::new(Tracer { settings, queue, metrics })));
        let mut exporters = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        exporters.retain(|task| !task.is_finished());
        exporters.push(task);
        Ok(())
    }

    /// Begins the trace of a request; none if there is no receiver, or the request is not sampled. `head`
    /// is called only for a trace.
    pub(crate) fn begin(
        &self,
        headers: &HeaderMap,
        head: impl FnOnce() -> Head,
    ) -> Option<ActiveTrace> {
        let tracer = self.tracer.load();
        let tracer = tracer.as_ref()?;
        let sender = SenderContext::of(headers);
        let ratio = tracer.settings.sample_ratio;
        let parent = TraceParent::decide(sender, ratio, &mut fastrand::Rng::new())?;
        let trace = Arc::new(RequestTrace::begin(parent, head()));
        Some(ActiveTrace { trace, tracer: Arc::clone(tracer), answered: None })
    }

    /// Exports what is left, and gives up after [`FLUSH_TIMEOUT`].
    pub(crate) async fn flush(&self) {
        self.tracer.store(None);
        self.stopper.stop();
        let exporters =
            std::mem::take(&mut *self.exporters.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            for exporter in exporters {
                // A task that panicked has nothing left.
                let _ = exporter.await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, all).await.is_err() {
            tracing::warn!(
                event = "traces_not_flushed",
                timeout = ?FLUSH_TIMEOUT,
                "gave up on traces: their receiver did not answer in time",
            );
        }
    }
}

/// The [trace](RequestTrace) of a request that is not answered yet. Its spans are exported when the value is dropped, after
/// the answer or because the sender has hung up.
pub(crate) struct ActiveTrace {
    trace: Arc<RequestTrace>,
    tracer: Arc<Tracer>,
    answered: Option<Answered>,
}

impl ActiveTrace {
    /// Returns the trace, for the code on the way of the request.
    pub(crate) fn shared(&self) -> Arc<RequestTrace> {
        Arc::clone(&self.trace)
    }

    /// Ends the trace with the answer. A refusal has a code and a detail for operators.
    pub(crate) fn answered(mut self, status: StatusCode, refusal: Option<(&'static str, String)>) {
        self.answered = Some(Answered { status, refusal });
    }
}

impl Drop for ActiveTrace {
    fn drop(&mut self) {
        let trace = Arc::clone(&self.trace);
        let finished = Finished::now(trace, self.answered.take());
        match self.tracer.queue.try_send(finished) {
            Ok(()) => {}
            Err(TrySendError::Full(lost) | TrySendError::Closed(lost)) => {
                self.tracer.metrics.dropped(Dropped::QueueFull, span_count(&lost));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    fn head() -> Head {
        Head {
            request_id: ulid::Ulid::from(7),
            integration: ("ops".into(), true),
            method: http::Method::POST,
            version: Version::HTTP_11,
            user_agent: None,
            sender: [192, 0, 2, 1].into(),
            peer: ([127, 0, 0, 1], 4000).into(),
            is_tls: false,
        }
    }

    fn traces() -> Traces {
        Traces::new(Handle::current(), Arc::default())
    }

    #[tokio::test]
    async fn without_a_receiver_nothing_is_asked_of_a_request() {
        let traces = traces();
        traces.configure(&Tracing::default()).expect("it is off");
        let begun = traces.begin(&HeaderMap::new(), || unreachable!("no trace, no facts"));
        assert!(begun.is_none());
        traces.flush().await;
    }

    #[tokio::test]
    async fn a_full_queue_drops_whole_traces_and_counts_their_spans() {
        let traces = traces();
        let (queue, mut waiting) = mpsc::channel(1);
        let (settings, metrics) = (Tracing::default(), Arc::clone(&traces.metrics));
        traces.tracer.store(Some(Arc::new(Tracer { settings, queue, metrics })));
        for _ in 0..3 {
            let trace = traces.begin(&HeaderMap::new(), head).expect("a trace");
            let _ = trace.shared().submitted();
            trace.shared().committed(crate::request::RequestOutcome::Ignored, Ok(&[]));
            trace.answered(StatusCode::OK, None);
        }
        assert_eq!(traces.metrics.dropped_so_far(Dropped::QueueFull), 4);
        let first = waiting.try_recv().expect("the first trace waits");
        assert_eq!(first.answered.map(|it| it.status), Some(StatusCode::OK));
        assert!(waiting.try_recv().is_err(), "the others were dropped");
    }

    #[tokio::test]
    async fn a_trace_that_nobody_answers_ends_all_the_same() {
        let traces = traces();
        let (queue, mut waiting) = mpsc::channel(1);
        let (settings, metrics) = (Tracing::default(), Arc::clone(&traces.metrics));
        traces.tracer.store(Some(Arc::new(Tracer { settings, queue, metrics })));
        drop(traces.begin(&HeaderMap::new(), head));
        assert!(waiting.try_recv().expect("a trace").answered.is_none());
    }
}
