//! Payloads of generated alerts: every request is within the limits of Slack, mentions nobody, and shows no
//! secret; and no answer of a server makes the plugin panic.

use std::sync::LazyLock;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use slack_channel::SlackChannel;
use tocsin_plugin_api::{
    Detail, Urgency,
    capability::{Notifier, Plugin},
    notification::{Alert, Change, Digest, Kind, Notification, Status, Subject, Time},
    step::{HttpAnswer, HttpRequest, MOST_REQUESTS, Step},
};
use tocsin_plugin_kit::testing::{config, long_texts, texts};

const SECRET: &str = "s3cr3t-k3y";
const MENTION: &str = "<!subteam^S0123>";

/// Plugins of each way and layout.
static PLUGINS: LazyLock<Vec<SlackChannel>> = LazyLock::new(|| {
    [
        json!({"token": SECRET, "channel": "C0123456789", "mentions": ["S0123"]}),
        json!({
            "webhook_url": format!("https://hooks.slack.com/services/T1/B1/{SECRET}"),
            "mentions": ["S0123"],
        }),
        json!({"webhook_url": format!("https://chat.example.com/hooks/{SECRET}")}),
    ]
    .into_iter()
    .map(|options| {
        let options = serde_json::from_value(options).expect("options");
        SlackChannel::new(options).expect("valid options")
    })
    .collect()
});

/// Text that means something to Slack or Mattermost.
const HOSTILE: [&str; 20] = [
    "<!here>",
    "<!channel>",
    "<!everyone>",
    "<@U1>",
    "<@U1|anna>",
    "<!subteam^S1>",
    "<https://evil.example|bank>",
    "@here",
    "@channel",
    "@all",
    "@anna",
    "[bank](https://evil.example)",
    "![pixel](https://evil.example)",
    "&lt;!here&gt;",
    "שלום",
    "مرحبا",
    "🔥🚨",
    "👩‍💻",
    "```",
    "|>",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => texts(&HOSTILE),
        1 => long_texts(&HOSTILE).prop_map(|text| text.chars().take(5000).collect()),
        1 => select(&HOSTILE[..]).prop_map(|piece| piece.repeat(500)),
    ]
}

fn link() -> impl Strategy<Value = Option<String>> {
    let path = || text().prop_map(|text| text.chars().take(1500).collect::<String>());
    option::of(prop_oneof![
        3 => Just("https://x.example/a?b=1&c=2".to_owned()),
        2 => path().prop_map(|path| format!("https://x.example/{}", path.replace(' ', ""))),
        1 => path(),
    ])
}

fn status() -> impl Strategy<Value = Status> {
    select(vec![Status::Open, Status::Acknowledged, Status::Resolved])
}

fn alert() -> impl Strategy<Value = Alert> {
    let detail = (text(), text()).prop_map(|(label, value)| Detail { label, value });
    let short =
        ("[a-z]{1,12}", "[a-z0-9 ]{0,60}").prop_map(|(label, value)| Detail { label, value });
    let details = prop_oneof![vec(detail, 0..6), vec(short, 100..=100)];
    let texts = (text(), option::of(text()), details, text());
    let rest = (select(&Urgency::ALL[..]), status(), link(), link(), 1..u64::MAX, any::<i64>());
    (texts, rest).prop_map(|((title, description, details, integration), rest)| {
        let (urgency, status, url, link, occurrences, at) = rest;
        let mut alert = Alert::new(7, title, urgency, Time::from_unix_milliseconds(at));
        (alert.description, alert.details, alert.integration) = (description, details, integration);
        (alert.status, alert.url, alert.link, alert.occurrences) = (status, url, link, occurrences);
        alert
    })
}

fn subject() -> impl Strategy<Value = Subject> {
    let integrations = vec((text(), any::<u64>()), 0..60);
    let digest = (integrations, link(), any::<u64>()).prop_map(|(integrations, url, count)| {
        let mut digest = Digest::default();
        digest.urgencies = Urgency::ALL.map(|urgency| (urgency, count)).to_vec();
        (digest.integrations, digest.url, digest.count, digest.last) =
            (integrations, url, count, count);
        Subject::Digest(digest)
    });
    prop_oneof![9 => alert().prop_map(|alert| Subject::Alert(Box::new(alert))), 1 => digest]
}

