//! Wrong on purpose: an initializer of the library kills the process that maps it, if the process has
//! the variable `PATH`. A host has that variable; the sandbox that tries the plugin first does not. The
//! host dies once. At its next start, it must not load this file, and must serve the other plugins.

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
