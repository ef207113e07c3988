//! Two plugins in one crate.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Options {}

struct One;

impl Integration for One {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Received::ignored("one"))
    }
}

struct Two;

impl Integration for Two {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Received::ignored("two"))
    }
}

tocsin_plugin_api::export_plugin!(One);
tocsin_plugin_api::export_plugin!(Two);

fn main() {}
