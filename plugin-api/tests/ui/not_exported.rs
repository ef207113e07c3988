//! The call of `export_plugin!` is missing.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Options {}

struct Forgotten;

impl Integration for Forgotten {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Received::ignored("nobody can call this"))
    }
}

fn main() {}
