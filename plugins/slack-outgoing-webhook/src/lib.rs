//! Alerts from the outgoing webhooks of Slack, Mattermost, Zulip and Rocket.Chat.
//!
//! This file owns the order in which a message is judged; each rule is in the file of its noun.
//! What a workspace posts as an app (Events API, slash commands) is recognised and left alone: that
//! is another protocol, with signatures in place of a token.
//!
//! | step | where | what comes of it |
//! | --- | --- | --- |
//! | the body is a form or a JSON object | `body.rs` | malformed |
//! | its token is one of ours | `token.rs` | unauthorized |
//! | it is a message, and of a sender that counts | `selection.rs` | ignored |
//! | it has a text, and no field twice | `fields.rs` | malformed |
//! | its channel and trigger word are wanted | `selection.rs` | ignored |
//! | its product is told, for texts differ | `product.rs` | |
//! | text, urgency, details, keys and link | `text.rs`, `urgency.rs`, `alert.rs` | an event |
//! | the answer | `reply.rs`, `answer.rs` | `{}`, or what the operator worded |

mod alert;
mod answer;
mod body;
mod capture;
mod characters;
mod fields;
mod form;
mod json;
mod link;
mod markup;
mod names;
mod options;
mod product;
mod reference;
mod reply;
mod selection;
mod spelling;
mod text;
mod token;
mod urgency;
mod words;

use tocsin_plugin_api::prelude::*;

pub use crate::options::{Bots, Options};
use crate::{
    fields::Fields, product::Product, reply::Template, selection::Selection, text::VisibleText,
    token::Senders, urgency::UrgencyRule,
};

/// One outgoing webhook, or several that share a configuration.
pub struct SlackOutgoingWebhook {
    senders: Senders,
    selection: Selection,
    urgency: UrgencyRule,
    reply: Option<Template>,
}

impl Integration for SlackOutgoingWebhook {
    type Options = Options;

    const LARGEST_BODY_BYTES: Option<usize> = Some(body::LIMIT_BYTES);

    fn new(options: Options) -> Result<Self, OptionsError> {
        let selection = Selection::new(options.bots, options.channels, options.trigger_words)?;
        let reply = options.reply.as_deref().map(Template::parse).transpose()?;
        if let Some(reply) = &reply {
            reply.refuse_to_begin_with(selection.trigger_words())?;
        }
        Ok(Self {
            senders: Senders::new(options.token, options.unauthenticated)?,
            selection,
            urgency: UrgencyRule::new(options.urgency_pattern.as_deref(), options.urgencies)?,
            reply,
        })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let fields = body::read(request)?;
        self.senders.admit(&fields)?;
        if let Some(reason) = self.selection.passes_over_sender(&fields) {
            return Ok(Received::ignored(reason));
        }
        let product = Product::of(&fields);
        let text = fields.text().map(|text| VisibleText::of(product, text));
        if text.as_ref().is_ok_and(VisibleText::is_blank) {
            return Ok(Received::ignored("the text is empty"));
        }
        fields.refuse_repeated()?;
        let text = text?;
        if let Some(reason) = self.selection.passes_over_message(&fields, text.as_str()) {
            return Ok(Received::ignored(reason));
        }
        let urgency = self.urgency.of(product, &text);
        Ok(self.answered(alert::event(product, &fields, text, urgency), product, &fields))
    }
}

impl SlackOutgoingWebhook {
    /// Adds the answer that the operator worded to the event.
    fn answered(&self, event: Event, product: Product, fields: &Fields<'_>) -> Received {
        let trigger_words = self.selection.trigger_words();
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
