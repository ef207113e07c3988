//! Makes the spans of a finished request.
//!
//! Attributes have the names of OpenTelemetry's conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>). Queries, bodies and headers other than
//! `user-agent` are left out: they may hold secrets.

use std::time::{Duration, UNIX_EPOCH};

use http::{Method, Version};

use super::{
    messages::{AnyValue, KeyValue, List, Span, SpanKind, Status, StatusCode, Value},
    request_trace::{Answered, Committed, Finished, Head, Judged},
    sampling::span_id,
};
use crate::{alert::PluginId, request::timeline::Moment};

/// A span within the one of the request, between two [moments](Moment).
struct Part {
    name: &'static str,
    /// Place of the span around it; none if that is the span of the request.
    within: Option<usize>,
    from: Moment,
    to: Moment,
}

/// The spans within that of a request, each after the one around it.
const PARTS: [Part; 8] = [
    part("read body", None, Moment::ReadBegan, Moment::ReadEnded),
    part("call plugin", None, Moment::CallBegan, Moment::Judged),
    part("wait for a thread", Some(CALL), Moment::CallBegan, Moment::Called),
    part("receive", Some(CALL), Moment::Called, Moment::Judged),
    part("commit", None, Moment::Submitted, Moment::Committed),
    part("wait for the writer", Some(COMMIT), Moment::Submitted, Moment::WriteBegan),
    part("write", Some(COMMIT), Moment::WriteBegan, Moment::Written),
    part("sync", Some(COMMIT), Moment::Written, Moment::Synced),
];
const CALL: usize = 1;
const COMMIT: usize = 4;

const fn part(name: &'static str, within: Option<usize>, from: Moment, to: Moment) -> Part {
    Part { name, within, from, to }
}

impl Part {
    /// Returns beginning and end, if the request has this part and had it before its end.
    fn times(&self, finished: &Finished) -> Option<(Duration, Duration)> {
        let timeline = &finished.trace.timeline;
        let (from, to) = (timeline.at(self.from)?, timeline.at(self.to)?);
        (from <= to && to <= finished.took).then_some((from, to))
    }

    /// Returns the attributes of its own, and its error.
    fn facts(&self, finished: &Finished) -> (Vec<KeyValue>, Option<String>) {
        let trace = &finished.trace;
        match (self.from, self.to, trace.judged.get()) {
            (Moment::CallBegan, Moment::Judged, Some(Judged { plugin, failure, .. })) => {
                let plugin = plugin.as_deref().map(|PluginId { name, version }| {
                    vec![
                        text("tocsin.plugin.name", &**name),
                        text("tocsin.plugin.version", &**version),
                    ]
                });
                (plugin.unwrap_or_default(), failure.clone())
            }
            (Moment::Submitted, ..) if self.within.is_none() => {
                let error = trace.committed.get().and_then(|committed| committed.as_ref().err());
                (Vec::new(), error.cloned())
            }
            _ => (Vec::new(), None),
        }
    }
}

/// Bits of [`Span::flags`]: it is known where the parent is, and the parent is elsewhere.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;
/// Flags of W3C Trace Context: the trace is recorded, and its id is random.
const SAMPLED: u32 = 1;
const RANDOM: u32 = 2;

/// Returns the number of spans of a request.
pub(super) fn span_count(finished: &Finished) -> u64 {
    1 + PARTS.iter().filter(|part| part.times(finished).is_some()).count() as u64
}

