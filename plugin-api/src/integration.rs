//! The one trait that an author implements.
//!
//! It knows nothing of the ABI: `guard.rs` carries it over the boundary.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{OptionsError, Received, Refusal, Request, manifest::PackageManifest};

/// Understands the webhooks of one kind of sender.
///
/// One value serves one integration of the host's configuration. It is shared between threads, so
/// what it needs is prepared in [`new`](Self::new): compile patterns there, not in every call.
///
/// See the [crate documentation](crate) for a whole plugin.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an integration",
    label = "does not implement `Integration`",
    note = "implement `tocsin_plugin_api::Integration` for it"
)]
pub trait Integration: Exported + Sized + Send + Sync + 'static {
    /// The table that an operator writes under `[integrations.NAME.options]`.
    ///
    /// Derive `Deserialize` with `#[serde(deny_unknown_fields)]`, so that a misspelt key is an
    /// error, and `JsonSchema`, from which the host documents and validates the options. Use
    /// [`Secret`](crate::Secret) for what must not be shown.
    type Options: DeserializeOwned + JsonSchema;

    /// The size in bytes of the largest body that a genuine request can have; none if any size makes
    /// sense.
    ///
    /// The host refuses larger bodies with 413 while they arrive, before it knows whether the sender is
    /// genuine. Its own limit holds as well.
    const LARGEST_BODY_BYTES: Option<usize> = None;

    /// Makes the integration from its options.
    ///
    /// # Errors
    ///
    /// [`OptionsError`] where the options are of the right types but make no sense. It names the
    /// key and says what to do, and never repeats a secret: it is shown to the operator as it is.
    fn new(options: Self::Options) -> Result<Self, OptionsError>;

    /// Translates one request.
    ///
    /// It is a function of the options and the request alone: the same request gives the same
    /// outcome, at any time and on any thread. The host relies on it when it replays requests.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where no alert can come of the request: the sender is not who they have to be,
    /// the request makes no sense, or the plugin could not do its work.
    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal>;
}

/// Says that a type is exported as the plugin of its library.
///
/// Implemented by [`export_plugin!`](crate::export_plugin), never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not exported, so no host could find it",
    label = "implements `Integration` but is not exported",
    note = "add `tocsin_plugin_api::export_plugin!({Self});` at the end of the crate's lib.rs"
)]
pub trait Exported {
    /// What the library says of itself, as it stands in its `.tocsin.manifest` section.
    const MANIFEST: PackageManifest;
}
