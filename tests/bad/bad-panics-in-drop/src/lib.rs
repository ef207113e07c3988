//! Wrong on purpose: serves like any other, and panics when an instance is dropped. The host must survive
//! a reload, stop in good order, and report the panic.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct PanicsInDrop;

impl Integration for PanicsInDrop {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Event::create(String::from_utf8_lossy(request.body())).into())
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("not without a fight");
    }
}

tocsin_plugin_api::export_plugin!(PanicsInDrop);
