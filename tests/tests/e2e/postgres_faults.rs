//! A PostgreSQL server that dies, hangs or loses connections while a host serves: nothing that was answered 200 is
//! lost or there twice, senders are told to try again meanwhile, and the host goes on by itself.

use std::{collections::BTreeMap, sync::Arc};

use tocsin_test_postgres::{Cluster, Settings};
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Request},
    libraries::library,
    proxy::{Cut, Proxy},
    store::Database,
    wait,
};

use crate::load::Load;

const SENDERS: usize = 8;
const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";

/// Returns a site with a time limit of statements that a test can wait for. `url` is that of the database, or of
/// another way to it.
fn site(database: &Database, url: &str) -> Site {
    let site = Site::on(database).plugin(&library("well-behaved"));
    site.config(&format!("[store]\nurl = \"{url}\"\nstatement_timeout = '1s'\n{GOOD}"))
}

#[track_caller]
fn assert_turned_away(answer: &Answer) {
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "store_unavailable"));
    assert_eq!(answer.retry_after(), 1);
}

/// Waits until the host is unready for one reason, and checks what the reason says.
#[track_caller]
fn assert_unready(host: &TestHost, hint: &str) {
    let reason = wait::until("the host is unready", || {
        let (status, ready) = host.ready();
        let reason = ready["reasons"].to_string();
        (status == 503 && reason.contains("hint: ")).then_some(reason)
    });
    assert!(reason.contains(hint), "{reason}");
}

/// Waits until the host is ready, and checks that it never panicked.
#[track_caller]
fn assert_recovers(host: &TestHost) {
    wait::until("the host is ready again", || (host.ready().0 == 200).then_some(()));
    let panics = host.logged("thread_panicked");
    assert!(panics.is_empty(), "{panics:?}");
}

/// Posts a message with an event id.
fn post(host: &TestHost, message: &str) -> Answer {
    host.post_with("good", &[("x-event-id", message)], message)
}

/// Posts a message with an event id until the answer is 200, as a sender does.
#[track_caller]
fn repeat(host: &TestHost, message: &str) {
    wait::until("the message is taken", || {
        let answer = post(host, message);
        if answer.status != 200 {
            assert_turned_away(&answer);
        }
        (answer.status == 200).then_some(())
    });
}

/// Checks that each of these messages made one alert, and no message made two.
#[track_caller]
fn assert_once(host: &TestHost, messages: &[String]) {
    let mut found = BTreeMap::<_, usize>::new();
    for alert in host.alerts() {
        *found.entry(alert["title"].as_str().expect("a title").to_owned()).or_default() += 1;
        assert_eq!(alert["occurrences"], 1, "{alert}");
    }
    let lost: Vec<_> = messages.iter().filter(|message| !found.contains_key(*message)).collect();
    assert!(lost.is_empty(), "answered 200 and lost: {lost:?}");
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "there more than once: {doubled:?}");
}

