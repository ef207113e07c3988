//! Fixtures for notifiers: requests that are expected, answers that are given, and the verdict.
//!
//! Nothing is sent: the fixture plays the server.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Library, Value, panicked};
use crate::{
    Urgency,
    abi::{CallError, Instance, NewInstanceError},
    capability::{Notifier, answer_notify_call},
    guard,
    manifest::NOTIFY,
    notification::{Alert, Digest, Kind, Notification, Subject, Time},
    step::{Description, HttpAnswer, HttpRequest, MOST_REQUESTS, NotifyCall, Step},
};

/// The number of threads that ask for each step at once.
const THREADS: usize = 4;

/// A test case for a notifier: options, a notification, the exchanges with a server, and the verdict.
///
/// The [module documentation](super#a-fixture-of-a-notifier) describes the JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifierFixture {
    /// The name in the message of a failed test: that of the file without `.json`.
    #[serde(default)]
    pub name: String,
    /// The options table.
    #[serde(default = "super::empty_table")]
    pub options: Json,
    /// Changes of the usual notification, see [`usual_notification`].
    #[serde(default = "super::empty_table")]
    notification: Json,
    /// The requests that are expected, each with the answer that it gets.
    #[serde(default)]
    exchanges: Vec<Exchange>,
    /// The keys of the last step that are compared.
    verdict: Map<String, Json>,
}

/// A request that is expected, and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    #[serde(default)]
    expect: ExpectedRequest,
    answer: GivenAnswer,
}

/// The parts of a request that are compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedRequest {
    name: Option<String>,
    method: Option<String>,
    url: Option<String>,
    shown_url: Option<String>,
    #[serde(default)]
    headers: Map<String, Json>,
    body: Option<String>,
    json: Option<Json>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenAnswer {
    status: u16,
    #[serde(default)]
    headers: Map<String, Json>,
    body: Option<String>,
    json: Option<Json>,
}

impl NotifierFixture {
    /// Reads the `.json` files of a folder, one fixture a file, in the order of their names. The path is
    /// relative to the package under test, and may also be that of a single file.
    ///
    /// # Panics
    ///
    /// If a file cannot be read or is not a fixture, or there are none.
    pub fn read(path: impl AsRef<Path>) -> Vec<Self> {
        let path = path.as_ref();
        let fixtures: Vec<_> = files(path)
            .iter()
            .map(|file| {
                let text = fs::read_to_string(file).unwrap_or_else(|error| {
                    panic!("cannot read the fixture `{}`: {error}", file.display())
                });
                let name = file.file_stem().unwrap_or_default().to_string_lossy();
                Self::parse(&name, &text)
                    .unwrap_or_else(|error| panic!("`{}`: {error}", file.display()))
            })
            .collect();
        assert!(!fixtures.is_empty(), "no fixtures in `{}`", path.display());
        fixtures
    }

    /// Reads one fixture from JSON. The JSON may have another `name`.
    ///
    /// # Errors
    ///
    /// The reason why the text is not a fixture.
    pub fn parse(name: &str, json: &str) -> Result<Self, String> {
        let mut fixture: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if fixture.name.is_empty() {
            fixture.name = name.into();
        }
        if !fixture.verdict.contains_key("step") {
            return Err("`verdict` names no `step`".into());
        }
        fixture.try_notification()?;
        Ok(fixture)
    }

