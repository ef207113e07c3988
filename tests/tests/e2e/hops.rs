//! The header `tocsin-hops`, by which hosts that notify each other find the loop.

use serde_json::json;
use tocsin_tests::{Site, TestHost, http::Request, libraries::library};

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
