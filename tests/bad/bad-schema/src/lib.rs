//! Wrong on purpose: serves like any other plugin, but the schema of its options is invalid. A host
//! needs no schema to serve a plugin; `tocsin check` and the author of a configuration need one.

use std::borrow::Cow;

use good_parts::body_as_title;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

impl JsonSchema for Options {
    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "tabel"})
    }
}

struct BadSchema;

impl Integration for BadSchema {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

tocsin_plugin_api::export_plugin!(BadSchema);
