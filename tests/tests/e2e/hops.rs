//! The header `tocsin-hops`, by which hosts that notify each other find the loop.

use std::net::SocketAddr;

use serde_json::json;
use tocsin_tests::{Site, TestHost, http::Request, libraries::library, wait};

fn host(server: &str) -> TestHost {
    let site = Site::new().plugin(&library("slack-outgoing-webhook"));
    let integration =
        "[integrations.ops]\nplugin = 'slack-outgoing-webhook'\noptions.token = 's3cret'\n";
    site.config(&format!("{server}\n{integration}")).serve()
}

fn post(host: &TestHost, path: &str, hops: &str) -> tocsin_tests::http::Answer {
    let request = Request::post(path, "token=s3cret&text=db1+is+down");
    host.ask(&request.header("tocsin-hops", hops))
}

#[test]
fn an_alert_keeps_the_hops_of_its_report() {
    let host = host("");
    for hops in ["0", "5", "six"] {
        assert_eq!(post(&host, "/in/ops", hops).status, 200, "{hops}");
    }
    let alerts = host.alerts();
    let hops: Vec<_> = alerts.iter().rev().map(|alert| alert.get("hops")).collect();
    assert_eq!(hops, [None, Some(&json!(5)), None]);
}

#[test]
fn refuses_news_that_has_passed_through_more_than_5_hosts_in_one_sentence() {
    let host = host("");
    let answer = post(&host, "/in/ops", "6");
    assert_eq!((answer.status, answer.error_code().as_str()), (508, "too_many_hops"));
    let sentence = "the news has passed through more than 5 Tocsin hosts (`tocsin-hops`), which notify \
                    each other in a loop";
    assert_eq!(answer.json()["error"]["message"], sentence);
    let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
    assert_eq!(record["outcome"], "refused");
    assert_eq!(record["reason"], format!("too_many_hops: {sentence}"));
    assert_eq!(host.alerts().len(), 0);
}

#[test]
fn a_loop_does_not_reveal_hidden_integrations() {
    let host = host("server.hide_integrations = true");
    for path in ["/in/ops", "/in/unknown"] {
        assert_eq!(post(&host, path, "6").status, 508, "{path}");
    }
}

/// Returns the configuration of a host that tells another host of every alert, as a message that opens an
/// alert there.
fn telling(other: SocketAddr) -> String {
    format!(
        "[integrations.ops]\nplugin = 'slack-outgoing-webhook'\noptions.token = 's3cret'\n\
         [destinations.other]\nplugin = 'webhook-out'\nevents = ['opened']\nallow_http = true\n\
         allow_networks = ['127.0.0.0/8']\n[destinations.other.options]\n\
         url = 'http://{other}/in/ops'\n\
         body = '{{\"token\": \"s3cret\", \"text\": {{{{ alert.title | json }}}}}}'\n"
    )
}

#[test]
fn two_hosts_that_notify_each_other_end_the_loop_by_themselves() {
    let plugins = |site: Site| {
        site.plugin(&library("slack-outgoing-webhook")).plugin(&library("webhook-out"))
    };
    let first = plugins(Site::new()).config("[watch]\nenabled = false\n").serve();
    let second = plugins(Site::new()).config(&telling(first.webhooks())).serve();
    first.site().configure(&telling(second.webhooks()));
    assert_eq!(first.reload().status, 200);

    assert_eq!(post(&first, "/in/ops", "0").status, 200);
    // The news passes the hosts with 0 to 5 hops, and the seventh report is refused.
    let dead = wait::until("the loop has ended", || {
        let list = second.api("/api/v1/deliveries?status=dead");
        list["deliveries"].as_array()?.first().cloned()
    });
    let shown = second.api(&format!("/api/v1/deliveries/{}", dead["id"].as_str().expect("an id")));
    assert_eq!(shown["attempt_log"][0]["requests"][0]["status"], 508, "{shown:#}");
    assert_eq!((first.alerts().len(), second.alerts().len()), (3, 3));
}
