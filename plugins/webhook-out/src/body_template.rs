//! Body of a request by the operator's template, in Jinja.
//!
//! A template is rendered with samples of news when the options are read, so that most faults are found
//! before the first alert. A template that fails later makes no body: the delivery is rejected.

use std::io::{self, Write};

use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value, syntax::SyntaxConfig, value::Serde,
};
use tocsin_plugin_api::{
    Detail, OptionsError, Urgency,
    notification::{Alert, Change, Digest, Kind, Notification, Status, Subject, Time},
};

use crate::{news::News, request_headers::is_value};

/// Most bytes of a template.
const LONGEST_SOURCE: usize = 64 * 1024;

/// Most bytes of a body.
const LONGEST_BODY: usize = 1024 * 1024;

/// Fuel of a rendering: a step of the engine costs 1, and so do 64 bytes of text.
const FUEL: u64 = 200_000;

/// Most characters of the engine's error in a reason.
const LONGEST_REASON: usize = 200;

/// Name of the only template of its environment.
const NAME: &str = "body";

/// Compiled template of a body.
pub(crate) struct BodyTemplate {
    environment: Environment<'static>,
    content_type: String,
    is_json: bool,
}

impl BodyTemplate {
    /// Takes the options `body` and `content_type`.
    ///
    /// # Errors
    ///
    /// If the template cannot be compiled, or fails for one of the samples.
    pub(crate) fn new(
        body: Option<String>,
        content_type: Option<String>,
    ) -> Result<Option<Self>, OptionsError> {
        let Some(source) = body else {
            if content_type.is_some() {
                let message = "is set without `body`, and a CloudEvent has its own content type\n\
                               hint: remove it, or set `body`";
                return Err(OptionsError::at("content_type", message));
            }
            return Ok(None);
        };
        let content_type = content_type.unwrap_or_else(|| "application/json".into());
        if !content_type.contains('/') || !is_value(&content_type) {
            let message = "not a content type\nhint: write it like `text/plain; charset=utf-8`";
            return Err(OptionsError::at("content_type", message));
        }
        let environment = environment(source).map_err(|fault| OptionsError::at("body", fault))?;
        let is_json = is_json(&content_type);
        let template = Self { environment, content_type, is_json };
        for (name, notification) in samples() {
            let rendered = News::of(&notification).and_then(|news| template.render(&news));
            rendered.map_err(|reason| OptionsError::at("body", format!("for {name}, {reason}")))?;
        }
        Ok(Some(template))
    }

    /// Returns the content type of the bodies.
    pub(crate) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Makes the body of some news.
    ///
    /// # Errors
    ///
    /// The reason why the template makes no body of this news, for operators.
    pub(crate) fn render(&self, news: &News<'_>) -> Result<String, String> {
        let mut body = BoundedBody::default();
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| {
            template.render_captured_to(Value::from(Serde(news)), &mut body).map(drop)
        });
        if body.is_full {
            return Err(format!("the template makes a body of more than {LONGEST_BODY} bytes"));
        }
        if let Err(error) = rendered {
            return Err(format!("the template fails: {}", reason(&error)));
        }
        let body = String::from_utf8_lossy(&body.bytes).into_owned();
        if self.is_json && serde_json::from_str::<serde::de::IgnoredAny>(&body).is_err() {
            return Err(
                "the template makes a body that is not JSON; hint: write texts with the filter \
                        `json`, as in `{\"text\": {{ alert.title | json }}}`"
                    .into(),
            );
        }
        Ok(body)
    }
}

fn environment(source: String) -> Result<Environment<'static>, String> {
    if source.trim().is_empty() {
        return Err("empty\nhint: remove it; then the body is a CloudEvent".into());
    }
    if source.len() > LONGEST_SOURCE {
        return Err("longer than 64 KiB\nhint: shorten the template".into());
    }
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The engine then names what is undefined.
    environment.set_debug(true);
    // A line with nothing but a tag leaves no empty line behind.
    let lines_of_tags = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(lines_of_tags.unwrap_or_default());
    environment.add_filter("json", json);
    environment
        .add_template_owned(NAME, source)
        .map_err(|error| format!("not a template: {}", reason(&error)))?;
    Ok(environment)
}

/// Writes a value as JSON: a text with its quotes.
fn json(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let json = serde_json::to_string(value);
    let json = json.map_err(|_| Error::new(ErrorKind::BadSerialization, "cannot be JSON"))?;
    Ok(Value::from_safe_string(json))
}

/// Returns true for `application/json`, `text/json` and types that end in `+json`.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// Returns the message of an engine's error on one line, with the line of the template.
fn reason(error: &Error) -> String {
    let said = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes more steps than a template may".to_owned(),
        (kind, None) => kind.to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
    };
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().take(LONGEST_REASON).collect();
    match error.line() {
        Some(line) => format!("line {line}: {said}"),
        None => said,
    }
}

/// Bytes of a body, up to [`LONGEST_BODY`].
#[derive(Default)]
struct BoundedBody {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Write for BoundedBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > LONGEST_BODY {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns news of every kind, with and without optional values, and with text that has to be escaped.
fn samples() -> Vec<(&'static str, Notification)> {
    let at = Time::from_unix_seconds(1_767_225_600);
    let bare = Alert::new(1, "a \"quoted\" title, \\, a tab\t", Urgency::Low, at);
    let mut whole = bare.clone();
    whole.url = Some("https://tocsin.example/alerts/1".into());
    whole.integration = "ops".into();
    whole.description = Some("two \"lines\"\nof <text> & \\".into());
    whole.dedup_key = Some("db1".into());
    whole.link = Some("https://grafana.example/d/1".into());
    whole.details = vec![Detail { label: "Host \"name\"".into(), value: "db\\1\n".into() }];
    whole.occurrences = 2;
    let mut digest = Digest::default();
    digest.count = 21;
    digest.urgencies = vec![(Urgency::High, 21)];
    digest.integrations = vec![("ops".into(), 21)];
    (digest.first, digest.last) = (1, 21);

    let mut samples = Vec::new();
    for kind in Kind::ALL {
        let mut alert = whole.clone();
        match kind {
            Kind::Acknowledged => alert.status = Status::Acknowledged,
            Kind::Resolved => alert.status = Status::Resolved,
            Kind::Digest => {
                let subject = Subject::Digest(digest.clone());
                samples.push(("a digest", Notification::about("d", kind, subject, at)));
                continue;
            }
            _ => {}
        }
        let mut notification = Notification::new("d", kind, alert, at);
        notification.change = Some(Change::new(at, "api token \"anna\"").with_note("\"on\"\nit"));
        notification.skipped = vec![Kind::Opened];
        samples.push(("an alert with every value", notification));
    }
    samples
        .push(("an alert without optional values", Notification::new("d", Kind::Opened, bare, at)));
    samples
}
