//! Sends news about alerts to a channel of Slack, or of a server with Slack's incoming webhooks.
//!
//! The plugin decides which requests an attempt needs; each rule has a file of its own. The plugin adds no
//! buttons and reads no messages of people.
//!
//! | subject | file |
//! | --- | --- |
//! | options and their checks | `options.rs`, `mentions.rs`, `address.rs` |
//! | bot token: post, update, reply in the thread | `web_api.rs`, `lookup.rs`, `posted.rs` |
//! | incoming webhook | `incoming_webhook.rs` |
//! | requests of an attempt, in order | `exchange.rs` |
//! | verdict of an answer | `verdict.rs`, `errors.rs` |
//! | content of a message | `message.rs`, `words.rs` |
//! | format of a message | `blocks.rs`, `attachment.rs`, `link.rs`, `text.rs`, `limits.rs` |

mod address;
mod attachment;
mod blocks;
mod errors;
mod exchange;
mod incoming_webhook;
mod limits;
mod link;
mod lookup;
mod mentions;
mod message;
mod options;
mod posted;
mod text;
mod verdict;
mod web_api;
mod words;

use std::time::Duration;

use tocsin_plugin_api::{
    OptionsError,
    capability::{Notifier, Plugin},
    notification::Notification,
    step::{Description, HttpAnswer, Step},
};

pub use crate::options::{Layout, Options};
use crate::{exchange::Exchange, options::Way};

/// Pause between two attempts. Slack allows about one message a second for each channel
/// (<https://docs.slack.dev/apis/web-api/rate-limits>).
const PAUSE: Duration = Duration::from_secs(1);

/// [`Notifier`] for one channel.
pub struct SlackChannel {
    way: Way,
}

impl Plugin for SlackChannel {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        Ok(Self { way: Way::new(options)? })
    }
}

impl Notifier for SlackChannel {
    fn describe(&self) -> Description {
        Description::new([self.way.contact().to_owned()]).pause(PAUSE)
    }

    fn next(&self, notification: &Notification, answers: &[HttpAnswer]) -> Step {
        let mut exchange = Exchange::new(notification, answers);
        let ended = match &self.way {
            Way::Webhook(webhook) => webhook.deliver(notification, &mut exchange),
            Way::WebApi(api) => api.deliver(notification, &mut exchange),
        };
        exchange.step(ended)
    }
}

tocsin_plugin_api::export_plugin!(SlackChannel: notify);
