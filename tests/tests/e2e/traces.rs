//! Traces of webhooks for OpenTelemetry: their spans, the traces of senders, and receivers that are down,
//! slow or wrong.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use rustix::process::Signal;
use tocsin_tests::{
    Site, TestHost,
    libraries::library,
    receiver::{Receiver, Reply},
    wait::until,
};

use crate::{
    authority::Authority,
    otlp::{self, Span, spans_of, wait_for_webhooks},
};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn site() -> Site {
    Site::new().plugin(&library("well-behaved"))
}

/// Starts a host with further lines in `[tracing]`, an integration `good` and one that needs a token.
fn host(endpoint: &str, lines: &str) -> TestHost {
    let config = config(endpoint, lines);
    site().config(&config).serve()
}

fn config(endpoint: &str, lines: &str) -> String {
    format!(
        "watch.enabled = false\n[tracing]\nendpoint = '{endpoint}'\n{lines}\n\
         [integrations.good]\nplugin = 'well-behaved'\n\
         [integrations.closed]\nplugin = 'well-behaved'\noptions.token = 's3cret-token'\n"
    )
}

fn traces(receiver: &Receiver) -> String {
    receiver.url("/v1/traces")
}

/// Returns the spans of each trace by name.
fn by_name(spans: &[Span], trace_id: &str) -> BTreeMap<String, Span> {
    let of_trace = spans.iter().filter(|span| span.trace_id == trace_id);
    of_trace.map(|span| (span.name.clone(), span.clone())).collect()
}

#[test]
fn a_webhook_is_one_trace_from_its_receipt_to_the_answer() {
    let receiver = otlp::good();
    let host = host(&traces(&receiver), "service_name = 'tocsin-a'");
    let headers =
        [("traceparent", SAMPLED), ("tracestate", "vendor=1"), ("user-agent", "sender/1")];
    let answer = host.post_with("good?token=hidden", &headers, "disk full");
    assert_eq!(answer.status, 200);
    let spans = wait_for_webhooks(&receiver, 1);
    let spans = by_name(&spans, TRACE_ID);
    let names: Vec<_> = spans.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "POST /in/good",
            "call plugin",
            "commit",
            "read body",
            "receive",
            "sync",
            "wait for a thread",
            "wait for the writer",
            "write",
        ]
    );
    let request = &spans["POST /in/good"];
    assert_eq!((request.kind, &*request.parent), (2, "00f067aa0ba902b7"));
    assert_eq!(request.flags & 0x301, 0x301, "a sampled trace of another program");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970");
    assert!(request.start.abs_diff(now) < Duration::from_secs(24 * 60 * 60), "{request:?}");
    for (name, parent) in [
        ("read body", "POST /in/good"),
        ("call plugin", "POST /in/good"),
        ("wait for a thread", "call plugin"),
        ("receive", "call plugin"),
        ("commit", "POST /in/good"),
        ("wait for the writer", "commit"),
        ("write", "commit"),
        ("sync", "commit"),
    ] {
        let (span, parent) = (&spans[name], &spans[parent]);
        assert_eq!((span.kind, &span.parent), (1, &parent.id), "{name}");
        assert!(parent.start <= span.start && span.start <= span.end, "{name}");
        assert!(span.end <= parent.end && span.error.is_none(), "{name}");
    }
    assert!(spans.values().all(|span| span.state == "vendor=1"));
    for (earlier, later) in [("read body", "call plugin"), ("call plugin", "commit")] {
        assert!(spans[earlier].end <= spans[later].start, "{earlier}, {later}");
    }
    for (name, value) in [
        ("tocsin.request_id", answer.request_id()),
        ("tocsin.integration", "good"),
        ("tocsin.outcome", "events"),
        ("tocsin.events", "1"),
        ("tocsin.alerts", "1"),
        ("http.request.method", "POST"),
        ("http.request.body.size", "9"),
        ("http.response.status_code", "200"),
        ("http.route", "/in/{integration}"),
        ("url.path", "/in/good"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "sender/1"),
        ("error.type", ""),
    ] {
        assert_eq!(request.attribute(name), value, "{name}");
    }
    assert_eq!(spans["call plugin"].attribute("tocsin.plugin.name"), "well-behaved");
    assert!(!spans["call plugin"].attribute("tocsin.plugin.version").is_empty());
    assert_eq!(request.resource["service.name"], "tocsin-a");
    assert_eq!(request.resource["process.pid"], host.pid().as_raw_nonzero().to_string());
    let sent = receiver.arrived();
    assert!(sent.iter().all(|it| it.path == "/v1/traces" && !it.body.contains("hidden")));
    assert_eq!(host.metric("tocsin_trace_spans_exported_total"), Some(9.0));
    host.stop();
}

