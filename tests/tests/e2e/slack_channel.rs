//! The plugin `slack-channel` against the stand-in for Slack, over HTTP, without a host: the loop of this
//! file sends the requests, as a host does.

use serde_json::{Value, json};
use slack_channel::SlackChannel;
use tocsin_plugin_api::{
    Urgency,
    capability::{Notifier, Plugin},
    notification::{Alert, Change, Kind, Notification, Status, Time},
    step::{HttpAnswer, HttpRequest, Step},
};
use tocsin_tests::{
    http::{Connection, Request},
    slack::{CHANNEL, Fault, Slack, TOKEN},
};

/// Destination as a host keeps it: a plugin, and the state of one alert.
struct Destination {
    plugin: SlackChannel,
    state: Option<Value>,
    deliveries: u32,
}

/// Verdict of an attempt, or the loss of its connection.
#[derive(Debug, PartialEq)]
enum Attempt {
    Ended(Step),
    Cut,
}

impl Destination {
    fn new(options: Value) -> Self {
        let options = serde_json::from_value(options).expect("options");
        let plugin = SlackChannel::new(options).expect("valid options");
        Self { plugin, state: None, deliveries: 0 }
    }

    fn web_api(slack: &Slack) -> Self {
        Self::new(json!({"token": TOKEN, "channel": CHANNEL, "api_url": slack.api_url()}))
    }

    fn news(&mut self, kind: Kind, status: Status) -> Notification {
        self.deliveries += 1;
        let at = Time::from_unix_seconds(1_700_000_000);
        let mut alert = Alert::new(12, "outage: db1 is down <!here>", Urgency::High, at);
        alert.status = status;
        alert.integration = "ops".into();
        let id = format!("01HF7YAT0000000000{:08}", self.deliveries);
        let mut news = Notification::new(id, kind, alert, at);
        news.state = self.state.clone();
        news
    }

    fn attempt(&mut self, news: &Notification) -> Attempt {
        let mut answers = Vec::new();
        loop {
            let step = self.plugin.next(news, &answers);
            match step {
                Step::Send { request } => match send(&request) {
                    Some(answer) => answers.push(answer),
                    None => return Attempt::Cut,
                },
                Step::Delivered { ref state } => {
                    self.state = state.clone().or_else(|| self.state.take());
                    return Attempt::Ended(step);
                }
                step => return Attempt::Ended(step),
            }
        }
    }

    #[track_caller]
    fn deliver(&mut self, kind: Kind, status: Status) {
        let news = self.news(kind, status);
        let attempt = self.attempt(&news);
        assert!(matches!(attempt, Attempt::Ended(Step::Delivered { .. })), "{attempt:?}");
    }

    /// Delivers news whose first attempt is lost, and returns the verdict of the second attempt.
    fn deliver_in_doubt(&mut self, kind: Kind, status: Status) -> Attempt {
        let mut news = self.news(kind, status);
        assert_eq!(self.attempt(&news), Attempt::Cut);
        (news.attempt, news.in_doubt) = (2, true);
        self.attempt(&news)
    }
}

/// Sends a request as it is; `None` if the connection was cut.
fn send(request: &HttpRequest) -> Option<HttpAnswer> {
    let rest = request.url.strip_prefix("http://").expect("the stand-in has no TLS");
    let (address, _) = rest.split_once('/').expect("a path");
    let target = &rest[address.len()..];
    let mut connection =
        Connection::open(address.parse().expect("an address")).expect("it listens");
    let mut sent = Request::new(&request.method, target);
    if request.method == "POST" {
        sent = Request::post(target, &request.body);
    }
    for header in &request.headers {
        sent = sent.header(&header.name, header.value.clone());
    }
    let answer = connection.ask(&sent).ok()?;
    let given = HttpAnswer::new(&request.name, answer.status).with_body(answer.body);
    Some(answer.headers.iter().fold(given, |given, (name, value)| given.with_header(name, value)))
}

#[track_caller]
fn only_message(slack: &Slack) -> tocsin_tests::slack::Message {
    let mut messages = slack.messages();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    messages.remove(0)
}

#[test]
fn one_message_follows_the_life_of_an_alert() {
    let slack = Slack::start();
    let mut ops = Destination::web_api(&slack);
    ops.deliver(Kind::Opened, Status::Open);
    assert_eq!(only_message(&slack).color(), Some("#d32f2f"));
    ops.deliver(Kind::Acknowledged, Status::Acknowledged);
    assert_eq!(only_message(&slack).color(), Some("#f57c00"));
    let mut noted = ops.news(Kind::Noted, Status::Acknowledged);
    noted.change = Some(Change::new(noted.attempted_at, "anna").with_note("on it"));
    ops.attempt(&noted);
    ops.deliver(Kind::Resolved, Status::Resolved);
    let message = only_message(&slack);
    assert_eq!((message.color(), message.updates), (Some("#2e7d32"), 3));
    let replies = slack.replies(&message.ts);
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].text(), "💬 Note by anna:\non it");
    assert_eq!(message.delivery_id(), Some("01HF7YAT000000000000000001"));
}

#[test]
fn a_cut_connection_posts_no_second_message() {
    for fault in [Fault::Cut, Fault::CutAfterwards] {
        let slack = Slack::start();
        let mut ops = Destination::web_api(&slack);
        slack.fail("chat.postMessage", fault.clone());
        let attempt = ops.deliver_in_doubt(Kind::Opened, Status::Open);
        assert!(matches!(attempt, Attempt::Ended(Step::Delivered { .. })), "{attempt:?}");
        let message = only_message(&slack);
        ops.deliver(Kind::Resolved, Status::Resolved);
        assert_eq!(only_message(&slack).ts, message.ts, "{fault:?}");
    }
}

