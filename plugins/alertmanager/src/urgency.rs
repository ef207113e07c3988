//! How urgent an alert is, by the label that says how severe it is.
//!
//! Prometheus gives that label no meaning: what its values are is up to whoever writes the rules.
//! The words that are known here are those that mean the same to everybody; `P1` and `sev2` are not
//! among them. Of what is not known nothing is made up: the integration's own urgency applies.

use std::collections::BTreeMap;

use tocsin_plugin_api::{OptionsError, Urgency};

use crate::notification::Pairs;

/// The words that are known, in lower case.
const KNOWN: [(Urgency, &[&str]); 4] = [
    (Urgency::Critical, &["critical", "crit", "page", "emergency", "emerg", "fatal"]),
    (Urgency::High, &["high", "major", "error", "err"]),
    (Urgency::Medium, &["medium", "moderate", "warning", "warn", "minor"]),
    (Urgency::Low, &["low", "info", "informational", "information", "notice", "debug", "none"]),
];

/// How the urgency is found.
pub(crate) struct UrgencyRule {
    label: String,
    /// By values in lower case: the known words, and what the operator added or changed.
    urgencies: BTreeMap<String, Urgency>,
}

impl UrgencyRule {
    /// From the options `severity_label` and `urgencies`.
    pub(crate) fn new(
        label: String,
        urgencies: BTreeMap<String, Urgency>,
    ) -> Result<Self, OptionsError> {
        if label.is_empty() {
            return Err(OptionsError::at(
                "severity_label",
                "empty\nhint: remove it; then it is `severity`",
            ));
        }
        Ok(Self { label, urgencies: by_value(urgencies)? })
    }

    /// What the label of an alert means.
    pub(crate) fn of(&self, labels: &Pairs<'_>) -> Option<Urgency> {
        let value = normal(labels.get(&self.label)?);
        self.urgencies.get(&value).copied()
    }
}

fn by_value(
    urgencies: BTreeMap<String, Urgency>,
) -> Result<BTreeMap<String, Urgency>, OptionsError> {
    let mut own = BTreeMap::new();
    for (value, urgency) in urgencies {
        let refused = |message: &str| OptionsError::at(format!("urgencies.{value}"), message);
        let normal = normal(&value);
        if normal.is_empty() {
            return Err(refused(
                "empty\nhint: an alert without a value has the integration's urgency",
            ));
        }
        if own.insert(normal, urgency).is_some() {
            return Err(refused("there twice, in another case\nhint: remove one of the two"));
        }
    }
    let known =
        KNOWN.iter().flat_map(|(urgency, words)| words.iter().map(|word| (*urgency, *word)));
    for (urgency, word) in known {
        own.entry(word.to_owned()).or_insert(urgency);
    }
    Ok(own)
}

fn normal(value: &str) -> String {
    value.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(urgencies: &[(&str, Urgency)]) -> Result<UrgencyRule, OptionsError> {
        let urgencies = urgencies.iter().map(|(value, urgency)| (value.to_string(), *urgency));
        UrgencyRule::new("severity".into(), urgencies.collect())
    }

    fn of(urgencies: &[(&str, Urgency)], severity: &str) -> Option<Urgency> {
        let labels = Pairs::from([("severity".to_owned(), severity.to_owned().into())]);
        rule(urgencies).expect("a rule").of(&labels)
    }

    #[test]
    fn every_known_word_is_known_in_any_case() {
        for (urgency, words) in KNOWN {
            for word in words {
                assert_eq!(of(&[], word), Some(urgency), "{word}");
                assert_eq!(of(&[], &word.to_uppercase()), Some(urgency), "{word}");
                assert_eq!(of(&[], &format!(" {word} ")), Some(urgency), "{word}");
            }
        }
    }

    #[test]
    fn the_names_of_urgencies_mean_themselves() {
        for urgency in Urgency::ALL {
            assert_eq!(of(&[], urgency.as_str()), Some(urgency));
        }
    }

    #[test]
    fn what_is_not_known_says_nothing() {
        for severity in ["P1", "sev2", "criticalish", "page me", "1", "漢"] {
            assert_eq!(of(&[], severity), None, "{severity}");
        }
        assert_eq!(rule(&[]).expect("a rule").of(&Pairs::new()), None);
    }

    #[test]
    fn an_operator_s_values_come_first_and_the_others_stay() {
        let own = [("P1", Urgency::Critical), ("Warning", Urgency::High), ("ÄRGER", Urgency::Low)];
        assert_eq!(of(&own, "p1"), Some(Urgency::Critical));
        assert_eq!(of(&own, "warning"), Some(Urgency::High));
        assert_eq!(of(&own, "ärger"), Some(Urgency::Low));
        assert_eq!(of(&own, "error"), Some(Urgency::High));
    }

    #[test]
    fn another_label_can_say_it() {
        let rule = UrgencyRule::new("priority".into(), BTreeMap::new()).expect("a rule");
        let labels = ["severity", "priority"].into_iter().zip(["low", "high"]);
        let labels = labels.map(|(name, value)| (name.to_owned(), value.into())).collect();
        assert_eq!(rule.of(&labels), Some(Urgency::High));
    }

    #[test]
    fn values_that_can_t_be_told_apart_or_never_come_are_errors() {
        let error = |urgencies: &[_]| rule(urgencies).err().expect("refused").path;
        assert_eq!(error(&[("P1", Urgency::High), ("p1", Urgency::Low)]), "urgencies.p1");
        assert_eq!(error(&[(" ", Urgency::High)]), "urgencies. ");
        let error = UrgencyRule::new(String::new(), BTreeMap::new()).err().expect("refused");
        assert_eq!(error.path, "severity_label");
    }
}
