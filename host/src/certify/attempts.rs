//! Attempts to certify a notifier with: notifications of every kind, and answers such as many servers
//! give. The steps of a notifier are read here, too.
//!
//! The answers of a plugin's own server come from its fixtures.

use serde_json::{Value, json};
use tocsin_plugin_api::{
    Detail,
    notification::{Alert, Change, Kind, Notification, Status, Subject},
    step::{HttpAnswer, Step},
    testing::{NotifierFixture, usual_digest, usual_notification},
};

use super::baseline::Baseline;
use crate::sandbox::{attempt::ScriptedAttempt, message::Message};

/// The largest body of an answer that a notifier gets.
const ANSWER_BYTES: usize = 64 * 1024;
/// The number of details of a large alert.
const MANY: usize = 100;
/// The size of the title and of each detail of a large alert, in bytes.
const VALUE_BYTES: usize = 4096;

const STATUSES: &[u16] = &[
    201, 202, 204, 226, 299, 300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408,
    409, 410, 413, 415, 418, 421, 422, 425, 426, 429, 431, 451, 499, 500, 501, 502, 503, 504, 507,
    520, 599,
];

const BODIES: &[(&str, &str)] = &[
    ("ok", "ok"),
    ("an empty object", "{}"),
    ("an empty list", "[]"),
    ("null", "null"),
    ("a text", r#""sent""#),
    ("a number", "1e999"),
    ("half an object", r#"{"ok":"#),
    ("success", r#"{"ok":true,"id":"4711","ts":"1767268800.000100","channel":"C1"}"#),
    ("an error", r#"{"ok":false,"error":"something_new","errors":[{"code":1}]}"#),
    ("other types", r#"{"ok":"yes","id":[],"ts":7,"error":{},"messages":0}"#),
    ("HTML", "<!doctype html><title>502 Bad Gateway</title>"),
    ("other letters", "Störung \u{202e}日本 \u{0} 👩‍👩‍👧 \u{fffd}"),
];

const RETRY_AFTER: &[&str] = &[
    "0",
    "5",
    "-1",
    "1.5",
    "86401",
    "99999999999999999999",
    "Wed, 21 Oct 2099 07:28:00 GMT",
    "soon",
    "",
];

/// Texts that could mean something to a server.
const TITLES: &[(&str, &str)] = &[
    ("no title", ""),
    ("a ping", "<!channel> <@U1> @here"),
    ("markup", "*a* _b_ `c` ~d~ &amp; <https://example.com|x> [x](y) <b>"),
    ("quotes", "\"a\" 'b' \\ {{x}} ${x} %s\r\n\t"),
    ("other letters", "🔥 Köln \u{202e}abc\u{0301} 日本 \u{feff}\u{0}"),
];

/// Returns the attempt of a fixture.
pub(super) fn of_fixture(fixture: &NotifierFixture, table: usize) -> Message {
    let (notification, answers) = (fixture.notification(), fixture.answers());
    Message::of_attempt(&fixture.name, table, ScriptedAttempt { notification, answers })
}

/// Returns sample attempts for the instance at a position.
pub(super) fn usual(table: usize) -> Vec<Message> {
    let attempt = |name: &str, notification: &Notification, answer: HttpAnswer| {
        let (notification, answers) = (notification.clone(), vec![answer]);
        Message::of_attempt(name, table, ScriptedAttempt { notification, answers })
    };
    let (usual, good) = (usual_notification(), HttpAnswer::new("", 200));
    let mut attempts = Vec::new();
    for (what, notification) in notifications() {
        attempts.push(attempt(&format!("usual {what}"), &notification, good.clone()));
    }
    for (what, body) in BODIES {
        for status in [200, 400, 503] {
            let answer = HttpAnswer::new("", status).with_body(*body);
            attempts.push(attempt(&format!("usual answer {status} with {what}"), &usual, answer));
        }
    }
    for status in STATUSES {
        let answer = HttpAnswer::new("", *status);
        attempts.push(attempt(&format!("usual answer {status}"), &usual, answer));
    }
    for value in RETRY_AFTER {
        let answer = HttpAnswer::new("", 429).with_header("retry-after", *value);
        attempts.push(attempt(&format!("usual retry after `{value}`"), &usual, answer));
    }
    attempts
}

/// Returns the usual notification in every kind, and with every optional field.
fn notifications() -> Vec<(String, Notification)> {
    let usual = usual_notification();
    let changed = |change: &dyn Fn(&mut Notification, &mut Alert)| {
        let mut notification = usual.clone();
        let Subject::Alert(mut alert) = notification.subject.clone() else { return notification };
        change(&mut notification, &mut alert);
        notification.subject = Subject::Alert(alert);
        notification
    };
    let mut all: Vec<(String, Notification)> = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Digest) {
        let of_kind = changed(&|notification, alert| {
            notification.kind = kind;
            alert.status = match kind {
                Kind::Acknowledged => Status::Acknowledged,
                Kind::Resolved => Status::Resolved,
                _ => Status::Open,
            };
            let by = "api token anna";
            notification.change =
                Some(Change::new(notification.attempted_at, by).with_note("on it"));
        });
        all.push((kind.to_string(), of_kind));
    }
    all.push(("digest".into(), usual_digest()));
    let skipped = changed(&|notification, alert| {
        notification.kind = Kind::Resolved;
        alert.status = Status::Resolved;
        notification.skipped = vec![Kind::Opened, Kind::Acknowledged];
    });
    all.push(("news that replaces others".into(), skipped));
    let in_doubt = changed(&|notification, _| {
        notification.attempt = 2;
        notification.in_doubt = true;
    });
    all.push(("news in doubt".into(), in_doubt));
    for state in [json!({}), json!([]), json!("x"), json!(7), json!({"ts": 7, "id": null})] {
        let with_state = changed(&|notification, _| notification.state = Some(state.clone()));
        all.push((format!("news with the state `{state}`"), with_state));
    }
    for (what, title) in TITLES {
        let titled = changed(&|_, alert| {
            alert.title = (*title).into();
            alert.description = Some((*title).into());
            alert.details = vec![Detail { label: (*title).into(), value: (*title).into() }];
        });
        all.push((format!("news with {what}"), titled));
    }
    all
}

/// Returns attempts made to keep a notifier busy: large alerts and large answers of these units.
pub(super) fn stressful(table: usize, units: &[(&str, &str)]) -> Vec<Message> {
    let mut attempts = Vec::new();
    for (what, unit) in units {
        let text = unit.repeat(ANSWER_BYTES / unit.len());
        let mut notification = usual_notification();
        let answers = vec![HttpAnswer::new("", 200).with_body(text.clone())];
        let attempt = ScriptedAttempt { notification: notification.clone(), answers };
        attempts.push(Message::of_attempt(
            format!("64 KiB of {what} as the answer"),
            table,
            attempt,
        ));
        if let Subject::Alert(alert) = &mut notification.subject {
            let value = unit.repeat(VALUE_BYTES / unit.len());
            alert.title = value.clone();
            alert.details = (0..MANY)
                .map(|at| Detail { label: format!("Detail {at}"), value: value.clone() })
                .collect();
            alert.description = Some(text);
        }
        let answers = vec![HttpAnswer::new("", 200)];
        let attempt = ScriptedAttempt { notification, answers };
        attempts.push(Message::of_attempt(format!("a large alert of {what}"), table, attempt));
    }
    attempts
}

/// The steps of one attempt.
pub(super) struct Attempted<'b> {
    pub(super) message: &'b Message,
    /// The description that the notifier gave, as JSON.
    pub(super) description: &'b Value,
    steps: &'b [Value],
}

impl Attempted<'_> {
    /// Returns the steps.
    ///
    /// # Errors
    ///
    /// For each step that cannot be read, the reason.
    pub(super) fn steps(&self) -> impl Iterator<Item = Result<Step, String>> {
        self.steps.iter().map(|step| match step.get("invalid").and_then(Value::as_str) {
            Some(why) => Err(why.into()),
            None => serde_json::from_value(step.clone()).map_err(|error| error.to_string()),
        })
    }
}

/// Returns the attempts of a [`Baseline`] with their steps.
pub(super) fn attempted(baseline: &Baseline) -> impl Iterator<Item = Attempted<'_>> {
    baseline.messages.iter().zip(&baseline.outcomes).filter_map(|(message, timed)| {
        let outcome = &timed.as_ref()?.outcome;
        let (description, steps) = (outcome.get("description")?, outcome.get("steps")?.as_array()?);
        Some(Attempted { message, description, steps })
    })
}
