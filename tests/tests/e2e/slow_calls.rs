//! A plugin that is slow or fails repeatedly is visible in the log, the metrics, the API and the
//! command line.

use insta::assert_snapshot;
use regex::Regex;
use serde_json::json;
use tocsin_tests::{Site, TestHost, libraries::library, wait};

fn host(plugins: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved")).plugin(&library("bad-never-returns"));
    site.config(&format!(
        "[plugins]\n{plugins}\n\
         [integrations.good]\nplugin = 'well-behaved'\n\
         [integrations.slow]\nplugin = 'bad-never-returns'\n"
    ))
    .serve()
}

const SLOW: &str = r#"{integration="slow",plugin="bad-never-returns",version="0.1.0"}"#;

fn metric(host: &TestHost, name: &str) -> f64 {
    host.metric(&format!("{name}{SLOW}")).unwrap_or_else(|| panic!("no `{name}`"))
}

#[test]
fn logs_and_counts_a_slow_call_with_its_request() {
    let host = host("slow_call = '100ms'");
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(metric(&host, "tocsin_plugin_slow_calls_total"), 0.0);
    let answer = host.post("slow", "slow");
    assert_eq!(answer.status, 200);
    // On a busy machine the other integration may be slow as well.
    let of_slow =
        || host.logged("plugin_slow").into_iter().find(|line| line["integration"] == "slow");
    let line = wait::until("the event is logged", of_slow);
    assert_eq!(line["request_id"], answer.request_id());
    assert_eq!(
        (&line["integration"], &line["plugin"], &line["version"], &line["level"]),
        (&json!("slow"), &json!("bad-never-returns"), &json!("0.1.0"), &json!("WARN"))
    );
    assert!(line["took_ms"].as_u64().is_some_and(|took| took >= 200), "{line}");
    assert_eq!(line["left_out"], 0);
    assert_eq!(metric(&host, "tocsin_plugin_slow_calls_total"), 1.0);
    assert_eq!(metric(&host, "tocsin_plugin_call_seconds_count"), 1.0);
    assert!(metric(&host, "tocsin_plugin_call_seconds_sum") >= 0.2);
}

#[test]
fn logs_one_slow_call_a_second() {
    let host = host("slow_call = '100ms'");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(host.post("slow", "slow").status, 200));
        }
    });
    assert_eq!(metric(&host, "tocsin_plugin_slow_calls_total"), 8.0);
    // The next log line counts the slow calls that were not logged.
    let counted = || {
        let lines = host.logged("plugin_slow");
        let left_out = lines.iter().filter_map(|line| line["left_out"].as_u64());
        lines.len() as u64 + left_out.sum::<u64>()
    };
    wait::until("a line counts the calls left out", || {
        host.post("slow", "slow");
        let calls = metric(&host, "tocsin_plugin_slow_calls_total") as u64;
        (calls == counted()).then_some(())
    });
    let calls = metric(&host, "tocsin_plugin_slow_calls_total") as usize;
    assert!(host.times_logged("plugin_slow") < calls);
}

#[test]
fn logs_no_slow_call_if_the_threshold_is_zero() {
    let host = host("slow_call = '0s'");
    assert_eq!(host.post("slow", "slow").status, 200);
    assert_eq!(metric(&host, "tocsin_plugin_call_seconds_count"), 1.0);
    assert_eq!(metric(&host, "tocsin_plugin_slow_calls_total"), 0.0);
    assert_eq!(host.times_logged("plugin_slow"), 0);
}

#[test]
fn logs_a_timed_out_call_and_counts_its_thread_until_it_returns() {
    let host = host("call_deadline = '2s'");
    let stuck = || host.api("/api/v1/integrations")["integrations"][1]["stuck_threads"].clone();
    assert_eq!(stuck(), 0);
    let answer = host.post("slow", "late");
    assert_eq!(answer.status, 503);
    let line = host.wait_for_event("plugin_failed");
    assert_eq!(line["request_id"], answer.request_id());
    assert_eq!(line["integration"], "slow");
    assert_eq!(line["what"], "did not answer within 2s");

    wait::until("the thread is back", || (stuck() == 0).then_some(()));
    assert_eq!(metric(&host, "tocsin_plugin_stuck_threads"), 0.0);
    let line = host.wait_for_event("plugin_slow");
    assert_eq!(line["request_id"], answer.request_id());
    assert!(line["took_ms"].as_u64().is_some_and(|took| took >= 6000), "{line}");
}

