//! The change to an alert that a plugin found in a request, as the host passes it on.

use serde::Deserialize;
use tocsin_plugin_api::{Action, Urgency};

use super::Details;

/// A plugin's [`Event`](tocsin_plugin_api::Event), with [`Details`] that need not be read. The fields are
/// explained there.
///
/// Only JSON in the form that plugin-api writes can be read as this. JSON in any other form, valid or not, is
/// read as the plugin's event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Change that the event asks for.
    pub action: Action,
    /// Title, required for [`Action::Create`].
    pub title: String,
    /// Description.
    pub description: Option<String>,
    /// Urgency, if the request says one.
    pub urgency: Option<Urgency>,
    /// Key of the problem.
    pub dedup_key: Option<String>,
    /// Id of the delivery.
    pub event_id: Option<String>,
    /// Link to more information.
    pub link: Option<String>,
    /// Labelled values.
    pub details: Details,
}

impl From<tocsin_plugin_api::Event> for Event {
    fn from(event: tocsin_plugin_api::Event) -> Self {
        Self {
            action: event.action,
            title: event.title,
            description: event.description,
            urgency: event.urgency,
            dedup_key: event.dedup_key,
            event_id: event.event_id,
            link: event.link,
            details: event.details.into(),
        }
    }
}

/// The event as the API shows it.
impl From<Event> for tocsin_plugin_api::Event {
    fn from(event: Event) -> Self {
        let mut shown = Self::create(event.title);
        shown.action = event.action;
        shown.description = event.description;
        shown.urgency = event.urgency;
        shown.dedup_key = event.dedup_key;
        shown.event_id = event.event_id;
        shown.link = event.link;
        shown.details = event.details.list();
        shown
    }
}
