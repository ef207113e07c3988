//! Floods that senders cause by mistake or on purpose: enormous forms, thousands of events in one
//! request, bytes that come one by one, silent connections. Other senders are served meanwhile, and
//! each flood ends.

#![expect(clippy::print_stdout, reason = "the figures are worth a look")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::library,
    wait,
};

use crate::load::Load;

fn host(server: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    let site = site.plugin(&library("slack-outgoing-webhook"));
    site.config(&format!(
        "[server]\n{server}\n[integrations.good]\nplugin = 'well-behaved'\n\
         [integrations.slack]\nplugin = 'slack-outgoing-webhook'\noptions.token = 'abc'\n"
    ))
    .serve()
}

const FORM: &str = "token=abc&channel_id=C1&timestamp=1.000005&text=outage";
const FIELDS: usize = 1_000_000;

/// Returns a valid form followed by a million copies of a field.
fn form(field: &str) -> String {
    format!("{FORM}{}", field.repeat(FIELDS))
}

fn post_form(host: &TestHost, form: &str) -> Answer {
    let request = Request::post("/in/slack", form);
    host.ask(&request.header("content-type", "application/x-www-form-urlencoded"))
}

/// Sends forms repeatedly until another sender got a hundred answers, and returns the answers to
/// the forms.
fn flood(host: &TestHost, form: &str) -> Vec<Answer> {
    let (ends, started) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let flood = || {
            let mut answers = Vec::new();
            while !ends.load(Ordering::Relaxed) || answers.is_empty() {
                started.fetch_add(1, Ordering::Relaxed);
                answers.push(post_form(host, form));
            }
            answers
        };
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(flood)).collect();
        wait::until("the flood begins", || (started.load(Ordering::Relaxed) >= 4).then_some(()));
        for count in 0..100 {
            assert_eq!(host.post("good", &format!("message {count}")).status, 200);
        }
        ends.store(true, Ordering::Relaxed);
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
    })
}

#[test]
fn ignores_a_million_empty_fields_in_a_form() {
    let host = host("body_limit_bytes = 16777216");
    // The form nearly fills the megabyte that the Slack plugin accepts.
    let answers = flood(&host, &form("&"));
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    println!("{} forms of a million fields, while 100 others were answered", answers.len());
    let alerts = host.alerts();
    assert_eq!(alerts.len(), 101, "and the same message is one alert");
    assert!(alerts.iter().any(|alert| alert["title"] == "outage"));
    assert_eq!(host.problems(), [""; 0]);
}

#[test]
fn refuses_a_form_with_a_million_fields_as_too_large() {
    let host = host("body_limit_bytes = 16777216");
    let form = form("&field=1");
    let answers = flood(&host, &form);
    for answer in &answers {
        assert_eq!((answer.status, answer.error_code().as_str()), (413, "too_large"));
    }
    println!("{} forms of {} bytes, while 100 others were answered", answers.len(), form.len());
    assert_eq!(host.alerts().len(), 100);
    assert_eq!(host.problems(), [""; 0]);
}

#[test]
fn stores_ten_thousand_events_of_one_request_while_others_are_answered() {
    // A debug build is slow with so many events.
    let host = host("[plugins]\ncall_deadline = '1m'");
    let webhooks = host.webhooks();
    let large = thread::spawn(move || {
        let request = Request::post("/in/good", "disk full").header("x-events", "10000");
        Connection::open(webhooks).and_then(|mut open| open.ask(&request)).expect("an answer")
    });
    let mut connection = host.connect();
    let mut count = 0;
    while !large.is_finished() {
        let message = format!("message {count}");
        let answer = connection.ask(&Request::post("/in/good", &message)).expect("an answer");
        assert_eq!(answer.status, 200);
        count += 1;
    }
    let large = large.join().expect("it is sent");
    assert_eq!(large.status, 200);
    let record = host.api(&format!("/api/v1/requests/{}", large.request_id()));
    assert_eq!(record["outcome"], "events");
    let effects = record["effects"].as_array().expect("a list");
    assert_eq!(effects.len(), 10_000);
    // The requests of other senders got the numbers between these.
    let number = |effect: &serde_json::Value| effect["alert"].as_u64().expect("a number");
    let numbers = number(&effects[9999]) - number(&effects[0]) + 1;
    assert!(numbers > 10_000, "no other request was answered meanwhile");
    println!("{} were answered while 10000 events were stored", numbers - 10_000);
    let shown = host.run(&["requests", "show", large.request_id()]);
    assert!(shown.stdout.contains(", and 9900 more, see `--json`\n"), "{}", shown.stdout);
    assert_eq!(host.alerts().len(), 10_000 + count);
}

