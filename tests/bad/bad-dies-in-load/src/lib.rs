//! Wrong on purpose: an initializer of the library kills the process that maps it, if the process has
//! the variable `PATH`. A host has; the sandbox that tries the plugin first has not. The host dies once,
//! and at its next start it must leave this file aside and serve the others.

#![expect(unsafe_code, reason = "an initializer of one's own is what is tested")]

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct DiesInLoad;

impl Integration for DiesInLoad {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Event::create(String::from_utf8_lossy(request.body())).into())
    }
}

tocsin_plugin_api::export_plugin!(DiesInLoad);

extern "C" fn die() {
    if std::env::var_os("PATH").is_some() {
        std::process::abort();
    }
}

// SAFETY: the section is an array of such functions, which the loader calls one after the other.
#[used]
#[unsafe(link_section = ".init_array")]
static DIE: extern "C" fn() = die;
