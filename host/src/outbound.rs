//! HTTP requests to other servers, with a guard on the addresses that are dialled.
//!
//! A request that fails is not repeated here. One exception is a request of which surely no byte was
//! written, because the server had closed an idle connection: it goes over a new connection.
//!
//! With a proxy, the proxy resolves names and dials. The guard then judges the addresses as they are
//! resolved here, and refuses a name of which one is forbidden. A name that is not known here is left to
//! the proxy's own rules.

mod address;
mod compression;
mod connection;
mod dial;
mod pool;
mod proxy;
mod resolver;
mod rules;
mod socket;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT_ENCODING, HOST, PROXY_AUTHORIZATION, USER_AGENT},
    uri::PathAndQuery,
};
use http_body_util::Full;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use self::{
    connection::{Connection, Stream, causes},
    pool::{Key, Pool},
    proxy::Proxy,
    resolver::{SharedResolver, SystemResolver},
    socket::SocketStream,
    target::{Target, UNUSABLE_REQUEST},
};
pub(crate) use self::{
    dial::Judged,
    resolver::{Addresses as ResolvedAddresses, Resolve},
    rules::NetworkRules,
};
use crate::problem::Problem;

/// Value of `user-agent`, unless the request has one.
const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("tocsin/", env!("CARGO_PKG_VERSION")));

/// Most bytes of an answer's body that are kept.
const KEPT_BODY: usize = 64 << 10;

/// Headers that belong to the connection. The client sets them; those of a request are ignored.
pub(crate) const OF_CONNECTION: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
];

/// Settings of a [`Client`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// Longest time to resolve the name and to connect, through a proxy also to open the tunnel.
    pub connect_timeout: Duration,
    /// Longest time to set up TLS.
    pub tls_timeout: Duration,
    /// Longest time from the start of a request to the end of the answer's headers.
    pub header_timeout: Duration,
    /// Longest time from the end of the headers to the end of the answer's body.
    pub body_timeout: Duration,
    /// URL of an HTTP proxy.
    pub proxy: Option<String>,
    /// Certificates of authorities that are trusted besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl ClientSettings {
    /// Checks the URL of a proxy.
    ///
    /// # Errors
    ///
    /// The URL has another form. The problem does not repeat the URL, which may hold a password.
    pub(crate) fn check_proxy(url: &str) -> Result<(), Problem> {
        Proxy::parse(url).map(drop)
    }

    /// Checks certificates of authorities.
    ///
    /// # Errors
    ///
    /// The text holds no certificate, or one that cannot be read.
    pub(crate) fn check_authorities(pem: &[u8]) -> Result<(), Problem> {
        tls::add_authorities(&mut RootCertStore::empty(), pem)
    }
}

/// Sends requests. Clones share their idle connections.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    settings: ClientSettings,
    proxy: Option<Proxy>,
    tls: Arc<ClientConfig>,
    resolver: SharedResolver,
    pool: Pool,
}

/// A request to another server.
#[derive(Clone, Debug)]
pub(crate) struct OutboundRequest {
    pub method: Method,
    /// Absolute URL.
    pub uri: Uri,
    /// Headers. Those that belong to the connection, such as `host` and `content-length`, are ignored.
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Result of a request, and how it went.
#[derive(Debug)]
pub(crate) struct Sent {
    pub result: Result<OutboundAnswer, SendFailure>,
    pub trace: Trace,
}

/// The way of a request, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Address that was dialled: the receiver's, or the proxy's.
    pub address: Option<SocketAddr>,
    /// The [`Rule`](rules::Rule) that allowed the receiver, as text.
    pub rule: Option<String>,
    /// Version of TLS, such as `TLS 1.3`.
    pub tls: Option<String>,
    /// True if the request went over a connection of an earlier one.
    pub reused: bool,
}

/// Answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct OutboundAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The first 64 KiB of the body, unpacked if it came in gzip.
    pub body: Bytes,
    /// True if the body is longer.
    pub truncated: bool,
}

/// Reason why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SendFailure {
    /// The guard refused the receiver, or the request can never be sent. Nothing was sent.
    Forbidden(Problem),
    /// No byte of the request was written: it can be repeated without doubt.
    NotSent(String),
    /// The request, or a part of it, was written. Nobody knows what the receiver did with it.
    InDoubt(String),
    /// The request was written, and the answer is not usable. Nobody knows what the receiver did with
    /// the request.
    BadAnswer(String),
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(problem) => problem.fmt(f),
            Self::NotSent(reason) | Self::InDoubt(reason) | Self::BadAnswer(reason) => {
                f.write_str(reason)
            }
        }
    }
}

