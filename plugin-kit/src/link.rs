//! Links that an alert may show.
//!
//! People click on the link of an alert while something is on fire. This module therefore accepts a
//! link as it was sent or refuses it; it repairs and resolves nothing.

/// Length in bytes of the longest link that is accepted. RFC 9110 (section 4.1) asks browsers and
/// servers to support 8,000; a longer link may lead nowhere.
pub const LINK_LIMIT_BYTES: usize = 8 * 1024;

/// Returns whether a text is an address that a browser opens as a web page: `http` or `https` with
/// a host, no white space or control characters, at most [`LINK_LIMIT_BYTES`] long.
///
/// ```
/// use tocsin_plugin_kit::link::is_web_address;
///
/// assert!(is_web_address("https://grafana.example/d/1?from=now-1h"));
/// assert!(!is_web_address("javascript:alert(1)"));
/// assert!(!is_web_address("/d/1"));
/// ```
pub fn is_web_address(link: &str) -> bool {
    let rest = link.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    rest.is_some_and(|(_, rest)| rest.starts_with(|first| !matches!(first, '/' | '?' | '#')))
        && link.len() <= LINK_LIMIT_BYTES
        && !link.contains(|character: char| character.is_whitespace() || character.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_web_pages_are_accepted() {
        for link in [
            "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
            "https://x",
            "HTTPS://x.example/é",
            "http://[::1]:9090/",
        ] {
            assert!(is_web_address(link), "{link}");
        }
    }

    #[test]
    fn other_schemes_relative_addresses_and_broken_ones_are_not() {
        for other in [
            "",
            "http",
            "http://",
            "https:///graph",
            "//x",
            "/graph?g0.expr=up",
            "javascript:alert(1)//https://x",
            "javascript://x",
            "ftp://x",
            " http://x",
            "http://x y",
            "http://x\n",
            "http://x\u{1b}[0m",
        ] {
            assert!(!is_web_address(other), "{other}");
        }
    }

    #[test]
    fn a_link_over_the_limit_is_not_accepted() {
        let link = |bytes: usize| format!("http://x/{}", "a".repeat(bytes - 9));
        assert!(is_web_address(&link(LINK_LIMIT_BYTES)));
        assert!(!is_web_address(&link(LINK_LIMIT_BYTES + 1)));
    }
}