    /// Returns the notification: the [usual one](usual_notification) with the changes of the fixture.
    ///
    /// # Panics
    ///
    /// Never for a fixture that [`parse`](Self::parse) returned.
    pub fn notification(&self) -> Notification {
        self.try_notification().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn try_notification(&self) -> Result<Notification, String> {
        let changes = &self.notification;
        let of_digest = changes["subject"].get("digest").is_some();
        let usual = if of_digest { usual_digest() } else { usual_notification() };
        let mut json = serde_json::to_value(usual).map_err(|error| error.to_string())?;
        merge(&mut json, changes);
        serde_json::from_value(json).map_err(|error| format!("`notification`: {error}"))
    }

    /// Returns the answers of the server, in order. The name of each is that of the expected request, or
    /// empty if the fixture does not say it.
    pub fn answers(&self) -> Vec<HttpAnswer> {
        self.exchanges.iter().map(Exchange::answer).collect()
    }

    /// Compares the steps of an attempt with the expected ones.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn compare(&self, steps: &[Step]) -> Result<(), String> {
        for (at, exchange) in self.exchanges.iter().enumerate() {
            let number = at + 1;
            match steps.get(at) {
                Some(Step::Send { request }) => exchange
                    .expect
                    .compare(request)
                    .map_err(|difference| format!("request {number}: {difference}"))?,
                Some(step) => {
                    return Err(format!("expected request {number}, got {}", shown(step)));
                }
                None => return Err(format!("request {number} is missing")),
            }
        }
        let Some(verdict) = steps.get(self.exchanges.len()) else {
            return Err("the verdict is missing".into());
        };
        let json = serde_json::to_value(verdict).unwrap_or_default();
        let known = ["step", "request", "state", "reason", "after_seconds", "in_doubt"];
        // Another step explains why other keys differ.
        let (step, others): (Vec<_>, Vec<_>) =
            self.verdict.iter().partition(|(key, _)| *key == "step");
        for (key, expected) in step.into_iter().chain(others) {
            if !known.contains(&key.as_str()) {
                return Err(format!("`verdict` has the unknown key `{key}`"));
            }
            if json.get(key).unwrap_or(&Json::Null) != expected {
                let got = shown(verdict);
                return Err(format!("expected the verdict to have `{key}` {expected}, got {got}"));
            }
        }
        Ok(())
    }
}

impl Exchange {
    fn answer(&self) -> HttpAnswer {
        let name = self.expect.name.clone().unwrap_or_default();
        let mut answer = HttpAnswer::new(name, self.answer.status);
        for (name, value) in &self.answer.headers {
            answer = answer.with_header(name, text(value));
        }
        let json = self.answer.json.as_ref().map(Json::to_string);
        answer.with_body(self.answer.body.clone().or(json).unwrap_or_default())
    }
}

impl ExpectedRequest {
    fn compare(&self, request: &HttpRequest) -> Result<(), String> {
        let texts = [
            ("name", &self.name, Some(&request.name)),
            ("method", &self.method, Some(&request.method)),
            ("url", &self.url, Some(&request.url)),
            ("shown_url", &self.shown_url, request.shown_url.as_ref()),
            ("body", &self.body, Some(&request.body)),
        ];
        for (key, expected, got) in texts {
            if expected.is_some() && expected.as_ref() != got {
                let (expected, got) = (Json::from(expected.clone()), Json::from(got.cloned()));
                return Err(format!("{key}: expected {expected}, got {got}"));
            }
        }
        for (name, expected) in &self.headers {
            let mut headers = request.headers.iter();
            let got = headers.find(|header| header.name.eq_ignore_ascii_case(name));
            let got = got.map_or(Json::Null, |header| header.value.as_str().into());
            if got != *expected {
                return Err(format!("header `{name}`: expected {expected}, got {got}"));
            }
        }
        let Some(expected) = &self.json else { return Ok(()) };
        let got = serde_json::from_str(&request.body)
            .map_err(|error| format!("json: the body is not JSON: {error}"))?;
        match difference("json".into(), expected, &got) {
            Some((place, expected, got)) => Err(format!("{place}: expected {expected}, got {got}")),
            None => Ok(()),
        }
    }
}

/// Returns the notification that fixtures change: a disk that is full, opened at noon on 2026-01-01.
pub fn usual_notification() -> Notification {
    let at = Time::from_unix_seconds(NOON);
    let mut alert = Alert::new(7, "disk full on db1", Urgency::High, at);
    alert.id = "01KDVWX2G0000000000000ALRT".into();
    alert.integration = "ops".into();
    alert.url = Some("https://tocsin.example.com/alerts/7".into());
    let mut notification = Notification::new("01KDVWX2G0000000000000DVRY", Kind::Opened, alert, at);
    notification.destination = "ops-channel".into();
    notification
}

