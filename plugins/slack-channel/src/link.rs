//! Links and times in Slack's markup.

use tocsin_plugin_api::notification::Time;
use tocsin_plugin_kit::link::is_web_address;

/// Longest address that a message shows. A longer one would leave no room for the alert.
const ADDRESS_BYTES: usize = 1000;

/// Latest time that Slack's clients show, in seconds: the end of the year 9999.
const LATEST: i64 = 253_402_300_799;

/// Returns a link with a label that needs no escapes; `None` if the address is no web address or is too
/// long.
pub(crate) fn link(address: &str, label: &str) -> Option<String> {
    Some(format!("<{}|{label}>", target(address)?))
}

/// Returns an address for a [`link`], with the characters that end it encoded.
pub(crate) fn target(address: &str) -> Option<String> {
    if !is_web_address(address) || address.len() > ADDRESS_BYTES {
        return None;
    }
    let mut target = String::with_capacity(address.len());
    for character in address.chars() {
        match character {
            '<' => target.push_str("%3C"),
            '>' => target.push_str("%3E"),
            '|' => target.push_str("%7C"),
            '&' => target.push_str("&amp;"),
            _ => target.push(character),
        }
    }
    (target.len() <= ADDRESS_BYTES).then_some(target)
}

/// Returns a time that Slack shows in the reader's time zone.
pub(crate) fn local_time(time: Time) -> String {
    let (seconds, text) = (time.unix_seconds(), whole_seconds(time));
    if !(0..=LATEST).contains(&seconds) {
        return text;
    }
    format!("<!date^{seconds}^{{date_short_pretty}} {{time}}|{text}>")
}

/// Returns a [`Time`] as RFC 3339, without milliseconds.
pub(crate) fn whole_seconds(time: Time) -> String {
    Time::from_unix_seconds(time.unix_seconds()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_leave_its_link() {
        let escaped = link("https://x/?a=1&b=<!here>|c", "Alert");
        assert_eq!(escaped.as_deref(), Some("<https://x/?a=1&amp;b=%3C!here%3E%7Cc|Alert>"));
        assert_eq!(link("javascript:alert(1)", "Alert"), None);
        assert_eq!(link(&format!("https://x/{}", "a".repeat(1000)), "Alert"), None);
        assert_eq!(link(&format!("https://x/{}", "&".repeat(300)), "Alert"), None);
    }

    #[test]
    fn times_have_a_text_for_other_clients() {
        let time = Time::from_unix_milliseconds(1_700_000_000_123);
        let shown = "<!date^1700000000^{date_short_pretty} {time}|2023-11-14T22:13:20Z>";
        assert_eq!(local_time(time), shown);
        assert_eq!(local_time(Time::from_unix_seconds(-1)), "1969-12-31T23:59:59Z");
    }
}
