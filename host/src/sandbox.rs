//! Runs a plugin in a child process, so that a crash, an endless loop or unlimited memory of the plugin
//! cannot affect its caller.
//!
//! The sandbox only records what the plugin did. The caller decides what that means.

pub(crate) mod attempt;
pub(crate) mod child;
mod confinement;
pub(crate) mod message;
pub(crate) mod mutation;
pub(crate) mod probe;
pub(crate) mod protocol;
pub(crate) mod violation;

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::protocol::{Observation, Operation, SandboxJob, Task};
use crate::{plugins::folder::explained, printable::is_unprintable};

/// The subcommand that makes `tocsin` a sandbox. The host starts it; operators never type it.
pub(crate) const SUBCOMMAND: &str = "plugin-sandbox";

/// The most output that is read of a child.
const MOST_OUTPUT_BYTES: u64 = 256 * 1024 * 1024;
/// The most that is kept of a child's standard error.
const STDERR_BYTES: u64 = 4096;
/// The time to wait for the standard error of a child that has ended. A process that the child
/// started may still hold the pipe open.
const STDERR_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout for starting and loading, which take longer than a call: the file is read, hashed,
/// copied and linked.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The observations of a child, and how it ended.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The observations, without [`Observation::Began`].
    pub observations: Vec<Observation>,
    /// The operation that the child was at when it ended, and its position.
    pub at: Option<(Operation, usize)>,
    /// The reason why the child did not complete its task.
    pub death: Option<Death>,
}

/// The reason why a child did not complete its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// A call did not return within this time, and the child was killed.
    Hung(Duration),
    /// The calls together took longer than this time, and the child was killed.
    Overtime(Duration),
    /// A signal ended the child. The text is the first line of its standard error, if there is one.
    Signal(i32, String),
    /// The child exited. The text is as for [`Signal`](Self::Signal).
    Exited(i32, String),
    /// The output of the child is invalid or too long.
    InvalidOutput(String),
    /// The child could not be started.
    NotStarted(String),
}

impl Death {
    /// Returns true if the child was killed for taking too long.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Hung(_) | Self::Overtime(_))
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hung(timeout) => write!(f, "did not return within {timeout:?} and was killed"),
            Self::Overtime(timeout) => {
                write!(f, "took longer than {timeout:?} in all and was killed")
            }
            Self::Signal(signal, line) => {
                write!(f, "was ended by {}{}", signal_name(*signal), in_brackets(line))
            }
            Self::Exited(code, line) => {
                write!(f, "ended its process with exit code {code}{}", in_brackets(line))
            }
            Self::InvalidOutput(what) => write!(f, "corrupted the output of its process: {what}"),
            Self::NotStarted(why) => write!(f, "could not be tried: {why}"),
        }
    }
}

/// A library, and the timeouts of the children that run it.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    /// The file.
    pub library: PathBuf,
    /// The hash of its bytes, if they were checked before.
    pub sha256: Option<String>,
    /// The longest time that one call may take.
    pub call_timeout: Duration,
    /// The longest life of one child.
    pub total_timeout: Duration,
}

impl Sandbox {
    /// A sandbox for a library whose bytes were not checked before.
    pub(crate) fn new(library: &Path, call_timeout: Duration, total_timeout: Duration) -> Self {
        Self { library: library.to_owned(), sha256: None, call_timeout, total_timeout }
    }

    /// Runs a [`Task`] in a new child, which has ended when this function returns.
    pub(crate) fn run(&self, task: Task) -> Record {
        self.watch(task, |_| {})
    }

    /// Runs a [`Task`] in a new child, and reports the position of each operation as it begins.
    pub(crate) fn watch(&self, task: Task, mut began: impl FnMut(usize)) -> Record {
        let mut record = Record::default();
        let job = SandboxJob { library: self.library.clone(), sha256: self.sha256.clone(), task };
        match SandboxProcess::start(&job) {
            Ok(process) => record.death = self.listen(process, &mut record, &mut began),
            Err(why) => record.death = Some(Death::NotStarted(why)),
        }
        record
    }

    /// Returns the JSON Schema of the plugin's options.
    ///
    /// # Errors
    ///
    /// The end of a sentence that starts with the plugin, if it gives no schema.
    pub(crate) fn schema(&self) -> Result<Value, String> {
        let record = self.run(Task::Schema);
        for observation in record.observations {
            match observation {
                Observation::Schema(schema) => return Ok(schema),
                Observation::NotLoaded(why) => return Err(format!("can't be loaded: {why}")),
                Observation::NoSchema(why) => return Err(format!("returns no schema: {why}")),
                Observation::Failed { what, .. } => {
                    return Err(format!("{what} when asked for its schema"));
                }
                _ => {}
            }
        }
        if let Some(death @ Death::NotStarted(_)) = &record.death {
            return Err(death.to_string());
        }
        let death = record.death.map_or_else(|| "gave no answer".into(), |death| death.to_string());
        Err(format!("{death} when asked for its schema"))
    }

