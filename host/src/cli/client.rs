//! Client of the admin API of a running host.

mod tls;

use std::{fmt, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use serde::{Serialize, de::DeserializeOwned};
use tocsin_plugin_api::Secret;
use ureq::{
    Agent, Body, RequestBuilder,
    http::{Response, StatusCode},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector as _, TcpConnector},
    },
};

use self::tls::TlsConnector;
use super::{Connection, UsageError};
use crate::{
    api::actor,
    config::{AdminToken, ClientConfig, without_line_end},
};

/// Longest time of a request, unless it is known to take longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Client of one [`Host`](crate::host::Host), with its address and token.
pub(super) struct Client {
    agent: Agent,
    base: String,
    token: Option<Secret>,
}

impl Client {
    /// Creates a client of the host that the options or the configuration name.
    pub(super) fn new(connection: &Connection) -> anyhow::Result<Self> {
        Self::with_timeout(connection, TIMEOUT)
    }

    /// Creates a client as [`new`](Self::new) does, for requests that may take longer.
    pub(super) fn with_timeout(connection: &Connection, timeout: Duration) -> anyhow::Result<Self> {
        let (base, token, trusted) = match &connection.url {
            Some(url) => {
                let token = std::env::var("TOCSIN_ADMIN_TOKEN").ok();
                let token = token.map(|token| Secret::new(without_line_end(&token)));
                let base = url.trim_end_matches('/').to_owned();
                (base, token, None)
            }
            None => {
                let config = ClientConfig::read(&connection.config.config)?;
                let address = reachable(config.admin.listen);
                let token = widest(config.admin.tokens).map(|it| it.token);
                match config.admin.tls {
                    None => (format!("http://{address}"), token, None),
                    Some(tls) => {
                        let folder = connection.config.config.parent().unwrap_or(Path::new(""));
                        let trusted = tls::trusting_file(&folder.join(tls.certificate))?;
                        (format!("https://{address}"), token, Some(trusted))
                    }
                }
            }
        };
        let mut config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .proxy(None);
        if let Some(trusted) = trusted {
            let connector = ().chain(TcpConnector::default()).chain(TlsConnector(trusted));
            let agent = Agent::with_parts(config.build(), connector, DefaultResolver::default());
            return Ok(Self { agent, base, token });
        }
        if base.starts_with("https:") {
            config = config.tls_config(tls(connection.ca.as_deref())?);
        } else if connection.ca.is_some() && connection.url.is_some() {
            let message = format!("`--ca` needs a URL of https, and the URL is {base}");
            return Err(UsageError(message).into());
        }
        Ok(Self { agent: config.build().into(), base, token })
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = self.agent.get(format!("{}{path}", self.base));
        self.read(self.authorized(request).call())
    }

    /// Sends a GET request with a query of the values that are present.
    pub(super) fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> anyhow::Result<T> {
        let given = query.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let pairs: Vec<_> = given.map(|(key, value)| format!("{key}={}", escape(value))).collect();
        self.get(&format!("{path}?{}", pairs.join("&")))
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = self.agent.post(format!("{}{path}", self.base));
        self.read(self.authorized(request).send_empty())
    }

    pub(super) fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = self.agent.post(format!("{}{path}", self.base));
        self.read(self.authorized(request).send_json(body))
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request = request.header(actor::USER_HEADER, actor::user());
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> anyhow::Result<T> {
        let mut answer = answer.map_err(|error| Unreachable { base: self.base.clone(), error })?;
        if answer.status().is_success() {
            // A page of long alerts exceeds the default limit of the HTTP library.
            let body = answer.body_mut().with_config().limit(u64::MAX).read_json();
            return body.context("cannot read the host's answer");
        }
        let status = answer.status();
        let body: serde_json::Value = answer.body_mut().read_json().unwrap_or_default();
        match body["error"]["message"].as_str() {
            Some(message) if status == StatusCode::FORBIDDEN => {
                let message = message.replace("; hint: ", "\nhint: ");
                Err(ApiError { status, message }.into())
            }
            Some(message) => Err(ApiError { status, message: message.into() }.into()),
            None => bail!("the host answered {status}"),
        }
    }
}

/// Returns the first of the tokens with the widest scope.
fn widest(tokens: Vec<AdminToken>) -> Option<AdminToken> {
    tokens.into_iter().reduce(|best, next| if next.scope > best.scope { next } else { best })
}

/// Returns the settings of TLS: the authorities of the system are trusted, and those of a file.
fn tls(ca: Option<&Path>) -> anyhow::Result<TlsConfig> {
    let mut authorities: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    if let Some(path) = ca {
        let unusable = |reason: &dyn fmt::Display| {
            UsageError(format!(
                "cannot use the authorities in `{}`: {reason}\nhint: name a file with certificates in PEM format",
                path.display()
            ))
        };
        let pem = fs::read(path).map_err(|error| unusable(&error))?;
        let before = authorities.len();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| unusable(&error))? {
                authorities.push(certificate);
            }
        }
        if authorities.len() == before {
            return Err(unusable(&"it holds no certificate").into());
        }
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&authorities))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// Escapes a value for a query string: all bytes but ASCII letters, digits, `-` and `_`.
fn escape(value: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'_' => char::from(byte).to_string(),
        letter if letter.is_ascii_alphanumeric() => char::from(letter).to_string(),
        other => format!("%{other:02X}"),
    };
    value.bytes().map(escape).collect()
}

/// Error of a host that does not answer.
#[derive(Debug, thiserror::Error)]
#[error("no host answers at {base}: {error}\nhint: {}", self.hint())]
pub(super) struct Unreachable {
    pub(super) base: String,
    error: ureq::Error,
}

impl Unreachable {
    fn hint(&self) -> &'static str {
        // The library wraps the errors of TLS as errors of the connection.
        if self.error.to_string().contains("invalid peer certificate") {
            "name the authority that issued the host's certificate with `--ca`, or leave out the URL: \
             then the certificate of `admin.tls` is trusted"
        } else {
            "is `tocsin serve` running, with the same configuration?"
        }
    }
}

/// Error with which the host answered: an [`ErrorBody`](crate::http::error::ErrorBody).
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    message: String,
}

/// Returns the address at which a listener can be reached: loopback if it listens on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_with_the_widest_scope_is_used() {
        let used = |tokens: &str| {
            let admin: crate::config::Admin =
                toml::from_str(&format!("tokens = [{tokens}]")).unwrap();
            widest(admin.tokens).and_then(|token| token.name)
        };
        let token = |name: &str, scope: &str| {
            format!("{{ name = '{name}', token = 'x', scopes = ['{scope}'] }}")
        };
        let all = [token("a", "read"), token("b", "act"), token("c", "act"), token("d", "admin")];
        assert_eq!(used(&all.join(",")).as_deref(), Some("d"));
        assert_eq!(used(&all[..3].join(",")).as_deref(), Some("b"));
        assert_eq!(used(""), None);
    }
}
