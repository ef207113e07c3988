//! Tries the addresses of the listeners, as [`serve`](super::super::serve) would bind them, without listening.

use std::{io, net::SocketAddr};

use tokio::net::TcpSocket;

use crate::config::{ConfigError, LoadedConfig};

/// Returns an error for each listener whose address cannot be bound. Addresses in `held` belong to the host that
/// runs with this configuration. Without `held`, such a host runs, and its addresses are unknown.
pub(super) fn errors(config: &LoadedConfig, held: Option<&[SocketAddr]>) -> Vec<ConfigError> {
    let (server, admin) = (config.config.server.listen, config.config.admin.listen);
    let listeners = [("server", server), ("admin", admin)];
    let error = |(section, address): (&str, SocketAddr)| {
        let error = bind(address).err()?;
        let is_in_use = error.kind() == io::ErrorKind::AddrInUse;
        let is_ours = held.is_none_or(|held| held.iter().any(|one| is_same_place(*one, address)));
        let hint = format!("stop what uses it, or write another address at `{section}.listen`");
        let error = config
            .document
            .error_at(&[section, "listen"], format!("cannot listen on {address}: {error}"));
        (!(is_in_use && is_ours)).then(|| error.hint(hint))
    };
    listeners.into_iter().filter_map(error).collect()
}

fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// Returns true if a listener on one address keeps another from the other address.
fn is_same_place(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (is_any || one.ip() == other.ip())
}
