//! Listeners and connections, with limits for each client and an orderly end.
//!
//! Answers come from the caller, as a [`Responder`].

mod connection;
mod places;
mod responder;
mod sweep;
mod timed_stream;
mod tls_handshake;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    num::NonZero,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

pub(crate) use self::responder::BodyTimedOut;
pub use self::responder::{Client, Responder};
pub use self::tls_handshake::TlsSource;
use self::{
    connection::Connections,
    places::{AddressPlace, Addresses, Reserve},
    sweep::Sweep,
};
use crate::{
    http::request_id,
    limits::reached::{Limit, LimitsReached},
};

/// Limits on the resources of a client.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest number of open connections.
    pub max_connections: usize,
    /// Timeout for the headers of a request, and for an idle connection.
    pub header_timeout: Duration,
    /// The largest size of a request line with its headers.
    pub header_limit_bytes: usize,
    /// Timeout for a client to read an answer.
    pub write_timeout: Duration,
}

/// The treatment of connections beyond the limit.
pub enum Beyond {
    /// Connections wait in the listener's backlog, and no address has more than its share.
    Wait(AddressLimit),
    /// A small reserve is served by these routes, each connection for a short time.
    Reserve(Router),
}

/// Limit on the connections of one address.
pub struct AddressLimit {
    /// The limit.
    pub most: usize,
    /// Returns true for addresses without a limit, such as those of proxies.
    pub is_exempt: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl AddressLimit {
    /// Returns no limit per address.
    pub fn none() -> Self {
        Self { most: usize::MAX, is_exempt: Box::new(|_| false) }
    }
}

impl fmt::Debug for AddressLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressLimit").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Metrics of a listener.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// The number of open connections.
    pub open_connections: Gauge,
    /// TLS handshakes that failed.
    pub failed_handshakes: Counter,
    /// Counters of limits that were reached.
    pub limits: Arc<LimitsReached>,
}

/// Signal to stop, as its receivers hold it.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Sender of the signal to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Creates a signal to stop with its sender.
pub fn stop_sign() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Sends the signal.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits for the signal. A sender that was dropped counts as the signal.
    pub async fn wait(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// Builds the runtime that serves connections. One processor is left to the store and the plugins: more
/// threads would only wait for each other.
///
/// # Errors
///
/// If the system refuses a thread.
pub fn runtime() -> io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    // tokio panics if the system refuses a thread.
    let runtime = std::panic::catch_unwind(|| {
        runtime::Builder::new_multi_thread()
            .worker_threads((processors - 1).max(1))
            .thread_name("http")
            .thread_keep_alive(FOR_GOOD)
            .enable_all()
            .build()
            // One thread for blocking work, such as a reload, starts now. The system may refuse one later.
            .inspect(|runtime| drop(runtime.spawn_blocking(|| ())))
    });
    runtime.unwrap_or_else(|_| Err(io::Error::other("the system refuses a thread")))
}

/// The largest number of threads for blocking work. They end with the process.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The longest time that a connection of the health reserve is served.
const RESERVE_TIME: Duration = Duration::from_secs(5);
/// Pause after the system refused to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until the signal to stop, and returns when the last request is answered. With `tls`,
/// every connection begins with a handshake.
pub async fn serve<R: Responder>(
    listener: TcpListener,
    responder: R,
    tls: Option<TlsSource>,
    limits: Limits,
    beyond: Beyond,
    counted: Counted,
    mut stop: Stop,
) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
    let sweep = Sweep::new();
    let sweeping = Arc::clone(&sweep);
    let sweeping = tokio::spawn(async move { sweeping.run().await });
    let connections = Connections {
        responder,
        tls: tls.map(Arc::new),
        limits,
        counted: counted.clone(),
        sweep: Arc::clone(&sweep),
        has_asked: Arc::default(),
    };
    let mut entrance = Entrance {
        addresses: Arc::default(),
        reserve: Reserve::default(),
        reached: counted.limits,
        connections: Arc::new(connections),
        places: Arc::clone(&places),
        beyond,
    };
    loop {
        tokio::select! {
            () = entrance.take_one(&listener) => {}
            () = stop.wait() => break,
        }
    }
    drop(listener);
    entrance.reserve.close();
    sweep.stop();
    // Every connection returns its place when it ends. The semaphore is never closed.
    let _ = places.acquire_many(all).await;
    sweeping.abort();
}

