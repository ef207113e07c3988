//! Wrong on purpose: has a manifest, and a header whose layout check is switched off. The host must refuse
//! the plugin before it calls any function of the plugin, because only the layout check shows that the
//! functions have the right types.

#![expect(unsafe_code, reason = "a header of one's own is what is tested")]

use abi_stable::{
    library::{CheckTypeLayout, LibHeader, RootModuleError, RootModuleResult},
    std_types::RErr,
};
use good_parts::Options;
use tocsin_plugin_api::{
    Exported,
    abi::{LibraryHeader, PluginModuleRef},
    capability::integration,
    manifest::PackageManifest,
    prelude::*,
};

struct LayoutUnchecked;

impl Integration for LayoutUnchecked {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, _: &Request<'_>) -> Result<Received, Refusal> {
        Ok(Received::ignored("nobody can call this"))
    }
}

// The rest is `export_plugin!` with another header.

tocsin_plugin_api::export_plugin!(
    @exported LayoutUnchecked, ["receive"], [integration::<LayoutUnchecked>()]
);

const MANIFEST: PackageManifest = LayoutUnchecked::MANIFEST;

#[used]
// SAFETY: nothing but bytes lies in this section, which is the manifest's.
#[unsafe(link_section = ".tocsin.manifest")]
static SECTION: [u8; MANIFEST.json_len()] = MANIFEST.to_json();

// SAFETY: the name is that of `HEADER_SYMBOL`, and nothing else here exports it.
#[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
static HEADER: LibraryHeader =
    // SAFETY: the constructor returns no module that could be of another type.
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(no_module, CheckTypeLayout::No) };

/// A constructor without a module. A host that calls it has overlooked that the check is switched off.
extern "C" fn no_module() -> RootModuleResult {
    RErr(RootModuleError::Unwound)
}
