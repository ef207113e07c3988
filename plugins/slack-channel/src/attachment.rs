//! Messages of one attachment with title, text and fields, for servers that show no blocks.
//!
//! Mattermost accepts blocks and shows an empty message
//! (<https://github.com/mattermost/mattermost/issues/14973>). The format is documented at
//! <https://docs.mattermost.com/developers/integrate/reference/message-attachments>. Mattermost turns
//! Slack's `<address|label>` into a link of its own.

use serde_json::{Value, json};
use tocsin_plugin_api::notification::{Alert, Digest, Kind, Notification, Subject};

use crate::{
    limits::{FIELD, Room, SECTION},
    link::{link, target, whole_seconds},
    text::{Limit, Markup},
    words::{self, DIGEST, Look},
};

const MARKUP: Markup = Markup::Markdown;

/// Most fields. A longer table hides the conversation.
const FIELDS: usize = 40;

/// Most names of integrations in a digest.
const INTEGRATIONS: usize = 15;

/// Returns the attachment of a message.
pub(crate) fn attachment(notification: &Notification, summary: &str, with_note: bool) -> Value {
    match &notification.subject {
        Subject::Alert(alert) => alert_attachment(notification, alert, summary, with_note),
        Subject::Digest(digest) => digest_attachment(digest, summary),
        _ => json!({"color": DIGEST.color, "fallback": summary, "text": summary}),
    }
}

fn alert_attachment(
    notification: &Notification,
    alert: &Alert,
    summary: &str,
    with_note: bool,
) -> Value {
    let look = Look::of(notification.kind, alert);
    let title = words::title(alert, MARKUP, Limit { length: 300, bytes: 1500 });
    let mut attachment = json!({
        "color": look.color,
        "fallback": summary,
        "title": format!("{} {}: {title}", look.emoji, look.word),
        "footer": footer(notification, alert),
    });
    if let Some(url) = alert.url.as_deref().and_then(target) {
        attachment["title_link"] = url.replace("&amp;", "&").into();
    }
    let mut text: Vec<String> = Vec::new();
    text.extend(words::skipped(notification));
    if notification.kind == Kind::Escalated {
        text.push("Still open and not acknowledged.".into());
    }
    text.extend(alert.link.as_deref().and_then(|url| link(url, "Source")));
    let mut room = Room::beside(&json!([summary, attachment, text]));
    room.take(&json!("x".repeat(600)));
    if with_note && let Some(change) = notification.change.as_ref().filter(|it| it.note.is_some()) {
        let note = words::note(change, MARKUP, Limit { length: 1000, bytes: 2500 });
        if room.take(&json!(note)) {
            text.insert(0, note);
        }
    }
    let share = if alert.details.is_empty() { 1 } else { 2 };
    let limit = Limit { length: SECTION, bytes: room.bytes().saturating_sub(100) / share };
    let description = alert.description.as_deref().and_then(|text| MARKUP.lines(text, limit));
    if let Some(description) = description.filter(|text| room.take(&json!(text))) {
        text.insert(0, description);
    }
    let fields = fields(alert, &mut room);
    let left_out = alert.details.len() - fields.len();
    if left_out > 0 {
        text.push(format!("{left_out} further details are not shown here."));
    }
    attachment["text"] = text.join("\n\n").into();
    attachment["fields"] = fields.into();
    attachment
}

fn footer(notification: &Notification, alert: &Alert) -> String {
    if notification.kind == Kind::Test {
        let destination = words::name(&notification.destination, MARKUP);
        return format!("a test of the destination {destination}, sent by an operator");
    }
    let mut footer = format!(
        "alert #{} · {} · {}",
        alert.number,
        alert.urgency,
        words::name(&alert.integration, MARKUP)
    );
    if let Some(occurrences) = words::occurrences(alert) {
        footer.push_str(&format!(" · {occurrences}"));
    }
    footer.push_str(&format!(" · opened {}", whole_seconds(alert.created_at)));
    if let (Kind::Acknowledged | Kind::Resolved, Some(change)) =
        (notification.kind, &notification.change)
    {
        footer.push_str(&format!(
            " · {} by {}",
            notification.kind,
            words::name(&change.by, MARKUP)
        ));
    }
    footer
}

fn fields(alert: &Alert, room: &mut Room) -> Vec<Value> {
    let mut fields = Vec::new();
    for detail in alert.details.iter().take(FIELDS) {
        let label = MARKUP.line(&detail.label, Limit::length(80)).unwrap_or_default();
        let value = MARKUP.lines(&detail.value, Limit { length: FIELD - 90, bytes: 1500 });
        let value = value.unwrap_or_else(|| "–".into());
        let short = value.chars().count() <= 30;
        let field = json!({"title": label, "value": value, "short": short});
        if !room.take(&field) {
            break;
        }
        fields.push(field);
    }
    fields
}

fn digest_attachment(digest: &Digest, summary: &str) -> Value {
    let Digest { count, first, last, .. } = digest;
    let list = |parts: Vec<String>| parts.join(", ");
    let urgencies = digest.urgencies.iter().take(10);
    let urgencies = list(urgencies.map(|(urgency, count)| format!("{count} {urgency}")).collect());
    let integrations = digest.integrations.iter().take(INTEGRATIONS);
    let integrations =
        integrations.map(|(name, count)| format!("{count} {}", words::name(name, MARKUP)));
    let mut attachment = json!({
        "color": DIGEST.color,
        "fallback": summary,
        "title": format!("{} {count} new alerts, from #{first} to #{last}", DIGEST.emoji),
        "fields": [
            {"title": "Urgencies", "value": urgencies, "short": true},
            {"title": "Integrations", "value": list(integrations.collect()), "short": true},
        ],
    });
    if let Some(url) = digest.url.as_deref().and_then(target) {
        attachment["title_link"] = url.replace("&amp;", "&").into();
    }
    attachment
}
