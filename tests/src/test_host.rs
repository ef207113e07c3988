//! A host in its own process and folder, set up as an operator does it: a configuration, plugins
//! dropped in, the `tocsin` binary. This file does not use the host's code.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

use crate::{
    http::{Answer, Connection, Request},
    libraries,
    store::{self, Database},
    wait,
};

/// Folder with a configuration and plugins, and the environment of `tocsin` commands that run
/// there. [`Site::serve`] makes it a [`TestHost`].
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    env: Vec<(String, String)>,
    user: Option<u32>,
    limits: Vec<String>,
    /// The database of a PostgreSQL server. Without one, the store is a file.
    database: Option<Database>,
}

/// Result of a command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code, or `None` if a signal ended the command.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// Makes a site with an empty plugins folder and no integration. [`store`] tells which store it has.
    ///
    /// # Panics
    ///
    /// If the folder cannot be made.
    pub fn new() -> Self {
        Self::with(store::is_postgres().then(Database::new))
    }

    /// Makes a site whose store is a SQLite file, for a test in the list of [`store`].
    ///
    /// # Panics
    ///
    /// If the folder cannot be made.
    pub fn on_sqlite() -> Self {
        Self::with(None)
    }

    /// Makes a site on a database of a PostgreSQL server, which other sites may share.
    ///
    /// # Panics
    ///
    /// If the folder cannot be made.
    pub fn on(database: &Database) -> Self {
        Self::with(Some(database.clone()))
    }

    fn with(database: Option<Database>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("plugins")).expect("a folder of plugins");
        let site = Self { folder, env: Vec::new(), user: None, limits: Vec::new(), database };
        site.configure("");
        site
    }

    /// Writes the configuration: this text, plus free ports, a JSON log, a long call deadline for busy
    /// machines and a database of PostgreSQL if the site has one, unless the text sets these keys.
    ///
    /// # Panics
    ///
    /// If the text is not TOML.
    pub fn configure(&self, text: &str) {
        let mut config: Table = text.parse().expect("TOML");
        let url = self.database.as_ref().map(Database::url);
        let usual = [
            ("server", "listen", "127.0.0.1:0"),
            ("admin", "listen", "127.0.0.1:0"),
            ("log", "format", "json"),
            ("plugins", "call_deadline", "30s"),
        ];
        let store = url.as_deref().map(|url| ("store", "url", url));
        for (section, key, value) in usual.into_iter().chain(store) {
            let section = config.entry(section).or_insert_with(|| Table::new().into());
            let section = section.as_table_mut().expect("a section");
            section.entry(key).or_insert_with(|| value.into());
        }
        self.write("tocsin.toml", config.to_string());
    }

    /// Writes the configuration as [`Site::configure`] does, and returns the site.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        self.configure(text);
        self
    }

    /// Writes a file, such as a configuration without the additions of [`Site::configure`].
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap_or_else(|error| panic!("`{name}`: {error}"));
    }

    /// Returns the database of a PostgreSQL server; none if the store is a file.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Counts the rows of a table of the store.
    ///
    /// # Panics
    ///
    /// If the store has no such table.
    pub fn rows_of(&self, table: &str) -> i64 {
        match &self.database {
            Some(database) => {
                let count = database.sql(&format!("SELECT count(*) FROM tocsin.{table}"));
                count.parse().expect("a number")
            }
            None => {
                let database = rusqlite::Connection::open(self.path("tocsin.db"));
                let sql = format!("SELECT count(*) FROM {table}");
                // The host may hold the file for a moment.
                wait::until("the rows are counted", || {
                    let database = database.as_ref().expect("a database");
                    database.query_row(&sql, [], |row| row.get(0)).ok()
                })
            }
        }
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies a plugin into the plugins folder.
    #[must_use]
    pub fn plugin(self, library: &Path) -> Self {
        let name = library.file_name().expect("a file").to_str().expect("a name in UTF-8");
        self.drop_in(library, name);
        self
    }

    /// Copies a plugin into the plugins folder under another file name.
    ///
    /// # Panics
    ///
    /// If the file cannot be copied.
    pub fn drop_in(&self, library: &Path, name: &str) {
        let to = self.path("plugins").join(name);
        fs::copy(library, &to).unwrap_or_else(|error| panic!("`{}`: {error}", library.display()));
    }

    /// Copies a plugin in as an operator should: under a temporary name, renamed when the file is
    /// complete.
    ///
    /// # Panics
    ///
    /// If the file cannot be copied.
    pub fn replace(&self, library: &Path, name: &str) {
        self.drop_in(library, ".new");
        fs::rename(self.plugins().join(".new"), self.plugins().join(name)).expect("a rename");
    }

    /// Returns the plugins folder.
    pub fn plugins(&self) -> PathBuf {
        self.path("plugins")
    }

    fn admin_token(&self) -> Option<&str> {
        let mut env = self.env.iter();
        env.find(|(name, _)| name == "TOCSIN_ADMIN_TOKEN").map(|(_, token)| &**token)
    }

    /// Sets an environment variable for every command.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Removes an environment variable that [`Site::env`] set.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// Runs every command as this user, and in the group of the same number. Only root can.
    #[must_use]
    pub fn user(self, id: u32) -> Self {
        Self { user: Some(id), ..self }
    }

    /// Makes the site as [`Site::user`] does and gives its folder to the user, as an operator sets
    /// up a host that is not root. Returns `None`, and prints the reason, if this machine does not
    /// allow that.
    ///
    /// # Panics
    ///
    /// If root cannot give the folder away.
    #[must_use]
    pub fn owned_by(self, id: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can run the host as somebody else");
            return None;
        }
        let site = self.user(id);
        // Only the owner may enter a temporary folder.
        let folder = site.path("");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
        chown(&folder, Some(id), Some(id)).expect("root gives files away");
        match site.command(&["--version"]).output() {
            Ok(_) => Some(site),
            Err(error) => {
                eprintln!("SKIPPED: user {id} cannot run the host where it was built ({error})");
                None
            }
        }
    }

    /// Runs every command under a limit of the system, such as `--nofile=256` (see `prlimit(1)`).
    /// The limit on threads does not apply to root.
    #[must_use]
    pub fn limit(mut self, limit: &str) -> Self {
        self.limits.push(limit.into());
        self
    }

    /// Returns a `tocsin` command with this site's configuration, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = if self.limits.is_empty() {
            Command::new(libraries::tocsin())
        } else {
            let mut command = Command::new("prlimit");
            command.args(&self.limits).arg(libraries::tocsin());
            command
        };
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        for name in
            ["TOCSIN_ADMIN_URL", "TOCSIN_ADMIN_TOKEN", "TOCSIN_LOG", "TOCSIN_ADMIN_CA", "NO_COLOR"]
        {
            command.env_remove(name);
        }
        command
            .env("RUST_BACKTRACE", "0")
            .env("TOCSIN_CONFIG", "tocsin.toml")
            .env("USER", "steve")
            .env("TZ", "UTC");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(id) = self.user {
            command.uid(id).gid(id);
        }
        command
    }

    /// Runs a command and waits for its end.
    ///
    /// # Panics
    ///
    /// If the command cannot be run or does not end within [`wait::TIMEOUT`].
    pub fn run(&self, args: &[&str]) -> Finished {
        finish(self.command(args))
    }

    /// Starts the host, sends SIGTERM once `now` returns true, and returns the result.
    ///
    /// # Panics
    ///
    /// If `now` never returns true, or the host does not end.
    pub fn stop_when(&self, what: &str, mut now: impl FnMut() -> bool) -> Finished {
        let start = Running::start(self.command(&["serve"]));
        wait::until(what, || now().then_some(()));
        kill_process(Pid::from_child(&start.child.0), Signal::TERM).expect("the host runs");
        start.finish()
    }

    /// Starts the host, and waits until it serves.
    ///
    /// # Panics
    ///
    /// If the host ends before it serves.
    pub fn serve(self) -> TestHost {
        self.try_serve().unwrap_or_else(|(_, finished)| panic!("it does not serve: {finished:#?}"))
    }

    /// Starts the host, and waits until it serves or has ended with an error.
    ///
    /// # Errors
    ///
    /// The result of a host that ended before it served.
    ///
    /// # Panics
    ///
    /// If the host neither serves nor ends within [`wait::TIMEOUT`].
    pub fn try_serve(self) -> Result<TestHost, (Self, Finished)> {
        match Process::start(&self) {
            Ok(process) => Ok(TestHost { site: self, process }),
            Err(finished) => Err((self, finished)),
        }
    }
}

