//! Runs a plugin in a child process, so that nothing it does can hurt the one that asks: a crash, an
//! endless loop, memory without end.
//!
//! It judges nothing: what the plugin did is recorded, and what that means is for
//! [`certify`](crate::certify) and the command line to say. A host that serves uses only its
//! [`probe`].

pub mod child;
mod confinement;
pub mod message;
pub mod mutation;
pub mod probe;
pub mod violation;

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

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{message::Message, violation::Violation};
use crate::{plugins::folder::explained, printable::is_unprintable};

/// The subcommand that makes `tocsin` such a child. Nobody types it.
pub const SUBCOMMAND: &str = "plugin-trial";

/// A child that says more than this has lost its senses.
const MOST_OUTPUT_BYTES: u64 = 256 * 1024 * 1024;
/// What is kept of a child's last words on standard error.
const LAST_WORDS_BYTES: u64 = 4096;
/// How long they are waited for once it has ended: what it started may still hold its standard error.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Starting and loading may take longer than a call: the file is read, hashed, copied and linked.
const TIME_TO_START: Duration = Duration::from_secs(30);

/// What a child is to do with one library.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SandboxJob {
    library: PathBuf,
    sha256: Option<String>,
    task: Task,
}

/// What is wanted of a plugin, once it is loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Nothing but being loaded and asked for its schema: a host does both.
    Load,
    /// Its options' JSON Schema.
    Schema,
    /// An instance from each options table, dropped at once.
    Make(Vec<Value>),
    /// What it makes of each message.
    Ask(Questions),
    /// What becomes of it under many random and mutated messages.
    Storm(Storm),
}

/// Messages for instances.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Questions {
    /// One instance for each options table.
    pub options: Vec<Value>,
    /// They name their instance by its place.
    pub messages: Vec<Message>,
    /// How often each is asked in a row.
    pub repeats: usize,
    /// Asked from so many threads at once; 0 is from one, without a thread of its own.
    pub threads: usize,
    /// Whether and how anything but computing ends the child.
    pub confinement: Option<Confinement>,
    /// Whether outcomes are left out of the record: those of huge messages are huge.
    pub is_brief: bool,
}

/// What is kept from a plugin besides system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confinement {
    /// Nothing.
    SystemCalls,
    /// The environment as well.
    Environment,
}

/// Messages that the child makes itself, the same ones for the same seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Storm {
    /// One instance for each options table.
    pub options: Vec<Value>,
    /// What is mutated.
    pub corpus: Vec<Message>,
    /// Where the random numbers start.
    pub seed: u64,
    /// How many.
    pub requests: usize,
}

/// What a plugin was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doing {
    /// Being loaded, where nothing else is wanted of it.
    Load,
    /// Giving its schema.
    Schema,
    /// Making an instance.
    New,
    /// Receiving a message.
    Receive,
    /// Dropping an instance.
    Drop,
}

/// One line of a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Said {
    /// The library is loaded.
    Loaded,
    /// It can't be.
    NotLoaded(String),
    /// The next thing it does; what follows is of it.
    At(Doing, usize),
    /// The schema of its options.
    Schema(Value),
    /// Why it gives none, though it did not panic.
    NoSchema(String),
    /// An instance was made.
    Made(usize),
    /// The options were refused.
    Refused {
        /// Which.
        index: usize,
        /// The sentence, as an operator sees it.
        sentence: String,
    },
    /// A message was received.
    Received {
        /// Which.
        index: usize,
        /// What came of it, as it crosses the boundary; null where it is left out.
        outcome: Value,
        /// How long it took.
        micros: u64,
    },
    /// The plugin panicked, or answered what makes no sense.
    Failed {
        /// At what.
        doing: Doing,
        /// At which.
        index: usize,
        /// `panicked: ...`
        what: String,
    },
    /// Resident anonymous memory after so many messages.
    Memory {
        /// Messages received by then.
        requests: usize,
        /// In bytes.
        anonymous_bytes: u64,
    },
    /// It reached for what a plugin must not touch, and was ended.
    Violation(Violation),
    /// It could not be locked in on this machine.
    NotConfined(String),
    /// All is done.
    Done,
}

