//! The TLS handshake of a connection, with a timeout.
//!
//! Each handshake runs in the task of its own connection, so that no client waits for the handshake of
//! another.

use std::{fmt, io, pin::pin, sync::Arc, task::Poll, time::Duration};

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    sweep::{Activity, Deadlines},
    timed_stream::TimedStream,
};
use crate::http::request_id;

/// Source of the TLS settings for each new connection. A renewed certificate is in the next ones.
pub struct TlsSource(Box<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>);

impl TlsSource {
    /// Creates a source that asks a function.
    pub(crate) fn new(ask: impl Fn() -> Option<Arc<ServerConfig>> + Send + Sync + 'static) -> Self {
        Self(Box::new(ask))
    }
}

impl fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSource").finish_non_exhaustive()
    }
}

/// The first byte of every TLS connection: the type of a handshake record.
const HANDSHAKE: u8 = 0x16;

/// Makes the handshake of a connection.
///
/// # Errors
///
/// If the client does not speak TLS or ends the handshake, the timeout is over, or the listener stops.
pub(super) async fn handshake(
    stream: TimedStream,
    tls: &TlsSource,
    timeout: Duration,
    deadlines: &Deadlines,
) -> io::Result<TlsStream<TimedStream>> {
    deadlines.set(Activity::Headers, timeout);
    let accepted = {
        let mut accept = pin!(accept(stream, tls));
        let poll = |cx: &mut std::task::Context<'_>| match accept.as_mut().poll(cx) {
            Poll::Ready(accepted) => Poll::Ready(accepted),
            Poll::Pending if deadlines.is_over(Activity::Headers) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")))
            }
            Poll::Pending if deadlines.is_stopping() => {
                Poll::Ready(Err(io::Error::other("the listener stops")))
            }
            Poll::Pending => Poll::Pending,
        };
        std::future::poll_fn(poll).await
    };
    deadlines.lift(Activity::Headers);
    accepted
}

async fn accept(stream: TimedStream, tls: &TlsSource) -> io::Result<TlsStream<TimedStream>> {
    let mut first = [0];
    if stream.get_ref().peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first != [HANDSHAKE] {
        say_tls(stream).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"));
    }
    let config = (tls.0)().ok_or_else(|| io::Error::other("there is no certificate"))?;
    TlsAcceptor::from(config).accept(stream).await
}

/// Answers a client that sends HTTP without TLS, so that its user learns why nothing works.
async fn say_tls(mut stream: TimedStream) -> io::Result<()> {
    const BODY: &str =
        r#"{"error":{"code":"tls_required","message":"this listener speaks TLS, use https://"}}"#;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nx-request-id: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len(),
        request_id::next(),
    );
    // Unread bytes of the request would reset the connection before its client has read the answer.
    let _ = stream.get_ref().try_read(&mut [0; 4096]);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
