//! Starts on a PostgreSQL database that cannot be used: the host says why, and what to do, and changes nothing.

use std::{fs, sync::Arc};

use tocsin_test_postgres::{Cluster, Settings};
use tocsin_tests::{Finished, Site, libraries::library, store::Database};

/// Returns a site with a URL that was changed, such as for another user.
fn site(database: &Database, changed: impl FnOnce(String) -> String) -> Site {
    let url = changed(database.url());
    let site = Site::on(database).plugin(&library("well-behaved"));
    site.config(&format!(
        "[store]\nurl = \"{url}\"\n[integrations.good]\nplugin = 'well-behaved'\n"
    ))
}

/// Checks that neither `tocsin serve` nor `tocsin check` accepts the store, and that both say why once, with a hint.
#[track_caller]
fn assert_refused(site: &Site, sentence: &str, hint: &str) {
    for (verb, code) in [("serve", 1), ("check", 2)] {
        let Finished { code: ended, stderr, .. } = site.run(&[verb]);
        assert_eq!(ended, Some(code), "{verb}: {stderr}");
        assert!(stderr.contains("cannot open the store `postgres://"), "{verb}: {stderr}");
        assert_eq!(stderr.matches(sentence).count(), 1, "{verb}: {stderr}");
        assert!(stderr.contains(hint), "{verb}: {stderr}");
        assert!(stderr.contains("hint: "), "{verb}: {stderr}");
        assert!(!stderr.contains("panicked"), "{verb}: {stderr}");
    }
}

/// Makes a user who owns nothing.
fn user(database: &Database, options: &str) -> String {
    let user = format!("user_of_{}", database.name());
    database.sql(&format!("CREATE ROLE {user} LOGIN {options}"));
    user
}

fn as_user(user: &str) -> impl FnOnce(String) -> String {
    let user = format!("postgres://{user}@");
    move |url| url.replace("postgres://postgres@", &user)
}

#[test]
fn refuses_a_wrong_password_and_never_shows_it() {
    let database = Database::new();
    let user = user(&database, "PASSWORD 'right-s3cret'");
    database.sql(&format!("ALTER DATABASE {} OWNER TO {user}", database.name()));
    let rules = database.server().socket().join("data/pg_hba.conf");
    let others = fs::read_to_string(&rules).expect("initdb made it");
    fs::write(&rules, format!("local all {user} scram-sha-256\n{others}")).expect("it is ours");
    database.sql("SELECT pg_reload_conf()");

    let url = as_user(&user)(database.url());
    let with = |store: &str| {
        let site = Site::on(&database).plugin(&library("well-behaved"));
        site.config(&format!("[store]\n{store}\n[integrations.good]\nplugin = 'well-behaved'\n"))
    };
    let in_url = |password: &str| url.replace(&user, &format!("{user}:{password}"));
    let wrong = [
        with(&format!("url = \"{}\"", in_url("wrong-s3cret"))),
        with(&format!("url = \"{url}\"\npassword = 'wrong-s3cret'")),
        with(&format!("url = \"{url}\"")).env("PGPASSWORD", "wrong-s3cret"),
    ];
    for site in wrong {
        assert_refused(&site, "password authentication failed", "check the user and the password");
        let finished = site.run(&["serve"]);
        assert!(!finished.stderr.contains("wrong-s3cret"), "{finished:?}");
    }
    assert_refused(&with(&format!("url = \"{url}\"")), "password missing", "store.password");

    let right = [
        with(&format!("url = \"{}\"", in_url("right-s3cret"))),
        with(&format!("url = \"{url}\"\npassword = {{ env = 'DATABASE_PASSWORD' }}"))
            .env("DATABASE_PASSWORD", "right-s3cret"),
        with(&format!("url = \"{url}\"")).env("PGPASSWORD", "right-s3cret"),
    ];
    for (count, site) in (1..).zip(right) {
        let host = site.serve();
        assert_eq!(host.post("good", "disk full").status, 200);
        assert_eq!(host.alerts().len(), count);
        assert!(!host.log().join("\n").contains("right-s3cret"));
        host.stop();
    }
}

#[test]
fn refuses_a_database_or_a_user_that_does_not_exist() {
    let database = Database::new();
    let name = database.name().to_owned();
    let missing = site(&database, |url| url.replace(&name, "nowhere"));
    assert_refused(&missing, "database \"nowhere\" does not exist", "make the database with");
    let nobody = site(&database, as_user("nobody"));
    assert_refused(&nobody, "role \"nobody\" does not exist", "check the user");
}

