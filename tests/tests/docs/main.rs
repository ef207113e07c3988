//! Tests of the documentation against the program. They check that commands run, that each TOML block is a
//! valid configuration, that the tables have every key, route and metric, that quoted messages are in the
//! program, and that links lead to a file.
//!
//! A comment above a block says if the block is not run, see [`markdown::Marker`].

mod api;
mod architecture;
mod commands;
mod configuration;
mod links;
mod markdown;
mod messages;
mod metrics;
mod scene;
mod sources;
mod toml_blocks;
