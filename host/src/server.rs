//! Listeners and connections: limits on what a client may take, and an orderly end.
//!
//! It knows HTTP, not what is asked: that is for the service it is given.

use std::{io, net::SocketAddr, num::NonZero, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{config::Server, request_id, sender::Peer};

/// What a client may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the listener's backlog.
    pub max_connections: usize,
    /// For the headers of a request, and for an idle connection.
    pub header_timeout: Duration,
    /// For the request line with its headers.
    pub header_limit_bytes: usize,
}

impl From<&Server> for Limits {
    fn from(server: &Server) -> Self {
        Self {
            max_connections: server.max_connections,
            header_timeout: server.header_timeout,
            header_limit_bytes: server.header_limit_bytes,
        }
    }
}

/// The sign for everything that runs to come to an end.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Who gives the sign.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// A sign that was not given yet, and who gives it.
pub fn stop_sign() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Gives the sign.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits for the sign. Whoever could give it may have gone, which is a sign, too.
    pub async fn wait(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// The runtime that connections are served in. One processor is left to the store and the plugins:
/// with more threads, all of them only take turns.
///
/// # Errors
///
/// Where the system gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    runtime::Builder::new_multi_thread()
        .worker_threads((processors - 1).max(1))
        .thread_name("http")
        .enable_all()
        .build()
}

/// Serves connections until the sign to stop, and returns when the last request is answered.
pub async fn serve(
    listener: TcpListener,
    service: Router,
    limits: Limits,
    open_connections: Gauge,
    mut stop: Stop,
) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let connections = Arc::new(Connections { service, limits, open: open_connections });
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stop.wait() => break,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let (connections, stop) = (Arc::clone(&connections), stop.clone());
                tokio::spawn(async move {
                    connections.serve(stream, peer, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: others are given back soon.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(connections.limits.max_connections).unwrap_or(u32::MAX);
    // Every connection gives its place back when it ends. The semaphore is never closed.
    let _ = places.acquire_many(all).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // Not accepted before there is a place: what waits, waits in the kernel.
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // An answer is one small write.
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

struct Connections {
    service: Router,
    limits: Limits,
    open: Gauge,
}

impl Connections {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, stop: Stop) {
        self.open.inc();
        self.serve_counted(stream, peer, stop).await;
        self.open.dec();
    }

    async fn serve_counted(&self, stream: TcpStream, peer: SocketAddr, mut stop: Stop) {
        let routes = TowerToHyperService::new(self.service.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            routes.call(request)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(self.limits.header_limit_bytes)
            .serve_connection(TokioIo::new(stream), service);
        let mut stopped = pin!(stop.wait());
        let mut is_stopping = false;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut connection => break result,
                () = &mut stopped, if !is_stopping => {
                    is_stopping = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let Err(error) = result else { return };
        tracing::debug!(%error, "a connection ended early");
        if error.is_timeout() {
            let parts = connection.into_parts();
            // An idle connection is closed without a word, as clients expect it.
            if !parts.read_buf.is_empty() {
                say_timeout(parts.io.into_inner()).await;
            }
        }
    }
}

/// hyper gives up a client that is slow with its headers without telling it.
async fn say_timeout(mut stream: TcpStream) {
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
    // The client may have gone, or not read: it is given up either way.
    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
}
