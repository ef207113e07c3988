//! The real Prometheus Alertmanager, whose notifications open and resolve alerts of a host, and to which
//! the plugin sends alerts.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tocsin_plugin_api::{
    Urgency,
    abi::Instance,
    notification::{self, Change, Kind, Notification, Status, Time},
    step::{HttpAnswer, MOST_REQUESTS, NotifyCall, Step},
    testing::Library,
};
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::library,
    loopback, wait,
};

const PROGRAM: &str = "prometheus-alertmanager";

struct Alertmanager {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    /// Starts an Alertmanager that notifies `host` at once. Returns `None` if the program is not
    /// installed.
    fn start(host: &TestHost, http_config: &str) -> Option<Self> {
        if Command::new(PROGRAM).arg("--version").output().is_err() {
            eprintln!("skipped: {PROGRAM} is not installed (apt-get install {PROGRAM})");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let webhooks = host.webhooks();
        let config = format!(
            "route:\n  receiver: tocsin\n  group_by: [alertname]\n  group_wait: 0s\n  \
             group_interval: 1s\n  repeat_interval: 1h\nreceivers:\n- name: tocsin\n  \
             webhook_configs:\n  - url: http://{webhooks}/in/prometheus\n    send_resolved: true\n    \
             http_config:\n      {http_config}\n"
        );
        let file = folder.path().join("alertmanager.yml");
        fs::write(&file, config).expect("a configuration");
        let address = loopback::free_port();
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut started = Self { child, address, _folder: folder };
        wait::until("Alertmanager is ready", || {
            let ended = started.child.try_wait().expect("it is our child");
            assert_eq!(ended, None, "{PROGRAM} does not start");
            let answer = Connection::open(address)
                .and_then(|mut open| open.ask(&Request::new("GET", "/-/ready")));
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
        Some(started)
    }

    fn tell(&self, alerts: &Value) {
        let body = alerts.to_string();
        let request =
            Request::post("/api/v2/alerts", &body).header("content-type", "application/json");
        let answer = Connection::open(self.address).and_then(|mut open| open.ask(&request));
        assert_eq!(answer.expect("an answer").status, 200);
    }

    /// Returns the alerts that Alertmanager shows as active.
    fn active(&self) -> Vec<Value> {
        let request = Request::new("GET", "/api/v2/alerts?active=true");
        let answer = Connection::open(self.address).and_then(|mut open| open.ask(&request));
        let alerts: Value = answer.expect("an answer").json();
        alerts.as_array().expect("a list").clone()
    }

    /// Sends what the plugin asks for, as a host does, until the plugin has a verdict.
    fn deliver(&self, plugin: &Instance, notification: &Notification) -> Step {
        let mut answers = Vec::new();
        loop {
            let call = NotifyCall::Next {
                notification: Box::new(notification.clone()),
                answers: answers.clone(),
            };
            let call = serde_json::to_vec(&call).expect("JSON");
            let step = plugin.call("notify", &call).expect("a step");
            let step: Step = serde_json::from_slice(&step).expect("a step");
            let Step::Send { request } = step else { return step };
            assert!(answers.len() < MOST_REQUESTS, "{request:?}");
            let path = request.url.strip_prefix(&format!("http://{}", self.address));
            let mut sent = Request::post(path.expect("a path"), &request.body);
            for header in &request.headers {
                sent = sent.header(&header.name, &header.value);
            }
            let answer = Connection::open(self.address).and_then(|mut open| open.ask(&sent));
            let answer = answer.expect("an answer");
            answers.push(HttpAnswer::new(request.name, answer.status).with_body(answer.body));
        }
    }
}

fn host(options: &str) -> TestHost {
    let site = Site::new().plugin(&library("alertmanager"));
    site.config(&format!("[integrations.prometheus]\nplugin = 'alertmanager'\n{options}")).serve()
}

fn disk_full(instance: &str, more: &Value) -> Value {
    let mut alert = json!({
        "labels": { "alertname": "DiskFull", "severity": "page", "instance": instance },
        "annotations": { "summary": format!("{instance} is full"), "description": "99 % used" },
        "generatorURL": "http://prometheus.example/graph?g0.expr=disk",
    });
    let more = more.as_object().expect("an object").clone();
    alert.as_object_mut().expect("an object").extend(more);
    alert
}

fn drill(options: &str, http_config: &str) {
    let host = host(options);
    let Some(alertmanager) = Alertmanager::start(&host, http_config) else { return };
    let (started, long) = ("2026-01-01T00:00:00Z", json!({ "startsAt": "2026-01-01T00:00:00Z" }));
    alertmanager.tell(&json!([disk_full("db1", &long), disk_full("db2", &long)]));
    wait::until("both alerts are open", || (host.alerts().len() == 2).then_some(()));
    let alerts = host.alerts();
    let alert = alerts.iter().find(|alert| alert["title"] == "db1 is full").expect("db1's");
    assert_eq!((&alert["urgency"], &alert["status"]), (&json!("critical"), &json!("open")));
    assert_eq!(alert["description"], "99 % used");
    assert_eq!(alert["link"], "http://prometheus.example/graph?g0.expr=disk");
    assert!(alert["dedup_key"].as_str().is_some_and(|key| key.len() == 16), "{alert}");
    let details = alert["details"].as_array().expect("a list");
    assert!(details.contains(&json!({ "label": "instance", "value": "db1" })), "{alert}");

    let over = json!({ "startsAt": started, "endsAt": "2026-01-01T01:00:00Z" });
    alertmanager.tell(&json!([disk_full("db1", &over)]));
    let number = alert["number"].clone();
    wait::until("the alert is resolved", || {
        (host.api(&format!("/api/v1/alerts/{number}"))["status"] == "resolved").then_some(())
    });
    let other = host.alerts().into_iter().find(|alert| alert["title"] == "db2 is full");
    assert_eq!(other.expect("db2's")["status"], "open");

    // When Alertmanager's alert fires again, a new Tocsin alert opens, which names the previous
    // one.
    alertmanager.tell(&json!([disk_full("db1", &json!({ "startsAt": "2026-01-02T00:00:00Z" }))]));
    wait::until("a new alert is open", || (host.alerts().len() == 3).then_some(()));
    let again = &host.alerts()[0];
    assert_eq!((&again["previous"], &again["status"]), (&number, &json!("open")));
    let outcomes = host.api("/api/v1/requests?limit=500");
    let outcomes = outcomes["requests"].as_array().expect("a list");
    assert!(outcomes.iter().all(|request| request["outcome"] == "events"), "{outcomes:#?}");
}

#[test]
fn a_firing_alert_opens_an_alert_and_a_resolved_one_resolves_it() {
    drill(
        "options.bearer_token = 's3cret'\n",
        "authorization: { type: Bearer, credentials: s3cret }",
    );
}

#[test]
fn accepts_a_user_and_a_password() {
    drill(
        "options.basic_auth = { username = 'am', password = 's3cret' }\n",
        "basic_auth: { username: am, password: s3cret }",
    );
}

#[test]
fn accepts_a_password_without_a_user() {
    let options = "options.basic_auth = { username = '', password = 's3cret' }\n";
    drill(options, "basic_auth: { password: s3cret }");

    let host = host(options);
    let ask = |authorization: &str| {
        let body = group("firing", 1);
        let request = Request::post("/in/prometheus", &body);
        host.ask(&request.header("authorization", authorization)).status
    };
    assert_eq!(ask("Basic OnMzY3JldA=="), 200, ":s3cret");
    assert_eq!(ask("Basic YW06czNjcmV0"), 403, "am:s3cret");
    assert_eq!(ask("Basic Og=="), 403, ":");
}

#[test]
fn refuses_an_alertmanager_with_a_wrong_token() {
    let host = host("options.bearer_token = 's3cret'\n");
    let http_config = "authorization: { type: Bearer, credentials: wrong }";
    let Some(alertmanager) = Alertmanager::start(&host, http_config) else { return };
    alertmanager.tell(&json!([disk_full("db1", &json!({}))]));
    wait::until("the notification is refused", || {
        let list = host.api("/api/v1/requests?outcome=unauthorized");
        (!list["requests"].as_array().expect("a list").is_empty()).then_some(())
    });
    assert_eq!(host.alerts().len(), 0);
}

#[test]
fn shows_and_resolves_an_alert_that_the_plugin_sends_and_the_host_ignores_it_on_its_way_back() {
    let host = host("options.bearer_token = 's3cret'\n");
    let http_config = "authorization: { type: Bearer, credentials: s3cret }";
    let Some(alertmanager) = Alertmanager::start(&host, http_config) else { return };
    let library = Library::open(&library("alertmanager"));
    let options = json!({ "url": format!("http://{}", alertmanager.address) });
    let plugin = library.instance(&options).expect("an instance");
    let now = || Time::from_unix_milliseconds(jiff::Timestamp::now().as_millisecond());
    let started = now();
    let news = |kind, status| {
        let mut alert = notification::Alert::new(7, "größe \"db1\"", Urgency::High, started);
        (alert.integration, alert.status) = ("ops".into(), status);
        alert.url = Some("https://tocsin.example/alerts/7".into());
        let mut notification = Notification::new("d1", kind, alert, now());
        notification.change = Some(Change::new(now(), "api token anna"));
        notification
    };
    let ignored = || {
        let list = host.api("/api/v1/requests?outcome=ignored");
        list["requests"].as_array().expect("a list").clone()
    };

    let opened = news(Kind::Opened, Status::Open);
    assert_eq!(alertmanager.deliver(&plugin, &opened), Step::delivered());
    let active = wait::until("the alert is active", || {
        let active = alertmanager.active();
        (!active.is_empty()).then_some(active)
    });
    let [alert] = active.as_slice() else { panic!("{active:#?}") };
    let labels = json!({
        "alertname": "größe \"db1\"",
        "severity": "high",
        "integration": "ops",
        "tocsin_alert": format!("{:026}", 7),
    });
    assert_eq!(alert["labels"], labels);
    assert_eq!(alert["annotations"]["status"], "open");
    assert_eq!(alert["generatorURL"], "https://tocsin.example/alerts/7");
    let ends_at: jiff::Timestamp =
        alert["endsAt"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    let seconds = ends_at.as_second() - jiff::Timestamp::now().as_second();
    assert!(seconds > 300 * 24 * 60 * 60, "it does not stay active: {alert}");
    let back = wait::until("Alertmanager has notified the host", || ignored().pop());
    let reason = "a Tocsin host has sent all alerts of the notification (label `tocsin_alert`)";
    assert_eq!(back["reason"], reason);

    // A repeated delivery and an acknowledgement change the alert, and add none.
    assert_eq!(alertmanager.deliver(&plugin, &opened), Step::delivered());
    let acknowledged = news(Kind::Acknowledged, Status::Acknowledged);
    assert_eq!(alertmanager.deliver(&plugin, &acknowledged), Step::delivered());
    wait::until("the alert is acknowledged", || {
        let active = alertmanager.active();
        assert_eq!(active.len(), 1, "{active:#?}");
        (active[0]["annotations"]["status"] == "acknowledged").then_some(())
    });

    let resolved = news(Kind::Resolved, Status::Resolved);
    assert_eq!(alertmanager.deliver(&plugin, &resolved), Step::delivered());
    wait::until("the alert is resolved", || alertmanager.active().is_empty().then_some(()));
    wait::until("Alertmanager has notified the host of the end", || {
        (ignored().len() >= 2).then_some(())
    });
    assert_eq!(host.alerts().len(), 0);
}

#[test]
fn a_host_sends_its_alerts_to_alertmanager_and_resolves_them_there() {
    let integrations = "[integrations.prometheus]\nplugin = 'alertmanager'\n\
                        options.bearer_token = 's3cret'\n\
                        [integrations.ops]\nplugin = 'well-behaved'\nurgency = 'high'\n";
    let site = Site::new().plugin(&library("alertmanager")).plugin(&library("well-behaved"));
    let host = site.config(integrations).serve();
    let http_config = "authorization: { type: Bearer, credentials: s3cret }";
    let Some(alertmanager) = Alertmanager::start(&host, http_config) else { return };
    host.site().configure(&format!(
        "{integrations}[destinations.existing]\nplugin = 'alertmanager'\nallow_http = true\n\
         allow_networks = ['127.0.0.0/8']\noptions.url = 'http://{}'\n",
        alertmanager.address
    ));
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.post("ops", "disk full").status, 200);
    let active = wait::until("Alertmanager shows the alert", || {
        let active = alertmanager.active();
        (!active.is_empty()).then_some(active)
    });
    let labels = &active[0]["labels"];
    assert_eq!((active.len(), &labels["alertname"]), (1, &json!("disk full")));
    assert_eq!((&labels["severity"], &labels["integration"]), (&json!("high"), &json!("ops")));

    let resolve = Request::post("/api/v1/alerts/1/resolve", "");
    assert_eq!(host.ask_admin(&resolve).status, 200);
    wait::until("the alert is over", || alertmanager.active().is_empty().then_some(()));
    wait::until("both deliveries have ended", || {
        let list = host.api("/api/v1/deliveries?status=delivered");
        (list["deliveries"].as_array()?.len() == 2).then_some(())
    });
    assert_eq!(host.alerts().len(), 1, "its notifications of our own alert open none");
}

/// Sends the notifications of one Alertmanager alert, with a gap in its samples, and returns the
/// alerts that the host then has.
fn after_a_gap(options: &str) -> Vec<(u64, String, u64, Value)> {
    let host = host(options);
    // Alertmanager got no samples for a while, sent "resolved", and then sent the old alert as
    // firing again.
    for (status, ends) in [
        ("firing", "0001-01-01T00:00:00Z"),
        ("firing", "0001-01-01T00:00:00Z"),
        ("resolved", "2026-01-01T01:00:00Z"),
        ("firing", "0001-01-01T00:00:00Z"),
    ] {
        let notification = json!({
            "version": "4",
            "groupKey": "{}:{alertname=\"DiskFull\"}",
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "tocsin",
            "groupLabels": { "alertname": "DiskFull" },
            "commonLabels": { "alertname": "DiskFull" },
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example",
            "alerts": [{
                "status": status,
                "labels": { "alertname": "DiskFull", "instance": "db1" },
                "annotations": { "summary": "db1 is full" },
                "startsAt": "2026-01-01T00:00:00Z",
                "endsAt": ends,
                "generatorURL": "",
                "fingerprint": "1a30ba71cca2921f",
            }],
        });
        let body = notification.to_string();
        let request = Request::post("/in/prometheus", &body);
        let answer = host.ask(&request.header("content-type", "application/json"));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let number = |alert: &Value, key: &str| alert[key].as_u64().expect("a number");
    let status = |alert: &Value| alert["status"].as_str().expect("a status").to_owned();
    let shown = |alert: &Value| {
        let (count, previous) = (number(alert, "occurrences"), alert["previous"].clone());
        (number(alert, "number"), status(alert), count, previous)
    };
    host.alerts().iter().rev().map(shown).collect()
}

#[test]
fn reopens_an_alert_that_fires_after_a_gap_unless_reopen_is_off() {
    let sender = "options.unauthenticated = true\n";
    assert_eq!(
        after_a_gap(sender),
        [(1, "resolved".into(), 2, Value::Null), (2, "open".into(), 1, json!(1))]
    );
    assert_eq!(
        after_a_gap(&format!("{sender}options.reopen = false\n")),
        [(1, "resolved".into(), 1, Value::Null)]
    );
}

/// Returns a minimal notification of `count` alerts, all with one status.
fn group(status: &str, count: usize) -> String {
    let alerts = (0..count).map(|at| {
        format!(r#"{{"status":"{status}","labels":{{"alertname":"Down"}},"fingerprint":"{at}"}}"#)
    });
    let alerts = alerts.collect::<Vec<_>>().join(",");
    format!(r#"{{"version":"4","status":"{status}","truncatedAlerts":0,"alerts":[{alerts}]}}"#)
}

fn notify(host: &TestHost, integration: &str, body: &str) -> Answer {
    let path = format!("/in/{integration}");
    let request = Request::post(&path, body).header("content-type", "application/json");
    host.ask(&request)
}

#[test]
fn opens_and_resolves_every_alert_of_a_large_group() {
    let host = host("options.unauthenticated = true\n");
    for (status, expected) in [("firing", "open"), ("resolved", "resolved")] {
        let answer = notify(&host, "prometheus", &group(status, 1500));
        assert_eq!(answer.status, 200, "{answer:?}");
        let alerts = host.alerts();
        let found = alerts.iter().filter(|alert| alert["status"] == expected).count();
        assert_eq!((alerts.len(), found), (1500, 1500), "{status}");
        let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
        assert_eq!(record["effects"].as_array().map(Vec::len), Some(1500));
    }
}

#[test]
fn refuses_a_group_over_the_event_limit_as_a_whole_and_counts_it() {
    let site = Site::new().plugin(&library("alertmanager"));
    // A debug build is slow with so many alerts.
    let site = site.config(
        "server.body_limit_bytes = 33554432\nplugins.call_deadline = '2m'\n\
         [integrations.prometheus]\nplugin = 'alertmanager'\noptions.unauthenticated = true",
    );
    let host = site.serve();
    let answer = notify(&host, "prometheus", &group("firing", 100_001));
    // Alertmanager retries a notification that was answered with 5xx.
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "too_many_events"));
    assert!(answer.retry_after() >= 1);
    let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
    assert_eq!(record["outcome"], "refused");
    assert_eq!(
        record["reason"],
        "too_many_events: the plugin made 100001 events of one request, more than 100000"
    );
    assert_eq!(host.metric(r#"tocsin_limit_reached_total{limit="events"}"#), Some(1.0));
    assert_eq!(host.alerts().len(), 0);
    // The notification is too large for the quarantine, but Alertmanager is told to retry all the
    // same.
    assert_eq!(record["raw"], "absent");
}

#[test]
fn separate_alertmanagers_on_one_integration_have_separate_alerts() {
    let host = host("options.unauthenticated = true\noptions.key_prefix = '{receiver}/'\n");
    let say = |status: &str, receiver: &str| {
        let body = group(status, 1).replacen('{', &format!(r#"{{"receiver":"{receiver}","#), 1);
        assert_eq!(notify(&host, "prometheus", &body).status, 200);
    };
    say("firing", "eu");
    say("firing", "us");
    say("resolved", "eu");
    let alerts = host.alerts();
    let told = alerts.iter().rev().map(|alert| (&alert["dedup_key"], &alert["status"]));
    let expected = [(&json!("eu/0"), &json!("resolved")), (&json!("us/0"), &json!("open"))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
