//! The admin API, and a reload, as programs see them.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::library,
};

const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";

fn host(config: &str) -> TestHost {
    serve(Site::new(), config)
}

fn serve(site: Site, config: &str) -> TestHost {
    site.plugin(&library("well-behaved")).config(config).serve()
}

fn get(host: &TestHost, path: &str) -> Answer {
    host.ask_admin(&Request::new("GET", path))
}

fn numbers(list: &Value) -> Vec<u64> {
    let alerts = list["alerts"].as_array().expect("a list").iter();
    alerts.map(|alert| alert["number"].as_u64().expect("a number")).collect()
}

#[test]
fn lists_alerts_in_pages_newest_first_each_once() {
    let host = host(GOOD);
    for count in 0..120 {
        assert_eq!(host.post("good", &format!("message {count}")).status, 200);
    }
    assert_eq!(numbers(&host.api("/api/v1/alerts")).len(), 50, "the default");
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    for page in 1..=3 {
        let list = host.api(&format!("/api/v1/alerts?limit=50{cursor}"));
        listed.extend(numbers(&list));
        // Alerts that arrive meanwhile do not shift the pages.
        assert_eq!(host.post("good", "meanwhile").status, 200);
        match list["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => assert_eq!(page, 3, "the last page"),
        }
    }
    assert_eq!(listed, (1..=120).rev().collect::<Vec<_>>());
    let all = host.api("/api/v1/alerts?limit=500");
    assert_eq!((numbers(&all).len(), &all["next_cursor"]), (123, &Value::Null));
    let exact = host.api("/api/v1/alerts?limit=123");
    assert_eq!(exact["next_cursor"], Value::Null, "there is no empty last page");
}

#[test]
fn filters_alerts() {
    let host =
        host(&format!("{GOOD}[integrations.other]\nplugin = 'well-behaved'\nurgency = 'low'"));
    host.post("good", "one");
    host.post("other", "two");
    host.post_with("good", &[("x-urgency", "high")], "three");
    host.ask_admin(&Request::post("/api/v1/alerts/1/acknowledge", ""));
    for (filter, expected) in [
        ("status=acknowledged", &[1][..]),
        ("status=open", &[3, 2]),
        ("status=resolved", &[]),
        ("urgency=low", &[2]),
        ("urgency=high&integration=good", &[3]),
        ("integration=nobody", &[]),
        ("status=open&limit=1", &[3]),
    ] {
        assert_eq!(numbers(&host.api(&format!("/api/v1/alerts?{filter}"))), expected, "{filter}");
    }
}

#[test]
fn refuses_invalid_parameters() {
    let host = host(GOOD);
    for query in [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=many",
        "status=closed",
        "urgency=urgent",
        "cursor=x",
        "colour=red",
        "limit=1&limit=2",
    ] {
        let answer = get(&host, &format!("/api/v1/alerts?{query}"));
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "bad_request"), "{query}");
    }
    for query in ["limit=1", "limit=500"] {
        assert_eq!(get(&host, &format!("/api/v1/alerts?{query}")).status, 200, "{query}");
    }
}

#[test]
fn an_alert_is_acknowledged_and_resolved_and_its_history_shows_it() {
    let host = host(GOOD);
    let keyed = |action| [("x-dedup-key", "disk"), ("x-action", action)];
    let first = host.post_with("good", &keyed("create"), "disk full");
    host.post_with("good", &keyed("create"), "disk full");
    let change = |verb: &str| {
        let answer = host.ask_admin(&Request::post(&format!("/api/v1/alerts/1/{verb}"), ""));
        (answer.status, answer.json())
    };
    let (status, alert) = change("acknowledge");
    assert_eq!((status, &alert["status"]), (200, &json!("acknowledged")));
    assert_eq!(change("acknowledge"), (200, alert), "a second time changes nothing");
    host.post_with("good", &keyed("resolve"), "over");
    let (status, conflict) = change("acknowledge");
    assert_eq!((status, &conflict["error"]["code"]), (409, &json!("conflict")));
    assert_eq!(change("resolve").0, 200);

    let alert = host.api("/api/v1/alerts/1");
    let history = alert["history"].as_array().expect("a list").iter();
    let history: Vec<_> =
        history.map(|entry| format!("{} by {}", entry["change"], entry["by"])).collect();
    assert_eq!(
        history,
        [
            r#""created" by "integration good""#,
            r#""occurred" by "integration good""#,
            r#""acknowledged" by "api""#,
            r#""resolved" by "integration good""#,
        ]
    );
    assert_eq!((&alert["occurrences"], &alert["status"]), (&json!(2), &json!("resolved")));
    assert_eq!(alert["request_id"], first.request_id());
    let id = alert["id"].as_str().expect("an id");
    assert_eq!(host.api(&format!("/api/v1/alerts/{id}")), alert);

    // A further event with the key of the resolved alert opens a new alert.
    host.post_with("good", &keyed("create"), "disk full");
    assert_eq!(numbers(&host.api("/api/v1/alerts?status=open")), [2]);
}

