//! News about alerts to any HTTP endpoint: a `POST` of a `CloudEvent` or of the operator's own body, signed
//! by Standard Webhooks if there are keys.
//!
//! An attempt is one request. A receiver recognizes a repeated one by the id of the delivery.
//!
//! | part of the request | file |
//! | --- | --- |
//! | address | `destination.rs` |
//! | headers of the operator, and the credential | `request_headers.rs`, `credential.rs` |
//! | body: a `CloudEvent`, or a template | `cloud_event.rs`, `body_template.rs`; both of `news.rs` |
//! | signature | `signature.rs` |
//! | verdict on the answer | this file |

mod body_template;
mod cloud_event;
mod credential;
mod destination;
mod news;
mod options;
mod request_headers;
mod signature;

use tocsin_plugin_api::{
    OptionsError,
    capability::{Notifier, Plugin},
    notification::{HOPS_HEADER, Notification},
    step::{Description, HttpAnswer, HttpRequest, Step},
};
use tocsin_plugin_kit::verdict;

pub use crate::options::{BasicAuth, Options};
use crate::{
    body_template::BodyTemplate, credential::Credential, destination::Destination, news::News,
    request_headers::RequestHeaders, signature::Signer,
};

/// Name of the only request of an attempt.
const REQUEST: &str = "post";

/// Notifier for one HTTP endpoint.
pub struct WebhookOut {
    destination: Destination,
    headers: RequestHeaders,
    credential: Option<Credential>,
    signer: Option<Signer>,
    /// None for a `CloudEvent`.
    template: Option<BodyTemplate>,
}

impl Plugin for WebhookOut {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        Ok(Self {
            destination: Destination::new(options.url.as_deref(), options.secret_url.as_ref())?,
            headers: RequestHeaders::new(&options.headers, &options.secret_headers)?,
            credential: Credential::new(options.bearer, options.basic)?,
            signer: options.secrets.as_ref().map(Signer::new).transpose()?,
            template: BodyTemplate::new(options.body, options.content_type)?,
        })
    }
}

impl Notifier for WebhookOut {
    fn describe(&self) -> Description {
        let mut description = Description::new([self.destination.base().to_owned()]);
        description.secret_in_query = self.destination.has_secret_query();
        description
    }

    fn next(&self, notification: &Notification, answers: &[HttpAnswer]) -> Step {
        match answers.last() {
            Some(answer) => verdict_on(answer),
            None => self.request(notification).map_or_else(Step::rejected, Step::send),
        }
    }
}

impl WebhookOut {
    /// Makes the request.
    ///
    /// # Errors
    ///
    /// The reason why there is no body for this notification.
    fn request(&self, notification: &Notification) -> Result<HttpRequest, String> {
        let news = News::of(notification)?;
        let (content_type, body) = match &self.template {
            Some(template) => (template.content_type(), template.render(&news)?),
            None => (cloud_event::CONTENT_TYPE, cloud_event::body(&news)),
        };
        let mut request = self.destination.request().header("content-type", content_type);
        // The hops of a digest are not known. A loop through digests ends by itself: a digest makes one
        // alert of many.
        let hops = notification.alert().map_or(0, |alert| alert.hops).saturating_add(1);
        request = request.header(HOPS_HEADER, hops.to_string());
        request = self.headers.add_to(request);
        if let Some(credential) = &self.credential {
            request = request.secret_header("authorization", credential.header());
        }
        if let Some(signer) = &self.signer {
            let id = &notification.delivery_id;
            request = signer.sign(request, id, notification.attempted_at.unix_seconds(), &body);
        }
        Ok(request.body(body))
    }
}

/// Returns the verdict on an answer. A Tocsin host answers 508 if the news has passed through too many
/// hosts, which no later attempt changes.
fn verdict_on(answer: &HttpAnswer) -> Step {
    if answer.status == 508 {
        return Step::rejected(
            "the receiver refuses news that has passed through too many Tocsin hosts (508); hint: hosts \
             notify each other in a loop, take one of them out of the routes of the other",
        );
    }
    verdict::by_status(answer.status)
}

tocsin_plugin_api::export_plugin!(WebhookOut: notify);