/// Adds the spans of a request: first its own, then those of [`PARTS`].
pub(super) fn add_spans(finished: &Finished, random: &mut fastrand::Rng, spans: &mut Vec<Span>) {
    let parent = &finished.trace.parent;
    let trace_id = parent.trace_id.to_be_bytes().to_vec();
    let began = finished.trace.began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = |since: Duration| u64::try_from((began + since).as_nanos()).unwrap_or(u64::MAX);
    let flags = match parent.parent_id {
        Some(_) => SAMPLED,
        None => SAMPLED | RANDOM,
    };
    let is_remote = if parent.parent_id.is_some() { PARENT_IS_REMOTE } else { 0 };
    let own_id = parent.span_id.to_be_bytes().to_vec();
    let parent_span_id = parent.parent_id.map(|id| id.to_be_bytes().to_vec());
    spans.push(Span {
        trace_id: trace_id.clone(),
        span_id: own_id.clone(),
        trace_state: parent.state.clone(),
        parent_span_id: parent_span_id.unwrap_or_default(),
        flags: flags | PARENT_IS_KNOWN | is_remote,
        name: name(&finished.trace.head),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: at(Duration::ZERO),
        end_time_unix_nano: at(finished.took),
        attributes: attributes(finished),
        status: status(finished),
    });
    let mut ids: [Option<Vec<u8>>; PARTS.len()] = Default::default();
    for (place, part) in PARTS.iter().enumerate() {
        let Some((from, to)) = part.times(finished) else { continue };
        let around = part.within.and_then(|around| ids[around].clone());
        let id = span_id(random).to_be_bytes().to_vec();
        ids[place] = Some(id.clone());
        let (attributes, error) = part.facts(finished);
        spans.push(Span {
            trace_id: trace_id.clone(),
            span_id: id,
            trace_state: parent.state.clone(),
            parent_span_id: around.unwrap_or_else(|| own_id.clone()),
            flags: flags | PARENT_IS_KNOWN,
            name: part.name.into(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: at(from),
            end_time_unix_nano: at(to),
            attributes,
            status: error.map(failed),
        });
    }
}

/// Returns the name of the request's span. It has the name of an integration only if there is one, since a
/// sender may ask for any.
fn name(head: &Head) -> String {
    let method = known_method(&head.method).unwrap_or("HTTP");
    match &head.integration {
        (name, true) => format!("{method} /in/{name}"),
        (_, false) => format!("{method} {ROUTE}"),
    }
}

const ROUTE: &str = "/in/{integration}";

/// Returns the method, if it is one of those that OpenTelemetry knows.
fn known_method(method: &Method) -> Option<&str> {
    const KNOWN: [Method; 9] = [
        Method::CONNECT,
        Method::DELETE,
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
        Method::POST,
        Method::PUT,
        Method::TRACE,
    ];
    KNOWN.contains(method).then(|| method.as_str())
}

fn attributes(finished: &Finished) -> Vec<KeyValue> {
    let (trace, head) = (&finished.trace, &finished.trace.head);
    let (integration, is_known) = &head.integration;
    let mut all = vec![
        text("tocsin.request_id", head.request_id.to_string()),
        text("http.request.method", known_method(&head.method).unwrap_or("_OTHER")),
        text("http.route", ROUTE),
        text("url.path", format!("/in/{integration}")),
        text("url.scheme", if head.is_tls { "https" } else { "http" }),
        text("network.protocol.version", version(head.version)),
        text("network.peer.address", head.peer.ip().to_canonical().to_string()),
        number("network.peer.port", head.peer.port().into()),
        text("client.address", head.sender.to_canonical().to_string()),
    ];
    if *is_known {
        all.push(text("tocsin.integration", &**integration));
    }
    if let Some(agent) = &head.user_agent {
        all.push(text("user_agent.original", &**agent));
    }
    if let Some(bytes) = trace.body_bytes.get() {
        all.push(number("http.request.body.size", count(*bytes)));
    }
    let judged = trace.judged.get().map(|judged| judged.outcome);
    let committed = trace.committed.get().and_then(|committed| committed.as_ref().ok());
    if let Some(outcome) = committed.map(|committed| committed.outcome).or(judged) {
        all.push(text("tocsin.outcome", outcome.as_str()));
    }
    if let Some(Committed { effects, alerts, .. }) = committed {
        all.push(number("tocsin.events", count(*effects)));
        let alerts = alerts.iter().map(|alert| Value::Number(alert.cast_signed()));
        let values = alerts.map(|value| AnyValue { value: Some(value) }).collect();
        all.push(attribute("tocsin.alerts", Value::List(List { values })));
    }
    match &finished.answered {
        Some(Answered { status, refusal }) => {
            all.push(number("http.response.status_code", status.as_u16().into()));
            if let Some((code, _)) = refusal {
                all.push(text("tocsin.refusal", *code));
                if status.is_server_error() {
                    all.push(text("error.type", *code));
                }
            }
        }
        None => all.push(text("error.type", "client_disconnected")),
    }
    all
}

/// Returns the status of the request's span: an error if the host failed, and unset if the sender did.
fn status(finished: &Finished) -> Option<Status> {
    match &finished.answered {
        Some(Answered { status, refusal }) => {
            let detail = refusal.as_ref().map(|(_, detail)| detail.clone());
            status.is_server_error().then(|| failed(detail.unwrap_or_default()))
        }
        None => Some(failed("the sender has hung up before the answer".into())),
    }
}

fn failed(message: String) -> Status {
    Status { message, code: StatusCode::Error.into() }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::Text(value.into()))
}

