//! The two listeners: webhooks and the admin API.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};

use crate::{
    api,
    config::{Config, Listener, Tls},
    host::Host,
    http::{
        sender::is_proxy,
        server::{self, AddressLimit, Beyond, Counted, Limits, Stop, TlsSource},
    },
    ingest::Webhooks,
};

/// The number of connections that the system keeps until they are accepted. The system of a sender
/// beyond that tries again after a second, which may be longer than the sender waits.
const BACKLOG: u32 = 4096;

/// Bound listeners. Connections wait in the system until [`serve`](Self::serve) accepts them.
pub(super) struct Listeners {
    webhooks: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    /// Binds both listeners and tells the host their addresses.
    ///
    /// # Errors
    ///
    /// If an address is in use, or does not belong to this machine.
    pub(super) fn bind(host: &Host) -> anyhow::Result<Self> {
        let (webhooks, admin) = {
            let in_force = host.in_force();
            let config = &in_force.config.config;
            (config.server.listen, config.admin.listen)
        };
        let webhooks = bind("server.listen", webhooks)?;
        let admin = bind("admin.listen", admin)?;
        host.set_addresses(webhooks.local_addr()?, admin.local_addr()?);
        Ok(Self { webhooks, admin })
    }

    /// Serves webhooks until `stop` and the admin API until `admin_stop`. Each task ends once its
    /// connections are closed.
    pub(super) fn serve(
        self,
        host: &Arc<Host>,
        stop: Stop,
        admin_stop: Stop,
    ) -> (JoinHandle<()>, JoinHandle<()>) {
        let (limits, admin_connections, per_address) = {
            let in_force = host.in_force();
            let (server, admin) = (&in_force.config.config.server, &in_force.config.config.admin);
            let limits = Limits {
                max_connections: host.fewer_connections.unwrap_or(server.max_connections),
                header_timeout: server.header_timeout,
                header_limit_bytes: server.header_limit_bytes,
                write_timeout: server.write_timeout,
            };
            (limits, admin.max_connections, server.connections_per_address())
        };
        let counted = |listener: Listener| Counted {
            open_connections: match listener {
                Listener::Server => host.metrics.connections.clone(),
                Listener::Admin => host.metrics.admin_connections.clone(),
            },
            failed_handshakes: host.metrics.tls.failed_handshakes(listener.section()),
            limits: Arc::clone(&host.metrics.limits),
        };
        let admin = server::serve(
            self.admin,
            api::router(Arc::clone(host)),
            tls_source(host, |config| config.admin.tls.as_ref()),
            Limits { max_connections: admin_connections, ..limits.clone() },
            Beyond::Reserve(api::health_router(Arc::clone(host))),
            counted(Listener::Admin),
            admin_stop,
        );
        let proxies = Arc::clone(host);
        let webhooks = server::serve(
            self.webhooks,
            Webhooks(Arc::clone(host)),
            tls_source(host, |config| config.server.tls.as_ref()),
            limits,
            Beyond::Wait(AddressLimit {
                most: per_address,
                is_exempt: Box::new(move |address| {
                    let in_force = proxies.in_force();
                    is_proxy(address, &in_force.config.config.server.trusted_proxies)
                }),
            }),
            counted(Listener::Server),
            stop,
        );
        (tokio::spawn(webhooks), tokio::spawn(admin))
    }
}

/// Returns the TLS settings in force of a listener, if it speaks TLS.
fn tls_source(host: &Arc<Host>, tls: fn(&Config) -> Option<&Tls>) -> Option<TlsSource> {
    tls(&host.in_force().config.config)?;
    let host = Arc::clone(host);
    Some(TlsSource::new(move || {
        let in_force = host.in_force();
        let pair = tls(&in_force.config.config)?.pair.as_ref()?;
        Some(Arc::clone(&pair.config))
    }))
}

fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address).with_context(|| {
        format!(
            "cannot listen on {address}\nhint: stop what uses it, or write another address at `{key}`"
        )
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
