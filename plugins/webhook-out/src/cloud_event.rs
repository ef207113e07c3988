//! Body of a request without a template: a [CloudEvent](https://github.com/cloudevents/spec), version 1.0,
//! in JSON and in structured mode.

use serde::Serialize;

use crate::news::News;

/// Content type of structured mode.
pub(crate) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

#[derive(Serialize)]
struct CloudEvent<'n> {
    specversion: &'static str,
    /// Id of the delivery: a receiver takes events with one source and one id for the same event.
    id: &'n str,
    source: String,
    #[serde(rename = "type")]
    kind: &'n str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: &'n str,
    datacontenttype: &'static str,
    data: &'n News<'n>,
}

/// Returns the `CloudEvent` of some news.
pub(crate) fn body(news: &News<'_>) -> String {
    let integration = match news.alert.integration {
        "" => String::new(),
        name => format!("/integrations/{}", percent_encoded(name)),
    };
    let event = CloudEvent {
        specversion: "1.0",
        id: news.delivery_id,
        source: format!("/tocsin{integration}"),
        kind: &news.kind_of_event,
        subject: news.digest.is_none().then(|| format!("alerts/{}", news.alert.number)),
        time: &news.time,
        datacontenttype: "application/json",
        data: news,
    };
    // Texts and numbers can always be written as JSON.
    serde_json::to_string(&event).unwrap_or_default()
}

/// Returns a text as a segment of a path.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
