//! The trait of a plugin that only receives webhooks: the simple way to write one.
//!
//! [`Integration`] is [`Plugin`] and [`Receiver`] in one, and every `Integration` is both.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use crate::capability::Exported;
use crate::{
    OptionsError, Received, Refusal, Request,
    capability::{Plugin, Receiver},
};

/// Translates the webhooks of one kind of sender into alert events.
///
/// The host makes one value of the type for each integration in its configuration. Threads share
/// the value, so prepare in [`new`](Self::new) what every call needs, such as compiled patterns.
///
/// A plugin that has a capability other than receiving webhooks implements [`Plugin`] and the
/// traits of its capabilities instead. See the [crate documentation](crate) for a whole plugin.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an integration",
    label = "does not implement `Integration`",
    note = "implement `tocsin_plugin_api::Integration` for it, or list the capabilities that it \
            has: `export_plugin!({Self}: receive);`"
)]
pub trait Integration: Exported + Sized + Send + Sync + 'static {
    /// The table that an operator writes under `[integrations.NAME.options]`.
    ///
    /// Derive `Deserialize` with `#[serde(deny_unknown_fields)]`, so that a misspelt key is an
    /// error, and `JsonSchema`, from which the host documents and validates the options. Use
    /// [`Secret`](crate::Secret) for values that must not be shown.
    type Options: DeserializeOwned + JsonSchema;

    /// The size in bytes of the largest body that a genuine request can have; `None` if there is no
    /// such size.
    ///
    /// The host answers larger requests with 413 while they arrive, before it knows whether the
    /// sender is genuine. The host's own limit applies as well.
    const LARGEST_BODY_BYTES: Option<usize> = None;

    /// Makes the integration from its options.
    ///
    /// # Errors
    ///
    /// [`OptionsError`] if the options have the right types but an invalid value. The error names
    /// the key and says what to do. The host shows the error to the operator unchanged, so the
    /// error must not repeat a secret.
    fn new(options: Self::Options) -> Result<Self, OptionsError>;

    /// Translates one request.
    ///
    /// The result depends on the options and the request alone: the same request gives the same
    /// result, at any time and on any thread. The host relies on this when it replays requests.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the request cannot become an alert: the sender is not authorized, the request
    /// is malformed, or the plugin could not translate it.
    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal>;
}

#[diagnostic::do_not_recommend]
impl<T: Integration> Plugin for T {
    type Options = <T as Integration>::Options;

    fn new(options: Self::Options) -> Result<Self, OptionsError> {
        <T as Integration>::new(options)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Integration> Receiver for T {
    const LARGEST_BODY_BYTES: Option<usize> = <T as Integration>::LARGEST_BODY_BYTES;

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        <T as Integration>::receive(self, request)
    }
}