/// Returns the row of an integration or a plugin in a printed list.
fn row(host: &TestHost, list: &str, with: &str) -> String {
    let list = host.run(&[list]).stdout;
    let line = list.lines().find(|line| line.contains(with));
    let line = line.unwrap_or_else(|| panic!("`{with}` is not in\n{list}"));
    let line = Regex::new(r"http\S+|\S+Z|\d+ s\b").expect("a pattern").replace_all(line, "[...]");
    let line = Regex::new(r"\.rs:\d+:\d+").expect("a pattern").replace_all(&line, ".rs");
    Regex::new(r" +").expect("a pattern").replace_all(&line, " ").trim().to_owned()
}

#[test]
fn shows_a_breaker_open_half_open_and_closed() {
    let site = Site::new().plugin(&library("bad-panics-in-receive"));
    let host = site.config("[integrations.bad]\nplugin = 'bad-panics-in-receive'\n").serve();
    let breaker = || host.api("/api/v1/integrations")["integrations"][0]["breaker"].clone();
    let labels = r#"{integration="bad",plugin="bad-panics-in-receive",version="0.1.0"}"#;
    let metric = |name: &str| host.metric(&format!("tocsin_plugin_breaker_{name}{labels}"));
    let closed = |failures: u64, trips: u64| json!({"state": "closed", "failures": failures, "retry_at": null, "trips": trips});
    assert_eq!(breaker(), closed(0, 0));
    assert_eq!((metric("open"), metric("trips_total")), (Some(0.0), Some(0.0)));

    host.post("bad", "do panic");
    assert_eq!(breaker(), closed(1, 0));
    host.post("bad", "do panic");
    host.post("bad", "do panic");
    // The back-off lasts five seconds, then ten: a machine too slow to see everything in the first
    // has a second attempt.
    let (open, metrics, [row_of_integration, row_of_serving, row_of_plugin]) =
        wait::until("the breaker stays open while it is read", || {
            let open = breaker();
            if open["state"] != "open" {
                host.post("bad", "do panic");
                return None;
            }
            let metrics = (metric("open"), metric("trips_total"));
            let rows =
                [("integrations", "bad-panics"), ("plugins", "(breaker"), ("plugins", "panicked")]
                    .map(|(list, with)| row(&host, list, with));
            (breaker() == open).then_some((open, metrics, rows))
        });
    let trips = open["trips"].as_u64().expect("a number");
    assert_eq!(open["failures"], 2 + trips, "{open}");
    assert!(open["retry_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{open}");
    let counted = Some(trips as f64);
    assert_eq!(metrics, (Some(1.0), counted));
    assert_snapshot!(row_of_integration, @"bad broken (breaker open) bad-panics-in-receive 0.1.0 medium [...]");
    assert!(row_of_serving.starts_with("bad broken (breaker open) "));
    assert_snapshot!(row_of_plugin, @"`libbad_panics_in_receive.so` plugin `bad-panics-in-receive 0.1.0` panicked: asked to panic (tests/bad/bad-panics-in-receive/src/lib.rs), at [...]; it is not called for another [...]; hint: report it to the plugin's author, or drop in another version");

    wait::until("the breaker is half open", || (breaker()["state"] == "half_open").then_some(()));
    assert_eq!((metric("open"), metric("trips_total")), (Some(0.0), counted));
    assert_snapshot!(row(&host, "integrations", "bad-panics"), @"bad serving (breaker half open) bad-panics-in-receive 0.1.0 medium [...]");
    assert_snapshot!(row(&host, "plugins", "panicked"), @"`libbad_panics_in_receive.so` plugin `bad-panics-in-receive 0.1.0` panicked: asked to panic (tests/bad/bad-panics-in-receive/src/lib.rs), at [...]; it was not called for a while and is now tried again; hint: report it to the plugin's author, or drop in another version");

    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(breaker(), closed(0, trips));
    host.wait_for_event("plugin_recovered");
    assert_eq!(host.times_logged("plugin_recovered"), 1);
    assert_snapshot!(row(&host, "integrations", "bad-panics"), @"bad serving bad-panics-in-receive 0.1.0 medium [...]");

    // The new instance does not reset the counter.
    let changed = "[integrations.bad]\nplugin = 'bad-panics-in-receive'\nurgency = 'high'\n";
    host.site().configure(changed);
    host.reload();
    assert_eq!(breaker(), closed(0, 0));
    assert_eq!(metric("trips_total"), counted);
}
