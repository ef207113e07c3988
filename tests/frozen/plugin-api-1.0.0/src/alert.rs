//! The alert events that a plugin emits.
//!
//! An event is not yet an alert: the host fills in what the plugin left open, and decides by the
//! two keys whether it opens a new alert, adds to one, or changes nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What an event asks the host to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Open an alert, or add an occurrence to the one that has the same `dedup_key`.
    #[default]
    Create,
    /// Somebody has taken the alert with this `dedup_key` on.
    Acknowledge,
    /// The alert with this `dedup_key` is over.
    Resolve,
}

/// How soon a human has to look, from least to most.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Urgency {
    /// Some time.
    Low,
    /// In working hours.
    Medium,
    /// Soon, at any hour.
    High,
    /// Now.
    Critical,
}

impl Urgency {
    /// All of them, from least to most.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name in configurations, JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The urgency of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|urgency| urgency.as_str() == name)
    }
}

impl fmt::Display for Urgency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One labelled value that helps whoever is paged, shown in the order in which it was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What the value is, a word or two.
    pub label: String,
    /// The value, plain text.
    pub value: String,
}

/// One thing that a plugin found in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// What to do.
    #[serde(default)]
    pub action: Action,
    /// One line of plain text; needed to create. The host cuts it at 1,024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The whole story, plain text with lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where the request says nothing of it, `None`: then the integration's own urgency applies.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "urgency_known_here"
    )]
    pub urgency: Option<Urgency>,
    /// *Same problem*: a create whose key is that of an alert which is not resolved adds an
    /// occurrence to it; acknowledge and resolve act on it. Scoped to the integration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// *Same delivery*: an event whose id this integration has seen changes nothing, whatever
    /// became of the alert. Take it from the sender, never from a clock or a counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Where to read on: an absolute URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Labelled values, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

impl Event {
    /// Opens an alert.
    pub fn create(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Says that the alert with this key has been taken on.
    pub fn acknowledge(dedup_key: impl Into<String>) -> Self {
        let dedup_key = Some(dedup_key.into());
        Self { action: Action::Acknowledge, dedup_key, ..Self::default() }
    }

    /// Says that the alert with this key is over.
    pub fn resolve(dedup_key: impl Into<String>) -> Self {
        let dedup_key = Some(dedup_key.into());
        Self { action: Action::Resolve, dedup_key, ..Self::default() }
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the urgency; `None` leaves it to the integration.
    #[must_use]
    pub fn urgency(mut self, urgency: impl Into<Option<Urgency>>) -> Self {
        self.urgency = urgency.into();
        self
    }

    /// Sets the key of the problem.
    #[must_use]
    pub fn dedup_key(mut self, dedup_key: impl Into<String>) -> Self {
        self.dedup_key = Some(dedup_key.into());
        self
    }

    /// Sets the id of the delivery.
    #[must_use]
    pub fn event_id(mut self, event_id: impl Into<String>) -> Self {
        self.event_id = Some(event_id.into());
        self
    }

    /// Sets the link.
    #[must_use]
    pub fn link(mut self, link: impl Into<String>) -> Self {
        self.link = Some(link.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push(Detail { label: label.into(), value: value.into() });
        self
    }
}

/// An urgency that a later plugin-api knows and this one does not is left to the integration:
/// losing the alert would be the worse error.
fn urgency_known_here<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Urgency>, D::Error> {
    let name = Option::<std::borrow::Cow<'de, str>>::deserialize(from)?;
    Ok(name.and_then(|name| Urgency::from_name(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_later_version_is_understood_as_far_as_it_goes() {
        let later = r#"{"action":"create","title":"t","urgency":"catastrophic","colour":"red"}"#;
        let event: Event = serde_json::from_str(later).expect("unknown parts are left alone");
        assert_eq!(event, Event::create("t"));
    }

    #[test]
    fn an_unknown_action_is_an_error() {
        let later = r#"{"action":"snooze","title":"t"}"#;
        assert!(serde_json::from_str::<Event>(later).is_err());
    }

    #[test]
    fn urgencies_are_ordered_and_named() {
        assert!(Urgency::ALL.is_sorted());
        for urgency in Urgency::ALL {
            assert_eq!(Urgency::from_name(urgency.as_str()), Some(urgency));
        }
        assert_eq!(Urgency::from_name("High"), None);
    }
}
