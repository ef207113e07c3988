//! Stateful stand-in for Slack on the loopback interface: Web API, incoming webhooks, channels with
//! messages and threads.
//!
//! The stand-in checks what Slack documents: tokens, scopes, channels, the limits of a message (see
//! `limits.rs`), and a rate. Tests can change the channel, the token and the scopes, and can script faults.
//! The stand-in has no people, no files and no events.

mod limits;
mod methods;
mod server;

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use self::server::Server;

/// Bot token that the stand-in accepts.
pub const TOKEN: &str = "xoxb-1-2-stand-in";

/// Id of the channel in which the app is.
pub const CHANNEL: &str = "C0123456789";

/// Last part of the URLs of the incoming webhooks.
pub const WEBHOOK_KEY: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

/// Most requests and messages that the stand-in keeps.
const KEPT: usize = 100_000;

/// Running stand-in. It stops when it is dropped.
#[derive(Debug)]
pub struct Slack {
    server: Server,
    workspace: Arc<Mutex<Workspace>>,
}

/// Message in the channel of a [`Slack`].
#[derive(Clone, Debug)]
pub struct Message {
    /// Timestamp, which is its id.
    pub ts: String,
    /// Timestamp of the message whose thread it is in.
    pub thread_ts: Option<String>,
    /// The body of the request that posted it or last updated it.
    pub body: Value,
    /// Metadata of the post, or of the last update that had some.
    pub metadata: Option<Value>,
    /// Number of updates.
    pub updates: usize,
}

impl Message {
    /// Returns the text beside attachments; empty if there is none.
    pub fn text(&self) -> &str {
        self.body["text"].as_str().unwrap_or_default()
    }

    /// Returns the id of the delivery in the metadata.
    pub fn delivery_id(&self) -> Option<&str> {
        self.metadata.as_ref()?["event_payload"]["delivery_id"].as_str()
    }

    /// Returns the colour of the first attachment.
    pub fn color(&self) -> Option<&str> {
        self.body["attachments"][0]["color"].as_str()
    }

    /// Returns everything that a person can read, a line for each text.
    pub fn visible_text(&self) -> String {
        let mut lines = vec![self.text().to_owned()];
        collect_texts(&self.body["blocks"], &mut lines);
        collect_texts(&self.body["attachments"], &mut lines);
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    /// Returns the form that an outgoing webhook of Slack sends for the message of a bot.
    pub fn outgoing_webhook(&self, token: &str, trigger_word: Option<&str>) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token)
            .append_pair("team_id", "T0001")
            .append_pair("team_domain", "example")
            .append_pair("channel_id", CHANNEL)
            .append_pair("channel_name", "ops")
            .append_pair("timestamp", &self.ts)
            .append_pair("user_id", "USLACKBOT")
            .append_pair("user_name", "slackbot")
            .append_pair("bot_id", "B0001")
            .append_pair("text", self.text());
        if let Some(word) = trigger_word {
            form.append_pair("trigger_word", word);
        }
        form.finish()
    }
}

fn collect_texts(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, lines)),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text)
                        if ["text", "title", "value", "footer"].contains(&&**key) =>
                    {
                        lines.push(text.clone());
                    }
                    Value::String(_) => {}
                    other => collect_texts(other, lines),
                }
            }
        }
        _ => {}
    }
}

/// Request that a [`Slack`] has answered, or refused to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Method of the Web API, or `webhook`.
    pub method: String,
    /// Verdict: `ok`, the name of an error, a status, or `cut`.
    pub result: String,
}

