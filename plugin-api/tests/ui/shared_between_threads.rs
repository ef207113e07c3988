//! An integration that only one thread can use.

use std::cell::Cell;

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Options {}

struct Counting {
    requests: Cell<u64>,
}

impl Integration for Counting {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self { requests: Cell::new(0) })
    }

    fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> {
        self.requests.set(self.requests.get() + 1);
        Ok(Received::ignored("counted"))
    }
}

tocsin_plugin_api::export_plugin!(Counting);

fn main() {}
