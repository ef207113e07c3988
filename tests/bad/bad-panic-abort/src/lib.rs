//! Wrong on purpose: the source is good, but the tests build it with `-C panic=abort`, so that a panic
//! ends the whole process. The host must refuse the plugin by its manifest, before loading it.

use good_parts::Options;
use tocsin_plugin_api::prelude::*;

struct PanicAbort;

impl Integration for PanicAbort {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let body = String::from_utf8_lossy(request.body());
        assert!(!body.contains("panic"), "asked to panic");
        Ok(Event::create(body).into())
    }
}

tocsin_plugin_api::export_plugin!(PanicAbort);
