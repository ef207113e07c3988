//! A receiver of traces, which speaks OTLP over HTTP, and the spans that it got.
//!
//! The messages are written from opentelemetry-proto once more, so that the host's own are compared with
//! them.

use std::{collections::BTreeMap, time::Duration};

use prost::{Message, Oneof};
use tocsin_tests::{
    receiver::{Arrived, Receiver, Reply},
    wait,
};

#[derive(Clone, PartialEq, Message)]
struct TracesData {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, required, tag = "1")]
    resource: Resource,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, required, tag = "2")]
    value: AnyValue,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
    #[prost(message, tag = "5")]
    List(List),
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

/// A span that a receiver got. Ids are written in hexadecimal digits, attributes as text.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace_id: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) name: String,
    /// 1 is internal, 2 a server.
    pub(crate) kind: i32,
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The message, if the status is an error.
    pub(crate) error: Option<String>,
    pub(crate) flags: u32,
    /// Attributes of the host.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Span {
    /// Returns an attribute, or nothing if it is missing.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// Returns a receiver that accepts all spans.
pub(crate) fn good() -> Receiver {
    Receiver::start(|_, _| accepted())
}

/// Returns the answer to spans that are all accepted.
pub(crate) fn accepted() -> Reply {
    let content_type = ("content-type", "application/x-protobuf".to_owned());
    Reply::Full(200, vec![content_type], String::new())
}

/// Returns the answer to spans of which this number is not accepted, for a reason of less than 100 bytes.
pub(crate) fn rejected(number: u8, reason: &str) -> Reply {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text") as char;
    let partial = format!("\x08{}\x12{}{reason}", number as char, length(reason));
    let body = format!("\x0a{}{partial}", length(&partial));
    let content_type = ("content-type", "application/x-protobuf".to_owned());
    Reply::Full(200, vec![content_type], body)
}

/// Returns the spans in a request.
pub(crate) fn spans_of(arrived: &Arrived) -> Vec<Span> {
    assert_eq!(arrived.header("content-type"), Some("application/x-protobuf"));
    let data = TracesData::decode(&*arrived.bytes).expect("a message of OTLP");
    let mut spans = Vec::new();
    for ResourceSpans { resource, scope_spans } in data.resource_spans {
        let resource = attributes(resource.attributes);
        let of_scopes = scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(of_scopes.map(|span| read(span, &resource)));
    }
    spans
}

/// Waits for the spans of a number of webhooks, and returns them.
#[track_caller]
pub(crate) fn wait_for_webhooks(receiver: &Receiver, count: usize) -> Vec<Span> {
    wait::until(&format!("the spans of {count} webhooks arrive"), || {
        let spans: Vec<_> = receiver.arrived().iter().flat_map(spans_of).collect();
        (spans.iter().filter(|span| span.kind == 2).count() >= count).then_some(spans)
    })
}

fn read(span: SpanMessage, resource: &BTreeMap<String, String>) -> Span {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Span {
        trace_id: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state,
        name: span.name,
        kind: span.kind,
        start: Duration::from_nanos(span.start_time_unix_nano),
        end: Duration::from_nanos(span.end_time_unix_nano),
        attributes: attributes(span.attributes),
        error: span.status.filter(|status| status.code == 2).map(|status| status.message),
        flags: span.flags,
        resource: resource.clone(),
    }
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    list.into_iter().map(|KeyValue { key, value }| (key, shown(value))).collect()
}

fn shown(AnyValue { value }: AnyValue) -> String {
    match value.expect("a value of a known kind") {
        Value::Text(text) => text,
        Value::Number(number) => number.to_string(),
        Value::List(List { values }) => values.into_iter().map(shown).collect::<Vec<_>>().join(","),
    }
}
