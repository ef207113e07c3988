//! The link of an alert: to the expression behind it, else to Alertmanager.
//!
//! It is taken as it was sent or not at all: whoever is paged clicks on it, so that nothing is
//! mended.

use crate::notification::{Alert, Notification};

/// A longer one is left out: the host would cut it. What is common to a group is repeated in every
/// event, so that this also bounds what a notification can grow to.
const LONGEST_BYTES: usize = 8 * 1024;

/// Where to read on.
pub(crate) fn link<'a>(
    alert: &'a Alert<'_>,
    notification: &'a Notification<'_>,
) -> Option<&'a str> {
    let links = [alert.generator_url.as_deref(), notification.external_url.as_deref()];
    links.into_iter().flatten().find(|link| is_web_address(link))
}

fn is_web_address(link: &str) -> bool {
    let rest = link.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    rest.is_some_and(|(_, rest)| rest.starts_with(|first| !matches!(first, '/' | '?' | '#')))
        && link.len() <= LONGEST_BYTES
        && !link.contains(|character: char| character.is_whitespace() || character.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addresses_of_web_pages_are_links() {
        for link in [
            "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
            "https://x",
            "HTTPS://x.example/é",
            "http://[::1]:9090/",
        ] {
            assert!(is_web_address(link), "{link}");
        }
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
    fn a_link_that_the_host_would_cut_is_none() {
        let link = |bytes: usize| format!("http://x/{}", "a".repeat(bytes - 9));
        assert!(is_web_address(&link(LONGEST_BYTES)));
        assert!(!is_web_address(&link(LONGEST_BYTES + 1)));
    }
}
