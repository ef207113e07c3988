//! The link of an alert: to the expression behind it, else to Alertmanager.
//!
//! It is taken as it was sent or not at all: whoever is paged clicks on it, so that nothing is
//! mended.

use crate::notification::{Alert, Notification};

/// A longer one is left out: the host would cut it.
const LONGEST_BYTES: usize = 8 * 1024;

/// The address of Alertmanager is repeated in every event of a notification: beyond this many bytes in
/// all it is left out, unless it is short.
const MOST_BYTES_OF_A_GROUP: usize = 8 * 1024 * 1024;
const SHORT_BYTES: usize = 256;

/// The web address of an alert.
pub(crate) fn of_alert<'a>(alert: &'a Alert<'_>) -> Option<&'a str> {
    alert.generator_url.as_deref().filter(|link| is_web_address(link))
}

/// The web address of Alertmanager, for alerts that have none of their own.
pub(crate) fn of_group<'a>(notification: &'a Notification<'_>) -> Option<&'a str> {
    let link = notification.external_url.as_deref().filter(|link| is_web_address(link))?;
    let bytes = link.len().saturating_mul(notification.alerts.len());
    (link.len() <= SHORT_BYTES || bytes <= MOST_BYTES_OF_A_GROUP).then_some(link)
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
    use serde_json::value::RawValue;

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
    fn the_link_of_a_group_is_given_to_all_of_its_alerts_or_to_none() {
        let has_link = |alerts: usize, bytes: usize| {
            let alerts = vec![r#"{"status":"firing","fingerprint":"a"}"#; alerts].join(",");
            let url = format!("http://x/{}", "a".repeat(bytes - 9));
            let json = format!(r#"{{"version":"4","alerts":[{alerts}],"externalURL":"{url}"}}"#);
            let raw: &RawValue = serde_json::from_str(&json).expect("JSON");
            of_group(&Notification::read(raw).expect("a notification")).is_some()
        };
        assert!(has_link(1024, LONGEST_BYTES));
        assert!(!has_link(1025, LONGEST_BYTES), "it would be 8 MiB and more");
        assert!(has_link(50_000, SHORT_BYTES));
        assert!(!has_link(50_000, SHORT_BYTES + 1));
    }

    #[test]
    fn a_link_that_the_host_would_cut_is_none() {
        let link = |bytes: usize| format!("http://x/{}", "a".repeat(bytes - 9));
        assert!(is_web_address(&link(LONGEST_BYTES)));
        assert!(!is_web_address(&link(LONGEST_BYTES + 1)));
    }
}
