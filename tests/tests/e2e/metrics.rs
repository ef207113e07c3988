//! `/metrics` as Prometheus and other clients read it, and the rules and the dashboard made for it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use regex::Regex;
use tocsin_tests::{
    Site, TestHost,
    http::Request,
    libraries::{library, workspace},
    wait::until,
};

const PROMTOOL: &str = "promtool";

/// Starts a host with an integration and a destination to which nothing was sent yet.
fn host() -> TestHost {
    site("").serve()
}

fn site(server: &str) -> Site {
    let site = Site::new().plugin(&library("well-behaved")).plugin(&library("webhook-out"));
    site.config(&format!(
        "{server}[integrations.good]\nplugin = 'well-behaved'\n\
         [destinations.out]\nplugin = 'webhook-out'\nenabled = false\n\
         options = {{ url = 'https://hooks.example.com/x' }}\n",
    ))
}

/// Returns the metrics in the format that a client asks for, with its content type.
fn metrics(host: &TestHost, accept: &str) -> (String, String) {
    let answer = host.ask_admin(&Request::new("GET", "/metrics").header("accept", accept));
    assert_eq!(answer.status, 200, "{answer:?}");
    let content_type = answer.header("content-type").expect("a type").to_owned();
    (answer.body, content_type)
}

/// Returns the names of all series.
fn names(metrics: &str) -> BTreeSet<&str> {
    let series = metrics.lines().filter(|line| !line.starts_with('#'));
    series.filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[test]
fn the_rules_and_the_dashboard_name_only_series_that_are_there_from_the_start() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let site = site("[server]\ntls = { certificate = 'tls.crt', key = 'tls.key' }\n");
    site.write("tls.crt", cert.pem());
    site.write("tls.key", signing_key.serialize_pem());
    let host = site.serve();
    let all = until("the engine has surveyed the destinations", || {
        let all = metrics(&host, "text/plain").0;
        all.contains("tocsin_deliveries_waiting{destination=\"out\"} 0").then_some(all)
    });
    for series in [
        "tocsin_build_info{version=\"",
        "tocsin_quarantined_requests{integration=\"good\"} 0",
        "tocsin_quarantine_pushed_out_total{integration=\"good\"} 0",
        "tocsin_refusals_total{reason=\"unauthorized\"} 0",
        "tocsin_unresolved_alerts{status=\"open\",urgency=\"critical\"} 0",
        "tocsin_delivery_attempts_total{destination=\"out\",result=\"delivered\"} 0",
        "tocsin_deliveries_dead{destination=\"out\"} 0",
        "tocsin_destination_parked{destination=\"out\"} 0",
        "tocsin_forgotten_total{what=\"records\"} 0",
        "tocsin_limit_reached_total{limit=\"connections\"} 0",
        "tocsin_config_last_reload_successful 1",
        "process_open_fds ",
        "process_resident_memory_bytes ",
    ] {
        let is_there = all.lines().any(|line| line.starts_with(series));
        assert!(is_there, "`{series}` is missing in {all}");
    }
    let known = names(&all);
    let name = Regex::new(r"\b(?:tocsin|process)_[a-z_]+").expect("a pattern");
    for file in ["deploy/prometheus/tocsin.rules.yml", "deploy/grafana/tocsin.json"] {
        let text = fs::read_to_string(workspace().join(file)).expect("a file");
        let named: BTreeSet<_> = name.find_iter(&text).map(|found| found.as_str()).collect();
        assert!(named.len() > 10, "{named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "`{file}` names {unknown:?}");
    }
}

#[test]
fn gives_prometheus_openmetrics_and_others_what_they_accept() {
    let host = host();
    let prometheus = "application/openmetrics-text;version=1.0.0,\
                      application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for accept in [prometheus, "*/*"] {
        let (text, content_type) = metrics(&host, accept);
        assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(text.contains("\n# TYPE tocsin_requests counter\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
    let (text, content_type) = metrics(&host, "text/plain");
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("\n# TYPE tocsin_requests_total counter\n"), "{text}");
    assert!(!text.contains("# EOF"), "{text}");

    host.site().write("metrics.txt", &text);
    let input = fs::File::open(host.site().path("metrics.txt")).expect("a file");
    promtool(&["check", "metrics"], host.site().path("").as_path(), input.into());
}

#[test]
fn the_rules_pass_their_tests_and_each_has_one() {
    let folder = workspace().join("deploy/prometheus");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file");
    let names = |pattern: &str, text: &str| -> BTreeSet<String> {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let rules = names(r"- alert: (\w+)", &read("tocsin.rules.yml"));
    let tested = names(r"alertname: (\w+)", &read("tocsin.rules.test.yml"));
    assert_eq!(rules, tested);
    promtool(&["check", "config", "prometheus.yml"], &folder, Stdio::null());
    promtool(&["test", "rules", "tocsin.rules.test.yml"], &folder, Stdio::null());
}

/// Runs promtool, which has to find nothing. Does nothing if it is not installed.
fn promtool(args: &[&str], folder: &Path, input: Stdio) {
    let run = Command::new(PROMTOOL).args(args).current_dir(folder).stdin(input).output();
    let Ok(run) = run else {
        eprintln!("skipped: {PROMTOOL} is not installed (apt-get install prometheus)");
        return;
    };
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && complained.is_empty(), "{args:?}: {said}{complained}");
}

#[test]
fn refusals_reloads_and_open_alerts_are_counted() {
    let host = host();
    host.post("unknown", "x");
    host.post_with("good", &[("content-encoding", "gzip")], "x");
    assert_eq!(host.metric("tocsin_refusals_total{reason=\"unknown_integration\"}"), Some(1.0));
    assert_eq!(host.metric("tocsin_refusals_total{reason=\"unsupported_encoding\"}"), Some(1.0));
    assert_eq!(host.metric("tocsin_refusals_total{reason=\"too_large\"}"), Some(0.0));

    let last = "tocsin_config_last_reload_success_timestamp_seconds";
    let started = host.metric(last).expect("a time");
    let good = fs::read_to_string(host.site().path("tocsin.toml")).expect("a configuration");
    host.site().write("tocsin.toml", "nonsense");
    assert_eq!(host.reload().status, 422);
    assert_eq!(host.metric("tocsin_config_last_reload_successful"), Some(0.0));
    assert_eq!(host.metric(last), Some(started));
    host.site().write("tocsin.toml", good);
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.metric("tocsin_config_last_reload_successful"), Some(1.0));
    assert!(host.metric(last) >= Some(started));

    for urgency in ["critical", "low", "critical", "critical"] {
        host.post_with("good", &[("x-urgency", urgency)], "disk full");
    }
    host.ask_admin(&Request::post("/api/v1/alerts/1/acknowledge", ""));
    host.ask_admin(&Request::post("/api/v1/alerts/3/resolve", ""));
    let counted = |status: &str, urgency: &str| {
        let labels = format!("{{status=\"{status}\",urgency=\"{urgency}\"}}");
        host.metric(&format!("tocsin_unresolved_alerts{labels}")).expect("a number")
    };
    until("the alerts are counted again", || {
        let critical = (counted("open", "critical"), counted("acknowledged", "critical"));
        let low = (counted("open", "low"), counted("acknowledged", "low"));
        ((critical, low) == ((1.0, 1.0), (1.0, 0.0))).then_some(())
    });
}
