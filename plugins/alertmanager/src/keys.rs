//! Keys of an event: the prefix of dedup key and event id, and the event id itself.
//!
//! The dedup key, which names the problem, is made in [`crate::dedup_key`]. Independent
//! Alertmanagers can have alerts with the same labels and so with the same dedup key; the option
//! `key_prefix` keeps them apart.
//!
//! The event id decides which deliveries count as repeats. Alertmanager sends everything more than
//! once: a whole group whenever an alert joins or leaves it, after `repeat_interval`, and after
//! every answer other than 2xx.
//!
//! With `reopen = true`, the default, events have no id, and the host compares dedup keys alone: a
//! repeat adds an occurrence to an open alert, and opens a new alert if the old one is resolved. A
//! lost page is worse than a reopened alert. The event of a resolved alert has no id either:
//! Alertmanager also resolves an alert if Prometheus has not reported it for a while, and when the
//! alert fires again, `startsAt` can be the same, so its second end looks like the first.
//!
//! With `reopen = false`, repeats change nothing. The id is made of status, dedup key and
//! `startsAt`, which is the same in all repeats: of the times that Prometheus reports for one
//! firing period, Alertmanager keeps the earliest (`Alert.Merge` in its `alert/alert.go`), and the
//! next period has a later one. It follows that
//!
//! - if a person resolves a Tocsin alert while Alertmanager's alert still fires, the next firing
//!   period opens a new one, but a repeat does not;
//! - a firing period is resolved once, even if it is reported as resolved twice. `endsAt` is not
//!   part of the id: if two Prometheus servers watch the same target, Alertmanager keeps the later
//!   end, which can change between notifications, and a late repeat would resolve the next period.

use std::borrow::Cow;

use tocsin_plugin_api::OptionsError;
use tocsin_plugin_kit::json::JsonError;

use crate::notification::{Alert, Notification, Status};

/// Length of the longest `key_prefix`, in characters.
const PREFIX_LIMIT_CHARS: usize = 128;

/// Length of the longest value that replaces a placeholder in `key_prefix`, in bytes. Every event
/// of a notification repeats the prefix.
const VALUE_LIMIT_BYTES: usize = 512;

/// Text in front of both keys of every alert, from the option `key_prefix`.
#[derive(Debug, Default)]
pub(crate) struct KeyPrefix(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Receiver,
    ExternalUrl,
}

impl KeyPrefix {
    /// Reads the option `key_prefix`.
    ///
    /// # Errors
    ///
    /// If the option is empty or too long, or has control characters or an unknown placeholder.
    pub(crate) fn new(option: Option<&str>) -> Result<Self, OptionsError> {
        let Some(option) = option else { return Ok(Self::default()) };
        let refused = |message: &str| Err(OptionsError::at("key_prefix", message));
        if option.trim().is_empty() {
            return refused("empty\nhint: remove it; then keys have no prefix");
        }
        if option.chars().any(char::is_control) {
            return refused("has a control character\nhint: remove it");
        }
        if option.chars().count() > PREFIX_LIMIT_CHARS {
            return refused(
                "longer than 128 characters\nhint: a few letters are enough to tell Alertmanagers apart",
            );
        }
        match parts(option) {
            Some(parts) => Ok(Self(parts)),
            None => refused(
                "has braces with something else than `{receiver}` or `{externalURL}`\n\
                 hint: use these two placeholders and text without braces",
            ),
        }
    }

    /// Returns the prefix of the keys of a notification.
    ///
    /// # Errors
    ///
    /// If the notification lacks the value for a placeholder. Without the value, alerts that should
    /// stay apart could become one.
    pub(crate) fn of(&self, notification: &Notification<'_>) -> Result<String, JsonError> {
        let mut prefix = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => prefix.push_str(text),
                Part::Receiver => prefix.push_str(&value("receiver", notification.receiver()?)?),
                Part::ExternalUrl => {
                    let url = notification.external_url.as_deref().map(Cow::Borrowed);
                    prefix.push_str(&value("externalURL", url)?);
                }
            }
        }
        Ok(prefix)
    }
}

/// Splits the option into its parts; `None` if it has an unknown placeholder or a single brace.
fn parts(option: &str) -> Option<Vec<Part>> {
    let (mut parts, mut rest) = (Vec::new(), option);
    while let Some((text, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}')?;
        parts.push(Part::Text(text.to_owned()));
        parts.push(match name {
            "receiver" => Part::Receiver,
            "externalURL" => Part::ExternalUrl,
            _ => return None,
        });
        rest = behind;
    }
    parts.push(Part::Text(rest.to_owned()));
    let has_stray_brace = |part: &Part| matches!(part, Part::Text(text) if text.contains('}'));
    (!parts.iter().any(has_stray_brace)).then_some(parts)
}

