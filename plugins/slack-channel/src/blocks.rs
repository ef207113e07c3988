//! Messages of Block Kit, for Slack.
//!
//! The blocks are inside an attachment, because only an attachment has a colour. Beside `blocks`, an
//! attachment may have `color` and `fallback` only: see
//! <https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments>.

use serde_json::{Value, json};
use tocsin_plugin_api::notification::{Alert, Digest, Kind, Notification, Subject};

use crate::{
    limits::{BLOCKS, FIELD, FIELDS, HEADER, Room, SECTION},
    link::{link, local_time},
    text::{Limit, Markup},
    words::{self, DIGEST, Look},
};

const MARKUP: Markup = Markup::Slack;

/// Most blocks of fields. Header, text and context take the others.
const FIELD_BLOCKS: usize = BLOCKS - 10;

/// Most names of integrations in a digest.
const INTEGRATIONS: usize = 15;

/// Returns the attachment of a message.
pub(crate) fn attachment(notification: &Notification, summary: &str, with_note: bool) -> Value {
    let (color, blocks) = match &notification.subject {
        Subject::Alert(alert) => {
            let look = Look::of(notification.kind, alert);
            (look.color, alert_blocks(notification, alert, look, summary, with_note))
        }
        Subject::Digest(digest) => (DIGEST.color, digest_blocks(digest)),
        _ => (DIGEST.color, vec![section(summary)]),
    };
    json!({"color": color, "fallback": summary, "blocks": blocks})
}

fn alert_blocks(
    notification: &Notification,
    alert: &Alert,
    look: Look,
    summary: &str,
    with_note: bool,
) -> Vec<Value> {
    let mut blocks = vec![header(&words::title(alert, MARKUP, Limit::length(HEADER)))];
    blocks.push(section(&state(alert, look)));
    let mut last = vec![context(&origin(notification, alert))];
    last.extend(words::skipped(notification).map(|sentence| context(&sentence)));
    let mut room = Room::beside(&json!([summary, blocks, last]));
    // The reserve is for the number of details that are left out, and for the text around the blocks.
    room.take(&json!("x".repeat(600)));
    let mut add = |text: Option<String>| {
        let block = section(&text?);
        room.take(&block).then(|| blocks.push(block))
    };
    if with_note && let Some(change) = notification.change.as_ref().filter(|it| it.note.is_some()) {
        add(Some(words::note(change, MARKUP, Limit { length: 1000, bytes: 2500 })));
    }
    add(long_title(alert));
    let share = if alert.details.is_empty() { 1 } else { 2 };
    let bytes = room.bytes().saturating_sub(200) / share;
    let limit = Limit { length: SECTION, bytes };
    let description = alert.description.as_deref().and_then(|text| MARKUP.lines(text, limit));
    if let Some(block) = description.map(|text| section(&text)).filter(|block| room.take(block)) {
        blocks.push(block);
    }
    let fields = fields(alert, &mut room);
    let left_out = alert.details.len() - fields.len();
    blocks.extend(fields.chunks(FIELDS).map(|fields| json!({"type": "section", "fields": fields})));
    if left_out > 0 {
        blocks.push(context(&format!("{left_out} further details are not shown here.")));
    }
    blocks.append(&mut last);
    blocks
}

/// Returns the whole title, if the header has only a part of it.
fn long_title(alert: &Alert) -> Option<String> {
    let whole = MARKUP.line(&alert.title, Limit { length: SECTION, bytes: 3000 })?;
    (whole != words::title(alert, MARKUP, Limit::length(HEADER))).then_some(whole)
}

/// Returns status, urgency, integration and number of reports.
fn state(alert: &Alert, look: Look) -> String {
    let mut state = format!(
        "{} *{}* · {} · {}",
        look.emoji,
        look.word,
        alert.urgency,
        words::name(&alert.integration, MARKUP)
    );
    if let Some(occurrences) = words::occurrences(alert) {
        state.push_str(&format!(" · {occurrences}"));
    }
    state
}

