//! Tests of the documentation against the program. Commands run, TOML is a good configuration, tables have
//! every key, route and metric, messages are those of the program, and links lead to a file.
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
