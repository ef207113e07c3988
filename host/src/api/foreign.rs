//! Refusal of web pages that reach the API through a browser on this machine.
//!
//! An API without tokens listens on loopback and lets every client in. A web page in a browser on this
//! machine can send requests there, too: by the address, or by a name of its own that resolves to it
//! (DNS rebinding). An API with tokens is safe, since no page knows a token.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::host::Host;
use crate::http::error::ApiError;

/// Refuses requests of web pages if the API has no tokens.
pub(super) async fn keep_out(
    State(host): State<Arc<Host>>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = {
        let in_force = host.in_force();
        let admin = &in_force.config.config.admin;
        // Liveness is no secret, and is always answered.
        let is_open = !admin.tokens.is_empty() || request.uri().path() == "/health/live";
        let scheme = if admin.tls.is_some() { "https://" } else { "http://" };
        if is_open { Ok(()) } else { check(request.headers(), admin.listen, scheme) }
    };
    match refusal {
        Ok(()) => next.run(request).await,
        Err(why) => ApiError::foreign(why).into_response(),
    }
}

/// Checks that a request comes from a client on this machine and from no web page of another origin.
/// `listen` is the address of the API, and `scheme` that of its URLs.
fn check(headers: &HeaderMap, listen: SocketAddr, scheme: &str) -> Result<(), &'static str> {
    let text = |name: header::HeaderName| headers.get_all(name).iter().map(HeaderValue::to_str);
    let hosts: Vec<_> = text(header::HOST).collect();
    let host = match hosts[..] {
        // Every browser sends `Host`; the health checks of some load balancers do not.
        [] => "",
        [Ok(host)] if names_listener(host, listen) => host,
        _ => return Err("`Host` is not the address of this API"),
    };
    for origin in text(header::ORIGIN) {
        let authority = origin.ok().and_then(|origin| origin.strip_prefix(scheme));
        if authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host)) {
            return Err("`Origin` is another site");
        }
    }
    for site in headers.get_all("sec-fetch-site") {
        if !matches!(site.as_bytes(), b"none" | b"same-origin") {
            return Err("`Sec-Fetch-Site` says that the request comes from another site");
        }
    }
    Ok(())
}

/// Returns true if the value of `Host` is a loopback name or address with the listener's port. A client
/// may leave out the port if it names exactly the address on which the API listens.
fn names_listener(host: &str, listen: SocketAddr) -> bool {
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let is_port = |port: &str| {
        port.parse() == Ok(listen.port()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let Ok(address) = address.parse::<std::net::Ipv6Addr>() else { return false };
        let address = IpAddr::V6(address);
        return match port.strip_prefix(':') {
            Some(port) => is_loopback(address) && is_port(port),
            None => port.is_empty() && is_bare(address, listen),
        };
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if name.eq_ignore_ascii_case("localhost") {
        return port.map_or(listen.port() == 80, is_port);
    }
    let Ok(address) = name.parse::<std::net::Ipv4Addr>().map(IpAddr::V4) else { return false };
    port.map_or_else(|| is_bare(address, listen), |port| is_loopback(address) && is_port(port))
}

fn is_bare(address: IpAddr, listen: SocketAddr) -> bool {
    address == listen.ip() || (address.is_loopback() && listen.port() == 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn v4() -> SocketAddr {
        "127.0.0.1:8081".parse().expect("an address")
    }

    #[test]
    fn lets_clients_on_this_machine_in() {
        for lines in [
            &[][..],
            &[("host", "127.0.0.1:8081")],
            &[("host", "127.0.0.1")],
            &[("host", "127.9.9.9:8081")],
            &[("host", "[::1]:8081")],
            &[("host", "LocalHost:8081"), ("sec-fetch-site", "same-origin")],
            &[("host", "localhost:8081"), ("sec-fetch-site", "none")],
            &[("host", "localhost:8081"), ("origin", "http://localhost:8081")],
        ] {
            assert_eq!(check(&headers(lines), v4(), "http://"), Ok(()), "{lines:?}");
        }
        let v6 = "[::1]:8081".parse().expect("an address");
        assert_eq!(check(&headers(&[("host", "[::1]")]), v6, "http://"), Ok(()));
    }

    #[test]
    fn refuses_pages_of_another_origin() {
        for lines in [
            &[("host", "evil.example:8081")][..],
            &[("origin", "http://evil.example")],
            &[("host", "evil.example")],
            &[("host", "localhost.evil.example:8081")],
            &[("host", "localhost:80@evil")],
            &[("host", "localhost:8081@evil")],
            &[("host", "localhost")],
            &[("host", "localhost:")],
            &[("host", "localhost:+8081")],
            &[("host", "localhost:8080")],
            &[("host", "0.0.0.0:8081")],
            &[("host", "192.168.1.1:8081")],
            &[("host", "127.0.0.1:8080")],
            &[("host", "127.0.0.1:")],
            &[("host", "127.0.0.2")],
            &[("host", "2130706433:8081")],
            &[("host", "[::1]")],
            &[("host", "[::]:8081")],
            &[("host", "[::1]x:8081")],
            &[("host", "::1")],
            &[("host", "127.0.0.1:8081"), ("host", "127.0.0.1:8081")],
            &[("host", "127.0.0.1:8081"), ("origin", "http://evil.example")],
            &[("host", "127.0.0.1:8081"), ("origin", "https://127.0.0.1:8081")],
            &[("host", "127.0.0.1:8081"), ("origin", "http://127.0.0.1:3000")],
            &[("host", "127.0.0.1:8081"), ("origin", "http://localhost:8081")],
            &[("host", "127.0.0.1:8081"), ("origin", "null")],
            &[("host", "127.0.0.1:8081"), ("sec-fetch-site", "cross-site")],
            &[("host", "127.0.0.1:8081"), ("sec-fetch-site", "same-site")],
        ] {
            check(&headers(lines), v4(), "http://").expect_err(&format!("{lines:?}"));
        }
    }
}
