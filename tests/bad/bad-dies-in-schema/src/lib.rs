//! Wrong on purpose: overflows the stack when it is asked for its schema. The host must notice the
//! overflow in a child process, and never load the plugin.

use std::{borrow::Cow, hint::black_box};

use good_parts::body_as_title;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize)]
struct Options {}

impl JsonSchema for Options {
    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "maxProperties": depth(u64::MAX) })
    }
}

/// Calls itself without end, in a way that the compiler cannot turn into a loop.
fn depth(left: u64) -> u64 {
    let room = black_box([left; 64]);
    if left == 0 { 0 } else { depth(left - 1) + room[0] }
}

struct DiesInSchema;

impl Integration for DiesInSchema {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

tocsin_plugin_api::export_plugin!(DiesInSchema);
