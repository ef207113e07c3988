//! Link of an alert: to the expression behind it, or else to Alertmanager.

use tocsin_plugin_kit::link::is_web_address;

use crate::notification::{Alert, Notification};

/// Limit in bytes for all copies of Alertmanager's address in the events of a notification. Beyond
/// the limit, the address is left out, unless it is short.
const GROUP_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Length in bytes up to which an address is short.
const SHORT_BYTES: usize = 256;

/// Returns the address of the expression behind an alert, if it [is a web address](is_web_address).
pub(crate) fn of_alert<'a>(alert: &'a Alert<'_>) -> Option<&'a str> {
    alert.generator_url.as_deref().filter(|link| is_web_address(link))
}

/// Returns the web address of Alertmanager, for alerts without an address of their own.
pub(crate) fn of_group<'a>(notification: &'a Notification<'_>) -> Option<&'a str> {
    let link = notification.external_url.as_deref().filter(|link| is_web_address(link))?;
    let bytes = link.len().saturating_mul(notification.alerts.len());
    (link.len() <= SHORT_BYTES || bytes <= GROUP_LIMIT_BYTES).then_some(link)
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_kit::{json::Object, link::LINK_LIMIT_BYTES};

    use super::*;

    #[test]
    fn all_alerts_of_a_group_get_its_link_or_none_does() {
        let has_link = |alerts: usize, bytes: usize| {
            let alerts = vec![r#"{"status":"firing","fingerprint":"a"}"#; alerts].join(",");
            let url = format!("http://x/{}", "a".repeat(bytes - 9));
            let json = format!(r#"{{"version":"4","alerts":[{alerts}],"externalURL":"{url}"}}"#);
            let body = Object::from_body(json.as_bytes()).expect("an object");
            of_group(&Notification::read(&body).expect("a notification")).is_some()
        };
        assert!(has_link(1024, LINK_LIMIT_BYTES));
        assert!(!has_link(1025, LINK_LIMIT_BYTES), "more than 8 MiB in all");
        assert!(has_link(50_000, SHORT_BYTES));
        assert!(!has_link(50_000, SHORT_BYTES + 1));
    }
}
