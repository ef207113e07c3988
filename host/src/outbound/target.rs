//! The receiver that a URL names.

use std::{fmt, net::IpAddr};

use http::Uri;

use crate::problem::Problem;

/// Code of the [`Problem`] for a request that is never sent.
pub(super) const UNUSABLE_REQUEST: &str = "unusable-url";

/// The receiver that a URL names: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// True for `https`.
    pub(super) is_https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

/// Host of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// A name in lower case.
    Name(String),
    /// A literal address.
    Address(IpAddr),
}

impl Target {
    /// Reads the receiver from a URL.
    ///
    /// # Errors
    ///
    /// The URL is not absolute, has another scheme than `http` and `https`, holds a user name, or its
    /// host is neither a name nor an address in the usual form. Resolvers read `127.1`, `0x7f.1` and
    /// `2130706433` as an address; a URL must not hold them.
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(unusable("the URL does not begin with `https://` or `http://`")),
        };
        let authority = uri.authority().ok_or_else(|| unusable("the URL has no host"))?;
        if authority.as_str().contains('@') {
            return Err(unusable("the URL holds a user name or a password")
                .with_hint("send them in the header `authorization`"));
        }
        let host = Host::parse(authority.host())?;
        let port = match (authority.port_u16(), authority.port()) {
            (Some(0), _) | (None, Some(_)) => {
                return Err(unusable("the URL's port is not a number from 1 to 65535"));
            }
            (Some(port), _) => port,
            (None, None) => {
                if is_https {
                    443
                } else {
                    80
                }
            }
        };
        Ok(Self { is_https, host, port })
    }

    /// Returns host and port as a `Host` header has them: without the port that the scheme implies.
    pub(super) fn host_header(&self) -> String {
        let implied = if self.is_https { 443 } else { 80 };
        if self.port == implied { self.host.to_string() } else { self.to_string() }
    }
}

/// Shows host and port, and neither path nor query, which may hold a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address = inside.parse().map_err(|_| unusual(text))?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = text.to_ascii_lowercase();
        let labels = name.strip_suffix('.').unwrap_or(&name).split('.');
        let last = labels.clone().next_back().unwrap_or_default();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if name.len() > 254 || !labels.clone().all(is_label) || is_number(last) {
            return Err(unusual(text));
        }
        Ok(Self::Name(name))
    }

    /// Returns the name, if the host is one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Returns true if a resolver may take a host that ends in this label for an address.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    label.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn unusual(host: &str) -> Problem {
    unusable(format!("`{host}` is neither a host name nor an address in the usual form"))
        .with_hint("write an address as `192.0.2.1` or `[2001:db8::1]`")
}

fn unusable(message: impl Into<String>) -> Problem {
    Problem::new(UNUSABLE_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, Problem> {
        Target::of(&url.parse().expect("a URI"))
    }

    #[test]
    fn reads_names_and_addresses_with_their_ports() {
        for (url, shown, header) in [
            (
                "https://Hooks.Example.com/secret?token=1",
                "hooks.example.com:443",
                "hooks.example.com",
            ),
            ("http://a_b.example:8080", "a_b.example:8080", "a_b.example:8080"),
            ("https://localhost./x", "localhost.:443", "localhost."),
            ("http://192.0.2.1/x", "192.0.2.1:80", "192.0.2.1"),
            ("https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443", "[2001:db8::1]:8443"),
            ("https://0x7f.example/x", "0x7f.example:443", "0x7f.example"),
        ] {
            let target = target(url).expect(url);
            assert_eq!((&*target.to_string(), &*target.host_header()), (shown, header));
        }
    }

    #[test]
    fn refuses_hosts_that_a_resolver_could_take_for_an_address() {
        for host in [
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "1.2.3.4.5",
            "example.0x1f",
            "0x",
            "256.1.1.1",
            "a..b",
            ".",
            "-a%31.com",
            "[::1%25lo]",
        ] {
            let Ok(uri) = format!("https://{host}/").parse::<Uri>() else { continue };
            let problem = Target::of(&uri).expect_err(host);
            assert_eq!(problem.code, UNUSABLE_REQUEST, "{host}");
        }
    }

    #[test]
    fn refuses_other_schemes_user_names_and_impossible_ports() {
        for url in ["ftp://example.com/", "/path", "https://a:b@example.com/", "https://a@b.com/"] {
            assert_eq!(target(url).expect_err(url).code, UNUSABLE_REQUEST);
        }
        for url in ["https://example.com:0/", "https://example.com:65536/", "https://example.com:/"]
        {
            let Ok(uri) = url.parse::<Uri>() else { continue };
            if let Ok(target) = Target::of(&uri) {
                assert_eq!(target.port, 443, "{url}");
            }
        }
    }
}