/// What a child said, and how it ended.
#[derive(Debug, Default)]
pub struct Record {
    /// Everything but the places.
    pub said: Vec<Said>,
    /// What it was at when it ended.
    pub at: Option<(Doing, usize)>,
    /// Why it did not come to its end.
    pub death: Option<Death>,
}

/// Why a child did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// One call did not return; it was killed.
    Hung(Duration),
    /// All of it together took too long; it was killed.
    Overtime(Duration),
    /// A signal ended it, perhaps with last words.
    Signal(i32, String),
    /// It ended itself.
    Exited(i32, String),
    /// What it says makes no sense, or has no end.
    Nonsense(String),
    /// It never began.
    NotStarted(String),
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hung(patience) => write!(f, "did not return within {patience:?} and was killed"),
            Self::Overtime(limit) => {
                write!(f, "was not through within {limit:?} and was killed")
            }
            Self::Signal(signal, last) => {
                write!(f, "was ended by {}{}", signal_name(*signal), in_brackets(last))
            }
            Self::Exited(code, last) => {
                write!(f, "ended its process with exit code {code}{}", in_brackets(last))
            }
            Self::Nonsense(what) => write!(f, "disturbed its process: {what}"),
            Self::NotStarted(why) => write!(f, "could not be tried: {why}"),
        }
    }
}

/// A library to be tried.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The file.
    pub library: PathBuf,
    /// The hash of its bytes, where they were checked before.
    pub sha256: Option<String>,
    /// How long one call may take before the child is killed.
    pub patience: Duration,
    /// How long one child may live.
    pub limit: Duration,
}

impl Sandbox {
    /// Trials of a library.
    pub fn new(library: &Path, patience: Duration, limit: Duration) -> Self {
        Self { library: library.to_owned(), sha256: None, patience, limit }
    }

    /// Has a new child do it. It has ended when this returns.
    pub fn run(&self, task: Task) -> Record {
        self.watch(task, |_| {})
    }

    /// The same, telling the place of each call as it is reached.
    pub fn watch(&self, task: Task, mut reached: impl FnMut(usize)) -> Record {
        let mut record = Record::default();
        let job = SandboxJob { library: self.library.clone(), sha256: self.sha256.clone(), task };
        match TrialProcess::start(&job) {
            Ok(process) => record.death = self.listen(process, &mut record, &mut reached),
            Err(why) => record.death = Some(Death::NotStarted(why)),
        }
        record
    }

    /// The JSON Schema of the plugin's options.
    ///
    /// # Errors
    ///
    /// Why there is none, the end of a sentence that starts with the plugin.
    pub fn schema(&self) -> Result<Value, String> {
        let record = self.run(Task::Schema);
        for said in record.said {
            match said {
                Said::Schema(schema) => return Ok(schema),
                Said::NotLoaded(why) => return Err(format!("can't be loaded: {why}")),
                Said::NoSchema(why) => return Err(format!("gives no schema: {why}")),
                Said::Failed { what, .. } => return Err(format!("{what}, asked for its schema")),
                _ => {}
            }
        }
        if let Some(death @ Death::NotStarted(_)) = &record.death {
            return Err(death.to_string());
        }
        let death = record.death.map_or_else(|| "said nothing".into(), |death| death.to_string());
        Err(format!("{death}, asked for its schema"))
    }

    fn listen(
        &self,
        mut process: TrialProcess,
        record: &mut Record,
        reached: &mut dyn FnMut(usize),
    ) -> Option<Death> {
        let end = Instant::now() + self.limit.max(TIME_TO_START);
        let mut patience = TIME_TO_START;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match process.lines.recv_timeout(patience.min(left)) {
                Ok(Ok(Said::Done)) => return None,
                Ok(Ok(Said::At(doing, index))) => {
                    reached(index);
                    record.at = Some((doing, index));
                }
                Ok(Ok(said)) => record.said.push(said),
                Ok(Err(why)) => return Some(Death::Nonsense(why)),
                Err(RecvTimeoutError::Disconnected) => return Some(process.ended()),
                Err(RecvTimeoutError::Timeout) if left < patience => {
                    return Some(Death::Overtime(self.limit));
                }
                Err(RecvTimeoutError::Timeout) => return Some(Death::Hung(self.patience)),
            }
            patience = self.patience;
        }
    }
}

