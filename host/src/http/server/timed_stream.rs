//! A TCP stream with a timeout for writes.
//!
//! hyper has none: a client that sends requests and never reads an answer would hold its connection
//! forever.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::sweep::{Activity, Deadlines};

/// Number of bytes after which a client that reads a long answer gets the whole timeout again.
const PROGRESS_BYTES: usize = 16 * 1024;

/// TCP stream that fails if the client does not read for too long.
#[derive(Debug)]
pub(super) struct TimedStream {
    stream: TcpStream,
    timeout: Duration,
    deadlines: Arc<Deadlines>,
    /// True from the first write that had to wait until everything is written. Meanwhile the client has a
    /// limit.
    is_stalled: bool,
    written_bytes: usize,
}

impl TimedStream {
    pub(super) fn new(stream: TcpStream, timeout: Duration, deadlines: Arc<Deadlines>) -> Self {
        Self { stream, timeout, deadlines, is_stalled: false, written_bytes: 0 }
    }

    /// Returns the socket.
    pub(super) fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.written_bytes += bytes;
                if self.written_bytes >= PROGRESS_BYTES {
                    self.go_on();
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => {
                let timeout = self.timeout;
                if !self.is_stalled {
                    self.is_stalled = true;
                    self.deadlines.set(Activity::Reading, timeout);
                }
                if !self.deadlines.is_over(Activity::Reading) {
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

    /// Gives the client the whole timeout again.
    fn go_on(&mut self) {
        self.written_bytes = 0;
        if std::mem::take(&mut self.is_stalled) {
            self.deadlines.lift(Activity::Reading);
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
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Lifts the limit. Called once nothing is left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.go_on();
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
    use crate::http::server::sweep::Sweep;

    async fn pair(timeout: Duration) -> (TimedStream, Arc<Deadlines>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.expect("it listens");
        let sweep = Sweep::new();
        let deadlines = sweep.watch();
        tokio::spawn(async move { sweep.run().await });
        let stream = listener.accept().await.expect("a client").0;
        (TimedStream::new(stream, timeout, Arc::clone(&deadlines)), deadlines, client)
    }

    #[tokio::test]
    async fn a_write_to_a_client_that_reads_nothing_times_out() {
        let (mut stream, deadlines, _client) = pair(Duration::from_millis(100)).await;
        let written = deadlines.wake(stream.write_all(&vec![0; 64 << 20])).await;
        assert_eq!(written.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_gets_everything() {
        // The timeout is longer than any pause of the client and shorter than the whole transfer.
        let (mut stream, deadlines, mut client) = pair(Duration::from_secs(20)).await;
        const WHOLE: usize = 8 << 20;
        let reader = tokio::spawn(async move {
            let (mut read, mut bytes) = (0, vec![0; 512 << 10]);
            while read < WHOLE {
                tokio::time::sleep(Duration::from_millis(20)).await;
                read += client.read(&mut bytes).await.expect("it is open");
            }
        });
        let started = Instant::now();
        deadlines.wake(stream.write_all(&vec![0; WHOLE])).await.expect("it is read");
        stream.flush().await.expect("it is open");
        assert!(!stream.is_stalled, "after {:?}", started.elapsed());
        reader.await.expect("it read everything");
    }
}
