//! Several hosts on one PostgreSQL database: what one of them answered 200 is kept by all, each message is told once,
//! and whatever a host does for all is done by another one when it dies or hangs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tocsin_test_postgres::{Cluster, Settings};
use tocsin_tests::{
    Site, TestHost,
    http::{Connection, Request},
    libraries::library,
    receiver::{Arrived, Receiver, Reply},
    store::Database,
    wait,
};

/// Returns a site on a database, with an integration `in` and a destination `out` at a server. `more` is added to
/// the section of the integration.
fn site(database: &Database, receiver: &Receiver, more: &str) -> Site {
    let site = Site::on(database);
    let site = site.plugin(&library("well-behaved")).plugin(&library("notifier-well-behaved"));
    site.config(&format!(
        "watch.enabled = false\ndelivery.retry = ['50ms', '200ms', '1s']\n\
         [integrations.in]\nplugin = 'well-behaved'\n{more}\n\
         [destinations.out]\nplugin = 'notifier-well-behaved'\n\
         allow_networks = ['127.0.0.0/8']\nallow_http = true\ndigest_above = 0\nparallel = 8\n\
         events = ['opened']\noptions.url = '{}'\n",
        receiver.url("/hook")
    ))
}

/// Tells whether this is the long form of the tests, as `make drill` runs it.
fn is_drill() -> bool {
    std::env::var_os("TOCSIN_DRILL").is_some()
}

/// Returns what a host reports of itself or, for another id, of that host.
fn report(host: &TestHost, id: Option<&str>) -> Option<Value> {
    let mut list = host.api("/api/v1/hosts");
    let hosts = list["hosts"].as_array_mut().expect("a list");
    let is_meant = |one: &&mut Value| match id {
        None => one["is_this"] == true,
        Some(id) => one["id"] == id,
    };
    hosts.iter_mut().find(is_meant).map(Value::take)
}

/// Returns the id of a host.
fn id(host: &TestHost) -> String {
    let own = wait::until("the host has reported itself", || report(host, None));
    own["id"].as_str().expect("an id").to_owned()
}

/// Waits until a host does everything that one host does for all.
#[track_caller]
fn wait_for_duties(host: &TestHost) {
    wait::until("the host has all duties", || {
        let own = report(host, None)?;
        let duties: BTreeSet<_> =
            own["duties"].as_array()?.iter().filter_map(Value::as_str).collect();
        (duties == BTreeSet::from(["delivering out", "housekeeping", "routing"])).then_some(())
    });
}

