//! One attempt: the requests that a notifier wants sent, their answers, and the verdict.
//!
//! The store and the schedule are no part of an attempt. An [`Ended`] says what happened, and a dispatcher
//! decides what follows.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::Value;
use tocsin_plugin_api::{
    notification::Notification,
    step::{HttpAnswer, HttpRequest, MOST_REQUESTS, NotifyCall, Step},
};
use tokio::time::Instant;

use super::{
    clock::Clock,
    exchange::{self, Secrets},
    schedule::retry_after,
};
use crate::{
    call::CallFailure,
    delivery::AttemptRequest,
    events::bounded_reason,
    hosts::post::OnDuty,
    outbound::{OutboundRequest, SendFailure, Sent},
    printable::one_line,
    redaction::Redactor,
    system::fault_injection,
};

/// Result that is on its way.
pub(super) type Coming<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A notifier that can be asked for the next step of an attempt.
pub(super) trait AskNotifier: Send + Sync {
    /// Asks for the next [`Step`].
    fn next(&self, call: NotifyCall) -> Coming<Result<Step, CallFailure>>;
}

/// A way to send requests to one destination.
pub(super) trait SendRequest: Send + Sync {
    /// Sends one request.
    fn send(&self, request: OutboundRequest) -> Coming<Sent>;
}

/// A destination as an attempt needs it.
pub(super) struct Line<'a> {
    /// The notifier.
    pub notifier: &'a dyn AskNotifier,
    /// The way of its requests.
    pub sender: &'a dyn SendRequest,
    /// The secrets among its options.
    pub redactor: &'a Redactor,
    /// The time, for dates in answers.
    pub clock: &'a Clock,
    /// The duty of the destination. No request is sent while another host may deliver to it.
    pub on_duty: &'a OnDuty,
}

/// End of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    /// Records of the requests, in order, without secrets.
    pub requests: Vec<AttemptRequest>,
    /// Verdict.
    pub verdict: Verdict,
    /// Waiting time that the last answer asks for.
    pub retry_after: Option<Duration>,
    /// True if the last answer was 429.
    pub too_many: bool,
}

/// Verdict of an attempt. Reasons hold no secrets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The destination has the news.
    Delivered {
        /// New value of the notifier; none to keep the present one.
        state: Option<Value>,
    },
    /// A later attempt may succeed.
    Retry {
        /// Reason.
        reason: String,
        /// Shortest time to wait, if the notifier knows one.
        at_least: Option<Duration>,
        /// True if the destination may have the news.
        in_doubt: bool,
    },
    /// The delivery can never succeed.
    Rejected(String),
    /// No delivery to the destination can succeed before an operator changes something.
    DestinationBroken(String),
}

/// Makes one attempt. Sets `has_sent` before the first request is sent: from then on, an attempt that is
/// broken off is in doubt.
pub(super) async fn attempt(
    line: &Line<'_>,
    notification: &Notification,
    has_sent: &AtomicBool,
) -> Ended {
    let mut conversation = Conversation {
        line,
        answers: Vec::new(),
        records: Vec::new(),
        secrets: Vec::new(),
        last: None,
    };
    let verdict = loop {
        match conversation.step(notification).await {
            Ok(request) => {
                line.on_duty.certain().await;
                has_sent.store(true, Ordering::Release);
                if let Err(verdict) = conversation.send(request).await {
                    break verdict;
                }
            }
            Err(verdict) => break verdict,
        }
    };
    let Conversation { records, last, .. } = conversation;
    let (retry_after, too_many) = last.unwrap_or_default();
    Ended { requests: records, verdict, retry_after, too_many }
}

/// The requests of an attempt and their answers so far.
struct Conversation<'a> {
    line: &'a Line<'a>,
    answers: Vec<HttpAnswer>,
    records: Vec<AttemptRequest>,
    /// The secrets of the requests so far.
    secrets: Vec<Secrets<'a>>,
    /// The waiting time that the last answer asks for, and true if its status was 429.
    last: Option<(Option<Duration>, bool)>,
}

