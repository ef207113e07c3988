//! Clients that use as many connections, as much memory and as much time of the API as they can.
//! Meanwhile the host serves other clients and answers health checks. Afterwards it uses no more
//! resources than before.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use tocsin_tests::{
    Site, TestHost,
    http::{Connection, Request},
    libraries::library,
    wait,
};

use crate::load::Load;

fn host(sections: &str) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    site.config(&format!("{sections}\n[integrations.good]\nplugin = 'well-behaved'\n")).serve()
}

fn limit_reached(host: &TestHost, limit: &str) -> f64 {
    let name = format!("tocsin_limit_reached_total{{limit=\"{limit}\"}}");
    host.metric(&name).expect("it is counted from the start")
}

/// Sends pipelined requests without reading answers until the host reads no more.
fn unread(address: SocketAddr, target: &str) -> Connection {
    let mut connection = Connection::open(address).expect("it listens");
    let requests = Request::new("GET", target).bytes().repeat(200);
    connection.set_write_timeout(Duration::from_millis(200)).expect("a socket");
    for _ in 0..200 {
        if connection.send(&requests).is_err() {
            break;
        }
    }
    connection
}

#[test]
fn clients_that_read_no_answers_lose_their_connection() {
    let host = host("[server]\nwrite_timeout = '1s'\n[admin]\nmax_connections = 8");
    let unread_at_webhooks = unread(host.webhooks(), "/nowhere");
    let unread_at_admin: Vec<_> = (0..8).map(|_| unread(host.admin(), "/openapi.json")).collect();
    // Above the connection limit of the admin listener, only health checks are answered.
    assert_eq!(host.ask_admin(&Request::new("GET", "/health/live")).status, 200);
    wait::until("all clients are cut off", || {
        let open = host.metric("tocsin_connections")?;
        (open == 0.0 && limit_reached(&host, "unread_answers") >= 5.0).then_some(())
    });
    let reasons = host.reasons();
    assert!(reasons.iter().any(|it| it.contains("did not read its answers")), "{reasons:?}");
    drop((unread_at_webhooks, unread_at_admin));
}

#[test]
fn answers_health_checks_at_the_connection_limit_of_the_admin_listener() {
    let host = host("[admin]\nmax_connections = 8");
    let taken: Vec<_> =
        (0..4).map(|_| Connection::open(host.admin()).expect("it listens")).collect();
    let ask = |path| host.ask_admin(&Request::new("GET", path));
    wait::until("all connections are taken", || (ask("/openapi.json").status == 503).then_some(()));
    // More connections than the reserve holds.
    let idle: Vec<_> =
        (0..200).map(|_| Connection::open(host.admin()).expect("it listens")).collect();
    for path in ["/health/live", "/health/ready"] {
        let answer = ask(path);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{path}");
    }
    let busy = ask("/api/v1/alerts");
    assert_eq!((busy.status, busy.error_code().as_str(), busy.retry_after()), (503, "busy", 1));
    let ready = host.reasons();
    assert!(ready.iter().any(|it| it.contains("only health checks are answered")), "{ready:?}");
    drop((taken, idle));
    wait::until("the API answers again", || (ask("/api/v1/alerts").status == 200).then_some(()));
}

#[test]
fn limits_the_connections_of_one_address() {
    let host = host("[server]\nmax_connections = 100\nmax_connections_per_address = 5");
    let mut own: Vec<_> = (0..5).map(|_| host.connect()).collect();
    let request = Request::post("/in/good", "disk full");
    for connection in &mut own {
        assert_eq!(connection.ask(&request).expect("an answer").status, 200);
    }
    let refused = host.connect().answer().expect("it is told at once");
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "too_many_connections"));
    assert_eq!(refused.retry_after(), 1);
    let other = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
    let mut other = Connection::open_from(other, host.webhooks()).expect("it listens");
    assert_eq!(other.ask(&request).expect("an answer").status, 200, "others have theirs");
    assert!(limit_reached(&host, "connections_per_address") >= 1.0);
    let reasons = host.reasons();
    assert!(reasons.iter().any(|it| it.contains("(127.0.0.1 has 5)")), "{reasons:?}");
    drop(own.pop());
    wait::until("a connection is free again", || {
        let answer = host.connect().ask(&request);
        (answer.ok()?.status == 200).then_some(())
    });
    // The limit does not apply to a trusted proxy.
    host.site().configure(
        "[server]\nmax_connections = 100\nmax_connections_per_address = 5\n\
         trusted_proxies = ['127.0.0.1']\n[integrations.good]\nplugin = 'well-behaved'\n",
    );
    assert_eq!(host.reload().status, 200);
    let more: Vec<_> = (0..20).map(|_| host.connect()).collect();
    for mut connection in more {
        assert_eq!(connection.ask(&request).expect("an answer").status, 200);
    }
}

