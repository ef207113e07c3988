//! Receives webhooks: `POST /in/{integration}`.
//!
//! Code here decides which requests reach a plugin. The plugin decides their meaning, [`verdict`] their
//! answer, and the [`store`](crate::store) the alerts that they open. The sender gets 200 only after the
//! commit.

mod body;
mod guesses;
mod in_flight;
mod path;
mod refusal;
pub(crate) mod verdict;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;
use tocsin_plugin_api::{notification::MOST_HOPS, outcome::Reply};
use tokio::{sync::oneshot, time::Instant};
use ulid::Ulid;

use self::{
    body::{BodyLimits, read_body},
    in_flight::InFlight,
    path::integration_name,
    refusal::RequestRefusal,
    verdict::Answer,
};
use crate::{
    call::IncomingRequest,
    config::Server,
    host::Host,
    http::{
        hops::hops,
        request_id,
        sender::sender,
        server::{Client, Responder},
    },
    integration::{Integration, IntegrationState},
    limits::{body_memory::BodyShare, line_limit::LineLimits, reached::Limit},
    request::{Content, RequestOutcome, Submission, timeline::Moment},
    traces::{ActiveTrace, Head, RequestTrace},
};

/// The answers of the webhook listener.
pub(crate) struct Webhooks(pub(crate) Arc<Host>);

impl Responder for Webhooks {
    type Body = Full<Bytes>;

    fn answer(
        &self,
        request: Request<Incoming>,
        client: &Client,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send {
        // The HTTP stack moves the future of every request, so the future has to be small.
        let request = Box::new(request);
        async move {
            let uri = request.uri().clone();
            match integration_name(uri.path()) {
                Some(name) => receive(&self.0, &name, request, client).await,
                None => nowhere(&self.0),
            }
        }
    }
}

async fn receive(
    host: &Arc<Host>,
    name: &str,
    request: Box<Request<Incoming>>,
    client: &Client,
) -> Response<Full<Bytes>> {
    let id = request_id::next();
    let (integration, terms) = {
        let in_force = host.in_force();
        let integration = in_force.integrations.by_name.get(name).cloned();
        let server = &in_force.config.config.server;
        let terms = Terms::of(server, integration.as_deref(), &request, client);
        (integration, terms)
    };
    let trace = host.traces.begin(request.headers(), || {
        let integration = (Head::bounded(name), integration.is_some());
        trace_head(host, (id, integration), &request, &terms)
    });
    let shared = trace.as_ref().map(ActiveTrace::shared);
    let answer = match &integration {
        Some(integration) => {
            let admitted = Admitted { integration, terms: &terms, trace: shared.as_ref() };
            admitted.hear(host, id, request).await
        }
        None => Err(Box::pin(refuse_unknown(host, &terms, request)).await),
    };
    match answer {
        Ok(reply) => {
            let response = accepted(id, reply);
            if let Some(trace) = trace {
                trace.answered(response.status(), None);
            }
            response
        }
        Err(refusal) => {
            host.metrics.refusals.count(refusal.code);
            let lines = integration.as_ref().map(|integration| &integration.role.rates.lines);
            let lines = lines.unwrap_or(&host.refusal_lines);
            log_refusal(lines, (id, shared.as_deref()), name, &refusal);
            if let Some(trace) = trace {
                trace.answered(refusal.status, Some((refusal.code, refusal.detail().to_owned())));
            }
            refusal.answer(id)
        }
    }
}

/// Returns the facts about a request that its trace begins with.
fn trace_head(
    host: &Host,
    (request_id, integration): (Ulid, (String, bool)),
    request: &Request<Incoming>,
    terms: &Terms<'_>,
) -> Head {
    Head {
        request_id,
        integration,
        method: request.method().clone(),
        version: request.version(),
        user_agent: Head::user_agent(request.headers()),
        sender: terms.sender,
        peer: terms.client.peer,
        is_tls: host.in_force().config.config.server.tls.is_some(),
    }
}

/// Logs a refusal, unless another one of its kind was logged within the last second.
fn log_refusal(
    lines: &LineLimits,
    (id, trace): (Ulid, Option<&RequestTrace>),
    name: &str,
    refusal: &RequestRefusal,
) {
    let Some(left_out) = lines.admit(refusal.code, Instant::now().into_std()) else { return };
    // The name comes from the sender and may have any length.
    let integration: String = name.chars().take(LONGEST_LOGGED_NAME).collect();
    let detail = refusal.detail();
    let (status, code) = (refusal.status.as_u16(), refusal.code);
    tracing::info!(
        event = "webhook_refused",
        request_id = %id,
        trace_id = trace.map(display),
        integration,
        status,
        code,
        detail,
        left_out,
        "refused a webhook",
    );
}

/// Most characters of an integration's name in a log line. Names in a configuration are not longer.
const LONGEST_LOGGED_NAME: usize = 64;

fn nowhere(host: &Host) -> Response<Full<Bytes>> {
    let message = "webhooks are posted to /in/{integration}";
    let refusal = RequestRefusal::new(StatusCode::NOT_FOUND, "not_found", message);
    host.metrics.refusals.count(refusal.code);
    refusal.answer(request_id::next())
}

/// Limits and settings for one request, from the configuration in force when the request arrives.
struct Terms<'c> {
    client: &'c Client,
    sender: IpAddr,
    body: BodyLimits,
    hides_integrations: bool,
}

