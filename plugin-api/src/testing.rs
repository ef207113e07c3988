//! The test kit: tests a plugin with fixtures, as a plain value and through its built library.
//!
//! The test kit compares outcomes. It does not measure time, and does not send hostile input:
//! `tocsin plugins certify` does.
//!
//! ```no_run
//! # use tocsin_plugin_api::prelude::*;
//! # #[derive(serde::Deserialize, schemars::JsonSchema)]
//! # struct Options {}
//! # struct PlainText;
//! # impl Integration for PlainText {
//! #     type Options = Options;
//! #     fn new(_: Options) -> Result<Self, OptionsError> { Ok(Self) }
//! #     fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> { todo!() }
//! # }
//! # tocsin_plugin_api::export_plugin!(PlainText);
//! use tocsin_plugin_api::testing::{Fixture, Library, Subject, Value};
//!
//! #[test]
//! fn fixtures_hold_as_a_value_and_through_the_library() {
//!     let fixtures = Fixture::read("fixtures/messages.jsonl");
//!     Value::<PlainText>::new().check(&fixtures);
//!     Library::build("plain-text").check(&fixtures);
//! }
//! # fn main() {}
//! ```
//!
//! # A fixture
//!
//! A fixture is a line with a JSON object:
//!
//! | key | meaning |
//! | --- | --- |
//! | `name` | the name in the message of a failed test |
//! | `options` | the options table; `{}` if absent |
//! | `content_type`, `headers`, `query` | the `Content-Type`, the other headers and the query of the request; absent or null is none |
//! | `body`, or `body_base64`, or `body_gen` | text, any bytes, or `{"prefix", "unit", "count"}` |
//! | `expect` | the expected outcome, see below |
//!
//! `expect.outcome` is `events` (or `alert`), `ignored`, `unauthorized`, `malformed` or `failed`. For
//! `events`, the first event is compared with the other keys: `action`, `title`, `description`,
//! `urgency`, `dedup_key`, `event_id`, `link` (or `permalink`); any further key is the label of a
//! detail, compared without case. The value `null` means that the event must not have the field; a
//! field whose key is absent is not compared.
//!
//! # A fixture of a notifier
//!
//! A [`NotifierFixture`] is a file with a JSON object. It plays the server to a
//! [`Notifier`](crate::capability::Notifier):
//!
//! ```json
//! {
//!   "options": {"url": "https://chat.example.com/hook"},
//!   "notification": {"kind": "resolved", "subject": {"alert": {"status": "resolved"}}},
//!   "exchanges": [
//!     {
//!       "expect": {"method": "POST", "json": {"text": "resolved: disk full on db1"}},
//!       "answer": {"status": 200, "json": {"id": "m1"}}
//!     }
//!   ],
//!   "verdict": {"step": "delivered", "state": {"id": "m1"}}
//! }
//! ```
//!
//! | key | meaning |
//! | --- | --- |
//! | `options` | the options table; `{}` if absent |
//! | `notification` | changes of the [usual notification](usual_notification), key by key; null removes a key; with `subject.digest`, changes of the [usual digest](usual_digest) |
//! | `exchanges` | a list of requests that are expected, each with the answer that it gets |
//! | `expect` | the compared parts of a request: `name`, `method`, `url`, `shown_url`, `headers`, `body` (text) or `json` (the body as JSON); a header with the value `null` must be absent |
//! | `answer` | `status`, and if there are any `headers`, `body` (text) or `json` |
//! | `verdict` | the compared keys of the last [`Step`](crate::step::Step): `step`, `state`, `reason`, `after_seconds`, `in_doubt`; null means that the step must not have the key |
//!
//! ```no_run
//! # use tocsin_plugin_api::{OptionsError, capability::{Notifier, Plugin}, notification::Notification};
//! # use tocsin_plugin_api::step::{Description, HttpAnswer, Step};
//! # #[derive(serde::Deserialize, schemars::JsonSchema)]
//! # struct Options {}
//! # struct Chat;
//! # impl Plugin for Chat {
//! #     type Options = Options;
//! #     fn new(_: Options) -> Result<Self, OptionsError> { Ok(Self) }
//! # }
//! # impl Notifier for Chat {
//! #     fn describe(&self) -> Description { todo!() }
//! #     fn next(&self, _: &Notification, _: &[HttpAnswer]) -> Step { todo!() }
//! # }
//! # tocsin_plugin_api::export_plugin!(Chat: notify);
//! use tocsin_plugin_api::testing::{Library, NotifierFixture, NotifierSubject, Value};
//!
//! #[test]
//! fn fixtures_hold_as_a_value_and_through_the_library() {
//!     let fixtures = NotifierFixture::read("fixtures");
//!     Value::<Chat>::new().check_notifier(&fixtures);
//!     Library::build("chat").check_notifier(&fixtures);
//! }
//! # fn main() {}
//! ```

