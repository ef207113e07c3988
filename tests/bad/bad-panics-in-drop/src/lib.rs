//! Wrong on purpose: serves like any other plugin, and panics when an instance is dropped. The host must
//! survive a reload, stop in good order, and report the panic.

use good_parts::{Options, body_as_title};
use tocsin_plugin_api::prelude::*;

struct PanicsInDrop;

impl Integration for PanicsInDrop {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("not without a fight");
    }
}

tocsin_plugin_api::export_plugin!(PanicsInDrop);
