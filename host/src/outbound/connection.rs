//! One connection to a receiver, and one request at a time on it.
//!
//! No task of its own drives a connection while a request runs: the caller's future does. So nothing is
//! written after that future has ended, and the count of written bytes is final.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONNECTION};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout, timeout_at},
};

use super::{
    ClientSettings, KEPT_BODY, OutboundAnswer, SendFailure, Trace, compression, socket::Socket,
};

/// Most bytes of a body that are read so that the connection can be used again.
const DRAINED_BODY: u64 = 1 << 20;

/// Most bytes of the head of an answer.
const HEAD: usize = 64 << 10;

/// Most header lines of an answer.
const HEADER_LINES: usize = 200;

/// Longest time for which an idle connection is kept. Many servers close theirs after a minute.
const IDLE: Duration = Duration::from_secs(30);

type Driver = http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

/// Bytes to and from a receiver: TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection on which no request runs.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driven,
    socket: Arc<Socket>,
    /// The way in which the connection was made.
    pub(super) trace: Trace,
    /// Longest time for which the connection is kept if no request needs it.
    pub(super) idle: Duration,
}

impl Connection {
    /// Begins HTTP on a stream. Nothing is written yet.
    pub(super) async fn new(
        stream: Box<dyn Stream>,
        socket: Arc<Socket>,
        trace: Trace,
    ) -> hyper::Result<Self> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD)
            .max_headers(HEADER_LINES)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self { sender, driver: Driven(Some(driver)), socket, trace, idle: IDLE })
    }

    /// Waits until the other side closes the connection.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driver.poll_end(cx)
    }

    /// Returns whether another request can be sent.
    pub(super) async fn is_ready(&mut self) -> bool {
        std::future::poll_fn(|cx| {
            let is_open = self.driver.poll_end(cx).is_pending();
            let is_ready = matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())));
            Poll::Ready(is_open && is_ready && self.socket.is_silent())
        })
        .await
    }

    /// Sends a request and reads its answer. Returns the connection, too, if it can be used again.
    pub(super) async fn exchange(
        mut self,
        request: Request<Full<Bytes>>,
        settings: &ClientSettings,
    ) -> (Result<OutboundAnswer, SendFailure>, Option<Self>) {
        match self.answer(request, settings).await {
            Ok((answer, true)) if self.is_ready().await => (Ok(answer), Some(self)),
            Ok((answer, _)) => (Ok(answer), None),
            Err(failure) => (Err(failure), None),
        }
    }

    /// Sends a request and reads its answer, and says whether the whole answer was read.
    async fn answer(
        &mut self,
        request: Request<Full<Bytes>>,
        settings: &ClientSettings,
    ) -> Result<(OutboundAnswer, bool), SendFailure> {
        let response = self.head(request, settings.header_timeout).await?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(SendFailure::BadAnswer("the answer switches to another protocol".into()));
        }
        if let Some(limit) = announced_idle(&head.headers) {
            self.idle = limit.min(IDLE);
        }
        let body = self.body(body, settings.body_timeout).await?;
        let mut answer = OutboundAnswer {
            status: head.status,
            headers: head.headers,
            body: body.kept,
            truncated: body.truncated,
        };
        compression::decode(&mut answer).map_err(SendFailure::BadAnswer)?;
        Ok((answer, body.is_complete && !self.idle.is_zero()))
    }

    async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, SendFailure> {
        let before = self.socket.written();
        let sending = self.sender.send_request(request);
        let result = timeout(limit, self.driver.while_driven(sending)).await;
        let is_unsent = self.socket.written() == before;
        let reason = match result {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) if error.is_parse() && !is_unsent => {
                return Err(SendFailure::BadAnswer(format!(
                    "the answer is not valid HTTP: {}",
                    causes(&error)
                )));
            }
            Ok(Err(error)) => causes(&error),
            Err(_) => format!("no answer within {limit:?}"),
        };
        Err(match is_unsent {
            true => SendFailure::NotSent(format!("{reason}; nothing of the request was sent")),
            false => SendFailure::InDoubt(format!("{reason}; the request, or a part, was sent")),
        })
    }

    async fn body(&mut self, mut body: Incoming, limit: Duration) -> Result<Body, SendFailure> {
        let deadline = Instant::now() + limit;
        let is_huge = body.size_hint().lower() > DRAINED_BODY;
        let (mut kept, mut read) = (Vec::new(), 0_u64);
        let is_complete = loop {
            let truncated = read > KEPT_BODY as u64;
            if truncated && (is_huge || read > DRAINED_BODY) {
                break false;
            }
            let frame = timeout_at(deadline, self.driver.while_driven(body.frame())).await;
            let reason = match frame {
                Ok(None) => break true,
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    read += data.len() as u64;
                    kept.extend_from_slice(&data[..data.len().min(KEPT_BODY - kept.len())]);
                    continue;
                }
                Ok(Some(Err(error))) => causes(&error),
                Err(_) => format!("not complete within {limit:?}"),
            };
            if truncated {
                break false;
            }
            return Err(SendFailure::InDoubt(format!("the answer's body was cut: {reason}")));
        };
        Ok(Body { truncated: read > KEPT_BODY as u64, kept: kept.into(), is_complete })
    }
}

/// The beginning of a body.
struct Body {
    kept: Bytes,
    truncated: bool,
    /// True if the body was read to its end.
    is_complete: bool,
}

/// The side of a [`Connection`] that reads and writes, until it ends.
struct Driven(Option<Driver>);

impl Driven {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(driver) = &mut self.0
            && Pin::new(driver).poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        // An error reaches the future of the request, or ends an idle connection.
        self.0 = None;
        Poll::Ready(())
    }

    /// Runs a future that waits for this connection.
    async fn while_driven<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            let _ = self.poll_end(cx);
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// Returns the time for which the receiver keeps the connection open (`Keep-Alive: timeout=5`), less a
/// second for the way of the next request. Zero if the receiver closes it now.
fn announced_idle(headers: &http::HeaderMap) -> Option<Duration> {
    if headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    {
        return Some(Duration::ZERO);
    }
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(seconds.trim().parse::<u64>().ok()?.saturating_sub(1)))
}

/// Returns the text of an error with those of its causes.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
