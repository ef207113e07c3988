//! Settings of an integration: templates, maintenance, rates and retention.

use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Request},
    libraries::library,
    wait,
};

fn host(section: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    site.config(&format!("[integrations.good]\nplugin = 'well-behaved'\n{section}")).serve()
}

fn record(host: &TestHost, answer: &Answer) -> Value {
    host.api(&format!("/api/v1/requests/{}", answer.request_id()))
}

#[test]
fn templates_word_titles_and_descriptions() {
    let host = host(
        "title = '[{{ urgency|upper }}] {{ title }} of {{ integration }}'\n\
         description = \"\"\"{{ title }}\nkey {{ dedup_key }} by {{ plugin }} {{ plugin_version }}\"\"\"\n",
    );
    host.post_with("good", &[("x-dedup-key", "k"), ("x-urgency", "high")], "disk full");
    let alert = host.api("/api/v1/alerts/1");
    assert_eq!(alert["title"], "[HIGH] disk full of good");
    assert_eq!(alert["description"], "disk full\nkey k by well-behaved 1.0.0");
}

#[test]
fn a_failing_template_loses_no_alert() {
    for (template, why) in [
        ("{{ details['Channel'] }}", "Channel"),
        (
            "{% for a in title %}{% for b in title %}{% for c in title %}{{ a }}{% endfor %}{% endfor %}{% endfor %}",
            "more steps than a template may",
        ),
        ("{% if false %}x{% endif %}", "its text is empty"),
    ] {
        let host = host(&format!("title = \"{template}\"\n"));
        let title = "a title that is long enough to loop over it again and again and again";
        let answer = host.post("good", title);
        assert_eq!(answer.status, 200, "{template}");
        assert_eq!(host.api("/api/v1/alerts/1")["title"], title, "{template}");
        let record = record(&host, &answer);
        let reason = record["reason"].as_str().expect("it is recorded");
        assert!(
            reason.starts_with("the plugin's own title is used, since its template failed: "),
            "{reason}"
        );
        assert!(reason.contains(why), "{reason}");
        let errors = r#"tocsin_template_errors_total{integration="good",plugin="well-behaved",version="1.0.0"}"#;
        assert_eq!(host.metric(errors), Some(1.0));
    }
}

#[test]
fn refuses_an_invalid_template_with_its_position() {
    let site = Site::new().plugin(&library("well-behaved"));
    site.write("tocsin.toml", "[integrations.good]\nplugin = 'well-behaved'\ntitle = '{{ title'\n");
    let refused = site.run(&["check"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("tocsin.toml:3:9: `integrations.good.title`"), "{refused:?}");
    assert!(refused.stderr.contains("hint: write a Jinja template"), "{refused:?}");
}

#[test]
fn maintenance_records_requests_and_opens_no_alert() {
    let host = host("");
    let keyed = |action: &'static str| [("x-dedup-key", "k"), ("x-action", action)];
    host.post_with("good", &keyed("create"), "before");
    for maintenance in
        ["true", "'now'", "[{ from = 2020-01-01T00:00:00Z, to = '2120-01-01T00:00:00Z' }]"]
    {
        let section =
            format!("[integrations.good]\nplugin = 'well-behaved'\nmaintenance = {maintenance}\n");
        host.site().configure(&section);
        assert_eq!(host.reload().status, 200, "{maintenance}");
        let status = host.integration("good");
        assert!(status["maintenance"].is_object(), "{status}");
        let answer = host.post_with("good", &[("x-event-id", "1")], "during");
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
        let record = record(&host, &answer);
        assert_eq!((&record["outcome"], &record["alert"]), (&json!("maintenance"), &Value::Null));
        assert_eq!(record["effects"], json!([{ "effect": "suppressed", "alert": null }]));
    }
    assert_eq!(host.alerts().len(), 1);
    assert_eq!(host.post_with("good", &keyed("resolve"), "over").status, 200);
    assert_eq!(host.api("/api/v1/alerts/1")["status"], "resolved", "what is open goes on living");
    let past = "[{ from = 2020-01-01T00:00:00Z, to = 2020-01-02T00:00:00Z }]";
    host.site().configure(&format!(
        "[integrations.good]\nplugin = 'well-behaved'\nmaintenance = {past}\n"
    ));
    assert_eq!(host.reload().status, 200);
    host.post_with("good", &[("x-event-id", "1")], "after");
    assert_eq!(host.alerts().len(), 2, "a message that opened nothing may come again");
}

#[test]
fn refuses_requests_over_the_rate_and_names_the_limit() {
    let host = host("rate_limit = '3/h'\n");
    for _ in 0..3 {
        assert_eq!(host.post("good", "disk full").status, 200);
    }
    let over = host.post("good", "disk full");
    assert_eq!((over.status, over.error_code().as_str()), (429, "rate_limited"));
    assert_eq!(over.json()["error"]["scope"], "integration");
    assert!((1..=1200).contains(&over.retry_after()), "{over:?}");
    assert_eq!(record(&host, &over)["outcome"], "refused");
    // A reload with the same rate does not refill the budget.
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.post("good", "disk full").status, 429);
    assert_eq!(host.alerts().len(), 3);
}

