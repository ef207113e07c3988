//! Requests for news of every kind, verdicts, and errors in options.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value as Json, json};
use tocsin_plugin_api::{
    Detail, Urgency,
    capability::{Notifier, Plugin},
    notification::{Alert, Change, Digest, Kind, Notification, Status, Subject, Time},
    step::{HttpAnswer, HttpRequest, Step},
};
use webhook_out::{Options, WebhookOut};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn plugin(options: Json) -> WebhookOut {
    let options: Options = serde_json::from_value(options).expect("options of the right types");
    WebhookOut::new(options).unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a plugin with these options and an address.
fn hook(mut options: Json) -> WebhookOut {
    options["url"] = "https://hooks.example/in".into();
    plugin(options)
}

fn refused(options: Json) -> String {
    let options = match serde_json::from_value::<Options>(options) {
        Ok(options) => options,
        Err(error) => return error.to_string(),
    };
    WebhookOut::new(options).err().expect("refused").to_string()
}

fn at(seconds: i64) -> Time {
    Time::from_unix_seconds(1_767_225_600).plus_seconds(seconds)
}

fn alert() -> Alert {
    let mut alert = Alert::new(12, "disk \"full\"", Urgency::High, at(0));
    alert.id = "01JD2Z6Q3MWV8K5R9T1X0C4N7B".into();
    alert.integration = "ops".into();
    alert.url = Some("https://tocsin.example/alerts/12".into());
    alert.details = vec![Detail { label: "Host".into(), value: "db1".into() }];
    alert
}

fn news(kind: Kind, alert: Alert) -> Notification {
    let mut notification = Notification::new("01JE0000000000000000000000", kind, alert, at(60));
    notification.destination = "hook".into();
    notification.change = Some(Change::new(at(30), "integration ops"));
    notification
}

fn opened() -> Notification {
    news(Kind::Opened, alert())
}

fn request(plugin: &WebhookOut, notification: &Notification) -> HttpRequest {
    match plugin.next(notification, &[]) {
        Step::Send { request } => request,
        other => panic!("{other:?}"),
    }
}

fn body(plugin: &WebhookOut, notification: &Notification) -> Json {
    serde_json::from_str(&request(plugin, notification).body).expect("JSON")
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let mut headers = request.headers.iter().filter(|header| header.name == name);
    let header = headers.next()?;
    assert!(headers.next().is_none(), "{name} comes twice");
    Some(&header.value)
}

// CloudEvents.

#[test]
fn posts_a_cloud_event_with_the_whole_alert() {
    let request = request(&hook(json!({})), &opened());
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "https://hooks.example/in")
    );
    assert_eq!(
        header(&request, "content-type"),
        Some("application/cloudevents+json; charset=utf-8")
    );
    assert_eq!(header(&request, "webhook-id"), None, "unsigned");
    let event: Json = serde_json::from_str(&request.body).expect("JSON");
    let expected = json!({
        "specversion": "1.0",
        "id": "01JE0000000000000000000000",
        "source": "/tocsin/integrations/ops",
        "type": "tocsin.alert.opened",
        "subject": "alerts/12",
        "time": "2026-01-01T00:00:30Z",
        "datacontenttype": "application/json",
        "data": {
            "kind": "opened",
            "type": "tocsin.alert.opened",
            "delivery_id": "01JE0000000000000000000000",
            "destination": "hook",
            "alert": {
                "id": "01JD2Z6Q3MWV8K5R9T1X0C4N7B",
                "number": 12,
                "url": "https://tocsin.example/alerts/12",
                "integration": "ops",
                "title": "disk \"full\"",
                "description": "",
                "urgency": "high",
                "status": "open",
                "dedup_key": "",
                "link": "",
                "details": [{"label": "Host", "value": "db1"}],
                "occurrences": 1,
                "created_at": "2026-01-01T00:00:00Z",
                "last_occurred_at": "2026-01-01T00:00:00Z",
                "updated_at": "2026-01-01T00:00:00Z",
            },
            "digest": null,
            "change": {"at": "2026-01-01T00:00:30Z", "by": "integration ops", "note": ""},
            "skipped": [],
            "attempt": 1,
            "time": "2026-01-01T00:00:30Z",
        },
    });
    assert_eq!(event, expected);
}