#[test]
fn turns_senders_away_while_the_server_is_dead_and_goes_on_by_itself() {
    let cluster = Arc::new(Cluster::start(Settings::default()));
    let database = Database::on(&cluster);
    let host = site(&database, &database.url()).serve();
    let mut accepted = Vec::new();
    for how in ["killed", "stopped"] {
        let load = Load::start(host.webhooks(), how, SENDERS);
        wait::until("the first answers", || (load.answered() >= 50).then_some(()));
        if how == "killed" {
            cluster.kill();
        } else {
            cluster.stop();
        }
        wait::until("each sender is turned away", || (load.turned_away() == SENDERS).then_some(()));
        assert_unready(&host, "see whether PostgreSQL runs");
        assert_turned_away(&post(&host, &format!("while it is {how}")));
        let listed = host.ask_admin(&Request::new("GET", "/api/v1/alerts"));
        assert_turned_away(&listed);
        assert_eq!(host.ask_admin(&Request::new("GET", "/health/live")).status, 200);

        cluster.restart();
        assert_recovers(&host);
        let before = load.answered();
        wait::until("senders are answered again", || (load.answered() > before + 50).then_some(()));
        let sent = load.sent();
        let is_told = |said: &String| {
            said.contains("status: 503") && said.contains(r#"("retry-after", "1")"#)
        };
        let otherwise: Vec<_> = sent.refused.iter().filter(|(_, said)| !is_told(said)).collect();
        assert!(otherwise.is_empty(), "{otherwise:?}");
        println!("{how}: {} answered 200, {} not", sent.accepted.len(), sent.refused.len());
        accepted.extend(sent.accepted);
        repeat(&host, &format!("while it is {how}"));
        accepted.push(format!("while it is {how}"));
        assert_once(&host, &accepted);
    }
    assert_once(&host.kill().serve(), &accepted);
}

#[test]
fn a_commit_whose_connection_is_cut_makes_one_alert() {
    let database = Database::new();
    let proxy = Proxy::before(&database);
    let host = site(&database, &database.url_at(proxy.folder())).serve();
    let load = Load::start(host.webhooks(), "beside", SENDERS);
    wait::until("the first answers", || (load.answered() >= 20).then_some(()));
    let mut messages = Vec::new();
    for (count, cut) in
        [Cut::BeforeCommit, Cut::AfterCommit].into_iter().cycle().take(10).enumerate()
    {
        let message = format!("{cut:?}, turn {count}.");
        proxy.cut(cut, &message);
        let answer = post(&host, &message);
        if answer.status != 200 {
            assert_turned_away(&answer);
        }
        println!("{message} {}", answer.status);
        assert_eq!(proxy.cuts(), count + 1);
        repeat(&host, &message);
        messages.push(message);
    }
    messages.extend(load.sent().accepted);
    assert_recovers(&host);
    assert_once(&host, &messages);
    host.stop();
}

#[test]
fn a_commit_whose_outcome_cannot_be_found_out_is_refused_and_its_repetition_makes_one_alert() {
    let database = Database::new();
    let proxy = Proxy::before(&database);
    let host = site(&database, &database.url_at(proxy.folder())).serve();
    let mut messages = Vec::new();
    for (cut, stored) in [(Cut::BeforeCommit, 0), (Cut::AfterCommit, 1)] {
        let message = format!("{cut:?} and away.");
        proxy.cut_and_refuse(cut, &message);
        assert_turned_away(&post(&host, &message));
        let sql = format!("SELECT count(*) FROM tocsin.alerts WHERE title = '{message}'");
        assert_eq!(database.sql(&sql), stored.to_string());
        assert_unready(&host, "PostgreSQL");
        proxy.accept();
        repeat(&host, &message);
        assert_recovers(&host);
        messages.push(message);
        assert_once(&host, &messages);
    }
    host.stop();
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let database = Database::new();
    let proxy = Proxy::before(&database);
    let host = site(&database, &database.url_at(proxy.folder())).serve();
    repeat(&host, "before");
    proxy.be_silent(true);
    assert_turned_away(&post(&host, "meanwhile"));
    assert_unready(&host, "PostgreSQL");
    proxy.be_silent(false);
    assert_recovers(&host);
    repeat(&host, "meanwhile");
    assert_once(&host, &["before".into(), "meanwhile".into()]);
    host.stop();
}

#[test]
fn statements_behind_a_lock_of_another_session_end_in_time() {
    let database = Database::new();
    let host = site(&database, &database.url()).serve();
    repeat(&host, "before");
    let mut intruder = database.session("BEGIN; LOCK TABLE tocsin.alerts");
    for _ in 0..3 {
        assert_turned_away(&post(&host, "meanwhile"));
    }
    assert_unready(&host, "store.statement_timeout");
    let listed = host.ask_admin(&Request::new("GET", "/api/v1/alerts"));
    assert_turned_away(&listed);
    assert!(intruder.execute("ROLLBACK"), "the host leaves others alone");
    assert_recovers(&host);
    repeat(&host, "meanwhile");
    assert_once(&host, &["before".into(), "meanwhile".into()]);
    host.stop();
}

#[test]
fn goes_on_once_the_server_has_free_connections_again() {
    let database = Database::new();
    let user = format!("user_of_{}", database.name());
    let name = database.name();
    database.sql(&format!("CREATE ROLE {user} LOGIN; ALTER DATABASE {name} OWNER TO {user}"));
    let url = database.url().replace("postgres://postgres@", &format!("postgres://{user}@"));
    let host = site(&database, &url).serve();
    repeat(&host, "before");
    // The server gives the same error as at its `max_connections`.
    database.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 0"));
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
    database.sql(&end);
    assert_turned_away(&post(&host, "meanwhile"));
    assert_unready(&host, "raise its `max_connections`");
    database.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1"));
    assert_recovers(&host);
    repeat(&host, "meanwhile");
    assert_once(&host, &["before".into(), "meanwhile".into()]);
    host.stop();
}

#[test]
fn a_server_that_only_reads_for_a_while_is_recognised_and_used_again() {
    let database = Database::new();
    let host = site(&database, &database.url()).serve();
    repeat(&host, "before");
    let name = database.name();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    database.sql(end);
    assert_turned_away(&post(&host, "meanwhile"));
    assert_unready(&host, "only reads");
    let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    database.server().psql("postgres", &reset);
    assert_recovers(&host);
    repeat(&host, "meanwhile");
    assert_once(&host, &["before".into(), "meanwhile".into()]);
    host.stop();
}
