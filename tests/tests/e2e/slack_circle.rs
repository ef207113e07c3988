//! The whole circle: a message in Slack opens an alert, the alert is posted to a channel, changes of the
//! alert change the message, and the message never opens another alert.

use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::Request,
    libraries::library,
    slack::{CHANNEL, Message, Slack, TOKEN},
    wait,
};

/// Token of the outgoing webhook.
const WEBHOOK_TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

fn site() -> Site {
    Site::new()
        .plugin(&library("slack-outgoing-webhook"))
        .plugin(&library("slack-channel"))
        .env("WEBHOOK_TOKEN", WEBHOOK_TOKEN)
        .env("BOT_TOKEN", TOKEN)
}

fn host(slack: &Slack, options: &str) -> TestHost {
    let config = format!(
        "[integrations.ops-slack]\nplugin = 'slack-outgoing-webhook'\nurgency = 'high'\n\
         [integrations.ops-slack.options]\ntoken = {{ env = 'WEBHOOK_TOKEN' }}\n{options}\
         [destinations.ops-channel]\nplugin = 'slack-channel'\n\
         events = ['opened', 'acknowledged', 'resolved', 'noted']\n\
         allow_networks = ['127.0.0.0/8']\nallow_http = true\n\
         [destinations.ops-channel.options]\ntoken = {{ env = 'BOT_TOKEN' }}\n\
         channel = '{CHANNEL}'\napi_url = '{}'\n",
        slack.api_url()
    );
    site().config(&config).serve()
}

/// Returns the form that Slack's outgoing webhook sends for the message of a person.
fn message(text: &str, trigger_word: &str) -> String {
    let text = text.replace(' ', "+");
    format!(
        "token={WEBHOOK_TOKEN}&team_id=T0001&team_domain=example&channel_id={CHANNEL}\
         &channel_name=ops&timestamp=1700000000.000100&user_id=U2147483697&user_name=steve&text={text}\
         &trigger_word={trigger_word}"
    )
}

fn act(host: &TestHost, path: &str, body: Option<Value>) {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::post(path, &*body).header("content-type", "application/json");
    let answer = host.ask_admin(&request);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Waits until the channel has one message, and the message has had so many updates.
fn only_message(slack: &Slack, updates: usize) -> Message {
    let message = wait::until("the message has its updates", || {
        slack.messages().into_iter().next().filter(|message| message.updates == updates)
    });
    assert_eq!(slack.messages().len(), 1, "one message for one alert");
    message
}

fn deliveries(host: &TestHost) -> Vec<Value> {
    let mut list = host.api("/api/v1/deliveries");
    list["deliveries"].as_array_mut().expect("a list").drain(..).collect()
}

/// Waits until as many deliveries as given are delivered.
fn all_delivered(host: &TestHost, count: usize) {
    wait::until("everything is delivered", || {
        let deliveries = deliveries(host);
        let is_done = |delivery: &Value| delivery["status"] == "delivered";
        (deliveries.len() == count && deliveries.iter().all(is_done)).then_some(())
    });
}

#[test]
fn a_message_in_slack_becomes_one_message_that_follows_its_alert() {
    let slack = Slack::start();
    slack.limit_rate(None);
    let host = host(&slack, "");
    assert_eq!(host.post("ops-slack", &message("alert db1 is down", "alert")).status, 200);

    let posted = only_message(&slack, 0);
    let text = posted.visible_text();
    assert!(text.contains("db1 is down") && text.contains("ops-slack"), "{text}");
    let delivery = &wait::until("a delivery", || deliveries(&host).into_iter().next());
    assert_eq!(posted.delivery_id(), delivery["id"].as_str());
    let red = posted.color().map(str::to_owned);

    act(&host, "/api/v1/alerts/1/acknowledge", None);
    let acknowledged = only_message(&slack, 1);
    assert_ne!(acknowledged.color().map(str::to_owned), red);

    act(&host, "/api/v1/alerts/1/notes", Some(json!({"text": "a disk was replaced"})));
    let reply = wait::until("a reply", || slack.replies(&posted.ts).into_iter().next());
    assert!(reply.visible_text().contains("a disk was replaced"), "{reply:?}");

    act(&host, "/api/v1/alerts/1/resolve", None);
    all_delivered(&host, 4);
    let resolved = &slack.messages()[0];
    assert_ne!(resolved.color(), acknowledged.color());
    assert_ne!(resolved.color().map(str::to_owned), red);
    assert_eq!(slack.messages().len(), 1);
    assert_eq!(host.alerts().len(), 1);
}

#[test]
fn a_message_of_the_destination_opens_no_alert_when_slack_sends_it_back() {
    for options in
        ["", "bots = 'auto'\n", "trigger_words = ['alert']\n", "trigger_words = ['db1']\n"]
    {
        let slack = Slack::start();
        slack.limit_rate(None);
        let host = host(&slack, options);
        let (text, word) = match options.contains("db1") {
            true => ("db1 alert is down", "db1"),
            false => ("alert db1 is down", "alert"),
        };
        assert_eq!(host.post("ops-slack", &message(text, word)).status, 200);
        assert_eq!(host.alerts().len(), 1, "{options}");
        act(&host, "/api/v1/alerts/1/notes", Some(json!({"text": "alert db1 once more"})));
        all_delivered(&host, 2);
        let posted = &slack.messages()[0];
        let all = [vec![posted.clone()], slack.replies(&posted.ts)].concat();
        for message in all {
            for word in [None, Some("alert"), Some("db1")] {
                let back = message.outgoing_webhook(WEBHOOK_TOKEN, word);
                assert_eq!(host.post("ops-slack", &back).status, 200);
                // The same words by a person's hand, as a server without bot ids reports them.
                let by_person = back.replace("USLACKBOT", "U0009").replace("&bot_id=B0001", "");
                assert_eq!(host.post("ops-slack", &by_person).status, 200);
            }
        }
        assert_eq!(host.alerts().len(), 1, "{options}: {:?}", host.alerts());
    }
}

#[test]
fn tests_a_channel_step_by_step_and_keeps_the_token_to_itself() {
    let slack = Slack::start();
    let host = host(&slack, "");
    let finished = host.run(&["destinations", "test", "ops-channel"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for part in
        ["post: POST", "127.0.0.1", "allow_networks", "200 after", "delivered", "content-type: "]
    {
        assert!(finished.stdout.contains(part), "`{part}` is missing in {}", finished.stdout);
    }
    assert!(!finished.stdout.contains(TOKEN));
    assert!(finished.stdout.contains("authorization: [blanked]"), "{}", finished.stdout);
    assert!(slack.messages()[0].visible_text().contains("Test of the destination ops-channel"));
    assert_eq!((host.alerts().len(), deliveries(&host).len()), (0, 0));

    slack.set_archived(true);
    let finished = host.run(&["destinations", "test", "ops-channel"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("is_archived"), "{finished:?}");
}
