//! Alerts from the webhook of Prometheus Alertmanager, version 4 of its format.
//!
//! The order of the checks is decided here; each rule has a file of its own. Payloads made by
//! Alertmanager's `payload` templates are not supported: operators can give them any format.
//!
//! | step | file | outcome if the step fails |
//! | --- | --- | --- |
//! | the sender shows one of the configured credentials | `authentication.rs` | unauthorized |
//! | the body is a JSON object | this file | malformed |
//! | the object is a notification of version 4, in which every alert has a dedup key | `notification.rs`, `dedup_key.rs` | malformed |
//! | the notification has an alert | this file | ignored |
//! | title, description, urgency, details, link and keys of each alert | `event.rs`, `alert_text.rs`, `urgency.rs`, `link.rs`, `keys.rs` | |
//!
//! The format is defined in `notify/webhook/webhook.go` and `template/template.go` of
//! <https://github.com/prometheus/alertmanager>, release 0.34.

mod alert_text;
mod authentication;
mod dedup_key;
mod event;
mod keys;
mod labels;
mod link;
mod notification;
mod options;
mod urgency;

use tocsin_plugin_api::prelude::*;
use tocsin_plugin_kit::{body::Format, json::Object};

pub use crate::options::{BasicAuth, Options};
use crate::{
    alert_text::TextSources, authentication::Authentication, event::EventBuilder, keys::KeyPrefix,
    notification::Notification, urgency::UrgencyRule,
};

/// Integration for one Alertmanager, or for several that share its options.
pub struct Alertmanager {
    authentication: Authentication,
    event_builder: EventBuilder,
}

impl Integration for Alertmanager {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        let authentication =
            Authentication::new(options.bearer_token, options.basic_auth, options.unauthenticated)?;
        let event_builder = EventBuilder {
            text_sources: TextSources::new(
                options.title_annotations,
                options.description_annotations,
            )?,
            urgency: UrgencyRule::new(options.severity_label, options.urgencies)?,
            key_prefix: KeyPrefix::new(options.key_prefix.as_deref())?,
            reopen: options.reopen,
        };
        Ok(Self { authentication, event_builder })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        self.authentication.check(request)?;
        // Alertmanager sends a content type; a proxy may lose it.
        if !matches!(Format::of(request)?, Format::Json | Format::Unspecified) {
            return Err(Refusal::unsupported_media_type("the body is not `application/json`"));
        }
        let notification = Notification::read(&Object::from_body(request.body())?)?;
        if notification.alerts.is_empty() {
            return Ok(Received::ignored("the notification has no alerts"));
        }
        Ok(Received::events(self.event_builder.events(&notification)?))
    }
}

tocsin_plugin_api::export_plugin!(Alertmanager);
