//! The two keys of an alert: which problem it is, and which delivery.
//!
//! *Same problem* is what Alertmanager's fingerprint says, a hash of all labels. Alertmanagers that know
//! nothing of each other can have alerts with the same labels: `key_prefix` keeps those apart.
//!
//! *Same delivery* is a matter of choice, because Alertmanager says everything more than once: it
//! sends a whole group again whenever an alert joins or leaves it or `repeat_interval` is over, and
//! whatever was not answered with 2xx. With `reopen`, the default, there are no ids, and the host goes
//! by the problem alone: a repeat adds an occurrence to what is open, and opens a new alert after what
//! was resolved, since losing a page is worse than reopening an alert. Alertmanager takes an alert that
//! it hears nothing of for resolved and says so; when it hears of it again, `startsAt` can be that of
//! before, and nothing tells that from a repeat. Its end then looks like the first end, so that
//! `resolved` has no id either.
//!
//! With `reopen = false`, repeats change nothing. What stays the same in all of them is `startsAt`: of
//! the times that Prometheus reports for one firing period, Alertmanager keeps the earliest
//! (`Alert.Merge` in its `alert/alert.go`), and the next period has a later one. So an id is made of
//! status, key and `startsAt`:
//!
//! - an alert that somebody resolved here while it fires is not opened again by a repeat, but by the
//!   next firing period;
//! - a firing period that is resolved twice is resolved once. `endsAt` is no part of the id: where
//!   two Prometheus servers watch the same, Alertmanager keeps the later end, so that it can differ
//!   from one notification to the next, and a late repeat would resolve the period after it.

use std::borrow::Cow;

use tocsin_plugin_api::OptionsError;

use crate::{
    json::Fault,
    notification::{Alert, Notification, Pairs, Status},
};

/// The longest `key_prefix`, in characters.
const LONGEST_PREFIX_CHARS: usize = 128;

/// The longest value that takes the place of a name in `key_prefix`. The prefix is repeated in every
/// event.
const LONGEST_VALUE_BYTES: usize = 512;

/// Text that is put before both keys of every alert, from the option `key_prefix`.
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
    /// If it says nothing, is too long, or has a name in braces that is not known.
    pub(crate) fn new(option: Option<&str>) -> Result<Self, OptionsError> {
        let Some(option) = option else { return Ok(Self::default()) };
        let refused = |message: &str| Err(OptionsError::at("key_prefix", message));
        if option.trim().is_empty() {
            return refused("empty\nhint: remove it; then keys have no prefix");
        }
        if option.chars().any(char::is_control) {
            return refused("has a control character\nhint: remove it");
        }
        if option.chars().count() > LONGEST_PREFIX_CHARS {
            return refused(
                "longer than 128 characters\nhint: some letters are enough to tell Alertmanagers apart",
            );
        }
        match parts(option) {
            Some(parts) => Ok(Self(parts)),
            None => refused(
                "has braces with something else than `{receiver}` or `{externalURL}`\n\
                 hint: these two are what can be put in; other text is taken as it is, without braces",
            ),
        }
    }

    /// The prefix of the keys of a notification.
    ///
    /// # Errors
    ///
    /// If the notification lacks what the prefix is made of: alerts that should stay apart could
    /// become one.
    pub(crate) fn of(&self, notification: &Notification<'_>) -> Result<String, Fault> {
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

/// The parts of the option, or none if there are braces that make no sense.
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

fn value<'a>(name: &str, value: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, Fault> {
    match value {
        Some(value) if value.len() <= LONGEST_VALUE_BYTES => Ok(value),
        Some(_) => Err(Fault::new("longer than 512 bytes, too long for `key_prefix`").under(name)),
        None => Err(Fault::new("is missing, and `key_prefix` is made of it").under(name)),
    }
}

/// What tells the problem from others: the fingerprint, else the labels in the order of their
/// names. Without either there is nothing to tell it by.
pub(crate) fn dedup_key(fingerprint: Option<&str>, labels: &Pairs<'_>) -> Option<String> {
    if let Some(fingerprint) = fingerprint {
        return Some(fingerprint.to_owned());
    }
    let mut key = String::new();
    for (name, value) in labels {
        if !key.is_empty() {
            key.push(',');
        }
        key.push_str(name);
        key.push_str("=\"");
        push_quoted(&mut key, value);
        key.push('"');
    }
    Some(key).filter(|key| !key.is_empty())
}

