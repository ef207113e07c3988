//! Addresses to which a notifier sends its requests.
//!
//! An address is only checked here. The host resolves it, and decides if its network may be contacted.

use crate::link::LINK_LIMIT_BYTES;

/// An `http` or `https` address with a host, as an operator wrote it.
///
/// ```
/// use tocsin_plugin_kit::endpoint::Endpoint;
///
/// let endpoint = Endpoint::parse("https://hooks.example:8443/in?key=1")?;
/// assert_eq!(endpoint.base(), "https://hooks.example:8443");
/// assert_eq!(endpoint.without_query(), "https://hooks.example:8443/in");
/// assert!(endpoint.has_query());
/// # Ok::<(), &'static str>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    /// Length of scheme, host and port.
    base_bytes: usize,
}

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// The fault and what to do about it. The text does not repeat the address, which may be a secret.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if url.len() > LINK_LIMIT_BYTES {
            return Err("longer than 8 KiB\nhint: give a shorter address");
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has white space or a character that is not ASCII\n\
                        hint: write such a character in its percent form, such as `%20` for a space, \
                        and a host name with an umlaut in its `xn--` form");
        }
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let Some(rest) = rest else {
            return Err("not an address that begins with `https://` or `http://`\n\
                        hint: write it like `https://example.com/hook`");
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        check_authority(authority)?;
        if url.contains('#') {
            return Err(
                "has a fragment, which is never sent\nhint: remove `#` and the text behind it",
            );
        }
        let base_bytes = url.len() - rest.len() + authority.len();
        Ok(Self { url: url.to_owned(), base_bytes })
    }

    /// Returns the whole address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns scheme, host and port.
    pub fn base(&self) -> &str {
        &self.url[..self.base_bytes]
    }

    /// Returns the address without its query.
    pub fn without_query(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// Returns true if the address has a query.
    pub fn has_query(&self) -> bool {
        self.url.contains('?')
    }
}

/// Shows scheme, host and port: the rest may be a secret.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}/...)", self.base())
    }
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    if authority.contains('@') {
        return Err("has a user name or a password in front of the host\n\
                    hint: remove it, and use the options for authentication");
    }
    // A literal IPv6 address has colons between its brackets.
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            (if is_address { address } else { "" }, rest)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err("has no valid host name or IP address\n\
                    hint: write it like `https://example.com/hook`");
    }
    let is_port =
        |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0);
    match port.strip_prefix(':') {
        Some(port) if is_port(port) => Ok(()),
        None if port.is_empty() => Ok(()),
        _ => Err("has a port that is not a number from 1 to 65535\nhint: correct the port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, base, without_query) in [
            ("https://a", "https://a", "https://a"),
            ("http://a:1/b?c=/d?e", "http://a:1", "http://a:1/b"),
            ("https://a_b.example.?x", "https://a_b.example.", "https://a_b.example."),
            ("http://[::1]:9093/", "http://[::1]:9093", "http://[::1]:9093/"),
            ("https://10.0.0.1:443", "https://10.0.0.1:443", "https://10.0.0.1:443"),
        ] {
            let endpoint = Endpoint::parse(url).expect(url);
            assert_eq!((endpoint.url(), endpoint.base()), (url, base));
            assert_eq!(endpoint.without_query(), without_query);
            assert_eq!(endpoint.has_query(), url.contains('?'), "{url}");
        }
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        let long = format!("https://a/{}", "s3cret".repeat(2000));
        for url in [
            "",
            "a",
            "//a/s3cret",
            "ftp://a/s3cret",
            "HTTPS//a/s3cret",
            "https:///s3cret",
            "https://?s3cret",
            "https://user:s3cret@a/",
            "https://a:/s3cret",
            "https://a:0/s3cret",
            "https://a:65536/s3cret",
            "https://a:+1/s3cret",
            "https://[::1/s3cret",
            "https://[s3cret]/",
            "https://[::1]x/s3cret",
            "https://a/s3cret#x",
            "https://a/s3cret x",
            "https://a/s3cret\n",
            "https://ä/s3cret",
            "https://a%s3cret/",
            &long,
        ] {
            let refused = Endpoint::parse(url).expect_err(url);
            assert!(!refused.contains("s3cret") && refused.contains("\nhint: "), "{refused}");
        }
    }

    #[test]
    fn the_path_is_not_shown() {
        let endpoint = Endpoint::parse("https://a/s3cret?s3cret").expect("an address");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(https://a/...)");
    }
}
