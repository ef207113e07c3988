//! Deliveries over TLS: nothing is sent to a server that cannot prove its name.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};
use tocsin_tests::{Site, libraries::library, wait};

use crate::authority::{Authority, Issued};

impl Authority {
    /// Starts a server with a certificate for a name, valid to the end of a year.
    fn server(&self, name: &str, year: i32) -> Server {
        self.server_of(name, year, "")
    }

    /// Starts a server as [`server`](Self::server) does, which answers each request with a body.
    pub(crate) fn server_of(&self, name: &str, year: i32, body: &'static str) -> Server {
        let Issued { certificate, key, .. } = self.issue(name, (year, 12, 31));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate for the key");
        Server::start(Arc::new(config), body)
    }
}

/// A server that answers each request with 200. Its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(config: Arc<ServerConfig>, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, counted) = (Arc::clone(&config), Arc::clone(&counted));
                // A client that goes away is no concern of the server.
                thread::spawn(move || drop(answer(stream, config, &counted, body)));
            }
        });
        Self { address, requests }
    }
}

/// Answers one request, and closes the connection.
fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    requests: &AtomicUsize,
    body: &str,
) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    requests.fetch_add(1, Ordering::Relaxed);
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[test]
fn a_message_goes_only_to_a_server_with_a_valid_certificate_for_its_name() {
    let authority = Authority::new("Authority");
    let servers = [
        ("good", authority.server("127.0.0.1", 2999)),
        ("misnamed", authority.server("other.example", 2999)),
        ("expired", authority.server("127.0.0.1", 2001)),
        ("strange", Authority::new("Stranger").server("127.0.0.1", 2999)),
    ];
    let mut config = "delivery.retry = ['50ms', '50ms']\ndelivery.give_up_after = '100ms'\n\
                      delivery.ca_file = 'authority.pem'\n\
                      [integrations.in]\nplugin = 'well-behaved'\n"
        .to_owned();
    for (name, server) in &servers {
        config.push_str(&format!(
            "[destinations.{name}]\nplugin = 'notifier-well-behaved'\n\
             allow_networks = ['127.0.0.0/8']\n[destinations.{name}.options]\n\
             url = 'https://{}/hook'\nsecret = 's3cret-token'\n",
            server.address
        ));
    }
    let site = Site::new();
    site.write("authority.pem", &authority.pem);
    let site = site.plugin(&library("well-behaved")).plugin(&library("notifier-well-behaved"));
    let host = site.config(&config).serve();
    assert_eq!(host.post("in", "trouble").status, 200);
    let ended = wait::until("all deliveries end", || {
        let list = host.api("/api/v1/deliveries");
        let all = list["deliveries"].as_array().expect("a list").clone();
        let have_ended = all.iter().all(|one| one["status"] != "waiting");
        (all.len() == servers.len() && have_ended).then_some(all)
    });
    let reasons = [
        ("misnamed", "certificate not valid for name"),
        ("expired", "certificate expired"),
        ("strange", "UnknownIssuer"),
    ];
    for delivery in &ended {
        let name = delivery["destination"].as_str().expect("a name");
        match reasons.iter().find(|(known, _)| *known == name) {
            None => assert_eq!(delivery["status"], "delivered", "{delivery:#}"),
            Some((_, expected)) => {
                let reason = delivery["reason"].as_str().unwrap_or_default();
                assert_eq!(delivery["status"], "dead", "{delivery:#}");
                assert!(reason.contains(expected), "{delivery:#}");
            }
        }
    }
    let requests = servers.each_ref().map(|(_, server)| server.requests.load(Ordering::Relaxed));
    assert_eq!(requests, [1, 0, 0, 0]);
    host.stop();
}
