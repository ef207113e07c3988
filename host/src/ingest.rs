//! The way of a webhook: `POST /in/{integration}`.
//!
//! It decides who is heard. What a request means is for the plugin to say, which answer it gets for
//! `verdict.rs`, which alert it opens for the store; 200 is answered only after the commit.

mod body;
mod desk;
mod refusal;
pub(crate) mod verdict;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, Method, Response, StatusCode, header},
    routing::any,
};
use jiff::Timestamp;
use tocsin_plugin_api::outcome::Reply;
use tokio::sync::oneshot;
use ulid::Ulid;

use self::{body::read_body, desk::Desk, refusal::Refusal, verdict::Answer};
use crate::{
    call::IncomingRequest,
    host::Host,
    integration::{Integration, IntegrationState},
    request_id,
    sender::{Peer, sender},
    store::request::{Content, RequestOutcome, Submission},
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
    let id = request_id::next();
    let answer = match Admitted::find(&host, &name, &request) {
        Ok(admitted) => admitted.hear(host, id, request).await,
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
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message).answer(request_id::next())
}

/// What a request is judged by, all of it from one configuration, whatever comes meanwhile.
struct Admitted {
    integration: Arc<Integration>,
    sender: Option<IpAddr>,
    body_limit_bytes: usize,
    body_timeout: Duration,
}

impl Admitted {
    /// Which integration is meant.
    fn find(host: &Host, name: &str, request: &Request) -> Result<Self, Refusal> {
        let in_force = host.in_force();
        let Some(integration) = in_force.integrations.by_name.get(name).cloned() else {
            let message = "there is no such integration";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_integration", message));
        };
        let server = &in_force.config.config.server;
        let peer = request.extensions().get().map(|Peer(address)| address.ip());
        Ok(Self {
            integration,
            sender: peer.map(|peer| sender(peer, request.headers(), &server.trusted_proxies)),
            body_limit_bytes: server.body_limit_bytes,
            body_timeout: server.body_timeout,
        })
    }

    /// Reads the request, has the plugin judge it, and commits what came of it. What is refused before
    /// any plugin sees it leaves a record, too.
    async fn hear(self, host: Arc<Host>, id: Ulid, request: Request) -> Answer {
        let received_at = Timestamp::now();
        let body = match self.admit(&request) {
            Ok(()) => {
                let (head, body) = request.into_parts();
                let body = read_body(body, self.body_limit_bytes, self.body_timeout).await;
                body.map(|body| IncomingRequest { id, head, body })
            }
            Err(refusal) => Err(refusal),
        };
        let request = match body {
            Ok(request) => Arc::new(request),
            Err(refusal) => {
                self.record_refusal(&host, id, received_at, &refusal).await;
                return Err(refusal);
            }
        };
        let (answer, answered) = oneshot::channel();
        let Self { integration, sender, .. } = self;
        let plugin = integration.plugin().cloned();
        let desk = Desk { host, integration, plugin, id, received_at, sender, request, answer };
        desk.take();
        // Nobody answers when the host is stopping and the time for it is over.
        answered.await.unwrap_or_else(|_| Err(Refusal::stopping()))
    }

    /// Whether it takes anything now, and from this sender.
    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        if request.method() != Method::POST {
            let message = "webhooks are POST requests";
            let refusal =
                Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            return Err(refusal.header(header::ALLOW, "POST"));
        }
        if matches!(self.integration.state, IntegrationState::Disabled) {
            return Err(Refusal::disabled());
        }
        self.integration.rates.check(self.sender).map_err(Refusal::over_rate)
    }

    async fn record_refusal(
        &self,
        host: &Host,
        id: Ulid,
        received_at: Timestamp,
        refusal: &Refusal,
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
            sender: self.sender,
            size_bytes: None,
            plugin_time: None,
            content: Content::Nothing { outcome: RequestOutcome::Refused, reason },
            kept: None,
            replayed_by: None,
        };
        // Whether it could be recorded or not, the answer is the same.
        let _ = host.store.submit(submission).await;
    }
}

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
    response.headers_mut().insert(request_id::HEADER, request_id::header_value(id));
    response
}
