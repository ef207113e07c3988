//! Wrong on purpose: a notifier with habits that the host must survive and that `tocsin plugins certify`
//! has to detect. The options choose a habit; without one, the plugin behaves well.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use serde_json::json;
use tocsin_plugin_api::{
    OptionsError, Secret,
    capability::{Capability, Notifier, Plugin},
    notification::Notification,
    step::{Description, HttpAnswer, HttpRequest, NotifyCall, Step},
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The address that gets the news.
    #[schemars(extend("format" = "uri"))]
    url: String,
    /// Sent as a bearer token.
    token: Option<Secret>,
    /// The bad habit.
    habit: Option<Habit>,
    /// The size of the body of the habit `huge-body`.
    #[serde(default = "hundred")]
    body_mib: u32,
}

#[derive(Clone, Copy, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Habit {
    /// Panics on every notification.
    Panics,
    /// Panics on an answer that is not JSON.
    PanicsOnAnswer,
    /// Never returns.
    Hangs,
    /// Sends the request again after every answer.
    Endless,
    /// Sends a body of `body_mib`.
    HugeBody,
    /// Keeps a state of 20 kB.
    HugeState,
    /// Answers with half a JSON object.
    InvalidJson,
    /// Answers with a step that no host knows.
    UnknownStep,
    /// Sends the number of calls so far.
    Counter,
    /// Sends the present time.
    Clock,
    /// Reads a file.
    File,
    /// Sends the token in the query, though its description does not say so.
    TokenInQuery,
    /// Repeats the token in the reason of a verdict.
    TokenInReason,
    /// Sends the token in a header that is not marked as secret.
    TokenNotMarked,
    /// Contacts another server than its description says.
    OtherServer,
    /// Sends a request with an empty method.
    BadRequest,
}

fn hundred() -> u32 {
    100
}

struct BadHabits {
    options: Options,
    calls: AtomicU64,
}

impl Plugin for BadHabits {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        Ok(Self { options, calls: AtomicU64::new(0) })
    }
}

impl Notifier for BadHabits {
    fn describe(&self) -> Description {
        let url = &self.options.url;
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find('/').map_or(url.len(), |at| host + at);
        Description::new([url[..end].to_owned()])
    }

    fn next(&self, notification: &Notification, answers: &[HttpAnswer]) -> Step {
        let habit = self.options.habit;
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        match habit {
            Some(Habit::Panics) => panic!("a bad habit"),
            Some(Habit::Hangs) => loop {
                thread::sleep(Duration::from_secs(1));
            },
            Some(Habit::File) => drop(fs::read("/etc/hostname")),
            _ => {}
        }
        let Some(answer) = answers.last().filter(|_| habit != Some(Habit::Endless)) else {
            return Step::send(self.request(notification, calls));
        };
        if habit == Some(Habit::PanicsOnAnswer) {
            let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
            return Step::delivered_with(body["id"].clone());
        }
        let token = self.options.token.as_ref().map_or("", Secret::expose);
        let reason = match habit {
            Some(Habit::TokenInReason) => format!("{token} was refused: {}", answer.status),
            _ => format!("the server answered {}", answer.status),
        };
        match answer.status {
            200..300 if habit == Some(Habit::HugeState) => {
                Step::delivered_with("x".repeat(20_000).into())
            }
            200..300 => Step::delivered(),
            401 | 403 | 404 | 410 => Step::destination_broken(reason),
            429 | 500..600 => Step::retry(reason),
            _ => Step::rejected(reason),
        }
    }
}

impl BadHabits {
    fn request(&self, notification: &Notification, calls: u64) -> HttpRequest {
        let habit = self.options.habit;
        let token = self.options.token.as_ref().map_or("", Secret::expose);
        let mut url = self.options.url.clone();
        match habit {
            Some(Habit::TokenInQuery) => url.push_str(&format!("?token={token}")),
            Some(Habit::OtherServer) => url = "https://elsewhere.example/".into(),
            _ => {}
        }
        let mut body = json!({ "id": notification.delivery_id, "kind": notification.kind });
        match habit {
            Some(Habit::Counter) => body["calls"] = calls.into(),
            Some(Habit::Clock) => body["at"] = format!("{:?}", SystemTime::now()).into(),
            Some(Habit::HugeBody) => {
                body["filling"] = "x".repeat(self.options.body_mib as usize * 1024 * 1024).into();
            }
            _ => {}
        }
        let mut request = HttpRequest::post_json("post", url, &body);
        if habit == Some(Habit::BadRequest) {
            request.method.clear();
        }
        let value = format!("Bearer {token}");
        match habit {
            Some(Habit::TokenNotMarked) => request.header("authorization", value),
            _ => request.secret_header("authorization", value),
        }
    }
}

/// Answers as every notifier does, unless the habit is an answer that no [`Step`] can be.
fn call(plugin: &BadHabits, input: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let is_next = !matches!(serde_json::from_slice(input)?, NotifyCall::Describe);
    match plugin.options.habit {
        Some(Habit::InvalidJson) if is_next => Ok(br#"{"step": "#.to_vec()),
        Some(Habit::UnknownStep) if is_next => Ok(br#"{"step": "wait", "seconds": 5}"#.to_vec()),
        _ => match serde_json::from_slice(input)? {
            NotifyCall::Next { notification, answers } => {
                serde_json::to_vec(&plugin.next(&notification, &answers))
            }
            _ => serde_json::to_vec(&plugin.describe()),
        },
    }
}

// The macro's own arms: `export_plugin!(BadHabits: notify)` would leave no room for other answers.
tocsin_plugin_api::export_plugin!(
    @exported BadHabits, ["notify"], [Capability::json("notify", call)]
);
tocsin_plugin_api::export_plugin!(@library BadHabits);
