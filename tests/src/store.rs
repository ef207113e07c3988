//! The store of the hosts in the tests: a SQLite file, or a database of a PostgreSQL server.
//!
//! With `TOCSIN_TEST_STORE=postgres`, as `make test-postgres` sets it, each [`Site`](crate::Site) gets an empty
//! database of the server that all tests of a process share. A host that is started again at the same site gets
//! the same database. Without the variable, the store is the file `tocsin.db` of the site.
//!
//! Some tests are about SQLite itself. They make their site by [`Site::on_sqlite`](crate::Site::on_sqlite), whatever
//! the variable says:
//!
//! | tests | reason |
//! | --- | --- |
//! | `access::an_act_that_cannot_be_written_to_the_audit_is_done_and_in_the_log` | a trigger in the file |
//! | `api::records_an_unauthorized_request_without_its_body` | the bytes of the file |
//! | `backup` | backups are files of SQLite |
//! | `database_lock` | one host uses a file |
//! | `full_disk` | the disk of the host is full |
//! | `greedy_clients::expensive_searches_do_not_delay_requests_for_one_alert` | rows written into the file |
//! | `hosts` | a host on a file is the only one |
//! | `integration_settings::retention_by_size_deletes_the_oldest_rows_first` | PostgreSQL does not tell how much of its files is in use |
//! | `kill_points` | points in the code that writes the file |
//! | `log_format` | the moment at which the file is there |
//! | `removed_database` | the file is deleted or replaced |
//! | `store_faults` | a file that cannot be written, or is damaged or locked |
//! | `unwritable_log` | points in the code that writes the file |
//!
//! The tests of upgrades of the schema and of power cuts use the store without a host; they are in other programs.
//! The modules `postgres_starts`, `postgres_faults` and `several_hosts` always use PostgreSQL.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    ops::Deref,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tocsin_test_postgres::Cluster;

/// Tells whether the tests run on PostgreSQL, except those about SQLite itself.
pub fn is_postgres() -> bool {
    match env::var("TOCSIN_TEST_STORE") {
        Err(_) => false,
        Ok(store) if store == "sqlite" => false,
        Ok(store) if store == "postgres" => true,
        Ok(other) => panic!("TOCSIN_TEST_STORE is `sqlite` or `postgres`, not `{other}`"),
    }
}

/// Database of a PostgreSQL server, deleted with the last clone of the value.
#[derive(Clone, Debug)]
pub struct Database(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    server: Server,
    name: String,
}

/// A server for many tests, or for one.
#[derive(Clone)]
enum Server {
    Shared(&'static Cluster),
    Own(Arc<Cluster>),
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Deref for Server {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        match self {
            Self::Shared(cluster) => cluster,
            Self::Own(cluster) => cluster,
        }
    }
}

impl Database {
    /// Makes an empty database on the server that the tests of this process share.
    pub fn new() -> Self {
        Self::make(Server::Shared(Cluster::shared()), "")
    }

    /// Makes an empty database there with options of `CREATE DATABASE`.
    pub fn with_options(options: &str) -> Self {
        Self::make(Server::Shared(Cluster::shared()), options)
    }

    /// Makes an empty database on a server.
    pub fn on(cluster: &Arc<Cluster>) -> Self {
        Self::make(Server::Own(Arc::clone(cluster)), "")
    }

    fn make(server: Server, options: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("site{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.psql("postgres", &format!("CREATE DATABASE {name} {options}"));
        Self(Arc::new(Owned { server, name }))
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the server.
    pub fn server(&self) -> &Cluster {
        &self.0.server
    }

    /// Returns the URL for `store.url`.
    pub fn url(&self) -> String {
        self.server().url(self.name())
    }

    /// Returns the URL at which a [`Proxy`](crate::proxy::Proxy) listens.
    pub fn url_at(&self, folder: &Path) -> String {
        let folder: String =
            form_urlencoded::byte_serialize(folder.to_string_lossy().as_bytes()).collect();
        format!("postgres://postgres@/{}?host={folder}", self.name())
    }

    /// Executes statements as an administrator, and returns the rows as text.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn sql(&self, sql: &str) -> String {
        self.server().psql(self.name(), sql)
    }

    /// Opens a session of an administrator, in which it executes statements.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn session(&self, sql: &str) -> Session {
        Session::open(self, "postgres", sql).expect("the server takes an administrator")
    }

    /// Opens a session of a user, or returns none if the server refuses the user.
    pub fn session_of(&self, user: &str) -> Option<Session> {
        Session::open(self, user, "")
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // The server ends with the tests, and its folder with it. This only keeps the folder small.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _ = self.server.try_psql("postgres", &drop);
    }
}

/// Session of another program. Its transaction ends when the value is dropped.
#[derive(Debug)]
pub struct Session {
    psql: Child,
    statements: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Session {
    fn open(database: &Database, user: &str, sql: &str) -> Option<Self> {
        let mut psql = Command::new("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        ]);
        psql.args(["--username", user, "--dbname", database.name(), "--host"]);
        psql.arg(database.server().socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.stderr(Stdio::null()).spawn().expect("psql is there");
        let statements = psql.stdin.take();
        let answers = BufReader::new(psql.stdout.take().expect("it is piped"));
        let mut session = Self { psql, statements, answers };
        session.execute(sql).then_some(session)
    }

    /// Executes statements, and returns true if the server did all of them.
    pub fn execute(&mut self, sql: &str) -> bool {
        let Some(statements) = &mut self.statements else { return false };
        // If the server has refused the session, psql has ended.
        if writeln!(statements, "{sql};\n\\echo done").is_err() {
            return false;
        }
        let mut line = String::new();
        loop {
            line.clear();
            match self.answers.read_line(&mut line) {
                Ok(0) | Err(_) => return false,
                Ok(_) if line.trim_end() == "done" => return true,
                Ok(_) => {}
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.statements = None;
        let _ = self.psql.wait();
    }
}