/// Child process that is killed when the value is dropped.
#[derive(Debug)]
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Reaped {
    fn wait(&mut self) -> ExitStatus {
        wait::until("the process ends", || self.0.try_wait().expect("it is our child"))
    }
}

fn finish(command: Command) -> Finished {
    Running::start(command).finish()
}

/// Command that has not ended yet.
struct Running {
    child: Reaped,
    stdout: Collected,
    stderr: Collected,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = Reaped(child.expect("`tocsin` starts"));
        let stdout = Collected::of(child.0.stdout.take().expect("piped"));
        let stderr = Collected::of(child.0.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }

    fn finish(self) -> Finished {
        let Self { mut child, stdout, stderr } = self;
        let status = child.wait();
        Finished { code: status.code(), stdout: stdout.whole(), stderr: stderr.whole() }
    }
}

/// Lines that came out of a pipe so far.
#[derive(Debug)]
struct Collected {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Collected {
    fn of(pipe: impl std::io::Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                written.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the log entries of an event, in their order.
    fn entries(&self, event: &str) -> Vec<Value> {
        let lines = self.lines();
        let entries = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        entries.filter(|entry| entry["event"] == event).collect()
    }

    /// Tells whether the pipe has been read to its end.
    fn is_whole(&self) -> bool {
        self.reader.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Waits for the end of the pipe, and returns all lines.
    fn whole(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading lines does not panic");
        }
        self.lines().iter().map(|line| format!("{line}\n")).collect()
    }
}

#[derive(Debug)]
struct Process {
    child: Reaped,
    log: Collected,
    webhooks: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    /// Starts the host. Returns the result as an error if the host ends before it serves.
    fn start(site: &Site) -> Result<Self, Finished> {
        let mut command = site.command(&["serve"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = Reaped(child.expect("`tocsin serve` starts"));
        let log = Collected::of(child.0.stderr.take().expect("piped"));
        let mut first = |event: &str| {
            wait::until(event, || {
                let has_ended =
                    child.0.try_wait().expect("it is our child").is_some() && log.is_whole();
                let found = log.entries(event).into_iter().next();
                (found.is_some() || has_ended).then_some(found)
            })
        };
        let (Some(listening), Some(_)) = (first("listening"), first("serving")) else {
            let code = child.wait().code();
            return Err(Finished { code, stdout: String::new(), stderr: log.whole() });
        };
        let address = |key: &str| listening[key].as_str().and_then(|text| text.parse().ok());
        let (webhooks, admin) = (address("webhooks"), address("admin"));
        let (webhooks, admin) = (webhooks.expect("an address"), admin.expect("an address"));
        Ok(Self { child, log, webhooks, admin })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child.0)
    }
}

/// Running host, killed when the value is dropped.
#[derive(Debug)]
pub struct TestHost {
    site: Site,
    process: Process,
}

impl TestHost {
    /// Returns the [`Site`] of the host.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Returns the address of the webhook listener.
    pub fn webhooks(&self) -> SocketAddr {
        self.process.webhooks
    }

