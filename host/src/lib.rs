//! The Tocsin host as a library: the `tocsin` binary is a thin skin over it, and tests run it as a
//! function.
//!
//! The way of a request is [`server`] -> [`ingest`] -> [`call`] -> [`store`]. Around it, [`config`]
//! says what is wanted, [`plugins`] finds and checks libraries, [`integration`] joins the two,
//! [`host`] holds everything together, [`reload`] goes over to what [`watch`] has seen to change,
//! [`api`] shows and changes it, and [`cli`] is how people run it. [`replay`] runs a request again that
//! was kept, and [`upkeep`] does what has to be done from time to time.
//! [`certify`] judges a plugin before anybody ships it, by what it does in a [`trial`].

pub mod alert;
pub mod api;
pub mod blank;
mod body_memory;
pub mod call;
pub mod certify;
pub mod cli;
pub mod config;
mod config_warnings;
pub mod events;
pub mod faults;
pub mod file_permissions;
pub mod host;
pub mod ingest;
pub mod integration;
pub mod limits_reached;
mod line_limit;
pub mod log;
pub mod metrics;
pub mod patience;
pub mod plugins;
pub mod printable;
pub mod private_file;
mod process_limits;
pub mod reload;
pub mod replay;
pub mod request_id;
pub mod sender;
pub mod server;
pub mod stamp;
pub mod store;
pub mod trial;
pub mod upkeep;
pub mod watch;
