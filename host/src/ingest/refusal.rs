//! Answers to webhooks that are refused, each with a public sentence for the sender and a detail for the log.
//!
//! The decision to refuse is made elsewhere in [`ingest`](super).

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use tocsin_plugin_api::notification::{HOPS_HEADER, MOST_HOPS};
use ulid::Ulid;

use crate::{
    http::{error::ErrorBody, request_id},
    limits::rate_limit::{OverRate, Scope},
    store::StoreError,
};

/// `Retry-After` if no better time is known.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// An answer other than 200: a public sentence for the sender, and a detail for the log.
#[derive(Debug)]
pub(crate) struct RequestRefusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    detail: Option<String>,
    /// True if the plugin called the request malformed.
    pub(super) is_malformed: bool,
    scope: Option<&'static str>,
    headers: HeaderMap,
}

impl RequestRefusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let headers = HeaderMap::new();
        let (message, detail, is_malformed) = (message.into(), None, false);
        Self { status, code, message, detail, is_malformed, scope: None, headers }
    }

    /// Creates a 403: the token is wrong, or the integration is unknown and integrations are hidden.
    pub(super) fn unauthorized() -> Self {
        let message = "the token is not that of this integration";
        Self::new(StatusCode::FORBIDDEN, "unauthorized", message)
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        self.code == "unauthorized"
    }

    /// Creates a 508: the news has passed through more Tocsin hosts than any genuine news. No later attempt
    /// changes that.
    pub(super) fn too_many_hops() -> Self {
        let message = format!(
            "the news has passed through more than {MOST_HOPS} Tocsin hosts (`{HOPS_HEADER}`), which notify \
             each other in a loop"
        );
        Self::new(StatusCode::LOOP_DETECTED, "too_many_hops", message)
    }

    /// Creates a 429: an address has sent too many wrong tokens.
    pub(super) fn too_many_wrong_tokens(retry_after: Duration) -> Self {
        let message = "too many wrong tokens come from this address, try again with the right one";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_tokens", message)
            .retry_after(retry_after)
    }

    /// Creates the answer to a request that its plugin found malformed.
    pub(super) fn malformed(status: StatusCode, code: &'static str, reason: String) -> Self {
        Self { is_malformed: true, ..Self::new(status, code, reason) }
    }

    pub(super) fn stopping() -> Self {
        let message = "the host is stopping, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message).retry_after(SOON)
    }

    pub(super) fn not_stored(error: &StoreError) -> Self {
        let message = "the webhook could not be stored, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
            .with_detail(error.to_string())
            .retry_after(SOON)
    }

    /// Creates a 429: the integration or the sender has exceeded its rate.
    pub(super) fn over_rate(over: OverRate) -> Self {
        let scope = over.scope.as_str();
        let message = match over.scope {
            Scope::Integration => "the integration has reached its rate limit, try again",
            Scope::Sender => "this sender has reached its rate limit, try again",
        };
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        Self { scope: Some(scope), ..refusal }.retry_after(over.retry_after)
    }

    pub(super) fn disabled() -> Self {
        let message = "the integration is disabled";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "disabled", message).header(header::ALLOW, "")
    }

    /// Returns the detail for operators, which is the message if there is no better one.
    pub(super) fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.message)
    }

    pub(super) fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    pub(super) fn header(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        self
    }

    /// Closes the connection after the answer, since the rest of the request is not read.
    pub(super) fn close(self) -> Self {
        self.header(header::CONNECTION, "close")
    }

    pub(super) fn answer(self, id: Ulid) -> Response<Full<Bytes>> {
        let mut response =
            ErrorBody::new(self.code, self.message).in_scope(self.scope).response(self.status);
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(request_id::HEADER, request_id::header_value(id));
        response
    }
}
