//! Connections that fail: before the request is written, and after.

use std::{net::Ipv4Addr, sync::Arc};

use tokio::net::TcpSocket;

use super::{
    Names, SHORT, client, in_doubt, loopback, not_sent, post, receiver::Receiver, send, settings,
};
use crate::outbound::{Client, ClientSettings, resolver::Addresses, resolver::Resolve};

#[tokio::test]
async fn a_refused_connection_leaves_the_request_unsent() {
    // The port is taken, so that no other test listens on it.
    let silent = TcpSocket::new_v4().expect("a socket");
    silent.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let address = silent.local_addr().expect("an address");
    let sent = send(&client(), &format!("http://{address}/secret")).await;
    assert_eq!(
        not_sent(&sent),
        format!("cannot connect to `{address}`: `{address}`: Connection refused (os error 111)")
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_leaves_the_request_unsent() {
    let client = Client::with_resolver(&settings(), Names::none()).expect("a client");
    let sent = send(&client, "http://hooks.example/secret").await;
    assert_eq!(not_sent(&sent), "cannot resolve `hooks.example`: no such name");
    let client = Client::with_resolver(&settings(), Names::new(&[&[]])).expect("a client");
    assert_eq!(
        not_sent(&send(&client, "http://hooks.example/secret").await),
        "`hooks.example` has no address"
    );
}

#[tokio::test]
async fn a_resolver_that_hangs_leaves_the_request_unsent() {
    struct Hangs;
    impl Resolve for Hangs {
        fn addresses(&self, _: &str) -> Addresses {
            Box::pin(std::future::pending())
        }
    }
    let settings = ClientSettings { connect_timeout: SHORT, ..settings() };
    let client = Client::with_resolver(&settings, Arc::new(Hangs)).expect("a client");
    let sent = send(&client, "http://hooks.example/").await;
    assert_eq!(not_sent(&sent), "no connection to `hooks.example:80` within 150ms");
}

#[tokio::test]
async fn a_silent_receiver_leaves_the_request_in_doubt() {
    let receiver = Receiver::start(super::receiver::Wire::wait_for_the_client).await;
    let settings = ClientSettings { header_timeout: SHORT, ..settings() };
    let sent = send(&Client::new(&settings).expect("a client"), &receiver.url("/")).await;
    assert_eq!(in_doubt(&sent), "no answer within 150ms; the request, or a part, was sent");
}

#[tokio::test]
async fn a_connection_that_is_cut_after_the_request_leaves_it_in_doubt() {
    for beginning in
        ["", "HTT", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour"]
    {
        let receiver = Receiver::start(move |mut wire| async move {
            wire.request().await?;
            wire.write(beginning).await
        })
        .await;
        let sent = send(&client(), &receiver.url("/")).await;
        in_doubt(&sent);
        assert_eq!(receiver.connections(), 1, "never repeated: {beginning:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_of_the_request_leaves_it_in_doubt() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.read(&mut [0; 1]).await?;
        Ok(())
    })
    .await;
    let request = post(&receiver.url("/"), &"a".repeat(32 << 20));
    let sent = client().send(&request, &loopback()).await;
    in_doubt(&sent);
    assert_eq!(receiver.connections(), 1, "never repeated");
}

#[tokio::test]
async fn a_receiver_that_reads_nothing_leaves_the_request_in_doubt() {
    let receiver = Receiver::start(|wire| async move {
        let _wire = wire;
        std::future::pending().await
    })
    .await;
    let settings = ClientSettings { header_timeout: SHORT, ..settings() };
    let request = post(&receiver.url("/"), &"a".repeat(32 << 20));
    let sent = Client::new(&settings).expect("a client").send(&request, &loopback()).await;
    assert_eq!(in_doubt(&sent), "no answer within 150ms; the request, or a part, was sent");
}
