//! Dedup key of an alert: the part that tells one problem from others.
//!
//! Notifications about the same problem have the same key, even if their other fields differ.
//! `key_prefix` and the ids of deliveries are added later: see [`crate::keys`].

use crate::labels::Pairs;

/// Returns the fingerprint, which Alertmanager computes from all labels, or else the labels in the
/// order of their names. An alert with neither has no key.
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
        push_escaped(&mut key, value);
        key.push('"');
    }
    Some(key).filter(|key| !key.is_empty())
}

/// Adds a value with its quotation marks escaped. Without the escapes, a value could look like the
/// end of the value and a further label.
fn push_escaped(key: &mut String, value: &str) {
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

    #[test]
    fn the_fingerprint_takes_precedence_over_the_labels() {
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
}
