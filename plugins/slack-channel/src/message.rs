//! Content of a message about an alert, a digest or a test.

use serde_json::{Map, Value, json};
use tocsin_plugin_api::notification::{Kind, Notification, Subject};

use crate::{
    attachment, blocks,
    link::target,
    mentions::Mentions,
    options::Layout,
    text::{Limit, Markup},
    words,
};

/// Type of the metadata of each message. See <https://docs.slack.dev/messaging/message-metadata>.
pub(crate) const EVENT_TYPE: &str = "tocsin_alert";

/// Message in several forms. The later forms are for servers that refuse the earlier ones.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) rich: Map<String, Value>,
    /// Short text without attachments.
    pub(crate) plain: Map<String, Value>,
    /// Metadata by which [`crate::lookup`] finds the message.
    pub(crate) metadata: Value,
}

impl Message {
    /// Returns the message that shows an alert as it is now. `with_note` adds the note of the news, for a
    /// channel without threads.
    pub(crate) fn about(
        notification: &Notification,
        layout: Layout,
        mentions: &Mentions,
        with_note: bool,
    ) -> Self {
        let markup = match layout {
            Layout::Blocks => Markup::Slack,
            Layout::Attachment => Markup::Markdown,
        };
        let (summary, url) = match &notification.subject {
            Subject::Alert(alert) => {
                (words::summary(notification.kind, alert, markup), alert.url.as_deref())
            }
            Subject::Digest(digest) => (words::digest_summary(digest), digest.url.as_deref()),
            _ => (UNKNOWN.into(), None),
        };
        let mentioned = mentions.of(notification).map(|names| format!("{summary} {names}"));
        let plain = match url.and_then(target) {
            Some(url) => format!("{} <{url}>", mentioned.as_ref().unwrap_or(&summary)),
            None => mentioned.clone().unwrap_or_else(|| summary.clone()),
        };
        let attachment = match layout {
            Layout::Blocks => blocks::attachment(notification, &summary, with_note),
            Layout::Attachment => attachment::attachment(notification, &summary, with_note),
        };
        let mut rich = object(json!({"attachments": [attachment]}));
        if let Some(text) = mentioned {
            rich.insert("text".into(), text.into());
        }
        Self { rich, plain: object(json!({"text": plain})), metadata: metadata(notification) }
    }

    /// Returns the [reply](words::reply) in the thread of an alert.
    pub(crate) fn reply(notification: &Notification, mentions: &Mentions) -> Option<Self> {
        let alert = notification.alert()?;
        let call = mentions.of(notification).filter(|_| notification.kind == Kind::Escalated);
        let with_call = |text: String| match call {
            Some(names) => format!("{text} {names}"),
            None => text,
        };
        let text = words::reply(notification, alert, Markup::Slack);
        let short = Markup::Slack.line(&format!("#{}", alert.number), Limit::length(30));
        let plain = format!("🔔 News about alert {}", short.unwrap_or_default());
        Some(Self {
            rich: object(json!({"text": with_call(text)})),
            plain: object(json!({"text": with_call(plain)})),
            metadata: metadata(notification),
        })
    }
}

/// Summary of a subject that only a later plugin-api knows.
const UNKNOWN: &str = "🔔 News that this version of the plugin cannot show";

fn metadata(notification: &Notification) -> Value {
    let mut payload = json!({"delivery_id": notification.delivery_id});
    if let Some(alert) = notification.alert() {
        payload["alert_id"] = alert.id.as_str().into();
        payload["alert_number"] = alert.number.into();
    }
    json!({"event_type": EVENT_TYPE, "event_payload": payload})
}

fn object(json: Value) -> Map<String, Value> {
    match json {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