fn value<'a>(name: &str, value: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, JsonError> {
    match value {
        Some(value) if value.len() <= VALUE_LIMIT_BYTES => Ok(value),
        Some(_) => {
            Err(JsonError::new("longer than 512 bytes, too long for `key_prefix`").at_key(name))
        }
        None => Err(JsonError::new("is missing, and `key_prefix` needs it").at_key(name)),
    }
}

/// Returns the event id, which is the same in all repeats of an alert. An alert without
/// [`Alert::started`] has no event id: all of its firing periods would share one.
pub(crate) fn event_id(alert: &Alert<'_>) -> Option<String> {
    let status = match alert.status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    };
    alert.started.map(|started| format!("{status} {} {started}", alert.key))
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_kit::json::Object;

    use super::*;
    use crate::labels::Pairs;

    fn prefix_of(option: &str, notification: &str) -> Result<String, String> {
        let prefix = KeyPrefix::new(Some(option)).expect("a prefix");
        let body = Object::from_body(notification.as_bytes()).expect("an object");
        let notification = Notification::read(&body).expect("a notification");
        prefix.of(&notification).map_err(|error| error.to_string())
    }

    const EU: &str = r#"{"version":"4","alerts":[],"receiver":"eu","externalURL":"http://am"}"#;

    #[test]
    fn a_prefix_is_text_with_values_of_the_notification() {
        for (option, prefix) in [
            ("eu:", "eu:"),
            ("é ", "é "),
            ("{receiver}", "eu"),
            ("a/{receiver}/{externalURL}/", "a/eu/http://am/"),
        ] {
            assert_eq!(prefix_of(option, EU).as_deref(), Ok(prefix), "{option}");
        }
        let none = KeyPrefix::new(None).expect("no prefix");
        assert!(none.0.is_empty());
    }

    #[test]
    fn a_notification_without_a_value_for_the_prefix_is_an_error() {
        let nobody = r#"{"version":"4","alerts":[],"receiver":""}"#;
        let missing = |name| Err(format!("`{name}`: is missing, and `key_prefix` needs it"));
        assert_eq!(prefix_of("{receiver}", nobody), missing("receiver"));
        assert_eq!(prefix_of("{externalURL}", nobody), missing("externalURL"));
        assert_eq!(prefix_of("eu", nobody).as_deref(), Ok("eu"));
        let odd = r#"{"version":"4","alerts":[],"receiver":7}"#;
        let error = "`receiver`: expected a string, found a number";
        assert_eq!(prefix_of("{receiver}", odd), Err(error.into()));
        let long = EU.replace("http://am", &"x".repeat(513));
        let error = "`externalURL`: longer than 512 bytes, too long for `key_prefix`";
        assert_eq!(prefix_of("{externalURL}", &long), Err(error.into()));
        let long = EU.replace("http://am", &"x".repeat(512));
        assert_eq!(prefix_of("{externalURL}", &long), Ok("x".repeat(512)));
    }

    #[test]
    fn an_empty_long_or_broken_prefix_is_refused() {
        let error = |option: &str| KeyPrefix::new(Some(option)).expect_err("refused").path;
        let long = "é".repeat(129);
        for option in [
            "",
            " ",
            "\n",
            "a\0",
            &long,
            "{",
            "}",
            "{}",
            "{cluster}",
            "{receiver",
            "{{receiver}}",
            "a}",
        ] {
            assert_eq!(error(option), "key_prefix", "{option}");
        }
        assert!(KeyPrefix::new(Some(&long[2..])).is_ok(), "128 characters");
    }

    fn alert(status: Status, key: &str, started: Option<&str>) -> Alert<'static> {
        Alert {
            status,
            key: key.into(),
            labels: Pairs::new(),
            annotations: Pairs::new(),
            started: started.map(|time| time.parse().expect("a time")),
            generator_url: None,
        }
    }

    #[test]
    fn each_firing_period_and_each_end_has_its_own_id() {
        let id = |status, started| event_id(&alert(status, "k", started));
        let first = id(Status::Firing, Some("2026-01-01T01:00:00.5+01:00"));
        assert_eq!(first.as_deref(), Some("firing k 2026-01-01T00:00:00.5Z"));
        assert_ne!(first, id(Status::Firing, Some("2026-01-01T00:00:01Z")));
        let over = id(Status::Resolved, Some("2026-01-01T00:00:00.5Z"));
        assert_eq!(over.as_deref(), Some("resolved k 2026-01-01T00:00:00.5Z"));
    }

    #[test]
    fn without_a_start_there_is_no_id() {
        assert_eq!(event_id(&alert(Status::Firing, "k", None)), None);
    }
}
