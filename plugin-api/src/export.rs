//! The macro that makes a crate a plugin.
//!
//! It names everything through `$crate`: a plugin depends on this crate and not on abi_stable.

/// Exports a type that implements [`Integration`](crate::Integration) as the plugin of this crate.
///
/// The name, version, description and licence of the plugin are those of its package. A crate
/// exports exactly one plugin.
///
/// See the [crate documentation](crate) for a whole plugin.
#[macro_export]
macro_rules! export_plugin {
    ($integration:ty) => {
        impl $crate::Exported for $integration {
            const MANIFEST: $crate::manifest::PackageManifest = $crate::manifest::PackageManifest {
                name: ::core::env!("CARGO_PKG_NAME"),
                version: ::core::env!("CARGO_PKG_VERSION"),
                description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                license: ::core::env!("CARGO_PKG_LICENSE"),
                panic: if ::core::cfg!(panic = "unwind") { "unwind" } else { "abort" },
                largest_body_bytes: <$integration as $crate::Integration>::LARGEST_BODY_BYTES,
            };
        }

        /// Two plugins in one module clash over this name, and over the next one elsewhere.
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        enum call_export_plugin_only_once_in_a_crate {}

        const _: () = {
            const MANIFEST: $crate::manifest::PackageManifest =
                <$integration as $crate::Exported>::MANIFEST;

            #[used]
            #[allow(unsafe_code)]
            #[unsafe(export_name = "TOCSIN_CALL_EXPORT_PLUGIN_ONLY_ONCE_IN_A_CRATE")]
            #[unsafe(link_section = ".tocsin.manifest")]
            static SECTION: [u8; MANIFEST.json_len()] = MANIFEST.to_json();

            #[allow(unsafe_code)]
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: $crate::abi::LibraryHeader =
                $crate::abi::library_header::<$integration>();
        };
    };
}
