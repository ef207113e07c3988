//! The body of a webhook, read whole, up to a limit of bytes and of time.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    http::StatusCode,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::refusal::Refusal;

/// Reads it.
///
/// # Errors
///
/// Where it is too large, too slow, or ends early.
pub(super) async fn read_body(
    body: Body,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, Refusal> {
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
