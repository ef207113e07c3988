//! The guard, with names that a test resolves.

use super::{Names, body, client, forbidden, loopback, post, receiver::Receiver, rules, settings};
use crate::outbound::{
    Client, NetworkRules, SendFailure, Sent,
    rules::{FORBIDDEN_ADDRESS, Rule},
};

fn strict() -> NetworkRules {
    NetworkRules { allow_http: false, ..rules(&[]) }
}

fn resolving(lists: &[&[&str]]) -> Client {
    Client::with_resolver(&settings(), Names::new(lists)).expect("a client")
}

async fn send(client: &Client, url: &str, rules: &NetworkRules) -> Sent {
    client.send(&post(url, "news"), rules).await
}

#[tokio::test]
async fn refuses_addresses_that_are_not_public_in_every_form() {
    for host in [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "240.0.0.1",
        "[::]",
        "[::1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::a00:1]",
        "[2002:a00:1::]",
        "[2001:0:a00:1::]",
    ] {
        let sent = send(&client(), &format!("https://{host}/"), &strict()).await;
        let Err(SendFailure::Forbidden(problem)) = &sent.result else { panic!("{host}: {sent:?}") };
        assert_eq!(problem.code, FORBIDDEN_ADDRESS, "{host}");
        assert_eq!(sent.trace, super::super::Trace::default(), "nothing was dialled");
    }
}

#[tokio::test]
async fn refuses_unusual_forms_of_an_address_even_if_it_is_allowed() {
    for host in ["127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1."] {
        let sent = send(&client(), &format!("http://{host}:1/"), &loopback()).await;
        assert!(forbidden(&sent).contains("neither a host name nor an address"), "{host}");
    }
}

#[tokio::test]
async fn names_the_rule_and_the_line_that_would_allow_the_address() {
    let sent = send(&client(), "https://10.1.2.3/secret?token=x", &strict()).await;
    assert_eq!(
        forbidden(&sent),
        "`10.1.2.3` is a private address (`10.0.0.0/8`) that `allow_networks` does not name\n\
         hint: set `allow_networks = [\"10.1.2.3\"]` in `[destinations.ops]`"
    );
    let client = resolving(&[&["::ffff:10.1.2.3"]]);
    let sent = send(&client, "https://hooks.example/", &rules(&["192.168.0.0/16"])).await;
    assert_eq!(
        forbidden(&sent),
        "`hooks.example` resolves to `::ffff:10.1.2.3`, which is the IPv4-mapped form of \
         `10.1.2.3`, a private address (`10.0.0.0/8`) that `allow_networks` does not name\n\
         hint: set `allow_networks = [\"192.168.0.0/16\", \"10.1.2.3\"]` in `[destinations.ops]`"
    );
}

#[tokio::test]
async fn refuses_http_unless_the_destination_allows_it_and_names_the_address() {
    let sent = send(&client(), "http://10.1.2.3/", &strict()).await;
    assert_eq!(
        forbidden(&sent),
        "`http` without TLS is forbidden\n\
         hint: use `https`, or set `allow_http = true` in `[destinations.ops]` and name the \
         receiver's address in `allow_networks`"
    );
    let sent = send(&resolving(&[&["1.1.1.1"]]), "http://hooks.example/", &loopback()).await;
    assert_eq!(
        forbidden(&sent),
        "`http` without TLS to `1.1.1.1` is forbidden, since `allow_networks` does not name the \
         address\n\
         hint: use `https`, or set `allow_networks = [\"127.0.0.0/8\", \"1.1.1.1\"]` in \
         `[destinations.ops]`"
    );
}

