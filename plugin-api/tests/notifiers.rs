//! The test kit plays a server to a notifier, and says what differs from a fixture.

#![cfg(feature = "testing")]

use std::sync::atomic::{AtomicU64, Ordering};

use tocsin_plugin_api::{
    OptionsError, Secret,
    abi::{Instance, LibraryHeader, Module, library_header},
    capability::{Notifier, Plugin},
    manifest::NOTIFY,
    notification::{Kind, Notification},
    step::{Description, HttpAnswer, HttpRequest, MOST_REQUESTS, Step},
    testing::{NotifierFixture, NotifierSubject, Value, usual_digest, usual_notification},
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    url: String,
    token: Option<Secret>,
    #[serde(default)]
    counts: bool,
    #[serde(default)]
    endless: bool,
}

/// Looks for the message if it is in doubt, and posts otherwise.
struct Chat {
    options: Options,
    calls: AtomicU64,
}

impl Plugin for Chat {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        Ok(Self { options, calls: AtomicU64::new(0) })
    }
}

impl Notifier for Chat {
    fn describe(&self) -> Description {
        Description::new(["https://chat.example.com".into()])
    }

    fn next(&self, notification: &Notification, answers: &[HttpAnswer]) -> Step {
        assert!(notification.destination != "panic", "on purpose");
        let Options { url, counts, endless, token } = &self.options;
        let title = notification.alert().map_or("many alerts", |alert| &alert.title);
        let text = format!("{}: {title}", notification.kind);
        let calls = self.calls.fetch_add(u64::from(*counts), Ordering::Relaxed);
        let post = || {
            let body = serde_json::json!({ "text": text, "calls": calls });
            let request = HttpRequest::post_json("post", url, &body);
            Step::send(match token {
                Some(token) => request.secret_header("authorization", token.expose()),
                None => request,
            })
        };
        match answers.last() {
            None if notification.in_doubt => Step::send(HttpRequest::new("look", "GET", url)),
            None => post(),
            Some(_) if *endless => post(),
            Some(answer) if answer.request == "look" && answer.body == "[]" => post(),
            Some(answer) if answer.is_success() => Step::delivered_with(answer.body.clone().into()),
            Some(answer) => Step::retry(format!("the server answered {}", answer.status)),
        }
    }
}

tocsin_plugin_api::export_plugin!(Chat: notify);

fn fixture(json: &str) -> NotifierFixture {
    NotifierFixture::parse("demo", json).expect("a fixture")
}

fn check(json: &str) -> Result<(), String> {
    Value::<Chat>::new().check_one_notification(&fixture(json))
}

const POSTS: &str = r#"{
    "options": {"url": "https://chat.example.com/hook", "token": "s3cret"},
    "notification": {"kind": "resolved", "subject": {"alert": {"title": "db1 is slow"}}},
    "exchanges": [{
        "expect": {
            "name": "post", "method": "POST", "url": "https://chat.example.com/hook",
            "headers": {"Authorization": "s3cret", "x-other": null},
            "json": {"text": "resolved: db1 is slow", "calls": 0}
        },
        "answer": {"status": 200, "body": "m1"}
    }],
    "verdict": {"step": "delivered", "state": "m1"}
}"#;

#[test]
fn plays_the_answers_of_a_fixture_to_its_verdict() {
    assert_eq!(check(POSTS), Ok(()));
    let looks_first = r#"{
        "options": {"url": "https://chat.example.com"},
        "notification": {"in_doubt": true, "attempt": 2},
        "exchanges": [
            {"expect": {"name": "look", "method": "GET", "body": ""}, "answer": {"status": 200, "json": []}},
            {"expect": {"name": "post"}, "answer": {"status": 429, "headers": {"Retry-After": "5"}}}
        ],
        "verdict": {"step": "retry", "reason": "the server answered 429", "after_seconds": null}
    }"#;
    assert_eq!(check(looks_first), Ok(()));
}