mod notifier;

use std::{
    fmt, fs,
    marker::PhantomData,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

pub use self::notifier::{
    NotifierFixture, NotifierInstance, NotifierSubject, usual_digest, usual_notification,
};
use crate::{
    Event, Request,
    abi::{self, CallError, NewInstanceError},
    capability::{Plugin, Receiver},
    guard,
    outcome::Outcome,
};

/// A test case: options, a request and the expected outcome.
#[derive(Clone, Debug, Deserialize)]
pub struct Fixture {
    /// The name in the message of a failed test.
    pub name: String,
    /// The options table.
    #[serde(default = "empty_table")]
    pub options: Json,
    /// The `Content-Type` header.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Other headers.
    #[serde(default)]
    pub headers: Map<String, Json>,
    /// The query without its question mark.
    #[serde(default)]
    pub query: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    body_gen: Option<GeneratedBody>,
    /// The expected outcome, see the [module documentation](self).
    pub expect: Map<String, Json>,
}

#[derive(Clone, Debug, Deserialize)]
struct GeneratedBody {
    prefix: String,
    unit: String,
    count: usize,
}

fn empty_table() -> Json {
    Json::Object(Map::new())
}

impl Fixture {
    /// Reads a file with one fixture a line, relative to the package under test.
    ///
    /// # Panics
    ///
    /// If the file cannot be read, a line is not a fixture, or there are no fixtures.
    pub fn read(path: impl AsRef<Path>) -> Vec<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("cannot read fixtures `{}`: {error}", path.display()));
        let fixtures = Self::parse(&text)
            .unwrap_or_else(|(line, error)| panic!("{}:{line}: {error}", path.display()));
        assert!(!fixtures.is_empty(), "no fixtures in `{}`", path.display());
        fixtures
    }

    /// Reads text with one fixture a line.
    ///
    /// # Errors
    ///
    /// The number of a line that is no fixture, and the reason.
    pub fn parse(text: &str) -> Result<Vec<Self>, (usize, String)> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(at, line)| {
                let error = |error: &dyn fmt::Display| (at + 1, error.to_string());
                let fixture: Self = serde_json::from_str(line).map_err(|why| error(&why))?;
                let encoded = fixture.body_base64.as_deref().unwrap_or_default();
                BASE64_STANDARD.decode(encoded).map_err(|why| error(&why))?;
                Ok(fixture)
            })
            .collect()
    }

    /// Returns the body, from the one of its three keys that the fixture has.
    ///
    /// # Panics
    ///
    /// If `body_base64` is not base64.
    pub fn body(&self) -> Vec<u8> {
        if let Some(generated) = &self.body_gen {
            return (generated.prefix.clone() + &generated.unit.repeat(generated.count)).into();
        }
        if let Some(encoded) = &self.body_base64 {
            return BASE64_STANDARD
                .decode(encoded)
                .unwrap_or_else(|error| panic!("{}: `body_base64`: {error}", self.name));
        }
        self.body.clone().unwrap_or_default().into()
    }

    /// Returns the headers, including the content type, with names in lower case.
    pub fn header_lines(&self) -> Vec<(String, String)> {
        let content_type =
            self.content_type.iter().map(|value| ("content-type".into(), value.clone()));
        let others = self.headers.iter().map(|(name, value)| {
            (name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned())
        });
        content_type.chain(others).collect()
    }

    /// Compares an [`Outcome`] with the expected one.
    ///
    /// # Errors
    ///
    /// The differences, one a line.
    pub fn compare(&self, outcome: &Outcome) -> Result<(), String> {
        let expected = match self.expect.get("outcome").and_then(Json::as_str) {
            Some("alert") => "events",
            Some(name) => name,
            None => return Err("`expect` names no outcome".into()),
        };
        if outcome.name() != expected {
            return Err(format!("expected `{expected}`, got {outcome:?}"));
        }
        let Outcome::Events { events, .. } = outcome else { return Ok(()) };
        let differences: Vec<String> = self
            .expect
            .iter()
            .filter(|(key, _)| *key != "outcome")
            .map(|(key, expected)| (key, expected, field(&events[0], key)))
            .filter(|(_, expected, got)| *expected != got)
            .map(|(key, expected, got)| format!("{key}: expected {expected}, got {got}"))
            .collect();
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }
}

