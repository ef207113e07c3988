//! Wrong on purpose: kills the process or hangs when an instance is made, as the plugin's options say.
//! The host dies once. At its next start, it must not load this file, and must serve the other
//! plugins.

use std::{hint::black_box, process, thread, time::Duration};

use good_parts::body_as_title;
use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    how: How,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    Abort,
    Overflow,
    /// Takes two seconds and returns.
    Wait,
    /// Never returns.
    Hang,
    Live,
}

struct DiesInNew;

impl Integration for DiesInNew {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        match options.how {
            How::Abort => process::abort(),
            How::Overflow => drop(black_box(deeper(0))),
            How::Wait => thread::sleep(Duration::from_secs(2)),
            How::Hang => loop {
                thread::sleep(Duration::from_secs(1));
            },
            How::Live => {}
        }
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        body_as_title(request)
    }
}

/// Uses a page of the stack in each call.
fn deeper(depth: u64) -> u64 {
    let page = black_box([depth; 512]);
    if black_box(true) { deeper(page[0] + 1) + page[511] } else { 0 }
}

tocsin_plugin_api::export_plugin!(DiesInNew);
