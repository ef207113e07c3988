//! Every limit has a clear answer: what a client may take, and what it is told when it takes more.

use std::{io, net::TcpStream};

use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::library,
    wait,
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

/// The host takes webhooks as if nothing had been, and has kept nothing of what it refused.
#[track_caller]
fn assert_serves_on(host: &TestHost) {
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.alerts().len(), 1);
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_without_being_read() {
    let host = host("body_limit_bytes = 1000");
    let mut connection = host.connect();
    let head = "POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000000\r\n\r\nand so on";
    connection.send(head.as_bytes()).unwrap();
    let answer = connection.answer().expect("an answer at once");
    assert_refused(&answer, 413, "too_large");
    assert_eq!(answer.header("connection"), Some("close"));
    // However it ends: it is over.
    let _ = connection.rest();
    assert_serves_on(&host);
}

#[test]
fn a_body_that_is_never_the_plugins_is_refused_without_being_read() {
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
fn a_chunked_body_is_refused_as_soon_as_it_is_too_large() {
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
fn a_body_of_just_the_limit_is_taken() {
    let host = host("body_limit_bytes = 1000");
    assert_eq!(host.post("good", &"x".repeat(1000)).status, 200);
    assert_refused(&host.post("good", &"x".repeat(1001)), 413, "too_large");
}

#[test]
fn slow_headers_are_cut_off() {
    let host = host("header_timeout = '5s'");
    let mut connection = host.connect();
    connection.send(b"POST /in/good HTTP/1.1\r\nho").unwrap();
    assert_refused(&connection.answer().expect("an answer"), 408, "request_timeout");
    assert_eq!(connection.rest().expect("the end"), b"");
    assert_serves_on(&host);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let host = host("header_timeout = '5s'");
    let mut connection = host.connect();
    assert_eq!(connection.rest().expect("the end"), b"");
    let mut used = host.connect();
    used.ask(&Request::post("/in/good", "disk full")).expect("an answer");
    assert_eq!(used.rest().expect("the end"), b"");
}

#[test]
fn a_slow_body_is_cut_off() {
    let host = host("body_timeout = '200ms'");
    let mut connection = host.connect();
    connection.send(b"POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\ndisk").unwrap();
    assert_refused(&connection.answer().expect("an answer"), 408, "request_timeout");
    assert_serves_on(&host);
}

#[test]
fn a_body_that_ends_early_is_no_message() {
    let host = host("");
    let mut connection = host.connect();
    connection.send(b"POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\ndisk").unwrap();
    connection.finish_sending().unwrap();
    // Nobody may be there to be answered; that nothing was kept is what counts.
    let _ = connection.rest();
    assert_serves_on(&host);
}

#[test]
fn too_many_header_bytes_are_refused() {
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
fn an_overlong_url_is_refused() {
    let host = host("header_limit_bytes = 8192");
    let target = format!("/in/good?{}", "x".repeat(100_000));
    let mut connection = host.connect();
    // The host need not read it all.
    let _ = connection.send(&Request::post(&target, "disk full").bytes());
    let answer = connection.answer().expect("an answer");
    assert!(matches!(answer.status, 414 | 431), "{answer:?}");
    assert_serves_on(&host);
}

#[test]
fn what_is_no_http_is_refused() {
    let host = host("");
    let mut connection = host.connect();
    connection.send(b"\x16\x03\x01 hello, TLS?\r\n\r\n").unwrap();
    assert_eq!(connection.answer().expect("an answer").status, 400);
    assert_serves_on(&host);
}

#[test]
fn more_connections_than_the_limit_wait_and_are_served_when_others_close() {
    let host = host("max_connections = 4");
    let mut first: Vec<_> = (0..4).map(|_| host.connect()).collect();
    let request = Request::post("/in/good", "disk full");
    for connection in &mut first {
        assert_eq!(connection.ask(&request).expect("an answer").status, 200);
    }
    // The kernel takes them in, the host does not yet.
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
fn the_admin_api_answers_while_all_connections_for_webhooks_are_taken() {
    let host = host("max_connections = 1");
    let _taken: Vec<_> = (0..10).map(|_| host.connect()).collect();
    assert_eq!(host.ready().0, 200);
}

#[test]
fn thousands_of_connections_that_come_and_go_leave_nothing_behind() {
    let host = host("");
    for _ in 0..2000 {
        // Closed before a word was said: some of them before they were accepted.
        drop(TcpStream::connect(host.webhooks()).expect("the host listens"));
    }
    wait::until("all are gone", || (host.metric("tocsin_connections")? == 0.0).then_some(()));
    assert_serves_on(&host);
}

#[test]
fn requests_sent_in_one_go_are_answered_in_order() {
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
fn every_refusal_says_what_it_is() {
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
fn every_answer_has_an_id_of_its_own() {
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
fn a_client_that_reads_nothing_holds_up_nobody() {
    let host = host("");
    let mut deaf = host.connect();
    let request = Request::post("/in/good", "disk full").bytes();
    for _ in 0..100 {
        deaf.send(&request).expect("so much fits into the buffers");
    }
    assert_eq!(host.post("good", "disk full").status, 200);
}

#[test]
fn after_its_end_nobody_listens() {
    let host = host("");
    let address = host.webhooks();
    host.stop();
    let refused = Connection::open(address).expect_err("nobody listens").kind();
    assert_eq!(refused, io::ErrorKind::ConnectionRefused);
}
