//! Senders without a valid token use little space in the log, on the disk and in the quarantine,
//! and cannot learn which integrations exist.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::{library, with_name},
    wait,
};

const TOKEN: &str = "the right token of the sender";

fn host(server: &str, more: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    let site = site.plugin(&library("slack-outgoing-webhook"));
    site.config(&format!(
        "[server]\n{server}\n[integrations.good]\nplugin = 'well-behaved'\n\
         options.token = '{TOKEN}'\n{more}\n\
         [integrations.slack]\nplugin = 'slack-outgoing-webhook'\noptions.token = '{TOKEN}'\n\
         [integrations.off]\nplugin = 'well-behaved'\nenabled = false\n"
    ))
    .serve()
}

/// Sends a request repeatedly over several connections, and returns the status of each answer.
fn many(host: &TestHost, count: usize, request: &Request<'_>) -> Vec<u16> {
    const SENDERS: usize = 16;
    let bytes = request.bytes();
    thread::scope(|scope| {
        let send = || {
            let mut connection = host.connect();
            let answered = (0..count / SENDERS).map(|_| {
                connection.send(&bytes).expect("the host reads");
                connection.answer().expect("an answer").status
            });
            answered.collect::<Vec<_>>()
        };
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
    })
}

/// Returns the number of log lines about refusals with a code, and the number of refusals that
/// these lines count as left out.
fn refusal_lines(host: &TestHost, code: &str) -> (usize, u64) {
    let lines = host.logged("webhook_refused");
    let of_kind = lines.iter().filter(|line| line["code"] == code);
    let left_out = of_kind.clone().filter_map(|line| line["left_out"].as_u64());
    (of_kind.count(), left_out.sum())
}

#[test]
fn logs_one_refusal_a_second_per_code_with_a_count() {
    let host = host("max_wrong_tokens_per_minute = 0", "");
    let started = Instant::now();
    let wrong = many(&host, 3200, &Request::post("/in/good", "disk full"));
    assert!(wrong.iter().all(|status| *status == 403), "{wrong:?}");
    let long = format!("/in/{}", "x".repeat(8000));
    let unknown = many(&host, 3200, &Request::post(&long, "disk full"));
    assert!(unknown.iter().all(|status| *status == 404), "{unknown:?}");
    let mut refused = BTreeMap::new();
    for code in ["unauthorized", "unknown_integration"] {
        // The next line of the same kind counts the refusals that were not logged.
        let target = if code == "unauthorized" { "/in/good" } else { &*long };
        let sent = refused.entry(code).or_insert(3200);
        wait::until("every refusal is counted", || {
            host.ask(&Request::post(target, "disk full"));
            *sent += 1;
            let (lines, left_out) = refusal_lines(&host, code);
            (lines as u64 + left_out == *sent).then_some(())
        });
        let most = started.elapsed().as_secs() as usize + 2;
        let (lines, _) = refusal_lines(&host, code);
        assert!(lines <= most, "{lines} lines of {code}, at most {most}");
    }
    let longest = host.log().iter().map(String::len).max();
    assert!(longest.is_some_and(|longest| longest < 1000), "{longest:?}");
    let counted = r#"tocsin_requests_total{integration="good",plugin="well-behaved",version="1.0.0",outcome="unauthorized"}"#;
    let sent = refused["unauthorized"] as f64;
    assert_eq!(host.metric(counted), Some(sent), "what is not logged is counted");
}

/// Sends a request from another address of this machine.
fn from(host: &TestHost, last: u8, request: &Request<'_>) -> Answer {
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    let mut connection = Connection::open_from(address, host.webhooks()).expect("it listens");
    connection.ask(request).expect("an answer")
}

