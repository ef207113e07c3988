//! Every limit on clients, and the answer of the host above it.

use std::{io, net::TcpStream};

use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::library,
    loopback, wait,
};

fn host(server: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    let integrations = "[integrations.good]\nplugin = 'well-behaved'\n\
                        [integrations.off]\nplugin = 'well-behaved'\nenabled = false\n";
    site.config(&format!("[server]\n{server}\n{integrations}")).serve()
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{answer:?}");
}

/// Checks that the host accepts webhooks as before, and kept nothing of a refused request.
#[track_caller]
fn assert_serves_on(host: &TestHost) {
    let answer = host.post("good", "disk full");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(host.alerts().len(), 1);
}

#[test]
fn refuses_an_announced_oversized_body_without_reading_it() {
    let host = host("body_limit_bytes = 1000");
    let mut connection = host.connect();
    let head = "POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000000\r\n\r\nand so on";
    connection.send(head.as_bytes()).unwrap();
    let answer = connection.answer().expect("an answer at once");
    assert_refused(&answer, 413, "too_large");
    assert_eq!(answer.header("connection"), Some("close"));
    // Any end of the connection will do.
    let _ = connection.rest();
    assert_serves_on(&host);
}

#[test]
fn refuses_a_body_over_the_limit_of_the_plugin_without_reading_it() {
    let site = Site::new().plugin(&library("slack-outgoing-webhook"));
    let config = "[server]\nbody_limit_bytes = 100000000\n\
                  [integrations.slack]\nplugin = 'slack-outgoing-webhook'\noptions.token = 'abc'\n";
    let host = site.config(config).serve();
    let mut connection = host.connect();
    let head = "POST /in/slack HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    let answer = connection.answer().expect("an answer at once");
    assert_refused(&answer, 413, "too_large");
    assert!(answer.body.contains("larger than 1048576 bytes"), "{answer:?}");
}

#[test]
fn refuses_a_chunked_body_as_soon_as_it_is_too_large() {
    let host = host("body_limit_bytes = 1000");
    let mut connection = host.connect();
    let head = "POST /in/good HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    connection.send(chunk.as_bytes()).unwrap();
    connection.send(chunk.as_bytes()).unwrap();
    // The end of the body was never sent.
    let answer = connection.answer().expect("an answer at once");
    assert_refused(&answer, 413, "too_large");
    assert_serves_on(&host);
}

#[test]
fn accepts_a_body_of_exactly_the_limit() {
    let host = host("body_limit_bytes = 1000");
    assert_eq!(host.post("good", &"x".repeat(1000)).status, 200);
    assert_refused(&host.post("good", &"x".repeat(1001)), 413, "too_large");
}

#[test]
fn times_out_slow_headers() {
    let host = host("header_timeout = '5s'");
    let mut connection = host.connect();
    connection.send(b"POST /in/good HTTP/1.1\r\nho").unwrap();
    assert_refused(&connection.answer().expect("an answer"), 408, "request_timeout");
    assert_eq!(connection.rest().expect("the end"), b"");
    assert_serves_on(&host);
}

#[test]
fn closes_an_idle_connection_without_an_answer() {
    let host = host("header_timeout = '5s'");
    let mut connection = host.connect();
    assert_eq!(connection.rest().expect("the end"), b"");
    let mut used = host.connect();
    used.ask(&Request::post("/in/good", "disk full")).expect("an answer");
    assert_eq!(used.rest().expect("the end"), b"");
}

#[test]
fn times_out_a_slow_body() {
    let host = host("body_timeout = '200ms'");
    let mut connection = host.connect();
    connection.send(b"POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\ndisk").unwrap();
    assert_refused(&connection.answer().expect("an answer"), 408, "request_timeout");
    assert_serves_on(&host);
}

#[test]
fn keeps_nothing_of_an_incomplete_body() {
    let host = host("");
    let mut connection = host.connect();
    connection.send(b"POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\ndisk").unwrap();
    connection.finish_sending().unwrap();
    // The client may have disconnected; the test only checks that the host kept nothing of the
    // request.
    let _ = connection.rest();
    assert_serves_on(&host);
}

#[test]
fn refuses_too_many_header_bytes() {
    let host = host("header_limit_bytes = 8192");
    let long = "x".repeat(10_000);
    let answer = host.ask(&Request::post("/in/good", "disk full").header("x-long", long));
    assert_eq!(answer.status, 431, "{answer:?}");
    let many = (0..500).fold(Request::post("/in/good", "disk full"), |request, count| {
        request.header(&format!("x-{count}"), "1")
    });
    assert_eq!(host.ask(&many).status, 431);
    assert_serves_on(&host);
}

#[test]
fn refuses_an_overlong_url() {
    let host = host("header_limit_bytes = 8192");
    let target = format!("/in/good?{}", "x".repeat(100_000));
    let mut connection = host.connect();
    // The host may answer before it has read everything.
    let _ = connection.send(&Request::post(&target, "disk full").bytes());
    let answer = connection.answer().expect("an answer");
    assert!(matches!(answer.status, 414 | 431), "{answer:?}");
    assert_serves_on(&host);
}