    fn listen(
        &self,
        mut process: SandboxProcess,
        record: &mut Record,
        began: &mut dyn FnMut(usize),
    ) -> Option<Death> {
        let end = Instant::now() + self.total_timeout.max(START_TIMEOUT);
        let mut timeout = START_TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match process.observations.recv_timeout(timeout.min(left)) {
                Ok(Ok(Observation::Done)) => return None,
                Ok(Ok(Observation::Began(operation, index))) => {
                    began(index);
                    record.at = Some((operation, index));
                }
                Ok(Ok(observation)) => record.observations.push(observation),
                Ok(Err(why)) => return Some(Death::InvalidOutput(why)),
                Err(RecvTimeoutError::Disconnected) => return Some(process.ended()),
                Err(RecvTimeoutError::Timeout) if left < timeout => {
                    return Some(Death::Overtime(self.total_timeout));
                }
                Err(RecvTimeoutError::Timeout) => return Some(Death::Hung(self.call_timeout)),
            }
            timeout = self.call_timeout;
        }
    }
}

/// A child process and its output.
struct SandboxProcess {
    child: KillOnDrop,
    observations: mpsc::Receiver<Result<Observation, String>>,
    stderr_line: mpsc::Receiver<String>,
}

impl SandboxProcess {
    fn start(job: &SandboxJob) -> Result<Self, String> {
        Self::try_start(job).map_err(|error| error.to_string())
    }

    fn try_start(job: &SandboxJob) -> io::Result<Self> {
        // `/proc/self/exe` is this very program, even if its file was replaced since. The environment
        // is empty: a plugin needs none of it, and it may hold secrets.
        let child = Command::new("/proc/self/exe")
            .arg0("tocsin")
            .arg(SUBCOMMAND)
            .env_clear()
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = KillOnDrop(child.map_err(explained)?);
        let piped = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = piped else {
            return Err(io::Error::other("its pipes are missing"));
        };
        let (observations, stderr_line) = (read_observations(stdout)?, read_stderr(stderr)?);
        // If the child has ended already, `ended` says so.
        let _ = stdin.write_all(&serde_json::to_vec(job)?);
        Ok(Self { child, observations, stderr_line })
    }

    /// Waits for the end of a child whose output has ended.
    fn ended(&mut self) -> Death {
        // A child can close its output without ending.
        let _ = self.child.0.kill();
        let line = self.stderr_line.recv_timeout(STDERR_TIMEOUT).unwrap_or_default();
        match self.child.0.wait() {
            Ok(status) => death_of(status, line),
            Err(error) => Death::InvalidOutput(error.to_string()),
        }
    }
}

/// A child that is killed and waited for when this value is dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // The child may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn death_of(status: ExitStatus, line: String) -> Death {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Death::Signal(signal, line),
        (None, code) => Death::Exited(code.unwrap_or_default(), line),
    }
}

fn read_observations(
    stdout: ChildStdout,
) -> io::Result<mpsc::Receiver<Result<Observation, String>>> {
    // Bounded, so that a child with much output waits instead of filling the memory of its parent.
    let (sender, observations) = mpsc::sync_channel(1024);
    let read = move || {
        let mut stdout = BufReader::new(stdout.take(MOST_OUTPUT_BYTES));
        let mut line = Vec::new();
        while let Ok(1..) = stdout.read_until(b'\n', &mut line) {
            // The last line of a child that died while it wrote has no end.
            let is_whole = line.last() == Some(&b'\n');
            let observation =
                serde_json::from_slice(&line).map_err(|_| "a line of it is invalid".into());
            if is_whole && sender.send(observation).is_err() {
                return;
            }
            line.clear();
        }
        if stdout.get_ref().limit() == 0 {
            let _ = sender.send(Err(format!("it is longer than {MOST_OUTPUT_BYTES} bytes")));
        }
    };
    thread::Builder::new().spawn(read)?;
    Ok(observations)
}

/// Reads standard error to its end, and sends its first line with text, such as that a stack has
/// overflowed.
fn read_stderr(stderr: ChildStderr) -> io::Result<mpsc::Receiver<String>> {
    let (sender, first_line) = mpsc::channel();
    let read = move || {
        let mut first = Vec::new();
        let mut stderr = stderr;
        let _ = (&mut stderr).take(STDERR_BYTES).read_to_end(&mut first);
        let first = String::from_utf8_lossy(&first);
        let line = first.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        // The sentence of std holds the number of a thread.
        let is_overflow = line.ends_with("has overflowed its stack");
        let line = if is_overflow { "its stack has overflowed" } else { line };
        let _ = sender.send(line.chars().filter(|c| !is_unprintable(*c)).take(200).collect());
        // Go on reading, so that no writer waits for room in the pipe.
        let _ = io::copy(&mut stderr, &mut io::sink());
    };
    thread::Builder::new().spawn(read)?;
    Ok(first_line)
}

/// Returns a text in brackets for the end of a sentence, or nothing if the text is empty.
fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        other => return format!("signal {other}"),
    };
    name.into()
}