/// What tells the delivery from others. An alert that does not say when it started has none: all of
/// its firing periods would be one.
pub(crate) fn event_id(alert: &Alert<'_>) -> Option<String> {
    let status = match alert.status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    };
    alert.started.map(|started| format!("{status} {} {started}", alert.key))
}

/// So that no value can look like the end of it and another label.
fn push_quoted(key: &mut String, value: &str) {
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            key.push('\\');
        }
        key.push(character);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use tocsin_plugin_api::Refusal;

    use super::*;

    fn of_labels(labels: &[(&str, &str)]) -> Option<String> {
        let pairs = labels.iter().map(|(name, value)| (name.to_string(), (*value).into()));
        dedup_key(None, &pairs.collect())
    }

    fn prefix_of(option: &str, notification: &str) -> Result<String, String> {
        let prefix = KeyPrefix::new(Some(option)).expect("a prefix");
        let raw: &RawValue = serde_json::from_str(notification).expect("JSON");
        let notification = Notification::read(raw).expect("a notification");
        prefix.of(&notification).map_err(|fault| match fault.into() {
            Refusal::Malformed { reason, .. } => reason,
            other => panic!("{other:?}"),
        })
    }

    const EU: &str = r#"{"version":"4","alerts":[],"receiver":"eu","externalURL":"http://am"}"#;

    #[test]
    fn a_prefix_is_text_and_what_the_notification_says_of_its_alertmanager() {
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
    fn a_notification_that_lacks_what_the_prefix_is_made_of_is_a_fault() {
        let nobody = r#"{"version":"4","alerts":[],"receiver":""}"#;
        let missing = |name| Err(format!("`{name}`: is missing, and `key_prefix` is made of it"));
        assert_eq!(prefix_of("{receiver}", nobody), missing("receiver"));
        assert_eq!(prefix_of("{externalURL}", nobody), missing("externalURL"));
        assert_eq!(prefix_of("eu", nobody).as_deref(), Ok("eu"));
        let odd = r#"{"version":"4","alerts":[],"receiver":7}"#;
        let fault = "`receiver`: expected a string, found a number";
        assert_eq!(prefix_of("{receiver}", odd), Err(fault.into()));
        let long = EU.replace("http://am", &"x".repeat(513));
        let fault = "`externalURL`: longer than 512 bytes, too long for `key_prefix`";
        assert_eq!(prefix_of("{externalURL}", &long), Err(fault.into()));
        let long = EU.replace("http://am", &"x".repeat(512));
        assert_eq!(prefix_of("{externalURL}", &long), Ok("x".repeat(512)));
    }

    #[test]
    fn a_prefix_that_makes_no_sense_is_an_error() {
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
    fn the_fingerprint_comes_before_the_labels() {
        let labels = Pairs::from([("a".to_owned(), "b".into())]);
        assert_eq!(dedup_key(Some("c0ffee"), &labels).as_deref(), Some("c0ffee"));
    }

    #[test]
    fn labels_make_the_same_key_in_any_order() {
        let key = r#"alertname="X",instance="Y""#;
        assert_eq!(of_labels(&[("alertname", "X"), ("instance", "Y")]).as_deref(), Some(key));
        assert_eq!(of_labels(&[("instance", "Y"), ("alertname", "X")]).as_deref(), Some(key));
        assert_eq!(of_labels(&[]), None);
    }

    #[test]
    fn different_labels_make_different_keys() {
        let one = of_labels(&[("a", r#"x",b="y"#)]);
        assert_eq!(one.as_deref(), Some(r#"a="x\",b=\"y""#));
        assert_ne!(one, of_labels(&[("a", "x"), ("b", "y")]));
        assert_ne!(of_labels(&[("a", r"\")]), of_labels(&[("a", r"\\")]));
    }

    #[test]
    fn an_id_is_that_of_a_firing_period() {
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
