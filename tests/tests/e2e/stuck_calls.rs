//! A call that does not return times out and delays no other integration.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tocsin_tests::{Site, TestHost, libraries::library, wait};

fn host() -> TestHost {
    let site = Site::new().plugin(&library("well-behaved")).plugin(&library("bad-never-returns"));
    site.config(
        "[plugins]\ncall_deadline = '3s'\n\
         [integrations.good]\nplugin = 'well-behaved'\n\
         [integrations.stuck]\nplugin = 'bad-never-returns'\n",
    )
    .serve()
}

/// Sends many requests at once that never return; the other integration answers all requests to it.
#[track_caller]
fn assert_held_up_by_nobody(host: &TestHost, body: &str, senders: usize) {
    let all_answered = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut served = 0;
            while !all_answered.load(Ordering::Relaxed) {
                assert_eq!(host.post("good", "disk full").status, 200);
                served += 1;
            }
            served
        });
        let waiting: Vec<_> =
            (0..senders).map(|_| scope.spawn(|| host.post("stuck", body))).collect();
        for sender in waiting {
            let answer = sender.join().expect("it is answered");
            assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
            assert!(answer.retry_after() >= 1);
        }
        all_answered.store(true, Ordering::Relaxed);
        assert!(other.join().expect("it was served") > 0);
    });
}

#[track_caller]
fn assert_shown(host: &TestHost) {
    let stuck = host.metric("tocsin_stuck_threads").expect("a gauge");
    assert!(stuck >= 2.0, "{stuck}");
    let labels = r#"{integration="stuck",plugin="bad-never-returns",version="0.1.0"}"#;
    let deadlines = host.metric(&format!("tocsin_plugin_deadlines_total{labels}"));
    assert!(deadlines.is_some_and(|deadlines| deadlines >= stuck), "{deadlines:?}");
    let reasons = host.reasons().join("\n");
    let threads = format!(
        "{stuck} threads are stuck in calls that did not return ({stuck} of `stuck`); hint: "
    );
    let gauge = host.metric(&format!("tocsin_plugin_stuck_threads{labels}"));
    assert_eq!(gauge, Some(stuck));
    let integrations = host.api("/api/v1/integrations");
    let of = |at: usize| integrations["integrations"][at]["stuck_threads"].as_f64();
    assert_eq!((of(0), of(1)), (Some(0.0), Some(stuck)), "{integrations}");
    for list in ["integrations", "plugins"] {
        let list = host.run(&[list]).stdout;
        assert!(list.contains(&format!("{stuck} threads stuck)")), "{list}");
        assert_eq!(
            list.matches("stuck)").count(),
            1,
            "of the other there is nothing to say: {list}"
        );
    }
    assert!(reasons.contains(&threads), "{threads}\nis missing in\n{reasons}");
    assert!(reasons.contains("did not answer within 3s"), "{reasons}");
    assert_eq!(host.ready().0, 200, "webhooks are served");
}

/// Checks that new threads serve the integration after the back-off.
#[track_caller]
fn assert_serves_again(host: &TestHost) {
    wait::until("the integration serves again", || {
        (host.post("stuck", "disk full").status == 200).then_some(())
    });
    assert_eq!(host.post("good", "disk full").status, 200);
}

#[test]
fn times_out_calls_that_sleep_forever_while_others_are_served() {
    let host = host();
    assert_held_up_by_nobody(&host, "hang", 64);
    assert_shown(&host);
    assert_serves_again(&host);
    host.stop();
}

#[test]
fn times_out_calls_that_spin_forever_while_others_are_served() {
    let host = host();
    assert_held_up_by_nobody(&host, "spin", 16);
    assert_shown(&host);
    assert_serves_again(&host);
    host.stop();
}

#[test]
fn records_a_request_that_timed_out() {
    let host = host();
    let answer = host.post("stuck", "hang");
    assert_eq!(answer.status, 503);
    let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
    assert_eq!(record["outcome"], "failed");
    assert_eq!(record["reason"], "the plugin did not answer within 3s");
    // A single failure does not open the breaker.
    assert_eq!(host.post("stuck", "disk full").status, 200);
}

#[test]
fn a_reload_discards_the_stuck_calls_of_an_integration() {
    let host = host();
    assert_held_up_by_nobody(&host, "hang", 8);
    host.reload();
    assert_eq!(host.post("stuck", "disk full").status, 200);
    let stuck = host.metric("tocsin_stuck_threads").expect("a gauge");
    assert!(stuck >= 2.0, "the threads are still there: {stuck}");
}