#[tokio::test]
async fn checks_a_name_again_on_each_new_connection() {
    let receiver = Receiver::start(|mut wire| async move {
        wire.request().await?;
        wire.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await
    })
    .await;
    let client = resolving(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let url = format!("http://hooks.example:{}/", receiver.address.port());
    assert_eq!(body(&send(&client, &url, &loopback()).await), "ok");
    let sent = send(&client, &url, &loopback()).await;
    assert!(
        forbidden(&sent).starts_with(
            "`hooks.example` resolves to `169.254.169.254`, which is a metadata service"
        )
    );
}

#[tokio::test]
async fn refuses_a_name_that_is_public_first_and_private_later() {
    let client = resolving(&[&["1.1.1.1"], &["10.0.0.1"]]);
    let uri = "https://hooks.example/".parse().expect("a URL");
    let first = client.look_up(&uri, &strict()).await.expect("an address");
    assert_eq!(first, [("1.1.1.1".parse().expect("an address"), Ok(Rule::Public))]);
    assert!(
        forbidden(&send(&client, "https://hooks.example/", &strict()).await).contains("private")
    );
}

#[tokio::test]
async fn dials_only_the_allowed_ones_of_several_addresses() {
    let receiver = Receiver::start(|wire| wire.serve("ok")).await;
    let client = resolving(&[&["10.0.0.1", "169.254.169.254", "::1", "127.0.0.1"]]);
    let url = format!("http://hooks.example:{}/", receiver.address.port());
    let sent = send(&client, &url, &loopback()).await;
    assert_eq!((body(&sent), sent.trace.address), ("ok", Some(receiver.address)));
    assert!(
        receiver.requests()[0]
            .contains(&format!("host: hooks.example:{}", receiver.address.port()))
    );
}

#[tokio::test]
async fn dials_the_next_address_if_the_first_refuses() {
    let receiver = Receiver::start(|wire| wire.serve("ok")).await;
    let client = resolving(&[&["127.0.0.2", "127.0.0.1"]]);
    let url = format!("http://hooks.example:{}/", receiver.address.port());
    let sent = send(&client, &url, &loopback()).await;
    assert_eq!((body(&sent), sent.trace.address), ("ok", Some(receiver.address)));
}

#[tokio::test]
async fn looks_up_all_addresses_of_a_url_without_connecting() {
    let client = resolving(&[&["1.1.1.1", "10.0.0.1", "192.168.1.1"]]);
    let uri = "https://hooks.example/".parse().expect("a URL");
    let judged = client.look_up(&uri, &rules(&["192.168.0.0/16"])).await.expect("addresses");
    let shown: Vec<_> = judged
        .iter()
        .map(|(address, result)| match result {
            Ok(rule) => format!("{address}: {rule}"),
            Err(problem) => format!("{address}: {}", problem.code),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "1.1.1.1: public address",
            "10.0.0.1: forbidden-address",
            "192.168.1.1: `192.168.0.0/16` in `allow_networks`",
        ]
    );
    let uri = "http://hooks.example/".parse().expect("a URL");
    assert!(matches!(client.look_up(&uri, &strict()).await, Err(SendFailure::Forbidden(_))));
}

#[test]
fn judges_an_address_without_a_client() {
    let rules = rules(&["10.0.0.0/8", "fd00:1::/32"]);
    let judge = |text: &str| rules.judge(text.parse().expect("an address")).map_err(|it| it.code);
    assert_eq!(judge("1.1.1.1"), Ok(Rule::Public));
    assert_eq!(judge("64:ff9b::101:101"), Ok(Rule::Public));
    assert!(matches!(judge("10.1.2.3"), Ok(Rule::Network(_))));
    assert!(matches!(judge("::ffff:10.1.2.3"), Ok(Rule::Network(_))));
    assert!(matches!(judge("fd00:1::2"), Ok(Rule::Network(_))));
    assert_eq!(judge("64:ff9b::a01:203"), Err(FORBIDDEN_ADDRESS), "the form itself must be named");
    assert_eq!(judge("11.0.0.0"), Ok(Rule::Public));
    assert_eq!(judge("192.168.0.1"), Err(FORBIDDEN_ADDRESS));
}

#[tokio::test]
async fn refuses_the_method_connect() {
    let mut request = post("https://1.1.1.1/", "");
    request.method = http::Method::CONNECT;
    assert!(forbidden(&client().send(&request, &strict()).await).contains("`CONNECT`"));
}