#[test]
fn limits_the_memory_of_large_bodies_only() {
    const LARGE: usize = 900_000;
    let host = host("[server]\nbody_memory_bytes = 8000000\nbody_timeout = '20s'");
    assert_eq!(host.post("good", "before").status, 200);
    let before = host.kernel_says("RssAnon");
    let load = Load::start(host.webhooks(), "beside", 2);
    // Every body but its last byte, from addresses that share the memory budget.
    let head = format!("POST /in/good HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\n\r\n");
    let body = [head.as_bytes(), &b"x".repeat(LARGE - 1)].concat();
    let mut senders: Vec<_> = (0..200)
        .map(|count| {
            let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2 + count % 4), 0));
            let connection = Connection::open_from(from, host.webhooks()).expect("it listens");
            connection.set_write_timeout(Duration::from_millis(20)).expect("a socket");
            connection
        })
        .collect();
    for connection in &mut senders {
        // The host stops reading while the budget is spent.
        let _ = connection.send(&body);
    }
    wait::until("some bodies are refused", || {
        (limit_reached(&host, "body_memory") >= 1.0).then_some(())
    });
    let taken = host.kernel_says("RssAnon").saturating_sub(before);
    assert!(taken < 80_000, "{taken} kB");
    let answered = load.answered();
    wait::until("small requests are answered", || (load.answered() >= answered + 20).then_some(()));
    assert_eq!(load.sent().refused, []);
    let turned_away = senders.iter_mut().filter_map(|connection| {
        connection.set_read_timeout(Duration::from_millis(1)).expect("a socket");
        connection.answer().ok()
    });
    for answer in turned_away {
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (503, "body_memory"),
            "{answer:?}"
        );
        assert_eq!(answer.retry_after(), 1);
    }
    drop(senders);
    let large = "x".repeat(LARGE);
    wait::until("memory is free again", || (host.post("good", &large).status == 200).then_some(()));
}

#[test]
fn answers_a_sender_that_shuts_down_its_side_after_the_request() {
    let host = host("");
    let mut connection = host.connect();
    connection.send(&Request::post("/in/good", "disk full").bytes()).expect("the host reads");
    connection.finish_sending().expect("half of it is closed");
    assert_eq!(connection.answer().expect("an answer").status, 200);
    assert_eq!(connection.rest().expect("the end"), b"");
    let mut admin = Connection::open(host.admin()).expect("it listens");
    admin.send(&Request::new("GET", "/health/live").bytes()).expect("the host reads");
    admin.finish_sending().expect("half of it is closed");
    assert_eq!(admin.answer().expect("an answer").status, 200);
}

#[test]
fn times_out_an_unfinished_note() {
    let host = host("[server]\nbody_timeout = '300ms'");
    assert_eq!(host.post("good", "disk full").status, 200);
    let mut admin = Connection::open(host.admin()).expect("it listens");
    let head = "POST /api/v1/alerts/1/notes HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    admin.send(head.as_bytes()).expect("the host reads");
    let answer = admin.answer().expect("an answer");
    assert_eq!((answer.status, answer.error_code().as_str()), (408, "request_timeout"));
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(1_000_000));
    let note = Request::post("/api/v1/alerts/1/notes", &large);
    assert_eq!(host.ask_admin(&note.header("content-type", "application/json")).status, 413);
}

#[test]
fn expensive_searches_do_not_delay_requests_for_one_alert() {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    let site = site.config("[integrations.good]\nplugin = 'well-behaved'").serve().stop();
    let database = rusqlite::Connection::open(site.path("tocsin.db")).expect("a database");
    database
        .execute_batch(
            "INSERT INTO integrations VALUES (7, 'good', NULL); INSERT INTO plugins VALUES (7, 'p', '1.0.0');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
             INSERT INTO alerts (number, integration, plugin, status, urgency, occurrences, created_at,
                updated_at, request, title, transaction_id, hops)
             SELECT i, 7, 7, 0, 1, 1, 1700000000000, 1700000000000, zeroblob(16),
                'title of some length ' || i, 0, 0 FROM n",
        )
        .expect("many alerts");
    drop(database);
    let host = site.serve();
    let started = Instant::now();
    let searches: Vec<_> = thread::scope(|scope| {
        let search = |number: usize| {
            let host = &host;
            move || {
                let filter =
                    ["status=resolved", "urgency=critical", "integration=nobody"][number % 3];
                let path = format!("/api/v1/alerts?{filter}");
                host.ask_admin(&Request::new("GET", &path)).status
            }
        };
        let searches: Vec<_> = (0..60).map(|number| scope.spawn(search(number))).collect();
        for _ in 0..20 {
            assert_eq!(host.api("/api/v1/alerts/1")["number"], 1);
        }
        searches.into_iter().map(|search| search.join().expect("no panic")).collect()
    });
    assert!(searches.iter().all(|status| matches!(status, 200 | 503)), "{searches:?}");
    let answered = searches.iter().filter(|status| **status == 200).count();
    println!("{answered} of 60 searches were answered within {:?}", started.elapsed());
    assert!(answered >= 1);
}
