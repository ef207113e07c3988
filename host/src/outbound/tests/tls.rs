//! TLS with certificates of an authority that a test makes.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{Names, SHORT, body, loopback, not_sent, post, receiver::Receiver, rules, settings};
use crate::outbound::{Client, ClientSettings, Sent};

/// An authority that exists in one test only.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::named("Authority")
    }

    fn named(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns a server side with a certificate for a name, valid to the end of a year.
    pub(super) fn acceptor(&self, name: &str, year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate for the key");
        TlsAcceptor::from(Arc::new(config))
    }

    /// Returns a client that trusts this authority, and resolves every name to the loopback address.
    pub(super) fn client(&self) -> Client {
        let settings = ClientSettings { ca_pem: Some(self.pem.clone().into()), ..settings() };
        Client::with_resolver(&settings, Names::new(&[&["127.0.0.1"]])).expect("a client")
    }
}

async fn send(client: &Client, receiver: &Receiver, name: &str) -> Sent {
    let url = format!("https://{name}:{}/", receiver.address.port());
    client.send(&post(&url, "news"), &loopback()).await
}

#[tokio::test]
async fn trusts_the_authorities_of_the_configured_file() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("hooks.example", 2999);
    let receiver = Receiver::start_tls(acceptor, |wire| wire.serve("ok")).await;
    let client = authority.client();
    for (name, reused) in
        [("hooks.example", false), ("hooks.example", true), ("hooks.example.", false)]
    {
        let sent = send(&client, &receiver, name).await;
        assert_eq!((body(&sent), sent.trace.reused), ("ok", reused));
        assert_eq!(sent.trace.tls.as_deref(), Some("TLS 1.3"));
    }
}

#[tokio::test]
async fn accepts_a_certificate_for_an_address() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", 2999);
    let receiver = Receiver::start_tls(acceptor, |wire| wire.serve("ok")).await;
    assert_eq!(body(&send(&authority.client(), &receiver, "127.0.0.1").await), "ok");
}

#[tokio::test]
async fn https_needs_no_permission_for_http() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("hooks.example", 2999);
    let receiver = Receiver::start_tls(acceptor, |wire| wire.serve("ok")).await;
    let url = format!("https://hooks.example:{}/", receiver.address.port());
    let mut rules = rules(&["127.0.0.1"]);
    rules.allow_http = false;
    assert_eq!(body(&authority.client().send(&post(&url, ""), &rules).await), "ok");
}

#[tokio::test]
async fn sends_nothing_to_a_receiver_whose_certificate_is_not_valid() {
    let authority = Authority::new();
    let stranger = Authority::named("Stranger");
    for (acceptor, expected) in [
        (authority.acceptor("other.example", 2999), "certificate not valid for name"),
        (authority.acceptor("hooks.example", 2001), "certificate expired"),
        (stranger.acceptor("hooks.example", 2999), "UnknownIssuer"),
    ] {
        let receiver = Receiver::start_tls(acceptor, |wire| wire.serve("ok")).await;
        let sent = send(&authority.client(), &receiver, "hooks.example").await;
        let reason = not_sent(&sent);
        assert!(reason.starts_with("no TLS with `hooks.example:"), "{reason}");
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(sent.trace.address, Some(receiver.address));
        assert!(receiver.requests().is_empty());
    }
}

#[tokio::test]
async fn a_receiver_without_tls_leaves_the_request_unsent() {
    let authority = Authority::new();
    let receiver = Receiver::start(|mut wire| async move {
        wire.read(&mut [0; 1]).await?;
        wire.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
        wire.wait_for_the_client().await
    })
    .await;
    not_sent(&send(&authority.client(), &receiver, "hooks.example").await);
    let receiver =
        Receiver::start(|mut wire| async move { wire.read(&mut [0; 1]).await.map(drop) });
    not_sent(&send(&authority.client(), &receiver.await, "hooks.example").await);
}

#[tokio::test]
async fn a_receiver_that_hangs_during_tls_leaves_the_request_unsent() {
    let receiver = Receiver::start(super::receiver::Wire::wait_for_the_client).await;
    let settings = ClientSettings { tls_timeout: SHORT, ..settings() };
    let names = Names::new(&[&["127.0.0.1"]]);
    let client = Client::with_resolver(&settings, names).expect("a client");
    let sent = send(&client, &receiver, "hooks.example").await;
    let port = receiver.address.port();
    assert_eq!(not_sent(&sent), format!("no TLS with `hooks.example:{port}` within 150ms"));
}

#[tokio::test]
async fn a_tls_connection_that_is_cut_after_the_request_leaves_it_in_doubt() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("hooks.example", 2999);
    let receiver =
        Receiver::start_tls(acceptor, |mut wire| async move { wire.request().await.map(drop) })
            .await;
    super::in_doubt(&send(&authority.client(), &receiver, "hooks.example").await);
    assert_eq!(receiver.connections(), 1, "never repeated");
}

#[tokio::test]
async fn sends_over_a_new_tls_connection_if_the_server_has_closed_the_idle_one() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("hooks.example", 2999);
    let mut receiver = Receiver::start_tls(acceptor, |mut wire| async move {
        wire.request().await?;
        wire.answer("once").await
    })
    .await;
    let client = authority.client();
    for round in 1..10 {
        assert_eq!(body(&send(&client, &receiver, "hooks.example").await), "once", "{round}");
        receiver.until_closed(round).await;
    }
}

#[test]
fn says_that_the_file_of_authorities_holds_no_certificate() {
    for (pem, expected) in [
        ("", "it holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""),
    ] {
        let settings = ClientSettings { ca_pem: Some(pem.into()), ..settings() };
        let problem = Client::new(&settings).err().expect("a problem");
        assert_eq!(problem.code, "ca-file");
        assert!(problem.message.contains(expected), "{problem}");
    }
}
