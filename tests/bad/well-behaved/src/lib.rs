//! A good plugin, the smallest that does all that the tests need: the headers of a request choose the
//! fields of its event. The host must serve this plugin, even if other plugins fail. Altered copies of
//! this plugin stand for other versions and for broken files.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Comes before every title.
    #[serde(default)]
    prefix: String,
    /// What a sender has to present as `x-token`, or several of them; anyone may send if there is
    /// none.
    token: Option<Secrets>,
}

struct WellBehaved {
    options: Options,
}

impl Integration for WellBehaved {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        Ok(Self { options })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let token = request.header("x-token").unwrap_or_default();
        if self.options.token.as_ref().is_some_and(|secrets| !secrets.match_any(token)) {
            return Err(Refusal::unauthorized("wrong or missing x-token"));
        }
        let body = std::str::from_utf8(request.body())
            .map_err(|_| Refusal::malformed("the body is not UTF-8"))?;
        let header = |name| request.header(name).map(String::from_utf8_lossy);

        let mut event = Event::create(format!("{}{body}", self.options.prefix));
        event.dedup_key = header("x-dedup-key").map(Into::into);
        event.event_id = header("x-event-id").map(Into::into);
        event.action = match header("x-action").as_deref() {
            None | Some("create") => Action::Create,
            Some("acknowledge") => Action::Acknowledge,
            Some("resolve") => Action::Resolve,
            Some(_) => return Err(Refusal::malformed("no such x-action")),
        };
        event.urgency = match header("x-urgency").as_deref() {
            None => None,
            Some(name) => match Urgency::from_name(name) {
                None => return Err(Refusal::malformed("no such x-urgency")),
                urgency => urgency,
            },
        };
        let count = header("x-events").map_or(Some(1), |count| count.parse().ok());
        let count = count.ok_or_else(|| Refusal::malformed("x-events is no number"))?;
        Ok(Received::events(vec![event; count]))
    }
}

tocsin_plugin_api::export_plugin!(WellBehaved);
