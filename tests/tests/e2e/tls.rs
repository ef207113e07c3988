//! TLS on both listeners: webhooks, the API, the command line, renewed certificates, and clients that
//! misbehave in the handshake.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp, civil::Date};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName,
};
use tocsin_tests::{
    Site, TestHost,
    http::{Connection, Request},
    libraries::library,
    loopback, wait,
};

use crate::authority::{Authority, Issued};

const LATE: (i32, u8, u8) = (2999, 12, 31);

/// Client that trusts one authority.
struct Client(ClientConfig);

impl Client {
    fn trusting(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(config)
    }

    /// Offers these protocols above TLS.
    fn offering(mut self, alpn: &[&str]) -> Self {
        self.0.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Makes the handshake with a server that is expected to have a name.
    fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut connection =
            ClientConnection::new(Arc::new(self.0.clone()), name).expect("settings of a client");
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(wait::TIMEOUT))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }

    /// Sends a request over a new connection, and returns the whole answer.
    fn ask(&self, address: SocketAddr, request: &Request<'_>) -> io::Result<String> {
        let mut stream = self.connect(address, "127.0.0.1")?;
        stream.write_all(&request.clone().header("connection", "close").bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn post(&self, host: &TestHost, body: &str) -> String {
        self.ask(host.webhooks(), &Request::post("/in/good", body)).expect("an answer")
    }
}

fn write_pair(site: &Site, name: &str, issued: &Issued) {
    site.write(&format!("{name}.crt"), &issued.certificate_pem);
    let key = format!("{name}.key");
    site.write(&format!("{key}.new"), "");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(site.path(&format!("{key}.new")), private).expect("it is ours");
    site.write(&format!("{key}.new"), &issued.key_pem);
    std::fs::rename(site.path(&format!("{key}.new")), site.path(&key)).expect("a rename");
}

/// A host that receives webhooks over TLS, with the certificate in `server.crt`.
fn host(authority: &Authority, config: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    write_pair(&site, "server", &authority.issue("127.0.0.1", LATE));
    let text = format!(
        "watch.settle = '10ms'\nwatch.look_every = '100ms'\n\
         [server]\ntls = {{ certificate = 'server.crt', key = 'server.key' }}\n{config}\
         [integrations.good]\nplugin = 'well-behaved'\n"
    );
    site.config(&text).serve()
}

#[test]
fn webhooks_arrive_over_tls_and_clients_that_misbehave_disturb_no_other() {
    let authority = Authority::new("Authority");
    let host = host(&authority, "header_timeout = '1s'\n");
    let client = Client::trusting(&authority);
    let good = || assert!(client.post(&host, "trouble").starts_with("HTTP/1.1 200 "));
    // Handshakes that begin and do not go on. None of them delays another client.
    let mut half_open: Vec<_> =
        [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
            .iter()
            .map(|start| {
                let mut connection = host.connect();
                connection.send(start).expect("it is open");
                connection
            })
            .collect();
    good();
    let mut plain = host.connect();
    let answer = plain.ask(&Request::post("/in/good", "trouble")).expect("an answer");
    assert_eq!((answer.status, answer.error_code()), (400, "tls_required".into()));
    assert!(answer.body.contains("use https://"), "{answer:?}");
    let mut nonsense = host.connect();
    nonsense.send(b"\x16\xff\xff\xff\xff\xff\xff\xff\xff").expect("it is open");
    nonsense.rest().expect("the host closes it in order");
    // A client that wants another server ends the handshake itself.
    client.connect(host.webhooks(), "other.example").expect_err("the certificate is for 127.0.0.1");
    // HTTP/2 is not served, so that a client that offers nothing else is refused in the handshake.
    let only_h2 = Client::trusting(&authority).offering(&["h2"]);
    only_h2.connect(host.webhooks(), "127.0.0.1").expect_err("no protocol in common");
    let both = Client::trusting(&authority).offering(&["h2", "http/1.1"]);
    let stream = both.connect(host.webhooks(), "127.0.0.1").expect("a protocol in common");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.sock.shutdown(Shutdown::Both).expect("it is open");
    for connection in &mut half_open {
        assert_eq!(connection.rest().expect("the host closes it"), b"");
    }
    good();
    // Each request is for the same connection, as most senders keep it.
    let mut kept = client.connect(host.webhooks(), "127.0.0.1").expect("a handshake");
    for _ in 0..2 {
        kept.write_all(&Request::post("/in/good", "trouble").bytes()).expect("it is open");
        let mut status = [0; 12];
        kept.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}") {
            let mut byte = [0];
            kept.read_exact(&mut byte).expect("the rest of the answer");
            rest.push(byte[0]);
        }
    }
    let failed = "tocsin_tls_handshakes_failed_total{listener=\"server\"}";
    // Three half-open ones, plain HTTP, nonsense, another name, and only HTTP/2.
    wait::until("all failed handshakes are counted", || {
        (host.metric(failed) == Some(7.0)).then_some(())
    });
    let endpoint = host.integration("good")["endpoint"].clone();
    assert_eq!(endpoint, format!("https://{}/in/good", host.webhooks()));
    drop(kept);
    host.stop();
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let authority = Authority::new("Authority");
    let host = host(&authority, "");
    let client = Client::trusting(&authority);
    let presented = || {
        let stream = client.connect(host.webhooks(), "127.0.0.1").expect("a handshake");
        let chain = stream.conn.peer_certificates().expect("a certificate");
        chain[0].clone().into_owned()
    };
    let expires =
        || host.metric("tocsin_tls_certificate_expiry_timestamp_seconds{listener=\"server\"}");
    let first = expires().expect("a time");
    let logged = host.logged("certificate");
    assert_eq!(logged[0]["listener"], "server", "{logged:?}");
    assert_eq!(logged[0]["file"], "server.crt", "{logged:?}");
    // A connection that is open keeps its certificate and is served on.
    let mut open = client.connect(host.webhooks(), "127.0.0.1").expect("a handshake");

    let renewed = authority.issue("127.0.0.1", (2998, 12, 31));
    write_pair(host.site(), "server", &renewed);
    wait::until("the new certificate is presented", || {
        (presented() == renewed.certificate).then_some(())
    });
    wait::until("nothing is wrong", || host.problems().is_empty().then_some(()));
    let day = 24.0 * 3600.0;
    assert_eq!(expires(), Some(first - 365.0 * day));
    open.write_all(&Request::post("/in/good", "trouble").bytes()).expect("it is open");
    let mut status = [0; 12];
    open.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");

    let others = authority.issue("127.0.0.1", LATE);
    host.site().write("server.crt", &others.certificate_pem);
    let reason = |words: &str| {
        wait::until(words, || host.reasons().into_iter().find(|reason| reason.contains(words)))
    };
    let said = reason("`server.key` holds the key of another certificate");
    assert!(said.starts_with("the last reload failed, and nothing was changed: "), "{said}");
    assert!(said.contains("`server.tls.key`"), "{said}");
    assert_eq!(presented(), renewed.certificate);
    write_pair(host.site(), "server", &authority.issue("127.0.0.1", (2001, 1, 1)));
    reason("the certificate in `server.crt` expired at 2001-01-01T00:00:00Z");
    assert_eq!(presented(), renewed.certificate);
    wait::until("both are logged", || {
        (host.times_logged("automatic_reload_refused") >= 2).then_some(())
    });

    write_pair(host.site(), "server", &others);
    wait::until("the repaired pair is presented", || {
        (presented() == others.certificate).then_some(())
    });
    drop(open);
    host.stop();
}

