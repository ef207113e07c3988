//! Reads the body of a webhook within limits of size, time and [memory for all bodies](BodyShare).

use std::{pin::pin, time::Duration};

use ::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::refusal::{RequestRefusal, SOON};
use crate::{
    http::server::{BodyTimedOut, Client},
    limits::body_memory::{BodyShare, NoMemory},
};

/// Limits on one body.
#[derive(Clone, Copy)]
pub(super) struct BodyLimits {
    pub(super) bytes: usize,
    pub(super) timeout: Duration,
}

/// Reads a whole body of a client. `share` is empty, and returned with the memory that the body takes.
///
/// # Errors
///
/// If the body is too large, too slow, or ends early, or if there is no memory for it.
pub(super) async fn read_body(
    body: &mut Incoming,
    client: &Client,
    limits: BodyLimits,
    share: BodyShare,
) -> Result<(Bytes, BodyShare), RequestRefusal> {
    let BodyLimits { bytes: limit_bytes, timeout } = limits;
    // A body whose announced length is too large need not be read.
    let announced = body.size_hint().lower();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > limit_bytes {
        return Err(too_large(limit_bytes));
    }
    let collected = pin!(collect(body, announced, limit_bytes, share));
    match client.body_within(timeout, collected).await {
        Ok(result) => result,
        Err(BodyTimedOut) => {
            let message = format!("the body took longer than {timeout:?}");
            Err(RequestRefusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
                .close())
        }
    }
}

async fn collect(
    body: &mut Incoming,
    announced: usize,
    limit: usize,
    mut share: BodyShare,
) -> Result<(Bytes, BodyShare), RequestRefusal> {
    // Nearly every body is one frame, which is passed on without a copy.
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = "the body ended early";
            RequestRefusal::new(StatusCode::BAD_REQUEST, "bad_request", message)
                .with_detail(error.to_string())
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + whole.len() + data.len();
        if length > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() && whole.is_empty() {
            share.grow_to(length).await.map_err(|NoMemory| no_memory())?;
            first = data;
            continue;
        }
        if length > whole.capacity() {
            // Doubles the capacity, so that little is copied. All of it counts.
            let most = if announced == 0 { limit } else { announced.max(length) };
            let capacity = (2 * length).min(most);
            share.grow_to(capacity).await.map_err(|NoMemory| no_memory())?;
            whole.reserve(capacity - whole.len());
        }
        if !first.is_empty() {
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok((if whole.is_empty() { first } else { whole.freeze() }, share))
}

fn too_large(limit: usize) -> RequestRefusal {
    let message = format!("the body is larger than {limit} bytes");
    RequestRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).close()
}

fn no_memory() -> RequestRefusal {
    let message = "too many large requests arrive at once, try again";
    RequestRefusal::new(StatusCode::SERVICE_UNAVAILABLE, NO_MEMORY, message)
        .retry_after(SOON)
        .close()
}

/// Code of a refusal because there is no memory for the body.
pub(super) const NO_MEMORY: &str = "body_memory";