fn field(event: &Event, key: &str) -> Json {
    let json = serde_json::to_value(event).unwrap_or_default();
    let key = if key == "permalink" { "link" } else { key };
    if ["action", "title", "description", "urgency", "dedup_key", "event_id", "link"].contains(&key)
    {
        return json.get(key).cloned().unwrap_or_default();
    }
    let mut details = event.details.iter();
    let detail = details.find(|detail| detail.label.eq_ignore_ascii_case(key));
    detail.map_or(Json::Null, |detail| Json::String(detail.value.clone()))
}

/// A plugin under test: [`Value`] or [`Library`].
pub trait Subject {
    /// Makes an instance from `options`, gives it the [`Request`], and drops it.
    ///
    /// # Errors
    ///
    /// If the plugin refuses the options or panics.
    fn receive(&self, options: &Json, request: &Request<'_>) -> Result<Outcome, NewInstanceError>;

    /// Runs every [`Fixture`].
    ///
    /// # Panics
    ///
    /// If a fixture fails. The message names every fixture that does.
    fn check(&self, fixtures: &[Fixture]) {
        let failures: Vec<String> = fixtures
            .iter()
            .filter_map(|fixture| {
                let failure = self.check_one(fixture).err()?;
                Some(format!("{}: {failure}", fixture.name))
            })
            .collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// Runs one [`Fixture`].
    ///
    /// # Errors
    ///
    /// The differences from the expected outcome, one a line.
    fn check_one(&self, fixture: &Fixture) -> Result<(), String> {
        let (headers, body) = (fixture.header_lines(), fixture.body());
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| crate::request::Header::new(name, value.as_bytes()))
            .collect();
        let query = fixture.query.as_deref().unwrap_or_default();
        let request = Request::new("POST", query, &headers, &body);
        let outcome =
            self.receive(&fixture.options, &request).map_err(|error| error.to_string())?;
        fixture.compare(&outcome)
    }
}

/// A plugin as a plain value of its type.
pub struct Value<T>(PhantomData<T>);

impl<T: Plugin> Value<T> {
    /// The plugin of type `T`.
    #[expect(clippy::new_without_default, reason = "a subject is made to be used at once")]
    pub fn new() -> Self {
        Self(PhantomData)
    }