impl<'c> Terms<'c> {
    fn of(
        server: &Server,
        integration: Option<&Integration>,
        request: &Request<Incoming>,
        client: &'c Client,
    ) -> Self {
        let plugin = integration.and_then(Integration::admitted);
        let largest = plugin.and_then(|plugin| plugin.manifest.largest_body_bytes);
        // With hidden integrations, a plugin's own limit would reveal that the integration exists.
        let largest = largest.filter(|_| !server.hide_integrations).unwrap_or(usize::MAX);
        Self {
            client,
            sender: sender(client.peer.ip(), request.headers(), &server.trusted_proxies),
            body: BodyLimits {
                bytes: server.body_limit_bytes.min(largest),
                timeout: server.body_timeout,
            },
            hides_integrations: server.hide_integrations,
        }
    }

    async fn read(
        &self,
        host: &Host,
        body: &mut Incoming,
    ) -> Result<(Bytes, BodyShare), RequestRefusal> {
        let share = host.body_memory.share(self.sender);
        let body = read_body(body, self.client, self.body, share).await;
        if body.as_ref().is_err_and(|refusal| refusal.code == body::NO_MEMORY) {
            let detail = format_args!("one of {}", self.sender);
            host.metrics.limits.reached(Limit::BodyMemory, detail);
        }
        body
    }
}

/// Refuses a request to an unknown integration. Its body is read like that of a known one, so that the time
/// of the answer does not reveal if the integration exists.
async fn refuse_unknown(
    host: &Host,
    terms: &Terms<'_>,
    mut request: Box<Request<Incoming>>,
) -> RequestRefusal {
    if terms.hides_integrations
        && let Err(refusal) = Admitted::check_form(&request)
    {
        return refusal;
    }
    let body = terms.read(host, request.body_mut()).await;
    drop(request);
    if let Err(refusal) = body {
        return refusal;
    }
    let read_at = Instant::now();
    // The answer to a wrong token waits for a commit, so this one does as well.
    if host.refused_records.check(Ipv4Addr::UNSPECIFIED.into()).is_ok() {
        let _ = host.store.probe().await;
    }
    if terms.hides_integrations {
        return guesses::answer(host, terms.sender, read_at, RequestRefusal::unauthorized()).await;
    }
    guesses::even_out(read_at).await;
    RequestRefusal::new(
        StatusCode::NOT_FOUND,
        "unknown_integration",
        "there is no such integration",
    )
}

/// Handler of a request to a known integration.
struct Admitted<'r> {
    integration: &'r Arc<Integration>,
    terms: &'r Terms<'r>,
    trace: Option<&'r Arc<RequestTrace>>,
}

