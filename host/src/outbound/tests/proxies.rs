//! Proxies, with and without a tunnel.

use std::{io, net::SocketAddr};

use super::{
    Names, body, forbidden, loopback, not_sent, post, receiver::Receiver, receiver::Wire, rules,
    settings, tls::Authority,
};
use crate::outbound::{Client, ClientSettings};

/// Returns a client with a proxy that resolves names to these addresses, one list after the other.
fn client(proxy: SocketAddr, names: &[&[&str]], authority: Option<&Authority>) -> Client {
    let settings = ClientSettings {
        proxy: Some(format!("http://ops:p%40ss@{proxy}")),
        ca_pem: authority.map(|authority| authority.pem.clone().into()),
        ..settings()
    };
    Client::with_resolver(&settings, Names::new(names)).expect("a client")
}

/// Plays a proxy that opens a tunnel to a server, whatever name it is asked for.
async fn tunnel(mut wire: Wire, server: SocketAddr) -> io::Result<()> {
    wire.request().await?;
    wire.write("HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n").await?;
    wire.relay(server).await
}

#[tokio::test]
async fn sends_https_through_a_tunnel() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("hooks.example", 2999);
    let receiver = Receiver::start_tls(acceptor, |wire| wire.serve("ok")).await;
    let server = receiver.address;
    let proxy = Receiver::start(move |wire| tunnel(wire, server)).await;
    let client = client(proxy.address, &[&["1.1.1.1"]], Some(&authority));
    for reused in [false, true] {
        let sent = client.send(&post("https://hooks.example/path", "news"), &rules(&[])).await;
        assert_eq!((body(&sent), sent.trace.reused), ("ok", reused));
        assert_eq!(sent.trace.address, Some(proxy.address));
        assert_eq!(sent.trace.rule.as_deref(), Some("public address"));
    }
    // `ops:p@ss` in base64.
    assert_eq!(
        proxy.requests(),
        ["CONNECT hooks.example:443 HTTP/1.1\r\nhost: hooks.example:443\r\n\
          proxy-authorization: Basic b3BzOnBAc3M=\r\n\r\n"]
    );
    assert!(!receiver.requests()[0].contains("proxy-authorization"));
}

#[tokio::test]
async fn leaves_a_name_to_the_proxy_that_is_not_known_here_but_not_without_tls() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("hooks.example", 2999);
    let receiver = Receiver::start_tls(acceptor, |wire| wire.serve("ok")).await;
    let server = receiver.address;
    let proxy = Receiver::start(move |wire| tunnel(wire, server)).await;
    let client = client(proxy.address, &[], Some(&authority));
    let sent = client.send(&post("https://hooks.example/", "news"), &rules(&[])).await;
    assert_eq!(body(&sent), "ok");
    assert_eq!(sent.trace.rule.as_deref(), Some("name that the proxy resolves"));
    not_sent(&client.send(&post("http://hooks.example/", "news"), &rules(&[])).await);
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn forwards_http_to_the_proxy() {
    let proxy = Receiver::start(|wire| wire.serve("forwarded")).await;
    let client = client(proxy.address, &[&["10.0.0.1"]], None);
    let sent =
        client.send(&post("http://hooks.example/a?b", "news"), &rules(&["10.0.0.0/8"])).await;
    assert_eq!(body(&sent), "forwarded");
    let seen = &proxy.requests()[0];
    assert!(seen.starts_with("POST http://hooks.example/a?b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("proxy-authorization: Basic b3BzOnBAc3M=\r\n"), "{seen}");
    assert!(seen.contains("host: hooks.example\r\n"), "{seen}");
}

#[tokio::test]
async fn guards_receivers_behind_a_proxy_too() {
    let proxy = Receiver::start(|wire| wire.serve("forwarded")).await;
    // The proxy may choose any address of a name.
    let client = client(proxy.address, &[&["1.1.1.1", "10.0.0.1"]], None);
    for url in ["https://hooks.example/", "https://10.0.0.1/", "https://[::1]/", "https://127.1/"] {
        forbidden(&client.send(&post(url, "news"), &rules(&[])).await);
    }
    forbidden(&client.send(&post("http://hooks.example/", "news"), &loopback()).await);
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_refuses_leaves_the_request_unsent() {
    let head = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    for (answer, expected) in [
        (head, "answered 407 to `CONNECT`"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "answered 403 to `CONNECT`"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "does not answer in HTTP"),
        ("HTTP/1.1 200 OK\r\n", "cut the connection"),
    ] {
        let proxy = Receiver::start(move |mut wire| async move {
            wire.request().await?;
            wire.write(answer).await
        })
        .await;
        let client = client(proxy.address, &[&["1.1.1.1"]], None);
        let sent = client.send(&post("https://hooks.example/", "news"), &rules(&[])).await;
        let reason = not_sent(&sent);
        assert!(
            reason.starts_with(&format!("the proxy `{}` {expected}", proxy.address)),
            "{reason}"
        );
        assert!(!reason.contains("ops"), "no password: {reason}");
    }
    let proxy = Receiver::start(move |mut wire| async move {
        wire.request().await?;
        wire.write(head).await
    })
    .await;
    let client = client(proxy.address, &[&["10.0.0.1"]], None);
    let sent = client.send(&post("http://hooks.example/", "news"), &rules(&["10.0.0.1"])).await;
    assert_eq!(not_sent(&sent), format!("the proxy `{}` answered 407", proxy.address));
}

#[tokio::test]
async fn refuses_an_endless_answer_of_a_proxy() {
    let proxy = Receiver::start(|mut wire| async move {
        wire.request().await?;
        loop {
            wire.write([b'a'; 1024]).await?;
        }
    })
    .await;
    let client = client(proxy.address, &[&["1.1.1.1"]], None);
    let sent = client.send(&post("https://hooks.example/", "news"), &rules(&[])).await;
    assert!(not_sent(&sent).ends_with("sent an endless answer to `CONNECT`"));
}

#[test]
fn refuses_a_proxy_url_without_repeating_its_password() {
    for url in [
        "proxy:3128",
        "https://proxy:3128",
        "socks5://u:hidden@proxy",
        "http://u:hidden@",
        "http://",
        "http://u:hidden@proxy/path",
        "http://u:hidden@0x7f.1:3128",
        "http://u:hidden@pro xy",
    ] {
        let settings = ClientSettings { proxy: Some(url.into()), ..settings() };
        let problem = Client::new(&settings).err().expect(url);
        assert_eq!(problem.code, "proxy");
        assert!(!problem.to_string().contains("hidden"), "{problem}");
    }
}
