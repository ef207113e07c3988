//! Signatures, verified by the receiver of the crate `standardwebhooks`.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value as Json, json};
use standardwebhooks::Webhook;
use tocsin_plugin_api::{
    Urgency,
    capability::{Notifier, Plugin},
    notification::{Alert, Kind, Notification, Time},
    step::{HttpRequest, Step},
};
use webhook_out::{Options, WebhookOut};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD9iJhHzwTqYs=";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Returns the request of an attempt that is made now, as a receiver checks the time.
fn request(secrets: &Json, body: Option<&str>) -> HttpRequest {
    let options = json!({"url": "https://hooks.example/in", "secrets": secrets, "body": body});
    let options: Options = serde_json::from_value(options).expect("options");
    let plugin = WebhookOut::new(options).unwrap_or_else(|error| panic!("{error}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let now = Time::from_unix_seconds(i64::try_from(now.as_secs()).expect("a time"));
    let alert = Alert::new(1, "Größe der Platte: 🔥 \"voll\"", Urgency::High, now);
    let notification = Notification::new("01JE0000000000000000000000", Kind::Opened, alert, now);
    match plugin.next(&notification, &[]) {
        Step::Send { request } => request,
        other => panic!("{other:?}"),
    }
}

fn headers(request: &HttpRequest) -> HeaderMap {
    let header = |header: &tocsin_plugin_api::step::Header| {
        let name: HeaderName = header.name.parse().expect("a name");
        (name, HeaderValue::from_str(&header.value).expect("a value"))
    };
    request.headers.iter().map(header).collect()
}

fn accepts(key: &str, request: &HttpRequest) -> bool {
    let receiver = Webhook::new(key).expect("a key");
    receiver.verify(request.body.as_bytes(), &headers(request)).is_ok()
}

#[test]
fn a_receiver_accepts_the_signature_and_refuses_a_changed_body() {
    let mut request = request(&json!([OLD]), None);
    assert!(accepts(OLD, &request));
    assert!(!accepts(OTHER, &request));
    request.body.push(' ');
    assert!(!accepts(OLD, &request));
}

#[test]
fn a_body_of_a_template_is_signed_as_well() {
    let request = request(&json!([NEW]), Some("{\"text\": {{ alert.title | json }}}"));
    assert!(accepts(NEW, &request));
}

#[test]
fn during_a_rotation_receivers_with_either_key_accept_the_request() {
    let request = request(&json!([NEW, OLD]), None);
    assert!(accepts(NEW, &request));
    assert!(accepts(OLD, &request));
    assert!(!accepts(OTHER, &request));
}

#[test]
fn a_signature_is_for_one_delivery_and_one_time() {
    let request = request(&json!([OLD]), None);
    for (name, other) in [("webhook-id", "01JE0000000000000000000001"), ("webhook-timestamp", "1")]
    {
        let mut headers = headers(&request);
        headers.insert(name, HeaderValue::from_static(other));
        let receiver = Webhook::new(OLD).expect("a key");
        assert!(receiver.verify(request.body.as_bytes(), &headers).is_err(), "{name}");
    }
}

#[test]
fn a_key_without_padding_makes_the_same_signature() {
    let with = request(&json!([NEW]), Some("{}"));
    let without = request(&json!([NEW.trim_end_matches('=')]), Some("{}"));
    assert!(accepts(NEW, &with) && accepts(NEW, &without));
}
