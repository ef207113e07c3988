//! Incoming webhook: every piece of news is a message of its own.
//!
//! A webhook neither updates messages nor shows the ones that are there. A delivery in doubt is therefore
//! sent again, and the channel may have it twice.

use serde_json::{Map, Value};
use tocsin_plugin_api::{
    notification::Notification,
    step::{HttpRequest, Step},
};

use crate::{
    address::Address,
    errors::Failure,
    exchange::{End, Exchange},
    mentions::Mentions,
    message::Message,
    options::Layout,
    verdict,
};

/// Channel behind an incoming webhook.
pub(crate) struct IncomingWebhook {
    url: Address,
    layout: Layout,
    mentions: Mentions,
}

impl IncomingWebhook {
    /// Takes the options. Without a [`Layout`], the path of the URL decides.
    pub(crate) fn new(url: Address, layout: Option<Layout>, mentions: Mentions) -> Self {
        let has_hooks = url.path().split('/').any(|part| part == "hooks");
        let default = if has_hooks { Layout::Attachment } else { Layout::Blocks };
        Self { url, layout: layout.unwrap_or(default), mentions }
    }

    /// Returns the base URL of the server.
    pub(crate) fn contact(&self) -> &str {
        self.url.base()
    }

    /// Delivers a [`Notification`].
    ///
    /// # Errors
    ///
    /// The step with which the attempt goes on or fails.
    pub(crate) fn deliver(
        &self,
        notification: &Notification,
        exchange: &mut Exchange<'_>,
    ) -> Result<Step, End> {
        let mut message = Message::about(notification, self.layout, &self.mentions, true);
        if self.layout == Layout::Blocks {
            message.rich.insert("metadata".into(), message.metadata);
        }
        let answer = exchange.send(self.request("post", message.rich))?;
        let refused = match verdict::webhook(answer) {
            Ok(()) => return Ok(Step::delivered()),
            Err(refused) => refused,
        };
        if !matches!(refused.failure, Failure::TooRich | Failure::BadMetadata) {
            return Err(refused.verdict());
        }
        let answer = exchange.send(self.request("post_plain", message.plain))?;
        match verdict::webhook(answer) {
            Ok(()) => Ok(Step::delivered()),
            Err(refused) => Err(refused.verdict()),
        }
    }

    fn request(&self, name: &str, mut message: Map<String, Value>) -> HttpRequest {
        message.insert("unfurl_links".into(), false.into());
        message.insert("unfurl_media".into(), false.into());
        HttpRequest::post_json(name, self.url.url(), &Value::Object(message))
            .secret_url(format!("{}/...", self.url.base()))
    }
}
