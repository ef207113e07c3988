//! Wrong on purpose: an initializer of the library kills any process that maps it. The host must
//! notice the crash in a sandbox, and never map the library itself.

use good_parts::{Options, body_as_title, run_while_loading};
use tocsin_plugin_api::prelude::*;

struct DiesInSandbox;

impl Integration for DiesInSandbox {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

tocsin_plugin_api::export_plugin!(DiesInSandbox);

extern "C" fn die() {
    std::process::abort();
}

run_while_loading!(die);