impl Conversation<'_> {
    /// Asks the notifier for the next request. The error is the verdict.
    async fn step(&self, notification: &Notification) -> Result<HttpRequest, Verdict> {
        let call = NotifyCall::Next {
            notification: Box::new(notification.clone()),
            answers: self.answers.clone(),
        };
        let step = self.line.notifier.next(call).await.map_err(|failure| {
            let reason = self.shown(&failure.to_string());
            if self.answers.len() >= MOST_REQUESTS && matches!(failure, CallFailure::Unusable(_)) {
                // Another attempt would send as many requests again, for nothing.
                return Verdict::Rejected(reason);
            }
            // The destination may have the news even if the notifier fails as it reads the answer.
            let in_doubt = !self.answers.is_empty();
            let at_least = match failure {
                CallFailure::BackingOff(left) => Some(left),
                _ => None,
            };
            Verdict::Retry { reason, at_least, in_doubt }
        })?;
        match step {
            Step::Send { .. } if self.answers.len() >= MOST_REQUESTS => Err(Verdict::Rejected(
                format!("the notifier asked for more than {MOST_REQUESTS} requests in one attempt"),
            )),
            Step::Send { request } => Ok(request),
            Step::Delivered { state } => Err(Verdict::Delivered { state }),
            Step::Retry { reason, after_seconds, in_doubt } => Err(Verdict::Retry {
                reason: self.shown(&reason),
                at_least: after_seconds.map(Duration::from_secs),
                in_doubt,
            }),
            Step::Rejected { reason } => Err(Verdict::Rejected(self.shown(&reason))),
            Step::DestinationBroken { reason } => {
                Err(Verdict::DestinationBroken(self.shown(&reason)))
            }
            _ => Err(Verdict::Rejected(
                "the notifier gave a step that this host does not know".into(),
            )),
        }
    }

    /// Sends a request and keeps its answer. The error is the verdict if there is none.
    async fn send(&mut self, request: HttpRequest) -> Result<(), Verdict> {
        let secrets = Secrets::of(&request, self.line.redactor);
        let outbound = exchange::outbound(&request).map_err(|wrong| {
            let reason = secrets.remove(&wrong);
            Verdict::Rejected(format!("the notifier's request cannot be sent: {reason}"))
        })?;
        fault_injection::point("delivery-before-send");
        let began = Instant::now();
        let Sent { result, .. } = self.line.sender.send(outbound).await;
        fault_injection::point("delivery-sent");
        let mut record = exchange::record(&request, &secrets, began.elapsed());
        let sent = match result {
            Ok(answer) => {
                record.status = Some(answer.status.as_u16());
                record.answer = exchange::beginning(&answer.body, &secrets);
                let asked = answer.headers.get(http::header::RETRY_AFTER);
                let asked = asked.and_then(|value| value.to_str().ok());
                let wait =
                    asked.and_then(|value| retry_after(value, self.line.clock.time_of_day()));
                self.last = Some((wait, answer.status == http::StatusCode::TOO_MANY_REQUESTS));
                self.answers.push(exchange::answer(&request, &answer));
                Ok(())
            }
            Err(failure) => {
                self.last = None;
                let (reason, in_doubt) = match failure {
                    SendFailure::Forbidden(problem) => (problem.one_line(), false),
                    SendFailure::NotSent(reason) => (reason, false),
                    SendFailure::InDoubt(reason) | SendFailure::BadAnswer(reason) => (reason, true),
                };
                let reason = secrets.remove(&one_line(&reason));
                record.answer.clone_from(&reason);
                // An earlier request of the attempt may have told the news.
                let in_doubt = in_doubt || !self.answers.is_empty();
                Err(Verdict::Retry { reason, at_least: None, in_doubt })
            }
        };
        self.records.push(record);
        self.secrets.push(secrets);
        sent
    }

    /// Returns a plugin's text as records show it: bounded, on one line, without secrets.
    fn shown(&self, text: &str) -> String {
        // An answer may repeat secrets of a request, and the notifier may repeat the answer.
        let clean = self.line.redactor.text(text);
        let clean = self.secrets.iter().fold(clean, |text, secrets| secrets.remove(&text));
        one_line(&bounded_reason(clean)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use tocsin_plugin_api::{
        Urgency,
        notification::{Alert, Kind, Time},
    };

    use super::*;
    use crate::{
        notify::pretended::{Notifier, Receiver, answer},
        problem::Problem,
    };

    fn notification() -> Notification {
        let alert = Alert::new(7, "disk full", Urgency::High, Time::from_unix_seconds(0));
        Notification::new("d1", Kind::Opened, alert, Time::from_unix_seconds(0))
    }

    async fn ended(notifier: &Notifier, receiver: &Receiver) -> Ended {
        let clock = Clock::following(|| Timestamp::UNIX_EPOCH);
        let redactor = Redactor::new(&["s3cret".to_owned()]);
        let line = Line {
            notifier,
            sender: receiver,
            redactor: &redactor,
            clock: &clock,
            on_duty: &OnDuty::always(),
        };
        let has_sent = AtomicBool::new(false);
        let ended = attempt(&line, &notification(), &has_sent).await;
        assert_eq!(has_sent.into_inner(), !receiver.requests().is_empty());
        ended
    }

    fn post() -> Step {
        Step::send(HttpRequest::new("post", "POST", "https://x.example/s3cret"))
    }

    #[tokio::test]
    async fn asks_the_notifier_after_each_answer_until_it_has_a_verdict() {
        let notifier = Notifier::new(|_, answers| match answers {
            [] => Ok(post()),
            [first] if first.status == 404 => Ok(post()),
            [_, second] => Ok(Step::delivered_with(json!(second.body))),
            _ => Ok(Step::rejected("confused")),
        });
        let receiver = Receiver::new(|turn| Ok(answer(if turn == 0 { 404 } else { 200 }, "ok")));
        let ended = ended(&notifier, &receiver).await;
        assert_eq!(ended.verdict, Verdict::Delivered { state: Some(json!("ok")) });
        let shown: Vec<_> = ended.requests.iter().map(|it| (it.url.as_str(), it.status)).collect();
        let url = "https://x.example/[blanked]";
        assert_eq!(shown, [(url, Some(404)), (url, Some(200))]);
    }

    #[tokio::test]
    async fn a_notifier_that_never_comes_to_an_end_is_stopped_after_five_requests() {
        let notifier = Notifier::new(|_, _| Ok(post()));
        let receiver = Receiver::new(|_| Ok(answer(200, "")));
        let ended = ended(&notifier, &receiver).await;
        let reason = "the notifier asked for more than 5 requests in one attempt";
        assert_eq!(ended.verdict, Verdict::Rejected(reason.into()));
        assert_eq!((ended.requests.len(), receiver.requests().len()), (5, 5));
    }

    #[tokio::test]
    async fn a_request_that_was_surely_not_sent_leaves_no_doubt() {
        let notifier = Notifier::new(|_, _| Ok(post()));
        let receiver = Receiver::new(|_| Err(SendFailure::NotSent("refused s3cret".into())));
        let ended = ended(&notifier, &receiver).await;
        let reason = "refused [blanked]".to_owned();
        assert_eq!(ended.requests[0].answer, reason);
        assert_eq!(ended.verdict, Verdict::Retry { reason, at_least: None, in_doubt: false });
    }

    #[tokio::test]
    async fn a_request_that_may_have_arrived_leaves_a_doubt() {
        for failure in
            [SendFailure::InDoubt("cut".into()), SendFailure::BadAnswer("no HTTP".into())]
        {
            let notifier = Notifier::new(|_, _| Ok(post()));
            let receiver = Receiver::new(move |_| Err(failure.clone()));
            let ended = ended(&notifier, &receiver).await;
            assert!(matches!(ended.verdict, Verdict::Retry { in_doubt: true, .. }), "{ended:?}");
        }
    }

    #[tokio::test]
    async fn an_earlier_request_of_the_attempt_that_arrived_leaves_a_doubt() {
        let notifier = Notifier::new(|_, _| Ok(post()));
        let receiver = Receiver::new(|turn| match turn {
            0 => Ok(answer(200, "")),
            _ => Err(SendFailure::NotSent("refused".into())),
        });
        let first = ended(&notifier, &receiver).await;
        assert!(matches!(first.verdict, Verdict::Retry { in_doubt: true, .. }), "{first:?}");
        let notifier = Notifier::new(|_, answers| match answers {
            [] => Ok(post()),
            _ => Err(CallFailure::Panicked("s3cret index".into())),
        });
        let receiver = Receiver::new(|_| Ok(answer(200, "")));
        let second = ended(&notifier, &receiver).await;
        let reason = "the plugin panicked: [blanked] index".to_owned();
        assert_eq!(second.verdict, Verdict::Retry { reason, at_least: None, in_doubt: true });
    }

    #[tokio::test]
    async fn a_refusal_of_the_guard_is_the_reason() {
        let notifier = Notifier::new(|_, _| Ok(post()));
        let problem = Problem::new("forbidden", "10.0.0.1 is private").with_hint("allow it");
        let receiver = Receiver::new(move |_| Err(SendFailure::Forbidden(problem.clone())));
        let ended = ended(&notifier, &receiver).await;
        let reason = "10.0.0.1 is private; hint: allow it".to_owned();
        assert_eq!(ended.verdict, Verdict::Retry { reason, at_least: None, in_doubt: false });
    }

    #[tokio::test]
    async fn the_last_answer_says_how_long_to_wait() {
        let notifier = Notifier::new(|_, answers| match answers {
            [] | [_] => Ok(post()),
            _ => Ok(Step::retry("busy")),
        });
        let receiver = Receiver::new(|turn| {
            let mut answer = answer(if turn == 0 { 200 } else { 429 }, "");
            let wait = if turn == 0 { "9" } else { "120" };
            answer.headers.insert("retry-after", wait.parse().expect("a value"));
            Ok(answer)
        });
        let ended = ended(&notifier, &receiver).await;
        assert_eq!(ended.retry_after, Some(Duration::from_secs(120)));
        assert!(ended.too_many);
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_called_is_tried_when_its_back_off_ends() {
        let left = Duration::from_secs(40);
        let notifier = Notifier::new(move |_, _| Err(CallFailure::BackingOff(left)));
        let receiver = Receiver::new(|_| Ok(answer(200, "")));
        let ended = ended(&notifier, &receiver).await;
        assert!(
            matches!(ended.verdict, Verdict::Retry { at_least, .. } if at_least == Some(left)),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_sent_is_dead_and_shows_no_secret() {
        let notifier = Notifier::new(|_, _| {
            Ok(Step::send(HttpRequest::new("post", "POST", "gopher://s3cret")))
        });
        let receiver = Receiver::new(|_| Ok(answer(200, "")));
        let clock = Clock::following(|| Timestamp::UNIX_EPOCH);
        let redactor = Redactor::new(&["s3cret".to_owned()]);
        let line = Line {
            notifier: &notifier,
            sender: &receiver,
            redactor: &redactor,
            clock: &clock,
            on_duty: &OnDuty::always(),
        };
        let ended = attempt(&line, &notification(), &AtomicBool::new(false)).await;
        let reason =
            "the notifier's request cannot be sent: its URL `gopher://[blanked]` is not valid";
        assert_eq!(ended.verdict, Verdict::Rejected(reason.into()));
    }
}
