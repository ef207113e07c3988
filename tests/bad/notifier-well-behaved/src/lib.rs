//! A good notifier, the smallest that does all that the tests need: it posts the news as JSON, and the
//! status of the answer decides. The host must serve this plugin, even if other plugins fail.

use serde_json::json;
use tocsin_plugin_api::{
    OptionsError, Secret,
    capability::{Notifier, Plugin},
    notification::{Notification, Subject},
    step::{Description, HttpAnswer, HttpRequest, Step},
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The address that gets the news.
    #[schemars(extend("format" = "uri"))]
    url: String,
    /// Sent as a bearer token.
    secret: Option<Secret>,
}

struct Posts {
    options: Options,
}

impl Plugin for Posts {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        if !options.url.starts_with("http://") && !options.url.starts_with("https://") {
            return Err(OptionsError::at("url", "begins with neither `https://` nor `http://`"));
        }
        Ok(Self { options })
    }
}

impl Notifier for Posts {
    fn describe(&self) -> Description {
        Description::new([base(&self.options.url)])
    }

    fn next(&self, notification: &Notification, answers: &[HttpAnswer]) -> Step {
        let message = messages(notification) + 1;
        let Some(answer) = answers.last() else { return self.post(notification, message) };
        let reason = format!("the server answered {}", answer.status);
        match answer.status {
            200..300 => Step::delivered_with(json!({ "messages": message })),
            401 | 403 | 404 | 410 => Step::destination_broken(reason),
            429 | 500..600 => Step::retry(reason),
            _ => Step::rejected(reason),
        }
    }
}

impl Posts {
    fn post(&self, notification: &Notification, message: u64) -> Step {
        let mut body = json!({
            "id": notification.delivery_id,
            "kind": notification.kind,
            "skipped": notification.skipped,
            "attempt": notification.attempt,
            "in_doubt": notification.in_doubt,
            "message": message,
        });
        match &notification.subject {
            Subject::Alert(alert) => {
                body["number"] = alert.number.into();
                body["title"] = alert.title.as_str().into();
                body["status"] = alert.status.as_str().into();
                body["urgency"] = alert.urgency.as_str().into();
                body["note"] =
                    json!(notification.change.as_ref().and_then(|one| one.note.as_ref()));
            }
            Subject::Digest(digest) => body["digest"] = json!(digest),
            _ => {}
        }
        let request = HttpRequest::post_json("post", &self.options.url, &body)
            .header("idempotency-key", &notification.delivery_id);
        Step::send(match &self.options.secret {
            Some(secret) => {
                request.secret_header("authorization", format!("Bearer {}", secret.expose()))
            }
            None => request,
        })
    }
}

/// Returns the number of messages about the alert so far.
fn messages(notification: &Notification) -> u64 {
    let state = notification.state.as_ref();
    state.and_then(|state| state["messages"].as_u64()).unwrap_or_default()
}

/// Returns scheme, host and port of a URL.
fn base(url: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    url[..end].into()
}

tocsin_plugin_api::export_plugin!(Posts: notify);
