//! The Tocsin host as a library: the `tocsin` binary is a thin skin over it, and tests run it as a
//! function.
//!
//! The way of a request is [`http`] -> [`ingest`] -> [`call`] -> [`store`]. Around it, [`config`]
//! says what is wanted, [`plugins`] finds and checks libraries, [`integration`] joins the two,
//! [`host`] holds everything together, [`reload`] goes over to what [`watch`] has seen to change,
//! [`api`] shows and changes it, and [`cli`] is how people run it. [`replay`] runs a request again that
//! was kept, and [`housekeeping`] does what has to be done from time to time.
//! [`certify`] judges a plugin before anybody ships it, by what it does in a [`sandbox`].

pub mod alert;
pub mod api;
mod body_memory;
pub mod call;
pub mod certify;
pub mod cli;
pub mod config;
mod config_warnings;
pub mod events;
pub mod fault_injection;
pub mod file_permissions;
pub mod file_stamp;
pub mod host;
pub mod housekeeping;
pub mod http;
pub mod ingest;
pub mod integration;
pub mod limits_reached;
mod line_limit;
pub mod log;
pub mod metrics;
pub mod plugins;
pub mod printable;
pub mod private_file;
mod process_limits;
pub mod redaction;
pub mod reload;
pub mod replay;
pub mod sandbox;
pub mod store;
pub mod timeout;
pub mod watch;
