//! The list has a capability whose trait is not implemented.

use tocsin_plugin_api::{capability::Plugin, prelude::*};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Options {}

struct Deaf;

impl Plugin for Deaf {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }
}

tocsin_plugin_api::export_plugin!(Deaf: receive);

fn main() {}