pub(super) fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::Number(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::Arc,
        time::{Instant, SystemTime},
    };

    use super::*;
    use crate::{
        request::{Effect, RequestOutcome, timeline::Timeline},
        traces::{request_trace::RequestTrace, sampling::TraceParent},
    };

    fn trace() -> RequestTrace {
        let parent =
            TraceParent { trace_id: 0xa1, parent_id: None, span_id: 0xb2, state: String::new() };
        let head = Head {
            request_id: ulid::Ulid::from(7),
            integration: ("ops".into(), true),
            method: Method::POST,
            version: Version::HTTP_11,
            user_agent: None,
            sender: [192, 0, 2, 1].into(),
            peer: ([127, 0, 0, 1], 4000).into(),
            is_tls: true,
        };
        RequestTrace::begin(parent, head)
    }

    /// Returns the spans of a trace that ends after an hour.
    fn spans(trace: RequestTrace, answered: Option<Answered>) -> Vec<Span> {
        let finished =
            Finished { trace: Arc::new(trace), took: Duration::from_secs(3600), answered };
        let mut spans = Vec::new();
        add_spans(&finished, &mut fastrand::Rng::with_seed(1), &mut spans);
        assert_eq!(spans.len() as u64, span_count(&finished));
        spans
    }

    fn attribute(span: &Span, key: &str) -> Option<Value> {
        let found = span.attributes.iter().find(|attribute| attribute.key == key);
        found.and_then(|found| found.value.clone()).and_then(|value| value.value)
    }

    fn answered(status: u16, refusal: Option<(&'static str, &str)>) -> Option<Answered> {
        let status = http::StatusCode::from_u16(status).expect("a status");
        let refusal = refusal.map(|(code, detail)| (code, detail.to_owned()));
        Some(Answered { status, refusal })
    }

    #[test]
    fn spans_are_nested_as_their_times_are() {
        let trace = trace();
        let began = trace.timeline.began();
        let at = |seconds| began + Duration::from_secs(seconds);
        for (moment, seconds) in [
            (Moment::ReadBegan, 1),
            (Moment::ReadEnded, 2),
            (Moment::CallBegan, 2),
            (Moment::Submitted, 5),
            (Moment::WriteBegan, 6),
            (Moment::Written, 7),
            (Moment::Synced, 8),
        ] {
            trace.timeline.note_at(moment, at(seconds));
        }
        let call = (RequestOutcome::Events, None);
        trace.judged(at(5), None, Some(Duration::from_secs(2)), call);
        trace.timeline.note_at(Moment::Committed, at(9));
        let spans = spans(trace, answered(200, None));
        let start = spans[0].start_time_unix_nano;
        let seconds = |time: u64| (Duration::from_nanos(time - start)).as_secs_f64().round();
        let names: BTreeMap<_, _> =
            spans.iter().map(|span| (span.span_id.clone(), span.name.as_str())).collect();
        let listed: Vec<_> = spans
            .iter()
            .map(|span| {
                let parent = names.get(&span.parent_span_id).copied().unwrap_or_default();
                let (from, to) = (span.start_time_unix_nano, span.end_time_unix_nano);
                format!("{} in {parent}: {} to {}", span.name, seconds(from), seconds(to))
            })
            .collect();
        insta::assert_snapshot!(listed.join("\n"), @r"
        POST /in/ops in : 0 to 3600
        read body in POST /in/ops: 1 to 2
        call plugin in POST /in/ops: 2 to 5
        wait for a thread in call plugin: 2 to 3
        receive in call plugin: 3 to 5
        commit in POST /in/ops: 5 to 9
        wait for the writer in commit: 5 to 6
        write in commit: 6 to 7
        sync in commit: 7 to 8
        ");
        assert!(spans.iter().all(|span| span.trace_id == 0xa1_u128.to_be_bytes()));
    }

    #[test]
    fn a_step_that_ends_after_the_sender_has_hung_up_has_no_span() {
        let trace = trace();
        trace.note(Moment::CallBegan);
        trace.timeline.note_at(Moment::Judged, Instant::now() + Duration::from_secs(7200));
        let spans = spans(trace, None);
        assert_eq!(spans.len(), 1);
        let error = spans[0].status.as_ref().expect("a status");
        assert_eq!(error.message, "the sender has hung up before the answer");
        let kind = Some(Value::Text("client_disconnected".into()));
        assert_eq!(attribute(&spans[0], "error.type"), kind);
        assert_eq!(attribute(&spans[0], "http.response.status_code"), None);
    }

    #[test]
    fn failures_of_plugin_and_store_are_errors_of_their_spans() {
        let trace = trace();
        trace.note(Moment::CallBegan);
        let failure = (RequestOutcome::Failed, Some("the plugin panicked"));
        trace.judged(Instant::now(), None, None, failure);
        let _ = trace.submitted();
        trace.committed(RequestOutcome::Failed, Err(&crate::store::StoreError::Closed));
        let spans = spans(trace, answered(503, Some(("store_unavailable", "it is closed"))));
        let errors: Vec<_> = spans
            .iter()
            .map(|span| (&*span.name, span.status.as_ref().map_or("", |it| &*it.message)))
            .collect();
        assert_eq!(
            errors,
            [
                ("POST /in/ops", "it is closed"),
                ("call plugin", "the plugin panicked"),
                ("commit", "the store is closed"),
            ]
        );
        assert_eq!(attribute(&spans[0], "url.scheme"), Some(Value::Text("https".into())));
    }

    #[test]
    fn a_webhook_in_a_maintenance_says_so_and_names_no_more_than_ten_alerts() {
        let trace = trace();
        let mut effects: Vec<_> = (1..=20).map(Effect::Opened).collect();
        effects.push(Effect::Suppressed);
        let _ = trace.submitted();
        trace.committed(RequestOutcome::Events, Ok(&effects));
        let spans = spans(trace, answered(200, None));
        let outcome = Some(Value::Text("maintenance".into()));
        assert_eq!(attribute(&spans[0], "tocsin.outcome"), outcome);
        assert_eq!(attribute(&spans[0], "tocsin.events"), Some(Value::Number(21)));
        let Some(Value::List(alerts)) = attribute(&spans[0], "tocsin.alerts") else { panic!() };
        assert_eq!(alerts.values.len(), 10);
    }

    #[test]
    fn texts_of_a_sender_are_bounded_and_unknown_names_are_in_no_name_of_a_span() {
        assert_eq!(Head::bounded(&"x".repeat(1000)).len(), 256);
        let mut strange = trace();
        strange.head.method = Method::from_bytes(b"BREW").expect("a method");
        strange.head.integration = ("no such".into(), false);
        let spans = spans(strange, answered(404, Some(("unknown_integration", "there is none"))));
        assert_eq!((&*spans[0].name, &spans[0].status), ("HTTP /in/{integration}", &None));
        assert_eq!(attribute(&spans[0], "http.request.method"), Some(Value::Text("_OTHER".into())));
        assert_eq!(attribute(&spans[0], "tocsin.integration"), None);
    }

    #[test]
    fn a_clock_before_1970_gives_times_from_zero() {
        let mut early = trace();
        early.began_at = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        early.timeline = Arc::new(Timeline::begin());
        assert_eq!(spans(early, answered(200, None))[0].start_time_unix_nano, 0);
    }
}