/// Returns the notification that fixtures with a digest change: 25 alerts of two integrations.
pub fn usual_digest() -> Notification {
    let digest = Digest {
        count: 25,
        urgencies: vec![(Urgency::High, 25)],
        integrations: vec![("ops".into(), 20), ("prometheus".into(), 5)],
        first: 7,
        last: 31,
        url: Some("https://tocsin.example.com/alerts".into()),
    };
    let (at, subject) = (Time::from_unix_seconds(NOON), Subject::Digest(digest));
    let mut notification =
        Notification::about("01KDVWX2G0000000000000DGST", Kind::Digest, subject, at);
    notification.destination = "ops-channel".into();
    notification
}

/// Noon on 2026-01-01 in UTC.
const NOON: i64 = 1_767_268_800;

/// A notifier under test: [`Value`] or [`Library`].
pub trait NotifierSubject {
    /// Makes an instance from an options table, as the host does.
    ///
    /// # Errors
    ///
    /// If the plugin refuses the options or panics.
    fn notifier(&self, options: &Json) -> Result<Box<dyn NotifierInstance>, NewInstanceError>;

    /// Runs every [`NotifierFixture`].
    ///
    /// # Panics
    ///
    /// If a fixture fails. The message names every fixture that does.
    fn check_notifier(&self, fixtures: &[NotifierFixture]) {
        let failures: Vec<String> = fixtures
            .iter()
            .filter_map(|fixture| {
                let failure = self.check_one_notification(fixture).err()?;
                Some(format!("{}: {failure}", fixture.name))
            })
            .collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// Runs one [`NotifierFixture`]. Each step is asked for twice, and by several threads at once: a step
    /// that differs from the first one is an error.
    ///
    /// # Errors
    ///
    /// The first difference from the expected steps.
    fn check_one_notification(&self, fixture: &NotifierFixture) -> Result<(), String> {
        let instance = self.notifier(&fixture.options).map_err(|error| error.to_string())?;
        let steps = play(&*instance, &fixture.notification(), &fixture.answers())?;
        fixture.compare(&steps)?;
        instance.close().map_err(|error| error.to_string())
    }
}

/// An instance of a notifier under test.
pub trait NotifierInstance: Send + Sync {
    /// Asks a question as the host does, and returns the answer's JSON.
    ///
    /// # Errors
    ///
    /// If the plugin panicked or cannot read the question.
    fn ask(&self, call: &NotifyCall) -> Result<Json, CallError>;

    /// Drops the instance.
    ///
    /// # Errors
    ///
    /// If the destructor panicked.
    fn close(self: Box<Self>) -> Result<(), CallError>;
}

impl dyn NotifierInstance {
    /// Asks for the [`Description`].
    ///
    /// # Errors
    ///
    /// If the plugin panicked, or its answer is not a description.
    pub fn describe(&self) -> Result<Description, CallError> {
        read(self.ask(&NotifyCall::Describe)?)
    }

    /// Asks for the next [`Step`].
    ///
    /// # Errors
    ///
    /// If the plugin panicked, or its answer is not a step.
    pub fn next(
        &self,
        notification: &Notification,
        answers: &[HttpAnswer],
    ) -> Result<Step, CallError> {
        read(self.ask(&NotifyCall::next(notification.clone(), answers.to_vec()))?)
    }
}

impl<T: Notifier> NotifierSubject for Value<T> {
    fn notifier(&self, options: &Json) -> Result<Box<dyn NotifierInstance>, NewInstanceError> {
        Ok(Box::new(NotifierValue(Self::instance(options)?)))
    }
}

struct NotifierValue<T>(T);

impl<T: Notifier> NotifierInstance for NotifierValue<T> {
    fn ask(&self, call: &NotifyCall) -> Result<Json, CallError> {
        let input = written(call)?;
        let output = guard::call(&self.0, answer_notify_call::<T>, &input)
            .map_err(|guard::Panic(message)| CallError::Panicked(message))?;
        parsed(&output.map_err(CallError::BadInput)?)
    }

