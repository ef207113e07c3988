//! Methods of the Web API, and the incoming webhooks.

use std::{
    borrow::Cow,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    CHANNEL, Fault, Message, TOKEN, WEBHOOK_KEY, Workspace, limits, lock,
    server::{Answer, Request},
};

/// Most messages of one answer.
const PAGE: usize = 999;

/// Outcome of a method: the answer's fields, or the name of an error.
type Outcome = Result<Value, &'static str>;

/// Answers a [`Request`]; `None` closes the connection.
pub(super) fn answer(workspace: &Mutex<Workspace>, request: &Request) -> Option<Answer> {
    let path = request.target.split('?').next().unwrap_or_default();
    let mut workspace = lock(workspace);
    if let Some(method) = path.strip_prefix("/api/") {
        return answer_method(&mut workspace, method, request);
    }
    let slack = format!("/services/T0001/B0001/{WEBHOOK_KEY}");
    let mattermost = format!("/hooks/{WEBHOOK_KEY}");
    if path == slack || path == mattermost {
        return answer_webhook(&mut workspace, request);
    }
    workspace.record("webhook", "no_service");
    Some(text(404, "no_service"))
}

fn answer_method(workspace: &mut Workspace, method: &str, request: &Request) -> Option<Answer> {
    let (fault, outcome) = with_fault(workspace, method, |workspace| match method {
        "chat.postMessage" => post(workspace, request),
        "chat.update" => update(workspace, request),
        "conversations.history" => history(workspace, request),
        "conversations.replies" => replies(workspace, request),
        _ => Err("unknown_method"),
    });
    if let Some(answer) = faulty(workspace, method, fault) {
        return answer;
    }
    let answer = match outcome {
        Ok(mut fields) => {
            workspace.record(method, "ok");
            fields["ok"] = true.into();
            json_answer(200, &fields)
        }
        Err("ratelimited") => {
            workspace.record(method, "ratelimited");
            let mut answer = json_answer(429, &json!({"ok": false, "error": "ratelimited"}));
            answer.headers.push(("retry-after", retry_after(workspace).to_string()));
            answer
        }
        Err(error) => {
            workspace.record(method, error);
            let mut body = json!({"ok": false, "error": error});
            if error == "missing_scope" {
                body["needed"] = needed_scope(method).into();
                body["provided"] = workspace.scopes.join(",").into();
            }
            json_answer(200, &body)
        }
    };
    Some(answer)
}

fn answer_webhook(workspace: &mut Workspace, request: &Request) -> Option<Answer> {
    let (fault, outcome) =
        with_fault(workspace, "webhook", |workspace| webhook(workspace, request));
    if let Some(answer) = faulty(workspace, "webhook", fault) {
        return answer;
    }
    let error = outcome.err();
    workspace.record("webhook", error.unwrap_or("ok"));
    Some(match error {
        None => text(200, "ok"),
        Some("ratelimited") => {
            let mut answer = text(429, "rate_limited");
            answer.headers.push(("retry-after", retry_after(workspace).to_string()));
            answer
        }
        Some("channel_is_archived") => text(410, "channel_is_archived"),
        Some(error) => text(400, error),
    })
}

/// Runs a method, unless the next scripted fault prevents it.
fn with_fault(
    workspace: &mut Workspace,
    method: &str,
    run: impl FnOnce(&mut Workspace) -> Outcome,
) -> (Option<Fault>, Outcome) {
    let fault = workspace.faults.get_mut(method).and_then(std::collections::VecDeque::pop_front);
    let outcome = match fault {
        None | Some(Fault::CutAfterwards | Fault::ErrorAfterwards(_)) => run(workspace),
        Some(_) => Ok(json!({})),
    };
    (fault, outcome)
}

