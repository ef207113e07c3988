//! Slack's Web API with a bot token: one message for each alert, which is updated as the alert changes, and
//! further news as replies in its thread.
//!
//! An update can be repeated. A post cannot, so each post of a delivery in doubt is looked for first. If the
//! token may not read the channel, the post is repeated.

use serde_json::{Map, Value, json};
use tocsin_plugin_api::{
    Secret,
    notification::{Kind, Notification},
    step::{HttpAnswer, HttpRequest, Step},
};

use crate::{
    address::Address,
    errors::Failure,
    exchange::{End, Exchange},
    lookup,
    mentions::Mentions,
    message::Message,
    options::Layout,
    posted::Posted,
    verdict::{self, Refused},
};

/// Most pages of a channel that a search reads. An attempt has few requests.
const PAGES: usize = 2;

/// Channel behind the Web API.
pub(crate) struct WebApi {
    api: Address,
    token: Secret,
    channel: String,
    mentions: Mentions,
}

impl WebApi {
    pub(crate) fn new(api: Address, token: Secret, channel: String, mentions: Mentions) -> Self {
        Self { api, token, channel, mentions }
    }

    /// Returns the base URL of the server.
    pub(crate) fn contact(&self) -> &str {
        self.api.base()
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
        let message = Message::about(notification, Layout::Blocks, &self.mentions, false);
        let is_about_alert = !matches!(notification.kind, Kind::Test | Kind::Digest);
        let known = Posted::from_state(notification.state.as_ref(), &self.channel)
            .filter(|_| is_about_alert);
        let updated = match known {
            Some(known) if self.update(&message, &known, exchange)? => Some(known),
            _ => None,
        };
        let is_new = updated.is_none();
        let posted = match updated {
            Some(posted) => Some(posted),
            None => self.find_or_post(&message, notification, exchange)?,
        };
        let Some(posted) = posted.filter(|_| is_about_alert) else { return Ok(Step::delivered()) };
        if has_reply(notification.kind, is_new) {
            if is_new {
                exchange.unsaved();
            }
            self.find_or_reply(&posted, notification, exchange)?;
        }
        Ok(Step::delivered_with(posted.to_state(&self.channel)))
    }

    /// Updates the [posted](Posted) message of an alert. Returns false if the message is gone or cannot be changed.
    fn update(
        &self,
        message: &Message,
        posted: &Posted,
        exchange: &mut Exchange<'_>,
    ) -> Result<bool, End> {
        let place = json!({"channel": posted.channel, "ts": posted.ts});
        // Without metadata, an update keeps that of the message. A text that is left out may stay, too, so
        // it is set.
        let mut rich = message.rich.clone();
        rich.insert("text".into(), "".into());
        let mut plain = message.plain.clone();
        plain.insert("attachments".into(), json!([]));
        plain.insert("blocks".into(), json!([]));
        let mut refused = match self.call("chat.update", "update", &place, rich, exchange)? {
            Ok(_) => return Ok(true),
            Err(refused) => refused,
        };
        if refused.failure == Failure::TooRich {
            refused = match self.call("chat.update", "update_plain", &place, plain, exchange)? {
                Ok(_) => return Ok(true),
                Err(refused) => refused,
            };
        }
        match refused.failure {
            // The error of the post decides if the channel itself is gone.
            Failure::Gone | Failure::TooRich | Failure::Broken => Ok(false),
            _ => Err(refused.verdict()),
        }
    }