impl Client {
    /// Makes a client without connections.
    ///
    /// # Errors
    ///
    /// The URL of the proxy or the certificates of authorities cannot be used.
    pub(crate) fn new(settings: &ClientSettings) -> Result<Self, Problem> {
        Self::with_resolver(settings, Arc::new(SystemResolver))
    }

    /// Makes a client that resolves names in another way.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub(crate) fn with_resolver(
        settings: &ClientSettings,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, Problem> {
        Ok(Self(Arc::new(Inner {
            proxy: settings.proxy.as_deref().map(Proxy::parse).transpose()?,
            tls: tls::client_config(settings.ca_pem.as_deref())?,
            settings: settings.clone(),
            resolver,
            pool: Pool::default(),
        })))
    }

    /// Sends one request and reads its answer. Redirects are not followed. The rules are applied to the
    /// address that is dialled, on each new connection.
    pub(crate) async fn send(&self, request: &OutboundRequest, rules: &NetworkRules) -> Sent {
        let mut trace = Trace::default();
        let result = self.0.send(request, rules, &mut trace).await;
        Sent { result, trace }
    }

    /// Resolves the receiver of a URL and judges each of its addresses, without connecting.
    ///
    /// # Errors
    ///
    /// `Forbidden` if no request to the URL could ever be sent, `NotSent` if the name does not resolve.
    pub(crate) async fn look_up(
        &self,
        uri: &Uri,
        rules: &NetworkRules,
    ) -> Result<Vec<Judged>, SendFailure> {
        let target = receiver(uri, rules)?;
        let limit = self.0.settings.connect_timeout;
        let judged = timeout(limit, dial::judged(&target, rules, &*self.0.resolver)).await;
        let judged = judged.unwrap_or_else(|_| Err(too_slow(&target, limit)));
        judged.map_err(SendFailure::NotSent)
    }
}

impl Inner {
    async fn send(
        &self,
        request: &OutboundRequest,
        rules: &NetworkRules,
        trace: &mut Trace,
    ) -> Result<OutboundAnswer, SendFailure> {
        if request.method == Method::CONNECT {
            let problem = Problem::new(UNUSABLE_REQUEST, "the method `CONNECT` is not supported");
            return Err(SendFailure::Forbidden(problem));
        }
        let target = receiver(&request.uri, rules)?;
        let key = Key::new(&target, rules);
        if let Some(connection) = self.pool.take(&key).await {
            *trace = Trace { reused: true, ..connection.trace.clone() };
            match self.exchange(&key, connection, request, &target).await {
                // The server closed the idle connection. The request goes over a new one.
                Err(SendFailure::NotSent(_)) => *trace = Trace::default(),
                result => return result,
            }
        }
        let connection = self.open(&target, rules, trace).await?;
        self.exchange(&key, connection, request, &target).await
    }

    async fn exchange(
        &self,
        key: &Key,
        connection: Connection,
        request: &OutboundRequest,
        target: &Target,
    ) -> Result<OutboundAnswer, SendFailure> {
        let request = self.prepared(request, target);
        let (result, connection) = connection.exchange(request, &self.settings).await;
        if let Some(connection) = connection {
            self.pool.put(key.clone(), connection);
        }
        match (&result, self.forwarding_proxy(target)) {
            (Ok(answer), Some(proxy)) if answer.status.as_u16() == 407 => {
                let reason = format!("the proxy `{}` answered 407", proxy.target);
                Err(SendFailure::NotSent(reason))
            }
            _ => result,
        }
    }

