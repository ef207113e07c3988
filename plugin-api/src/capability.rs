//! The traits behind a plugin: [`Plugin`] for its options, and one trait for each capability.
//!
//! A capability is something that a host can ask of a plugin. [`export_plugin!`](crate::export_plugin)
//! takes the list of a plugin's capabilities and writes their names into the manifest; a host loads
//! a plugin only if it knows every name in that list.
//!
//! | capability | trait | since |
//! | --- | --- | --- |
//! | `receive` | [`Receiver`] | 1.0 |
//! | `notify` | [`Notifier`] | 1.1 |
//!
//! A plugin that only receives webhooks implements [`Integration`](crate::Integration) instead, which
//! is [`Plugin`] and [`Receiver`] in one. The traits of this module are not in the
//! [`prelude`](crate::prelude): with `Plugin`, `Receiver` and `Integration` in scope, a call such as
//! `MyPlugin::new(options)` would be ambiguous.
//!
//! ```
//! use tocsin_plugin_api::{
//!     capability::{Plugin, Receiver},
//!     prelude::*,
//! };
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Options {}
//!
//! struct Lines;
//!
//! impl Plugin for Lines {
//!     type Options = Options;
//!
//!     fn new(_: Options) -> Result<Self, OptionsError> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl Receiver for Lines {
//!     fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
//!         let text = String::from_utf8_lossy(request.body());
//!         Ok(Received::events(text.lines().map(Event::create).collect()))
//!     }
//! }
//!
//! tocsin_plugin_api::export_plugin!(Lines: receive);
//! # fn main() {}
//! ```

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    OptionsError, Received, Refusal, Request,
    manifest::{NOTIFY, PackageManifest, RECEIVE},
    notification::Notification,
    step::{Description, HttpAnswer, NotifyCall, Step},
};

/// The options of a plugin and its constructor.
///
/// The host makes one value of the type for each integration and each destination in its configuration.
/// Threads share the value, so prepare in [`new`](Self::new) what every call needs, such as compiled patterns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a plugin: it has no options and no constructor",
    label = "implements neither `Integration` nor `Plugin`",
    note = "implement `tocsin_plugin_api::Integration` for it if it only receives webhooks, and \
            `tocsin_plugin_api::capability::Plugin` otherwise"
)]
pub trait Plugin: Exported + Sized + Send + Sync + 'static {
    /// The table that an operator writes under `[integrations.NAME.options]` or
    /// `[destinations.NAME.options]`.
    ///
    /// Derive `Deserialize` with `#[serde(deny_unknown_fields)]`, so that a misspelt key is an
    /// error, and `JsonSchema`, from which the host documents and validates the options. Use
    /// [`Secret`](crate::Secret) for values that must not be shown.
    type Options: DeserializeOwned + JsonSchema;

    /// Makes the plugin from its options.
    ///
    /// # Errors
    ///
    /// [`OptionsError`] if the options have the right types but an invalid value. The error names the
    /// key and says what to do. The host shows the error to the operator unchanged, so the error must
    /// not repeat a secret.
    fn new(options: Self::Options) -> Result<Self, OptionsError>;
}

/// The capability `receive`: translates webhooks into alert events.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is exported with the capability `receive` and does not implement it",
    label = "does not implement `Receiver`",
    note = "implement `tocsin_plugin_api::capability::Receiver` for it, or remove `receive` from \
            the list of capabilities in `export_plugin!`"
)]
pub trait Receiver: Plugin {
    /// The size in bytes of the largest body that a genuine request can have; `None` if there is no
    /// such size.
    ///
    /// The host answers larger requests with 413 while they arrive, before it knows whether the
    /// sender is genuine. The host's own limit applies as well.
    const LARGEST_BODY_BYTES: Option<usize> = None;

    /// Translates one request.
    ///
    /// The result depends on the options and the request alone: the same request gives the same
    /// result, at any time and on any thread. The host relies on this when it replays requests.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the request cannot become an alert: the sender is not authorized, the request is
    /// malformed, or the plugin could not translate it.
    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal>;
}

/// The capability `notify`: translates news about an alert into HTTP requests.
///
/// A notifier does no I/O. The host sends the requests, and asks the notifier again with each answer.
///
/// ```
/// use tocsin_plugin_api::{
///     OptionsError,
///     capability::{Notifier, Plugin},
///     notification::Notification,
///     step::{Description, HttpAnswer, HttpRequest, Step},
/// };
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Options {}
///
/// struct Chat;
///
/// impl Plugin for Chat {
///     type Options = Options;
///
///     fn new(_: Options) -> Result<Self, OptionsError> {
///         Ok(Self)
///     }
/// }
///
/// impl Notifier for Chat {
///     fn describe(&self) -> Description {
///         Description::new(["https://chat.example.com".into()])
///     }
///
///     fn next(&self, notification: &Notification, answers: &[HttpAnswer]) -> Step {
///         let Some(answer) = answers.last() else {
///             let title = notification.alert().map_or("many alerts", |alert| &alert.title);
///             let text = format!("{}: {title}", notification.kind);
///             let request = HttpRequest::new("post", "POST", "https://chat.example.com/post");
///             return Step::send(request.body(text));
///         };
///         match answer.status {
///             200..300 => Step::delivered(),
///             404 => Step::destination_broken("the chat has no such room"),
///             status => Step::retry(format!("the chat answered {status}")),
///         }
///     }
/// }
///
/// tocsin_plugin_api::export_plugin!(Chat: notify);
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is exported with the capability `notify` and does not implement it",
    label = "does not implement `Notifier`",
    note = "implement `tocsin_plugin_api::capability::Notifier` for it, or remove `notify` from \
            the list of capabilities in `export_plugin!`"
)]
pub trait Notifier: Plugin {
    /// Describes the notifier with its options: the servers that it contacts, the kinds of news that it
    /// sends, and its limits. The host asks once for each instance, and sends nothing of other kinds.
    fn describe(&self) -> Description;

