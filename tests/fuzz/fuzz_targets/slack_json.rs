//! Whatever is posted as JSON, slack-outgoing-webhook does not panic, and says the same of it twice.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use slack_outgoing_webhook::{Options, SlackOutgoingWebhook};
use tocsin_fuzz::{TOKEN, receive_twice};
use tocsin_plugin_api::{Integration, Request, Secret, Secrets};

static PLUGIN: LazyLock<SlackOutgoingWebhook> = LazyLock::new(|| {
    let token = Some(Secrets::new([Secret::new(TOKEN)]));
    SlackOutgoingWebhook::new(Options { token, ..Options::default() })
        .expect("the options are right")
});

fuzz_target!(|body: &[u8]| {
    let request = Request::post(body);
    receive_twice(&*PLUGIN, &request.with_header("content-type", b"application/json"));
});
