//! Every attack at once, each from its own address, beside genuine senders. The host answers the
//! genuine senders, loses none of their messages, and answers health checks all the time.
//! Afterwards it uses no more memory, threads and files than before.
//!
//! In the suite the attack lasts some seconds. `make attack` runs it for a minute with release
//! builds, and checks latency and memory.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::{library, with_name},
    wait,
};

use crate::load::{Load, assert_kept};

const TOKEN: &str = "the right token of the sender";
/// Highest 99th percentile of genuine answers in the drill.
const LONGEST_P99: Duration = Duration::from_secs(1);
/// Most resident memory in the drill, in kB.
const MOST_MEMORY_KB: usize = 300_000;

/// Memory in kB that the host may keep after the attack.
const MOST_KEPT_KB: usize = 100_000;

/// The state that attackers share.
struct Attack<'h> {
    host: &'h TestHost,
    ends: AtomicBool,
    requests: AtomicUsize,
}

impl Attack<'_> {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    fn connect(&self, from: u8, to: SocketAddr) -> Option<Connection> {
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 1, from), 0));
        let connection = Connection::open_from(from, to).ok()?;
        // Attackers do not wait for slow answers.
        connection.set_read_timeout(Duration::from_millis(500)).ok()?;
        connection.set_write_timeout(Duration::from_millis(500)).ok()?;
        Some(connection)
    }

    /// Sends the same bytes over and over, reading each answer.
    fn repeat(&self, from: u8, to: SocketAddr, bytes: &[u8]) {
        while self.goes_on() {
            let Some(mut connection) = self.connect(from, to) else { continue };
            while self.goes_on() && connection.send(bytes).is_ok() && connection.answer().is_ok() {
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Holds many connections with an unfinished request and reads nothing.
    fn hold(&self, from: u8, to: SocketAddr, count: usize, bytes: &[u8]) {
        while self.goes_on() {
            let open = (0..count).filter_map(|_| {
                let mut connection = self.connect(from, to)?;
                connection.set_write_timeout(Duration::from_millis(5)).ok()?;
                // The host may read only a part of the bytes.
                let _ = connection.send(bytes);
                self.requests.fetch_add(1, Ordering::Relaxed);
                self.goes_on().then_some(connection)
            });
            let held: Vec<_> = open.collect();
            let end = Instant::now() + Duration::from_secs(3);
            while self.goes_on() && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
            drop(held);
        }
    }
}

/// Timeouts of the host for its clients.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// A genuine client with one connection.
struct Genuine {
    address: SocketAddr,
    connection: Connection,
    /// Time from which the host may wait for the next request.
    since: Instant,
}

impl Genuine {
    fn connect(address: SocketAddr) -> Self {
        let since = Instant::now();
        let connection = Connection::open(address).expect("the host listens");
        Self { address, connection, since }
    }

    /// Sends a request that the host has to answer with 200. If this thread was not scheduled for so long
    /// that the host may close the connection, the request is sent over a new one.
    #[track_caller]
    fn ask(&mut self, request: &Request<'_>) -> Answer {
        loop {
            let since = Instant::now();
            let sent = self.connection.send(&request.bytes());
            let is_late = self.since.elapsed() >= CLIENT_TIMEOUT;
            self.since = since;
            match sent.and_then(|()| self.connection.answer()) {
                Ok(answer) if answer.status == 200 => return answer,
                _ if is_late => *self = Self::connect(self.address),
                otherwise => panic!("genuine clients are answered: {otherwise:?}"),
            }
        }
    }
}

/// Sends genuine messages, and returns those that were answered 200 and the time that each answer
/// took.
fn send(host: &TestHost, name: usize, attack: &Attack<'_>) -> (Vec<String>, Vec<Duration>) {
    let (mut accepted, mut took) = (Vec::new(), Vec::new());
    let mut client = Genuine::connect(host.webhooks());
    for count in 0.. {
        if !attack.goes_on() {
            break;
        }
        let message = format!("sender {name}, message {count}");
        let request = Request::post("/in/good", &message).header("x-token", TOKEN);
        let started = Instant::now();
        client.ask(&request);
        took.push(started.elapsed());
        accepted.push(message);
    }
    (accepted, took)
}

/// Checks the host's health repeatedly, and returns its highest resident memory in kB.
fn watch(host: &TestHost, attack: &Attack<'_>) -> usize {
    let mut most = 0;
    while attack.goes_on() {
        for path in ["/health/live", "/health/ready"] {
            Genuine::connect(host.admin()).ask(&Request::new("GET", path));
        }
        most = most.max(host.kernel_says("VmRSS"));
        thread::sleep(Duration::from_millis(50));
    }
    most
}

#[test]
fn serves_genuine_senders_during_every_attack_at_once() {
    let is_drill = env::var_os("TOCSIN_DRILL").is_some();
    let lasts = Duration::from_secs(if is_drill { 60 } else { 5 });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let buggy = with_name(&library("bad-panics-in-receive"), "buggy", folder.path());
    let site = Site::new().plugin(&library("well-behaved"));
    let site = site.plugin(&library("slack-outgoing-webhook")).plugin(&buggy);
    let host = site
        .config(&format!(
            "[server]\nwrite_timeout = '{CLIENT_TIMEOUT:?}'\nheader_timeout = '{CLIENT_TIMEOUT:?}'\n\
             body_timeout = '{CLIENT_TIMEOUT:?}'\n\
             [requests]\nquarantine_bytes = 8000000\n[retention]\nmax_store_bytes = 1000000000\n\
             [integrations.good]\nplugin = 'well-behaved'\noptions.token = '{TOKEN}'\n\
             [integrations.slack]\nplugin = 'slack-outgoing-webhook'\noptions.token = '{TOKEN}'\n\
             [integrations.buggy]\nplugin = 'buggy'\n"
        ))
        .serve();
    let token = ("x-token", TOKEN);
    assert_eq!(host.post_with("good", &[token], "before").status, 200);
    let waits: Vec<_> =
        (0..5).map(|_| host.post("buggy", "panic").request_id().to_owned()).collect();
    let level = (host.kernel_says("RssAnon"), host.open_files(), host.kernel_says("Threads"));

    let (webhooks, admin) = (host.webhooks(), host.admin());
    let attack =
        Attack { host: &host, ends: AtomicBool::new(false), requests: AtomicUsize::new(0) };
    let post = |target: &str, headers: &[(&str, &str)], body: &str| {
        let request = headers.iter().fold(Request::post(target, body), |request, (name, value)| {
            request.header(name, *value)
        });
        request.bytes()
    };
    let json = ("content-type", "application/json");
    let megabyte = "x".repeat(900_000);
    let wrong = post("/in/good", &[("x-token", "guess")], "disk full");
    let unknown = post(&format!("/in/{}", "x".repeat(8000)), &[], "disk full");
    let large = post("/in/good", &[], &megabyte);
    let garbage = post("/in/slack", &[json], &format!("{{{megabyte}"));
    let failing = post("/in/buggy", &[], &format!("panic{megabyte}"));
    let pipelined = Request::new("GET", "/openapi.json").bytes().repeat(500);
    let unread = Request::new("GET", "/nowhere").bytes().repeat(3000);
    let slow_head = b"POST /in/good HTTP/1.1\r\nhost: x\r\nx-slow: ".to_vec();
    let almost = large[..large.len() - 1].to_vec();
    let note = b"POST /api/v1/alerts/1/notes HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                 content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
        .to_vec();
    let search = Request::new("GET", "/api/v1/alerts?status=resolved&urgency=critical").bytes();
    let page =
        Request::new("GET", "/api/v1/alerts").header("origin", "http://evil.example").bytes();

    let (mut accepted, mut took, mut most_memory) = (vec!["before".to_owned()], Vec::new(), 0);
    thread::scope(|scope| {
        let attack = &attack;
        let repeated = [
            (1, webhooks, &wrong),
            (2, webhooks, &unknown),
            (3, webhooks, &large),
            (4, webhooks, &garbage),
            (5, webhooks, &failing),
            (6, admin, &search),
            (7, admin, &page),
        ];
        for (from, to, bytes) in repeated {
            (0..2).for_each(|_| _ = scope.spawn(move || attack.repeat(from, to, bytes)));
        }
        let held = [
            (11, webhooks, 300, &slow_head),
            (12, webhooks, 100, &almost),
            (13, webhooks, 100, &almost),
            (14, webhooks, 100, &unread),
            (15, admin, 300, &pipelined),
            (16, admin, 50, &note),
        ];
        for (from, to, count, bytes) in held {
            scope.spawn(move || attack.hold(from, to, count, bytes));
        }
        let senders: Vec<_> =
            (0..4).map(|name| scope.spawn(move || send(attack.host, name, attack))).collect();
        let watcher = scope.spawn(move || watch(attack.host, attack));
        let end = Instant::now() + lasts;
        while Instant::now() < end && !watcher.is_finished() {
            thread::sleep(Duration::from_millis(50));
        }
        attack.ends.store(true, Ordering::Relaxed);
        for sender in senders {
            let (sent, answered) = sender.join().expect("a genuine sender");
            accepted.extend(sent);
            took.extend(answered);
        }
        most_memory = watcher.join().expect("health is answered all the time");
    });

    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    println!(
        "{} genuine messages beside {} requests of attackers: p50 {:?}, p99 {p99:?}, longest {:?}; \
         resident memory at most {most_memory} kB",
        took.len(),
        attack.requests.load(Ordering::Relaxed),
        took[took.len() / 2],
        took[took.len() - 1],
    );
    for limit in
        ["connections_per_address", "unread_answers", "wrong_tokens", "malformed", "quarantine"]
    {
        let name = format!("tocsin_limit_reached_total{{limit=\"{limit}\"}}");
        let times = host.metric(&name).expect("it is counted");
        println!("{limit} was reached {times} times");
        // In the short run of the test suite, some attacks do not reach their limit.
        assert!(times >= 1.0 || !is_drill, "{limit} was never reached");
    }
    if is_drill {
        assert!(p99 < LONGEST_P99, "{p99:?}");
        assert!(most_memory < MOST_MEMORY_KB, "{most_memory} kB");
    }
    wait::until("all connections are gone", || {
        (host.metric("tocsin_connections")? == 0.0).then_some(())
    });
    for id in waits {
        let record = host.api(&format!("/api/v1/requests/{id}"));
        assert_eq!(record["raw"], "quarantined", "genuine requests still wait for a replay");
    }
    let of_good: Vec<_> =
        host.alerts().into_iter().filter(|alert| alert["integration"] == "good").collect();
    assert_kept(&of_good, &accepted);
    wait::until("open files and threads are back to normal", || {
        let (files, threads) = (host.open_files(), host.kernel_says("Threads"));
        (files <= level.1 + 2 && threads <= level.2 + 10).then_some(())
    });
    let right_after = host.kernel_says("RssAnon");
    // The allocator returns the freed memory of a thread only while that thread runs.
    let usual = Load::start_with(host.webhooks(), "afterwards", 4, &[("x-token", TOKEN)]);
    let level_kb = wait::until("memory is back to normal", || {
        let now = host.kernel_says("RssAnon");
        (now <= level.0 + MOST_KEPT_KB).then_some(now)
    });
    let afterwards = usual.accepted().len();
    println!("RssAnon was {} kB before, {right_after} kB right after, is {level_kb} kB", level.0);
    if is_drill {
        wait::until("readiness reports no limit", || {
            host.problems().iter().all(|it| !it.contains("within the last minute")).then_some(())
        });
    }
    let kept = of_good.len() + afterwards;
    assert_eq!(host.restart().alerts().len(), kept, "it is all on disk");
}