#[test]
fn a_sender_decides_on_its_trace_and_the_ratio_on_all_others() {
    let receiver = otlp::good();
    let host = host(&traces(&receiver), "sample_ratio = 0");
    host.post("good", "no trace");
    host.post_with("good", &[("traceparent", UNSAMPLED)], "no trace");
    host.post_with("good", &[("traceparent", &SAMPLED.to_uppercase())], "no trace");
    host.post_with("good", &[("traceparent", SAMPLED), ("traceparent", SAMPLED)], "no trace");
    let answer = host.post_with("good", &[("traceparent", SAMPLED)], "a trace");
    wait_for_webhooks(&receiver, 1);
    host.stop();
    let spans = receiver.arrived().iter().flat_map(spans_of).collect::<Vec<_>>();
    assert!(spans.iter().all(|span| span.trace_id == TRACE_ID), "{spans:#?}");
    let requests: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].attribute("tocsin.request_id"), answer.request_id());
}

#[test]
fn refusals_have_their_code_and_failures_of_the_host_are_errors() {
    let receiver = otlp::good();
    let host = host(&traces(&receiver), "");
    let unknown = host.post("strange-name", "x");
    let wrong = host.post("closed", "x");
    let malformed = host.post_with("good", &[("x-action", "dance")], "x");
    let many = host.post_with("good", &[("x-events", "100001")], "x");
    let refused = [
        (&unknown, "POST /in/{integration}", "unknown_integration", ""),
        (&wrong, "POST /in/closed", "unauthorized", "unauthorized"),
        (&malformed, "POST /in/good", "bad_request", "malformed"),
        (&many, "POST /in/good", "too_many_events", "refused"),
    ];
    let spans = wait_for_webhooks(&receiver, refused.len());
    for (answer, name, code, outcome) in refused {
        let mut requests = spans.iter().filter(|span| span.kind == 2);
        let request =
            requests.find(|span| span.attribute("tocsin.request_id") == answer.request_id());
        let request = request.expect("a span");
        assert_eq!(request.name, name);
        assert_eq!(request.attribute("tocsin.refusal"), code, "{request:?}");
        assert_eq!(request.attribute("tocsin.outcome"), outcome, "{request:?}");
        assert_eq!(request.attribute("http.response.status_code"), answer.status.to_string());
        assert_eq!(request.error.is_some(), answer.status >= 500, "{request:?}");
        assert_eq!(request.attribute("error.type").is_empty(), answer.status < 500);
        assert_eq!((request.flags & 0x301, &*request.parent), (0x101, ""), "a trace of its own");
    }
    // The log leads to the trace.
    let logged = host.wait_for_event("webhook_refused");
    let request =
        spans.iter().find(|span| span.attribute("tocsin.request_id") == logged["request_id"]);
    assert_eq!(logged["trace_id"], request.expect("a span").trace_id.as_str(), "{logged}");
    host.stop();
}

#[test]
fn a_receiver_that_fails_delays_no_webhook_and_its_recovery_is_noticed() {
    let receiver = Receiver::start(|turn, _| match turn {
        0 => Reply::Status(400),
        1 => Reply::Full(200, Vec::new(), "<html>not found</html>".into()),
        2 => Reply::Cut,
        3 => Reply::Full(429, vec![("retry-after", "1".into())], String::new()),
        4 => Reply::Status(503),
        _ => otlp::accepted(),
    });
    let host = host(&traces(&receiver), "");
    let failed = "tocsin_trace_exports_failed_total";
    let dropped = "tocsin_trace_spans_dropped_total{reason=\"not_exported\"}";
    for (attempts, spans) in [(1.0, 9.0), (2.0, 18.0)] {
        assert_eq!(host.post("good", "lost").status, 200);
        until("the export has failed", || (host.metric(failed) == Some(attempts)).then_some(()));
        assert_eq!(host.metric(dropped), Some(spans));
    }
    assert_eq!(host.post("good", "late").status, 200);
    host.wait_for_event("trace_export_recovered");
    assert_eq!(host.metric(failed), Some(5.0));
    assert_eq!(host.metric(dropped), Some(18.0));
    assert_eq!(host.metric("tocsin_trace_spans_exported_total"), Some(9.0));
    let logged = host.logged("trace_export_failed");
    assert!((1..5).contains(&logged.len()), "a line for each attempt: {logged:#?}");
    assert_eq!(logged[0]["reason"], "the receiver answered 400");

    receiver.answer(|_, _| otlp::rejected(2, "too old"));
    assert_eq!(host.post("good", "in part").status, 200);
    let logged = host.wait_for_event("trace_spans_rejected");
    assert_eq!((&logged["rejected"], &logged["message"]), (&2.into(), &"too old".into()));
    let rejected = "tocsin_trace_spans_dropped_total{reason=\"rejected\"}";
    assert_eq!(host.metric(rejected), Some(2.0));
    assert_eq!(host.metric("tocsin_trace_spans_exported_total"), Some(16.0));
    assert_eq!(host.alerts().len(), 4);
    host.stop();
}