    /// Makes an instance from an options table, as the host does.
    ///
    /// # Errors
    ///
    /// If the plugin refuses the options or panics.
    pub fn instance(options: &Json) -> Result<T, NewInstanceError> {
        guard::new_instance::<T>(options.to_string().as_bytes())
            .map_err(panicked)?
            .map_err(NewInstanceError::Refused)
    }
}

impl<T: Receiver> Subject for Value<T> {
    fn receive(&self, options: &Json, request: &Request<'_>) -> Result<Outcome, NewInstanceError> {
        let instance = Self::instance(options)?;
        let json = guard::receive(&instance, T::receive, request).map_err(panicked)?;
        guard::drop_instance(Box::new(instance)).map_err(panicked)?;
        Outcome::from_json(&json)
            .map_err(|error| NewInstanceError::Call(CallError::NotUnderstood(error.to_string())))
    }
}

fn panicked(guard::Panic(message): guard::Panic) -> NewInstanceError {
    NewInstanceError::Call(CallError::Panicked(message))
}

/// A plugin as a host sees it: a library, called through its ABI.
pub struct Library {
    module: abi::Module,
}

impl Library {
    /// Builds a package of this workspace and opens its library.
    ///
    /// # Panics
    ///
    /// If the package does not build, or its library cannot be opened.
    pub fn build(package: &str) -> Self {
        Self::open(&built_library(package))
    }

    /// Opens a library. Opening runs its code, so open only libraries from trusted sources.
    ///
    /// # Panics
    ///
    /// If the library cannot be opened.
    #[expect(unsafe_code, reason = "a library has to be mapped to be called")]
    pub fn open(path: &Path) -> Self {
        // SAFETY: the author of the test trusts the library.
        let library = unsafe { libloading::Library::new(path) };
        let library = library.unwrap_or_else(|error| panic!("cannot open the library: {error}"));
        // The module is used until the process ends.
        let library = Box::leak(Box::new(library));
        // SAFETY: a symbol read as a pointer is its address, which is all that is used.
        let header = unsafe { library.get::<*const ()>(abi::HEADER_SYMBOL.as_bytes()) };
        let header = header.unwrap_or_else(|_| {
            panic!("`{}` exports no plugin: call `export_plugin!`", path.display())
        });
        // SAFETY: the address is that of the header symbol, in a library that was leaked above.
        let module = unsafe { abi::Module::open(*header) };
        let module = module.unwrap_or_else(|error| panic!("`{}` {error}", path.display()));
        Self { module }
    }

    /// Makes an instance from an options table, as the host does.
    ///
    /// # Errors
    ///
    /// If the plugin refuses the options or panics.
    pub fn instance(&self, options: &Json) -> Result<abi::Instance, NewInstanceError> {
        self.module.instance(options.to_string().as_bytes())
    }

    /// Returns the JSON Schema of the plugin's options.
    ///
    /// # Panics
    ///
    /// If the plugin gives none.
    pub fn options_schema(&self) -> Json {
        let schema = self.module.options_schema().unwrap_or_else(|error| panic!("{error}"));
        serde_json::from_slice(&schema).unwrap_or_else(|error| panic!("not JSON: {error}"))
    }
}

impl Subject for Library {
    fn receive(&self, options: &Json, request: &Request<'_>) -> Result<Outcome, NewInstanceError> {
        let instance = self.instance(options)?;
        let outcome = instance.receive(request).map_err(NewInstanceError::Call)?;
        instance.close().map_err(NewInstanceError::Call)?;
        Ok(outcome)
    }
}

/// Builds a package and returns the path of its `cdylib`, as cargo reports it.
///
/// # Panics
///
/// If the package does not build, or has no such target.
pub fn built_library(package: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--message-format=json-render-diagnostics",
            "--package",
            package,
        ])
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(output.status.success(), "`{package}` does not build");
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let mut libraries = messages.filter_map(|line| {
        let message: Json = serde_json::from_slice(line).ok()?;
        let is_library = message["target"]["crate_types"].as_array()?.contains(&"cdylib".into());
        let named =
            message["target"]["name"].as_str()?.replace('-', "_") == package.replace('-', "_");
        let files = message["filenames"].as_array().filter(|_| is_library && named)?;
        let library = files.iter().filter_map(Json::as_str).find(|file| file.ends_with(".so"))?;
        Some(PathBuf::from(library))
    });
    libraries.next_back().unwrap_or_else(|| {
        panic!(
            "`{package}` builds no cdylib: add `crate-type = [\"cdylib\", \"rlib\"]` to its [lib]"
        )
    })
}
