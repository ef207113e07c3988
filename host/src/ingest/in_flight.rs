//! A request in flight: passes from the plugin's thread to the store's, which answers it, without waiting for
//! the async runtime in between.

use std::{net::IpAddr, sync::Arc, time::Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;
use ulid::Ulid;

use super::{
    refusal::RequestRefusal,
    verdict::{Answer, Verdict},
};
use crate::{
    alert::PluginId,
    call::{CallFailure, CallResult, IncomingRequest},
    config::Keep,
    host::Host,
    http::hops::hops,
    integration::{Integration, IntegrationState},
    limits::{body_memory::BodyShare, reached::Limit},
    request::{Effect, Kept, RawRequest, RequestOutcome, Share, Submission, timeline::Moment},
    store::StoreError,
    traces::RequestTrace,
};

/// Most effects of a request in its log line.
const LOGGED_EFFECTS: usize = 10;

/// A request in flight, with all that is needed to record and to answer it.
pub(super) struct InFlight {
    pub(super) host: Arc<Host>,
    pub(super) integration: Arc<Integration>,
    pub(super) plugin: Option<Arc<PluginId>>,
    pub(super) id: Ulid,
    pub(super) received_at: Timestamp,
    pub(super) sender: IpAddr,
    pub(super) request: Arc<IncomingRequest>,
    /// Memory of the body, which is given back with the answer: a thread that is stuck in a plugin does not
    /// keep it.
    pub(super) _memory: BodyShare,
    pub(super) answer: oneshot::Sender<Answer>,
    pub(super) trace: Option<Arc<RequestTrace>>,
}

impl InFlight {
    /// Lets the plugin judge the request.
    pub(super) fn take(self) {
        let integration = Arc::clone(&self.integration);
        match &integration.state {
            IntegrationState::Serving { caller, .. } => {
                if let Some(trace) = &self.trace {
                    trace.note(Moment::CallBegan);
                }
                let request = Arc::clone(&self.request);
                caller.call(request, Box::new(move |result| self.judged(result)));
            }
            IntegrationState::Broken(problem) => {
                self.judged(Err(CallFailure::Unusable(problem.one_line())));
            }
            IntegrationState::Disabled => self.say(Err(RequestRefusal::disabled())),
        }
    }

    /// Lets the store commit the outcome.
    fn judged(self, result: CallResult) {
        let judged_at = self.trace.as_ref().map(|_| Instant::now());
        let verdict = Verdict::of(result, &self.integration, self.received_at);
        let outcome = verdict.outcome();
        if let (Some(trace), Some(at)) = (&self.trace, judged_at) {
            let call = (outcome, verdict.failure());
            trace.judged(at, self.plugin.clone(), verdict.plugin_time, call);
        }
        let is_anybodys =
            matches!(outcome, RequestOutcome::Unauthorized | RequestOutcome::Malformed);
        // Records of requests that anybody can send are limited.
        if is_anybodys && !self.integration.records_refusal() {
            self.integration.metrics.count(outcome);
            return self.say(verdict.answer);
        }
        if outcome == RequestOutcome::Unauthorized {
            return self.unauthorized(verdict);
        }
        if outcome == RequestOutcome::Refused {
            let detail = format_args!("integration `{}`", self.integration.name);
            self.host.metrics.limits.reached(Limit::Events, detail);
        }
        let kept = self.kept(outcome);
        let (submission, answer) = self.submission(verdict, kept);
        let store = Arc::clone(&self.host.store);
        store.commit(submission, Box::new(move |committed| {
            self.trace_commit(outcome, &committed);
            let said = match committed {
                Ok(effects) => {
                    let first = effects.get(..LOGGED_EFFECTS).unwrap_or(&effects);
                    tracing::debug!(request_id = %self.id, trace_id = self.trace.as_ref().map(display), integration = &*self.integration.name, effects = ?first, count = effects.len(), "committed");
                    let outcome = match outcome {
                        RequestOutcome::Events => RequestOutcome::of_effects(&effects),
                        outcome => outcome,
                    };
                    self.integration.metrics.count(outcome);
                    answer
                }
                Err(error) => {
                    self.integration.metrics.count(RequestOutcome::Failed);
                    Err(RequestRefusal::not_stored(&error))
                }
            };
            self.say(said);
        }));
    }

    fn unauthorized(self, verdict: Verdict) {
        self.integration.metrics.count(RequestOutcome::Unauthorized);
        let (submission, answer) = self.submission(verdict, None);
        let store = Arc::clone(&self.host.store);
        // The answer is the same if the record could not be stored.
        store.commit(
            submission,
            Box::new(move |committed| {
                self.trace_commit(RequestOutcome::Unauthorized, &committed);
                self.say(answer);
            }),
        );
    }

    fn trace_commit(&self, outcome: RequestOutcome, committed: &Result<Vec<Effect>, StoreError>) {
        if let Some(trace) = &self.trace {
            trace.committed(outcome, committed.as_deref());
        }
    }

    fn submission(&self, verdict: Verdict, kept: Option<Kept>) -> (Submission, Answer) {
        let Verdict { content, answer, plugin_time, .. } = verdict;
        let submission = Submission {
            request_id: self.id,
            received_at: self.received_at,
            integration: Arc::clone(&self.integration.name),
            plugin: self.plugin.clone(),
            sender: Some(self.sender),
            size_bytes: Some(self.request.body.len()),
            plugin_time,
            content,
            kept,
            replayed_by: None,
            hops: hops(&self.request.head.headers),
            timeline: self.trace.as_ref().map(|trace| trace.submitted()),
        };
        (submission, answer)
    }

    /// Returns the request for the store to keep, if [`Keep`] asks for it.
    fn kept(&self, outcome: RequestOutcome) -> Option<Kept> {
        let in_force = self.host.in_force();
        let requests = &in_force.config.config.requests;
        // A request that is refused after the plugin has judged it has too many events. It waits for a
        // plugin or a host that accepts it.
        let waits = matches!(outcome, RequestOutcome::Failed | RequestOutcome::Refused);
        let is_kept = match requests.keep {
            Keep::All => true,
            Keep::Failed => waits || outcome == RequestOutcome::Malformed,
            Keep::None => false,
        };
        if !is_kept || self.request.body.len() > requests.raw_limit_bytes {
            return None;
        }
        if outcome == RequestOutcome::Malformed && !self.integration.keeps_malformed() {
            let detail = format_args!("integration `{}`", self.integration.name);
            self.host.metrics.limits.reached(Limit::Malformed, detail);
            return None;
        }
        let share = match outcome {
            _ if waits => Some((Share::Quarantine, requests.quarantine())),
            RequestOutcome::Malformed => Some((Share::Malformed, requests.malformed())),
            _ => None,
        };
        Some(Kept { raw: raw(&self.request), share })
    }

    fn say(self, said: Answer) {
        // The sender may have hung up.
        let _ = self.answer.send(said);
    }
}

fn raw(request: &IncomingRequest) -> RawRequest {
    let mut headers = Vec::with_capacity(512);
    for (name, value) in &request.head.headers {
        headers.extend_from_slice(name.as_str().as_bytes());
        headers.extend_from_slice(b": ");
        headers.extend_from_slice(value.as_bytes());
        headers.push(b'\n');
    }
    RawRequest {
        query: request.head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.into(),
        body: request.body.clone(),
    }
}
