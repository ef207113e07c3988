//! Attempts, request by request: the way through the Web API and through an incoming webhook.

use serde_json::{Value, json};
use slack_channel::SlackChannel;
use tocsin_plugin_api::{
    Urgency,
    capability::{Notifier, Plugin},
    notification::{Alert, Change, Digest, Kind, Notification, Status, Subject, Time},
    step::{HttpAnswer, HttpRequest, Step},
};

const AT: Time = Time::from_unix_seconds(1_700_000_000);
const DELIVERY: &str = "01HF7YAT000000000000000000";
const TOKEN: &str = "xoxb-s3cr3t";
const WEBHOOK: &str = "https://hooks.slack.com/services/T1/B1/s3cr3t";

fn plugin(options: Value) -> SlackChannel {
    SlackChannel::new(serde_json::from_value(options).expect("options")).expect("valid options")
}

fn web_api() -> SlackChannel {
    plugin(json!({"token": TOKEN, "channel": "C1", "mentions": ["here"]}))
}

fn webhook() -> SlackChannel {
    plugin(json!({"webhook_url": WEBHOOK}))
}

fn news(kind: Kind, status: Status) -> Notification {
    let mut alert = Alert::new(12, "db1: disk full", Urgency::High, AT);
    alert.status = status;
    alert.integration = "prometheus".into();
    alert.url = Some("https://alerts.example.com/alerts/12".into());
    let mut news = Notification::new(DELIVERY, kind, alert, AT);
    news.destination = "ops".into();
    news
}

fn opened() -> Notification {
    news(Kind::Opened, Status::Open)
}

/// News about an alert whose message is in the channel.
fn with_message(mut news: Notification) -> Notification {
    news.state = Some(json!({"channel": "C1", "ts": "1.1", "to": "C1"}));
    news
}

fn in_doubt(mut news: Notification) -> Notification {
    news.in_doubt = true;
    news
}

/// Answers of a scripted server, in order. The attempt must need all of them.
struct Played {
    requests: Vec<HttpRequest>,
    end: Step,
}

impl Played {
    fn names(&self) -> Vec<&str> {
        self.requests.iter().map(|request| &*request.name).collect()
    }

    fn body(&self, at: usize) -> Value {
        serde_json::from_str(&self.requests[at].body).expect("JSON")
    }

    fn reason(&self) -> &str {
        match &self.end {
            Step::Retry { reason, .. }
            | Step::Rejected { reason }
            | Step::DestinationBroken { reason } => reason,
            other => panic!("no reason: {other:?}"),
        }
    }
}

#[track_caller]
fn play(plugin: &SlackChannel, news: &Notification, answers: &[(u16, &str)]) -> Played {
    let mut given = Vec::new();
    let mut requests = Vec::new();
    loop {
        let step = plugin.next(news, &given);
        assert_eq!(step, plugin.next(news, &given), "a notifier is deterministic");
        let Step::Send { request } = step else {
            assert_eq!(given.len(), answers.len(), "answers left over: {requests:#?} {step:?}");
            return Played { requests, end: step };
        };
        let Some((status, body)) = answers.get(given.len()) else {
            panic!("unexpected request: {request:#?}");
        };
        given.push(HttpAnswer::new(&request.name, *status).with_body(*body));
        requests.push(request);
    }
}

const POSTED: (u16, &str) = (200, r#"{"ok":true,"channel":"C1","ts":"1.1"}"#);
const NOTHING_FOUND: (u16, &str) = (200, r#"{"ok":true,"messages":[],"has_more":false}"#);
const FOUND: (u16, &str) = (
    200,
    r#"{"ok":true,"messages":[{"ts":"3.3","metadata":{"event_type":"tocsin_alert",
       "event_payload":{"delivery_id":"01HF7YAT000000000000000000"}}}]}"#,
);

fn error(name: &str) -> String {
    json!({"ok": false, "error": name}).to_string()
}

fn delivered(ts: &str) -> Step {
    Step::delivered_with(json!({"channel": "C1", "ts": ts, "to": "C1"}))
}

