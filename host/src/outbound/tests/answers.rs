//! Answers of every kind, and the request as it arrives.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use http::HeaderValue;

use super::{
    LONG, SHORT, answer, bad_answer, body, client, in_doubt, loopback, post, receiver::Receiver,
    send, settings,
};
use crate::outbound::{Client, ClientSettings, KEPT_BODY};

/// Returns a client with a timeout of the answer's body.
fn with_body_timeout(body_timeout: Duration) -> Client {
    Client::new(&ClientSettings { body_timeout, ..settings() }).expect("a client")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("room");
    encoder.finish().expect("room")
}

/// Starts a server that answers with these bytes and closes the connection.
async fn answering(bytes: impl Into<Vec<u8>>) -> Receiver {
    let bytes = bytes.into();
    Receiver::start(move |mut wire| {
        let bytes = bytes.clone();
        async move {
            wire.request().await?;
            wire.write(bytes).await?;
            Ok(())
        }
    })
    .await
}

async fn answering_gzip(body: &[u8]) -> Receiver {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    answering([head.as_bytes(), body].concat()).await
}

#[tokio::test]
async fn sends_the_request_as_it_is_and_sets_the_headers_of_the_connection() {
    let receiver = Receiver::start(|wire| wire.serve("thanks")).await;
    let mut request = post(&receiver.url("/hook?key=1"), "news");
    for (name, value) in [
        ("x-delivery", "01J"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("host", "elsewhere.example"),
        ("connection", "close"),
        ("accept-encoding", "gzip"),
    ] {
        request.headers.insert(name, HeaderValue::from_static(value));
    }
    let sent = client().send(&request, &loopback()).await;
    assert_eq!(body(&sent), "thanks");
    assert_eq!(sent.trace.address, Some(receiver.address));
    assert_eq!(sent.trace.rule.as_deref(), Some("`127.0.0.0/8` in `allow_networks`"));
    let seen = receiver.requests().pop().expect("a request");
    let mut lines: Vec<_> = seen.lines().collect();
    lines[1..].sort_unstable();
    let host = format!("host: {}", receiver.address);
    let agent = format!("user-agent: tocsin/{}", env!("CARGO_PKG_VERSION"));
    let mut expected = vec![
        "POST /hook?key=1 HTTP/1.1",
        "",
        "accept-encoding: identity",
        "content-length: 4",
        &host,
        &agent,
        "x-delivery: 01J",
        "news",
    ];
    expected[1..].sort_unstable();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn does_not_follow_a_redirect_to_a_metadata_service() {
    let receiver = answering(
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let sent = send(&client(), &receiver.url("/")).await;
    assert_eq!(answer(&sent).status, 302);
    assert_eq!(answer(&sent).headers["location"], "http://169.254.169.254/latest");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn reads_an_answer_of_http_1_0_up_to_the_end_of_the_connection() {
    let receiver = answering("HTTP/1.0 200 OK\r\n\r\nold").await;
    let sent = send(&client(), &receiver.url("/")).await;
    assert_eq!(body(&sent), "old");
}

#[tokio::test]
async fn unpacks_gzip_though_it_did_not_ask_for_it() {
    let receiver = answering_gzip(&gzip(b"{\"ok\":true}")).await;
    let sent = send(&client(), &receiver.url("/")).await;
    assert_eq!((body(&sent), answer(&sent).truncated), ("{\"ok\":true}", false));
    assert!(!answer(&sent).headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn unpacks_no_more_than_it_keeps_of_a_body_that_grows_a_thousandfold() {
    let packed = gzip(&vec![b'a'; 32 << 20]);
    assert!(packed.len() < KEPT_BODY, "the whole bomb is read");
    let receiver = answering_gzip(&packed).await;
    let sent = send(&client(), &receiver.url("/")).await;
    assert_eq!((answer(&sent).body.len(), answer(&sent).truncated), (KEPT_BODY, true));
}

#[tokio::test]
async fn keeps_the_beginning_of_a_long_body_in_gzip() {
    let mut random = fastrand::Rng::with_seed(1);
    let text: Vec<_> = std::iter::repeat_with(|| random.u8(..)).take(200_000).collect();
    let receiver = answering_gzip(&gzip(&text)).await;
    let sent = send(&client(), &receiver.url("/")).await;
    let body = &answer(&sent).body;
    assert!(answer(&sent).truncated && body.len() > KEPT_BODY / 2, "{}", body.len());
    assert_eq!(**body, text[..body.len()]);
}

#[tokio::test]
async fn says_that_a_body_is_not_gzip_though_it_claims_to_be() {
    let receiver = answering_gzip(b"plain text").await;
    let sent = send(&client(), &receiver.url("/")).await;
    let reason = bad_answer(&sent);
    assert!(reason.starts_with("the answer's body is not valid gzip"), "{reason}");
}

#[tokio::test]
async fn cuts_an_endless_body() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.write("HTTP/1.1 200 OK\r\n\r\n").await?;
        loop {
            wire.write([b'a'; 4096]).await?;
        }
    })
    .await;
    let client = client();
    let sent = send(&client, &receiver.url("/")).await;
    assert_eq!((answer(&sent).body.len(), answer(&sent).truncated), (KEPT_BODY, true));
    assert!(!send(&client, &receiver.url("/")).await.trace.reused);
}

#[tokio::test]
async fn reads_little_of_a_body_that_announces_a_terabyte() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n").await?;
        wire.write(vec![b'a'; 2 * KEPT_BODY]).await?;
        wire.wait_for_the_client().await
    })
    .await;
    let sent = send(&client(), &receiver.url("/")).await;
    assert_eq!((answer(&sent).body.len(), answer(&sent).truncated), (KEPT_BODY, true));
}

