//! Alerts from the webhook of Prometheus Alertmanager, version 4 of its format.
//!
//! This file owns the order in which a notification is judged; each rule is in the file of its
//! noun. Payloads that an operator words with Alertmanager's own `payload` templates are not read:
//! they have no format to rely on.
//!
//! | step | where | what comes of it |
//! | --- | --- | --- |
//! | the sender has one of our credentials | `sender.rs` | unauthorized |
//! | the body is a JSON object | `body.rs`, `json.rs` | malformed |
//! | it is a notification of version 4, and every alert in it can be told from the others | `notification.rs` | malformed |
//! | there is an alert in it | here | ignored |
//! | each alert's keys, title, urgency, details and link | `keys.rs`, `wording.rs`, `urgency.rs`, `event.rs` | an event |
//!
//! The format is that of `notify/webhook/webhook.go` and `template/template.go` in
//! <https://github.com/prometheus/alertmanager>, release 0.34.

mod body;
mod event;
mod json;
mod keys;
mod link;
mod notification;
mod options;
mod sender;
mod text;
mod urgency;
mod wording;

use tocsin_plugin_api::prelude::*;

pub use crate::options::{BasicAuth, Options};
use crate::{
    event::Events, keys::KeyPrefix, notification::Notification, sender::Senders,
    urgency::UrgencyRule, wording::Wording,
};

/// One Alertmanager, or several that share a configuration.
pub struct Alertmanager {
    senders: Senders,
    events: Events,
}

impl Integration for Alertmanager {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        let senders =
            Senders::new(options.bearer_token, options.basic_auth, options.unauthenticated)?;
        let wording = Wording::new(options.title_annotations, options.description_annotations)?;
        let urgency = UrgencyRule::new(options.severity_label, options.urgencies)?;
        let key_prefix = KeyPrefix::new(options.key_prefix.as_deref())?;
        let events = Events { wording, urgency, key_prefix, reopen: options.reopen };
        Ok(Self { senders, events })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        self.senders.admit(request)?;
        let notification = Notification::read(body::json(request)?)?;
        if notification.alerts.is_empty() {
            return Ok(Received::ignored("there are no alerts in the notification"));
        }
        Ok(Received::events(self.events.of(&notification)?))
    }
}

tocsin_plugin_api::export_plugin!(Alertmanager);
