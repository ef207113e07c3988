//! Wrong on purpose: an initializer of the library kills any process that maps it. The host must find
//! that out in a sandbox, and never map the library itself.

#![expect(unsafe_code, reason = "an initializer of one's own is what is tested")]

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct DiesInSandbox;

impl Integration for DiesInSandbox {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Event::create(String::from_utf8_lossy(request.body())).into())
    }
}

tocsin_plugin_api::export_plugin!(DiesInSandbox);

extern "C" fn die() {
    std::process::abort();
}

// SAFETY: the section is an array of such functions, which the loader calls one after the other.
#[used]
#[unsafe(link_section = ".init_array")]
static DIE: extern "C" fn() = die;
