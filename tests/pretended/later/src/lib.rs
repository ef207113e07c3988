//! A plugin built with a later plugin-api. The present host must load the plugin if it is built
//! with 1.2: an event with an urgency unknown to the host gets the integration's urgency, and the
//! host ignores unknown fields. The host must refuse the plugin if it is built with 2.0.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Later;

impl Integration for Later {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let body = String::from_utf8_lossy(request.body());
        let event = Event::create(&*body).urgency(Urgency::High);
        Ok(if body.contains("later") { in_later_words(event) } else { event }.into())
    }
}

#[cfg(feature = "minor")]
fn in_later_words(mut event: Event) -> Event {
    event.colour = Some("red".into());
    event.urgency(Urgency::Catastrophic)
}

#[cfg(not(feature = "minor"))]
fn in_later_words(event: Event) -> Event {
    event
}

tocsin_plugin_api::export_plugin!(Later);
