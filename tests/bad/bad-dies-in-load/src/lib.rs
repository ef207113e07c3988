//! Wrong on purpose: an initializer of the library kills the process that maps it, if the process has
//! the variable `PATH`. A host has; the sandbox that tries the plugin first has not. The host dies once,
//! and at its next start it must set this file aside and serve the others.

use good_parts::{Options, body_as_title, run_while_loading};
use tocsin_plugin_api::prelude::*;

struct DiesInLoad;

impl Integration for DiesInLoad {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

tocsin_plugin_api::export_plugin!(DiesInLoad);

extern "C" fn die() {
    if std::env::var_os("PATH").is_some() {
        std::process::abort();
    }
}

run_while_loading!(die);
