//! A TCP stream with a timeout for writes.
//!
//! hyper has none: a client that sends requests and never reads an answer would hold its connection
//! forever.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// Number of bytes after which a client that reads a long answer gets the whole timeout again.
const PROGRESS_BYTES: usize = 16 * 1024;

/// TCP stream that fails if the client does not read for too long.
#[derive(Debug)]
pub(super) struct TimedStream {
    stream: TcpStream,
    timeout: Duration,
    /// Timer from the first write that had to wait until everything is written.
    stalled: Option<Pin<Box<Sleep>>>,
    written_bytes: usize,
}

impl TimedStream {
    pub(super) fn new(stream: TcpStream, timeout: Duration) -> Self {
        Self { stream, timeout, stalled: None, written_bytes: 0 }
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.written_bytes += bytes;
                if self.written_bytes >= PROGRESS_BYTES {
                    (self.stalled, self.written_bytes) = (None, 0);
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => {
                let timeout = self.timeout;
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
                if stalled.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                // The kernel drops its unread bytes, too, when the socket closes.
                let _ = self.stream.set_zero_linger();
                let error = format!("nothing of an answer was read within {timeout:?}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)))
            }
            error => error,
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Stops the timer. Called once nothing is left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (self.stalled, self.written_bytes) = (None, 0);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::Instant,
    };

    use super::*;

    async fn pair(timeout: Duration) -> (TimedStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.expect("it listens");
        (TimedStream::new(listener.accept().await.expect("a client").0, timeout), client)
    }

    #[tokio::test]
    async fn a_write_to_a_client_that_reads_nothing_times_out() {
        let (mut stream, _client) = pair(Duration::from_millis(100)).await;
        let error = stream.write_all(&vec![0; 64 << 20]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_gets_everything() {
        // The timeout is longer than any pause of the client and shorter than the whole transfer.
        let (mut stream, mut client) = pair(Duration::from_secs(20)).await;
        const WHOLE: usize = 8 << 20;
        let reader = tokio::spawn(async move {
            let (mut read, mut bytes) = (0, vec![0; 512 << 10]);
            while read < WHOLE {
                tokio::time::sleep(Duration::from_millis(20)).await;
                read += client.read(&mut bytes).await.expect("it is open");
            }
        });
        let started = Instant::now();
        stream.write_all(&vec![0; WHOLE]).await.expect("it is read");
        stream.flush().await.expect("it is open");
        assert!(stream.stalled.is_none(), "after {:?}", started.elapsed());
        reader.await.expect("it read everything");
    }
}