#[test]
fn the_type_names_the_kind_and_repeats_keep_the_id() {
    let plugin = hook(json!({}));
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Digest) {
        let mut notification = news(kind, alert());
        let first = body(&plugin, &notification);
        assert_eq!(first["type"], format!("tocsin.alert.{kind}"));
        (notification.attempt, notification.attempted_at) = (2, at(90));
        notification.in_doubt = true;
        let second = body(&plugin, &notification);
        assert_eq!((&first["id"], &first["source"]), (&second["id"], &second["source"]));
    }
}

#[test]
fn news_that_replaces_earlier_news_says_so() {
    let mut resolved = alert();
    resolved.status = Status::Resolved;
    let mut notification = news(Kind::Resolved, resolved);
    notification.skipped = vec![Kind::Opened, Kind::Acknowledged];
    let event = body(&hook(json!({})), &notification);
    assert_eq!(event["data"]["skipped"], json!(["opened", "acknowledged"]));
    assert_eq!(event["data"]["alert"]["status"], "resolved");
}

fn digest() -> Notification {
    let mut digest = Digest::default();
    digest.count = 23;
    digest.urgencies = vec![(Urgency::Critical, 2), (Urgency::High, 21)];
    digest.integrations = vec![("ops".into(), 20), ("prometheus".into(), 3)];
    (digest.first, digest.last) = (100, 122);
    digest.url = Some("https://tocsin.example/alerts".into());
    Notification::about("d1", Kind::Digest, Subject::Digest(digest), at(0))
}

#[test]
fn a_digest_has_its_numbers_and_a_summary_in_place_of_the_alert() {
    let event = body(&hook(json!({})), &digest());
    assert_eq!(
        (&event["type"], &event["source"], &event["subject"]),
        (&json!("tocsin.alert.digest"), &json!("/tocsin"), &Json::Null)
    );
    let data = &event["data"];
    assert_eq!(data["digest"]["count"], 23);
    assert_eq!(data["digest"]["urgencies"][0], json!({"name": "critical", "count": 2}));
    assert_eq!(data["alert"]["title"], "23 new alerts: 2 critical, 21 high");
    assert_eq!(
        (&data["alert"]["urgency"], &data["alert"]["number"]),
        (&json!("critical"), &json!(0))
    );
}

// Templates.

#[test]
fn a_template_makes_the_body() {
    let template = r#"{"text": {{ alert.title | json }}, "level": {{ alert.urgency | json }}
        {%- if change and change.note %}, "note": {{ change.note | json }}{% endif %}, "n": {{ alert.number }},
        "hosts": [{% for detail in alert.details %}{{ detail.value | json }}{% if not loop.last %},{% endif %}{% endfor %}]}"#;
    let plugin = hook(json!({"body": template}));
    let mut notification = opened();
    notification.change = Some(Change::new(at(0), "anna").with_note("\"on\" it\n"));
    assert_eq!(
        body(&plugin, &notification),
        json!({"text": "disk \"full\"", "level": "high", "note": "\"on\" it\n", "n": 12, "hosts": ["db1"]})
    );
    notification.change = None;
    assert_eq!(body(&plugin, &notification).get("note"), None);
    assert_eq!(header(&request(&plugin, &notification), "content-type"), Some("application/json"));
    // A template for alerts works for a digest as well.
    assert_eq!(body(&plugin, &digest())["text"], "23 new alerts: 2 critical, 21 high");
}

