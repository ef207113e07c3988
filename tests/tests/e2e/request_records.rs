//! Every request leaves a record, and kept requests show no secret.

use std::{thread, time::Instant};

use insta::assert_snapshot;
use regex::Regex;
use serde_json::{Value, json};
use tocsin_tests::{Site, TestHost, http::Request, libraries::library};

const TOKEN: &str = "s3cret/of the sender";

fn host(more: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    let site = site.plugin(&library("bad-panics-in-receive"));
    site.config(&format!(
        "{more}\n[integrations.good]\nplugin = 'well-behaved'\noptions.token = '{TOKEN}'\n\
         [integrations.bad]\nplugin = 'bad-panics-in-receive'\n\
         [integrations.off]\nplugin = 'well-behaved'\nenabled = false\n"
    ))
    .serve()
}

fn record(host: &TestHost, id: &str) -> Value {
    host.api(&format!("/api/v1/requests/{id}"))
}

/// Returns the outcomes of a list, newest first.
fn outcomes(host: &TestHost, query: &str) -> Vec<String> {
    let list = host.api(&format!("/api/v1/requests?{query}"));
    let requests = list["requests"].as_array().expect("a list").iter();
    requests.map(|one| one["outcome"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn records_every_request_with_its_outcome() {
    let host = host("[server]\nbody_limit_bytes = 1000\n");
    let good = |headers: &[(&str, &str)], body: &str| {
        let headers = [&[("x-token", TOKEN)], headers].concat();
        host.post_with("good", &headers, body).request_id().to_owned()
    };
    let opened = good(&[("x-event-id", "1"), ("x-dedup-key", "k")], "disk full");
    let again = good(&[("x-event-id", "1")], "disk full");
    let malformed = good(&[("x-action", "dance")], "disk full");
    let wrong = host.post("good", "disk full").request_id().to_owned();
    let large = good(&[], &"x".repeat(2000));
    let off = host.post("off", "disk full").request_id().to_owned();
    let failed = host.post("bad", "panic").request_id().to_owned();

    let first = record(&host, &opened);
    assert_eq!(
        (&first["outcome"], &first["alert"], &first["effects"]),
        (&json!("events"), &json!(1), &json!([{ "effect": "opened", "alert": 1 }]))
    );
    assert_eq!((&first["sender"], &first["size_bytes"]), (&json!("127.0.0.1"), &json!(9)));
    assert_eq!(first["plugin"], json!({ "name": "well-behaved", "version": "1.0.0" }));
    for time in ["plugin_us", "commit_us"] {
        assert!(first[time].is_u64(), "{time}: {first}");
    }
    let duplicate = record(&host, &again);
    assert_eq!(duplicate["effects"], json!([{ "effect": "duplicate", "alert": 1 }]));
    for (id, outcome, reason) in [
        (malformed, "malformed", "no such x-action"),
        (wrong, "unauthorized", "wrong or missing x-token"),
        (large, "refused", "too_large: the body is larger than 1000 bytes"),
        (off, "refused", "disabled: the integration is disabled"),
        (failed, "failed", "the plugin panicked: asked to panic"),
    ] {
        let record = record(&host, &id);
        assert_eq!(record["outcome"], outcome, "{record}");
        assert!(record["reason"].as_str().is_some_and(|it| it.starts_with(reason)), "{record}");
    }
    assert_eq!(
        outcomes(&host, "limit=500"),
        ["failed", "refused", "refused", "unauthorized", "malformed", "events", "events"]
    );
    assert_eq!(outcomes(&host, "outcome=refused"), ["refused"; 2]);
    assert_eq!(outcomes(&host, "integration=bad"), ["failed"]);
    assert_eq!(outcomes(&host, "quarantined=true"), ["failed"]);
    assert_eq!(outcomes(&host, "until=2026-01-01T00:00:00Z"), [""; 0]);
    assert_eq!(outcomes(&host, "since=2026-01-01T00:00:00Z&limit=2"), ["failed", "refused"]);
    let again = host.restart();
    assert_eq!(record(&again, &opened), first, "it is as it was after a restart");
}

#[test]
fn limits_the_recorded_refusals() {
    let (host, started) = (host(""), Instant::now());
    thread::scope(|scope| {
        for _ in 0..7 {
            let mut connection = host.connect();
            scope.spawn(move || {
                for _ in 0..100 {
                    let request = Request::post("/in/good", "disk full");
                    assert_eq!(connection.ask(&request).expect("an answer").status, 403);
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let refused = (0..2).map(|page| {
        let newest = host.api("/api/v1/requests?limit=500");
        let cursor = newest["next_cursor"].as_str().unwrap_or_default().to_owned();
        if page == 0 { 500 } else { outcomes(&host, &format!("limit=500&cursor={cursor}")).len() }
    });
    let refused: usize = refused.sum();
    // The limit admits ten more each second.
    let most = 601 + (10.0 * seconds).ceil() as usize;
    assert!((600..=most).contains(&refused), "{refused} in {seconds} s");
    let counted = r#"tocsin_requests_total{integration="good",plugin="well-behaved",version="1.0.0",outcome="unauthorized"}"#;
    assert_eq!(host.metric(counted), Some(700.0));
}

#[test]
fn redacts_secrets_in_kept_requests() {
    let host = host("[requests]\nkeep = 'all'\n");
    let headers = [("x-token", TOKEN), ("authorization", "Bearer abc"), ("x-dedup-key", "k")];
    let body =
        format!("the token is {TOKEN}, or s3cret%2Fof+the+sender, or czNjcmV0L29mIHRoZSBzZW5kZXI=");
    let target = "/in/good?token=s3cret%2fof%20the%20sender&x=1";
    let mut request = Request::post(target, &body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let id = host.ask(&request).request_id().to_owned();
    let raw = host.api(&format!("/api/v1/requests/{id}/raw"));
    assert_eq!(raw["body"], "the token is [blanked], or [blanked], or [blanked]");
    assert_eq!(raw["query"], "token=[blanked]&x=1");
    assert_eq!(
        raw["headers"],
        json!([
            { "name": "host", "value": "127.0.0.1" },
            { "name": "x-token", "value": "[blanked]" },
            { "name": "authorization", "value": "[blanked]" },
            { "name": "x-dedup-key", "value": "k" },
            { "name": "content-length", "value": body.len().to_string() },
        ])
    );
    let shown = host.run(&["requests", "show", &id]).stdout;
    assert!(shown.contains("x-token: [blanked]") && !shown.contains("s3cret"), "{shown}");
    // A request with a wrong token is not kept at all.
    let refused = host.post_with("good", &[("x-token", "guess")], "disk full");
    assert_eq!(record(&host, refused.request_id())["raw"], "absent");
}

#[test]
fn keeps_the_requests_that_the_configuration_selects() {
    for (keep, states) in [
        ("all", ["kept", "kept", "quarantined"]),
        ("failed", ["absent", "kept", "quarantined"]),
        ("none", ["absent"; 3]),
    ] {
        let host = host(&format!("[requests]\nkeep = '{keep}'\nraw_limit_bytes = 100\n"));
        let token = ("x-token", TOKEN);
        let answers = [
            host.post_with("good", &[token], "disk full"),
            host.post_with("good", &[token, ("x-action", "dance")], "disk full"),
            host.post("bad", "panic"),
        ];
        let raw = answers.map(|answer| record(&host, answer.request_id())["raw"].clone());
        assert_eq!(raw, states, "{keep}");
        let large = host.post("bad", &format!("panic{}", "x".repeat(100)));
        assert_eq!(record(&host, large.request_id())["raw"], "absent", "{keep}");
    }
}

#[test]
fn lists_and_shows_requests_on_the_command_line() {
    let host = host("");
    let id = host.post_with("good", &[("x-token", TOKEN)], "disk full").request_id().to_owned();
    let failed = host.post("bad", "panic").request_id().to_owned();
    let list = host.run(&["requests"]).stdout.replace(&id, "[OK]").replace(&failed, "[FAILED]");
    let times = Regex::new(r"20\d\d-\d\d-\d\dT[\d:.]+Z").expect("a pattern");
    assert_snapshot!(times.replace_all(&list, "[TIME]"), @"
    REQUEST                     RECEIVED              INTEGRATION  OUTCOME        ALERT  SENDER     BYTES  REASON
    [FAILED]  [TIME]  bad          failed, waits         127.0.0.1  5      the plugin panicked: asked to panic (tests/bad/bad-panics-in-receive/src/lib.rs:21:9)
    [OK]  [TIME]  good         events         #1     127.0.0.1  9
    ");
    let shown = host.run(&["requests", "show", &id]).stdout.replace(&id, "[OK]");
    let shown =
        Regex::new(r"[\d.]+ ms").expect("a pattern").replace_all(&shown, "[MS]").into_owned();
    assert_snapshot!(times.replace_all(&shown, "[TIME]"), @"
    [OK]
      Received     [TIME]
      Integration  good
      Plugin       well-behaved 1.0.0
      Sender       127.0.0.1
      Bytes        9
      Outcome      events
      Effects      opened #1
      In plugin    [MS]
      In commit    [MS]
    ");
    let json: Value = serde_json::from_str(&host.run(&["requests", "list", "--json"]).stdout)
        .expect("what the API gives");
    assert_eq!(json, host.api("/api/v1/requests"));
    for (args, message) in [
        (&["requests", "--outcome", "good"][..], "write one of events, ignored, malformed"),
        (&["requests", "--since", "soon"], "or how long ago, such as `2h`"),
        (&["requests", "show", "17"], "the header `X-Request-Id` of an answer holds the id"),
        (&["requests", "replay"], "required"),
    ] {
        let refused = host.run(args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(message), "{refused:?}");
    }
    let gone = host.run(&["requests", "show", "01JD2Z6Q3MWV8K5R9T1X0C4N7B"]);
    assert_eq!(gone.code, Some(1));
    assert_snapshot!(gone.stderr, @"error: there is no record of a request `01JD2Z6Q3MWV8K5R9T1X0C4N7B`");
    let recent = host.run(&["requests", "--since", "1h", "--outcome", "failed"]).stdout;
    assert!(recent.contains(&failed) && !recent.contains(&id), "{recent}");
}
