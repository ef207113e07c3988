//! The steps of one attempt to deliver a notification: requests to send, their answers, and the verdict.
//!
//! The host sends the requests. A [`Notifier`](crate::capability::Notifier) gets the answers so far, and
//! returns the next [`Step`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::notification::{Kind, Notification, known_kinds};

/// The largest number of HTTP requests of one attempt.
pub const MOST_REQUESTS: usize = 5;

/// The largest size of a [`Step`] as JSON, in bytes. The host refuses a larger one.
pub const LARGEST_STEP_BYTES: usize = 1024 * 1024;

/// The largest size of the state of [`Step::Delivered`] as JSON, in bytes. The host keeps it for each alert
/// and destination, and refuses a larger one.
pub const LARGEST_STATE_BYTES: usize = 16 * 1024;

/// The next step of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Send a request, and ask the notifier again with its answer. At most [`MOST_REQUESTS`] times an
    /// attempt.
    Send {
        /// The request.
        request: HttpRequest,
    },
    /// The destination has the news.
    Delivered {
        /// A small value that the notifier gets back with the next news about the same alert. `None`
        /// keeps the value of before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<Value>,
    },
    /// The attempt failed, and a later one may succeed. The host decides when: by its schedule, and not
    /// before the `Retry-After` of the last answer.
    Retry {
        /// The reason, for operators.
        reason: String,
        /// The shortest time to wait, if the notifier knows one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_seconds: Option<u64>,
        /// True if nobody knows whether the destination has the news. The next attempt then has
        /// [`in_doubt`](Notification::in_doubt).
        #[serde(default)]
        in_doubt: bool,
    },
    /// The delivery can never succeed. Other deliveries to the destination can.
    Rejected {
        /// The reason, for operators.
        reason: String,
    },
    /// No delivery to this destination can succeed before an operator has changed something, such as a
    /// token. The host parks the destination, and keeps all that waits for it.
    DestinationBroken {
        /// The reason, for operators.
        reason: String,
    },
}

impl Step {
    /// The step that sends a request.
    pub fn send(request: HttpRequest) -> Self {
        Self::Send { request }
    }

    /// The verdict that the destination has the news.
    pub fn delivered() -> Self {
        Self::Delivered { state: None }
    }

    /// The verdict that the destination has the news, with a value for the next news about the alert.
    pub fn delivered_with(state: Value) -> Self {
        Self::Delivered { state: Some(state) }
    }

    /// The verdict that a later attempt may succeed.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after_seconds: None, in_doubt: false }
    }

    /// The verdict that a later attempt may succeed, but not within this time.
    pub fn retry_after(reason: impl Into<String>, wait: Duration) -> Self {
        Self::Retry { reason: reason.into(), after_seconds: Some(wait.as_secs()), in_doubt: false }
    }

    /// The verdict that nobody knows whether the destination has the news.
    pub fn in_doubt(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after_seconds: None, in_doubt: true }
    }

    /// The verdict that this delivery can never succeed.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected { reason: reason.into() }
    }

    /// The verdict that no delivery to this destination can succeed.
    pub fn destination_broken(reason: impl Into<String>) -> Self {
        Self::DestinationBroken { reason: reason.into() }
    }
}

/// An HTTP request that the host sends for a notifier.
///
/// The host records each request. Records show the URL and the headers without what is marked as secret,
/// and never show a value that the operator gave as a [`Secret`](crate::Secret).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HttpRequest {
    /// A word for the request, such as `post` or `look`: for records, and for the notifier itself when it
    /// gets the answer.
    pub name: String,
    /// The method, such as `POST`.
    pub method: String,
    /// The whole URL, `https://` or `http://`.
    pub url: String,
    /// The text in place of the URL in records, if the URL is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_url: Option<String>,
    /// The headers. The host adds `host`, `content-length` and `user-agent`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// The body, always text: a notifier sends JSON, forms or plain text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// A header of an [`HttpRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// True if records must not show the value.
    #[serde(default)]
    pub secret: bool,
}