/// Returns times, the person who made the change, and links.
fn origin(notification: &Notification, alert: &Alert) -> String {
    let mut parts = vec![format!("Opened {}", local_time(alert.created_at))];
    let change = notification.change.as_ref();
    match (notification.kind, change) {
        (Kind::Acknowledged | Kind::Resolved, Some(change)) => parts.push(format!(
            "{} by {} {}",
            Look::of(notification.kind, alert).word,
            words::name(&change.by, MARKUP),
            local_time(change.at)
        )),
        (Kind::Escalated, _) => parts.push("Still open and not acknowledged".into()),
        _ if alert.occurrences > 1 => {
            parts.push(format!("last reported {}", local_time(alert.last_occurred_at)));
        }
        _ => {}
    }
    if notification.kind == Kind::Test {
        let destination = words::name(&notification.destination, MARKUP);
        parts = vec![format!("A test of the destination `{destination}`, sent by an operator")];
    }
    let number = format!("Alert #{}", alert.number);
    parts.extend(alert.url.as_deref().and_then(|url| link(url, &number)));
    parts.extend(alert.link.as_deref().and_then(|url| link(url, "Source")));
    parts.join(" · ")
}

/// Returns a field for each detail that fits into the [`Room`], in order.
fn fields(alert: &Alert, room: &mut Room) -> Vec<Value> {
    let mut fields = Vec::new();
    for (at, detail) in alert.details.iter().take(FIELD_BLOCKS * FIELDS).enumerate() {
        let label = MARKUP.line(&detail.label, Limit::length(80));
        let value = MARKUP.lines(&detail.value, Limit { length: FIELD - 90, bytes: 1500 });
        let text = match (label, value) {
            (Some(label), Some(value)) => format!("*{label}*\n{value}"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => "–".into(),
        };
        let field = text_object(&text);
        // A section of its own costs some bytes more.
        let cost =
            if at % FIELDS == 0 { json!([field, "type section fields"]) } else { field.clone() };
        if !room.take(&cost) {
            break;
        }
        fields.push(field);
    }
    fields
}

fn digest_blocks(digest: &Digest) -> Vec<Value> {
    let Digest { count, first, last, .. } = digest;
    let mut blocks = vec![header(&format!("{count} new alerts, from #{first} to #{last}"))];
    let urgencies =
        digest.urgencies.iter().take(10).map(|(urgency, count)| (urgency.as_str(), count));
    let urgencies: Vec<_> = urgencies.map(|(name, count)| format!("{count} {name}")).collect();
    let mut integrations: Vec<_> = digest
        .integrations
        .iter()
        .take(INTEGRATIONS)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|(name, count)| format!("{count} {}", words::name(name, MARKUP)))
        .collect();
    let others = digest.integrations.len().saturating_sub(INTEGRATIONS);
    if others > 0 {
        integrations.push(format!("{others} further integrations"));
    }
    for (label, list) in [("Urgencies", urgencies), ("Integrations", integrations)] {
        if !list.is_empty() {
            blocks.push(section(&format!("*{label}*\n{}", list.join(", "))));
        }
    }
    let mut end = vec!["One message for all of them, because many were opened at once".to_owned()];
    end.extend(digest.url.as_deref().and_then(|url| link(url, "All alerts")));
    blocks.push(context(&end.join(" · ")));
    blocks
}

fn header(text: &str) -> Value {
    json!({"type": "header", "text": {"type": "plain_text", "text": text}})
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": text_object(text)})
}

fn context(text: &str) -> Value {
    json!({"type": "context", "elements": [text_object(text)]})
}

/// Returns a text with markup, in which names of channels and people that are not escaped stay text
/// (`verbatim`): see <https://docs.slack.dev/reference/block-kit/composition-objects/text-object>.
fn text_object(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}
