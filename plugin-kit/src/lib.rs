//! Building blocks for Tocsin plugins: to read webhooks, and to send news.
//!
//! Tocsin is an alerting host: a monitoring tool or a chat sends it HTTP requests (webhooks), and a
//! plugin translates each request into alert events. [`tocsin_plugin_api`] defines the plugin
//! itself: its trait [`Integration`], its options and its answers. This crate holds the parts of
//! the translation that most plugins need and that are easy to get wrong:
//!
//! | module | job |
//! | --- | --- |
//! | [`body`] | finds out if a body is JSON or a form |
//! | [`json`] | reads JSON; errors name the path (`alerts[0].status`) and never quote a value |
//! | [`form`] | decodes forms; tokens keep their exact bytes |
//! | [`text`] | makes text of strangers safe to show, on one line or on several |
//! | [`characters`] | classifies characters by what people see of them |
//! | [`link`] | accepts web addresses and nothing else |
//! | [`endpoint`] | checks the address that a notifier sends to, and takes it apart |
//! | [`verdict`] | judges the answer to a notifier by its status |
#![cfg_attr(
    feature = "testing",
    doc = "| [`testing`] | generates hostile requests for tests (feature `testing`) |"
)]
#![cfg_attr(
    not(feature = "testing"),
    doc = "| `testing` | generates hostile requests for tests (feature `testing`) |"
)]
//!
//! No module does I/O, and none requires another: take what you need.
//!
//! # A whole plugin
//!
//! The plugin below reads `{"service": "db1", "problem": "disk full", "runbook": "https://..."}`.
//! In its Cargo.toml:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//!
//! [dependencies]
//! tocsin-plugin-api = "1.1"
//! tocsin-plugin-kit = "0.1"
//! serde = { version = "1", features = ["derive"] }
//! schemars = "1"
//!
//! [dev-dependencies]
//! proptest = "1"
//! tocsin-plugin-kit = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use tocsin_plugin_api::prelude::*;
//! use tocsin_plugin_kit::{body::Format, json::Object, link, text};
//!
//! /// The table that an operator writes under `[integrations.NAME.options]`.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Options {
//!     /// The token that the sender puts into the header `X-Token`.
//!     token: Secret,
//! }
//!
//! struct ServiceStatus {
//!     options: Options,
//! }
//!
//! impl Integration for ServiceStatus {
//!     type Options = Options;
//!
//!     fn new(options: Options) -> Result<Self, OptionsError> {
//!         Ok(Self { options })
//!     }
//!
//!     fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
//!         let token = request.header("x-token").unwrap_or_default();
//!         if !self.options.token.matches(token) {
//!             return Err(Refusal::unauthorized("`X-Token` is missing or wrong"));
//!         }
//!         if Format::of(request)? != Format::Json {
//!             return Err(Refusal::unsupported_media_type("not `application/json`"));
//!         }
//!         let status = Object::from_body(request.body())?;
//!         let service = status.string("service")?.unwrap_or_default();
//!         let problem = status.string("problem")?.unwrap_or_default();
//!         let Some(title) = text::one_line(&format!("{service}: {problem}")) else {
//!             return Ok(Received::ignored("neither service nor problem"));
//!         };
//!         let mut event = Event::create(text::truncated(&title, text::TITLE_LIMIT_CHARS));
//!         if let Some(runbook) = status.string("runbook")?.filter(|it| link::is_web_address(it)) {
//!             event = event.link(runbook.into_owned());
//!         }
//!         Ok(event.dedup_key(service.into_owned()).into())
//!     }
//! }
//!
//! tocsin_plugin_api::export_plugin!(ServiceStatus);
//!
//! let plugin = ServiceStatus::new(Options { token: Secret::new("s3cret") })?;
//! let request = Request::post(br#"{"service": "db1", "problem": "disk\nfull"}"#)
//!     .with_header("content-type", b"application/json")
//!     .with_header("x-token", b"s3cret");
//! let Ok(Received::Events { events, .. }) = plugin.receive(&request) else { panic!("no event") };
//! assert_eq!(events[0].title, "db1: disk full");
//!
//! let request = Request::post(br#"{"service": ["db1"]}"#)
//!     .with_header("content-type", b"application/json")
//!     .with_header("x-token", b"s3cret");
//! let refusal = Refusal::malformed("`service`: expected a string, found a list");
//! assert_eq!(plugin.receive(&request), Err(refusal));
//! # Ok::<(), OptionsError>(())
//! ```
//!
//! [`Integration`]: tocsin_plugin_api::Integration

pub mod body;
pub mod characters;
pub mod endpoint;
pub mod form;
pub mod json;
pub mod link;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod verdict;
