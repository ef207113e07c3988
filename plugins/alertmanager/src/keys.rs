//! The two keys of an alert: which problem it is, and which delivery.
//!
//! *Same problem* is what Alertmanager's fingerprint says, a hash of all labels.
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

use crate::notification::{Alert, Pairs, Status};

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
    use super::*;

    fn of_labels(labels: &[(&str, &str)]) -> Option<String> {
        let pairs = labels.iter().map(|(name, value)| (name.to_string(), (*value).into()));
        dedup_key(None, &pairs.collect())
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
