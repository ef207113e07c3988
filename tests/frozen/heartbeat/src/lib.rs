//! A plugin built against plugin-api 1.0.0, which uses all that 1.0.0 has. Every later 1.x host must
//! load it and understand every answer. It never changes: what it could not do then, it cannot do.

use serde_json::json;
use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What the sender has to present as `x-token`; anyone may send if there is none.
    token: Option<Secret>,
    /// The largest body that is read, in bytes.
    #[serde(default = "default_limit")]
    body_limit_bytes: usize,
}

fn default_limit() -> usize {
    1024
}

#[derive(serde::Deserialize)]
struct Beat {
    service: String,
    up: bool,
    #[serde(default)]
    seen_by: Option<String>,
    #[serde(default)]
    link: Option<String>,
    #[serde(default)]
    sequence: Option<u64>,
}

struct Heartbeat {
    options: Options,
}

impl Integration for Heartbeat {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        if options.body_limit_bytes == 0 {
            return Err(OptionsError::at("body_limit_bytes", "must be at least 1"));
        }
        Ok(Self { options })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let token = request.header("x-token").unwrap_or_default();
        if self.options.token.as_ref().is_some_and(|secret| !secret.matches(token)) {
            return Err(Refusal::unauthorized("wrong or missing x-token"));
        }
        if !request.media_type().eq_ignore_ascii_case("application/json") {
            return Err(Refusal::unsupported_media_type("expected application/json"));
        }
        if request.body().len() > self.options.body_limit_bytes {
            return Err(Refusal::too_large("a beat is small"));
        }
        let beat: Beat = serde_json::from_slice(request.body())
            .map_err(|_| Refusal::malformed("expected a beat: service, up"))?;
        match beat.service.as_str() {
            "" => Ok(Received::ignored("a beat of nobody")),
            "failing" => Err(Refusal::failed("asked to fail")),
            "panicking" => panic!("asked to panic"),
            _ => Ok(Received::from(event(beat)).with_reply(Reply::json(&json!({"heard": true})))),
        }
    }
}

fn event(beat: Beat) -> Event {
    let Beat { service, up, seen_by, link, sequence } = beat;
    if up {
        return Event::resolve(service);
    }
    if let Some(who) = seen_by {
        return Event::acknowledge(service).detail("seen by", who);
    }
    let mut event = Event::create(format!("{service} is down"))
        .description(format!("{service} says that it is down."))
        .urgency(Urgency::Critical)
        .detail("service", service.clone());
    event.event_id = sequence.map(|sequence| format!("{service}/{sequence}"));
    event.link = link;
    event.dedup_key(service)
}

tocsin_plugin_api::export_plugin!(Heartbeat);