/// Scripted fault of one request, see [`Slack::fail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Closes the connection after reading the request, which has no effect.
    Cut,
    /// Carries out the request, and closes the connection without an answer.
    CutAfterwards,
    /// Answers with a status and an empty body. The request has no effect.
    Status(u16),
    /// Answers 429 with these seconds in `Retry-After`, or without the header.
    TooMany(Option<u64>),
    /// Answers with the name of an error. The request has no effect.
    Error(&'static str),
    /// Carries out the request, and answers with the name of an error.
    ErrorAfterwards(&'static str),
    /// Answers with the status 200 and this body. The request has no effect.
    Body(&'static str),
}

/// Workspace with one channel.
#[derive(Debug)]
struct Workspace {
    token_revoked: bool,
    scopes: Vec<&'static str>,
    is_member: bool,
    is_archived: bool,
    edits_closed: bool,
    pause: Option<Duration>,
    last_post: Option<Instant>,
    messages: Vec<Message>,
    last_second: u64,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    calls: VecDeque<Call>,
}

impl Default for Slack {
    fn default() -> Self {
        Self::start()
    }
}

impl Slack {
    /// Starts on a free port, with a channel that the app is in, and the scopes `chat:write` and
    /// `channels:history`.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    fn start_at(address: Ipv4Addr) -> Self {
        let workspace = Arc::new(Mutex::new(Workspace {
            token_revoked: false,
            scopes: vec!["chat:write", "channels:history"],
            is_member: true,
            is_archived: false,
            edits_closed: false,
            pause: None,
            last_post: None,
            messages: Vec::new(),
            last_second: 0,
            faults: BTreeMap::new(),
            calls: VecDeque::new(),
        }));
        let shared = Arc::clone(&workspace);
        let server = Server::start(address, move |request| methods::answer(&shared, request));
        Self { server: server.expect("a free port"), workspace }
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the base URL of the Web API.
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.address())
    }

    /// Returns the URL of an incoming webhook as Slack has it.
    pub fn webhook_url(&self) -> String {
        format!("http://{}/services/T0001/B0001/{WEBHOOK_KEY}", self.address())
    }

    /// Returns the URL of an incoming webhook as Mattermost has it.
    pub fn mattermost_url(&self) -> String {
        format!("http://{}/hooks/{WEBHOOK_KEY}", self.address())
    }

    /// Returns the messages of the channel, oldest first, without those in threads.
    pub fn messages(&self) -> Vec<Message> {
        let workspace = self.workspace();
        workspace.messages.iter().filter(|message| message.thread_ts.is_none()).cloned().collect()
    }

    /// Returns the replies in the thread of a message, oldest first.
    pub fn replies(&self, ts: &str) -> Vec<Message> {
        let workspace = self.workspace();
        let is_reply = |message: &&Message| message.thread_ts.as_deref() == Some(ts);
        workspace.messages.iter().filter(is_reply).cloned().collect()
    }

    /// Returns the requests so far, oldest first, as [`Call`]s.
    pub fn calls(&self) -> Vec<Call> {
        self.workspace().calls.iter().cloned().collect()
    }

    /// Scripts the fault of the next request of a method: `chat.postMessage`, `chat.update`,
    /// `conversations.history`, `conversations.replies` or `webhook`. Several faults are played in order.
    pub fn fail(&self, method: &'static str, fault: Fault) {
        self.workspace().faults.entry(method).or_default().push_back(fault);
    }

    /// Allows one post in each such time, as Slack allows one a second, or any number.
    pub fn limit_rate(&self, pause: Option<Duration>) {
        self.workspace().pause = pause;
    }

    /// Archives the [`CHANNEL`] or brings it back.
    pub fn set_archived(&self, archived: bool) {
        self.workspace().is_archived = archived;
    }

    /// Removes the app from the channel or invites it.
    pub fn set_member(&self, member: bool) {
        self.workspace().is_member = member;
    }

    /// Revokes the [`TOKEN`] or makes it valid.
    pub fn set_token_revoked(&self, revoked: bool) {
        self.workspace().token_revoked = revoked;
    }

    /// Replaces the scopes of the token.
    pub fn set_scopes(&self, scopes: &[&'static str]) {
        self.workspace().scopes = scopes.to_vec();
    }

    /// Forbids updates of messages or allows them.
    pub fn set_edits_closed(&self, closed: bool) {
        self.workspace().edits_closed = closed;
    }

    /// Deletes a message, as a person could.
    pub fn delete(&self, ts: &str) {
        self.workspace().messages.retain(|message| message.ts != ts);
    }

    fn workspace(&self) -> MutexGuard<'_, Workspace> {
        lock(&self.workspace)
    }
}

