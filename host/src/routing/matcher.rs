//! Conditions on an alert, with their regular expressions compiled.

use regex::{Regex, RegexBuilder};
use tocsin_plugin_api::Urgency;

use super::Subject;
use crate::{
    delivery::conditions::{Conditions, DetailCondition},
    printable::one_line,
};

/// Most memory of a compiled pattern, in bytes.
const PATTERN_LIMIT_BYTES: usize = 1024 * 1024;

/// Most characters of an alert's value that a reason repeats.
const SHOWN_CHARACTERS: usize = 60;

/// [`Conditions`] that are ready to be compared with alerts.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    integrations: Vec<String>,
    urgency: Option<Urgency>,
    details: Vec<(String, DetailMatcher)>,
}

#[derive(Clone, Debug)]
enum DetailMatcher {
    Exactly(String),
    Matches(Regex),
}

/// Error for a pattern that is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatcherError {
    /// Label of the detail.
    pub label: String,
    /// Reason, without the pattern.
    pub reason: String,
}

/// The first condition that does not hold for an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    Integration,
    Urgency,
    /// Place of the detail's condition.
    Detail(usize),
}

impl Matcher {
    /// Compiles conditions.
    ///
    /// # Errors
    ///
    /// All patterns that are no regular expressions.
    pub fn new(conditions: &Conditions) -> Result<Self, Vec<MatcherError>> {
        let Conditions { integrations, urgency, details } = conditions;
        let (mut matchers, mut errors) = (Vec::new(), Vec::new());
        for (label, condition) in details {
            match DetailMatcher::new(condition) {
                Ok(matcher) => matchers.push((label.clone(), matcher)),
                Err(reason) => errors.push(MatcherError { label: label.clone(), reason }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { integrations: integrations.clone(), urgency: *urgency, details: matchers })
    }

    /// Returns true if there is a condition on details.
    pub(super) fn reads_details(&self) -> bool {
        !self.details.is_empty()
    }

    /// Returns the first condition that does not hold; none if all hold.
    pub(super) fn mismatch(&self, subject: Subject<'_>) -> Option<Mismatch> {
        let Self { integrations, urgency, details } = self;
        if !integrations.is_empty() && !integrations.iter().any(|it| it == subject.integration) {
            return Some(Mismatch::Integration);
        }
        if urgency.is_some_and(|lowest| subject.urgency < lowest) {
            return Some(Mismatch::Urgency);
        }
        let holds = |(label, matcher): &(String, DetailMatcher)| {
            let mut values = subject.details.iter().filter(|detail| detail.label == *label);
            values.any(|detail| matcher.matches(&detail.value))
        };
        details.iter().position(|condition| !holds(condition)).map(Mismatch::Detail)
    }

    /// Returns true if all conditions hold.
    pub fn matches(&self, subject: Subject<'_>) -> bool {
        self.mismatch(subject).is_none()
    }

    /// Returns a mismatch with an alert as a sentence.
    pub(super) fn explain(&self, mismatch: Mismatch, subject: Subject<'_>) -> String {
        match mismatch {
            Mismatch::Integration => format!("the integration is `{}`", subject.integration),
            Mismatch::Urgency => format!("the urgency is {}", subject.urgency.as_str()),
            Mismatch::Detail(place) => {
                let label = self.details.get(place).map_or("", |(label, _)| label);
                let value = subject.details.iter().find(|detail| detail.label == label);
                match value {
                    Some(detail) => format!("the detail `{label}` is `{}`", short(&detail.value)),
                    None => format!("the alert has no detail `{label}`"),
                }
            }
        }
    }

    /// Returns the conditions as short texts, such as `urgency >= high`.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        let Self { integrations, urgency, details } = self;
        let integrations = match integrations.as_slice() {
            [] => None,
            [name] => Some(format!("integration {name}")),
            names => Some(format!("integrations {}", names.join("/"))),
        };
        let urgency = urgency.map(|lowest| format!("urgency >= {}", lowest.as_str()));
        let details = details.iter().map(|(label, matcher)| match matcher {
            DetailMatcher::Exactly(value) => format!("{label} = {value}"),
            DetailMatcher::Matches(pattern) => format!("{label} ~ {pattern}"),
        });
        integrations.into_iter().chain(urgency).chain(details)
    }
}

impl DetailMatcher {
    fn new(condition: &DetailCondition) -> Result<Self, String> {
        match condition {
            DetailCondition::Exactly(value) => Ok(Self::Exactly(value.clone())),
            DetailCondition::Matches { pattern } => {
                let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT_BYTES).build();
                compiled.map(Self::Matches).map_err(|error| reason(&error))
            }
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exactly(text) => text == value,
            Self::Matches(pattern) => pattern.is_match(value),
        }
    }
}

/// Returns the last line of an error of `regex`. The lines before it repeat the pattern.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".into(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

fn short(value: &str) -> String {
    let mut text: String = value.chars().take(SHOWN_CHARACTERS).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    one_line(&text).into_owned()
}
