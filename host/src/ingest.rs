//! The way of a webhook: `POST /in/{integration}`.
//!
//! It decides which outcome becomes which answer. What a request means is for the plugin to say,
//! which alert it opens for the store; 200 is answered only after the commit.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    routing::any,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use jiff::Timestamp;
use tocsin_plugin_api::{
    Event,
    outcome::{Outcome, Reply},
};
use tokio::sync::oneshot;
use ulid::Ulid;

use crate::{
    alert::PluginId,
    api::error::ErrorBody,
    call::{CallFailure, CallResult, IncomingRequest},
    events,
    host::Host,
    integration::{Integration, IntegrationState},
    store::{Content, RawRequest, StoreError, Submission},
};

/// The routes of the webhook listener.
pub fn router(host: Arc<Host>) -> Router {
    Router::new().route("/in/{integration}", any(receive)).fallback(nowhere).with_state(host)
}

async fn receive(
    State(host): State<Arc<Host>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response<Body> {
    // What can't be read is no integration's name.
    let Ok(Path(name)) = name else { return nowhere().await };
    let id = Ulid::generate();
    let answer = match admit(&host, &name, &request) {
        Ok(admitted) => judge(host, admitted, id, request).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(reply) => accepted(id, reply),
        Err(refusal) => {
            tracing::info!(request_id = %id, integration = name, status = refusal.status.as_u16(), detail = refusal.detail.as_deref().unwrap_or(&refusal.message), "refused a webhook");
            refusal.answer(id)
        }
    }
}

async fn nowhere() -> Response<Body> {
    let message = "webhooks are posted to /in/{integration}";
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message).answer(Ulid::generate())
}

/// Which integration is meant, and whether it takes anything now.
fn admit(host: &Host, name: &str, request: &Request) -> Result<Admitted, Refusal> {
    let in_force = host.in_force();
    let Some(integration) = in_force.integrations.by_name.get(name).cloned() else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "unknown_integration",
            "there is no such integration",
        ));
    };
    if request.method() != Method::POST {
        let refusal = Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "webhooks are POST requests",
        );
        return Err(refusal.header(header::ALLOW, "POST"));
    }
    if matches!(integration.state, IntegrationState::Disabled) {
        let refusal =
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "disabled", "the integration is disabled");
        return Err(refusal.header(header::ALLOW, ""));
    }
    let server = &in_force.config.config.server;
    let (body_limit_bytes, body_timeout) = (server.body_limit_bytes, server.body_timeout);
    Ok(Admitted { integration, body_limit_bytes, body_timeout })
}

/// What a request is judged by, all of it from one configuration, whatever comes meanwhile.
struct Admitted {
    integration: Arc<Integration>,
    body_limit_bytes: usize,
    body_timeout: Duration,
}

fn disabled() -> Refusal {
    let message = "the integration is disabled";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "disabled", message).header(header::ALLOW, "")
}

/// Reads the request, has the plugin judge it, and commits what came of it.
async fn judge(host: Arc<Host>, admitted: Admitted, id: Ulid, request: Request) -> Answer {
    let received_at = Timestamp::now();
    let Admitted { integration, body_limit_bytes, body_timeout } = admitted;
    let (head, body) = request.into_parts();
    let body = read_body(body, body_limit_bytes, body_timeout).await.inspect_err(|_| {
        integration.metrics.malformed.inc();
    })?;
    let request = Arc::new(IncomingRequest { id, head, body });
    let (answer, answered) = oneshot::channel();
    let plugin = integration.plugin().cloned();
    let desk = Desk { host, integration, plugin, id, received_at, request, answer };
    desk.take();
    // Nobody answers when the host is stopping and the time for it is over.
    answered.await.unwrap_or_else(|_| Err(Refusal::stopping()))
}

/// One request on its way: from the plugin's thread over the store's to the answer, without being
/// held up by the runtime in between.
struct Desk {
    host: Arc<Host>,
    integration: Arc<Integration>,
    plugin: Option<Arc<PluginId>>,
    id: Ulid,
    received_at: Timestamp,
    request: Arc<IncomingRequest>,
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<Option<Reply>, Refusal>;

impl Desk {
    /// Has the plugin judge the request.
    fn take(self) {
        let integration = Arc::clone(&self.integration);
        match &integration.state {
            IntegrationState::Serving { caller, .. } => {
                let request = Arc::clone(&self.request);
                caller.call(request, Box::new(move |result| self.judged(result)));
            }
            IntegrationState::Broken(problem) => {
                self.judged(Err(CallFailure::Unusable(problem.clone())));
            }
            IntegrationState::Disabled => self.say(Err(disabled())),
        }
    }

