//! Wrong on purpose: an initializer of the library never returns and so blocks the system's loader. The
//! host must find that out in a sandbox, never map the library itself, and serve the others meanwhile.

#![expect(unsafe_code, reason = "an initializer of one's own is what is tested")]

use std::{thread, time::Duration};

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct SleepsInLoad;

impl Integration for SleepsInLoad {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Event::create(String::from_utf8_lossy(request.body())).into())
    }
}

tocsin_plugin_api::export_plugin!(SleepsInLoad);

extern "C" fn sleep() {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

// SAFETY: the section is an array of such functions, which the loader calls one after the other.
#[used]
#[unsafe(link_section = ".init_array")]
static SLEEP: extern "C" fn() = sleep;
