//! Arbitrary notifications and answers: the notifier returns a step for each, always the same one, and
//! what it sends can be sent.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value as Json, json};
use tocsin_plugin_api::{
    Detail, Urgency,
    capability::{Notifier, Plugin},
    notification::{Alert, Change, Digest, Kind, Notification, Status, Subject, Time},
    step::{HttpAnswer, Step},
};
use webhook_out::{Options, WebhookOut};

fn plugins() -> Vec<WebhookOut> {
    let template = "{\"a\": {{ alert | json }}, \"b\": [{% for detail in alert.details %}\
                    {{ detail.label | json }},{% endfor %}{{ digest | json }}, {{ change | json }}]}";
    let options = [
        json!({"url": "https://a"}),
        json!({
            "secret_url": "https://a/b?c",
            "headers": {"x-a": "b"},
            "secret_headers": {"x-b": "c"},
            "basic": {"username": "", "password": "é"},
            "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            "body": template,
        }),
        json!({"url": "http://a", "body": "{{ alert.title }}", "content_type": "text/plain"}),
    ];
    let plugin = |options: Json| {
        let options: Options = serde_json::from_value(options).expect("options");
        WebhookOut::new(options).unwrap_or_else(|error| panic!("{error}"))
    };
    options.into_iter().map(plugin).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        select(vec!["", "\"", "\\", "\u{0}", "\n", "{{ x }}", "🔥", "\u{202e}"])
            .prop_map(String::from),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        (-62_135_596_800_000_i64..253_402_300_800_000).prop_map(Time::from_unix_milliseconds),
        any::<i64>().prop_map(Time::from_unix_milliseconds),
    ]
}

fn alert() -> impl Strategy<Value = Alert> {
    let texts = (text(), text(), option::of(text()), option::of(text()), option::of(text()));
    let details = vec((text(), text()), 0..4);
    let states = select(vec![Status::Open, Status::Acknowledged, Status::Resolved]);
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>());
    (texts, details, select(Urgency::ALL.to_vec()), states, numbers, (time(), time())).prop_map(
        |(
            (title, integration, description, url, link),
            details,
            urgency,
            status,
            numbers,
            times,
        )| {
            let mut alert = Alert::new(numbers.0, title, urgency, times.0);
            (alert.occurrences, alert.hops, alert.updated_at) = (numbers.1, numbers.2, times.1);
            (alert.integration, alert.description) = (integration, description);
            (alert.url, alert.link, alert.status) = (url, link, status);
            let detail = |(label, value)| Detail { label, value };
            alert.details = details.into_iter().map(detail).collect();
            alert
        },
    )
}

fn digest() -> impl Strategy<Value = Digest> {
    let urgencies = vec((select(Urgency::ALL.to_vec()), any::<u64>()), 0..4);
    (any::<u64>(), urgencies, vec((text(), any::<u64>()), 0..4), option::of(text())).prop_map(
        |(count, urgencies, integrations, url)| {
            let mut digest = Digest::default();
            (digest.count, digest.urgencies) = (count, urgencies);
            (digest.integrations, digest.url) = (integrations, url);
            digest
        },
    )
}

fn notification() -> impl Strategy<Value = Notification> {
    let subject = prop_oneof![
        4 => alert().prop_map(|alert| Subject::Alert(Box::new(alert))),
        1 => digest().prop_map(Subject::Digest),
    ];
    let change = option::of((time(), text(), option::of(text())));
    let rest = (any::<u32>(), time(), any::<bool>());
    (subject, select(Kind::ALL.to_vec()), change, vec(select(Kind::ALL.to_vec()), 0..4), rest)
        .prop_map(|(subject, kind, change, skipped, (attempt, at, in_doubt))| {
            let mut notification = Notification::about("01JE", kind, subject, at);
            notification.change = change.map(|(at, by, note)| {
                let mut change = Change::new(at, by);
                change.note = note;
                change
            });
            (notification.skipped, notification.attempt) = (skipped, attempt);
            notification.in_doubt = in_doubt;
            notification
        })
}

fn answers() -> impl Strategy<Value = Vec<HttpAnswer>> {
    let answer =
        (text(), any::<u16>(), text(), text()).prop_map(|(request, status, body, value)| {
            HttpAnswer::new(request, status).with_body(body).with_header("retry-after", value)
        });
    vec(answer, 0..4)
}

proptest! {
    #[test]
    fn every_input_has_one_step(notification in notification(), answers in answers()) {
        for plugin in plugins() {
            let step = plugin.next(&notification, &answers);
            prop_assert_eq!(&step, &plugin.next(&notification, &answers));
            let Step::Send { request } = step else {
                let is_rejected = matches!(step, Step::Rejected { .. });
                prop_assert!(!answers.is_empty() || is_rejected, "{:?}", step);
                continue;
            };
            prop_assert!(answers.is_empty());
            for header in &request.headers {
                prop_assert!(header.value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
            let is_text = request.headers.iter().any(|header| header.value == "text/plain");
            let json = serde_json::from_str::<Json>(&request.body);
            prop_assert!(is_text || json.is_ok(), "{}", request.body);
        }
    }

    #[test]
    fn no_template_panics(template in text(), kind in select(vec!["text/plain", "application/json"])) {
        let options = json!({"url": "https://a", "body": template, "content_type": kind});
        let options: Options = serde_json::from_value(options).expect("options");
        if let Ok(plugin) = WebhookOut::new(options) {
            let at = Time::from_unix_seconds(0);
            let alert = Alert::new(1, "a", Urgency::Low, at);
            plugin.next(&Notification::new("d", Kind::Opened, alert, at), &[]);
        }
    }
}