#[test]
fn a_cut_connection_posts_no_second_reply() {
    for fault in [Fault::Cut, Fault::CutAfterwards] {
        let slack = Slack::start();
        let mut ops = Destination::web_api(&slack);
        ops.deliver(Kind::Opened, Status::Open);
        slack.fail("chat.postMessage", fault);
        ops.deliver_in_doubt(Kind::Occurred, Status::Open);
        assert_eq!(slack.replies(&only_message(&slack).ts).len(), 1);
    }
}

#[test]
fn an_internal_error_after_the_post_leaves_one_message() {
    let slack = Slack::start();
    let mut ops = Destination::web_api(&slack);
    slack.fail("chat.postMessage", Fault::ErrorAfterwards("internal_error"));
    let mut news = ops.news(Kind::Opened, Status::Open);
    let attempt = ops.attempt(&news);
    assert!(matches!(attempt, Attempt::Ended(Step::Retry { in_doubt: true, .. })), "{attempt:?}");
    news.in_doubt = true;
    ops.attempt(&news);
    assert_eq!(only_message(&slack).delivery_id(), Some(news.delivery_id.as_str()));
}

#[test]
fn a_token_that_cannot_read_posts_twice_rather_than_never() {
    let slack = Slack::start();
    slack.set_scopes(&["chat:write"]);
    let mut ops = Destination::web_api(&slack);
    slack.fail("chat.postMessage", Fault::CutAfterwards);
    ops.deliver_in_doubt(Kind::Opened, Status::Open);
    assert_eq!(slack.messages().len(), 2);
}

#[test]
fn a_deleted_message_is_posted_anew() {
    let slack = Slack::start();
    let mut ops = Destination::web_api(&slack);
    ops.deliver(Kind::Opened, Status::Open);
    slack.delete(&only_message(&slack).ts);
    ops.deliver(Kind::Resolved, Status::Resolved);
    assert_eq!(only_message(&slack).color(), Some("#2e7d32"));
}

#[test]
fn a_destination_that_cannot_work_is_broken() {
    let slack = Slack::start();
    let mut ops = Destination::web_api(&slack);
    ops.deliver(Kind::Opened, Status::Open);
    let mut assert_broken = |advice: &str| {
        let news = ops.news(Kind::Resolved, Status::Resolved);
        match ops.attempt(&news) {
            Attempt::Ended(Step::DestinationBroken { reason }) => {
                assert!(reason.contains(advice), "{reason}");
            }
            other => panic!("not broken: {other:?}"),
        }
    };
    slack.set_archived(true);
    assert_broken("unarchive the channel");
    slack.set_archived(false);
    slack.set_token_revoked(true);
    assert_broken("new bot token");
    slack.set_token_revoked(false);
    slack.set_scopes(&[]);
    assert_broken("`chat:write`");
}

#[test]
fn a_limit_is_obeyed_and_an_outage_is_retried() {
    let slack = Slack::start();
    let mut ops = Destination::web_api(&slack);
    slack.fail("chat.postMessage", Fault::TooMany(Some(30)));
    slack.fail("chat.postMessage", Fault::Status(500));
    let news = ops.news(Kind::Opened, Status::Open);
    let attempt = ops.attempt(&news);
    let is_limit = matches!(attempt, Attempt::Ended(Step::Retry { after_seconds: Some(30), .. }));
    assert!(is_limit, "{attempt:?}");
    let attempt = ops.attempt(&news);
    assert!(matches!(attempt, Attempt::Ended(Step::Retry { in_doubt: false, .. })), "{attempt:?}");
    ops.attempt(&news);
    assert_eq!(only_message(&slack).delivery_id(), Some(news.delivery_id.as_str()));
}

#[test]
fn incoming_webhooks_of_slack_and_mattermost_take_the_messages() {
    let slack = Slack::start();
    for url in [slack.webhook_url(), slack.mattermost_url()] {
        let mut hook = Destination::new(json!({"webhook_url": url}));
        hook.deliver(Kind::Opened, Status::Open);
        hook.deliver(Kind::Resolved, Status::Resolved);
    }
    let messages = slack.messages();
    let colors: Vec<_> = messages.iter().filter_map(|message| message.color()).collect();
    assert_eq!(colors, ["#d32f2f", "#2e7d32", "#d32f2f", "#2e7d32"]);
    assert!(messages[0].body["attachments"][0]["blocks"].is_array());
    assert!(messages[2].body["attachments"][0].get("blocks").is_none());
    slack.set_archived(true);
    let mut hook = Destination::new(json!({"webhook_url": slack.webhook_url()}));
    let news = hook.news(Kind::Opened, Status::Open);
    let attempt = hook.attempt(&news);
    assert!(matches!(attempt, Attempt::Ended(Step::DestinationBroken { .. })), "{attempt:?}");
}

#[test]
fn no_message_begins_with_the_trigger_word_of_the_title() {
    let slack = Slack::start();
    let mut ops = Destination::web_api(&slack);
    for kind in [Kind::Opened, Kind::Occurred, Kind::Escalated, Kind::Test] {
        ops.deliver(kind, Status::Open);
    }
    let messages = slack.messages();
    let all =
        messages.iter().flat_map(|message| slack.replies(&message.ts)).chain(messages.clone());
    for message in all {
        assert!(!message.text().starts_with("outage:"), "{message:#?}");
        let fallback = message.body["attachments"][0]["fallback"].as_str().unwrap_or_default();
        assert!(!fallback.starts_with("outage:"), "{message:#?}");
        let ids = message.delivery_id().expect("the message is recognizable");
        assert!(ids.starts_with("01HF7YAT"));
    }
}
