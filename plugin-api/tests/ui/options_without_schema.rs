//! The options have no schema.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize)]
struct Options {}

struct Silent;

impl Integration for Silent {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Received::ignored("never mind"))
    }
}

tocsin_plugin_api::export_plugin!(Silent);

fn main() {}
