//! Wrong on purpose: panics when an instance is made, unless the plugin's options have
//! `panic = false`. The host must start without the plugin, report it, and serve the other
//! integrations.

use good_parts::body_as_title;
use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default = "yes")]
    panic: bool,
}

fn yes() -> bool {
    true
}

struct PanicsInNew;

impl Integration for PanicsInNew {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        assert!(!options.panic, "asked to panic");
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

tocsin_plugin_api::export_plugin!(PanicsInNew);