/// Returns the answer of a [`Fault`]; `None` without a fault.
fn faulty(workspace: &mut Workspace, method: &str, fault: Option<Fault>) -> Option<Option<Answer>> {
    let is_webhook = method == "webhook";
    let error = |name: &str| match is_webhook {
        true => text(500, name),
        false => json_answer(200, &json!({"ok": false, "error": name})),
    };
    let (result, answer) = match fault? {
        Fault::Cut | Fault::CutAfterwards => ("cut".to_owned(), None),
        Fault::Status(status) => (status.to_string(), Some(text(status, ""))),
        Fault::TooMany(seconds) => {
            let mut answer = text(429, "");
            answer.headers.extend(seconds.map(|seconds| ("retry-after", seconds.to_string())));
            ("429".to_owned(), Some(answer))
        }
        Fault::Error(name) | Fault::ErrorAfterwards(name) => (name.to_owned(), Some(error(name))),
        Fault::Body(body) => ("200".to_owned(), Some(text(200, body))),
    };
    workspace.record(method, result);
    Some(answer)
}

fn post(workspace: &mut Workspace, request: &Request) -> Outcome {
    authorize(workspace, "chat.postMessage", request)?;
    let body = json_body(request)?;
    check_channel(body["channel"].as_str())?;
    if workspace.is_archived {
        return Err("is_archived");
    }
    if !workspace.is_member {
        return Err("not_in_channel");
    }
    limits::check(&body)?;
    let thread_ts = body["thread_ts"].as_str().map(str::to_owned);
    if let Some(ts) = &thread_ts {
        let parent = workspace.messages.iter().find(|message| message.ts == *ts);
        parent.filter(|parent| parent.thread_ts.is_none()).ok_or("thread_not_found")?;
    }
    take_turn(workspace)?;
    let ts = store(workspace, body, thread_ts);
    Ok(json!({"channel": CHANNEL, "ts": ts}))
}

fn update(workspace: &mut Workspace, request: &Request) -> Outcome {
    authorize(workspace, "chat.update", request)?;
    let body = json_body(request)?;
    check_channel(body["channel"].as_str())?;
    if workspace.is_archived {
        return Err("is_inactive");
    }
    if workspace.edits_closed {
        return Err("edit_window_closed");
    }
    limits::check(&body)?;
    let ts = body["ts"].as_str().unwrap_or_default().to_owned();
    let mut messages = workspace.messages.iter_mut();
    let message = messages.find(|message| message.ts == ts).ok_or("message_not_found")?;
    if let Some(metadata) = body.get("metadata") {
        message.metadata = Some(metadata.clone());
    }
    message.body = body;
    message.updates += 1;
    Ok(json!({"channel": CHANNEL, "ts": ts}))
}

fn history(workspace: &mut Workspace, request: &Request) -> Outcome {
    authorize(workspace, "conversations.history", request)?;
    let query = Query::of(request);
    check_channel(query.get("channel").as_deref())?;
    if !workspace.is_member {
        return Err("not_in_channel");
    }
    let is_shown =
        |message: &&Message| message.thread_ts.is_none() || message.body["reply_broadcast"] == true;
    let newest_first: Vec<_> = workspace.messages.iter().rev().filter(is_shown).collect();
    query.page(&newest_first)
}

fn replies(workspace: &mut Workspace, request: &Request) -> Outcome {
    authorize(workspace, "conversations.replies", request)?;
    let query = Query::of(request);
    check_channel(query.get("channel").as_deref())?;
    if !workspace.is_member {
        return Err("not_in_channel");
    }
    let ts = query.get("ts").unwrap_or_default();
    let is_shown =
        |message: &&Message| message.ts == ts || message.thread_ts.as_deref() == Some(&*ts);
    let thread: Vec<_> = workspace.messages.iter().filter(is_shown).collect();
    if thread.first().is_none_or(|parent| parent.ts != ts) {
        return Err("thread_not_found");
    }
    query.page(&thread)
}

fn webhook(workspace: &mut Workspace, request: &Request) -> Outcome {
    let body = json_body(request).map_err(|_| "invalid_payload")?;
    if workspace.is_archived {
        return Err("channel_is_archived");
    }
    limits::check(&body)?;
    take_turn(workspace)?;
    store(workspace, body, None);
    Ok(json!({}))
}

fn authorize(workspace: &Workspace, method: &str, request: &Request) -> Result<(), &'static str> {
    let header = request.header("authorization").ok_or("not_authed")?;
    if header.strip_prefix("Bearer ") != Some(TOKEN) {
        return Err("invalid_auth");
    }
    if workspace.token_revoked {
        return Err("token_revoked");
    }
    let needed = needed_scope(method);
    workspace.scopes.contains(&needed).then_some(()).ok_or("missing_scope")
}

