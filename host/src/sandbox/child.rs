//! The child's side of a sandbox: reads one job from standard input, loads one library, runs the task
//! and writes [`Observation`]s to its original standard output.
//!
//! The child judges nothing and keeps no time: its parent does.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use rustix::process::{Resource, Rlimit, Signal};
use serde_json::Value;
use tocsin_plugin_api::abi::{CallError, Instance, Module, NewInstanceError};

use super::{
    confinement,
    message::Message,
    mutation,
    protocol::{Confinement, FuzzRun, MessageRun, Observation, Operation, SandboxJob, Task},
};
use crate::plugins::{Libraries, dropped_file::DroppedFile, journal::LoadJournal};

/// The most memory that a child may map: more than any plugin needs, and less than a machine has.
const ADDRESS_SPACE_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// The size of a thread's stack, as in the host.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// The number of times that a fuzz run measures its memory.
const MEMORY_SAMPLES: usize = 100;

/// Does the job on standard input, and returns the exit code.
pub(crate) fn main() -> u8 {
    match run() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}

fn run() -> io::Result<()> {
    let reporter = Reporter::take_stdout()?;
    limit_resources()?;
    let job: SandboxJob = serde_json::from_str(&io::read_to_string(io::stdin())?)?;
    if matches!(job.task, Task::Load) {
        // A failure before this point is not the plugin's fault.
        reporter.report(&Observation::Began(Operation::Load, 0));
    }
    match load(&job) {
        Ok(module) => {
            reporter.report(&Observation::Loaded);
            run_task(job.task, module, &reporter);
        }
        Err(why) => reporter.report(&Observation::NotLoaded(why)),
    }
    reporter.report(&Observation::Done);
    Ok(())
}

/// Ends the child with its parent, and bounds its memory.
fn limit_resources() -> io::Result<()> {
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // A lower limit that holds already cannot be raised.
    let most = rustix::process::getrlimit(Resource::As).maximum.unwrap_or(u64::MAX);
    rustix::process::setrlimit(Resource::As, limit(most.min(ADDRESS_SPACE_BYTES)))?;
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

fn load(job: &SandboxJob) -> Result<Module, String> {
    let admitted = DroppedFile::read(&job.library).and_then(DroppedFile::admit_unverified);
    let admitted = Arc::new(admitted.map_err(|refusal| refusal.problem.to_string())?);
    if job.sha256.as_ref().is_some_and(|expected| *expected != admitted.sha256) {
        return Err("was replaced since it was checked\nhint: try again".into());
    }
    // The parent keeps the time. There is no probe: this process is the sandbox.
    Libraries::new(LoadJournal::default(), Gauge::default(), None)
        .load(&admitted, Duration::MAX)
        .map(|loaded| loaded.module)
        .map_err(|error| error.to_string())
}

fn run_task(task: Task, module: Module, reporter: &Reporter) {
    match task {
        // Runs on the main thread: the filter applies to the thread that sets it.
        Task::Receive(MessageRun { confinement: Some(confinement), messages, options, .. }) => {
            let messages = messages.into_iter().map(Message::whole).collect();
            let run = MessageRun { messages, options, ..MessageRun::default() };
            match reporter.confine(confinement) {
                Ok(()) => receive_all(&run, &module, reporter),
                Err(why) => reporter.report(&Observation::NotConfined(why)),
            }
        }
        task => on_host_sized_stack(|| match &task {
            Task::Load | Task::Schema => schema(&module, reporter),
            Task::Make(tables) => tables.iter().enumerate().for_each(|(index, options)| {
                if let Some(instance) = make(&module, reporter, index, options) {
                    close(instance, reporter, index);
                }
            }),
            Task::Receive(run) => receive_all(run, &module, reporter),
            Task::Fuzz(run) => fuzz(run, &module, reporter),
        }),
    }
}

fn on_host_sized_stack(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn_scoped(scope, work) {
            eprintln!("error: cannot start a thread: {error}");
        }
    });
}

fn schema(module: &Module, reporter: &Reporter) {
    reporter.report(&Observation::Began(Operation::Schema, 0));
    reporter.report(&match module.options_schema() {
        Ok(schema) => match serde_json::from_slice(&schema) {
            Ok(schema) => Observation::Schema(schema),
            Err(error) => Observation::NoSchema(format!("it is not JSON: {error}")),
        },
        Err(error) => {
            Observation::Failed { operation: Operation::Schema, index: 0, what: error.to_string() }
        }
    });
}

fn make(module: &Module, reporter: &Reporter, index: usize, options: &Value) -> Option<Instance> {
    reporter.report(&Observation::Began(Operation::New, index));
    match module.instance(options.to_string().as_bytes()) {
        Ok(instance) => {
            reporter.report(&Observation::Made(index));
            Some(instance)
        }
        Err(NewInstanceError::Refused(error)) => {
            reporter.report(&Observation::Refused { index, sentence: error.to_string() });
            None
        }
        Err(error) => {
            reporter.report(&Observation::Failed {
                operation: Operation::New,
                index,
                what: error.to_string(),
            });
            None
        }
    }
}

