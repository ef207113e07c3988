//! Connections that are used again, and those that must not be.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::{body, client, forbidden, loopback, post, receiver::Receiver, rules, send};
use crate::outbound::KEPT_BODY;

#[tokio::test]
async fn uses_a_connection_again() {
    let receiver = Receiver::start(|wire| wire.serve("thanks")).await;
    let client = client();
    for reused in [false, true, true] {
        let sent = send(&client, &receiver.url("/")).await;
        assert_eq!((body(&sent), sent.trace.reused), ("thanks", reused));
        assert_eq!(sent.trace.address, Some(receiver.address));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn reads_the_rest_of_a_long_body_to_use_the_connection_again() {
    let receiver = Receiver::start(|wire| async { wire.serve(&"a".repeat(3 * KEPT_BODY)).await });
    let receiver = receiver.await;
    let client = client();
    let sent = send(&client, &receiver.url("/")).await;
    assert_eq!(body(&sent).len(), KEPT_BODY);
    assert!(send(&client, &receiver.url("/")).await.trace.reused);
}

#[tokio::test]
async fn sends_over_a_new_connection_if_the_server_has_closed_the_idle_one() {
    let mut receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.answer("once").await
    })
    .await;
    let client = client();
    for round in 1..20 {
        let sent = send(&client, &receiver.url("/")).await;
        assert_eq!((body(&sent), sent.trace.reused), ("once", false), "{round}");
        receiver.until_closed(round).await;
    }
    assert_eq!(receiver.requests().len(), 19);
}

#[tokio::test]
async fn does_not_repeat_a_request_that_the_server_may_have_read_before_it_closed() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.answer("first").await?;
        wire.request().await?;
        Ok(())
    })
    .await;
    let client = client();
    send(&client, &receiver.url("/")).await;
    let sent = send(&client, &receiver.url("/")).await;
    super::in_doubt(&sent);
    assert!(sent.trace.reused);
    assert_eq!((receiver.connections(), receiver.requests().len()), (1, 2));
}

#[tokio::test]
async fn never_takes_an_answer_that_was_sent_ahead_for_the_next_one() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.write(
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrueHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfalse",
        )
        .await?;
        wire.wait_for_the_client().await
    })
    .await;
    let client = client();
    for _ in 0..5 {
        assert_eq!(body(&send(&client, &receiver.url("/")).await), "true");
    }
    assert_eq!(receiver.connections(), 5);
}

#[tokio::test]
async fn obeys_a_server_that_says_that_it_closes_soon() {
    for header in ["connection: close", "keep-alive: timeout=1"] {
        let receiver = Receiver::start(move |mut wire| async move {
            loop {
                wire.request().await?;
                wire.write(format!("HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: 0\r\n\r\n"))
                    .await?;
            }
        })
        .await;
        let client = client();
        send(&client, &receiver.url("/")).await;
        assert!(!send(&client, &receiver.url("/")).await.trace.reused, "{header}");
    }
}

#[tokio::test]
async fn a_connection_made_under_loose_rules_is_not_used_under_stricter_ones() {
    let receiver = Receiver::start(|wire| wire.serve("thanks")).await;
    let client = client();
    let request = post(&receiver.url("/"), "news");
    body(&client.send(&request, &loopback()).await);
    let sent = client.send(&request, &rules(&["10.0.0.0/8"])).await;
    assert!(forbidden(&sent).contains("a loopback address"), "{sent:?}");
    let mut with_tls_only = loopback();
    with_tls_only.allow_http = false;
    forbidden(&client.send(&request, &with_tls_only).await);
    let sent = client.send(&request, &rules(&["127.0.0.1"])).await;
    assert!(!sent.trace.reused, "other rules have connections of their own");
    assert!(client.send(&request, &loopback()).await.trace.reused);
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn requests_at_the_same_time_have_connections_of_their_own() {
    let receiver = Receiver::start(|wire| wire.serve("thanks")).await;
    let client = client();
    let mut requests = tokio::task::JoinSet::new();
    for at in 0..50 {
        let (client, url) = (client.clone(), receiver.url(&format!("/{at}")));
        requests.spawn(async move { body(&send(&client, &url).await).to_owned() });
    }
    assert!(requests.join_all().await.iter().all(|body| body == "thanks"));
    assert_eq!(receiver.requests().len(), 50);
}

#[tokio::test]
async fn connections_of_many_requests_at_the_same_time_are_all_used_again() {
    const MANY: usize = 32;
    let all_are_there = Arc::new(Barrier::new(MANY));
    let receiver = Receiver::start(move |wire| {
        let all_are_there = Arc::clone(&all_are_there);
        async move {
            all_are_there.wait().await;
            wire.serve("thanks").await
        }
    });
    let receiver = receiver.await;
    let client = client();
    for reused in [false, true] {
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..MANY {
            let (client, url) = (client.clone(), receiver.url("/"));
            requests.spawn(async move { send(&client, &url).await });
        }
        for sent in requests.join_all().await {
            assert_eq!((body(&sent), sent.trace.reused), ("thanks", reused));
        }
    }
    assert_eq!(receiver.connections(), MANY);
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let mut receiver = Receiver::start(super::receiver::Wire::wait_for_the_client).await;
    let client = client();
    let url = receiver.url("/");
    let sending = tokio::spawn(async move { send(&client, &url).await.trace });
    receiver.until_opened(1).await;
    sending.abort();
    receiver.until_closed(1).await;
}
