//! Wrong on purpose: panics on some requests, once with a payload that panics when it is dropped. The
//! host must answer 503 to such a request, make a new instance, and keep serving.

use good_parts::Options;
use tocsin_plugin_api::prelude::*;

struct PanicsInReceive;

impl Integration for PanicsInReceive {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let body = String::from_utf8_lossy(request.body());
        if body == "panic payload" {
            std::panic::panic_any(PanicsWhenDropped);
        }
        assert!(!body.contains("panic"), "asked to panic");
        Ok(Event::create(body).into())
    }
}

/// A panic payload whose destructor panics.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("the payload of a panic panics");
    }
}

tocsin_plugin_api::export_plugin!(PanicsInReceive);
