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
pub mod api;
mod body_memory;
pub mod call;
pub mod certify;
pub mod cli;
pub mod config;
mod config_warnings;
mod events;
mod fault_injection;
mod file_permissions;
mod file_stamp;
pub mod host;
pub mod housekeeping;
pub mod http;
pub mod ingest;
pub mod integration;
mod limits_reached;
mod line_limit;
mod log;
mod metrics;
pub mod plugins;
mod printable;
mod private_file;
pub mod problem;
mod process_limits;
pub mod rate_limit;
mod redaction;
pub mod reload;
pub mod replay;
pub mod request;
mod run;
pub mod sandbox;
mod single_flight;
pub mod store;
pub mod template;
pub mod timeout;
mod watch;
