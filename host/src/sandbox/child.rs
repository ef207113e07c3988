//! The child's side: reads one job from standard input, loads one library, does what is asked, and
//! says on its first output what happens, a line of JSON at a time.
//!
//! It judges nothing, and it does not watch the time: its parent does.

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
use tocsin_plugin_api::abi::{Instance, Module, NewInstanceError};

use super::{
    Confinement, Doing, Questions, Said, SandboxJob, Storm, Task, confinement, message::Message,
    mutation,
};
use crate::plugins::{Libraries, admission::DroppedFile, journal::LoadJournal};

/// More than any plugin needs, and less than what hurts the machine.
const ADDRESS_SPACE_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// What a thread of the host has, and so what a plugin may use of the stack.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// How often the memory is looked at during a storm.
const MEMORY_SAMPLES: usize = 100;

/// Does the one job, and gives the exit code.
pub fn main() -> u8 {
    match attend() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}

fn attend() -> io::Result<()> {
    let voice = Voice::take_stdout()?;
    limit_resources()?;
    let job: SandboxJob = serde_json::from_str(&io::read_to_string(io::stdin())?)?;
    if matches!(job.task, Task::Load) {
        // What goes wrong before is not the plugin's fault.
        voice.say(&Said::At(Doing::Load, 0));
    }
    match load(&job) {
        Ok(module) => {
            voice.say(&Said::Loaded);
            perform(job.task, module, &voice);
        }
        Err(why) => voice.say(&Said::NotLoaded(why)),
    }
    voice.say(&Said::Done);
    Ok(())
}

/// Nothing of this child outlives its parent, and nothing in it takes the whole machine.
fn limit_resources() -> io::Result<()> {
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // Whoever has less already can't have more.
    let most = rustix::process::getrlimit(Resource::As).maximum.unwrap_or(u64::MAX);
    rustix::process::setrlimit(Resource::As, limit(most.min(ADDRESS_SPACE_BYTES)))?;
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

fn load(job: &SandboxJob) -> Result<Module, String> {
    let admitted = DroppedFile::read(&job.library).and_then(DroppedFile::admit_to_trial);
    let admitted = Arc::new(admitted.map_err(|refusal| refusal.problem.to_string())?);
    if job.sha256.as_ref().is_some_and(|expected| *expected != admitted.sha256) {
        return Err("was replaced since it was checked\nhint: try again".into());
    }
    // Whoever started this process has the patience, and this is where a plugin is tried.
    Libraries::new(LoadJournal::default(), Gauge::default(), None)
        .load(&admitted, Duration::MAX)
        .map(|loaded| loaded.module)
        .map_err(|error| error.to_string())
}

fn perform(task: Task, module: Module, voice: &Voice) {
    match task {
        // On the main thread: the filter holds for the thread that asks for it.
        Task::Ask(Questions { confinement: Some(confinement), messages, options, .. }) => {
            let messages = messages.into_iter().map(Message::whole).collect();
            let questions = Questions { messages, options, ..Questions::default() };
            match voice.lock_in(confinement) {
                Ok(()) => ask(&questions, &module, voice),
                Err(why) => voice.say(&Said::NotConfined(why)),
            }
        }
        task => on_thread_of_host(|| match &task {
            Task::Load | Task::Schema => schema(&module, voice),
            Task::Make(tables) => tables.iter().enumerate().for_each(|(index, options)| {
                if let Some(instance) = make(&module, voice, index, options) {
                    close(instance, voice, index);
                }
            }),
            Task::Ask(questions) => ask(questions, &module, voice),
            Task::Storm(storm) => endure(storm, &module, voice),
        }),
    }
}

fn on_thread_of_host(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn_scoped(scope, work) {
            eprintln!("error: cannot start a thread: {error}");
        }
    });
}

fn schema(module: &Module, voice: &Voice) {
    voice.say(&Said::At(Doing::Schema, 0));
    voice.say(&match module.options_schema() {
        Ok(schema) => match serde_json::from_slice(&schema) {
            Ok(schema) => Said::Schema(schema),
            Err(error) => Said::NoSchema(format!("it is not JSON: {error}")),
        },
        Err(error) => Said::Failed { doing: Doing::Schema, index: 0, what: error.to_string() },
    });
}

fn make(module: &Module, voice: &Voice, index: usize, options: &Value) -> Option<Instance> {
    voice.say(&Said::At(Doing::New, index));
    match module.instance(options.to_string().as_bytes()) {
        Ok(instance) => {
            voice.say(&Said::Made(index));
            Some(instance)
        }
        Err(NewInstanceError::Refused(error)) => {
            voice.say(&Said::Refused { index, sentence: error.to_string() });
            None
        }
        Err(error) => {
            voice.say(&Said::Failed { doing: Doing::New, index, what: error.to_string() });
            None
        }
    }
}

