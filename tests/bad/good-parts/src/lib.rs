//! The correct parts that the bad plugins share, so that the source of each bad plugin shows only
//! its fault.

use tocsin_plugin_api::prelude::*;

/// Options without keys.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {}

/// Creates an alert with the body as its title.
///
/// # Errors
///
/// Never.
pub fn body_as_title(request: &Request<'_>) -> Result<Received, Refusal> {
    Ok(Event::create(String::from_utf8_lossy(request.body())).into())
}

/// Has the system's loader run a function while it loads the library.
#[macro_export]
macro_rules! run_while_loading {
    ($function:ident) => {
        // SAFETY: the section is an array of such functions, which the loader calls in order.
        #[used]
        #[unsafe(link_section = ".init_array")]
        static WHILE_LOADING: extern "C" fn() = $function;
    };
}