#[test]
fn a_stop_exports_what_is_left_and_waits_for_no_receiver_that_hangs() {
    let receiver = otlp::good();
    let host = host(&traces(&receiver), "");
    let answer = host.post("good", "the last one");
    let site = host.stop();
    let spans: Vec<_> = receiver.arrived().iter().flat_map(spans_of).collect();
    let ids = spans.iter().map(|span| span.attribute("tocsin.request_id"));
    assert_eq!(ids.filter(|id| !id.is_empty()).collect::<Vec<_>>(), [answer.request_id()]);

    receiver.answer(|_, _| Reply::Hang);
    let host = site.serve();
    assert_eq!(host.post("good", "never exported").status, 200);
    host.signal(Signal::TERM);
    host.wait_for_event("traces_not_flushed");
    host.stopped();
}

#[test]
fn a_reload_takes_up_another_receiver_and_ends_traces() {
    let receivers = [otlp::good(), otlp::good()];
    let host = host(&traces(&receivers[0]), "");
    host.post("good", "to the first");
    host.site().write("token", "Bearer otlp-s3cret\n");
    let lines = "headers = { authorization = { file = 'token' } }";
    host.site().configure(&config(&traces(&receivers[1]), lines));
    let report = host.reload();
    assert_eq!(report.status, 200, "{report:?}");
    for key in ["tracing.endpoint", "tracing.headers"] {
        assert!(report.body.contains(key), "{report:?}");
    }
    host.post("good", "to the second");
    wait_for_webhooks(&receivers[1], 1);
    let sent = receivers[1].arrived();
    assert_eq!(sent[0].header("authorization"), Some("Bearer otlp-s3cret"));
    wait_for_webhooks(&receivers[0], 1);

    let off = config("", lines).replace("endpoint = ''\n", "");
    host.site().configure(&off);
    assert_eq!(host.reload().status, 200);
    host.post("good", "no trace");
    host.site().configure(&config(&traces(&receivers[1]), lines));
    assert_eq!(host.reload().status, 200);
    host.post_with("good", &[("traceparent", SAMPLED)], "to the second again");
    let spans = wait_for_webhooks(&receivers[1], 2);
    let requests = spans.iter().filter(|span| span.kind == 2);
    assert_eq!(requests.clone().count(), 2, "{spans:#?}");
    assert_eq!(requests.filter(|span| span.trace_id == TRACE_ID).count(), 1);
    assert!(host.log().iter().all(|line| !line.contains("otlp-s3cret")));
    host.stop();
}

#[test]
fn traces_go_over_tls_to_a_receiver_that_proves_its_name() {
    let authority = Authority::new("Authority");
    let server = authority.server_of("127.0.0.1", 2999, "");
    let site = site();
    site.write("authority.pem", &authority.pem);
    let endpoint = format!("https://{}/v1/traces", server.address);
    let host = site.config(&config(&endpoint, "ca_file = 'authority.pem'")).serve();
    host.post("good", "over TLS");
    until("the spans are accepted", || {
        (host.metric("tocsin_trace_spans_exported_total") == Some(9.0)).then_some(())
    });
    let stranger = Authority::new("Stranger").server_of("127.0.0.1", 2999, "");
    let endpoint = format!("https://{}/v1/traces", stranger.address);
    host.site().configure(&config(&endpoint, "ca_file = 'authority.pem'"));
    assert_eq!(host.reload().status, 200);
    host.post("good", "to a stranger");
    let logged = host.wait_for_event("trace_export_failed");
    assert!(logged["reason"].as_str().is_some_and(|it| it.contains("UnknownIssuer")), "{logged}");
    host.stop();
}