    /// Returns the proxy, if it gets the request itself and not a tunnel.
    fn forwarding_proxy(&self, target: &Target) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !target.is_https)
    }

    /// Opens a connection on which a request can be sent. All failures leave the request unsent.
    async fn open(
        &self,
        target: &Target,
        rules: &NetworkRules,
        trace: &mut Trace,
    ) -> Result<Connection, SendFailure> {
        let limit = self.settings.connect_timeout;
        let stream = timeout(limit, self.dial(target, rules, trace)).await;
        let stream =
            stream.unwrap_or_else(|_| Err(SendFailure::NotSent(too_slow(target, limit))))?;
        let socket = stream.socket();
        let stream: Box<dyn Stream> = match target.is_https {
            true => self.with_tls(stream, target, trace).await.map_err(SendFailure::NotSent)?,
            false => Box::new(stream),
        };
        let connection = Connection::new(stream, socket, trace.clone()).await;
        connection.map_err(|error| SendFailure::NotSent(causes(&error)))
    }

    /// Dials the receiver, or the proxy, and opens a tunnel if TLS goes through it.
    async fn dial(
        &self,
        target: &Target,
        rules: &NetworkRules,
        trace: &mut Trace,
    ) -> Result<SocketStream, SendFailure> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let judged = dial::judged(target, rules, &*self.resolver).await;
        let (dialled, addresses, allowed_by) = match &self.proxy {
            None => {
                let judged = judged.map_err(SendFailure::NotSent)?;
                let allowed = dial::allowed(judged).map_err(SendFailure::Forbidden)?;
                let (addresses, rules): (Vec<_>, Vec<_>) = allowed.into_iter().unzip();
                (target, addresses, rules)
            }
            Some(proxy) => {
                let rule = dial::allowed_behind_proxy(target, judged)?;
                let addresses = dial::addresses(&proxy.target, &*self.resolver).await;
                let addresses = addresses.map_err(SendFailure::NotSent)?;
                let rules = vec![rule; addresses.len()];
                (&proxy.target, addresses, rules)
            }
        };
        let connected = dial::connect(&addresses, dialled.port, deadline).await;
        let (at, stream) = connected.map_err(|error| {
            SendFailure::NotSent(format!("cannot connect to `{dialled}`: {error}"))
        })?;
        trace.address = Some(SocketAddr::new(addresses[at], dialled.port));
        trace.rule = Some(allowed_by[at].to_string());
        let mut stream = SocketStream::new(stream);
        if let Some(proxy) = self.proxy.as_ref().filter(|_| target.is_https) {
            proxy.tunnel(&mut stream, target).await.map_err(SendFailure::NotSent)?;
        }
        Ok(stream)
    }

    async fn with_tls(
        &self,
        stream: SocketStream,
        target: &Target,
        trace: &mut Trace,
    ) -> Result<Box<dyn Stream>, String> {
        let limit = self.settings.tls_timeout;
        let name = tls::server_name(target).map_err(|error| error.to_string())?;
        let connecting = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
        match timeout(limit, connecting).await {
            Ok(Ok(stream)) => {
                trace.tls = Some(tls::version(stream.get_ref().1.protocol_version()));
                Ok(Box::new(stream))
            }
            Ok(Err(error)) => Err(format!("no TLS with `{target}`: {}", causes(&error))),
            Err(_) => Err(format!("no TLS with `{target}` within {limit:?}")),
        }
    }

    /// Makes the request as it is written.
    fn prepared(&self, request: &OutboundRequest, target: &Target) -> Request<Full<Bytes>> {
        let proxy = self.forwarding_proxy(target);
        let path = request.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut headers = request.headers.clone();
        for name in OF_CONNECTION {
            headers.remove(*name);
        }
        if let Ok(host) = HeaderValue::try_from(target.host_header()) {
            headers.insert(HOST, host);
        }
        headers.entry(USER_AGENT).or_insert(USER_AGENT_VALUE);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(value) = proxy.and_then(|proxy| proxy.authorization.clone()) {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        let mut prepared = Request::new(Full::new(request.body.clone()));
        *prepared.method_mut() = request.method.clone();
        *prepared.uri_mut() = if proxy.is_some() { request.uri.clone() } else { path.into() };
        *prepared.headers_mut() = headers;
        prepared
    }
}

/// Checks that a URL names a receiver, whatever its address.
///
/// # Errors
///
/// The URL has another form than requests need. The problem repeats at most its host.
pub(crate) fn check_receiver(uri: &Uri) -> Result<(), Problem> {
    Target::of(uri).map(drop)
}

/// Reads the receiver from a URL, and refuses those to which no request is ever sent.
fn receiver(uri: &Uri, rules: &NetworkRules) -> Result<Target, SendFailure> {
    let target = Target::of(uri).map_err(SendFailure::Forbidden)?;
    if !target.is_https {
        rules.judge_http().map_err(SendFailure::Forbidden)?;
    }
    Ok(target)
}

fn too_slow(target: &Target, limit: Duration) -> String {
    format!("no connection to `{target}` within {limit:?}")
}