    fn close(self: Box<Self>) -> Result<(), CallError> {
        match guard::drop_instance(Box::new(self.0)).map_err(panicked) {
            Err(NewInstanceError::Call(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

impl NotifierSubject for Library {
    fn notifier(&self, options: &Json) -> Result<Box<dyn NotifierInstance>, NewInstanceError> {
        Ok(Box::new(self.instance(options)?))
    }
}

impl NotifierInstance for Instance {
    fn ask(&self, call: &NotifyCall) -> Result<Json, CallError> {
        parsed(&self.call(NOTIFY, &written(call)?)?)
    }

    fn close(self: Box<Self>) -> Result<(), CallError> {
        Instance::close(*self)
    }
}

/// Plays an attempt to its end, and returns its steps. The answers get the names of the requests.
fn play(
    instance: &dyn NotifierInstance,
    notification: &Notification,
    answers: &[HttpAnswer],
) -> Result<Vec<Step>, String> {
    let (mut steps, mut so_far) = (Vec::new(), Vec::new());
    loop {
        let call = NotifyCall::next(notification.clone(), so_far.clone());
        let step: Step = read(asked_often(instance, &call)?).map_err(|error| error.to_string())?;
        let request = match &step {
            Step::Send { request } => Some(request.name.clone()),
            _ => None,
        };
        steps.push(step);
        let (Some(name), Some(answer)) = (request, answers.get(so_far.len())) else {
            return Ok(steps);
        };
        if so_far.len() == MOST_REQUESTS {
            return Err(format!("sends more than {MOST_REQUESTS} requests"));
        }
        so_far.push(HttpAnswer { request: name, ..answer.clone() });
    }
}

/// Asks a question twice and from several threads at once, and returns the answer, which is always the
/// same.
fn asked_often(instance: &dyn NotifierInstance, call: &NotifyCall) -> Result<Json, String> {
    let ask = || instance.ask(call).map_err(|error| error.to_string());
    let first = ask()?;
    let again = ask()?;
    let from_threads: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    for answer in std::iter::once(Ok(again)).chain(from_threads) {
        if let Some((place, one, other)) = difference("the step".into(), &first, &answer?) {
            return Err(format!("is not deterministic: {place} was {one}, then {other}"));
        }
    }
    Ok(first)
}

fn written(call: &NotifyCall) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(call).map_err(|error| CallError::BadInput(error.to_string()))
}

fn parsed(json: &[u8]) -> Result<Json, CallError> {
    serde_json::from_slice(json).map_err(|error| CallError::NotUnderstood(error.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(json: Json) -> Result<T, CallError> {
    serde_json::from_value(json).map_err(|error| CallError::NotUnderstood(error.to_string()))
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.into()];
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect);
    let entries: Vec<fs::DirEntry> = entries
        .unwrap_or_else(|error| panic!("cannot read fixtures `{}`: {error}", path.display()));
    let mut files: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// Changes a JSON value: objects key by key, everything else as a whole. Null removes a key.
fn merge(into: &mut Json, changes: &Json) {
    match (into, changes) {
        (Json::Object(into), Json::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Json::Null), change);
                }
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}

/// Returns the place of the first difference, and what is there.
fn difference(place: String, expected: &Json, got: &Json) -> Option<(String, String, String)> {
    match (expected, got) {
        (Json::Object(one), Json::Object(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            let of = |object: &Map<String, Json>, key| object.get(key).cloned();
            keys.into_iter().find_map(|key| match (of(one, key), of(other, key)) {
                (Some(one), Some(other)) => difference(format!("{place}.{key}"), &one, &other),
                (one, other) => {
                    let shown =
                        |json: Option<Json>| json.map_or("nothing".into(), |j| j.to_string());
                    Some((format!("{place}.{key}"), shown(one), shown(other)))
                }
            })
        }
        (Json::Array(one), Json::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs
                .into_iter()
                .find_map(|(at, (one, other))| difference(format!("{place}[{at}]"), one, other))
        }
        _ if expected == got => None,
        _ => Some((place, expected.to_string(), got.to_string())),
    }
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn shown(step: &Step) -> String {
    serde_json::to_string(step).unwrap_or_default()
}
