//! Alerts from the webhook of Prometheus Alertmanager, version 4 of its format, and alerts to the API of
//! an Alertmanager, version 2.
//!
//! An instance does one of the two: with the option `url` it is a [`Sender`], for a destination, and
//! without it a [`Webhook`], for an integration.
//!
//! The order of the checks of a webhook is decided here; each rule has a file of its own. Payloads made by
//! Alertmanager's `payload` templates are not supported: operators can give them any format.
//!
//! | step | file | outcome if the step fails |
//! | --- | --- | --- |
//! | the sender shows one of the configured credentials | `authentication.rs` | unauthorized |
//! | the body is a JSON object | this file | malformed |
//! | the object is a notification of version 4, in which every alert has a dedup key | `notification.rs`, `dedup_key.rs` | malformed |
//! | the notification has an alert that no Tocsin host has sent to Alertmanager | this file | ignored |
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
mod sender;
mod sent_alert;
mod urgency;

use tocsin_plugin_api::{
    capability::Notifier,
    notification::Notification as News,
    prelude::*,
    step::{Description, HttpAnswer, Step},
};
use tocsin_plugin_kit::{body::Format, json::Object};

pub use crate::options::{BasicAuth, Options};
use crate::{
    alert_text::TextSources, authentication::Authentication, event::EventBuilder, keys::KeyPrefix,
    notification::Notification, sender::Sender, urgency::UrgencyRule,
};

/// Integration for one Alertmanager, or for several that share its options; or destination in one
/// Alertmanager.
pub struct Alertmanager(Role);

enum Role {
    Webhook(Webhook),
    Sender(Sender),
}

/// Receiver of notifications.
struct Webhook {
    authentication: Authentication,
    event_builder: EventBuilder,
}

impl Integration for Alertmanager {
    type Options = Options;

    fn new(mut options: Options) -> Result<Self, OptionsError> {
        Ok(Self(match options.url.take() {
            Some(url) => Role::Sender(Sender::new(&url, options)?),
            None => Role::Webhook(Webhook::new(options)?),
        }))
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        match &self.0 {
            Role::Webhook(webhook) => webhook.receive(request),
            Role::Sender(_) => Err(Refusal::failed(
                "the option `url` makes this a destination, which receives nothing; hint: remove \
                 `url` from the options of the integration",
            )),
        }
    }
}

impl Notifier for Alertmanager {
    fn describe(&self) -> Description {
        match &self.0 {
            Role::Sender(sender) => sender.describe(),
            // Without an address, every attempt says that the option is missing.
            Role::Webhook(_) => Description::new([]),
        }
    }

    fn next(&self, news: &News, answers: &[HttpAnswer]) -> Step {
        match &self.0 {
            Role::Sender(sender) => sender.next(news, answers),
            Role::Webhook(_) => Step::destination_broken(
                "the option `url` is missing; hint: set it to the address of Alertmanager in the \
                 options of the destination",
            ),
        }
    }
}

impl Webhook {
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
        let object = Object::from_body(request.body())?;
        let mut notification = Notification::read(&object)?;
        let sent = notification.remove_sent();
        if notification.alerts.is_empty() {
            return Ok(Received::ignored(match sent {
                0 => "the notification has no alerts",
                _ => "a Tocsin host has sent all alerts of the notification (label `tocsin_alert`)",
            }));
        }
        Ok(Received::events(self.event_builder.events(&notification)?))
    }
}

tocsin_plugin_api::export_plugin!(Alertmanager: receive, notify);
