//! A TCP connection that counts the bytes that were written, below TLS.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A TCP connection and the number of bytes that the kernel has taken for it.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    written: AtomicU64,
}

impl Socket {
    /// Returns the number of bytes that were written. As long as it stays the same, the receiver cannot
    /// have got a part of a request.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Returns whether the receiver has sent nothing, not even the end of the connection. The kernel is
    /// asked, since the runtime may not have heard of it yet.
    pub(super) fn is_silent(&self) -> bool {
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&self.tcp, &mut [0_u8], peek), Err(rustix::io::Errno::AGAIN))
    }

    fn count(&self, result: io::Result<usize>) -> io::Result<usize> {
        result.inspect(|length| {
            self.written.fetch_add(*length as u64, Relaxed);
        })
    }
}

/// The bytes of a [`Socket`].
#[derive(Debug)]
pub(super) struct SocketStream(Arc<Socket>);

impl SocketStream {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self(Arc::new(Socket { tcp, written: AtomicU64::new(0) }))
    }

    pub(super) fn socket(&self) -> Arc<Socket> {
        Arc::clone(&self.0)
    }

    /// Writes as soon as the kernel takes bytes.
    fn poll_written(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.tcp.poll_write_ready(cx))?;
            match write(&self.0.tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(self.0.count(result)),
            }
        }
    }
}

impl AsyncRead for SocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.tcp.poll_read_ready(cx))?;
            match self.0.tcp.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |tcp| tcp.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |tcp| tcp.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&self.0.tcp, Shutdown::Write).map_err(Into::into))
    }
}
