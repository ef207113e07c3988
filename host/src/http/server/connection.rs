//! One connection: its TLS handshake if the listener has a certificate, its requests one after the other,
//! under the limits of the listener, and its end.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Counted, Limits,
    responder::{Client, Responder},
    sweep::{HeaderTimer, Sweep},
    timed_stream::TimedStream,
    tls_handshake::{TlsSource, handshake},
};
use crate::{http::request_id, limits::reached::Limit};

/// Size of the read and write buffers of a connection. A larger limit on headers enlarges them.
const BUFFER_BYTES: usize = 64 * 1024;

/// All that the connections of a listener share.
pub(super) struct Connections<R> {
    pub(super) responder: R,
    /// The certificate; none if connections are not encrypted.
    pub(super) tls: Option<Arc<TlsSource>>,
    pub(super) limits: Limits,
    pub(super) counted: Counted,
    pub(super) sweep: Arc<Sweep>,
    /// True once a client has sent a request.
    pub(super) has_asked: Arc<AtomicBool>,
}

impl<R: Responder> Connections<R> {
    /// Returns the same with another responder, for connections of the reserve, which get one answer.
    pub(super) fn of_reserve<S: Responder>(&self, responder: S) -> Connections<S> {
        let second = Duration::from_secs(1);
        let (header_timeout, write_timeout) =
            (self.limits.header_timeout.min(second), self.limits.write_timeout.min(second));
        Connections {
            responder,
            tls: self.tls.clone(),
            limits: Limits { header_timeout, write_timeout, ..self.limits.clone() },
            counted: self.counted.clone(),
            sweep: Arc::clone(&self.sweep),
            has_asked: Arc::default(),
        }
    }

    /// Serves a connection until its end.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        // This also runs if the connection is ended from outside.
        let _open = Open::count(&self.counted.open_connections);
        let deadlines = self.sweep.watch();
        let client = Client { peer, deadlines: Arc::clone(&deadlines) };
        let stream = TimedStream::new(stream, self.limits.write_timeout, Arc::clone(&deadlines));
        match &self.tls {
            None => deadlines.wake(self.serve_client(stream, &client)).await,
            Some(tls) => deadlines.wake(self.serve_encrypted(stream, tls, &client)).await,
        }
    }

    /// Serves a connection after its TLS handshake, for which a client has as much time as for headers.
    async fn serve_encrypted(&self, stream: TimedStream, tls: &TlsSource, client: &Client) {
        match handshake(stream, tls, self.limits.header_timeout, &client.deadlines).await {
            Ok(stream) => self.serve_client(stream, client).await,
            Err(error) => {
                self.counted.failed_handshakes.inc();
                let peer = client.peer.ip().to_canonical();
                tracing::debug!(%peer, %error, "a TLS handshake failed");
            }
        }
    }

    async fn serve_client<S>(&self, stream: S, client: &Client)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let deadlines = &client.deadlines;
        let service = service_fn(|request: Request<Incoming>| {
            if !self.has_asked.load(Ordering::Relaxed) {
                self.has_asked.store(true, Ordering::Relaxed);
            }
            let answer = self.responder.answer(request, client);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let mut connection = http1::Builder::new()
            .timer(HeaderTimer(Arc::clone(deadlines)))
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(self.limits.header_limit_bytes)
            .max_buf_size(self.limits.header_limit_bytes.max(BUFFER_BYTES))
            // A client that closes its side after the request still gets the answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut is_stopping = false;
        let poll = |cx: &mut Context<'_>| {
            loop {
                let polled = Pin::new(&mut connection).poll(cx);
                if polled.is_ready() || is_stopping || !deadlines.is_stopping() {
                    return polled;
                }
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        };
        let Err(error) = std::future::poll_fn(poll).await else { return };
        tracing::debug!(%error, "a connection ended early");
        if is_unread(&error) {
            let address = client.peer.ip().to_canonical();
            self.counted.limits.reached(Limit::UnreadAnswers, address);
        } else if error.is_timeout() {
            let parts = connection.into_parts();
            // An idle connection is closed without an answer, as clients expect.
            if !parts.read_buf.is_empty() {
                say_timeout(parts.io.into_inner()).await;
            }
        }
    }
}

/// Returns whether the write timeout ended a connection.
fn is_unread(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Answers 408 to a client that is slow with its headers, which hyper would drop without an answer.
async fn say_timeout(mut stream: impl AsyncWrite + Unpin) {
    const BODY: &str =
        r#"{"error":{"code":"request_timeout","message":"the headers took too long"}}"#;
    let answer = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nx-request-id: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len(),
        request_id::next(),
    );
    let write = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    // The client may have closed the connection or may not read. The connection ends in any case.
    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
}

/// Counts an open connection until it is dropped.
struct Open(Gauge);

impl Open {
    fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