    /// Has the store commit what the plugin made of it.
    fn judged(self, result: CallResult) {
        match result {
            Ok(Outcome::Events { events, reply }) => match events::bounded(events) {
                Ok(events) => self.events(events, reply),
                Err(reason) => self.failed(reason, SOON),
            },
            Ok(Outcome::Ignored { reason }) => {
                self.commit(Content::Ignored { reason }, |desk| {
                    desk.integration.metrics.ignored.inc();
                    Ok(None)
                });
            }
            Ok(Outcome::Unauthorized { reason }) => self.unauthorized(reason),
            Ok(Outcome::Malformed { kind, reason }) => {
                let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
                let refusal = Refusal::new(status, kind.as_str(), reason.clone());
                self.commit(Content::Malformed { reason }, |desk| {
                    desk.integration.metrics.malformed.inc();
                    Err(refusal)
                });
            }
            Ok(Outcome::Failed { reason }) => self.failed(reason, SOON),
            Ok(_) => self.failed("the plugin gave an outcome that is not known here".into(), SOON),
            Err(failure) => self.failed(failure.to_string(), failure.retry_after()),
        }
    }

    fn events(self, events: Vec<Event>, reply: Option<Reply>) {
        let default_urgency = self.integration.urgency;
        self.commit(Content::Events { events, default_urgency }, |desk| {
            desk.integration.metrics.events.inc();
            Ok(reply)
        });
    }

    /// Counted, never kept: nobody vouches for it.
    fn unauthorized(self, reason: String) {
        self.integration.metrics.unauthorized.inc();
        let message = "the token is not that of this integration";
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "unauthorized", message);
        self.say(Err(refusal.detail(reason)));
    }

    /// The request is kept as it came, if it can be, and the sender asked to try again.
    fn failed(self, reason: String, retry_after: Duration) {
        let raw = raw(&self.request);
        let message = "the integration cannot judge webhooks just now, try again";
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "plugin_failed", message)
            .detail(reason.clone())
            .retry_after(retry_after);
        self.commit(Content::Failed { reason, raw }, |desk| {
            desk.integration.metrics.failed.inc();
            Err(refusal)
        });
    }

    /// Answers once `content` is on disk.
    fn commit(self, content: Content, answer: impl FnOnce(&Self) -> Answer + Send + 'static) {
        let submission = Submission {
            request_id: self.id,
            received_at: self.received_at,
            integration: Arc::clone(&self.integration.name),
            plugin: self.plugin.clone(),
            content,
        };
        let store = Arc::clone(&self.host.store);
        store.commit(submission, Box::new(move |committed| {
            let said = match committed {
                Ok(effects) => {
                    tracing::debug!(request_id = %self.id, integration = &*self.integration.name, ?effects, "committed");
                    answer(&self)
                }
                Err(error) => {
                    self.integration.metrics.failed.inc();
                    Err(Refusal::not_stored(&error))
                }
            };
            self.say(said);
        }));
    }

    fn say(self, said: Answer) {
        // The sender may have hung up.
        let _ = self.answer.send(said);
    }
}

/// When a sender should try again where nothing better is known.
const SOON: Duration = Duration::from_secs(1);

fn raw(request: &IncomingRequest) -> RawRequest {
    let headers: Vec<_> = request
        .head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    RawRequest {
        query: request.head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.join("\n"),
        body: request.body.clone(),
    }
}

async fn read_body(body: Body, limit: usize, timeout: Duration) -> Result<Bytes, Refusal> {
    // Said beforehand, it need not be read at all.
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limit) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(timeout, collect(body, limit)).await {
        Ok(result) => result,
        Err(_) => {
            let message = format!("the body took longer than {timeout:?}");
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message).close())
        }
    }
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
    // Nearly always the whole body is one frame, which is passed on as it is.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = "the body ended early";
            Refusal::new(StatusCode::BAD_REQUEST, "bad_request", message).detail(error.to_string())
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("the body is larger than {limit} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).close()
}

/// The header that every answer carries.
pub const REQUEST_ID: &str = "x-request-id";

fn accepted(id: Ulid, reply: Option<Reply>) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    let (content_type, body) = match reply {
        Some(Reply { content_type, body }) => {
            (HeaderValue::from_str(&content_type).unwrap_or(json), Body::from(body))
        }
        None => (json, Body::from("{}")),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(REQUEST_ID, request_id(id));
    response
}

/// The request's id as a header.
pub fn request_id(id: Ulid) -> HeaderValue {
    let mut text = [0; ulid::ULID_LEN];
    // The alphabet of ULIDs is digits and capitals.
    HeaderValue::from_str(id.array_to_str(&mut text)).unwrap_or(HeaderValue::from_static("?"))
}

/// An answer that is not 200: a public sentence, and for the log what it really was.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Option<String>,
    headers: HeaderMap,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let headers = HeaderMap::new();
        Self { status, code, message: message.into(), detail: None, headers }
    }

    fn stopping() -> Self {
        let message = "the host is stopping, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message).retry_after(SOON)
    }

    fn not_stored(error: &StoreError) -> Self {
        let message = "the webhook could not be stored, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
            .detail(error.to_string())
            .retry_after(SOON)
    }

    fn detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    fn header(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        self
    }

    /// The rest of the request is not read, so the connection can't go on.
    fn close(self) -> Self {
        self.header(header::CONNECTION, "close")
    }

    fn answer(self, id: Ulid) -> Response<Body> {
        let mut response = ErrorBody::new(self.code, self.message).response(self.status);
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(REQUEST_ID, request_id(id));
        response
    }
}