#[test]
fn answers_404_for_unknown_ids_and_routes() {
    let host = host(GOOD);
    for path in [
        "/api/v1/alerts/1",
        "/api/v1/alerts/x",
        "/api/v1/alerts/01JD2Z6Q3MWV8K5R9T1X0C4N7B",
        "/api/v1/requests/01JD2Z6Q3MWV8K5R9T1X0C4N7B",
        "/api/v1/requests/x",
        "/api/v2/alerts",
        "/",
        "/in/good",
    ] {
        let answer = get(&host, path);
        assert_eq!((answer.status, answer.error_code().as_str()), (404, "not_found"), "{path}");
    }
    for verb in ["acknowledge", "resolve"] {
        let answer = host.ask_admin(&Request::post(&format!("/api/v1/alerts/1/{verb}"), ""));
        assert_eq!((answer.status, answer.error_code().as_str()), (404, "not_found"), "{verb}");
    }
    let answer = host.ask_admin(&Request::new("DELETE", "/api/v1/alerts/1"));
    assert_eq!((answer.status, answer.error_code().as_str()), (405, "method_not_allowed"));
}

#[test]
fn the_api_needs_a_valid_token() {
    let host =
        host(&format!("[admin]\ntokens = ['first-admin-token', 'second-admin-token']\n{GOOD}"));
    host.post("good", "disk full");
    let ask = |method: &str, path: &str, authorization: Option<&str>| {
        let mut request = Request::new(method, path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        host.ask_admin(&request)
    };
    for (method, path) in [
        ("GET", "/api/v1/alerts"),
        ("GET", "/api/v1/alerts/1"),
        ("POST", "/api/v1/alerts/1/resolve"),
        ("POST", "/api/v1/alerts/1/acknowledge"),
        ("GET", "/api/v1/integrations"),
        ("GET", "/api/v1/plugins"),
        ("POST", "/api/v1/alerts/1/notes"),
        ("GET", "/api/v1/requests"),
        ("GET", "/api/v1/requests/x"),
        ("GET", "/api/v1/requests/x/raw"),
        ("POST", "/api/v1/requests/x/replay"),
        ("GET", "/metrics"),
    ] {
        for authorization in [
            None,
            Some("Bearer wrong"),
            Some("Bearer "),
            Some("Basic first-admin-token"),
            Some("first-admin-token"),
        ] {
            let answer = ask(method, path, authorization);
            assert_eq!(answer.status, 401, "{path} {authorization:?}");
            assert_eq!(answer.error_code(), "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    for token in
        ["Bearer first-admin-token", "Bearer second-admin-token", "bearer second-admin-token"]
    {
        let alert = ask("GET", "/api/v1/alerts/1", Some(token));
        assert_eq!((alert.status, &alert.json()["status"]), (200, &json!("open")), "{token}");
    }
    // Health checks need no token.
    for path in ["/health/live", "/health/ready", "/openapi.json"] {
        assert_eq!(ask("GET", path, None).status, 200, "{path}");
    }
    assert!(
        !host
            .log()
            .iter()
            .any(|line| line.contains("first-admin") || line.contains("second-admin"))
    );
}

#[test]
fn refuses_requests_of_web_pages_to_an_api_without_tokens() {
    let host = host(GOOD);
    let ask = |method: &str, path: &str, lines: &[(&str, String)]| {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        lines.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        let mut admin = Connection::open(host.admin()).expect("it listens");
        admin.send(format!("{text}content-length: 0\r\n\r\n").as_bytes()).expect("it reads");
        admin.answer().expect("an answer").status
    };
    let port = host.admin().port();
    let own = ("host", format!("127.0.0.1:{port}"));
    for lines in [
        vec![own.clone(), ("sec-fetch-site", "cross-site".into())],
        vec![own.clone(), ("origin", "http://evil.example".into())],
        vec![own.clone(), ("origin", "null".into())],
        vec![("host", format!("evil.example:{port}"))],
        vec![("host", format!("0.0.0.0:{port}"))],
        vec![("host", "localhost:80@evil".into())],
        vec![("host", format!("127.0.0.1:{}", port ^ 1))],
    ] {
        for (method, path) in [
            ("GET", "/api/v1/alerts"),
            ("POST", "/api/v1/alerts/1/resolve"),
            ("GET", "/metrics"),
            ("GET", "/health/ready"),
            ("GET", "/openapi.json"),
        ] {
            assert_eq!(ask(method, path, &lines), 401, "{method} {path} {lines:?}");
        }
        assert_eq!(ask("GET", "/health/live", &lines), 200, "that it runs is nothing to hide");
    }
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "127.0.0.1".into()] {
        assert_eq!(ask("GET", "/api/v1/alerts", &[("host", host.clone())]), 200, "{host}");
    }
}

#[test]
fn the_openapi_document_lists_every_route() {
    let host = host(GOOD);
    let description = host.api("/openapi.json");
    let routes: BTreeSet<_> = description["paths"].as_object().expect("routes").keys().collect();
    let expected = [
        "/api/v1/alerts",
        "/api/v1/alerts/{id}",
        "/api/v1/alerts/{id}/acknowledge",
        "/api/v1/alerts/{id}/notes",
        "/api/v1/alerts/{id}/notifications",
        "/api/v1/alerts/{id}/resolve",
        "/api/v1/audit",
        "/api/v1/backup",
        "/api/v1/deliveries",
        "/api/v1/deliveries/{id}",
        "/api/v1/deliveries/{id}/discard",
        "/api/v1/deliveries/{id}/retry",
        "/api/v1/destinations",
        "/api/v1/destinations/{name}/discard",
        "/api/v1/destinations/{name}/retry",
        "/api/v1/destinations/{name}/test",
        "/api/v1/hosts",
        "/api/v1/integrations",
        "/api/v1/plugins",
        "/api/v1/plugins/{name}/retry",
        "/api/v1/reload",
        "/api/v1/requests",
        "/api/v1/requests/{id}",
        "/api/v1/requests/{id}/raw",
        "/api/v1/requests/{id}/replay",
        "/api/v1/routes/test",
        "/api/v1/silences",
        "/api/v1/silences/{id}/end",
        "/health/live",
        "/health/ready",
        "/metrics",
    ];
    assert_eq!(routes.into_iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for (path, method) in [("/api/v1/alerts", "get"), ("/api/v1/alerts/{id}/resolve", "post")] {
        assert!(description["paths"][path][method].is_object(), "{path}");
    }
}

#[test]
fn metrics_contain_every_promised_family() {
    let host = host(GOOD);
    host.post("good", "disk full");
    host.post_with("good", &[("x-action", "dance")], "disk full");
    let metrics = get(&host, "/metrics").body;
    let families: BTreeSet<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for family in [
        "tocsin_requests",
        "tocsin_plugin_call_seconds",
        "tocsin_plugin_panics",
        "tocsin_plugin_deadlines",
        "tocsin_plugin_slow_calls",
        "tocsin_plugin_stuck_threads",
        "tocsin_plugin_breaker_open",
        "tocsin_plugin_breaker_trips",
        "tocsin_connections",
        "tocsin_commit_seconds",
        "tocsin_commit_batch_size",
        "tocsin_commit_failures",
        "tocsin_store_size_bytes",
        "tocsin_call_threads",
        "tocsin_stuck_threads",
    ] {
        assert!(families.contains(family), "`{family}` is missing in {families:?}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    let requests = |outcome: &str| {
        let labels = "integration=\"good\",plugin=\"well-behaved\",version=\"1.0.0\"";
        host.metric(&format!("tocsin_requests_total{{{labels},outcome=\"{outcome}\"}}"))
    };
    let outcomes = ["events", "malformed", "ignored", "unauthorized", "failed"].map(requests);
    assert_eq!(outcomes, [Some(1.0), Some(1.0), Some(0.0), Some(0.0), Some(0.0)]);
    assert!(host.metric("tocsin_store_size_bytes").is_some_and(|size| size > 0.0));
}

#[test]
fn health_reports_liveness_and_readiness() {
    let host = host(GOOD);
    assert_eq!(host.api("/health/live"), json!({"status": "live"}));
    assert_eq!(host.ready(), (200, json!({"status": "ready", "reasons": [], "codes": []})));
}

#[test]
fn records_an_unauthorized_request_without_its_body() {
    let config = format!("{GOOD}options.token = 's3cret-of-the-sender'\n");
    let host = serve(Site::on_sqlite(), &config);
    let answer = host.post_with("good", &[("x-token", "wrong-guess")], "disk full");
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "unauthorized"));
    let path = format!("/api/v1/requests/{}", answer.request_id());
    let record = host.api(&path);
    assert_eq!((&record["outcome"], &record["raw"]), (&json!("unauthorized"), &json!("absent")));
    assert_eq!(get(&host, &format!("{path}/raw")).status, 404);
    let metrics = get(&host, "/metrics").body;
    assert!(metrics.contains("outcome=\"unauthorized\"} 1"), "{metrics}");
    assert_eq!(
        host.post_with("good", &[("x-token", "s3cret-of-the-sender")], "disk full").status,
        200
    );
    let (log, site) = (host.log().join("\n"), host.stop());
    for name in ["tocsin.db", "tocsin.db-wal"] {
        let bytes = std::fs::read(site.path(name)).unwrap_or_default();
        for secret in ["wrong-guess", "s3cret-of-the-sender"] {
            let secret = secret.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "in `{name}`");
        }
    }
    assert!(!log.contains("wrong-guess") && !log.contains("s3cret-of-the-sender"), "{log}");
}

#[test]
fn a_reload_of_a_broken_configuration_changes_nothing_and_says_why() {
    let host = host(GOOD);
    let reason = |broken: &str| {
        host.site().write("tocsin.toml", broken);
        host.reload();
        assert_eq!(host.post("good", "disk full").status, 200);
        let (status, ready) = host.ready();
        assert_eq!((status, &ready["status"]), (200, &json!("degraded")));
        ready["reasons"][0].as_str().expect("a sentence").to_owned()
    };
    assert_snapshot!(reason("[integrations.good]\nplugin = 'nobody'\n"), @"the last reload failed, and nothing was changed: tocsin.toml:2:10: `integrations.good.plugin`: no plugin is named `nobody`; hint: the plugins folder has `well-behaved`");
    assert_snapshot!(reason("[integrations.good]\nplugin = 'well-behaved'\noptions.x = 1\n"), @"the last reload failed, and nothing was changed: tocsin.toml:3:13: `integrations.good.options.x`: unknown field `x`, expected `prefix` or `token`; hint: see the options of plugin `well-behaved`");
    assert_snapshot!(reason("[server]\nlisten = 17\n[plugins]\ndir = 3"), @"the last reload failed, and nothing was changed: tocsin.toml:2:10: `server.listen`: invalid type: an integer; hint: write an IP address and a port, such as `127.0.0.1:8080`, in quotes; tocsin.toml:4:7: `plugins.dir`: invalid type: an integer; hint: write a path in quotes here");
    assert_snapshot!(reason("[server]\nno toml"), @"the last reload failed, and nothing was changed: tocsin.toml:2:4: key with no value; hint: write `=` here");
    // Health needs no token and logs are widely read, so neither may quote a line that holds a
    // secret.
    assert_snapshot!(reason("[admin]\ntokens = ['s3cret-s3cret-s3cret', 17]\n"), @r#"the last reload failed, and nothing was changed: tocsin.toml:2:35: `admin.tokens`: expected a token, or a table with `name` and `token`; hint: write [{ name = "alice", token = { env = "TOCSIN_ADMIN_TOKEN" } }]"#);

    assert!(!host.log().iter().any(|line| line.contains("s3cret")));

    host.site().configure(GOOD);
    host.reload();
    assert_eq!(host.ready(), (200, json!({"status": "ready", "reasons": [], "codes": []})));
}
