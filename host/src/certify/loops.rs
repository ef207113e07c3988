//! The check `no-loop`: what a plugin sends does not open an alert if it comes back to the same plugin.
//!
//! A plugin alone shows no more than this. The text of an alert can also come back through a plugin of
//! another name, or through a chat that changes it: the loop guards of the host and of such plugins are
//! tested end to end, not here.

use tocsin_plugin_api::{manifest, step::Step};

use super::{
    attempts::attempted,
    context::{CheckContext, received},
    verdict::Verdict,
};
use crate::sandbox::{
    message::{Body, Bytes, Message},
    protocol::{MessageRun, Task},
};

/// The most requests that are sent back.
const MOST_MESSAGES: usize = 500;

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    if !context.has_capability(manifest::RECEIVE) {
        return Verdict::passed("the plugin receives nothing, so nothing comes back to it");
    }
    let sandbox = context.sandbox.clone();
    let baseline = context.baseline();
    let mut messages: Vec<Message> = Vec::new();
    for attempt in attempted(baseline) {
        for step in attempt.steps() {
            let Ok(Step::Send { request }) = step else { continue };
            let headers = request.headers.iter();
            let headers = headers
                .map(|header| (header.name.to_ascii_lowercase(), header.value.as_str().into()));
            messages.push(Message {
                name: attempt.message.name.clone(),
                options: attempt.message.options,
                headers: headers.collect(),
                body: Body::Whole(Bytes(request.body.into_bytes())),
                ..Message::default()
            });
        }
    }
    if messages.is_empty() {
        return Verdict::skipped("no attempt sent a request");
    }
    messages.truncate(MOST_MESSAGES);
    let options = baseline.options.clone();
    let run = MessageRun { options, messages: messages.clone(), ..MessageRun::default() };
    let record = sandbox.run(Task::Receive(run));
    let faults: Vec<_> = received(&record)
        .filter(|(_, outcome, _)| outcome.get("events").is_some())
        .map(|(index, _, _)| {
            format!(
                "takes its own message for news of an alert: what it sent for `{}` came back",
                messages[index].name
            )
        })
        .collect();
    if faults.is_empty()
        && let Some(death) = &record.death
    {
        return Verdict::failed(format!("{death}, receiving its own messages"));
    }
    Verdict::of_faults(&faults, format!("none of {} own messages opened an alert", messages.len()))
}