/// Admission of connections.
struct Entrance<R> {
    places: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    reserve: Reserve,
    beyond: Beyond,
    connections: Arc<Connections<R>>,
    reached: Arc<LimitsReached>,
}

impl<R: Responder> Entrance<R> {
    /// Accepts one connection and serves or refuses it.
    async fn take_one(&mut self, listener: &TcpListener) {
        let place = match &self.beyond {
            // Connections are accepted only when there is a place. Until then they wait in the kernel.
            Beyond::Wait(_) => self.wait_for_place().await,
            Beyond::Reserve(_) => None,
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                let is_scarce = matches!(
                    error.raw_os_error(),
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
                );
                if !is_scarce {
                    // The client has already closed the connection.
                    return tracing::debug!(%error, "cannot accept a connection");
                }
                self.reached.reached(Limit::Descriptors, error);
                // Other connections end soon and free their descriptors.
                return tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        // An answer is one small write, which must not wait for further data.
        let _ = stream.set_nodelay(true);
        match &self.beyond {
            Beyond::Wait(limit) => {
                let most = if (limit.is_exempt)(peer.ip()) { usize::MAX } else { limit.most };
                match self.addresses.claim(peer.ip(), most) {
                    Some(of_address) => self.serve(stream, peer, place, Some(of_address)),
                    None => {
                        let address = peer.ip().to_canonical();
                        let detail = format_args!("{address} has {most}");
                        self.reached.reached(Limit::ConnectionsPerAddress, detail);
                        // With TLS, an answer would cost a handshake.
                        if self.connections.tls.is_none() {
                            turn_away(&stream);
                        }
                    }
                }
            }
            Beyond::Reserve(routes) => match self.place_and_share(peer.ip()) {
                Some((place, share)) => self.serve(stream, peer, Some(place), Some(share)),
                None => {
                    let most = self.connections.limits.max_connections;
                    let detail = format_args!("{most}, and {} asks", peer.ip().to_canonical());
                    self.reached.reached(Limit::AdminConnections, detail);
                    let connections = Arc::new(self.connections.of_reserve(routes.clone()));
                    let has_asked = Arc::clone(&connections.has_asked);
                    let served = async move { connections.serve(stream, peer).await };
                    let served = tokio::spawn(tokio::time::timeout(RESERVE_TIME, served));
                    self.reserve.take(peer.ip(), served.abort_handle(), has_asked);
                }
            },
        }
    }

    /// Returns a place for a connection, or none if all are taken, or half of them by its address.
    fn place_and_share(&self, address: IpAddr) -> Option<(OwnedSemaphorePermit, AddressPlace)> {
        let half = (self.connections.limits.max_connections / 2).max(1);
        let share = self.addresses.claim(address, half)?;
        Some((Arc::clone(&self.places).try_acquire_owned().ok()?, share))
    }

    async fn wait_for_place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        self.reached.reached(Limit::Connections, self.connections.limits.max_connections);
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
        of_address: Option<AddressPlace>,
    ) {
        let connections = Arc::clone(&self.connections);
        tokio::spawn(async move {
            connections.serve(stream, peer).await;
            drop((place, of_address));
        });
    }
}

/// Refuses a connection with a short answer, which always fits into the socket's buffer.
fn turn_away(stream: &TcpStream) {
    const BODY: &str = r#"{"error":{"code":"too_many_connections","message":"this address has too many connections, try again"}}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nretry-after: 1\r\nx-request-id: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len(),
        request_id::next(),
    );
    // Unread bytes of the request would reset the connection before its client has read the answer.
    let _ = stream.try_read(&mut [0; 4096]);
    // The client may have closed the connection.
    let _ = stream.try_write(answer.as_bytes());
    let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Write);
}
