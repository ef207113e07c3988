//! PostgreSQL servers for tests: each in a temporary folder, reached by a socket in it.
//!
//! A small shell process keeps each server. It ends when its input closes, so that neither a server nor its folder
//! outlives the test, even if the test is killed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process};

/// Time within which a server has to start, on a machine that is very busy.
const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// Keeps one server: starts it when it reads `start`, and stops it and deletes its folder at the end of its input.
/// A server that a test has stopped with `SIGSTOP` has to go on to end.
const KEEPER: &str = r#"
while read -r command; do
    case $command in
    start) "$1" -D "$2/data" >>"$2/log" 2>&1 </dev/null & server=$!; echo "$server" ;;
    wait) wait "$server"; server=; echo ended ;;
    esac
done
if [ -n "$server" ]; then
    kill -QUIT "$server"
    kill -CONT "$server"
fi 2>/dev/null
wait
rm -rf "$2"
"#;

/// Settings of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// True if commits are synced to disk.
    pub syncs: bool,
    /// Largest number of connections; 200 with none.
    pub max_connections: Option<u32>,
}

/// A PostgreSQL server with a folder of its own.
pub struct Cluster {
    folder: PathBuf,
    keeper: Mutex<Keeper>,
    databases: AtomicU64,
}

struct Keeper {
    process: Child,
    /// None once the server is to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    server: Option<Pid>,
}

impl Cluster {
    /// Returns the server that the tests of this process share. It does not sync.
    ///
    /// # Panics
    ///
    /// If PostgreSQL is not installed, or does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Settings::default()))
    }

    /// Makes a server and starts it.
    ///
    /// # Panics
    ///
    /// If PostgreSQL is not installed, or does not start.
    pub fn start(settings: Settings) -> Self {
        let folder = tempfile::Builder::new().prefix("tocsin-postgres-").tempdir();
        let folder = folder.expect("a folder").keep();
        let user = user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).expect("root may do so");
        }
        // Tests run hosts as several users.
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&folder, mode).expect("it is ours");
        let data = folder.join("data");
        let mut initdb = as_user(user, &program("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        initdb.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(&data).current_dir(&folder);
        succeed(&mut initdb, &folder);
        let connections = settings.max_connections.unwrap_or(200);
        let sync = if settings.syncs { "on" } else { "off" };
        let configuration = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = {connections}\n\
             shared_buffers = 64MB\nfsync = {sync}\nfull_page_writes = {sync}\n\
             autovacuum_naptime = 10s\nlog_min_messages = warning\n",
            folder.display()
        );
        let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
        let file = file.as_mut().expect("initdb made it");
        file.write_all(configuration.as_bytes()).expect("written");
        let mut keeper = as_user(user, Path::new("/bin/sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(program("postgres")).arg(&folder);
        // A signal for the group of the tests, such as an interrupt from the terminal, is none for the server.
        keeper.process_group(0).current_dir(&folder);
        let mut process =
            keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let keeper = Mutex::new(Keeper { process, commands, answers, server: None });
        let cluster = Self { folder, keeper, databases: AtomicU64::default() };
        cluster.restart();
        cluster
    }

    /// Starts the server again after [`kill`](Self::kill), on the same folder.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    pub fn restart(&self) {
        let answer = self.keeper().ask("start");
        let pid = answer.trim().parse().ok().and_then(Pid::from_raw);
        self.keeper().server = Some(pid.expect("the number of a process"));
        let end = Instant::now() + STARTS_WITHIN;
        loop {
            let output = self.try_psql("postgres", "SELECT 1");
            if output.status.success() {
                return;
            }
            assert!(Instant::now() < end, "{}", self.failure(&output));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server with `SIGKILL`, and waits until all its processes have ended.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.keeper().ask("wait");
        // The processes of connections end by themselves as soon as they notice. Until then, no server starts.
        let end = Instant::now() + STARTS_WITHIN;
        while self.has_processes() {
            assert!(Instant::now() < end, "processes of the server go on");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns true if a process works in the folder of the data, as all of the server do.
    fn has_processes(&self) -> bool {
        let data = self.folder.join("data");
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let folder = |process: fs::DirEntry| fs::read_link(process.path().join("cwd"));
        processes.filter_map(|process| folder(process).ok()).any(|folder| folder == data)
    }

    /// Stops the server at once, as an operator does.
    pub fn stop(&self) {
        self.signal(Signal::INT);
        self.keeper().ask("wait");
    }

    /// Sends a signal to the server.
    ///
    /// # Panics
    ///
    /// If there is no server.
    pub fn signal(&self, signal: Signal) {
        let server = self.keeper().server.expect("it was started");
        kill_process(server, signal).expect("it runs");
    }

    /// Returns the folder of the server's socket.
    pub fn socket(&self) -> &Path {
        &self.folder
    }

    /// Makes an empty database, and returns its URL.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Returns the URL of a database.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.to_string_lossy();
        let folder = utf8_percent_encode(&folder, NON_ALPHANUMERIC);
        format!("postgres://postgres@/{database}?host={folder}")
    }

    /// Executes statements in a database, and returns the rows as text without headings.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.try_psql(database, sql);
        assert!(output.status.success(), "{}", self.failure(&output));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Executes statements in a database, and returns the result of `psql`.
    ///
    /// # Panics
    ///
    /// If `psql` cannot be run.
    pub fn try_psql(&self, database: &str, sql: &str) -> Output {
        let mut psql = Command::new(program("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username=postgres"]);
        psql.args(["--set=ON_ERROR_STOP=1", "--dbname", database, "--command", sql, "--host"]);
        psql.arg(&self.folder).stdin(Stdio::null()).output().expect("psql is there")
    }

    fn failure(&self, output: &Output) -> String {
        failure(output, &self.folder)
    }

    fn keeper(&self) -> std::sync::MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut keeper = self.keeper();
        keeper.commands = None;
        let _ = keeper.process.wait();
    }
}

impl Keeper {
    fn ask(&mut self, command: &str) -> String {
        let commands = self.commands.as_mut().expect("it is not dropped");
        writeln!(commands, "{command}").expect("the keeper runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the keeper answers");
        answer
    }
}

/// Returns the path of a program of PostgreSQL. Debian keeps those for servers out of the path.
fn program(name: &str) -> PathBuf {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&in_path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("`{name}` is missing: install PostgreSQL (Debian: `apt install postgresql`)")
    })
}

