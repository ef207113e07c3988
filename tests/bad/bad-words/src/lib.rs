//! Wrong on purpose: repeats the request in every text that it returns, unchanged and as often as the
//! sender likes. The host must cut such texts, and never show control characters in them.

use tocsin_plugin_api::{outcome::Reply, prelude::*};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Refused with these words.
    refused: Option<String>,
}

struct Words;

impl Integration for Words {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        options.refused.map_or(Ok(Self), |words| Err(OptionsError::at("refused", words)))
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let header = |name| request.header(name).map(String::from_utf8_lossy);
        let times = header("x-times").and_then(|times| times.parse().ok()).unwrap_or(1);
        let words = String::from_utf8_lossy(request.body()).repeat(times);
        match header("x-kind").as_deref() {
            Some("ignored") => Ok(Received::ignored(words)),
            Some("unauthorized") => Err(Refusal::unauthorized(words)),
            Some("malformed") => Err(Refusal::malformed(words)),
            Some("failed") => Err(Refusal::failed(words)),
            Some("panics") => panic!("{words}"),
            Some("replies") => {
                let reply = Reply { content_type: "text/plain".into(), body: words };
                Ok(Received::from(Event::create("replied")).with_reply(reply))
            }
            _ => Ok(Event::create(words.as_str())
                .description(words.as_str())
                .dedup_key(words.as_str())
                .detail(words.as_str(), words.as_str())
                .detail("Status", "resolved")
                .into()),
        }
    }
}

tocsin_plugin_api::export_plugin!(Words);
