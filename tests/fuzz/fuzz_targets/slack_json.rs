//! JSON for `slack-outgoing-webhook`: the plugin does not panic, and answers the same request twice
//! in the same way.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use slack_outgoing_webhook::{Options, SlackOutgoingWebhook};
use tocsin_fuzz::{TOKEN, receive_twice};
use tocsin_plugin_api::{Integration, Request, Secret, Secrets};

static PLUGIN: LazyLock<SlackOutgoingWebhook> = LazyLock::new(|| {
    let token = Some(Secrets::new([Secret::new(TOKEN)]));
    SlackOutgoingWebhook::new(Options { token, ..Options::default() })
        .expect("the options are valid")
});

fuzz_target!(|body: &[u8]| {
    let request = Request::post(body);
    receive_twice(&*PLUGIN, &request.with_header("content-type", b"application/json"));
});
