//! Wrong on purpose: never returns from some requests, asleep (`hang`) or busy (`spin`). The host must
//! give up such a call at its deadline, answer 503, and serve all other requests on other threads.
//! Other requests take a fifth of a second (`slow`) or six seconds (`late`), which the host must
//! report.

use std::{hint, thread, time::Duration};

use good_parts::Options;
use tocsin_plugin_api::prelude::*;

struct NeverReturns;

impl Integration for NeverReturns {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let body = String::from_utf8_lossy(request.body());
        if body.contains("slow") {
            thread::sleep(Duration::from_millis(200));
        }
        if body.contains("late") {
            thread::sleep(Duration::from_secs(6));
        }
        while body.contains("hang") {
            thread::sleep(Duration::from_secs(1));
        }
        while body.contains("spin") {
            hint::spin_loop();
        }
        Ok(Event::create(body).into())
    }
}

tocsin_plugin_api::export_plugin!(NeverReturns);