    /// Returns the next step of an attempt.
    ///
    /// `answers` holds the answers to the requests of this attempt, in the order in which they were sent;
    /// it is empty at the beginning. The step depends on the options, the notification and the answers
    /// alone: the same input gives the same step, at any time and on any thread.
    ///
    /// A panic counts as a failed attempt, like an answer that is larger than
    /// [`LARGEST_STEP_BYTES`](crate::step::LARGEST_STEP_BYTES).
    fn next(&self, notification: &Notification, answers: &[HttpAnswer]) -> Step;
}

/// Marks the type that is exported as the plugin of its library.
///
/// [`export_plugin!`](crate::export_plugin) implements this trait; do not implement it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not exported, so no host could find it",
    label = "is not exported",
    note = "add `tocsin_plugin_api::export_plugin!({Self});` at the end of the crate's lib.rs"
)]
pub trait Exported: Sized + 'static {
    /// The contents of the library's `.tocsin.manifest` section.
    const MANIFEST: PackageManifest;

    /// The capabilities that the manifest lists, each with its function.
    #[doc(hidden)]
    const CAPABILITIES: &'static [Capability<Self>];
}

/// A capability of the plugin type `T`: its name in the manifest and its function.
#[doc(hidden)]
pub struct Capability<T> {
    name: &'static str,
    function: Function<T>,
}

/// A function that receives a request for a plugin of type `T`.
pub(crate) type Receive<T> = fn(&T, &Request<'_>) -> Result<Received, Refusal>;

/// A function from JSON to JSON. The error says why the input cannot be read.
pub(crate) type Call<T> = fn(&T, &[u8]) -> Result<Vec<u8>, serde_json::Error>;

enum Function<T> {
    Receive { receive: Receive<T>, largest_body_bytes: Option<usize> },
    Call(Call<T>),
}

/// The capability of an [`Integration`](crate::Integration).
#[doc(hidden)]
pub const fn integration<T: crate::Integration>() -> Capability<T> {
    receive::<T>()
}

/// The capability of a [`Receiver`].
#[doc(hidden)]
pub const fn receive<T: Receiver>() -> Capability<T> {
    let function = Function::Receive {
        receive: <T as Receiver>::receive,
        largest_body_bytes: T::LARGEST_BODY_BYTES,
    };
    Capability { name: RECEIVE, function }
}

/// The capability of a [`Notifier`].
#[doc(hidden)]
pub const fn notify<T: Notifier>() -> Capability<T> {
    Capability::json(NOTIFY, answer_notify_call::<T>)
}

/// Answers one [`NotifyCall`] in JSON.
pub(crate) fn answer_notify_call<T: Notifier>(
    plugin: &T,
    input: &[u8],
) -> Result<Vec<u8>, serde_json::Error> {
    match serde_json::from_slice(input)? {
        NotifyCall::Describe => serde_json::to_vec(&plugin.describe()),
        NotifyCall::Next { notification, answers } => {
            serde_json::to_vec(&plugin.next(&notification, &answers))
        }
    }
}

impl<T> Capability<T> {
    /// A capability whose input and output cross the boundary as JSON: every capability except
    /// `receive`.
    pub const fn json(name: &'static str, call: Call<T>) -> Self {
        Self { name, function: Function::Call(call) }
    }

    /// Returns the body limit of the capability `receive`, if it is among `capabilities`.
    pub const fn largest_body_bytes(capabilities: &[Self]) -> Option<usize> {
        let mut at = 0;
        while at < capabilities.len() {
            if let Function::Receive { largest_body_bytes, .. } = capabilities[at].function {
                return largest_body_bytes;
            }
            at += 1;
        }
        None
    }

    /// Returns the function of the capability `receive`, if it is among `capabilities`.
    pub(crate) const fn receive_in(capabilities: &[Self]) -> Option<Receive<T>> {
        let mut at = 0;
        while at < capabilities.len() {
            if let Function::Receive { receive, .. } = capabilities[at].function {
                return Some(receive);
            }
            at += 1;
        }
        None
    }

    /// Returns the JSON function of the capability with that name, if it is among `capabilities`.
    pub(crate) fn call_in(capabilities: &[Self], name: &str) -> Option<Call<T>> {
        capabilities.iter().find_map(|capability| match capability.function {
            Function::Call(call) if capability.name == name => Some(call),
            _ => None,
        })
    }
}
