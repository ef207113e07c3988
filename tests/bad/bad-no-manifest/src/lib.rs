//! Wrong on purpose: exports a working module and no `.tocsin.manifest` section. The host must refuse the
//! plugin before loading it, because only the manifest has the plugin's name and the way it was built.

use good_parts::{Options, body_as_title};
use tocsin_plugin_api::{
    abi::{LibraryHeader, library_header},
    capability::integration,
    prelude::*,
};

struct NoManifest;

impl Integration for NoManifest {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

// The rest is `export_plugin!` without the section.

tocsin_plugin_api::export_plugin!(@exported NoManifest, ["receive"], [integration::<NoManifest>()]);

#[expect(unsafe_code, reason = "a symbol of one's own is what is tested")]
// SAFETY: the name is that of `HEADER_SYMBOL`, and nothing else here exports it.
#[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
static HEADER: LibraryHeader = library_header::<NoManifest>();