#[test]
fn refuses_a_server_that_is_not_there() {
    let database = Database::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let away = site(&database, |_| database.url_at(folder.path()));
    assert_refused(&away, "No such file or directory", "see whether PostgreSQL runs");
}

#[test]
fn refuses_a_user_without_the_right_to_make_the_schema() {
    let database = Database::new();
    let user = user(&database, "");
    let refused = site(&database, as_user(&user));
    assert_refused(&refused, "tocsin`", "GRANT CREATE ON DATABASE");
    database.sql(&format!("GRANT CREATE ON DATABASE {} TO {user}", database.name()));
    let host = refused.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    host.stop();
}

#[test]
fn refuses_the_schema_of_another_program_and_leaves_it_alone() {
    const TABLES: &str = "SELECT string_agg(table_name, ' ' ORDER BY table_name) \
                          FROM information_schema.tables WHERE table_schema = 'tocsin'";
    for other in [
        "CREATE SCHEMA tocsin; CREATE TABLE tocsin.alerts (name TEXT)",
        "CREATE SCHEMA tocsin; CREATE TABLE tocsin.alerts (name TEXT); CREATE TABLE tocsin.meta (name TEXT)",
        "CREATE SCHEMA tocsin; CREATE TABLE tocsin.alerts (name TEXT); \
         CREATE TABLE tocsin.meta (key TEXT, value TEXT); INSERT INTO tocsin.meta VALUES ('schema', 'mine')",
    ] {
        let database = Database::new();
        database.sql(other);
        let before = database.sql(TABLES);
        let refused = site(&database, |url| url);
        assert_refused(&refused, "is one of another program", "hint: use another database");
        assert_eq!(database.sql(TABLES), before);
    }
    // Tables of the same names elsewhere do no harm.
    let database = Database::new();
    database.sql("CREATE TABLE public.alerts (name TEXT); CREATE TABLE public.meta (name TEXT)");
    let host = site(&database, |url| url).serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(database.sql("SELECT count(*) FROM public.alerts"), "0");
    host.stop();
}

#[test]
fn refuses_the_schema_of_a_newer_host_and_serves_one_that_says_it_is_compatible() {
    let database = Database::new();
    let site = site(&database, |url| url).serve().stop();
    let set = |version: i64, compatible: i64| {
        database.sql(&format!(
            "UPDATE tocsin.meta SET value = {version} WHERE key = 'schema'; \
             UPDATE tocsin.meta SET value = {compatible} WHERE key = 'compatible_from'"
        ));
    };
    let known: i64 = {
        let known = database.sql("SELECT value FROM tocsin.meta WHERE key = 'schema'");
        known.parse().expect("a number")
    };
    set(known + 7, known + 1);
    assert_refused(&site, "a newer Tocsin made the schema", "hint: use the newer host");
    set(known + 7, known);
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    host.stop();
    let kept = database.sql("SELECT value FROM tocsin.meta WHERE key = 'schema'");
    assert_eq!(kept, (known + 7).to_string(), "an older host leaves the version alone");
}

#[test]
fn refuses_a_database_that_only_reads_has_another_encoding_or_may_lose_what_was_acknowledged() {
    let set = |setting: &str| {
        let database = Database::new();
        database.sql(&format!("ALTER DATABASE {} SET {setting}", database.name()));
        site(&database, |url| url)
    };
    let reads = set("default_transaction_read_only = on");
    assert_refused(&reads, "only reads", "name the primary");
    let loses = set("synchronous_commit = off");
    assert_refused(&loses, "`synchronous_commit` is off", "set it to `on`");
    let latin = Database::with_options("ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
    let latin = site(&latin, |url| url);
    assert_refused(&latin, "has the encoding LATIN1", "createdb --encoding=UTF8");
}

#[test]
fn refuses_a_server_without_a_free_connection() {
    let settings = Settings { max_connections: Some(8), ..Settings::default() };
    let database = Database::on(&Arc::new(Cluster::start(settings)));
    let user = user(&database, "");
    database.sql(&format!("ALTER DATABASE {} OWNER TO {user}", database.name()));
    let site = site(&database, as_user(&user));
    let mut others = Vec::new();
    // Some connections are kept for administrators.
    while let Some(session) = database.session_of(&user) {
        others.push(session);
    }
    assert!((2..8).contains(&others.len()), "{}", others.len());
    assert_refused(&site, "connection slots", "raise its `max_connections`");
    drop(others);
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    host.stop();
}