#[test]
fn posts_a_new_alert_and_keeps_its_place() {
    let played = play(&web_api(), &opened(), &[POSTED]);
    assert_eq!(played.end, delivered("1.1"));
    let request = &played.requests[0];
    assert_eq!(
        (&*request.method, &*request.url),
        ("POST", "https://slack.com/api/chat.postMessage")
    );
    let body = played.body(0);
    assert_eq!(body["channel"], "C1");
    assert_eq!(body["metadata"]["event_type"], "tocsin_alert");
    assert_eq!(body["metadata"]["event_payload"]["delivery_id"], DELIVERY);
    assert_eq!(body["text"], "🔴 Open: db1: disk full (high, prometheus) <!here>");
    let attachment = body["attachments"][0].as_object().expect("an attachment");
    let keys: Vec<_> = attachment.keys().collect();
    assert_eq!(keys, ["blocks", "color", "fallback"], "Slack refuses other keys beside blocks");
    assert_eq!(attachment["color"], "#d32f2f");
    assert_eq!(attachment["blocks"][0]["text"]["text"], "db1: disk full");
    assert_eq!(attachment["blocks"][1]["text"]["text"], "🔴 *Open* · high · prometheus");
    assert_eq!(
        attachment["blocks"][2]["elements"][0]["text"],
        "Opened <!date^1700000000^{date_short_pretty} {time}|2023-11-14T22:13:20Z> · \
         <https://alerts.example.com/alerts/12|Alert #12>"
    );
}

#[test]
fn updates_the_message_as_the_alert_changes() {
    let mut resolved = with_message(news(Kind::Resolved, Status::Resolved));
    resolved.change = Some(Change::new(AT, "api token anna"));
    let played = play(&web_api(), &resolved, &[POSTED]);
    assert_eq!(played.end, delivered("1.1"));
    assert_eq!(played.requests[0].url, "https://slack.com/api/chat.update");
    let body = played.body(0);
    assert_eq!((&body["channel"], &body["ts"]), (&json!("C1"), &json!("1.1")));
    assert_eq!(
        body.get("metadata"),
        None,
        "the message keeps the id of the delivery that posted it"
    );
    assert_eq!(body["text"], "", "an update mentions nobody");
    assert_eq!(body["attachments"][0]["color"], "#2e7d32");
    let origin = &body["attachments"][0]["blocks"][2]["elements"][0]["text"];
    assert!(origin.as_str().is_some_and(|text| text.contains("Resolved by api token anna")));
}

#[test]
fn an_update_is_repeated_without_a_search() {
    let acknowledged = with_message(news(Kind::Acknowledged, Status::Acknowledged));
    let played = play(&web_api(), &in_doubt(acknowledged), &[POSTED]);
    assert_eq!(played.names(), ["update"]);
}

#[test]
fn further_news_are_replies_in_the_thread() {
    let mut noted = with_message(news(Kind::Noted, Status::Open));
    noted.change = Some(Change::new(AT, "anna").with_note("on it, <!here>"));
    let played = play(&web_api(), &noted, &[POSTED, POSTED]);
    assert_eq!(played.names(), ["update", "post"]);
    let reply = played.body(1);
    assert_eq!(reply["thread_ts"], "1.1");
    assert_eq!(reply["text"], "💬 Note by anna:\non it, &lt;!here&gt;");
    assert_eq!(played.end, delivered("1.1"));

    let played =
        play(&web_api(), &with_message(news(Kind::Occurred, Status::Open)), &[POSTED, POSTED]);
    assert_eq!(played.body(1)["text"], "🔁 Reported again, 1 reports in all");
    assert_eq!(played.body(1).get("reply_broadcast"), None);
}

#[test]
fn an_escalation_is_shown_in_the_channel_and_mentions() {
    let escalated = with_message(news(Kind::Escalated, Status::Open));
    let played = play(&web_api(), &escalated, &[POSTED, POSTED]);
    let reply = played.body(1);
    assert_eq!(reply["text"], "⏰ Still open and not acknowledged: alert #12 <!here>");
    assert_eq!(reply["reply_broadcast"], true);
}

