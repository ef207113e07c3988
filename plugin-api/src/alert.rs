//! The alert events that a plugin emits.
//!
//! An event is not yet an alert. The host fills in the fields that the plugin left open. From the two
//! keys of an [`Event`], the host decides to open a new alert, to change an open alert, or to change
//! nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The change that an [`Event`] asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Open an alert, or add an occurrence to the one that has the same `dedup_key`.
    #[default]
    Create,
    /// Acknowledge the alert that has the same `dedup_key`.
    Acknowledge,
    /// Resolve the alert that has the same `dedup_key`.
    Resolve,
}

/// The time within which a person has to look at an alert, from least to most urgent.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Urgency {
    /// At any time.
    Low,
    /// In working hours.
    Medium,
    /// Soon, at any hour.
    High,
    /// Immediately.
    Critical,
}

impl Urgency {
    /// All urgencies, from least to most urgent.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Returns the name that configurations, JSON and the command line use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Returns the urgency with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|urgency| urgency.as_str() == name)
    }
}

impl fmt::Display for Urgency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A labelled value that helps the person who is paged. Details are shown in the order in which they
/// were added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The name of the value, a word or two.
    pub label: String,
    /// The value as plain text.
    pub value: String,
}

/// A change to an alert that a plugin found in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The change that the event asks for.
    #[serde(default)]
    pub action: Action,
    /// A line of plain text, required for [`Action::Create`]. The host cuts it at 1,024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The full text of the problem as plain text, with line breaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The urgency; `None` if the request says nothing about it, so that the integration's own urgency
    /// applies.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "urgency_known_here"
    )]
    pub urgency: Option<Urgency>,
    /// The key of the problem. If an alert with the same key is not resolved, [`Create`](Action::Create)
    /// adds an occurrence to that alert, and the other actions acknowledge or resolve it. Keys of
    /// different integrations never match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// The id of the delivery. If the integration has already stored an event with the same id, the
    /// event changes nothing, even if the alert is resolved. Take the id from the request, never from a
    /// clock or a counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// An absolute URL with more information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Labelled values, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

impl Event {
    /// An event that opens an alert.
    pub fn create(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// An event that acknowledges the alert with this key.
    pub fn acknowledge(dedup_key: impl Into<String>) -> Self {
        let dedup_key = Some(dedup_key.into());
        Self { action: Action::Acknowledge, dedup_key, ..Self::default() }
    }

    /// An event that resolves the alert with this key.
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

    /// Sets the [`Urgency`]; with `None`, the urgency of the integration applies.
    #[must_use]
    pub fn urgency(mut self, urgency: impl Into<Option<Urgency>>) -> Self {
        self.urgency = urgency.into();
        self
    }

    /// Sets the key of the problem, see [`dedup_key`](Self::dedup_key).
    #[must_use]
    pub fn dedup_key(mut self, dedup_key: impl Into<String>) -> Self {
        self.dedup_key = Some(dedup_key.into());
        self
    }

    /// Sets the id of the delivery, see [`event_id`](Self::event_id).
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

    /// Adds a [`Detail`].
    #[must_use]
    pub fn detail(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push(Detail { label: label.into(), value: value.into() });
        self
    }
}

/// Reads an urgency. An urgency that only a later plugin-api knows is read as `None`: losing the alert
/// would be worse than losing its urgency.
fn urgency_known_here<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Urgency>, D::Error> {
    let name = Option::<std::borrow::Cow<'de, str>>::deserialize(from)?;
    Ok(name.and_then(|name| Urgency::from_name(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_what_a_later_version_added_to_events() {
        let later = r#"{"action":"create","title":"t","urgency":"catastrophic","colour":"red"}"#;
        let event: Event = serde_json::from_str(later).expect("unknown parts are ignored");
        assert_eq!(event, Event::create("t"));
    }

    #[test]
    fn refuses_an_unknown_action() {
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