/// The child, and what it says.
struct TrialProcess {
    child: Reaped,
    lines: mpsc::Receiver<Result<Said, String>>,
    last_words: mpsc::Receiver<String>,
}

impl TrialProcess {
    fn start(job: &SandboxJob) -> Result<Self, String> {
        Self::try_start(job).map_err(|error| error.to_string())
    }

    fn try_start(job: &SandboxJob) -> io::Result<Self> {
        // This very program, though its file may have been replaced meanwhile. An empty environment:
        // nothing of it is the plugin's concern, and some of it may be secret.
        let child = Command::new("/proc/self/exe")
            .arg0("tocsin")
            .arg(SUBCOMMAND)
            .env_clear()
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = Reaped(child.map_err(explained)?);
        let piped = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = piped else {
            return Err(io::Error::other("its pipes are missing"));
        };
        let (lines, last_words) = (lines_of(stdout)?, words_of(stderr)?);
        // A child that is gone already says so otherwise.
        let _ = stdin.write_all(&serde_json::to_vec(job)?);
        Ok(Self { child, lines, last_words })
    }

    /// How it ended, now that its output has.
    fn ended(&mut self) -> Death {
        // Whoever closed its output without ending is ended.
        let _ = self.child.0.kill();
        let words = self.last_words.recv_timeout(LAST_WORDS).unwrap_or_default();
        match self.child.0.wait() {
            Ok(status) => death_of(status, words),
            Err(error) => Death::Nonsense(error.to_string()),
        }
    }
}

/// Whatever becomes of the child, it is gone when this is dropped.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn death_of(status: ExitStatus, words: String) -> Death {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Death::Signal(signal, words),
        (None, code) => Death::Exited(code.unwrap_or_default(), words),
    }
}

fn lines_of(stdout: ChildStdout) -> io::Result<mpsc::Receiver<Result<Said, String>>> {
    // Bounded, so that a child that says much waits instead of filling the memory of its parent.
    let (sender, lines) = mpsc::sync_channel(1024);
    let read = move || {
        let mut stdout = BufReader::new(stdout.take(MOST_OUTPUT_BYTES));
        let mut line = Vec::new();
        while let Ok(1..) = stdout.read_until(b'\n', &mut line) {
            // The end of a line is missing where the child died in the middle of it.
            let is_whole = line.last() == Some(&b'\n');
            let said = serde_json::from_slice(&line).map_err(|_| "its words make no sense".into());
            if is_whole && sender.send(said).is_err() {
                return;
            }
            line.clear();
        }
        if stdout.get_ref().limit() == 0 {
            let _ = sender.send(Err(format!("it said more than {MOST_OUTPUT_BYTES} bytes")));
        }
    };
    thread::Builder::new().spawn(read)?;
    Ok(lines)
}

/// The first line that it wrote there with some text in it, such as that its stack has overflowed.
fn words_of(stderr: ChildStderr) -> io::Result<mpsc::Receiver<String>> {
    let (sender, words) = mpsc::channel();
    let read = move || {
        let mut first = Vec::new();
        let mut stderr = stderr;
        let _ = (&mut stderr).take(LAST_WORDS_BYTES).read_to_end(&mut first);
        let first = String::from_utf8_lossy(&first);
        let line = first.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        // std's own sentence has the number of a thread in it.
        let is_overflow = line.ends_with("has overflowed its stack");
        let line = if is_overflow { "its stack has overflowed" } else { line };
        let _ = sender.send(line.chars().filter(|c| !is_unprintable(*c)).take(200).collect());
        // Read on, so that nobody waits for room in the pipe.
        let _ = io::copy(&mut stderr, &mut io::sink());
    };
    thread::Builder::new().spawn(read)?;
    Ok(words)
}

/// Somebody's words at the end of a sentence.
fn in_brackets(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" ({words})") }
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
