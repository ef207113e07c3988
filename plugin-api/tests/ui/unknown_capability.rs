//! The list has a capability that this version does not know.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Options {}

struct Ahead;

impl Integration for Ahead {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Received::ignored("too early"))
    }
}

tocsin_plugin_api::export_plugin!(Ahead: receive, echo);

fn main() {}
