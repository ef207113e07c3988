//! A server that plays a part on each connection.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::outbound::connection::Stream;

/// A server on the loopback interface. It ends with the value.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    requests: Requests,
    opened: watch::Receiver<usize>,
    closed: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

type Requests = Arc<Mutex<Vec<String>>>;

/// One connection to a [`Receiver`].
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    requests: Requests,
}

impl Receiver {
    /// Starts a server without TLS that plays on each connection, then closes it.
    pub(super) async fn start<F>(play: impl Fn(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_with(None, play).await
    }

    /// Starts a server with TLS that plays on each connection, then closes it.
    pub(super) async fn start_tls<F>(
        tls: TlsAcceptor,
        play: impl Fn(Wire) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_with(Some(tls), play).await
    }

    async fn start_with<F>(
        tls: Option<TlsAcceptor>,
        play: impl Fn(Wire) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Requests::default();
        let (open, opened) = watch::channel(0);
        let (close, closed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&requests);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                open.send_modify(|count| *count += 1);
                let stream: Box<dyn Stream> = match &tls {
                    None => Box::new(tcp),
                    Some(tls) => match tls.accept(tcp).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => continue,
                    },
                };
                let part = play(Wire { stream, requests: Arc::clone(&log) });
                let close = close.clone();
                connections.spawn(async move {
                    // The client may be gone before the part is played to its end.
                    let _ = part.await;
                    close.send_modify(|count| *count += 1);
                });
            }
        });
        Self { address, requests, opened, closed, _tasks: tasks }
    }

    /// Returns a URL of this server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the requests that have arrived in full.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Returns the number of connections that were accepted.
    pub(super) fn connections(&self) -> usize {
        *self.opened.borrow()
    }

    /// Waits until this number of connections was accepted.
    pub(super) async fn until_opened(&mut self, count: usize) {
        self.opened.wait_for(|opened| *opened >= count).await.expect("a server that runs");
    }

    /// Waits until this number of connections was closed.
    pub(super) async fn until_closed(&mut self, count: usize) {
        self.closed.wait_for(|closed| *closed >= count).await.expect("a server that runs");
    }
}

impl Wire {
    /// Reads a request with its body. Fails at the end of the connection.
    pub(super) async fn request(&mut self) -> io::Result<String> {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&text).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        text.extend(body);
        let text = String::from_utf8_lossy(&text).into_owned();
        self.requests.lock().expect("no panic").push(text.clone());
        Ok(text)
    }

    /// Reads some bytes.
    pub(super) async fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes).await
    }

    /// Writes text.
    pub(super) async fn write(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(text.as_ref()).await?;
        self.stream.flush().await
    }

    /// Writes a short answer.
    pub(super) async fn answer(&mut self, body: &str) -> io::Result<()> {
        let length = body.len();
        self.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")).await
    }

    /// Answers each request with the same text until the client closes the connection.
    pub(super) async fn serve(mut self, body: &str) -> io::Result<()> {
        loop {
            self.request().await?;
            self.answer(body).await?;
        }
    }

    /// Passes all bytes to a server and back.
    pub(super) async fn relay(mut self, server: SocketAddr) -> io::Result<()> {
        let mut onward = TcpStream::connect(server).await?;
        copy_bidirectional(&mut self.stream, &mut onward).await.map(drop)
    }

    /// Reads until the client closes the connection.
    pub(super) async fn wait_for_the_client(mut self) -> io::Result<()> {
        while self.stream.read(&mut [0; 4096]).await? > 0 {}
        Ok(())
    }
}