#[test]
fn says_what_differs() {
    let differs = |old: &str, new: &str| {
        assert!(POSTS.contains(old), "{old}");
        check(&POSTS.replace(old, new)).expect_err("it differs")
    };
    insta::assert_snapshot!(differs(r#""method": "POST""#, r#""method": "PUT""#), @r#"request 1: method: expected "PUT", got "POST""#);
    insta::assert_snapshot!(differs("db1 is slow\", \"calls", "db2 is slow\", \"calls"), @r#"request 1: json.text: expected "resolved: db2 is slow", got "resolved: db1 is slow""#);
    insta::assert_snapshot!(differs(r#""x-other": null"#, r#""x-other": "1""#), @r#"request 1: header `x-other`: expected "1", got null"#);
    insta::assert_snapshot!(differs(r#""Authorization": "s3cret""#, r#""Authorization": null"#), @r#"request 1: header `Authorization`: expected null, got "s3cret""#);
    insta::assert_snapshot!(differs(r#""calls": 0"#, r#""more": 0"#), @"request 1: json.more: expected 0, got nothing");
    insta::assert_snapshot!(differs(r#""state": "m1""#, r#""state": "m2""#), @r#"expected the verdict to have `state` "m2", got {"step":"delivered","state":"m1"}"#);
    insta::assert_snapshot!(differs(r#""state": "m1""#, r#""sate": "m1""#), @"`verdict` has the unknown key `sate`");
    insta::assert_snapshot!(differs(r#""status": 200"#, r#""status": 503"#), @r#"expected the verdict to have `step` "delivered", got {"step":"retry","reason":"the server answered 503","in_doubt":false}"#);
    insta::assert_snapshot!(differs(r#""token": "s3cret""#, r#""tokens": "s3cret""#), @"refused its options: `tokens`: unknown field `tokens`, expected one of `url`, `token`, `counts`, `endless`");
    let without = r#"{"options": {"url": "x"}, "verdict": {"step": "delivered"}}"#;
    insta::assert_snapshot!(check(without).expect_err("it sends"), @r#"expected the verdict to have `step` "delivered", got {"step":"send","request":{"name":"post","method":"POST","url":"x","headers":[{"name":"content-type","value":"application/json; charset=utf-8","secret":false}],"body":"{\"calls\":0,\"text\":\"opened: disk full on db1\"}"}}"#);
}

#[test]
fn a_step_that_is_not_the_same_each_time_is_an_error() {
    let counts = POSTS.replace(r#""token": "s3cret""#, r#""token": "s3cret", "counts": true"#);
    let error = check(&counts).expect_err("it counts");
    assert!(error.starts_with("is not deterministic: the step.request.body was "), "{error}");
}

#[test]
fn a_panic_is_an_error_with_its_message() {
    let error = check(&POSTS.replace(r#""kind""#, r#""destination": "panic", "kind""#));
    let error = error.expect_err("it panics");
    assert_eq!(error, "panicked: on purpose");
}

#[test]
fn an_attempt_with_too_many_requests_is_an_error() {
    let exchange = r#"{"answer": {"status": 200}}"#;
    let exchanges = [exchange; MOST_REQUESTS + 1].join(",");
    let endless = format!(
        r#"{{"options": {{"url": "x", "endless": true}}, "exchanges": [{exchanges}],
            "verdict": {{"step": "delivered"}}}}"#
    );
    assert_eq!(check(&endless), Err("sends more than 5 requests".into()));
}

#[test]
fn a_fixture_changes_the_usual_notification() {
    let of = |changes: &str| {
        let json = format!(r#"{{"notification": {changes}, "verdict": {{"step": "send"}}}}"#);
        fixture(&json).notification()
    };
    assert_eq!(of("{}"), usual_notification());
    assert_eq!(of(r#"{"subject": {"digest": {}}}"#), usual_digest());
    let changed =
        of(r#"{"kind": "noted", "skipped": ["opened"], "subject": {"alert": {"url": null}},
        "change": {"at": 1, "by": "anna", "note": "on it"}}"#);
    assert_eq!((changed.kind, &changed.skipped[..]), (Kind::Noted, &[Kind::Opened][..]));
    assert_eq!(changed.alert().expect("an alert").url, None);
    assert_eq!(changed.alert().expect("an alert").title, "disk full on db1");
}

#[test]
fn a_fixture_with_a_mistake_says_where() {
    let error = |json: &str| NotifierFixture::parse("demo", json).expect_err("a mistake");
    insta::assert_snapshot!(error(r#"{"verdict": {"step": "delivered"}, "exchange": []}"#), @"unknown field `exchange`, expected one of `name`, `options`, `notification`, `exchanges`, `verdict` at line 1 column 45");
    insta::assert_snapshot!(error(r#"{"verdict": {"step": "delivered"}, "notification": {"kind": "closed"}}"#), @"`notification`: unknown variant `closed`, expected one of `opened`, `acknowledged`, `resolved`, `occurred`, `noted`, `escalated`, `test`, `digest`");
    insta::assert_snapshot!(error(r#"{"verdict": {}}"#), @"`verdict` names no `step`");
    insta::assert_snapshot!(error(r#"{"exchanges": []}"#), @"missing field `verdict` at line 1 column 17");
}

#[test]
fn reads_a_folder_of_fixtures_in_the_order_of_their_names() {
    let folder = std::env::temp_dir().join(format!("tocsin-fixtures-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in ["b.json", "a.json", "notes.txt"] {
        std::fs::write(folder.join(name), POSTS).expect("a file");
    }
    let fixtures = NotifierFixture::read(&folder);
    let one = NotifierFixture::read(folder.join("b.json"));
    std::fs::remove_dir_all(&folder).expect("it was made");
    let names = |fixtures: &[NotifierFixture]| -> Vec<_> {
        fixtures.iter().map(|fixture| fixture.name.clone()).collect()
    };
    assert_eq!((names(&fixtures), names(&one)), (vec!["a".into(), "b".into()], vec!["b".into()]));
    Value::<Chat>::new().check_notifier(&fixtures);
}

#[expect(unsafe_code, reason = "a module is opened by the address of its header")]
fn chat() -> Instance {
    static HEADER: LibraryHeader = library_header::<Chat>();
    // SAFETY: the address is that of a header, in a program that stays mapped.
    let module = unsafe { Module::open((&raw const HEADER).cast()) }.expect("a module");
    module.instance(br#"{"url": "https://chat.example.com"}"#).expect("an instance")
}

#[test]
fn a_question_that_only_a_later_host_asks_is_an_error_that_names_it() {
    let error = chat().call(NOTIFY, br#"{"forecast": {}}"#).expect_err("unknown").to_string();
    insta::assert_snapshot!(error, @"cannot read what this host sends: unknown variant `forecast`, expected `describe` or `next` at line 1 column 11");
    let later = r#"{"next": {"notification": NOTIFICATION, "answers": [], "deadline_ms": 5}}"#;
    let mut notification = serde_json::to_value(usual_notification()).expect("JSON");
    notification["mood"] = "calm".into();
    let question = later.replace("NOTIFICATION", &notification.to_string());
    let step = chat().call(NOTIFY, question.as_bytes()).expect("unknown fields are ignored");
    let step: Step = serde_json::from_slice(&step).expect("a step");
    assert!(matches!(step, Step::Send { .. }), "{step:?}");
    notification["kind"] = "merged".into();
    let question = later.replace("NOTIFICATION", &notification.to_string());
    let error = chat().call(NOTIFY, question.as_bytes()).expect_err("unknown").to_string();
    insta::assert_snapshot!(error, @"cannot read what this host sends: unknown variant `merged`, expected one of `opened`, `acknowledged`, `resolved`, `occurred`, `noted`, `escalated`, `test`, `digest` at line 1 column 171");
}
