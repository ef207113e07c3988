//! Wrong on purpose: an initializer of the library never returns and so blocks the system's loader. The
//! host must notice the hang in a sandbox, never map the library itself, and serve the other plugins
//! meanwhile.

use std::{thread, time::Duration};

use good_parts::{Options, body_as_title, run_while_loading};
use tocsin_plugin_api::prelude::*;

struct SleepsInLoad;

impl Integration for SleepsInLoad {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

tocsin_plugin_api::export_plugin!(SleepsInLoad);

extern "C" fn sleep() {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

run_while_loading!(sleep);