#[test]
fn refuses_invalid_http() {
    let host = host("");
    let mut connection = host.connect();
    connection.send(b"\x16\x03\x01 hello, TLS?\r\n\r\n").unwrap();
    assert_eq!(connection.answer().expect("an answer").status, 400);
    assert_serves_on(&host);
}

#[test]
fn connections_over_the_limit_wait_until_others_close() {
    let host = host("max_connections = 4");
    let mut first: Vec<_> = (0..4).map(|_| host.connect()).collect();
    let request = Request::post("/in/good", "disk full");
    for connection in &mut first {
        assert_eq!(connection.ask(&request).expect("an answer").status, 200);
    }
    // The kernel completes the connections before the host accepts them.
    let mut waiting: Vec<_> = (0..20).map(|_| host.connect()).collect();
    for connection in &mut waiting {
        connection.send(&request.bytes()).unwrap();
    }
    for connection in &mut first {
        assert_eq!(connection.ask(&request).expect("an answer").status, 200);
    }
    assert_eq!(host.metric("tocsin_connections"), Some(4.0));
    assert_eq!(host.alerts().len(), 8, "nobody who waits was served");

    drop(first);
    for mut connection in waiting {
        assert_eq!(connection.answer().expect("an answer").status, 200);
    }
    assert_eq!(host.alerts().len(), 28);
}

#[test]
fn the_admin_api_answers_at_the_connection_limit_of_webhooks() {
    let host = host("max_connections = 1");
    let _taken: Vec<_> = (0..10).map(|_| host.connect()).collect();
    assert_eq!(host.ready().0, 200);
}

#[test]
fn thousands_of_short_connections_leave_nothing_behind() {
    let host = host("");
    for _ in 0..2000 {
        // Each closes without a request, some before the host accepts them.
        drop(TcpStream::connect(host.webhooks()).expect("the host listens"));
    }
    // The host accepts this connection after all of the others. It may turn it away, because closed
    // connections count towards the share of their address until the host has noticed their end.
    let last = host.ask(&Request::new("GET", "/nothing"));
    assert!(matches!(last.status, 404 | 503), "{last:?}");
    wait::until("all connections are gone", || {
        (host.metric("tocsin_connections")? == 0.0).then_some(())
    });
    assert_serves_on(&host);
}

#[test]
fn answers_pipelined_requests_in_order() {
    let host = host("");
    let mut connection = host.connect();
    let all: Vec<u8> = ["one", "two", "three"]
        .iter()
        .flat_map(|body| Request::post("/in/good", *body).bytes())
        .collect();
    connection.send(&all).unwrap();
    for title in ["one", "two", "three"] {
        let answer = connection.answer().expect("an answer");
        let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
        let alert = host.api(&format!("/api/v1/alerts/{}", record["alert"]));
        assert_eq!(alert["title"], title);
    }
}

#[test]
fn every_refusal_has_its_error_code() {
    let host = host("");
    assert_refused(&host.post("nobody", "disk full"), 404, "unknown_integration");
    for target in ["/", "/in", "/in/", "/in/good/more", "/api/v1/alerts", "/metrics"] {
        assert_refused(&host.ask(&Request::post(target, "disk full")), 404, "not_found");
    }
    for method in ["GET", "PUT", "DELETE", "BREW"] {
        let answer = host.ask(&Request::new(method, "/in/good"));
        assert_refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
    let answer = host.post("off", "disk full");
    assert_refused(&answer, 405, "disabled");
    assert!(answer.header("allow").is_some());
    let answer = host.post_with("good", &[("x-action", "dance")], "disk full");
    assert_refused(&answer, 400, "bad_request");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_serves_on(&host);
}

#[test]
fn every_answer_has_its_own_request_id() {
    let host = host("");
    let mut ids: Vec<String> =
        (0..10).map(|_| host.post("good", "disk full").request_id().to_owned()).collect();
    ids.push(host.post("nobody", "disk full").request_id().to_owned());
    ids.push(host.ask_admin(&Request::new("GET", "/health/live")).request_id().to_owned());
    ids.push(host.ask_admin(&Request::new("GET", "/nowhere")).request_id().to_owned());
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 13);
    assert_eq!(ids.iter().filter(|id| id.len() == 26).count(), 13, "ULIDs: {ids:?}");
}

#[test]
fn a_client_that_reads_nothing_does_not_delay_others() {
    let host = host("");
    let mut deaf = host.connect();
    let request = Request::post("/in/good", "disk full").bytes();
    for _ in 0..100 {
        deaf.send(&request).expect("so much fits into the buffers");
    }
    assert_eq!(host.post("good", "disk full").status, 200);
}

#[test]
fn ports_are_closed_after_the_stop() {
    // No other test may take the port meanwhile.
    let host = host(&format!("listen = '{}:0'", loopback::own_address()));
    let address = host.webhooks();
    host.stop();
    let refused = Connection::open(address).expect_err("nobody listens").kind();
    assert_eq!(refused, io::ErrorKind::ConnectionRefused);
}