    /// Returns the address of the admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.process.admin
    }

    /// Returns the process id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Opens a [`Connection`] to the webhook listener.
    ///
    /// # Panics
    ///
    /// If the host does not listen.
    pub fn connect(&self) -> Connection {
        Connection::open(self.webhooks()).expect("the host listens")
    }

    /// Sends one request to the webhook listener.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    pub fn ask(&self, request: &Request<'_>) -> Answer {
        self.connect().ask(request).expect("an answer")
    }

    /// Posts a body to an integration.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    pub fn post(&self, integration: &str, body: &str) -> Answer {
        self.post_with(integration, &[], body)
    }

    /// Posts a body with headers to an integration.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    pub fn post_with(&self, integration: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let target = format!("/in/{integration}");
        let mut request = Request::post(&target, body);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.ask(&request)
    }

    /// Sends one request to the admin listener.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    pub fn ask_admin(&self, request: &Request<'_>) -> Answer {
        let mut admin = Connection::open(self.admin()).expect("the admin API listens");
        admin.ask(request).expect("an answer")
    }

    /// Returns the JSON that the API gives at a path. Asks again while the API says that it is busy: a search
    /// is refused if it waits for a second, as it may on a busy machine.
    ///
    /// # Panics
    ///
    /// If the answer is not 200 and JSON.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        let answer = wait::until("the API is not busy", || {
            let answer = self.ask_admin(&Request::new("GET", path));
            (answer.status != 503 || answer.error_code() != "busy").then_some(answer)
        });
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Returns all alerts, newest first, read page by page.
    ///
    /// # Panics
    ///
    /// If the API does not list the alerts.
    pub fn alerts(&self) -> Vec<Value> {
        let (mut alerts, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.api(&format!("/api/v1/alerts?limit=500{cursor}"));
            alerts.append(page["alerts"].as_array_mut().expect("a list"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return alerts,
            }
        }
    }

    /// Returns status and body of `/health/ready`.
    pub fn ready(&self) -> (u16, Value) {
        let answer = self.ask_admin(&Request::new("GET", "/health/ready"));
        (answer.status, answer.json())
    }

    /// Returns the reasons for which the host is not fully ready.
    ///
    /// # Panics
    ///
    /// If the body has another form.
    pub fn reasons(&self) -> Vec<String> {
        let (_, mut ready) = self.ready();
        serde_json::from_value(ready["reasons"].take()).expect("sentences")
    }

    /// Returns the reasons of [`TestHost::reasons`] except requests that wait for a replay.
    pub fn problems(&self) -> Vec<String> {
        let waits = |reason: &String| reason.contains(" for a replay because its plugin failed");
        self.reasons().into_iter().filter(|reason| !waits(reason)).collect()
    }

    /// Returns a value of the metrics, by its full name with labels.
    ///
    /// # Panics
    ///
    /// If the host gives no metrics.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.ask_admin(&Request::new("GET", "/metrics")).body;
        let mut lines = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(other, _)| *other == name).map(|(_, value)| value.parse().expect("a number"))
    }

    /// Runs a `tocsin` command against this host.
    pub fn run(&self, args: &[&str]) -> Finished {
        let mut command = self.site.command(args);
        command.env("TOCSIN_ADMIN_URL", format!("http://{}", self.admin()));
        finish(command)
    }

    /// Returns the lines logged so far.
    pub fn log(&self) -> Vec<String> {
        self.process.log.lines().clone()
    }

    /// Returns the log entries of an event, such as `webhook_refused`, in their order.
    pub fn logged(&self, event: &str) -> Vec<Value> {
        self.process.log.entries(event)
    }

    /// Counts the log entries of an event.
    pub fn times_logged(&self, event: &str) -> usize {
        self.logged(event).len()
    }

    /// Waits until an event was logged, and returns its first entry.
    ///
    /// # Panics
    ///
    /// If no such entry comes within [`wait::TIMEOUT`].
    #[track_caller]
    pub fn wait_for_event(&self, event: &str) -> Value {
        wait::until(&format!("`{event}` is logged"), || self.logged(event).into_iter().next())
    }

    /// Returns the host's description of an integration.
    ///
    /// # Panics
    ///
    /// If no integration has this name.
    pub fn integration(&self, name: &str) -> Value {
        let mut list = self.api("/api/v1/integrations");
        let list = list["integrations"].as_array_mut().expect("a list");
        let found = list.iter_mut().find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("no integration `{name}`")).take()
    }

    /// Waits until the host has found a version by itself and serves an integration with it.
    ///
    /// # Panics
    ///
    /// If the version does not serve within [`wait::TIMEOUT`].
    pub fn wait_for_version(&self, integration: &str, version: &str) {
        wait::until(&format!("{version} serves `{integration}`"), || {
            (self.integration(integration)["plugin"]["version"] == version).then_some(())
        });
    }

    /// Returns a number of `/proc/PID/status`, such as `Threads` or `RssAnon` (in kB).
    ///
    /// # Panics
    ///
    /// If the file has no such number.
    pub fn kernel_says(&self, what: &str) -> usize {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = fs::read_to_string(path).expect("the host runs");
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{what}:")));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no `{what}` in\n{status}"))
    }

    /// Counts the open files of the host, without those of its database, some of which are opened
    /// on first use.
    ///
    /// # Panics
    ///
    /// If the host does not run.
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        let handles = fs::read_dir(folder).expect("the host runs");
        let paths = handles.filter_map(|handle| fs::read_link(handle.ok()?.path()).ok());
        paths.filter(|path| !path.starts_with(self.site().folder.path())).count()
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the host runs");
    }

    /// Reloads through the API, and returns the answer.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    pub fn reload(&self) -> Answer {
        let bearer = self.site.admin_token().map(|token| format!("Bearer {token}"));
        let mut request = Request::post("/api/v1/reload", "");
        if let Some(bearer) = &bearer {
            request = request.header("authorization", &**bearer);
        }
        self.ask_admin(&request)
    }

    /// Reloads by SIGHUP, and waits until the host has logged the result.
    pub fn hang_up(&self) {
        let done = || self.times_logged("reload_completed") + self.times_logged("reload_refused");
        let before = done();
        self.signal(Signal::HUP);
        wait::until("the host has reloaded", || (done() > before).then_some(()));
    }

    /// Kills the host with SIGKILL.
    pub fn kill(mut self) -> Site {
        self.signal(Signal::KILL);
        let status = self.process.child.wait();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        self.site
    }

    /// Stops the host with SIGTERM, and waits for its end.
    ///
    /// # Panics
    ///
    /// If the exit code is not 0.
    pub fn stop(self) -> Site {
        self.signal(Signal::TERM);
        self.stopped()
    }

    /// Waits until the host has ended with exit code 0.
    ///
    /// # Panics
    ///
    /// If the host does not end, or with another exit code.
    pub fn stopped(mut self) -> Site {
        let status = self.process.child.wait();
        assert_eq!(status.code(), Some(0), "{status}: {:#?}", self.log());
        self.site
    }

    /// Waits until the host has died of a signal that no test sent.
    ///
    /// # Panics
    ///
    /// If the host does not end, or with an exit code.
    pub fn died(mut self) -> Site {
        let status = self.process.child.wait();
        assert!(status.signal().is_some(), "{status}: {:#?}", self.log());
        self.site
    }

    /// Stops the host as [`TestHost::stop`] does, and starts it again.
    #[must_use]
    pub fn restart(self) -> Self {
        self.stop().serve()
    }
}
