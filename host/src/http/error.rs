//! JSON body of an error, the same for webhooks and for the admin API.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use http_body_util::Full;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{limits::line_limit::LineLimit, problem::Problem, store::StoreError};

/// JSON body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorText,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorText {
    /// Code for programs, such as `not_found`.
    code: &'static str,
    /// Message for people.
    message: String,
    /// Owner of the rate limit that was exceeded, `integration` or `sender`; absent for other errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

impl ErrorBody {
    /// Creates a body from a code and a message.
    pub fn new(code: &'static str, message: String) -> Self {
        Self { error: ErrorText { code, message, scope: None } }
    }

    /// Sets the owner of the rate limit that was exceeded.
    #[must_use]
    pub fn in_scope(mut self, scope: Option<&'static str>) -> Self {
        self.error.scope = scope;
        self
    }

    /// Returns the answer with this body and status.
    pub fn response(&self, status: StatusCode) -> Response<Full<Bytes>> {
        // Strings can always be written as JSON.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::new(Full::from(json));
        *response.status_mut() = status;
        let content_type = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

/// Code of an error, as an extension of the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

/// Error of the admin API, as it is answered.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    /// `Retry-After` of the answer.
    retry_after: Option<Duration>,
    /// True if the connection has to close because the rest of the request was not read.
    closes: bool,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let body = ErrorBody::new(code, message.into());
        // Another try in a moment may succeed.
        let is_passing = status == StatusCode::SERVICE_UNAVAILABLE;
        let retry_after = is_passing.then_some(Duration::from_secs(1));
        Self { status, body, retry_after, closes: false }
    }

    /// 401: the request comes from a web page of another origin.
    pub(crate) fn foreign(why: &str) -> Self {
        let message = format!(
            "{why}: without `admin.tokens`, the API answers only clients on this machine, and no web pages"
        );
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 408: the body took too long.
    pub(crate) fn timeout(timeout: Duration) -> Self {
        let message = format!("the body took longer than {timeout:?}");
        let error = Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message);
        Self { closes: true, ..error }
    }

    /// 413: the body is too large.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes");
        let error = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        Self { closes: true, ..error }
    }

    /// 429: an address sent too many wrong tokens.
    pub(crate) fn too_many_wrong_tokens(retry_after: Duration) -> Self {
        let message = "too many wrong tokens come from this address, try again with the right one";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_tokens", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 403: the token has another scope. The names of scopes are in backticks.
    pub(crate) fn forbidden(needed: &str, granted: &str) -> Self {
        let message = format!(
            "the route needs the scope {needed}, and the token has {granted}; hint: use a token with the scope \
             {needed}, or add it to the `scopes` of this one in `admin.tokens`"
        );
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 429: an address sent too many requests that its token does not allow.
    pub(crate) fn too_many_forbidden(retry_after: Duration) -> Self {
        let message = "too many requests come from this address that their token does not allow";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_forbidden", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 500: the handler panicked.
    pub(crate) fn panicked() -> Self {
        let message = "the host failed on this request; hint: report it, with the log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "panicked", message)
    }

    /// 503: other clients use all resources.
    pub(crate) fn busy(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    /// 400: the request is invalid.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401: the token is missing or wrong.
    pub fn unauthorized() -> Self {
        let message = "send one of `admin.tokens` as `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 404: not found.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405: the route does not take this method.
    pub fn method_not_allowed() -> Self {
        let message = "the route has other methods; `/openapi.json` lists them";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// 422: the new configuration cannot be applied.
    pub fn not_reloaded(problem: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_reloaded", problem)
    }

    /// 500: no backup could be made.
    pub(crate) fn not_backed_up(problem: &Problem) -> Self {
        let message = problem.one_line();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not_backed_up", message)
    }

    /// 409: the present state does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Busy) {
            return Self::busy("too many searches run at once, try again in a moment");
        }
        static LINES: Mutex<LineLimit> = Mutex::new(LineLimit::new());
        let admitted = LINES.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if let Some(left_out) = admitted {
            tracing::error!(
                event = "store_did_not_answer",
                %error,
                left_out,
                "the store did not answer",
            );
        }
        let message = "the store cannot be used now, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = self.body.response(self.status).map(Body::new);
        response.extensions_mut().insert(ErrorCode(self.body.error.code));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        if self.closes {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}
