//! A plugin with a capability that only a later plugin-api knows, and without `receive`. A host
//! with that plugin-api calls the capability; a 1.0 host and the present host must refuse the
//! plugin.

use tocsin_plugin_api::{
    capability::{Echo, Plugin},
    prelude::*,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Mirror;

impl Plugin for Mirror {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }
}

impl Echo for Mirror {
    fn echo(&self, text: &str) -> String {
        text.into()
    }
}

tocsin_plugin_api::export_plugin!(Mirror: echo);