/// Locks the workspace. A test that failed with the lock leaves a valid workspace.
fn lock(workspace: &Mutex<Workspace>) -> MutexGuard<'_, Workspace> {
    workspace.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workspace {
    /// Returns a timestamp that no other message has.
    fn next_ts(&mut self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.last_second = self.last_second.max(now);
        format!("{}.{:06}", self.last_second, self.messages.len() + 1)
    }

    fn store(&mut self, message: Message) {
        assert!(self.messages.len() < KEPT, "a test posts more messages than the stand-in keeps");
        self.messages.push(message);
    }

    fn record(&mut self, method: &str, result: impl Into<String>) {
        if self.calls.len() == KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back(Call { method: method.into(), result: result.into() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        http::{Answer, Connection, Request},
        loopback,
    };

    fn connect(slack: &Slack) -> Connection {
        Connection::open(slack.address()).expect("the stand-in listens")
    }

    fn request<'r>(target: &'r str, body: &'r str, token: &str) -> Request<'r> {
        Request::post(target, body)
            .header("content-type", "application/json; charset=utf-8")
            .header("authorization", format!("Bearer {token}"))
    }

    fn call(slack: &Slack, method: &str, body: &Value) -> Value {
        let (target, body) = (format!("/api/{method}"), body.to_string());
        connect(slack).ask(&request(&target, &body, TOKEN)).expect("an answer").json()
    }

    fn read(slack: &Slack, target: &str) -> Value {
        let authorization = format!("Bearer {TOKEN}");
        let request = Request::new("GET", target).header("authorization", authorization);
        connect(slack).ask(&request).expect("an answer").json()
    }

    fn hook(slack: &Slack, body: &Value) -> Answer {
        let target = format!("/services/T0001/B0001/{WEBHOOK_KEY}");
        connect(slack).ask(&request(&target, &body.to_string(), "")).expect("an answer")
    }

    fn hello() -> Value {
        json!({"channel": CHANNEL, "text": "hello"})
    }

    #[track_caller]
    fn assert_error(answer: &Value, error: &str) {
        assert_eq!((&answer["ok"], &answer["error"]), (&json!(false), &json!(error)));
    }

    #[test]
    fn keeps_messages_with_their_updates_and_threads() {
        let slack = Slack::start();
        let posted = call(&slack, "chat.postMessage", &hello());
        assert_eq!((&posted["ok"], &posted["channel"]), (&json!(true), &json!(CHANNEL)));
        let ts = posted["ts"].as_str().expect("a timestamp");
        let reply = json!({"channel": CHANNEL, "text": "on it", "thread_ts": ts});
        assert_eq!(call(&slack, "chat.postMessage", &reply)["ok"], true);
        let new = json!({"channel": CHANNEL, "text": "bye", "ts": ts});
        assert_eq!(call(&slack, "chat.update", &new)["ts"], ts);
        let messages = slack.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!((messages[0].text(), messages[0].updates), ("bye", 1));
        assert_eq!(slack.replies(ts)[0].text(), "on it");
        let target = format!("/api/conversations.replies?channel={CHANNEL}&ts={ts}");
        let thread = read(&slack, &target);
        assert_eq!(thread["messages"][0]["text"], "bye");
        assert_eq!(thread["messages"][1]["text"], "on it");
        slack.delete(ts);
        assert_error(&call(&slack, "chat.update", &new), "message_not_found");
        assert_error(&call(&slack, "chat.postMessage", &reply), "thread_not_found");
        assert_error(&read(&slack, &target), "thread_not_found");
    }

    #[test]
    fn shows_the_history_in_pages_and_metadata_on_demand() {
        let slack = Slack::start();
        for id in ["d1", "d2", "d3"] {
            let metadata =
                json!({"event_type": "tocsin_alert", "event_payload": {"delivery_id": id}});
            let message = json!({"channel": CHANNEL, "text": id, "metadata": metadata});
            assert_eq!(call(&slack, "chat.postMessage", &message)["ok"], true);
        }
        let target = format!("/api/conversations.history?channel={CHANNEL}&limit=2");
        let page = read(&slack, &target);
        assert_eq!((&page["messages"][0]["text"], &page["has_more"]), (&json!("d3"), &json!(true)));
        assert_eq!(page["messages"][0]["metadata"]["event_payload"], json!({}));
        let cursor = page["response_metadata"]["next_cursor"].as_str().expect("a cursor");
        let cursor = cursor.replace('=', "%3D");
        let target = format!("{target}&include_all_metadata=true&cursor={cursor}");
        let page = read(&slack, &target);
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
        assert_eq!(page["messages"][0]["metadata"]["event_payload"]["delivery_id"], "d1");
        assert_eq!(page["response_metadata"]["next_cursor"], "");
        let target = format!("/api/conversations.history?channel={CHANNEL}&oldest=99999999999");
        assert_eq!(read(&slack, &target)["messages"], json!([]));
    }

    #[test]
    fn checks_token_scopes_and_channel() {
        let slack = Slack::start();
        let body = hello().to_string();
        let target = "/api/chat.postMessage";
        let ask = |request: &Request<'_>| connect(&slack).ask(request).expect("an answer").json();
        let json = Request::post(target, &body).header("content-type", "application/json");
        assert_error(&ask(&json), "not_authed");
        assert_error(&ask(&request(target, &body, "xoxb-other")), "invalid_auth");
        let form = Request::post(target, &body).header("authorization", format!("Bearer {TOKEN}"));
        assert_error(&ask(&form), "missing_post_type");
        let post = || call(&slack, "chat.postMessage", &hello());
        slack.set_token_revoked(true);
        assert_error(&post(), "token_revoked");
        slack.set_token_revoked(false);
        slack.set_scopes(&["chat:write"]);
        let target = format!("/api/conversations.history?channel={CHANNEL}");
        let answer = read(&slack, &target);
        assert_error(&answer, "missing_scope");
        assert_eq!(answer["needed"], "channels:history");
        slack.set_member(false);
        assert_error(&post(), "not_in_channel");
        slack.set_member(true);
        slack.set_archived(true);
        assert_error(&post(), "is_archived");
        assert_error(&call(&slack, "chat.update", &hello()), "is_inactive");
        assert_eq!(hook(&slack, &hello()).status, 410);
        slack.set_archived(false);
        slack.set_edits_closed(true);
        assert_error(&call(&slack, "chat.update", &hello()), "edit_window_closed");
        let other = json!({"channel": "C9", "text": "hello"});
        assert_error(&call(&slack, "chat.postMessage", &other), "channel_not_found");
        assert_error(&call(&slack, "chat.unknown", &other), "unknown_method");
        assert!(slack.messages().is_empty());
    }

    #[test]
    fn limits_the_rate_of_posts() {
        let slack = Slack::start();
        slack.limit_rate(Some(Duration::from_hours(1)));
        assert_eq!(call(&slack, "chat.postMessage", &hello())["ok"], true);
        let body = hello().to_string();
        let request = request("/api/chat.postMessage", &body, TOKEN);
        let answer = connect(&slack).ask(&request).expect("an answer");
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("3600")));
        assert_error(&answer.json(), "ratelimited");
        assert_eq!(hook(&slack, &hello()).status, 429);
        slack.limit_rate(None);
        assert_eq!(call(&slack, "chat.postMessage", &hello())["ok"], true);
    }

    #[test]
    fn plays_scripted_faults_in_order() {
        let slack = Slack::start();
        let method = "chat.postMessage";
        for fault in [
            Fault::Cut,
            Fault::CutAfterwards,
            Fault::Status(500),
            Fault::TooMany(None),
            Fault::Error("service_unavailable"),
            Fault::ErrorAfterwards("internal_error"),
            Fault::Body("<html>"),
        ] {
            slack.fail(method, fault);
        }
        let body = hello().to_string();
        let request = request("/api/chat.postMessage", &body, TOKEN);
        let post = || connect(&slack).ask(&request);
        assert!(post().is_err());
        assert!(slack.messages().is_empty());
        assert!(post().is_err());
        assert_eq!(slack.messages().len(), 1);
        assert_eq!(post().expect("an answer").status, 500);
        assert_eq!(post().expect("an answer").status, 429);
        assert_error(&post().expect("an answer").json(), "service_unavailable");
        assert_eq!(slack.messages().len(), 1);
        assert_error(&post().expect("an answer").json(), "internal_error");
        assert_eq!(slack.messages().len(), 2);
        assert_eq!(post().expect("an answer").body, "<html>");
        assert_eq!(post().expect("an answer").json()["ok"], true);
        let results: Vec<_> = slack.calls().into_iter().map(|call| call.result).collect();
        let expected =
            ["cut", "cut", "500", "429", "service_unavailable", "internal_error", "200", "ok"];
        assert_eq!(results, expected);
    }

    #[test]
    fn incoming_webhooks_answer_in_words() {
        let slack = Slack::start();
        let answer = hook(&slack, &json!({"text": "hello"}));
        assert_eq!((answer.status, &*answer.body), (200, "ok"));
        assert_eq!(hook(&slack, &json!({"text": ""})).body, "no_text");
        let old = json!({"attachments": [{"blocks": [{"type": "divider"}], "title": "x"}]});
        assert_eq!(hook(&slack, &old).body, "invalid_attachments");
        let wrong = request("/services/T0001/B0001/other", "{}", "");
        let answer = connect(&slack).ask(&wrong).expect("an answer");
        assert_eq!((answer.status, &*answer.body), (404, "no_service"));
        let mattermost = format!("/hooks/{WEBHOOK_KEY}");
        let answer = connect(&slack).ask(&request(&mattermost, r#"{"text": "x"}"#, ""));
        assert_eq!(answer.expect("an answer").status, 200);
        assert_eq!(slack.messages().len(), 2);
    }

    #[test]
    fn an_outgoing_webhook_shows_the_message_as_one_of_a_bot() {
        let slack = Slack::start();
        call(&slack, "chat.postMessage", &hello());
        let form = slack.messages()[0].outgoing_webhook("t0ken", Some("hello"));
        for part in ["token=t0ken", "bot_id=B0001", "text=hello", "trigger_word=hello"] {
            assert!(form.contains(part), "{form}");
        }
    }

    #[test]
    fn stops_with_its_connections() {
        // No other test may take the port meanwhile.
        let slack = Slack::start_at(loopback::own_address());
        let mut idle = connect(&slack);
        let address = slack.address();
        drop(slack);
        assert_eq!(idle.rest().expect("the end"), b"");
        assert!(Connection::open(address).is_err());
    }
}