/// Returns another user if this one is root, as whom PostgreSQL does not run.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut words = line.split(':').skip(2).map(str::parse);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    };
    Some(of("postgres").or_else(|| of("nobody")).expect("a user that is not root"))
}

fn as_user(user: Option<(u32, u32)>, program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn succeed(command: &mut Command, folder: &Path) {
    let output = command.stdin(Stdio::null()).output().expect("a program");
    assert!(output.status.success(), "{}", failure(&output, folder));
}

/// Returns the output of a program that failed, and the end of the server's log.
fn failure(output: &Output, folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().rev().take(20).collect();
    let end: Vec<_> = lines.into_iter().rev().collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}\nlog:\n{}", text(&output.stdout), text(&output.stderr), end.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_its_databases_when_it_is_killed_and_leaves_nothing_behind() {
        let cluster = Cluster::start(Settings { syncs: true, ..Settings::default() });
        let (one, other) = (cluster.database(), cluster.database());
        assert_ne!(one, other);
        cluster.psql("t0", "CREATE TABLE t (x INT); INSERT INTO t VALUES (7)");
        cluster.kill();
        cluster.restart();
        assert_eq!(cluster.psql("t0", "SELECT x FROM t"), "7");
        cluster.stop();
        cluster.restart();
        let folder = cluster.socket().to_owned();
        drop(cluster);
        assert!(!folder.exists());
    }

    #[test]
    fn a_stopped_server_ends_with_its_test() {
        let cluster = Cluster::start(Settings::default());
        let (folder, server) = (cluster.socket().to_owned(), cluster.keeper().server);
        cluster.signal(Signal::STOP);
        drop(cluster);
        assert!(!folder.exists());
        let process =
            server.map(|server| PathBuf::from(format!("/proc/{}", server.as_raw_nonzero())));
        assert!(process.is_some_and(|process| !process.exists()));
    }
}
