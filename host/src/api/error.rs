//! How a request is refused: one JSON form for webhooks and for the API.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Json,
    body::Body,
    http::{Response, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{line_limit::LineLimit, store::StoreError};

/// The body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorText,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorText {
    /// For programs, such as `not_found`.
    code: &'static str,
    /// For people.
    message: String,
    /// Whose rate is exceeded, `integration` or `sender`; absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

impl ErrorBody {
    /// A refusal for programs and people.
    pub fn new(code: &'static str, message: String) -> Self {
        Self { error: ErrorText { code, message, scope: None } }
    }

    /// The same for one who exceeds a rate.
    #[must_use]
    pub fn in_scope(mut self, scope: Option<&'static str>) -> Self {
        self.error.scope = scope;
        self
    }

    /// The refusal as an answer.
    pub fn response(&self, status: StatusCode) -> Response<Body> {
        let mut response = Json(self).into_response();
        *response.status_mut() = status;
        response
    }
}

/// Why the API does not do what it is asked.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, body: ErrorBody::new(code, message.into()) }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401: no token, or another one.
    pub fn unauthorized() -> Self {
        let message = "send one of `admin.tokens` as `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 404: it is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405: not with this method.
    pub fn method_not_allowed() -> Self {
        let message = "the route has other methods; `/openapi.json` lists them";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// 422: what is there can't be gone over to.
    pub fn not_reloaded(problem: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_reloaded", problem)
    }

    /// 409: not as things are.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Busy) {
            let message = "too many searches run at once, try again in a moment";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        }
        static LINES: Mutex<LineLimit> = Mutex::new(LineLimit::new());
        let admitted = LINES.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if let Some(left_out) = admitted {
            tracing::error!(%error, left_out, "the store did not answer");
        }
        let message = "the store cannot be used just now, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = self.body.response(self.status);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, 1.into());
        }
        response
    }
}
