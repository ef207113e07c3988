//! Addresses of a receiver, judged before they are dialled.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    SendFailure,
    resolver::Resolve,
    rules::{NetworkRules, Rule},
    target::{Host, Target},
};
use crate::problem::Problem;

/// An address of a receiver, with the [`Rule`] that allows it, or the refusal.
pub(crate) type Judged = (IpAddr, Result<Rule, Problem>);

/// Resolves a receiver's name and judges each of its addresses.
///
/// # Errors
///
/// The name does not resolve.
pub(super) async fn judged(
    target: &Target,
    rules: &NetworkRules,
    resolver: &dyn Resolve,
) -> Result<Vec<Judged>, String> {
    let name = target.host.name();
    let judge = |address| match target.is_https {
        true => (address, rules.judge_host(address, name)),
        false => (address, rules.judge_plain(address, name)),
    };
    Ok(addresses(target, resolver).await?.into_iter().map(judge).collect())
}

/// Returns the addresses that may be dialled, in order.
///
/// # Errors
///
/// No address may be dialled: returns the first refusal.
pub(super) fn allowed(judged: Vec<Judged>) -> Result<Vec<(IpAddr, Rule)>, Problem> {
    let mut refusals = Vec::new();
    let mut allowed = Vec::new();
    for (address, result) in judged {
        match result {
            Ok(rule) => allowed.push((address, rule)),
            Err(problem) => refusals.push(problem),
        }
    }
    match refusals.into_iter().next() {
        Some(refusal) if allowed.is_empty() => Err(refusal),
        _ => Ok(allowed),
    }
}

/// Returns the [`Rule`] for a receiver behind a proxy. The proxy resolves the name and may choose any of
/// its addresses, so that one forbidden address forbids the receiver. A name that only the proxy can
/// resolve is allowed with `https`.
///
/// # Errors
///
/// An address is forbidden, or a name does not resolve and `https` is not used.
pub(super) fn allowed_behind_proxy(
    target: &Target,
    judged: Result<Vec<Judged>, String>,
) -> Result<Rule, SendFailure> {
    let judged = match judged {
        Ok(judged) => judged,
        Err(_) if target.is_https => return Ok(Rule::ResolvedByProxy),
        Err(reason) => return Err(SendFailure::NotSent(reason)),
    };
    let rules: Result<Vec<_>, _> = judged.into_iter().map(|(_, result)| result).collect();
    let first = rules.map_err(SendFailure::Forbidden)?.into_iter().next();
    first.ok_or_else(|| SendFailure::NotSent(format!("`{}` has no address", target.host)))
}

/// Returns the addresses of a receiver.
///
/// # Errors
///
/// The name does not resolve.
pub(super) async fn addresses(
    target: &Target,
    resolver: &dyn Resolve,
) -> Result<Vec<IpAddr>, String> {
    let name = match &target.host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    match resolver.addresses(name).await {
        Ok(addresses) if addresses.is_empty() => Err(format!("`{name}` has no address")),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(format!("cannot resolve `{name}`: {error}")),
    }
}

/// Connects to the first address that accepts. Each address gets an equal share of the time that is
/// left, so that a silent one does not use up all of it.
///
/// # Errors
///
/// No address accepts: the error of the last one.
pub(super) async fn connect(
    addresses: &[IpAddr],
    port: u16,
    deadline: Instant,
) -> io::Result<(usize, TcpStream)> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let address = SocketAddr::new(*address, port);
        failure = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok((at, stream));
            }
            Ok(Err(error)) => io::Error::new(error.kind(), format!("`{address}`: {error}")),
            Err(_) => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("`{address}` does not answer within {share:.1?}"),
            ),
        };
    }
    Err(failure)
}
