//! Answers to whole requests: order of the checks, events, replies, and errors in options.

use serde_json::{Value as Json, json};
use slack_outgoing_webhook::SlackOutgoingWebhook;
use tocsin_plugin_api::{
    abi::NewInstanceError,
    prelude::*,
    testing::{Library, Value},
};

const TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

fn plugin(mut options: Json) -> SlackOutgoingWebhook {
    if options["unauthenticated"] != json!(true) {
        options["token"] = TOKEN.into();
    }
    match Value::instance(&options) {
        Ok(plugin) => plugin,
        Err(error) => panic!("{error}"),
    }
}

fn receive(options: Json, body: &str) -> Result<Received, Refusal> {
    let body = if body.starts_with('{') {
        body.replacen('{', &format!(r#"{{"token":"{TOKEN}","#), 1)
    } else {
        format!("token={TOKEN}&{body}")
    };
    receive_as_sent(options, &body)
}

fn receive_as_sent(options: Json, body: &str) -> Result<Received, Refusal> {
    let content_type: &[u8] = if body.starts_with('{') { b"application/json" } else { b"" };
    plugin(options)
        .receive(&Request::post(body.as_bytes()).with_header("content-type", content_type))
}

fn ignored(reason: &str) -> Result<Received, Refusal> {
    Ok(Received::ignored(reason))
}

fn malformed(reason: &str) -> Result<Received, Refusal> {
    Err(Refusal::malformed(reason))
}

#[track_caller]
fn assert_alert(received: Result<Received, Refusal>, title: &str) {
    match received {
        Ok(Received::Events { events, .. }) => assert_eq!(events[0].title, title),
        other => panic!("{other:?}"),
    }
}

fn refused(options: &Json) -> String {
    match Value::<SlackOutgoingWebhook>::instance(options) {
        Err(NewInstanceError::Refused(error)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

// Order of the checks.

#[test]
fn checks_the_token_before_anything_else() {
    for body in [
        "token=bad",
        "token=bad&text=a&text=b",
        "token=bad&ssl_check=1",
        "token=bad&command=%2Fx",
        "token=bad&text=+",
        "token=bad&bot_id=B1&text=a",
        r#"{"token":"bad","type":"url_verification","challenge":"c"}"#,
        r#"{"token":"bad","text":{}}"#,
    ] {
        let refusal = Refusal::unauthorized("`token` is not one of those configured");
        assert_eq!(receive_as_sent(json!({}), body), Err(refusal), "{body}");
    }
}

#[test]
fn a_body_that_cannot_be_parsed_is_malformed_whatever_its_token() {
    let body = r#"{"token":"bad","text":"a""#;
    assert!(matches!(receive_as_sent(json!({}), body), Err(Refusal::Malformed { .. })));
}

#[test]
fn ignores_tokens_in_query_and_headers() {
    let headers = [tocsin_plugin_api::request::Header::new("authorization", TOKEN.as_bytes())];
    let query = format!("token={TOKEN}");
    let request = Request::new("POST", &query, &headers, b"text=a");
    let refusal = Refusal::unauthorized("`token` is missing");
    assert_eq!(plugin(json!({})).receive(&request), Err(refusal));
}

#[test]
fn ignores_bots_and_commands_even_without_a_text() {
    let bot = "posted by a bot without a trigger word, and `bots` is `auto`";
    assert_eq!(receive(json!({}), "bot_id=B1"), ignored(bot));
    assert_eq!(receive(json!({}), "bot_id=B1&bot_id=B1&text=a&text=b"), ignored(bot));
    let command = "a slash command, not a message (`command`)";
    assert_eq!(receive(json!({}), "command=%2Fpage"), ignored(command));
    assert_eq!(receive(json!({}), r#"{"command":"/page","text":[]}"#), ignored(command));
}

#[test]
fn ignores_a_blank_text_even_if_another_field_is_repeated() {
    for body in ["text", "text=+%0A&user_id=1&user_id=2", "text=%00", "text=%E2%80%AE"] {
        assert_eq!(receive(json!({}), body), ignored("the text is empty"), "{body}");
    }
    for unseen in [r"\u200d", r"\u2800", r"\u3164", r"\udb40\udc41", r"\u00ad\u115f\uffa0 \ufe0f"] {
        for id in ["post_id", "message_id", "user_id"] {
            let body = format!(r#"{{"text":"{unseen}","{id}":"p"}}"#);
            assert_eq!(receive(json!({}), &body), ignored("the text is empty"), "{body}");
        }
    }
}

#[test]
fn the_title_is_the_first_line_that_is_not_blank() {
    for line in ["%E2%A0%80", "%E3%85%A4+%E3%85%A4", "%F3%A0%81%81", "%C2%AD", "%E2%80%8B"] {
        assert_alert(receive(json!({}), &format!("text={line}%0Adb1+down")), "db1 down");
    }
}

#[test]
fn refuses_a_message_without_exactly_one_text() {
    assert_eq!(receive(json!({}), "user_name=a"), malformed("`text` is missing"));
    assert_eq!(receive(json!({}), r#"{"text":null}"#), malformed("`text` is missing"));
    assert_eq!(receive(json!({}), r#"{"text":1}"#), malformed("`text` is not a string"));
    for body in ["text=a&text=b", "text=&text=a", "text=&te%78t="] {
        assert_eq!(receive(json!({}), body), malformed("`text` is repeated"), "{body}");
    }
}

#[test]
fn refuses_a_repeated_field_only_if_it_is_read() {
    for name in ["channel_id", "timestamp", "user_name", "trigger_word", "thread_ts", "post_id"] {
        let form = format!("text=a&{name}=1&{name}=1");
        assert_eq!(receive(json!({}), &form), malformed(&format!("`{name}` is repeated")));
        let object = format!(r#"{{"text":"a","{name}":1,"{name}":null}}"#);
        assert_eq!(receive(json!({}), &object), malformed(&format!("`{name}` is repeated")));
    }
    for name in ["team_id", "service_id", "bot_name", "file_ids", "anything"] {
        assert_alert(receive(json!({}), &format!("text=a&{name}=1&{name}=2")), "a");
    }
}

#[test]
fn refuses_a_malformed_message_before_it_filters_by_channel_and_trigger_word() {
    let options = json!({"channels": ["ops"], "trigger_words": ["page"]});
    let body = "text=a&channel_name=dev&channel_name=ops";
    assert_eq!(receive(options.clone(), body), malformed("`channel_name` is repeated"));
    assert_eq!(
        receive(options.clone(), "text=page&channel_name=dev"),
        ignored("the channel is not one of `channels`")
    );
    assert_eq!(
        receive(options.clone(), "text=a&channel_name=ops"),
        ignored("the trigger word is not one of `trigger_words`")
    );
    assert_alert(receive(options, "text=page+me&channel_name=ops"), "page me");
}

#[test]
fn accepts_every_sender_if_unauthenticated() {
    let options = json!({"unauthenticated": true});
    for body in ["text=a", "token=&text=a", "token=x&text=a", "token=x&token=y&text=a"] {
        assert_alert(receive_as_sent(options.clone(), body), "a");
    }
    assert_alert(receive_as_sent(options, r#"{"token":{},"text":"a"}"#), "a");
}

#[test]
fn accepts_each_token_of_a_list() {
    let options = json!({"token": ["new", "old"]});
    let plugin = Value::<SlackOutgoingWebhook>::instance(&options);
    let plugin = plugin.unwrap_or_else(|error| panic!("{error}"));
    assert_alert(plugin.receive(&Request::post(b"token=old&text=a")), "a");
    assert_alert(plugin.receive(&Request::post(b"token=new&text=a")), "a");
    assert!(plugin.receive(&Request::post(b"token=newold&text=a")).is_err());
}

#[test]
fn the_option_bots_accepts_or_ignores_bots() {
    assert_alert(receive(json!({"bots": "accept"}), "text=a&bot_id=B1"), "a");
    assert_alert(receive(json!({}), "text=a&bot_id=B1&trigger_word=a"), "a");
    assert_eq!(
        receive(json!({"bots": "ignore"}), "text=a&bot_id=B1&trigger_word=a"),
        ignored("posted by a bot, and `bots` is `ignore`")
    );
}

/// Messages that the plugin `slack-channel` posts about an alert whose title begins with the trigger word
/// `outage:`, as texts of the chat. Slack writes an emoji by its name.
const POSTED: [&str; 5] = [
    ":red_circle: Open: outage: db1 is down (critical, ops-slack)",
    "🔴 Open: outage: db1 is down (critical, ops-slack)",
    ":large_green_circle: Resolved: outage: db1 is down (critical, ops-slack)",
    ":speech_balloon: Note by anna:\noutage: it was the disk",
    // The text of a message that has only attachments.
    "",
];

/// Fields by which chats mark the message of a bot.
const BOTS: [&str; 4] = [
    "user_id=USLACKBOT&user_name=slackbot&bot_id=B01ABCDEF&bot_name=incoming-webhook",
    "user_id=U01ABCDEF&user_name=tocsin&bot_id=B01ABCDEF&bot_name=Tocsin",
    "user_id=USLACKBOT&user_name=slackbot",
    "user_id=rocket.cat&user_name=tocsin&bot=true",
];

/// Returns the reason why a message of a bot opened no alert.
fn reason_to_ignore(options: &Json, bot: &str, text: &str, trigger_word: &str) -> String {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let body = format!(
        "team_id=T0001&team_domain=example&service_id=99&channel_id=C2147483705&channel_name=ops&\
         timestamp=1764230400.000100&{bot}&text={encoded}&trigger_word={trigger_word}"
    );
    match receive(options.clone(), &body) {
        Ok(Received::Ignored { reason }) => reason,
        other => panic!("{bot} {text}: {other:?}"),
    }
}

#[test]
fn messages_about_alerts_open_no_alert_in_a_channel_whose_messages_all_count() {
    for bot in BOTS {
        for text in POSTED {
            let reason = reason_to_ignore(&json!({}), bot, text, "");
            assert_eq!(reason, "posted by a bot without a trigger word, and `bots` is `auto`");
            let reason = reason_to_ignore(&json!({"bots": "ignore"}), bot, text, "");
            assert_eq!(reason, "posted by a bot, and `bots` is `ignore`");
        }
    }
}

#[test]
fn a_title_that_begins_with_the_trigger_word_opens_no_alert_again() {
    for bot in BOTS {
        for text in POSTED {
            let options = json!({"trigger_words": ["outage:"]});
            let reason = reason_to_ignore(&options, bot, text, "outage:");
            let expected =
                "posted by a bot with the trigger word not at the beginning, and `bots` is `auto`";
            assert_eq!(reason, expected, "{text}");
        }
    }
    // The message that a monitoring bot posts itself still counts.
    let text = "text=outage:+db1+is+down&bot_id=B1&trigger_word=outage:";
    assert_alert(receive(json!({"trigger_words": ["outage:"]}), text), "outage: db1 is down");
}

// Events and replies.

#[test]
fn the_text_is_raw_for_all_products_but_slack() {
    let body = |id: &str| format!("text=%26lt%3B+<%40U1|bob>{id}");
    assert_alert(receive(json!({}), &body("")), "< @bob");
    assert_alert(receive(json!({}), &body("&timestamp=1700000000.000100")), "< @bob");
    for id in ["&post_id=p", "&message_id=m", "&timestamp=1700000000"] {
        assert_alert(receive(json!({}), &body(id)), "&lt; <@U1|bob>");
    }
}

#[test]
fn a_pattern_replaces_the_urgency_rule() {
    let options = json!({"urgency_pattern": "^(?<urgency>P1|low)"});
    let urgency = |body: &str| match receive(options.clone(), body) {
        Ok(Received::Events { events, .. }) => events[0].urgency,
        other => panic!("{other:?}"),
    };
    assert_eq!(urgency("text=LOW+critical"), None);
    assert_eq!(urgency("text=low+critical"), Some(Urgency::Low));
    assert_eq!(urgency("text=P1"), None);
}

#[test]
fn half_an_emoji_becomes_a_replacement_character_in_every_string() {
    let body =
        r#"{"text":"db1 \ud83d","channel_name":"\udd25ops","x\ud83d":"\ud83d","message_id":"m"}"#;
    match receive(json!({}), body) {
        Ok(Received::Events { events, .. }) => {
            assert_eq!(events[0].title, "db1 \u{FFFD}");
            assert_eq!(events[0].details[0].value, "\u{FFFD}ops");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn own_words_name_an_urgency_like_the_built_in_ones() {
    let options = json!({"urgencies": {"P1": "critical", "dringend": "high"}});
    let urgency = |body: &str| match receive(options.clone(), body) {
        Ok(Received::Events { events, .. }) => events[0].urgency,
        other => panic!("{other:?}"),
    };
    assert_eq!(urgency("text=p1:+db1,+low"), Some(Urgency::Critical));
    assert_eq!(urgency("text=DRINGEND,+medium"), Some(Urgency::High));
    assert_eq!(urgency("text=P10+undringend"), None);
    assert_eq!(urgency("text=%40P1+low&post_id=p"), Some(Urgency::Low));
    assert_eq!(urgency("text=low"), Some(Urgency::Low));
}

#[test]
fn a_pattern_can_capture_own_words() {
    let options = json!({
        "urgency_pattern": r"sev:(?<urgency>\S+)",
        "urgencies": {"1": "critical", "緊急": "high"},
    });
    let urgency = |body: &str| match receive(options.clone(), body) {
        Ok(Received::Events { events, .. }) => events[0].urgency,
        other => panic!("{other:?}"),
    };
    assert_eq!(urgency("text=sev:1"), Some(Urgency::Critical));
    assert_eq!(urgency("text=sev:緊急+1"), Some(Urgency::High));
    assert_eq!(urgency("text=sev:low+1"), Some(Urgency::Low));
    assert_eq!(urgency("text=1+critical"), None);
}

#[test]
fn a_reply_mentions_nobody_again_in_any_product() {
    let options = json!({"reply": "noted: {title}"});
    let reply = |body: &str| match receive(options.clone(), body) {
        Ok(Received::Events { reply: Some(reply), .. }) => reply.body,
        other => panic!("{other:?}"),
    };
    for mention in ["@channel", "@all", "@here", "@everyone", "@HERE", "@oncall"] {
        for sender in ["post_id=p", "message_id=m", "timestamp=1700000000"] {
            let body = reply(&format!("{sender}&text=db1+{mention}+down"));
            assert!(!body.contains(mention), "{sender} {body}");
        }
    }
    for mention in ["@**all**", "@**everyone**", "@**channel**", "@**topic**", "@*ops*"] {
        let body = reply(&format!("timestamp=1700000000&text={mention}+down"));
        assert!(!body.contains(mention), "{body}");
    }
    for mention in ["<!here>", "<!channel>", "<!everyone>", "<!subteam^S1>", "<@U1>"] {
        for text in [mention.to_owned(), mention.replace('<', "%26lt;").replace('>', "%26gt;")] {
            let body = reply(&format!("timestamp=1700000000.000100&text={text}+down"));
            assert!(!body.contains('<'), "{body}");
        }
    }
}

#[test]
fn without_a_template_there_is_no_reply() {
    let received = receive(json!({}), "text=a");
    assert!(matches!(received, Ok(Received::Events { reply: None, .. })), "{received:?}");
}

#[test]
fn with_a_template_the_reply_confirms_the_alert() {
    let options = json!({"reply": "noted ({urgency}): {title}"});
    let reply = |body: &str| match receive(options.clone(), body) {
        Ok(Received::Events { reply, .. }) => reply,
        other => panic!("{other:?}"),
    };
    let expected = Reply::json(&json!({"text": "noted (high): db1 high"}));
    assert_eq!(reply("text=db1+high"), Some(expected));
    assert_eq!(reply("text=noted+high&trigger_word=noted"), None);
}

// Options.

#[test]
fn requires_a_token_or_unauthenticated() {
    assert_eq!(
        refused(&json!({})),
        "`token`: missing, so anyone could raise alerts\n\
         hint: set it to the token that the chat shows for this webhook, or set \
         `unauthenticated = true` to let anyone raise alerts"
    );
    assert_eq!(refused(&json!({"unauthenticated": false})), refused(&json!({})));
    assert_eq!(
        refused(&json!({"token": "s3cret", "unauthenticated": true})),
        "`unauthenticated`: contradicts `token`, which would never be checked\n\
         hint: remove one of the two"
    );
}

#[test]
fn errors_in_options_name_the_option_and_a_remedy() {
    let error = |key: &str, value: Json| refused(&json!({"token": "t", key: value}));
    assert_eq!(
        error("channels", json!(["#"])),
        "`channels[0]`: empty\nhint: remove it; with an empty list, all messages count"
    );
    assert_eq!(
        error("trigger_words", json!(["a", ""])),
        "`trigger_words[1]`: empty\nhint: remove it; with an empty list, all messages count"
    );
    assert_eq!(error("reply", json!("")), "`reply`: empty\nhint: remove it to post nothing");
    assert_eq!(
        error("urgency_pattern", json!("high")),
        "`urgency_pattern`: has no group `urgency`\n\
         hint: name the group that captures the urgency: `(?<urgency>\\w+)`"
    );
    assert_eq!(
        error("urgency_pattern", json!("(?<urgency>P1|P2)")),
        "`urgency_pattern`: its group `urgency` can never capture the name of an urgency\n\
         hint: let it capture `low`, `medium`, `high` or `critical`, or give what it captures an \
         urgency: `urgencies = { P1 = \"critical\" }`"
    );
    assert_eq!(
        error("urgencies", json!({"": "low"})),
        "`urgencies`: a word is empty\nhint: remove it"
    );
    assert!(error("urgencies", json!({"P 1": "low"})).starts_with(
        "`urgencies.P 1`: is not one word, so no text can contain it as a word\nhint: "
    ));
    assert_eq!(
        refused(&json!({"token": "t", "trigger_words": ["page"], "reply": "Page {user}"})),
        "`reply`: begins with the trigger word `page`, so every reply would raise the next \
         alert\nhint: begin with another word"
    );
}

#[test]
fn errors_in_options_name_a_misspelt_key_and_the_known_ones() {
    assert_eq!(
        refused(&json!({"token": "t", "bots": "never"})),
        "`bots`: unknown variant `never`, expected one of `auto`, `accept`, `ignore`"
    );
    assert_eq!(
        refused(&json!({"token": "t", "urgencies": {"P1": "urgent"}})),
        "`urgencies.P1`: unknown variant `urgent`, expected one of `low`, `medium`, `high`, `critical`"
    );
    assert_eq!(
        refused(&json!({"tokens": "t"})),
        "`tokens`: unknown field `tokens`, expected one of `token`, `unauthenticated`, \
         `urgency_pattern`, `urgencies`, `bots`, `channels`, `trigger_words`, `reply`"
    );
}

#[test]
fn no_error_in_options_quotes_a_secret() {
    for options in [
        json!({"token": 31337}),
        json!({"token": {"value": "31337"}}),
        json!({"token": ["31337", ""]}),
        json!({"token": ["31337", 1]}),
        json!({"token": "31337", "unauthenticated": true}),
        json!({"token": "31337", "reply": "{x}"}),
    ] {
        assert!(!refused(&options).contains("31337"), "{}", refused(&options));
    }
}

#[test]
fn the_schema_documents_every_option() {
    let schema = Library::build("slack-outgoing-webhook").options_schema();
    assert_eq!(schema["additionalProperties"], json!(false));
    let properties = schema["properties"].as_object().expect("an object");
    let mut keys: Vec<&str> = properties.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "bots",
        "channels",
        "reply",
        "token",
        "trigger_words",
        "unauthenticated",
        "urgencies",
        "urgency_pattern",
    ];
    assert_eq!(keys, expected);
    for (key, property) in properties {
        assert!(property["description"].is_string(), "{key}: {property}");
    }
    assert_eq!(properties["bots"]["default"], json!("auto"));
    assert_eq!(properties["urgencies"]["type"], json!("object"));
    assert_eq!(properties["urgencies"]["default"], json!({}));
}