fn close(instance: Instance, voice: &Voice, index: usize) {
    voice.say(&Said::At(Doing::Drop, index));
    if let Err(error) = instance.close() {
        voice.say(&Said::Failed { doing: Doing::Drop, index, what: error.to_string() });
    }
}

/// One instance for each table; none where it was refused, which was said.
fn make_all(module: &Module, voice: &Voice, tables: &[Value]) -> Vec<Option<Instance>> {
    let tables = tables.iter().enumerate();
    tables.map(|(index, options)| make(module, voice, index, options)).collect()
}

fn close_all(instances: Vec<Option<Instance>>, voice: &Voice) {
    for (index, instance) in instances.into_iter().enumerate() {
        if let Some(instance) = instance {
            close(instance, voice, index);
        }
    }
}

fn ask(questions: &Questions, module: &Module, voice: &Voice) {
    let instances = make_all(module, voice, &questions.options);
    if questions.threads == 0 {
        ask_from(0, questions, &instances, voice);
    } else {
        thread::scope(|scope| {
            for number in 0..questions.threads {
                let instances = &instances;
                scope.spawn(move || ask_from(number, questions, instances, voice));
            }
        });
    }
    close_all(instances, voice);
}

/// Each thread begins elsewhere, so that different messages meet.
fn ask_from(number: usize, questions: &Questions, instances: &[Option<Instance>], voice: &Voice) {
    let count = questions.messages.len();
    let first = number * count / questions.threads.max(1);
    for index in (first..count).chain(0..first) {
        let message = &questions.messages[index];
        let Some(Some(instance)) = instances.get(message.options) else { continue };
        for _ in 0..questions.repeats.max(1) {
            if !receive(instance, index, message, questions.is_brief, voice) {
                // An instance that panicked is not used again.
                return;
            }
        }
    }
}

/// Whether it came back.
fn receive(
    instance: &Instance,
    index: usize,
    message: &Message,
    is_brief: bool,
    voice: &Voice,
) -> bool {
    voice.say(&Said::At(Doing::Receive, index));
    let (result, micros) = message.lend(|request| {
        let started = Instant::now();
        let result = instance.receive(request);
        (result, u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
    });
    let has_returned = result.is_ok();
    voice.say(&match result {
        Ok(_) if is_brief => Said::Received { index, outcome: Value::Null, micros },
        Ok(outcome) => {
            let outcome = serde_json::from_slice(&outcome.to_json()).unwrap_or_default();
            Said::Received { index, outcome, micros }
        }
        Err(error) => Said::Failed { doing: Doing::Receive, index, what: error.to_string() },
    });
    has_returned
}

fn endure(storm: &Storm, module: &Module, voice: &Voice) {
    let instances = make_all(module, voice, &storm.options);
    for index in 0..storm.requests {
        if index % (storm.requests / MEMORY_SAMPLES).max(1) == 0 {
            say_memory(index, voice);
        }
        let message = mutation::message(&storm.corpus, storm.seed, index);
        let Some(Some(instance)) = instances.get(message.options) else { continue };
        voice.say(&Said::At(Doing::Receive, index));
        if let Err(error) = message.lend(|request| instance.receive(request)) {
            voice.say(&Said::Failed { doing: Doing::Receive, index, what: error.to_string() });
            return;
        }
    }
    say_memory(storm.requests, voice);
    close_all(instances, voice);
}

fn say_memory(requests: usize, voice: &Voice) {
    if let Some(anonymous_bytes) = anonymous_bytes() {
        voice.say(&Said::Memory { requests, anonymous_bytes });
    }
}

fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// What the parent hears. A plugin that prints is not heard: its standard output leads nowhere.
struct Voice(Mutex<File>);

impl Voice {
    fn take_stdout() -> io::Result<Self> {
        // Far from the numbers that anything opened later is given.
        let own = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 200)?;
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        Ok(Self(Mutex::new(own.into())))
    }

    /// From here on this process can do nothing but compute and say so.
    fn lock_in(&self, how: Confinement) -> Result<(), String> {
        confinement::lock_in(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_fd(), how)
    }

    fn say(&self, said: &Said) {
        let mut line = Vec::with_capacity(64);
        // What is said can be written as JSON; a parent that is gone ends this child.
        let _ = serde_json::to_writer(&mut line, said);
        line.push(b'\n');
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
    }
}