#[test]
fn the_command_line_reaches_the_api_over_tls_through_the_configuration_alone() {
    // An authority that the system does not know, and a name that is not the address of the API: the command
    // line trusts the certificate that the configuration names.
    let authority = Authority::new("Authority");
    let site = Site::new().plugin(&library("well-behaved"));
    write_pair(&site, "admin", &authority.issue("alerts.example.com", LATE));
    let address = loopback::free_port();
    let config = |certificate: &str| {
        format!(
            "[admin]\nlisten = '{address}'\n\
             tls = {{ certificate = '{certificate}.crt', key = '{certificate}.key' }}\n\
             [integrations.good]\nplugin = 'well-behaved'\n"
        )
    };
    let host = site.config(&config("admin")).serve();
    assert_eq!(host.post("good", "trouble").status, 200);
    let list = host.site().run(&["alerts", "list", "--json"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(list.stdout.contains("trouble"), "{list:?}");
    let resolved = host.site().run(&["alerts", "resolve", "1"]);
    assert_eq!(resolved.code, Some(0), "{resolved:?}");
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(
        check.stdout.contains("`admin.tls`: the certificate in `admin.crt` expires at 2999-12-31"),
        "{check:?}"
    );

    let mut plain = Connection::open(host.admin()).expect("it listens");
    let answer = plain.ask(&Request::new("GET", "/health/live")).expect("an answer");
    assert_eq!((answer.status, answer.error_code()), (400, "tls_required".into()));
    let url = format!("https://{}", host.admin());
    let by_url = host.site().run(&["alerts", "list", "--url", &url]);
    assert_eq!(by_url.code, Some(1), "{by_url:?}");
    assert!(by_url.stderr.contains("invalid peer certificate"), "{by_url:?}");
    assert!(by_url.stderr.contains("hint: name the authority"), "{by_url:?}");

    // Another host at that address is not trusted.
    let other = Site::new();
    write_pair(&other, "other", &authority.issue("alerts.example.com", LATE));
    let other = other.config(&config("other"));
    let list = other.run(&["alerts", "list"]);
    assert_eq!(list.code, Some(1), "{list:?}");
    assert!(
        list.stderr.contains("the host presents another certificate than `admin.tls`"),
        "{list:?}"
    );
    host.stop();
}

#[test]
fn check_says_when_a_certificate_expires_and_fails_once_it_has() {
    let authority = Authority::new("Authority");
    let site = Site::new();
    let soon = (Timestamp::now() + SignedDuration::from_hours(10 * 24)).to_string();
    let soon: Date = soon[..10].parse().expect("a day");
    let number = |part: i8| u8::try_from(part).expect("it is positive");
    let soon = (soon.year().into(), number(soon.month()), number(soon.day()));
    write_pair(&site, "soon", &authority.issue("a.example", soon));
    write_pair(&site, "old", &authority.issue("a.example", (2001, 1, 1)));
    let check = |name: &str| {
        site.configure(&format!(
            "server.tls = {{ certificate = '{name}.crt', key = '{name}.key' }}\n"
        ));
        site.run(&["check"])
    };
    let checked = check("soon");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains("warning: tocsin.toml:"), "{checked:?}");
    assert!(checked.stderr.contains("the certificate in `soon.crt` expires at "), "{checked:?}");
    let checked = check("old");
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stdout.contains("which is past"), "{checked:?}");
    let expired = "the certificate in `old.crt` expired at 2001-01-01T00:00:00Z\n";
    assert!(checked.stderr.contains(expired), "{checked:?}");
    assert!(checked.stderr.contains("hint: renew it"), "{checked:?}");

    // Others may not read the key.
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(site.path("soon.key"), readable).expect("it is ours");
    let checked = check("soon");
    assert!(
        checked.stderr.contains("the secret in `soon.key` can be read by everybody"),
        "{checked:?}"
    );
    // A host with an expired certificate serves and says so: most senders are better than none.
    let host = {
        check("old");
        site.serve()
    };
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (200, &"degraded".into()));
    assert!(
        ready["reasons"][0].as_str().is_some_and(|it| it.contains("expired at 2001")),
        "{ready}"
    );
    host.stop();
}