fn close(instance: Instance, reporter: &Reporter, index: usize) {
    reporter.report(&Observation::Began(Operation::Drop, index));
    if let Err(error) = instance.close() {
        reporter.report(&Observation::Failed {
            operation: Operation::Drop,
            index,
            what: error.to_string(),
        });
    }
}

/// Makes an instance from each table; `None` where that failed, which was reported.
fn make_all(module: &Module, reporter: &Reporter, tables: &[Value]) -> Vec<Option<Instance>> {
    let tables = tables.iter().enumerate();
    tables.map(|(index, options)| make(module, reporter, index, options)).collect()
}

fn close_all(instances: Vec<Option<Instance>>, reporter: &Reporter) {
    for (index, instance) in instances.into_iter().enumerate() {
        if let Some(instance) = instance {
            close(instance, reporter, index);
        }
    }
}

fn receive_all(run: &MessageRun, module: &Module, reporter: &Reporter) {
    let instances = make_all(module, reporter, &run.options);
    if run.threads == 0 {
        receive_from(0, run, &instances, reporter);
    } else {
        thread::scope(|scope| {
            for number in 0..run.threads {
                let instances = &instances;
                scope.spawn(move || receive_from(number, run, instances, reporter));
            }
        });
    }
    close_all(instances, reporter);
}

/// Receives the messages from one of several threads. Each thread starts at another message, so that
/// different messages are received at the same time.
fn receive_from(
    number: usize,
    run: &MessageRun,
    instances: &[Option<Instance>],
    reporter: &Reporter,
) {
    let count = run.messages.len();
    let first = number * count / run.threads.max(1);
    for index in (first..count).chain(0..first) {
        let message = &run.messages[index];
        let Some(Some(instance)) = instances.get(message.options) else { continue };
        for _ in 0..run.repeats.max(1) {
            if !receive(instance, index, message, run.is_brief, reporter) {
                // An instance that panicked is not used again.
                return;
            }
        }
    }
}

/// Receives one message. Returns false if the plugin failed.
fn receive(
    instance: &Instance,
    index: usize,
    message: &Message,
    is_brief: bool,
    reporter: &Reporter,
) -> bool {
    reporter.report(&Observation::Began(Operation::Receive, index));
    let result = outcome(instance, message);
    let has_returned = result.is_ok();
    reporter.report(&match result {
        Ok((outcome, took)) => {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let outcome = if is_brief { Value::Null } else { outcome };
            Observation::Received { index, outcome, micros }
        }
        Err(error) => {
            Observation::Failed { operation: Operation::Receive, index, what: error.to_string() }
        }
    });
    has_returned
}

/// Returns the outcome of a message, and the duration of the longest call.
fn outcome(instance: &Instance, message: &Message) -> Result<(Value, Duration), CallError> {
    if let Some(attempt) = &message.attempt {
        let played = attempt.play(instance)?;
        return Ok((played.outcome, played.longest));
    }
    let (result, took) = message.lend(|request| {
        let started = Instant::now();
        (instance.receive(request), started.elapsed())
    });
    Ok((serde_json::from_slice(&result?.to_json()).unwrap_or_default(), took))
}

/// Lets the plugin handle a message, and drops the outcome.
fn handle(instance: &Instance, message: &Message) -> Result<(), CallError> {
    match &message.attempt {
        Some(attempt) => attempt.play(instance).map(drop),
        None => message.lend(|request| instance.receive(request)).map(drop),
    }
}

fn fuzz(run: &FuzzRun, module: &Module, reporter: &Reporter) {
    let instances = make_all(module, reporter, &run.options);
    for index in 0..run.requests {
        if index % (run.requests / MEMORY_SAMPLES).max(1) == 0 {
            report_memory(index, reporter);
        }
        let message = mutation::message(&run.samples, run.seed, index);
        let Some(Some(instance)) = instances.get(message.options) else { continue };
        reporter.report(&Observation::Began(Operation::Receive, index));
        if let Err(error) = handle(instance, &message) {
            reporter.report(&Observation::Failed {
                operation: Operation::Receive,
                index,
                what: error.to_string(),
            });
            return;
        }
    }
    report_memory(run.requests, reporter);
    close_all(instances, reporter);
}

fn report_memory(requests: usize, reporter: &Reporter) {
    if let Some(anonymous_bytes) = anonymous_bytes() {
        reporter.report(&Observation::Memory { requests, anonymous_bytes });
    }
}

fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// The way to the parent. The child's standard output then leads nowhere, so a plugin that prints
/// does not disturb it.
struct Reporter(Mutex<File>);

impl Reporter {
    fn take_stdout() -> io::Result<Self> {
        // A high number, which no file that is opened later gets.
        let own = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 200)?;
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        Ok(Self(Mutex::new(own.into())))
    }

    /// Confines this process: from here on it can only compute and report.
    fn confine(&self, how: Confinement) -> Result<(), String> {
        confinement::confine(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_fd(), how)
    }

    fn report(&self, observation: &Observation) {
        let mut line = Vec::with_capacity(64);
        // Observations can always be written as JSON, and this child ends with its parent.
        let _ = serde_json::to_writer(&mut line, observation);
        line.push(b'\n');
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
    }
}