fn needed_scope(method: &str) -> &'static str {
    if method.starts_with("chat.") { "chat:write" } else { "channels:history" }
}

fn check_channel(channel: Option<&str>) -> Result<(), &'static str> {
    (channel == Some(CHANNEL)).then_some(()).ok_or("channel_not_found")
}

fn json_body(request: &Request) -> Result<Value, &'static str> {
    let kind = request.header("content-type").ok_or("missing_post_type")?;
    let is_json = kind.split(';').next().unwrap_or_default().trim() == "application/json";
    if request.method != "POST" || !is_json {
        return Err("invalid_post_type");
    }
    let body = serde_json::from_slice(&request.body).ok();
    body.filter(Value::is_object).ok_or("invalid_arguments")
}

/// Counts a post against the rate.
fn take_turn(workspace: &mut Workspace) -> Result<(), &'static str> {
    let now = Instant::now();
    let wait = workspace.pause.zip(workspace.last_post);
    if wait.is_some_and(|(pause, last)| now.duration_since(last) < pause) {
        return Err("ratelimited");
    }
    workspace.last_post = Some(now);
    Ok(())
}

/// Returns the seconds of a pause, rounded up.
fn retry_after(workspace: &Workspace) -> u64 {
    let pause = workspace.pause.unwrap_or_default();
    pause.as_secs() + u64::from(pause > Duration::from_secs(pause.as_secs()))
}

fn store(workspace: &mut Workspace, body: Value, thread_ts: Option<String>) -> String {
    let ts = workspace.next_ts();
    let metadata = body.get("metadata").cloned();
    workspace.store(Message { ts: ts.clone(), thread_ts, body, metadata, updates: 0 });
    ts
}

/// Query of a method that reads.
struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn of(request: &'a Request) -> Self {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Returns the page of messages that the query asks for.
    fn page(&self, messages: &[&Message]) -> Outcome {
        let number = |name: &str| self.get(name).map(|text| text.parse::<usize>());
        let limit = number("limit").unwrap_or(Ok(100)).map_err(|_| "invalid_limit")?;
        let start = self.get("cursor").map(|cursor| cursor.trim_start_matches("page=").parse());
        let start = start.unwrap_or(Ok(0)).map_err(|_| "invalid_cursor")?;
        let oldest = self.get("oldest").map(|text| text.parse::<f64>()).transpose();
        let oldest = oldest.map_err(|_| "invalid_ts_oldest")?.unwrap_or_default();
        let is_later = |message: &&&Message| message.ts.parse::<f64>().is_ok_and(|ts| ts > oldest);
        let later: Vec<_> = messages.iter().filter(is_later).collect();
        let limit = limit.clamp(1, PAGE);
        let with_payload = self.get("include_all_metadata").as_deref() == Some("true");
        let shown = later.iter().skip(start).take(limit);
        let shown: Vec<_> = shown.map(|message| shown_message(message, with_payload)).collect();
        let end = start + shown.len();
        let has_more = end < later.len();
        let cursor = if has_more { format!("page={end}") } else { String::new() };
        Ok(json!({
            "messages": shown,
            "has_more": has_more,
            "response_metadata": {"next_cursor": cursor},
        }))
    }
}

fn shown_message(message: &Message, with_payload: bool) -> Value {
    let mut shown = json!({
        "type": "message",
        "subtype": "bot_message",
        "bot_id": "B0001",
        "ts": message.ts,
        "text": message.text(),
        "attachments": message.body["attachments"],
    });
    if let Some(ts) = &message.thread_ts {
        shown["thread_ts"] = ts.as_str().into();
    }
    if let Some(metadata) = &message.metadata {
        shown["metadata"] = metadata.clone();
        if !with_payload {
            shown["metadata"]["event_payload"] = json!({});
        }
    }
    shown
}

fn json_answer(status: u16, body: &Value) -> Answer {
    let content_type = "application/json; charset=utf-8";
    Answer { status, headers: Vec::new(), content_type, body: body.to_string() }
}

fn text(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), content_type: "text/html", body: body.into() }
}
