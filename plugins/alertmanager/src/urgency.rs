//! Urgency of an alert, from its severity label.
//!
//! Prometheus gives that label no meaning; the authors of rules choose its values. The built-in
//! values are words with one common meaning, so `P1` and `sev2` are not among them. For an unknown
//! value, the integration's own urgency applies.

use std::collections::BTreeMap;

use tocsin_plugin_api::{OptionsError, Urgency};

use crate::labels::Pairs;

/// Built-in values of the severity label, in lower case.
const BUILT_IN: [(Urgency, &[&str]); 4] = [
    (Urgency::Critical, &["critical", "crit", "page", "emergency", "emerg", "fatal"]),
    (Urgency::High, &["high", "major", "error", "err"]),
    (Urgency::Medium, &["medium", "moderate", "warning", "warn", "minor"]),
    (Urgency::Low, &["low", "info", "informational", "information", "notice", "debug", "none"]),
];

/// Rule that finds the urgency of an alert.
pub(crate) struct UrgencyRule {
    label: String,
    /// Urgencies by values in lower case: the operator's and the built-in ones.
    urgencies: BTreeMap<String, Urgency>,
}

impl UrgencyRule {
    /// Takes the options `severity_label` and `urgencies`.
    ///
    /// # Errors
    ///
    /// If the label or a value is empty, or two values differ in case alone.
    pub(crate) fn new(
        label: String,
        urgencies: BTreeMap<String, Urgency>,
    ) -> Result<Self, OptionsError> {
        if label.is_empty() {
            return Err(OptionsError::at(
                "severity_label",
                "empty\nhint: remove it to use the label `severity`",
            ));
        }
        Ok(Self { label, urgencies: by_value(urgencies)? })
    }

    /// Returns the urgency that the severity label of an alert means.
    pub(crate) fn of(&self, labels: &Pairs<'_>) -> Option<Urgency> {
        let value = normalized(labels.get(&self.label)?);
        self.urgencies.get(&value).copied()
    }
}

fn by_value(
    urgencies: BTreeMap<String, Urgency>,
) -> Result<BTreeMap<String, Urgency>, OptionsError> {
    let mut own = BTreeMap::new();
    for (value, urgency) in urgencies {
        let refused = |message: &str| OptionsError::at(format!("urgencies.{value}"), message);
        let normal = normalized(&value);
        if normal.is_empty() {
            return Err(refused(
                "empty\nhint: remove it; an alert without a severity has the integration's own urgency",
            ));
        }
        if own.insert(normal, urgency).is_some() {
            return Err(refused("repeated in another case\nhint: remove one of the two"));
        }
    }
    let built_in =
        BUILT_IN.iter().flat_map(|(urgency, words)| words.iter().map(|word| (*urgency, *word)));
    for (urgency, word) in built_in {
        own.entry(word.to_owned()).or_insert(urgency);
    }
    Ok(own)
}

fn normalized(value: &str) -> String {
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
    fn built_in_values_are_known_in_any_case() {
        for (urgency, words) in BUILT_IN {
            for word in words {
                assert_eq!(of(&[], word), Some(urgency), "{word}");
                assert_eq!(of(&[], &word.to_uppercase()), Some(urgency), "{word}");
                assert_eq!(of(&[], &format!(" {word} ")), Some(urgency), "{word}");
            }
        }
    }

    #[test]
    fn each_name_of_an_urgency_means_that_urgency() {
        for urgency in Urgency::ALL {
            assert_eq!(of(&[], urgency.as_str()), Some(urgency));
        }
    }

    #[test]
    fn an_unknown_value_means_no_urgency() {
        for severity in ["P1", "sev2", "criticalish", "page me", "1", "漢"] {
            assert_eq!(of(&[], severity), None, "{severity}");
        }
        assert_eq!(rule(&[]).expect("a rule").of(&Pairs::new()), None);
    }

    #[test]
    fn the_operators_values_take_precedence_over_built_in_ones() {
        let own = [("P1", Urgency::Critical), ("Warning", Urgency::High), ("ÄRGER", Urgency::Low)];
        assert_eq!(of(&own, "p1"), Some(Urgency::Critical));
        assert_eq!(of(&own, "warning"), Some(Urgency::High));
        assert_eq!(of(&own, "ärger"), Some(Urgency::Low));
        assert_eq!(of(&own, "error"), Some(Urgency::High));
    }

    #[test]
    fn the_label_can_be_chosen() {
        let rule = UrgencyRule::new("priority".into(), BTreeMap::new()).expect("a rule");
        let labels = ["severity", "priority"].into_iter().zip(["low", "high"]);
        let labels = labels.map(|(name, value)| (name.to_owned(), value.into())).collect();
        assert_eq!(rule.of(&labels), Some(Urgency::High));
    }

    #[test]
    fn ambiguous_and_empty_values_are_refused() {
        let error = |urgencies: &[_]| rule(urgencies).err().expect("refused").path;
        assert_eq!(error(&[("P1", Urgency::High), ("p1", Urgency::Low)]), "urgencies.p1");
        assert_eq!(error(&[(" ", Urgency::High)]), "urgencies. ");
        let error = UrgencyRule::new(String::new(), BTreeMap::new()).err().expect("refused");
        assert_eq!(error.path, "severity_label");
    }
}
