//! The answers of the webhook listener, byte for byte: status line, headers in their order, and body.
//!
//! Only the date and the request id differ from one answer to the next, and are left out.

use regex::Regex;
use tocsin_tests::{Site, TestHost, libraries::library};

fn host() -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    let config = "[server]\nbody_limit_bytes = 1000\nbody_timeout = '200ms'\n\
                  [integrations.good]\nplugin = 'well-behaved'\n\
                  [integrations.off]\nplugin = 'well-behaved'\nenabled = false\n";
    site.config(config).serve()
}

/// Sends bytes and reads everything that the host sends until it closes the connection. Lines end with
/// `\n`.
fn answers(host: &TestHost, bytes: &str, finishes: bool) -> String {
    let mut connection = host.connect();
    connection.send(bytes.as_bytes()).expect("the host reads");
    if finishes {
        connection.finish_sending().expect("it is open");
    }
    let answers = String::from_utf8(connection.rest().expect("the end")).expect("text");
    let dates = Regex::new("date: [^\r]+").expect("a pattern");
    let ids = Regex::new("[0-9A-Z]{26}").expect("a pattern");
    let answers = dates.replace_all(&answers, "date: DATE");
    ids.replace_all(&answers, "ID").replace("\r\n", "\n")
}

/// Returns the status of the answer to a request without a body, the code of its error, and `Allow`.
fn refusal(host: &TestHost, method_and_target: &str) -> String {
    let request = format!("{method_and_target} HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = answers(host, &request, true);
    let part = |start, end| {
        let (_, rest) = answer.split_once(start)?;
        Some(rest.split_once(end)?.0)
    };
    let status = part("HTTP/1.1 ", " ").unwrap_or("no answer");
    let code = part("\"code\":\"", "\"").unwrap_or("no body");
    match part("allow: ", "\n") {
        None => format!("{status} {code}"),
        Some(allow) => format!("{status} {code}, allow {allow}"),
    }
}

fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

#[test]
fn a_connection_stays_open_after_an_accepted_webhook() {
    let host = host();
    let two = post("/in/good", "", "disk full").repeat(2);
    insta::assert_snapshot!(answers(&host, &two, true), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    x-request-id: ID
    content-length: 2
    date: DATE

    {}HTTP/1.1 200 OK
    content-type: application/json
    x-request-id: ID
    content-length: 2
    date: DATE

    {}
    "#);
}

#[test]
fn a_connection_closes_if_the_client_asks_for_it_or_speaks_an_older_http() {
    let host = host();
    let closing = post("/in/good", "connection: close\r\n", "disk full");
    insta::assert_snapshot!(answers(&host, &closing, false), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    x-request-id: ID
    connection: close
    content-length: 2
    date: DATE

    {}
    "#);
    let older = post("/in/good", "", "disk full").replace("HTTP/1.1", "HTTP/1.0");
    insta::assert_snapshot!(answers(&host, &older, false), @r#"
    HTTP/1.0 200 OK
    content-type: application/json
    x-request-id: ID
    content-length: 2
    date: DATE

    {}
    "#);
}

#[test]
fn a_refusal_is_json_with_its_headers() {
    let host = host();
    insta::assert_snapshot!(answers(&host, &post("/in/nobody", "", "disk full"), true), @r#"
    HTTP/1.1 404 Not Found
    content-type: application/json
    x-request-id: ID
    content-length: 81
    date: DATE

    {"error":{"code":"unknown_integration","message":"there is no such integration"}}
    "#);
    insta::assert_snapshot!(answers(&host, "GET /in/good HTTP/1.1\r\nhost: x\r\n\r\n", true), @r#"
    HTTP/1.1 405 Method Not Allowed
    content-type: application/json
    allow: POST
    x-request-id: ID
    content-length: 78
    date: DATE

    {"error":{"code":"method_not_allowed","message":"webhooks are POST requests"}}
    "#);
}

#[test]
fn the_rest_of_a_request_that_was_not_read_closes_the_connection() {
    let host = host();
    let large = "POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n";
    insta::assert_snapshot!(answers(&host, large, false), @r#"
    HTTP/1.1 413 Payload Too Large
    content-type: application/json
    connection: close
    x-request-id: ID
    content-length: 77
    date: DATE

    {"error":{"code":"too_large","message":"the body is larger than 1000 bytes"}}
    "#);
    let slow = "POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\ndisk";
    insta::assert_snapshot!(answers(&host, slow, false), @r#"
    HTTP/1.1 408 Request Timeout
    content-type: application/json
    connection: close
    x-request-id: ID
    content-length: 80
    date: DATE

    {"error":{"code":"request_timeout","message":"the body took longer than 200ms"}}
    "#);
    insta::assert_snapshot!(answers(&host, slow, true), @r#"
    HTTP/1.1 400 Bad Request
    content-type: application/json
    x-request-id: ID
    content-length: 65
    date: DATE

    {"error":{"code":"bad_request","message":"the body ended early"}}
    "#);
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on_only_if_its_body_is_read() {
    let host = host();
    let expect = "expect: 100-continue\r\n";
    insta::assert_snapshot!(answers(&host, &post("/in/good", expect, "disk full"), true), @r#"
    HTTP/1.1 100 Continue

    HTTP/1.1 200 OK
    content-type: application/json
    x-request-id: ID
    content-length: 2
    date: DATE

    {}
    "#);
    let large = answers(&host, &post("/in/good", expect, &"x".repeat(1001)), true);
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
}

#[test]
fn a_path_names_an_integration_in_every_form_that_a_url_may_have() {
    let host = host();
    let targets = ["/in/good", "/in/good/", "/in/g%6Fod", "/in/good?a=/b", "http://other/in/good"];
    for target in targets {
        let answer = answers(&host, &post(target, "", "disk full"), true);
        assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{target}: {answer}");
    }
    assert_eq!(host.alerts().len(), targets.len());
}

#[test]
fn other_paths_and_methods_are_refused() {
    let host = host();
    let asked = [
        "POST /in/nobody",
        "POST /in/good%2F",
        "POST /in/100%",
        "POST /in//",
        "POST /",
        "POST /in",
        "POST /in/",
        "POST //in/good",
        "POST /in//good",
        "POST /in/good//",
        "POST /in/good/more",
        "POST /IN/good",
        "POST /in/%FF",
        "OPTIONS *",
        "CONNECT other:80",
        "HEAD /in/good",
        "HEAD /",
        "OPTIONS /in/good",
        "BREW /in/good",
        "GET /in/nobody",
        "POST /in/off",
        "GET /in/off",
    ];
    let refusals: Vec<_> =
        asked.iter().map(|asked| format!("{asked}: {}", refusal(&host, asked))).collect();
    insta::assert_snapshot!(refusals.join("\n"), @r"
    POST /in/nobody: 404 unknown_integration
    POST /in/good%2F: 404 unknown_integration
    POST /in/100%: 404 unknown_integration
    POST /in//: 404 unknown_integration
    POST /: 404 not_found
    POST /in: 404 not_found
    POST /in/: 404 not_found
    POST //in/good: 404 not_found
    POST /in//good: 404 not_found
    POST /in/good//: 404 not_found
    POST /in/good/more: 404 not_found
    POST /IN/good: 404 not_found
    POST /in/%FF: 404 not_found
    OPTIONS *: 404 not_found
    CONNECT other:80: 404 not_found
    HEAD /in/good: 405 no body, allow POST
    HEAD /: 404 no body
    OPTIONS /in/good: 405 method_not_allowed, allow POST
    BREW /in/good: 405 method_not_allowed, allow POST
    GET /in/nobody: 404 unknown_integration
    POST /in/off: 405 disabled, allow 
    GET /in/off: 405 method_not_allowed, allow POST
    ");
}