    /// Returns the message of a delivery: the one that is there if the delivery is in doubt, or else a new
    /// one. `None` if the server does not say which message it posted.
    fn find_or_post(
        &self,
        message: &Message,
        notification: &Notification,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<Posted>, End> {
        if exchange.is_in_doubt() {
            // A user's id stands for the direct messages with the user, and cannot be searched.
            if let Some(ts) = self.look(None, notification, exchange)? {
                return Ok(Some(Posted { channel: self.channel.clone(), ts }));
            }
        }
        let answer = self.post(message, &json!({"channel": self.channel}), exchange)?;
        Ok(Posted::from_answer(&answer.map_err(Refused::verdict)?))
    }

    /// Posts the news as a reply, unless the reply of a delivery in doubt is there.
    fn find_or_reply(
        &self,
        posted: &Posted,
        notification: &Notification,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), End> {
        let Some(message) = Message::reply(notification, &self.mentions) else { return Ok(()) };
        if notification.in_doubt && self.look(Some(posted), notification, exchange)?.is_some() {
            return Ok(());
        }
        let mut place = json!({"channel": posted.channel, "thread_ts": posted.ts});
        if notification.kind == Kind::Escalated {
            // A reply alone would reach nobody who does not follow the thread.
            place["reply_broadcast"] = true.into();
        }
        let mut answer = self.post(&message, &place, exchange)?;
        if answer.as_ref().is_err_and(|refused| refused.failure == Failure::NoThread) {
            answer = self.post(&message, &json!({"channel": posted.channel}), exchange)?;
        }
        answer.map(drop).map_err(Refused::verdict)
    }

    /// Posts a [`Message`], without metadata or as plain text if the server refuses it.
    fn post(
        &self,
        message: &Message,
        place: &Value,
        exchange: &mut Exchange<'_>,
    ) -> Result<Result<Value, Refused>, End> {
        const METHOD: &str = "chat.postMessage";
        let with_metadata = |mut map: Map<String, Value>| {
            map.insert("metadata".into(), message.metadata.clone());
            map
        };
        let rich = with_metadata(message.rich.clone());
        let mut answer = self.call(METHOD, "post", place, rich, exchange)?;
        let failure = |answer: &Result<Value, Refused>| answer.as_ref().err().map(|it| it.failure);
        if failure(&answer) == Some(Failure::BadMetadata) {
            let rich = message.rich.clone();
            answer = self.call(METHOD, "post_without_metadata", place, rich, exchange)?;
        }
        if failure(&answer) == Some(Failure::TooRich) {
            let plain = with_metadata(message.plain.clone());
            answer = self.call(METHOD, "post_plain", place, plain, exchange)?;
        }
        Ok(answer)
    }

    /// Sends a request that writes, and reads its answer.
    fn call(
        &self,
        method: &str,
        name: &str,
        place: &Value,
        mut message: Map<String, Value>,
        exchange: &mut Exchange<'_>,
    ) -> Result<Result<Value, Refused>, End> {
        for (key, value) in place.as_object().into_iter().flatten() {
            message.insert(key.clone(), value.clone());
        }
        // `chat.update` would otherwise read names such as `@anna` in the text.
        message.insert("parse".into(), "none".into());
        message.insert("link_names".into(), false.into());
        if method == "chat.postMessage" {
            message.insert("unfurl_links".into(), false.into());
            message.insert("unfurl_media".into(), false.into());
        }
        let url = format!("{}/{method}", self.api.url());
        let request = HttpRequest::post_json(name, url, &Value::Object(message));
        let answer = exchange.send(self.authorized(request))?;
        Ok(verdict::web_api(answer))
    }

    /// Looks for the message of a delivery in the channel, or in the thread of a message. `None` if the
    /// message is not there, or if the token may not look.
    fn look(
        &self,
        thread: Option<&Posted>,
        notification: &Notification,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<String>, End> {
        let mut cursor = None;
        for _ in 0..PAGES {
            let answer =
                exchange.send(self.look_request(thread, notification, cursor.as_deref()))?;
            let page = match read_look(answer) {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(None),
                Err(refused) => return Err(refused.verdict()),
            };
            let except = thread.map(|posted| posted.ts.as_str());
            if let Some(ts) = lookup::found(&page, &notification.delivery_id, except) {
                return Ok(Some(ts));
            }
            cursor = lookup::next_page(&page).map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        exchange.doubt_resolved();
        Ok(None)
    }

    fn look_request(
        &self,
        thread: Option<&Posted>,
        notification: &Notification,
        cursor: Option<&str>,
    ) -> HttpRequest {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("channel", thread.map_or(&self.channel, |posted| &posted.channel));
        if let Some(posted) = thread {
            query.append_pair("ts", &posted.ts);
        }
        query.append_pair("oldest", &lookup::oldest(notification).to_string());
        query.append_pair("limit", &lookup::PAGE.to_string());
        query.append_pair("include_all_metadata", "true");
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        let (name, method) = match thread {
            Some(_) => ("look_in_thread", "conversations.replies"),
            None => ("look", "conversations.history"),
        };
        let url = format!("{}/{method}?{}", self.api.url(), query.finish());
        self.authorized(HttpRequest::new(name, "GET", url))
    }

    fn authorized(&self, request: HttpRequest) -> HttpRequest {
        request.secret_header("authorization", format!("Bearer {}", self.token.expose()))
    }
}

/// Returns true if a reply in the thread tells the news. A new message tells all but the text of a note.
fn has_reply(kind: Kind, is_new: bool) -> bool {
    match kind {
        Kind::Noted => true,
        Kind::Occurred | Kind::Escalated => !is_new,
        _ => false,
    }
}

/// Reads the answer to a search; `None` if the token may not look.
fn read_look(answer: &HttpAnswer) -> Result<Option<Value>, Refused> {
    match verdict::web_api(answer) {
        Ok(page) => Ok(Some(page)),
        Err(refused) if matches!(refused.failure, Failure::Later | Failure::InDoubt) => {
            Err(refused)
        }
        Err(_) => Ok(None),
    }
}