#[test]
fn a_note_about_an_alert_without_a_message_posts_the_message_first() {
    let mut noted = news(Kind::Noted, Status::Open);
    noted.change = Some(Change::new(AT, "anna").with_note("on it"));
    let played = play(&web_api(), &noted, &[POSTED, POSTED]);
    assert_eq!(played.names(), ["post", "post"]);
    assert_eq!(played.body(1)["thread_ts"], "1.1");
    // The host does not know of the first message yet, so the next attempt has to look for it.
    let limited = error("ratelimited");
    let played = play(&web_api(), &noted, &[POSTED, (200, &limited)]);
    assert!(matches!(played.end, Step::Retry { in_doubt: true, .. }), "{:?}", played.end);
    let played = play(&web_api(), &in_doubt(noted), &[FOUND, NOTHING_FOUND, POSTED]);
    assert_eq!(played.names(), ["look", "look_in_thread", "post"]);
    assert_eq!(played.body(2)["thread_ts"], "3.3");
    assert_eq!(played.end, delivered("3.3"));
}

#[test]
fn a_message_that_is_gone_is_posted_anew() {
    for name in ["message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"] {
        let error = error(name);
        let new = (200, r#"{"ok":true,"channel":"C1","ts":"2.2"}"#);
        let resolved = with_message(news(Kind::Resolved, Status::Resolved));
        let played = play(&web_api(), &resolved, &[(200, &error), new]);
        assert_eq!(played.names(), ["update", "post"], "{name}");
        assert_eq!(played.end, delivered("2.2"), "{name}");
    }
}

#[test]
fn the_error_of_the_new_post_decides_about_the_channel() {
    let resolved = with_message(news(Kind::Resolved, Status::Resolved));
    let answers = [error("is_inactive"), error("is_archived")];
    let played = play(&web_api(), &resolved, &[(200, &answers[0]), (200, &answers[1])]);
    assert!(matches!(played.end, Step::DestinationBroken { .. }), "{:?}", played.end);
    let hint = "the server answered `is_archived`: unarchive the channel, or set another one";
    assert_eq!(played.reason(), hint);
}

#[test]
fn a_state_of_another_channel_is_not_used() {
    let mut news = opened();
    news.state = Some(json!({"channel": "C9", "ts": "1.1", "to": "C9"}));
    assert_eq!(play(&web_api(), &news, &[POSTED]).names(), ["post"]);
}

#[test]
fn a_post_in_doubt_is_looked_for_first() {
    let played = play(&web_api(), &in_doubt(opened()), &[FOUND]);
    assert_eq!(played.end, delivered("3.3"));
    let request = &played.requests[0];
    assert_eq!(request.method, "GET");
    assert_eq!(
        request.url,
        "https://slack.com/api/conversations.history?channel=C1&oldest=1699999700&limit=200\
         &include_all_metadata=true"
    );
    let played = play(&web_api(), &in_doubt(opened()), &[NOTHING_FOUND, POSTED]);
    assert_eq!(played.names(), ["look", "post"]);
    assert_eq!(played.end, delivered("1.1"));
}

#[test]
fn a_search_reads_a_second_page() {
    let more = r#"{"ok":true,"messages":[],"response_metadata":{"next_cursor":"a=b"}}"#;
    let played = play(&web_api(), &in_doubt(opened()), &[(200, more), FOUND]);
    assert!(played.requests[1].url.ends_with("&cursor=a%3Db"));
    assert_eq!(played.end, delivered("3.3"));
    let played = play(&web_api(), &in_doubt(opened()), &[(200, more), (200, more), POSTED]);
    assert_eq!(played.names(), ["look", "look", "post"]);
}

#[test]
fn a_token_that_may_not_look_posts_again() {
    for name in ["missing_scope", "not_in_channel", "channel_not_found", "not_allowed_token_type"] {
        let error = error(name);
        let played = play(&web_api(), &in_doubt(opened()), &[(200, &error), POSTED]);
        assert_eq!(played.names(), ["look", "post"], "{name}");
    }
}

#[test]
fn a_retry_keeps_the_doubt_until_the_search_has_resolved_it() {
    let limited = error("ratelimited");
    let played = play(&web_api(), &in_doubt(opened()), &[(200, &limited)]);
    assert!(matches!(played.end, Step::Retry { in_doubt: true, .. }), "{:?}", played.end);
    let played = play(&web_api(), &in_doubt(opened()), &[NOTHING_FOUND, (200, &limited)]);
    assert!(matches!(played.end, Step::Retry { in_doubt: false, .. }), "{:?}", played.end);
    let played = play(&webhook(), &in_doubt(opened()), &[(500, "rollup_error")]);
    assert!(matches!(played.end, Step::Retry { in_doubt: true, .. }), "{:?}", played.end);
}

#[test]
fn an_error_that_may_have_posted_is_in_doubt() {
    for name in ["internal_error", "fatal_error"] {
        let error = error(name);
        let played = play(&web_api(), &opened(), &[(200, &error)]);
        assert!(matches!(played.end, Step::Retry { in_doubt: true, .. }), "{name}");
        assert_eq!(played.reason(), format!("the server answered `{name}`"));
    }
}

#[test]
fn a_refused_content_is_sent_once_more_as_short_text() {
    let names = ["invalid_blocks", "invalid_attachments", "msg_blocks_too_long", "msg_too_long"];
    for name in names {
        let error = error(name);
        let played = play(&web_api(), &opened(), &[(200, &error), POSTED]);
        assert_eq!(played.names(), ["post", "post_plain"], "{name}");
        let body = played.body(1);
        assert_eq!(body.get("attachments"), None);
        let text = "🔴 Open: db1: disk full (high, prometheus) <!here> \
                    <https://alerts.example.com/alerts/12>";
        assert_eq!(body["text"], text);
        assert_eq!(body["metadata"]["event_payload"]["delivery_id"], DELIVERY);
        let played = play(&web_api(), &opened(), &[(200, &error), (200, &error)]);
        assert!(matches!(played.end, Step::Rejected { .. }), "{name}");
        let update = with_message(news(Kind::Resolved, Status::Resolved));
        let played = play(&web_api(), &update, &[(200, &error), POSTED]);
        assert_eq!(played.names(), ["update", "update_plain"]);
        assert_eq!(played.body(1)["attachments"], json!([]));
    }
}

#[test]
fn refused_metadata_are_left_out() {
    let error = error("metadata_must_be_sent_from_app");
    let played = play(&web_api(), &opened(), &[(200, &error), POSTED]);
    assert_eq!(played.names(), ["post", "post_without_metadata"]);
    assert_eq!(played.body(1).get("metadata"), None);
}

#[test]
fn a_channel_without_threads_gets_a_message() {
    let noted = with_message(news(Kind::Noted, Status::Open));
    let error = error("restricted_action_non_threadable_channel");
    let played = play(&web_api(), &noted, &[POSTED, (200, &error), POSTED]);
    assert_eq!(played.names(), ["update", "post", "post"]);
    assert_eq!(played.body(2).get("thread_ts"), None);
}

#[test]
fn broken_destinations_are_parked_with_advice() {
    for (name, advice) in [
        ("invalid_auth", "install the app again"),
        ("token_revoked", "install the app again"),
        ("missing_scope", "`chat:write`"),
        ("not_in_channel", "/invite"),
        ("channel_not_found", "channel's id"),
        ("is_archived", "unarchive"),
        ("restricted_action", "ask an admin"),
    ] {
        let error = error(name);
        let played = play(&web_api(), &opened(), &[(200, &error)]);
        assert!(matches!(played.end, Step::DestinationBroken { .. }), "{name}");
        assert!(played.reason().contains(advice), "{}", played.reason());
    }
    for status in [401, 403, 404, 410, 302] {
        for plugin in [web_api(), webhook()] {
            let played = play(&plugin, &opened(), &[(status, "")]);
            assert!(matches!(played.end, Step::DestinationBroken { .. }), "{status}");
        }
    }
}

#[test]
fn limits_and_outages_are_retried() {
    for name in ["ratelimited", "rate_limited", "service_unavailable", "an_error_of_next_year"] {
        let error = error(name);
        let played = play(&web_api(), &opened(), &[(200, &error)]);
        assert!(matches!(played.end, Step::Retry { in_doubt: false, .. }), "{name}");
    }
    for status in [429, 500, 502, 503, 504] {
        for plugin in [web_api(), webhook()] {
            let played = play(&plugin, &opened(), &[(status, "")]);
            assert!(matches!(played.end, Step::Retry { in_doubt: false, .. }), "{status}");
        }
    }
}

#[test]
fn a_webhook_gets_one_message_for_each_news() {
    let played = play(&webhook(), &opened(), &[(200, "ok")]);
    assert_eq!(played.end, Step::delivered());
    assert_eq!(played.requests[0].url, WEBHOOK);
    assert_eq!(played.requests[0].shown_url.as_deref(), Some("https://hooks.slack.com/..."));
    assert_eq!(played.body(0)["metadata"]["event_payload"]["delivery_id"], DELIVERY);
    let mut noted = news(Kind::Noted, Status::Open);
    noted.change = Some(Change::new(AT, "anna").with_note("on it"));
    let played = play(&webhook(), &noted, &[(200, "ok")]);
    let blocks = &played.body(0)["attachments"][0]["blocks"];
    assert_eq!(blocks[2]["text"]["text"], "💬 Note by anna:\non it");
    let played = play(&webhook(), &opened(), &[(400, "invalid_blocks"), (200, "ok")]);
    assert_eq!(played.names(), ["post", "post_plain"]);
}

#[test]
fn mattermost_gets_an_attachment_without_blocks() {
    let mattermost = plugin(json!({"webhook_url": "https://chat.example.com/hooks/s3cr3t"}));
    let mut news = opened();
    let Subject::Alert(alert) = &mut news.subject else { panic!("an alert") };
    alert.description = Some("wake @all, ![x](https://x)".into());
    let played = play(&mattermost, &news, &[(200, "ok")]);
    assert_eq!(played.end, Step::delivered());
    let attachment = &played.body(0)["attachments"][0];
    assert_eq!(attachment.get("blocks"), None);
    assert_eq!(attachment["title"], "🔴 Open: db1: disk full");
    assert_eq!(attachment["title_link"], "https://alerts.example.com/alerts/12");
    assert_eq!(attachment["text"], "wake @\u{200B}all, !\\[x](https://x)");
    assert_eq!(attachment["footer"], "alert #12 · high · prometheus · opened 2023-11-14T22:13:20Z");
    let blocks = plugin(json!({"webhook_url": "https://x/hooks/a", "layout": "blocks"}));
    let played = play(&blocks, &opened(), &[(200, "ok")]);
    assert!(played.body(0)["attachments"][0]["blocks"].is_array());
}

#[test]
fn skipped_news_are_said_in_words() {
    let mut resolved = news(Kind::Resolved, Status::Resolved);
    resolved.skipped = vec![Kind::Opened];
    let played = play(&web_api(), &resolved, &[POSTED]);
    let blocks = &played.body(0)["attachments"][0]["blocks"];
    assert_eq!(
        blocks[3]["elements"][0]["text"],
        "Opened and resolved while this channel could not be reached."
    );
}

#[test]
fn tests_and_digests_are_messages_without_a_thread() {
    let played = play(&web_api(), &with_message(news(Kind::Test, Status::Open)), &[POSTED]);
    assert_eq!(played.end, Step::delivered());
    assert_eq!(played.names(), ["post"]);
    let text = &played.body(0)["attachments"][0]["blocks"][2]["elements"][0]["text"];
    assert!(text.as_str().is_some_and(|text| text.starts_with("A test of the destination `ops`")));

    let mut digest = Digest::default();
    digest.count = 137;
    digest.urgencies = vec![(Urgency::Critical, 2), (Urgency::Low, 135)];
    digest.integrations = vec![("prometheus".into(), 130), ("ops-slack".into(), 7)];
    (digest.first, digest.last) = (12, 148);
    digest.url = Some("https://alerts.example.com/alerts".into());
    let news = Notification::about(DELIVERY, Kind::Digest, Subject::Digest(digest), AT);
    let played = play(&web_api(), &news, &[POSTED]);
    assert_eq!(played.end, Step::delivered());
    let body = played.body(0);
    assert_eq!(body["text"], "🔴 Many new alerts: 137, from #12 to #148 <!here>");
    let blocks = &body["attachments"][0]["blocks"];
    assert_eq!(blocks[0]["text"]["text"], "137 new alerts, from #12 to #148");
    assert_eq!(blocks[1]["text"]["text"], "*Urgencies*\n2 critical, 135 low");
    assert_eq!(blocks[2]["text"]["text"], "*Integrations*\n130 prometheus, 7 ops-slack");
    assert_eq!(play(&web_api(), &in_doubt(news), &[FOUND]).end, Step::delivered());
}

#[test]
fn suggests_one_attempt_a_second_and_names_its_server() {
    let description = web_api().describe();
    assert_eq!(description.pause_ms, 1000);
    assert_eq!(description.contacts, ["https://slack.com"]);
    assert_eq!(description.kinds, Kind::ALL);
    assert!(!description.secret_in_query);
    assert_eq!(webhook().describe().contacts, ["https://hooks.slack.com"]);
}