impl HttpRequest {
    /// A request with this method and URL, named for records.
    pub fn new(name: impl Into<String>, method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            method: method.into(),
            url: url.into(),
            shown_url: None,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// A `POST` with a body of JSON.
    pub fn post_json(name: impl Into<String>, url: impl Into<String>, body: &Value) -> Self {
        Self::new(name, "POST", url)
            .header("content-type", "application/json; charset=utf-8")
            .body(body.to_string())
    }

    /// Shows this text in records instead of the URL.
    #[must_use]
    pub fn secret_url(mut self, shown: impl Into<String>) -> Self {
        self.shown_url = Some(shown.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into(), secret: false });
        self
    }

    /// Adds a header that records do not show.
    #[must_use]
    pub fn secret_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into(), secret: true });
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}

/// The answer to an [`HttpRequest`].
///
/// A notifier sees only whole answers. If a connection fails, the host ends the attempt and tries again
/// later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HttpAnswer {
    /// The [name](HttpRequest::name) of the request.
    pub request: String,
    /// The status code, 200 to 599.
    pub status: u16,
    /// The headers, names in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The body, at most 64 KiB of it. Bytes that are not UTF-8 are replaced.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

impl HttpAnswer {
    /// An answer without headers and body: for tests and for tools.
    pub fn new(request: impl Into<String>, status: u16) -> Self {
        Self { request: request.into(), status, headers: Vec::new(), body: String::new() }
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Returns the value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns true for a status from 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A notifier's description of itself with its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Description {
    /// The base URLs that the notifier contacts, such as `https://slack.com`: scheme, host and port. The
    /// host warns about a network that its configuration forbids, before the first delivery.
    pub contacts: Vec<String>,
    /// The kinds of news that the notifier can send. The host sends it no other kind, not even a
    /// [test](Kind::Test). A host leaves out kinds that it does not know.
    #[serde(deserialize_with = "known_kinds")]
    pub kinds: Vec<Kind>,
    /// The shortest time between two attempts, in milliseconds, unless the operator sets a rate limit.
    pub pause_ms: u64,
    /// True if the options allow a secret in the query of a URL.
    pub secret_in_query: bool,
}

impl Description {
    /// A notifier of every kind of news that contacts these base URLs.
    pub fn new(contacts: impl IntoIterator<Item = String>) -> Self {
        let contacts = contacts.into_iter().collect();
        Self { contacts, kinds: Kind::ALL.to_vec(), pause_ms: 0, secret_in_query: false }
    }

    /// Sets the shortest time between two attempts.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

/// The input of the capability `notify` as it crosses the boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotifyCall {
    /// Asks for the [`Description`].
    Describe,
    /// Asks for the next [`Step`].
    Next {
        /// The notification.
        notification: Box<Notification>,
        /// The answers to the requests of this attempt, in the order in which they were sent.
        answers: Vec<HttpAnswer>,
    },
}

impl NotifyCall {
    /// Asks for the step after these answers.
    pub fn next(notification: Notification, answers: Vec<HttpAnswer>) -> Self {
        Self::Next { notification: Box::new(notification), answers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_may_have_kinds_that_only_a_later_version_knows() {
        let json = r#"{"contacts": [], "kinds": ["merged", "resolved"], "later": 1}"#;
        let description: Description = serde_json::from_str(json).expect("it can be read");
        assert_eq!(description.kinds, [Kind::Resolved]);
    }

    #[test]
    fn a_step_that_only_a_later_version_knows_is_an_error_that_names_it() {
        let error = serde_json::from_str::<Step>(r#"{"step": "wait"}"#).expect_err("unknown");
        assert!(error.to_string().starts_with("unknown variant `wait`"), "{error}");
    }

    #[test]
    fn steps_survive_json() {
        let request = HttpRequest::post_json("post", "https://x/y", &serde_json::json!({"a": 1}))
            .secret_url("https://x/...")
            .secret_header("authorization", "Bearer x");
        let steps = [
            Step::send(request),
            Step::delivered(),
            Step::delivered_with(serde_json::json!({"ts": "1"})),
            Step::retry("later"),
            Step::retry_after("later", Duration::from_secs(3)),
            Step::in_doubt("cut"),
            Step::rejected("never"),
            Step::destination_broken("archived"),
        ];
        for step in steps {
            let json = serde_json::to_string(&step).expect("JSON");
            assert_eq!(serde_json::from_str::<Step>(&json).expect("read"), step);
        }
    }
}
