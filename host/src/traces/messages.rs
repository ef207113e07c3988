//! The messages of OTLP that the host sends and reads, with the fields that it uses.
//!
//! Names and numbers of the fields are those of opentelemetry-proto 1
//! (<https://github.com/open-telemetry/opentelemetry-proto>).

use prost::{Enumeration, Message, Oneof};

/// `ExportTraceServiceRequest` of `collector/trace/v1`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

/// `ExportTraceServiceResponse` of `collector/trace/v1`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess` of `collector/trace/v1`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// Spans of one host.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

/// Description of a host.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

/// Spans that one program has made.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
}

/// `InstrumentationScope`: name and version of the program.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

/// Span. Times are nanoseconds since 1970.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(enumeration = "SpanKind", tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

/// Kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
pub(super) enum SpanKind {
    Unspecified = 0,
    Internal = 1,
    Server = 2,
}

/// Status of a span.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(enumeration = "StatusCode", tag = "3")]
    pub(super) code: i32,
}

/// Code of a [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
pub(super) enum StatusCode {
    Unset = 0,
    Error = 2,
}

/// Attribute of a span or a resource.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

/// Value of an attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3, 5")]
    pub(super) value: Option<Value>,
}

/// Kinds of an [`AnyValue`].
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
    #[prost(message, tag = "5")]
    List(List),
}

/// `ArrayValue`: a list of values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct List {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<AnyValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: Value) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn messages_have_the_bytes_that_the_library_of_opentelemetry_writes() {
        let list = List { values: value(Value::Number(7)).into_iter().collect() };
        let span = Span {
            trace_id: (1..=16).collect(),
            span_id: (1..=8).collect(),
            trace_state: "a=1".into(),
            parent_span_id: (9..=16).collect(),
            name: "POST /in/ops".into(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: 1_764_000_000_000_000_000,
            end_time_unix_nano: 1_764_000_000_000_000_017,
            attributes: vec![
                KeyValue { key: "n".into(), value: value(Value::Number(-1)) },
                KeyValue { key: "l".into(), value: value(Value::List(list)) },
            ],
            status: Some(Status { message: "failed".into(), code: StatusCode::Error.into() }),
            flags: 0x301,
        };
        let name = value(Value::Text("tocsin".into()));
        let resource =
            Resource { attributes: vec![KeyValue { key: "service.name".into(), value: name }] };
        let scope = Scope { name: "tocsin".into(), version: "1.0.0".into() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span] }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans }];
        // Written by the package opentelemetry-proto 1.45 of Python.
        let expected = concat!(
            "0ab0010a1a0a180a0c736572766963652e6e616d6512080a06746f6373696e1291010a0f0a06746f63",
            "73696e1205312e302e30127e0a100102030405060708090a0b0c0d0e0f10120801020304050607081a",
            "03613d312208090a0b0c0d0e0f102a0c504f5354202f696e2f6f70733002390000ca67a7fc7a184111",
            "00ca67a7fc7a184a100a016e120b18ffffffffffffffffff014a0b0a016c12062a040a0218077a0a12",
            "066661696c65641802850101030000",
        );
        assert_eq!(hex(&ExportRequest { resource_spans }.encode_to_vec()), expected);

        let partial_success =
            Some(PartialSuccess { rejected_spans: 3, error_message: "too old".into() });
        let response = ExportResponse { partial_success };
        assert_eq!(hex(&response.encode_to_vec()), "0a0b08031207746f6f206f6c64");
    }
}