fn notification() -> impl Strategy<Value = Notification> {
    let change = option::of((text(), option::of(text())));
    let state = select(vec![
        None,
        Some(json!({"channel": "C0123456789", "ts": "1.1", "to": "C0123456789"})),
        Some(json!(["other"])),
    ]);
    let parts = (subject(), select(&Kind::ALL[..]), change, vec(select(&Kind::ALL[..]), 0..5));
    (parts, state, any::<bool>(), text()).prop_map(|(parts, state, in_doubt, destination)| {
        let (subject, kind, change, skipped) = parts;
        let kind = match (&subject, kind) {
            (Subject::Digest(_), _) => Kind::Digest,
            (_, Kind::Digest) => Kind::Opened,
            (_, kind) => kind,
        };
        let mut news =
            Notification::about("01HF7YAT00000000000000000A", kind, subject, Time::default());
        news.change = change.map(|(by, note)| {
            let change = Change::new(Time::default(), by);
            note.iter().fold(change, Change::with_note)
        });
        (news.skipped, news.state, news.in_doubt) = (skipped, state, in_doubt);
        news.destination = destination;
        news
    })
}

/// Bodies of servers: those that Slack has, and others.
fn body() -> impl Strategy<Value = String> {
    let errors = select(vec![
        "invalid_blocks",
        "metadata_too_large",
        "message_not_found",
        "thread_not_found",
        "missing_scope",
        "internal_error",
        "ratelimited",
        "is_archived",
    ]);
    prop_oneof![
        4 => Just(r#"{"ok":true,"channel":"C0123456789","ts":"2.2"}"#.to_owned()),
        2 => Just(r#"{"ok":true,"messages":[],"response_metadata":{"next_cursor":"x"}}"#.to_owned()),
        3 => errors.prop_map(|name| json!({"ok": false, "error": name}).to_string()),
        1 => Just("ok".to_owned()),
        1 => text(),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_request_is_within_the_limits_and_mentions_nobody(
        news in notification(),
        answers in vec((select(vec![200, 200, 200, 200, 429, 500, 400, 404]), body()), MOST_REQUESTS),
    ) {
        for plugin in PLUGINS.iter() {
            let mut given: Vec<HttpAnswer> = Vec::new();
            loop {
                let step = plugin.next(&news, &given);
                prop_assert_eq!(&step, &plugin.next(&news, &given));
                let Step::Send { request } = step else {
                    check_reason(&step)?;
                    break;
                };
                prop_assert!(given.len() < MOST_REQUESTS, "a request too many");
                check_request(&request, &news)?;
                let (status, body) = &answers[given.len()];
                given.push(HttpAnswer::new(request.name, *status).with_body(body));
            }
        }
    }
}

fn check_reason(step: &Step) -> Result<(), TestCaseError> {
    if let Step::Retry { reason, .. }
    | Step::Rejected { reason }
    | Step::DestinationBroken { reason } = step
    {
        prop_assert!(!reason.is_empty() && reason.len() < 400, "{}", reason);
        prop_assert!(!reason.contains(SECRET) && !reason.chars().any(char::is_control));
    }
    Ok(())
}

fn check_request(request: &HttpRequest, news: &Notification) -> Result<(), TestCaseError> {
    let recorded = request.shown_url.as_ref().unwrap_or(&request.url);
    prop_assert!(!recorded.contains(SECRET) && !request.body.contains(SECRET));
    for header in &request.headers {
        prop_assert_eq!(header.secret, header.value.contains(SECRET), "{}", header.name);
    }
    if request.method == "GET" {
        return Ok(());
    }
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    let escaped: usize =
        request.body.chars().map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() }).sum();
    prop_assert!(escaped < 12_000, "{} bytes: {}", escaped, request.body);
    let is_markdown = request.url.contains("/hooks/");
    check_strings(&body, is_markdown)?;
    if let Some(text) = body["text"].as_str().filter(|text| !text.is_empty()) {
        check_beginning(text, news)?;
    }
    for attachment in body["attachments"].as_array().into_iter().flatten() {
        check_beginning(attachment["fallback"].as_str().expect("a fallback"), news)?;
        if is_markdown {
            prop_assert!(attachment.get("blocks").is_none());
        } else {
            check_blocks(attachment)?;
        }
    }
    Ok(())
}

/// Checks that a text does not begin with the words of an alert: a trigger word there would open an alert.
fn check_beginning(text: &str, news: &Notification) -> Result<(), TestCaseError> {
    let word = match news.kind {
        Kind::Digest => "🔴 Many new alerts: ",
        Kind::Test => "🧪 Test: ",
        _ => match text.chars().next() {
            Some('🔴') => "🔴 Open: ",
            Some('🟠') => "🟠 Acknowledged: ",
            Some('🟢') => "🟢 Resolved: ",
            Some('🔔') => "🔔 News about alert ",
            Some('💬') => "💬 Note",
            Some('⏰') => "⏰ Still open",
            _ => "🔁 Reported again",
        },
    };
    prop_assert!(text.starts_with(word), "{}", text);
    Ok(())
}

fn check_blocks(attachment: &Value) -> Result<(), TestCaseError> {
    let keys: Vec<_> = attachment.as_object().expect("an object").keys().collect();
    prop_assert_eq!(keys, ["blocks", "color", "fallback"]);
    let blocks = attachment["blocks"].as_array().expect("a list");
    prop_assert!((1..=50).contains(&blocks.len()));
    let check = |text: &Value, most: usize| {
        let length = text["text"].as_str().expect("a text").encode_utf16().count();
        prop_assert!((1..=most).contains(&length), "{} of {}: {}", length, most, text);
        Ok(())
    };
    for block in blocks {
        match block["type"].as_str() {
            Some("header") => {
                prop_assert_eq!(&block["text"]["type"], "plain_text");
                check(&block["text"], 150)?;
            }
            Some("section") => {
                let fields = block["fields"].as_array();
                prop_assert_ne!(fields.is_some(), block.get("text").is_some());
                if let Some(fields) = fields {
                    prop_assert!((1..=10).contains(&fields.len()));
                    fields.iter().try_for_each(|field| check(field, 2000))?;
                } else {
                    check(&block["text"], 3000)?;
                }
            }
            Some("context") => {
                let elements = block["elements"].as_array().expect("elements");
                prop_assert!((1..=10).contains(&elements.len()));
                elements.iter().try_for_each(|element| check(element, 3000))?;
            }
            _ => prop_assert!(false, "{block}"),
        }
    }
    Ok(())
}

/// Checks each string of a message: control forms are those of the plugin and of the options.
fn check_strings(value: &Value, is_markdown: bool) -> Result<(), TestCaseError> {
    match value {
        Value::String(text) => check_string(text, is_markdown),
        Value::Array(items) => items.iter().try_for_each(|item| check_strings(item, is_markdown)),
        Value::Object(map) => map.values().try_for_each(|item| check_strings(item, is_markdown)),
        _ => Ok(()),
    }
}

fn check_string(text: &str, is_markdown: bool) -> Result<(), TestCaseError> {
    let is_shown = |c: char| c == '\n' || c == '\t' || !c.is_control();
    prop_assert!(text.chars().all(is_shown), "{:?}", text);
    let without_mention = text.replace(MENTION, "");
    for form in without_mention.split('<').skip(1) {
        let is_own = form.starts_with("!date^") || form.starts_with("http");
        prop_assert!(is_own && form.contains('>'), "{}", text);
    }
    if is_markdown {
        // The text of a link is chosen by the plugin; an address may have any character.
        let without_links: String = without_mention
            .split('<')
            .map(|part| {
                part.split_once('>')
                    .filter(|(form, _)| form.starts_with("http"))
                    .map_or(part, |it| it.1)
            })
            .collect();
        for (at, _) in without_links.match_indices('@').filter(|_| !text.starts_with("http")) {
            prop_assert!(without_links[at..].starts_with("@\u{200B}"), "{}", text);
        }
        for (at, _) in without_links.match_indices('[').filter(|_| !text.starts_with("http")) {
            prop_assert!(without_links[..at].ends_with('\\'), "{}", text);
        }
    }
    Ok(())
}
