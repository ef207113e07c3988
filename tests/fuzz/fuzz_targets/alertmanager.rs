//! Notifications for `alertmanager`: the plugin does not panic, and answers the same request twice
//! in the same way.
#![no_main]

use std::sync::LazyLock;

use alertmanager::{Alertmanager, Options};
use libfuzzer_sys::fuzz_target;
use tocsin_fuzz::{TOKEN, receive_twice};
use tocsin_plugin_api::{Integration, Request, Secret, Secrets};

static PLUGIN: LazyLock<Alertmanager> = LazyLock::new(|| {
    let bearer_token = Some(Secrets::new([Secret::new(TOKEN)]));
    Alertmanager::new(Options { bearer_token, ..Options::default() })
        .expect("the options are valid")
});

static AUTHORIZATION: LazyLock<String> = LazyLock::new(|| format!("Bearer {TOKEN}"));

fuzz_target!(|body: &[u8]| {
    let request = Request::post(body)
        .with_header("content-type", b"application/json")
        .with_header("authorization", AUTHORIZATION.as_bytes());
    receive_twice(&*PLUGIN, &request);
});
