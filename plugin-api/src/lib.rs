//! The interface for authors of Tocsin plugins.
//!
//! A plugin translates the bytes of an HTTP request into alert events. It implements [`Integration`] for
//! one type, exports the type with [`export_plugin!`], and is built as a `cdylib`. The host does all
//! I/O: a plugin opens no file and no socket, starts no thread, and reads no clock and no environment.
//! So a plugin can be tested with fixtures, its requests can be replayed, and the host can replace it
//! while it runs.
//!
//! # A whole plugin
//!
//! ```toml
//! [package]
//! name = "plain-text"          # the name operators write in their configuration
//! version = "1.0.0"
//! edition = "2024"
//! description = "Every line of text is an alert"
//!
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//!
//! [dependencies]
//! tocsin-plugin-api = "1"
//! serde = { version = "1", features = ["derive"] }
//! schemars = "1"
//! ```
//!
//! ```
//! use tocsin_plugin_api::prelude::*;
//!
//! /// What the operator writes under `[integrations.NAME.options]`.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Options {
//!     /// The token that a sender has to present.
//!     token: Secret,
//! }
//!
//! struct PlainText {
//!     options: Options,
//! }
//!
//! impl Integration for PlainText {
//!     type Options = Options;
//!
//!     fn new(options: Options) -> Result<Self, OptionsError> {
//!         Ok(Self { options })
//!     }
//!
//!     fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
//!         let token = request.header("x-token").unwrap_or_default();
//!         if !self.options.token.matches(token) {
//!             return Err(Refusal::unauthorized("wrong or missing x-token"));
//!         }
//!         let text = std::str::from_utf8(request.body())
//!             .map_err(|_| Refusal::malformed("the body is not UTF-8"))?;
//!         if text.trim().is_empty() {
//!             return Ok(Received::ignored("empty text"));
//!         }
//!         Ok(Event::create(text.trim()).urgency(Urgency::High).into())
//!     }
//! }
//!
//! tocsin_plugin_api::export_plugin!(PlainText);
//! # let plugin = PlainText::new(Options { token: Secret::new("s3cret") }).unwrap();
//! # let request = Request::post(b"disk full").with_header("X-Token", b"s3cret");
//! # assert!(matches!(plugin.receive(&request), Ok(Received::Events { .. })));
//! ```
//!
//! # What a plugin may rely on
//!
//! - For each integration and each destination, the host makes one value of the plugin from its options,
//!   shares the value between threads, and drops it when another value replaces it.
//! - A panic in any function of a plugin is caught inside its library and reported as an error. The host
//!   does not use the instance again. This needs `panic = "unwind"`, the default: the host refuses a
//!   plugin that was built with `panic = "abort"`.
//! - The host gives up a call that takes longer than its deadline (1 s by default).
//! - A plugin that was built with plugin-api 1.x loads into every later 1.y host, and into every earlier
//!   one that knows the plugin's [capabilities](capability).
//!
//! # Modules
//!
//! [`Integration`] is in [`integration`]. The traits of a plugin with other capabilities are in
//! [`capability`]. The types of a request are in [`request`], those of an answer in [`outcome`],
//! [`alert`] and [`error`]. [`testing`] (feature `testing`) tests a plugin from fixtures. The other
//! modules implement the stable ABI between plugin and host; an author does not need them.

pub mod abi;
pub mod alert;
pub mod capability;
pub mod error;
mod export;
mod guard;
pub mod integration;
pub mod manifest;
pub mod notification;
pub mod outcome;
pub mod request;
pub mod secret;
pub mod step;
#[cfg(feature = "testing")]
pub mod testing;

pub use alert::{Action, Detail, Event, Urgency};
pub use capability::Exported;
pub use error::{OptionsError, Refusal};
pub use integration::Integration;
pub use outcome::{Received, Reply};
pub use request::Request;
pub use secret::{Secret, Secrets};

/// The version of this crate, which is the version of the boundary between plugin and host.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Rust in the README and in the plugin author's guide, as doctests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/author/options.md")]
    struct Options;
    #[doc = include_str!("../../docs/author/outcomes.md")]
    struct Outcomes;
    #[doc = include_str!("../../docs/author/testing.md")]
    struct Testing;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../docs/author/notifiers.md")]
    struct Notifiers;
}

/// The types that the author of an [`Integration`] needs:
/// `use tocsin_plugin_api::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Action, Detail, Event, Integration, OptionsError, Received, Refusal, Reply, Request,
        Secret, Secrets, Urgency,
    };
}
