//! Wrong on purpose: never returns when it is asked for its schema. `tocsin check` must not wait
//! for ever.

use std::{borrow::Cow, thread, time::Duration};

use good_parts::body_as_title;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize)]
struct Options {}

impl JsonSchema for Options {
    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
}

struct SchemaNeverComes;

impl Integration for SchemaNeverComes {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

tocsin_plugin_api::export_plugin!(SchemaNeverComes);