#[test]
fn limits_wrong_tokens_of_an_address_but_not_the_right_token() {
    let host = host("max_wrong_tokens_per_minute = 20", "");
    let wrong = Request::post("/in/good", "disk full").header("x-token", "guess");
    let statuses: Vec<_> = (0..20).map(|_| host.ask(&wrong).status).collect();
    assert_eq!(statuses, [403; 20]);
    // The limit admits one more every three seconds.
    let over = wait::until("the limit is reached", || {
        let answer = host.ask(&wrong);
        (answer.status != 403).then_some(answer)
    });
    assert_eq!((over.status, over.error_code().as_str()), (429, "too_many_wrong_tokens"));
    assert!(over.retry_after() >= 1);
    let right = Request::post("/in/good", "disk full").header("x-token", TOKEN);
    assert_eq!(host.ask(&right).status, 200, "senders share addresses");
    assert_eq!(from(&host, 9, &wrong).status, 403, "another address has its own number");
    assert!(host.metric(r#"tocsin_limit_reached_total{limit="wrong_tokens"}"#) >= Some(1.0));
    let reasons = host.reasons();
    assert!(
        reasons
            .iter()
            .any(|it| it.contains("an address has sent too many wrong tokens (127.0.0.1)")),
        "{reasons:?}"
    );
}

#[test]
fn limits_wrong_tokens_of_the_api() {
    let site = Site::new().env("TOCSIN_ADMIN_TOKEN", "an admin token of some length");
    let host = site
        .config(
            "[server]\nmax_wrong_tokens_per_minute = 20\n\
             [admin]\ntokens = [{ env = 'TOCSIN_ADMIN_TOKEN' }]\n",
        )
        .serve();
    let ask = |token: &str| {
        let request = Request::new("GET", "/api/v1/alerts");
        host.ask_admin(&request.header("authorization", format!("Bearer {token}")))
    };
    let statuses: Vec<_> = (0..20).map(|_| ask("guess").status).collect();
    assert_eq!(statuses, [401; 20]);
    wait::until("the limit is reached", || (ask("guess").status == 429).then_some(()));
    assert_eq!(ask("an admin token of some length").status, 200);
}

#[test]
fn hidden_integrations_answer_like_unknown_ones() {
    let host = host("hide_integrations = true", "");
    let parts = |answer: Answer| {
        let mut headers = answer.headers;
        headers.retain(|(name, _)| name != "x-request-id" && name != "date");
        (answer.status, headers, answer.body)
    };
    let ask = |target: &str, more: &[(&str, &str)], body: &str| {
        let request = more.iter().fold(Request::post(target, body), |request, (name, value)| {
            request.header(name, *value)
        });
        parts(host.ask(&request))
    };
    let unknown = ask("/in/nobody", &[], "disk full");
    assert_eq!(unknown.0, 403);
    assert_eq!(ask("/in/good", &[], "disk full"), unknown, "a wrong token");
    assert_eq!(ask("/in/off", &[], "disk full"), unknown, "a disabled one");
    let json = [("content-type", "application/json")];
    assert_eq!(ask("/in/slack", &json, "{"), unknown, "malformed");
    let gzip = [("content-encoding", "gzip")];
    assert_eq!(ask("/in/good", &gzip, "x"), ask("/in/nobody", &gzip, "x"));
    assert_eq!(ask("/in/off", &gzip, "x"), ask("/in/nobody", &gzip, "x"));
    for target in ["/in/good", "/in/off", "/in/nobody"] {
        assert_eq!(host.ask(&Request::new("GET", target)).status, 405, "{target}");
    }
    let right = [("x-token", TOKEN)];
    assert_eq!(ask("/in/good", &right, "disk full").0, 200);
}

#[test]
fn delays_answers_to_unknown_integrations_and_wrong_tokens_alike() {
    let host = host("", "");
    let mut connection = host.connect();
    for _ in 0..20 {
        for target in ["/in/good", "/in/nobody"] {
            let started = Instant::now();
            connection.ask(&Request::post(target, "disk full")).expect("an answer");
            let took = started.elapsed();
            assert!(took >= Duration::from_millis(9), "{target} took {took:?}");
        }
    }
}

#[test]
fn malformed_requests_take_little_disk_space() {
    let host = host("body_limit_bytes = 2000000\nbody_memory_bytes = 200000000", "");
    // The plugin cannot find a token in this body.
    let garbage = format!("{{{}", "x".repeat(1_000_000));
    let request = Request::post("/in/slack", &garbage).header("content-type", "application/json");
    let before = host.metric("tocsin_store_size_bytes").expect("it is counted");
    let answers = many(&host, 640, &request);
    let malformed = answers.iter().filter(|status| **status == 400).count();
    assert!(malformed >= 600, "{malformed}");
    let after = host.metric("tocsin_store_size_bytes").expect("it is counted");
    assert!(after - before < 100e6, "{malformed} MB of garbage took {} bytes", after - before);
    let page =
        |cursor: &str| host.api(&format!("/api/v1/requests?outcome=malformed&limit=500{cursor}"));
    let kept = |page: &Value| {
        let requests = page["requests"].as_array().expect("a list").iter();
        requests.filter(|one| one["raw"] == "kept").count()
    };
    let newest = page("");
    let older = page(&format!("&cursor={}", newest["next_cursor"].as_str().expect("more")));
    let kept = kept(&newest) + kept(&older);
    assert!((1..=4).contains(&kept), "{kept} are kept, though 4 MiB are as much as may be");
    assert!(host.metric(r#"tocsin_limit_reached_total{limit="malformed"}"#) >= Some(1.0));
    assert!(host.reasons().iter().any(|it| it.contains("malformed requests are not kept")));
}

#[test]
fn keeping_no_requests_reaches_no_limit_on_kept_requests() {
    let host = host("", "[requests]\nkeep = 'none'");
    let request = Request::post("/in/slack", "{").header("content-type", "application/json");
    let answers = many(&host, 160, &request);
    assert!(answers.iter().all(|status| *status == 400), "{answers:?}");
    assert_eq!(host.metric(r#"tocsin_limit_reached_total{limit="malformed"}"#).unwrap_or(0.0), 0.0);
    assert_eq!(host.reasons(), Vec::<String>::new());
}

#[test]
fn large_unauthenticated_requests_displace_no_genuine_one_from_the_quarantine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let buggy = with_name(&library("bad-panics-in-receive"), "well-behaved", folder.path());
    let site = Site::new();
    site.drop_in(&buggy, "libbuggy.so");
    let host = site
        .config(
            "[requests]\nquarantine_bytes = 8000000\n\
             [integrations.good]\nplugin = 'well-behaved'\n",
        )
        .serve();
    let genuine: Vec<_> = (0..20)
        .map(|count| {
            let answer =
                from(&host, 2, &Request::post("/in/good", &format!("kernel panic {count}")));
            assert_eq!(answer.status, 503);
            answer.request_id().to_owned()
        })
        .collect();
    let large = "panic".repeat(100_000);
    for _ in 0..70 {
        assert_eq!(host.post("good", &large).status, 503);
    }
    for id in &genuine {
        let record = host.api(&format!("/api/v1/requests/{id}"));
        assert_eq!(record["raw"], json!("quarantined"), "{record}");
    }
    let pushed_out = host.metric(r#"tocsin_quarantine_pushed_out_total{integration="good"}"#);
    assert!(pushed_out >= Some(50.0), "{pushed_out:?}");
    assert!(host.metric(r#"tocsin_limit_reached_total{limit="quarantine"}"#) >= Some(50.0));
}

#[test]
fn reports_a_store_over_its_size_limit() {
    let site = Site::new().plugin(&library("well-behaved"));
    let section = "[integrations.good]\nplugin = 'well-behaved'\n";
    let host = site.config(&format!("[retention]\nmax_store_bytes = 100000\n{section}")).serve();
    for count in 0..100 {
        assert_eq!(host.post("good", &format!("{count} {}", "x".repeat(4000))).status, 200);
    }
    // Retention never deletes open alerts.
    wait::until("the reason is shown", || {
        let reasons = host.reasons();
        let said = reasons.iter().any(|it| it.contains("more than `retention.max_store_bytes`"));
        said.then_some(())
    });
    host.site().configure(&format!("[retention]\nmax_store_bytes = 100000000\n{section}"));
    assert_eq!(host.reload().status, 200);
    wait::until("no reason is left", || host.reasons().is_empty().then_some(()));
}

#[test]
fn accepts_a_trailing_slash_and_refuses_an_encoded_body() {
    let host = host("", "");
    let right = |target| Request::post(target, "disk full").header("x-token", TOKEN);
    assert_eq!(host.ask(&right("/in/good/")).status, 200);
    assert_eq!(host.ask(&right("/in/good/more")).status, 404);
    assert_eq!(host.ask(&right("/in/good").header("content-encoding", "identity")).status, 200);
    for encoding in ["gzip", "br, gzip", "GZIP"] {
        let answer = host.ask(&right("/in/good").header("content-encoding", encoding));
        assert_eq!((answer.status, answer.error_code().as_str()), (415, "unsupported_encoding"));
        assert!(answer.body.contains(encoding), "{answer:?}");
        let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
        assert_eq!(record["outcome"], "refused", "{record}");
    }
}
