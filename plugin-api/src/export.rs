//! The macro that makes a crate a plugin.
//!
//! The macro names everything through `$crate`, so a plugin depends on this crate and not on
//! abi_stable.

/// Exports a type as the plugin of this crate.
///
/// - `export_plugin!(Slack);` exports an [`Integration`](crate::Integration): a plugin that only
///   receives webhooks.
/// - `export_plugin!(Slack: receive);` exports a [`Plugin`](crate::capability::Plugin) with a list of
///   its capabilities, separated by commas. The type implements the trait of each: see
///   [`capability`](crate::capability).
///
/// The name, version, description and licence of the plugin are those of its package. A crate
/// exports exactly one plugin.
///
/// See the [crate documentation](crate) for a whole plugin.
#[macro_export]
macro_rules! export_plugin {
    // The capability of a name, for a plugin type.
    (@capability $plugin:ty, receive) => { $crate::capability::receive::<$plugin>() };
    (@capability $plugin:ty, notify) => { $crate::capability::notify::<$plugin>() };
    (@capability $plugin:ty, $unknown:ident) => {
        ::core::compile_error!(::core::concat!(
            "this plugin-api has no capability `", ::core::stringify!($unknown),
            "`; it has `receive` and `notify`",
        ))
    };

    // The part of a plugin that code generation does not need.
    (@exported $plugin:ty, [$($name:expr),+], [$($capability:expr),+]) => {
        impl $crate::Exported for $plugin {
            const MANIFEST: $crate::manifest::PackageManifest = $crate::manifest::PackageManifest {
                name: ::core::env!("CARGO_PKG_NAME"),
                version: ::core::env!("CARGO_PKG_VERSION"),
                description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                license: ::core::env!("CARGO_PKG_LICENSE"),
                panic: if ::core::cfg!(panic = "unwind") { "unwind" } else { "abort" },
                capabilities: &[$($name),+],
                largest_body_bytes: $crate::capability::Capability::largest_body_bytes(
                    <Self as $crate::Exported>::CAPABILITIES,
                ),
            };

            const CAPABILITIES: &'static [$crate::capability::Capability<Self>] =
                &[$($capability),+];
        }
    };

    // The manifest section and the module of a library.
    (@library $plugin:ty) => {
        /// Two plugins in one module clash over this name, and two plugins in different modules
        /// over the name of the section below.
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        enum call_export_plugin_only_once_in_a_crate {}

        const _: () = {
            const MANIFEST: $crate::manifest::PackageManifest =
                <$plugin as $crate::Exported>::MANIFEST;

            #[used]
            #[allow(unsafe_code)]
            #[unsafe(export_name = "TOCSIN_CALL_EXPORT_PLUGIN_ONLY_ONCE_IN_A_CRATE")]
            #[unsafe(link_section = ".tocsin.manifest")]
            static SECTION: [u8; MANIFEST.json_len()] = MANIFEST.to_json();

            #[allow(unsafe_code)]
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: $crate::abi::LibraryHeader = $crate::abi::library_header::<$plugin>();
        };
    };

    ($integration:ty) => {
        $crate::export_plugin!(
            @exported $integration, ["receive"], [$crate::capability::integration::<$integration>()]
        );
        $crate::export_plugin!(@library $integration);
    };

    ($plugin:ty: $($capability:ident),+ $(,)?) => {
        $crate::export_plugin!(
            @exported $plugin,
            [$(::core::stringify!($capability)),+],
            [$($crate::export_plugin!(@capability $plugin, $capability)),+]
        );
        $crate::export_plugin!(@library $plugin);
    };
}