#[test]
fn a_template_for_plain_text_has_its_content_type() {
    let plugin = hook(json!({
        "body": "{{ kind | upper }} #{{ alert.number }} {{ alert.title }}\n",
        "content_type": "text/plain; charset=utf-8",
    }));
    let request = request(&plugin, &opened());
    assert_eq!(request.body, "OPENED #12 disk \"full\"");
    assert_eq!(header(&request, "content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn a_template_that_would_fail_is_refused_with_the_options() {
    let error = |body: &str| refused(json!({"url": "https://a", "body": body}));
    assert_eq!(
        error(r#"{"text": "{{ alert.title }}"}"#),
        "`body`: for an alert with every value, the template makes a body that is not JSON; hint: write \
         texts with the filter `json`, as in `{\"text\": {{ alert.title | json }}}`"
    );
    assert!(
        error("{{ alert.titel | json }}").contains("undefined"),
        "{}",
        error("{{ alert.titel | json }}")
    );
    assert!(error("{{ alert.details[0].value | json }}").contains("without optional values"));
    assert!(error("\n{{ alert.title").starts_with("`body`: not a template: line 2: "));
    assert!(error("{{ nothing }}").contains("line 1: undefined"), "{}", error("{{ nothing }}"));
    assert!(
        error("{% for a in range(9999) %}{% for a in range(9999) %}{% endfor %}{% endfor %}")
            .contains("it takes more steps than a template may")
    );
    assert!(error("{% include 'x' %}").starts_with("`body`: "));
    assert_eq!(error(" "), "`body`: empty\nhint: remove it; then the body is a CloudEvent");
}

#[test]
fn a_template_that_fails_at_run_time_is_a_dead_letter_with_a_reason() {
    let template = "{{ 1 // (alert.number - 12) }}";
    let plugin = hook(json!({"body": template, "content_type": "text/plain"}));
    let Step::Rejected { reason } = plugin.next(&opened(), &[]) else { panic!("sent") };
    assert!(reason.starts_with("the template fails: line 1: "), "{reason}");
    let plugin = hook(json!({"body": "{% if alert.number != 12 %}1{% endif %}"}));
    let Step::Rejected { reason } = plugin.next(&opened(), &[]) else { panic!("sent") };
    assert!(reason.starts_with("the template makes a body that is not JSON"), "{reason}");
    let long = "{% for a in range(2000) %}{{ alert.title }}{% endfor %}";
    let plugin = hook(json!({"body": long, "content_type": "text/plain"}));
    let mut alert = alert();
    alert.title = "x".repeat(1024);
    let Step::Rejected { reason } = plugin.next(&news(Kind::Opened, alert), &[]) else {
        panic!("sent")
    };
    assert_eq!(reason, "the template makes a body of more than 1048576 bytes");
}

// Headers and secrets.

#[test]
fn headers_and_a_credential_are_sent_and_marked_as_secret() {
    let plugin = hook(json!({
        "headers": {"X-Team": "ops"},
        "secret_headers": {"X-Api-Key": "k3y"},
        "bearer": "t0ken",
    }));
    let request = request(&plugin, &opened());
    let secret = |name: &str| {
        let header = request.headers.iter().find(|header| header.name == name).expect(name);
        (header.value.as_str(), header.secret)
    };
    assert_eq!(secret("x-team"), ("ops", false));
    assert_eq!(secret("x-api-key"), ("k3y", true));
    assert_eq!(secret("authorization"), ("Bearer t0ken", true));
    let plugin = hook(json!({"basic": {"username": "am", "password": "s3cret"}}));
    let expected = format!("Basic {}", BASE64_STANDARD.encode("am:s3cret"));
    assert_eq!(header(&self::request(&plugin, &opened()), "authorization"), Some(&*expected));
}

#[test]
fn a_secret_address_is_not_shown() {
    let plugin = plugin(json!({"secret_url": "https://hooks.example:8443/t0ken?key=s3cret"}));
    let request = request(&plugin, &opened());
    assert_eq!(request.url, "https://hooks.example:8443/t0ken?key=s3cret");
    assert_eq!(request.shown_url.as_deref(), Some("https://hooks.example:8443/..."));
    let description = plugin.describe();
    assert_eq!(description.contacts, ["https://hooks.example:8443"]);
    assert!(description.secret_in_query);
    let open = self::plugin(json!({"url": "https://hooks.example/in?team=ops"}));
    assert!(!open.describe().secret_in_query);
    assert_eq!(self::request(&open, &opened()).shown_url, None);
}

#[test]
fn each_host_on_the_way_counts_one_hop() {
    let plugin = hook(json!({}));
    let hops = |notification: &Notification| {
        header(&request(&plugin, notification), "tocsin-hops").map(str::to_owned)
    };
    assert_eq!(hops(&opened()).as_deref(), Some("1"));
    let mut passed_on = alert();
    passed_on.hops = 4;
    assert_eq!(hops(&news(Kind::Resolved, passed_on.clone())).as_deref(), Some("5"));
    passed_on.hops = u32::MAX;
    assert_eq!(hops(&news(Kind::Opened, passed_on)), Some(u32::MAX.to_string()));
    assert_eq!(hops(&digest()).as_deref(), Some("1"));
}

#[test]
fn the_last_answer_decides() {
    let plugin = hook(json!({}));
    let answer = |status| HttpAnswer::new("post", status);
    assert_eq!(plugin.next(&opened(), &[answer(204)]), Step::delivered());
    let step = plugin.next(&opened(), &[answer(204), answer(503)]);
    assert_eq!(step, Step::retry("the server failed (503)"));
    assert!(matches!(plugin.next(&opened(), &[answer(508)]), Step::Rejected { .. }), "a loop");
    assert!(matches!(plugin.next(&opened(), &[answer(302)]), Step::DestinationBroken { .. }));
}

// Options.

#[test]
fn options_that_contradict_each_other_or_cannot_be_sent_are_refused() {
    let error = |mut options: Json| {
        options["url"] = "https://a".into();
        refused(options)
    };
    assert_eq!(
        refused(json!({})),
        "`url`: missing\nhint: set it to the address to which the news is posted"
    );
    assert_eq!(
        error(json!({"secret_url": "https://b"})),
        "`secret_url`: contradicts `url`\nhint: remove one of the two"
    );
    assert_eq!(
        error(json!({"bearer": "a", "basic": {"username": "b", "password": "c"}})),
        "`basic`: contradicts `bearer`\nhint: remove one of the two"
    );
    assert_eq!(
        error(json!({"headers": {"Authorization": "x"}})),
        "`headers.Authorization`: is a header that is set without this option\n\
         hint: use `bearer` or `basic`"
    );
    assert_eq!(
        error(json!({"headers": {"X-A": "1"}, "secret_headers": {"x-a": "s3cret"}})),
        "`secret_headers.x-a`: is set twice, and headers have no case\nhint: remove one of them"
    );
    assert_eq!(
        error(json!({"content_type": "text/plain"})),
        "`content_type`: is set without `body`, and a CloudEvent has its own content type\n\
         hint: remove it, or set `body`"
    );
    assert_eq!(
        error(json!({"body": "1", "content_type": "json"})),
        "`content_type`: not a content type\nhint: write it like `text/plain; charset=utf-8`"
    );
    assert!(error(json!({"webhook": 1})).contains("unknown field `webhook`"));
}

#[test]
fn no_error_repeats_a_secret() {
    for options in [
        json!({"secret_url": "ftp://s3cret"}),
        json!({"secret_url": "https://a/s3cret\n"}),
        json!({"url": "https://a", "secrets": ["s3cret"]}),
        json!({"url": "https://a", "secrets": [KEY, "whsec_s3cret!"]}),
        json!({"url": "https://a", "secrets": ["whsec_s3cret"]}),
        json!({"url": "https://a", "secrets": "s3cret"}),
        json!({"url": "https://a", "secrets": []}),
        json!({"url": "https://a", "secrets": vec!["s3cret"; 9]}),
        json!({"url": "https://a", "bearer": "s3cret\n"}),
        json!({"url": "https://a", "bearer": "s3cret x"}),
        json!({"url": "https://a", "basic": "am:s3cret"}),
        json!({"url": "https://a", "basic": {"username": "a:b", "password": "s3cret"}}),
        json!({"url": "https://a", "secret_headers": {"x": "s3cret\r\ny: z"}}),
        json!({"url": "https://a", "secret_headers": {"x y": "s3cret"}}),
        json!({"url": "https://a", "secret_headers": {"host": "s3cret"}}),
    ] {
        let shown = options.to_string();
        let error = refused(options);
        assert!(!error.contains("s3cret"), "{shown}: {error}");
    }
}