#[test]
fn refuses_a_request_over_the_event_limit_and_keeps_it_for_a_replay() {
    let site = Site::new().plugin(&library("well-behaved"));
    // A debug build is slow with so many events.
    let site =
        site.config("plugins.call_deadline = '1m'\n[integrations.good]\nplugin = 'well-behaved'");
    let host = site.serve();
    let more = host.post_with("good", &[("x-events", "100001")], "disk full");
    assert_eq!((more.status, more.error_code().as_str()), (503, "too_many_events"));
    assert_eq!(more.retry_after(), 1);
    let path = format!("/api/v1/requests/{}", more.request_id());
    let record = host.api(&path);
    assert_eq!((&record["outcome"], &record["raw"]), (&"refused".into(), &"quarantined".into()));
    let reason = "the plugin made 100001 events of one request, more than 100000";
    assert_eq!(record["reason"], format!("too_many_events: {reason}"));
    assert_eq!(record["effects"], serde_json::json!([]));
    assert_eq!(host.alerts().len(), 0, "all or nothing");

    // The host counts and logs the refusal, and readiness shows it.
    let counted = |outcome: &str| {
        let labels = r#"integration="good",plugin="well-behaved",version="1.0.0""#;
        host.metric(&format!("tocsin_requests_total{{{labels},outcome=\"{outcome}\"}}"))
    };
    assert_eq!((counted("refused"), counted("failed")), (Some(1.0), Some(0.0)));
    assert_eq!(host.metric(r#"tocsin_limit_reached_total{limit="events"}"#), Some(1.0));
    let entry = host.wait_for_event("webhook_refused");
    assert!(entry["detail"].as_str().is_some_and(|detail| detail.contains(reason)), "{entry}");
    let told = host.reasons();
    let is_told = |what: &str| told.iter().any(|reason| reason.contains(what));
    assert!(is_told("has too many events (integration `good`)"), "{told:?}");
    assert!(is_told("1 request waits for a replay"), "{told:?}");

    // A replay by the same plugin is refused again, and the request stays in the quarantine.
    let replayed = host.run(&["requests", "replay", "--failed"]);
    assert_eq!(replayed.code, Some(1), "{replayed:?}");
    assert!(
        replayed.stdout.contains(&format!("refused: too_many_events: {reason}")),
        "{replayed:?}"
    );
    let record = host.api(&path);
    assert_eq!(
        (&record["raw"], &record["replay"]["outcome"]),
        (&"quarantined".into(), &"refused".into())
    );
    assert_eq!(host.post("good", "another").status, 200);
    assert_eq!(host.alerts().len(), 1);
}

/// A sender that sends one byte at a time, and the answer to it.
struct Slow {
    stream: TcpStream,
    rest: std::vec::IntoIter<u8>,
    told: Vec<u8>,
    is_over: bool,
}

impl Slow {
    /// Connects and sends `first` at once.
    fn start(webhooks: SocketAddr, first: &str, rest: &str) -> Self {
        let mut stream = TcpStream::connect(webhooks).expect("the host listens");
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(first.as_bytes()).expect("a few bytes fit");
        stream.set_nonblocking(true).expect("a socket");
        let rest = rest.as_bytes().to_vec().into_iter();
        Self { stream, rest, told: Vec::new(), is_over: false }
    }

    /// Sends one more byte unless an answer has come.
    fn go_on(&mut self) {
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.is_over = true,
            Ok(length) => self.told.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The answer came before the reset.
            Err(_) => self.is_over = true,
        }
        if !self.is_over && self.told.is_empty() {
            let byte = self.rest.next().expect("it is cut off before it comes to its end");
            // The next read reports a closed connection.
            let _ = self.stream.write(&[byte]);
        }
    }
}

#[test]
fn cuts_off_slow_senders_without_delaying_others() {
    const EACH: usize = 200;
    let host = host(
        "header_timeout = '5s'\nbody_timeout = '5s'\nmax_connections = 1000\nmax_connections_per_address = 1000",
    );
    let endless = "x".repeat(100_000);
    let heads = (0..EACH).map(|_| {
        Slow::start(host.webhooks(), "POST /in/good HTTP/1.1\r\nhost: x\r\nx-slow: ", &endless)
    });
    let bodies = (0..EACH).map(|_| {
        let head = "POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
        Slow::start(host.webhooks(), head, &endless)
    });
    let mut slow: Vec<_> = heads.chain(bodies).collect();
    let load = Load::start(host.webhooks(), "quick", 8);
    wait::until("all slow senders are cut off", || {
        slow.iter_mut().filter(|one| !one.is_over).for_each(Slow::go_on);
        slow.iter().all(|one| one.is_over).then_some(())
    });
    let sent = load.sent();
    assert_eq!(sent.refused, [], "normal senders are answered all the time");
    assert!(!sent.accepted.is_empty());
    println!("{} were answered beside {} slow senders", sent.accepted.len(), slow.len());
    for one in &slow {
        let told = String::from_utf8_lossy(&one.told);
        assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
        assert!(told.contains(r#""code":"request_timeout""#), "{told}");
    }
    wait::until("no connection is left", || {
        (host.metric("tocsin_connections")? == 0.0).then_some(())
    });
    assert_eq!(host.alerts().len(), sent.accepted.len());
    assert_eq!(host.ready().0, 200);
}

/// Files other than connections that this process and each child has open.
const OTHER_FILES: u64 = 1000;

/// Raises the limit on open files, and returns the number of connections that fit, at most
/// `wanted`.
fn room_for_connections(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(wanted + OTHER_FILES);
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit { current: Some(most), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("up to its maximum, anybody can");
    }
    let room = most.saturating_sub(OTHER_FILES).min(wanted);
    if room < wanted {
        println!("only {room} connections instead of {wanted}: RLIMIT_NOFILE is {most}");
    }
    room
}

#[test]
fn ten_thousand_idle_connections_take_little_memory_and_time_out() {
    // Memory of the host in kB for each connection.
    const MOST_EACH: usize = 64;
    let count = room_for_connections(10_000);
    // The host inherits the raised limit.
    let host = host(
        "header_timeout = '20s'\nmax_connections = 20000\nmax_connections_per_address = 20000",
    );
    assert_eq!(host.post("good", "before").status, 200);
    let connections = || host.metric("tocsin_connections").expect("it is counted");
    wait::until("no connection is left", || (connections() == 0.0).then_some(()));
    let memory = || host.kernel_says("RssAnon");
    let before = memory();

    let mut idle: Vec<Connection> = Vec::new();
    for _ in 0..count {
        idle.push(host.connect());
        // The kernel queues only some connections before the host accepts them. A later connection
        // that is answered shows that the host accepted all earlier ones.
        if idle.len().is_multiple_of(100) {
            assert_eq!(host.post("good", &format!("beside {}", idle.len())).status, 200);
        }
    }
    let (open, after) = (connections(), memory());
    let taken = after.saturating_sub(before);
    println!("{open} connections took {taken} kB: RssAnon was {before} kB, and is {after} kB");
    assert!(taken < MOST_EACH * idle.len(), "{taken} kB for {} connections", idle.len());
    assert_eq!(host.ready().0, 200);

    wait::until("all connections are gone", || (connections() == 0.0).then_some(()));
    let alerts = 2 + idle.len() / 100;
    let ends = idle.into_iter().map(|mut one| one.rest());
    let told: Vec<_> = ends.filter(|end| !matches!(end, Ok(told) if told.is_empty())).collect();
    assert!(told.is_empty(), "they are closed without a word: {told:?}");
    println!("they are gone: RssAnon is {} kB", memory());
    // A second round reuses the memory of the first round.
    assert!(memory() < before + MOST_EACH * count as usize);
    assert_eq!(host.post("good", "afterwards").status, 200);
    assert_eq!(host.alerts().len(), alerts);
}
