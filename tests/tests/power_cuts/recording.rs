//! A host that is recorded, and the people and programs that it makes promises to.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tempfile::TempDir;
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::library,
};

use crate::{
    check::DATABASE,
    disk::Disk,
    promises::{Promise, Promises},
    trace::{self, Call, Record},
};

/// A host whose writes, syncs and answers are recorded.
pub(crate) struct Recording {
    host: TestHost,
    folder: PathBuf,
    trace: TempDir,
    start: Disk,
    asked: Arc<Mutex<BTreeMap<String, Promise>>>,
}

/// Result of a [`Recording`].
pub(crate) struct History {
    pub(crate) name: &'static str,
    /// The disk before the host was started.
    pub(crate) start: Disk,
    pub(crate) trace: Vec<Record>,
    pub(crate) promises: Promises,
}

/// Syncs that the host only seems to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    Nothing,
    Files,
    Folders,
}

impl Recording {
    /// Starts a host. `config` is its configuration beside the store and the integration `in`, and
    /// `database` the content of its database.
    pub(crate) fn start(config: &str, database: Option<&[u8]>, skip: Skip) -> Self {
        let site = Site::new().plugin(&library("well-behaved"));
        let site = site.plugin(&library("notifier-well-behaved")).config(&format!(
            "{config}\n[store]\nurl = 'sqlite:disk/{DATABASE}'\n\
             [integrations.in]\nplugin = 'well-behaved'\n"
        ));
        let folder = site.path("disk");
        fs::create_dir(&folder).expect("a folder");
        let folder = folder.canonicalize().expect("it is there");
        fs::create_dir(folder.join("data")).expect("a folder");
        if let Some(bytes) = database {
            fs::write(folder.join(DATABASE), bytes).expect("written");
        }
        let start = Disk::of(&folder);
        let trace = tempfile::tempdir().expect("a folder");
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let skip = match skip {
            Skip::Nothing => "",
            Skip::Files => "files",
            Skip::Folders => "folders",
        };
        let site = site
            .env("LD_PRELOAD", &path(&library("recorder")))
            .env("TOCSIN_RECORD_FOLDER", &path(&folder))
            .env("TOCSIN_RECORD_TRACE", &path(&trace.path().join("trace")))
            .env("TOCSIN_RECORD_SKIP", skip);
        Self { host: site.serve(), folder, trace, start, asked: Arc::default() }
    }

    pub(crate) fn host(&self) -> &TestHost {
        &self.host
    }

    /// Sends messages over one connection, each after the answer to the one before.
    pub(crate) fn send(&self, titles: impl IntoIterator<Item = String>) {
        let mut connection = self.host.connect();
        for title in titles {
            post(&mut connection, &title, &self.asked);
        }
    }

    /// Sends messages over several connections at once. Every third message is sent twice.
    pub(crate) fn send_at_once(&self, name: &str, senders: usize, messages: usize) {
        thread::scope(|scope| {
            for sender in 0..senders {
                let mut connection = self.host.connect();
                let asked = &self.asked;
                scope.spawn(move || {
                    for message in 0..messages {
                        let title = format!("{name}, sender {sender}, message {message}");
                        post(&mut connection, &title, asked);
                        if message % 3 == 0 {
                            post(&mut connection, &title, asked);
                        }
                    }
                });
            }
        });
    }

    /// Acknowledges an alert by hand.
    pub(crate) fn acknowledge(&self, number: u64) {
        let answer = self.change(number, "acknowledge");
        self.promised(&answer, Promise::Acknowledged(number));
    }

    /// Resolves an alert by hand.
    pub(crate) fn resolve(&self, number: u64) {
        let answer = self.change(number, "resolve");
        self.promised(&answer, Promise::Resolved(number));
    }

    fn change(&self, number: u64, action: &str) -> Answer {
        let target = format!("/api/v1/alerts/{number}/{action}");
        let answer = self.host.ask_admin(&Request::post(&target, ""));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    fn promised(&self, answer: &Answer, promise: Promise) {
        note(&self.asked, answer, promise);
    }

    /// Kills the host, and starts it again.
    pub(crate) fn kill_and_start(self) -> Self {
        Self { host: self.host.kill().serve(), ..self }
    }

    /// Stops the host in an orderly way, and starts it again.
    pub(crate) fn restart(self) -> Self {
        Self { host: self.host.restart(), ..self }
    }

    /// Returns the trace so far.
    pub(crate) fn trace(&self) -> Vec<Record> {
        trace::read(&self.trace.path().join("trace"))
    }

    /// Kills the host, and returns the history.
    pub(crate) fn killed(self, name: &'static str, destination: Option<u16>) -> History {
        let Self { host, folder, trace, start, asked } = self;
        let site = host.kill();
        let history = finish(name, &folder, &trace, start, &asked, destination);
        drop(site);
        history
    }

    /// Stops the host in an orderly way, and returns the history.
    pub(crate) fn stopped(self, name: &'static str) -> History {
        let Self { host, folder, trace, start, asked } = self;
        let site = host.stop();
        let history = finish(name, &folder, &trace, start, &asked, None);
        drop(site);
        history
    }
}

fn finish(
    name: &'static str,
    folder: &Path,
    trace: &TempDir,
    start: Disk,
    asked: &Mutex<BTreeMap<String, Promise>>,
    destination: Option<u16>,
) -> History {
    let trace = trace::read(&trace.path().join("trace"));
    compare(folder, &start, &trace);
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let promises = Promises::find(&trace, asked, destination);
    History { name, start, trace, promises }
}

/// Compares the files in a folder with the files to which the trace leads: every write was recorded.
fn compare(folder: &Path, start: &Disk, trace: &[Record]) {
    let mut disk = start.clone();
    trace.iter().enumerate().for_each(|(at, record)| disk.apply(at, record));
    let all = disk.pieces();
    let recorded = disk.image(&all);
    let real = Disk::of(folder).image(&[]);
    let names = |image: &crate::disk::Image| image.files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&recorded), names(&real), "files that were not recorded");
    for (path, file) in &real.files {
        assert!(*file == recorded.files[path], "writes to {path:?} that were not recorded");
    }
}

fn post(connection: &mut Connection, title: &str, asked: &Mutex<BTreeMap<String, Promise>>) {
    let request = Request::post("/in/in", title).header("x-event-id", title);
    let answer = connection.ask(&request).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    note(asked, &answer, Promise::Alert { title: title.into() });
}

fn note(asked: &Mutex<BTreeMap<String, Promise>>, answer: &Answer, promise: Promise) {
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.insert(answer.request_id().to_owned(), promise);
}

impl History {
    /// Returns the history of a host whose syncs come late: each is made only when the next begins.
    pub(crate) fn with_late_syncs(self) -> Self {
        let (mut trace, mut late) = (Vec::new(), None);
        let Self { name, start, trace: recorded, mut promises } = self;
        let mut places = Vec::new();
        for record in recorded {
            if matches!(record.call, Call::SyncBegins { .. }) {
                trace.extend(late.take());
            }
            places.push(trace.len());
            if matches!(record.call, Call::SyncEnds { .. }) {
                trace.extend(late.replace(record));
            } else {
                trace.push(record);
            }
        }
        promises.made.iter_mut().for_each(|(at, ..)| *at = places[*at]);
        Self { name, start, trace, promises }
    }
}
