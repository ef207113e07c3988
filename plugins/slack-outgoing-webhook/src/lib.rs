//! Alerts from the outgoing webhooks of Slack, Mattermost, Zulip and Rocket.Chat.
//!
//! The order of the checks is decided here; each rule has a file of its own. Requests of Slack apps
//! (Events API, slash commands) are ignored: they follow another protocol, with signatures instead
//! of a token.
//!
//! | step | file | outcome if the step fails |
//! | --- | --- | --- |
//! | the body is a form or a JSON object | `body.rs` | malformed |
//! | the token is one of the configured ones | `authentication.rs` | unauthorized |
//! | the request is a message, and its sender is not excluded | `filter.rs` | ignored |
//! | the message has a text, and no field that is read comes twice | `fields.rs` | malformed |
//! | its channel and trigger word are not excluded | `filter.rs` | ignored |
//! | product (formats of text differ), text, urgency, details, keys and link | `product.rs`, `text.rs`, `urgency.rs`, `alert.rs`, `link.rs` | |
//! | reply to the chat | `reply_template.rs`, `reply_text.rs` | the host answers `{}` |

mod alert;
mod authentication;
mod body;
mod fields;
mod filter;
mod form;
mod json;
mod link;
mod markup;
mod name_trie;
mod options;
mod pattern_check;
mod product;
mod reference;
mod reply_template;
mod reply_text;
mod text;
mod urgency;
mod urgency_names;
mod word_boundary;
mod words;

use tocsin_plugin_api::prelude::*;

pub use crate::options::{Bots, Options};
use crate::{
    authentication::Authentication, fields::Fields, filter::MessageFilter, product::Product,
    reply_template::ReplyTemplate, text::VisibleText, urgency::UrgencyRule,
};

/// Integration for one outgoing webhook, or for several that share its options.
pub struct SlackOutgoingWebhook {
    authentication: Authentication,
    filter: MessageFilter,
    urgency: UrgencyRule,
    reply: Option<ReplyTemplate>,
}

impl Integration for SlackOutgoingWebhook {
    type Options = Options;

    const LARGEST_BODY_BYTES: Option<usize> = Some(body::LIMIT_BYTES);

    fn new(options: Options) -> Result<Self, OptionsError> {
        let filter = MessageFilter::new(options.bots, options.channels, options.trigger_words)?;
        let reply = options.reply.as_deref().map(ReplyTemplate::parse).transpose()?;
        if let Some(reply) = &reply {
            reply.refuse_to_begin_with(filter.trigger_words())?;
        }
        Ok(Self {
            authentication: Authentication::new(options.token, options.unauthenticated)?,
            filter,
            urgency: UrgencyRule::new(options.urgency_pattern.as_deref(), options.urgencies)?,
            reply,
        })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let fields = body::read(request)?;
        self.authentication.check(&fields)?;
        if let Some(reason) = self.filter.reason_to_ignore_sender(&fields) {
            return Ok(Received::ignored(reason));
        }
        let product = Product::of(&fields);
        let text = fields.text().map(|text| VisibleText::of(product, text));
        if text.as_ref().is_ok_and(VisibleText::is_blank) {
            return Ok(Received::ignored("the text is empty"));
        }
        fields.refuse_repeated()?;
        let text = text?;
        if let Some(reason) = self.filter.reason_to_ignore_message(&fields, text.as_str()) {
            return Ok(Received::ignored(reason));
        }
        let urgency = self.urgency.of(product, &text);
        Ok(self.received(alert::event(product, &fields, text, urgency), product, &fields))
    }
}

impl SlackOutgoingWebhook {
    /// Adds the operator's reply to the event, if there is one.
    fn received(&self, event: Event, product: Product, fields: &Fields<'_>) -> Received {
        let trigger_words = self.filter.trigger_words();
        let template = self.reply.as_ref();
        let reply =
            template.and_then(|template| template.reply(product, &event, fields, trigger_words));
        let received = Received::from(event);
        match reply {
            Some(reply) => received.with_reply(reply),
            None => received,
        }
    }
}

tocsin_plugin_api::export_plugin!(SlackOutgoingWebhook);