impl Admitted<'_> {
    /// Reads the request, lets the plugin judge it, and commits the outcome. A request that is refused before
    /// it reaches the plugin leaves a record as well.
    async fn hear(self, host: &Arc<Host>, id: Ulid, mut request: Box<Request<Incoming>>) -> Answer {
        let received_at = Timestamp::now();
        if let Some(trace) = self.trace {
            trace.note(Moment::ReadBegan);
        }
        if self.is_hidden() && request.method() == Method::POST {
            Box::pin(self.record_refusal(host, id, received_at, &RequestRefusal::disabled())).await;
            return Err(Box::pin(refuse_unknown(host, self.terms, request)).await);
        }
        let body = match self.admit(&request) {
            Ok(()) => self.terms.read(host, request.body_mut()).await,
            Err(refusal) => Err(refusal),
        };
        let read_at = Instant::now();
        if let Some(trace) = self.trace {
            trace.read(body.as_ref().ok().map(|(body, _)| body.len()));
        }
        let (body, memory) = match body {
            Ok(read) => read,
            Err(refusal) => {
                drop(request);
                Box::pin(self.record_refusal(host, id, received_at, &refusal)).await;
                return Err(refusal);
            }
        };
        let (head, _) = request.into_parts();
        let request = Arc::new(IncomingRequest { id, head, body });
        let (answer, answered) = oneshot::channel();
        let Terms { sender, hides_integrations, .. } = *self.terms;
        let desk = InFlight {
            host: Arc::clone(host),
            integration: Arc::clone(self.integration),
            plugin: self.integration.plugin().cloned(),
            id,
            received_at,
            sender,
            request,
            _memory: memory,
            answer,
            trace: self.trace.cloned(),
        };
        desk.take();
        // The sender of the answer is dropped if the host stops and its shutdown timeout is over.
        match answered.await.unwrap_or_else(|_| Err(RequestRefusal::stopping())) {
            Err(refusal) if refusal.is_unauthorized() => {
                Err(Box::pin(guesses::answer(host, sender, read_at, refusal)).await)
            }
            // Most plugins find a body malformed before they look for a token in it.
            Err(refusal) if hides_integrations && refusal.is_malformed => {
                let refusal = RequestRefusal::unauthorized();
                Err(Box::pin(guesses::answer(host, sender, read_at, refusal)).await)
            }
            answer => answer,
        }
    }

    /// Returns true if the integration is disabled and must look like an unknown one.
    fn is_hidden(&self) -> bool {
        self.terms.hides_integrations
            && matches!(self.integration.state, IntegrationState::Disabled)
    }

    /// Checks that the integration is enabled, and that the request is within its rates.
    fn admit(&self, request: &Request<Incoming>) -> Result<(), RequestRefusal> {
        if matches!(self.integration.state, IntegrationState::Disabled)
            && request.method() == Method::POST
        {
            return Err(RequestRefusal::disabled());
        }
        Self::check_form(request)?;
        self.integration.role.rates.check(self.terms.sender).map_err(RequestRefusal::over_rate)
    }

    /// Checks method, hops and encoding, which are the same for all integrations.
    fn check_form(request: &Request<Incoming>) -> Result<(), RequestRefusal> {
        if request.method() != Method::POST {
            let message = "webhooks are POST requests";
            let refusal =
                RequestRefusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            return Err(refusal.header(header::ALLOW, "POST"));
        }
        if hops(request.headers()) > MOST_HOPS {
            return Err(RequestRefusal::too_many_hops());
        }
        let encodings = request.headers().get_all(header::CONTENT_ENCODING);
        let is_read = |value: &HeaderValue| {
            let value = value.as_bytes().trim_ascii();
            value.is_empty() || value.eq_ignore_ascii_case(b"identity")
        };
        match encodings.iter().find(|value| !is_read(value)) {
            None => Ok(()),
            Some(encoding) => {
                let encoding = String::from_utf8_lossy(encoding.as_bytes());
                let encoding: String = encoding.chars().take(40).collect();
                let message = format!(
                    "a body with `Content-Encoding: {encoding}` is not accepted, send it without \
                     an encoding"
                );
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Err(RequestRefusal::new(status, "unsupported_encoding", message))
            }
        }
    }

    async fn record_refusal(
        &self,
        host: &Host,
        id: Ulid,
        received_at: Timestamp,
        refusal: &RequestRefusal,
    ) {
        self.integration.metrics.count(RequestOutcome::Refused);
        if !self.integration.records_refusal() {
            return;
        }
        let reason = format!("{}: {}", refusal.code, refusal.message);
        let submission = Submission {
            request_id: id,
            received_at,
            integration: Arc::clone(&self.integration.name),
            plugin: None,
            sender: Some(self.terms.sender),
            size_bytes: None,
            plugin_time: None,
            content: Content::Nothing { outcome: RequestOutcome::Refused, reason },
            kept: None,
            replayed_by: None,
            hops: 0,
            timeline: self.trace.map(|trace| trace.submitted()),
        };
        // The answer is the same if the record could not be stored.
        let committed = host.store.submit(submission).await;
        if let Some(trace) = self.trace {
            trace.committed(RequestOutcome::Refused, committed.as_deref());
        }
    }
}

fn accepted(id: Ulid, reply: Option<Reply>) -> Response<Full<Bytes>> {
    let json = HeaderValue::from_static("application/json");
    let (content_type, body) = match reply {
        Some(Reply { content_type, body }) => {
            (HeaderValue::from_str(&content_type).unwrap_or(json), Bytes::from(body))
        }
        None => (json, Bytes::from_static(b"{}")),
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(request_id::HEADER, request_id::header_value(id));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_future_of_a_request_is_small() {
        fn size<R>(
            _: impl Fn(&'static Webhooks, Request<Incoming>, &'static Client) -> R,
        ) -> usize {
            size_of::<R>()
        }
        let bytes = size(Webhooks::answer);
        assert!(bytes <= 2048, "{bytes} bytes");
    }
}
