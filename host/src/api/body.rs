//! Bodies of API requests, read completely before a handler runs. A slow or endless body ends in an error
//! and never reaches a handler.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::host::Host;
use crate::http::error::ApiError;

/// The largest body. The longest note fits.
const LARGEST_BYTES: usize = 256 * 1024;

/// Reads the body of a request within `server.body_timeout`.
pub(super) async fn read(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    let timeout = host.in_force().config.config.server.body_timeout;
    let (head, body) = request.into_parts();
    let read = tokio::time::timeout(timeout, Limited::new(body, LARGEST_BYTES).collect()).await;
    match read {
        Ok(Ok(body)) => next.run(Request::from_parts(head, Body::from(body.to_bytes()))).await,
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            ApiError::too_large(LARGEST_BYTES).into_response()
        }
        Ok(Err(_)) => ApiError::bad_request("the body ended early").into_response(),
        Err(_) => ApiError::timeout(timeout).into_response(),
    }
}