#[test]
fn a_sender_over_its_rate_does_not_affect_others() {
    let site = Site::new().plugin(&library("well-behaved"));
    let host = site
        .config(
            "[server]\ntrusted_proxies = ['127.0.0.0/8']\n[integrations.good]\n\
             plugin = 'well-behaved'\nsender_rate_limit = '2/h'\nrate_limit = '5/h'\n",
        )
        .serve();
    let from =
        |sender: &'static str| host.post_with("good", &[("x-forwarded-for", sender)], "disk full");
    let statuses: Vec<_> = (0..6).map(|_| from("203.0.113.1").status).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429]);
    let over = from("203.0.113.1");
    assert_eq!(over.json()["error"]["scope"], "sender");
    let other = from("203.0.113.2");
    assert_eq!(other.status, 200);
    assert_eq!(record(&host, &other)["sender"], "203.0.113.2");
    assert_eq!([from("203.0.113.2").status, from("203.0.113.3").status], [200, 200]);
    assert_eq!(from("203.0.113.4").json()["error"]["scope"], "integration");
}

#[test]
fn refuses_an_invalid_rate() {
    let site = Site::new().plugin(&library("well-behaved"));
    site.write(
        "tocsin.toml",
        "[integrations.good]\nplugin = 'well-behaved'\nrate_limit = 'fast'\n",
    );
    let refused = site.run(&["check"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("write a number and s, m or h, such as `100/s`"),
        "{refused:?}"
    );
}

#[test]
fn retention_deletes_old_rows_while_webhooks_are_served() {
    let site = Site::new().plugin(&library("well-behaved"));
    let host = site
        .config(
            "[requests]\nkeep = 'all'\n[retention]\nresolved_alerts = '1s'\nrecords = '2s'\n\
             raw_requests = '1s'\n[integrations.good]\nplugin = 'well-behaved'\n",
        )
        .serve();
    for count in 0..250 {
        host.post_with("good", &[("x-dedup-key", &*format!("{count}"))], "disk full");
        if count >= 20 {
            let resolve = [("x-dedup-key", &*format!("{count}")), ("x-action", "resolve")];
            assert_eq!(host.post_with("good", &resolve, "over").status, 200);
        }
    }
    wait::until("resolved alerts are deleted", || (host.alerts().len() == 21).then_some(()));
    let numbers: Vec<_> = host.alerts().iter().map(|alert| alert["number"].clone()).collect();
    let expected: Vec<_> = [250].into_iter().chain((1..=20).rev()).map(Value::from).collect();
    assert_eq!(numbers, expected, "what is open stays, and the newest");
    wait::until("records are deleted", || {
        let list = host.api("/api/v1/requests");
        list["requests"].as_array().expect("a list").is_empty().then_some(())
    });
    let forgotten = |what: &str| host.metric(&format!("tocsin_forgotten_total{{what=\"{what}\"}}"));
    for (what, count) in [("resolved_alerts", 229.0), ("records", 480.0)] {
        wait::until("the deletions are counted", || (forgotten(what) == Some(count)).then_some(()));
    }
    host.post("good", "next");
    assert_eq!(host.alerts()[0]["number"], 251);
    // Alert 250 may be deleted now as well.
    let numbers = host.restart().alerts().into_iter().map(|alert| alert["number"].clone());
    let numbers: Vec<_> = numbers.filter(|number| *number != 250).collect();
    let expected: Vec<_> = [251].into_iter().chain((1..=20).rev()).map(Value::from).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn retention_by_size_deletes_the_oldest_rows_first() {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    let host = site
        .config(
            "[requests]\nkeep = 'all'\n[retention]\nmax_store_bytes = 2000000\n\
             [integrations.good]\nplugin = 'well-behaved'\n",
        )
        .serve();
    let body = "x".repeat(20_000);
    let first = host.post("good", &body).request_id().to_owned();
    let mut last = String::new();
    for _ in 0..100 {
        let answer = host.ask(&Request::post("/in/good", &body));
        assert_eq!(answer.status, 200);
        last = answer.request_id().to_owned();
    }
    let raw = |id: &str| host.api(&format!("/api/v1/requests/{id}"))["raw"].clone();
    wait::until("the oldest raw request is deleted", || (raw(&first) == "absent").then_some(()));
    wait::until("the store fits its limit", || {
        let kept = host.metric("tocsin_forgotten_total{what=\"raw_requests\"}")?;
        (kept > 0.0).then_some(())
    });
    assert_eq!(host.alerts().len(), 101, "what is open stays");
    let _ = raw(&last);
}