fn open(host: &TestHost, key: &str) {
    let answer = host.post_with("in", &[("x-dedup-key", key)], &format!("trouble with {key}"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Waits until an alert is resolved by housekeeping.
#[track_caller]
fn wait_for_resolve(host: &TestHost, key: &str) {
    wait::until("the alert is resolved automatically", || {
        let alerts = host.alerts();
        let one = alerts.iter().find(|alert| alert["dedup_key"] == key).expect("it is there");
        (one["status"] == "resolved").then_some(())
    });
}

/// Waits until the destination was told of an alert.
#[track_caller]
fn wait_until_told(receiver: &Receiver, key: &str) {
    let title = format!("trouble with {key}");
    wait::until("the destination is told", || {
        receiver.arrived().iter().any(|one| one.json()["title"] == *title).then_some(())
    });
}

/// Checks that the receiver got one delivery of each alert, again only in doubt, and returns the number of
/// repeated messages.
#[track_caller]
fn assert_told_once(receiver: &Receiver) -> usize {
    let (mut ids, mut repeated) = (BTreeMap::<u64, String>::new(), 0);
    for message in receiver.arrived().iter().map(Arrived::json) {
        let number = message["number"].as_u64().expect("a number");
        let id = message["id"].as_str().expect("an id").to_owned();
        match ids.get(&number) {
            None => _ = ids.insert(number, id),
            Some(first) => {
                assert_eq!(*first, id, "alert {number} has one delivery");
                assert_eq!(message["in_doubt"], true, "alert {number}: {message}");
                repeated += 1;
            }
        }
    }
    repeated
}

#[test]
fn the_work_of_a_host_that_dies_is_done_by_another() {
    let (database, receiver) = (Database::new(), Receiver::good());
    let site = || site(&database, &receiver, "resolve_after = '1s'");
    let first = site().serve();
    wait_for_duties(&first);
    let second = site().serve();
    open(&second, "db1");
    wait_until_told(&receiver, "db1");
    wait_for_resolve(&second, "db1");

    let died = id(&first);
    first.kill();
    wait_for_duties(&second);
    open(&second, "db2");
    wait_until_told(&receiver, "db2");
    wait_for_resolve(&second, "db2");
    wait::until("the death is noticed", || {
        (report(&second, Some(&died))?["state"] == "silent").then_some(())
    });

    // A host that stops gives its work up itself.
    let third = site().serve();
    let stopped = id(&second);
    second.stop();
    wait_for_duties(&third);
    assert_eq!(report(&third, Some(&stopped)).expect("it is known")["state"], "stopped");
    open(&third, "db3");
    wait_until_told(&receiver, "db3");
    wait_for_resolve(&third, "db3");
    third.stop();
    assert_told_once(&receiver);
}

#[test]
fn a_host_that_stands_still_in_a_delivery_changes_nothing_when_it_goes_on() {
    // The first answer comes once both hosts could act on it.
    let may_answer = Arc::<AtomicBool>::default();
    let answers = Arc::clone(&may_answer);
    let receiver = Receiver::start(move |turn, _| {
        if turn == 0 {
            wait::until("the answer may come", || answers.load(Ordering::Acquire).then_some(()));
        }
        Reply::Status(200)
    });
    let database = Database::new();
    let first = site(&database, &receiver, "").serve();
    wait_for_duties(&first);
    open(&first, "db1");
    receiver.wait_for(1);
    let second = site(&database, &receiver, "").serve();
    first.signal(Signal::STOP);

    let told = receiver.wait_for(2);
    assert_eq!(told[1].json()["in_doubt"], true);
    wait::until("the second host has the result", || {
        let deliveries = second.api("/api/v1/deliveries?status=delivered");
        (deliveries["deliveries"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    wait_for_duties(&second);
    let outcome = |host: &TestHost| {
        let mut list = host.api("/api/v1/deliveries");
        let id = list["deliveries"][0]["id"].as_str().expect("an id").to_owned();
        (list["deliveries"].take(), host.api(&format!("/api/v1/deliveries/{id}")))
    };
    let before = outcome(&second);
    may_answer.store(true, Ordering::Release);
    first.signal(Signal::CONT);

    // The first host serves, and neither tells it again nor takes its work back.
    open(&first, "db2");
    wait_until_told(&receiver, "db2");
    wait::until("the first host knows that it has no duty", || {
        report(&first, None)?["duties"].as_array()?.is_empty().then_some(())
    });
    let deliveries = |host: &TestHost| host.api("/api/v1/deliveries")["deliveries"].clone();
    wait::until("both are delivered", || {
        let all = deliveries(&second);
        let all = all.as_array().expect("a list");
        (all.len() == 2 && all.iter().all(|one| one["status"] == "delivered")).then_some(())
    });
    let id = before.0[0]["id"].as_str().expect("an id");
    assert_eq!(second.api(&format!("/api/v1/deliveries/{id}")), before.1, "nothing was changed");
    assert_eq!(deliveries(&first), deliveries(&second));
    assert!(assert_told_once(&receiver) >= 1);
    let of_first = |one: &Arrived| one.json()["title"] == "trouble with db1";
    assert_eq!(receiver.arrived().iter().filter(|one| of_first(one)).count(), 2);
    assert!(first.logged("thread_panicked").is_empty());
    first.stop();
    second.stop();
}

#[test]
fn a_host_whose_clock_is_wrong_serves_beside_others() {
    const WRONG_BY: &str = "600";
    let (database, receiver) = (Database::new(), Receiver::good());
    let first = site(&database, &receiver, "").serve();
    wait_for_duties(&first);
    let clock = library("wrong-clock");
    let second = site(&database, &receiver, "");
    let second = second.env("LD_PRELOAD", clock.to_str().expect("a path in UTF-8"));
    let second = second.env("TOCSIN_TEST_CLOCK", WRONG_BY).serve();
    let (right, wrong) = (id(&first), id(&second));

    open(&second, "db1");
    open(&first, "db2");
    wait_until_told(&receiver, "db1");
    wait_until_told(&receiver, "db2");
    let time_of = |key: &str| {
        let alerts = first.api("/api/v1/alerts");
        let mut alerts = alerts["alerts"].as_array().expect("a list").iter();
        let alert = alerts.find(|alert| alert["dedup_key"] == key).expect("it is there");
        let time = alert["created_at"].as_str().expect("a time");
        time.parse::<jiff::Timestamp>().expect("a time").as_second()
    };
    // An alert has the time of its host.
    assert!(time_of("db1") - time_of("db2") > 300, "the clock of the second host is right");
    // Leases and reports have the time of the database.
    assert_eq!(
        database
            .sql("SELECT count(*) FROM tocsin.leases WHERE until > now() + interval '1 minute'"),
        "0"
    );
    for host in [&first, &second] {
        for id in [&right, &wrong] {
            wait::until("each host sees that the other is alive", || {
                (report(host, Some(id))?["state"] == "alive").then_some(())
            });
        }
    }

    first.kill();
    wait_for_duties(&second);
    open(&second, "db3");
    wait_until_told(&receiver, "db3");
    second.stop();
    assert_told_once(&receiver);
}

const SENDERS: usize = 64;
const HOSTS: usize = 3;
/// Keys that many messages share.
const KEYS: usize = 20;

/// Senders that spread over several hosts, and repeat each message three times.
struct Senders {
    threads: Vec<thread::JoinHandle<()>>,
    shared: Arc<Sending>,
}

/// Key, empty without one, and text of a message.
type Event = (String, String);

struct Sending {
    hosts: RwLock<[SocketAddr; HOSTS]>,
    accepted: Mutex<BTreeSet<Event>>,
    /// Number of messages with each key that were sent at least once.
    sent: Mutex<BTreeMap<String, u64>>,
    count: AtomicUsize,
    is_over: AtomicBool,
}

impl Senders {
    fn start(hosts: [SocketAddr; HOSTS], seed: u64) -> Self {
        let shared = Arc::new(Sending {
            hosts: RwLock::new(hosts),
            accepted: Mutex::default(),
            sent: Mutex::default(),
            count: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let sender = |sender: usize| {
            let shared = Arc::clone(&shared);
            let mut numbers = fastrand::Rng::with_seed(seed.wrapping_add(sender as u64));
            thread::spawn(move || {
                for count in 0.. {
                    if shared.is_over.load(Ordering::Acquire) {
                        return;
                    }
                    shared.send(&format!("sender {sender}, message {count}"), &mut numbers);
                }
            })
        };
        let threads = (0..SENDERS).map(sender).collect();
        Self { threads, shared }
    }

    fn accepted(&self) -> usize {
        self.shared.count.load(Ordering::Acquire)
    }

    fn host_moved(&self, place: usize, to: SocketAddr) {
        self.shared.hosts.write().unwrap_or_else(PoisonError::into_inner)[place] = to;
    }

    /// Stops the senders, and returns the messages that were answered 200 at least once, and how many messages were
    /// sent with each key.
    fn end(self) -> (BTreeSet<Event>, BTreeMap<String, u64>) {
        self.shared.is_over.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("no panic");
        }
        (
            std::mem::take(&mut lock(&self.shared.accepted)),
            std::mem::take(&mut lock(&self.shared.sent)),
        )
    }
}

impl Sending {
    /// Sends a message three times, each time to a random host.
    fn send(&self, message: &str, numbers: &mut fastrand::Rng) {
        // Every fourth message is about a problem that other messages are about, too.
        let key = (numbers.u8(..4) == 0).then(|| format!("key {}", numbers.usize(..KEYS)));
        let mut request = Request::post("/in/in", message).header("x-event-id", message);
        if let Some(key) = &key {
            request = request.header("x-dedup-key", &**key);
        }
        let key = key.unwrap_or_default();
        *lock(&self.sent).entry(key.clone()).or_default() += 1;
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(numbers.u64(..300)));
            let host =
                self.hosts.read().unwrap_or_else(PoisonError::into_inner)[numbers.usize(..HOSTS)];
            // A host that is killed answers nothing.
            let answer = Connection::open(host).and_then(|mut host| host.ask(&request));
            let Ok(answer) = answer else { continue };
            if answer.status == 200 {
                let event = (key.clone(), message.to_owned());
                let is_new = lock(&self.accepted).insert(event);
                self.count.fetch_add(usize::from(is_new), Ordering::AcqRel);
            } else {
                // A busy machine may also take longer than the host waits for a plugin.
                assert_eq!(answer.status, 503, "{answer:?}");
                answer.retry_after();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn three_hosts_lose_nothing_and_tell_once_while_hosts_and_the_server_are_killed() {
    let seed = fastrand::u64(..);
    println!("the seed is {seed}");
    let mut numbers = fastrand::Rng::with_seed(seed);
    let (kills, between) = if is_drill() { (20, 1000) } else { (3, 100) };
    let cluster = Arc::new(Cluster::start(Settings { syncs: true, ..Settings::default() }));
    let (database, receiver) = (Database::on(&cluster), Receiver::good());
    let mut hosts: Vec<_> =
        (0..HOSTS).map(|_| Some(site(&database, &receiver, "").serve())).collect();
    let address = |host: &Option<TestHost>| host.as_ref().expect("it runs").webhooks();
    let addresses = std::array::from_fn(|place| address(&hosts[place]));
    let senders = Senders::start(addresses, seed);

    let mut killed = [0; HOSTS + 1];
    for kill in 0..kills {
        let enough = senders.accepted() + numbers.usize(1..between * 2);
        wait::until("some messages are taken", || (senders.accepted() >= enough).then_some(()));
        thread::sleep(Duration::from_millis(numbers.u64(..150)));
        // Even the short form kills the server once.
        let victim = if kill == 1 { HOSTS } else { numbers.usize(..=HOSTS) };
        killed[victim] += 1;
        if victim == HOSTS {
            cluster.kill();
            thread::sleep(Duration::from_millis(numbers.u64(..1500)));
            cluster.restart();
            continue;
        }
        let site = hosts[victim].take().expect("it runs").kill();
        thread::sleep(Duration::from_millis(numbers.u64(..500)));
        let host = site.serve();
        senders.host_moved(victim, host.webhooks());
        hosts[victim] = Some(host);
    }
    let enough = senders.accepted() + between;
    wait::until("messages are taken again", || (senders.accepted() >= enough).then_some(()));
    let (accepted, sent) = senders.end();
    let hosts: Vec<_> = hosts.into_iter().flatten().collect();

    let alerts = hosts[0].alerts();
    assert_stored_once(&alerts, &accepted, &sent);
    for host in &hosts {
        assert_eq!(host.alerts().len(), alerts.len(), "all hosts show the same");
        let panics = host.logged("thread_panicked");
        assert!(panics.is_empty(), "{panics:?}");
    }
    wait::until("every alert was told", || {
        let told: BTreeSet<_> =
            receiver.arrived().iter().map(|one| one.json()["number"].as_u64()).collect();
        (told.len() == alerts.len()).then_some(())
    });
    wait::until("nothing waits", || {
        let waiting = hosts[0].api("/api/v1/deliveries?status=waiting");
        waiting["deliveries"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
    for host in hosts {
        host.stop();
    }
    let repeated = assert_told_once(&receiver);
    println!(
        "hosts and server were killed {killed:?} times; {} messages were answered 200, {} alerts were told, \
         {repeated} messages came again, in doubt",
        accepted.len(),
        alerts.len()
    );
}

/// Checks alerts against the messages that were answered 200, and the number of messages that were sent with each key.
#[track_caller]
fn assert_stored_once(alerts: &[Value], accepted: &BTreeSet<Event>, sent: &BTreeMap<String, u64>) {
    let (mut titles, mut of_key) = (BTreeSet::new(), BTreeMap::new());
    for alert in alerts {
        let title = alert["title"].as_str().expect("a title");
        let occurrences = alert["occurrences"].as_u64().expect("a number");
        match alert["dedup_key"].as_str() {
            None => assert!(titles.insert(title) && occurrences == 1, "twice: {alert}"),
            Some(key) => assert!(of_key.insert(key, occurrences).is_none(), "twice: {alert}"),
        }
    }
    let mut of_accepted = BTreeMap::<_, u64>::new();
    for (key, message) in accepted {
        if key.is_empty() {
            assert!(titles.contains(&**message), "answered 200 and lost: {message}");
        } else {
            *of_accepted.entry(key).or_default() += 1;
        }
    }
    for (key, count) in of_accepted {
        // Messages that got no answer may be stored, too.
        let occurrences = of_key.get(&**key).copied().unwrap_or_default();
        assert!(
            (count..=sent[key]).contains(&occurrences),
            "{key}: {count}, {occurrences}, {}",
            sent[key]
        );
    }
}