#[tokio::test]
async fn cuts_a_long_body_that_stops_after_the_part_that_is_kept() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n").await?;
        wire.write(vec![b'a'; 2 * KEPT_BODY]).await?;
        wire.wait_for_the_client().await
    })
    .await;
    // On a busy machine the part that is kept may need one of the longer timeouts.
    let mut sent = send(&with_body_timeout(SHORT), &receiver.url("/")).await;
    for timeout in [20 * SHORT, LONG] {
        if sent.result.is_err() {
            sent = send(&with_body_timeout(timeout), &receiver.url("/")).await;
        }
    }
    assert_eq!((answer(&sent).body.len(), answer(&sent).truncated), (KEPT_BODY, true));
}

#[tokio::test]
async fn ends_a_body_that_trickles() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n").await?;
        loop {
            wire.write("a").await?;
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await;
    let sent = send(&with_body_timeout(SHORT), &receiver.url("/")).await;
    assert_eq!(in_doubt(&sent), "the answer's body was cut: not complete within 150ms");
}

#[tokio::test]
async fn ends_headers_that_trickle() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.write("HTTP/1.1 200 OK\r\n").await?;
        loop {
            wire.write("a: b\r\n").await?;
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await;
    let settings = ClientSettings { header_timeout: SHORT, ..settings() };
    let sent = send(&Client::new(&settings).expect("a client"), &receiver.url("/")).await;
    assert_eq!(in_doubt(&sent), "no answer within 150ms; the request, or a part, was sent");
}

#[tokio::test]
async fn refuses_endless_headers() {
    for line in ["a: b\r\n", "a"] {
        let receiver = Receiver::start(move |mut wire| async move {
            wire.request().await?;
            wire.write("HTTP/1.1 200 OK\r\nx: ").await?;
            loop {
                wire.write(line.repeat(1000)).await?;
            }
        })
        .await;
        let sent = send(&client(), &receiver.url("/")).await;
        let reason = bad_answer(&sent);
        assert!(reason.starts_with("the answer is not valid HTTP"), "{reason}");
    }
}

#[tokio::test]
async fn refuses_an_answer_that_is_not_http() {
    for text in ["220 mail.example ESMTP\r\n", "HTTP/2.0 200 OK\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let receiver = answering(text).await;
        let sent = send(&client(), &receiver.url("/")).await;
        let reason = bad_answer(&sent);
        assert!(reason.starts_with("the answer is not valid HTTP"), "{text:?}: {reason}");
    }
}

#[tokio::test]
async fn refuses_to_switch_to_another_protocol() {
    let receiver = answering(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    )
    .await;
    let sent = send(&client(), &receiver.url("/")).await;
    assert_eq!(bad_answer(&sent), "the answer switches to another protocol");
}

#[tokio::test]
async fn skips_interim_answers() {
    let receiver = answering(
        "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let sent = send(&client(), &receiver.url("/")).await;
    assert_eq!(body(&sent), "ok");
}
