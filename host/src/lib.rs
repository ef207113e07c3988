//! The Tocsin host as a library. The `tocsin` binary is a thin layer over [`cli`].
//!
//! A request passes [`http`], [`ingest`], [`call`] and [`store`]. [`config`] reads the configuration,
//! [`plugins`] finds and checks libraries, [`integration`] joins the two, and [`host`] holds what is in
//! force. [`watch`] notices changes and [`reload`] applies them. [`api`] shows and changes the state of
//! the host, [`replay`] runs a kept request again, and [`housekeeping`] resolves and deletes what is
//! due. [`certify`] judges a plugin by its behaviour in a [`sandbox`].
//!
//! A module imports only modules below it. `ARCHITECTURE.md` shows the order, and a test holds it.

pub mod alert;
mod api;
mod call;
mod certify;
pub mod cli;
pub mod config;
mod config_warnings;
pub mod delivery;
mod destination;
mod events;
mod host;
mod hosts;
mod housekeeping;
pub mod http;
mod ingest;
mod integration;
mod limits;
mod log;
mod metrics;
mod notify;
mod outbound;
mod plugin_user;
pub mod plugins;
mod printable;
mod problem;
mod redaction;
mod reload;
mod replay;
pub mod request;
pub mod routing;
mod run;
mod sandbox;
mod single_flight;
pub mod store;
mod system;
pub mod template;
mod traces;
mod watch;
