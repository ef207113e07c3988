//! The meaning of a receiver's answer, by the rules of OTLP over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};
use prost::Message;

use super::messages::{ExportResponse, PartialSuccess};
use crate::outbound::{OutboundAnswer, SendFailure};

/// The meaning of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The spans were accepted, except for a number of them. A message may say why, or warn.
    Accepted {
        /// Number of spans that were not accepted.
        rejected: u64,
        /// The receiver's message, or empty.
        message: String,
    },
    /// Another attempt may succeed, after the time that the receiver asks for.
    Retry(String, Option<Duration>),
    /// No attempt will succeed.
    Refused(String),
}

impl Meaning {
    /// Reads the result of an attempt. `now` is the time for a date in `Retry-After`.
    pub(super) fn of(result: Result<OutboundAnswer, SendFailure>, now: SystemTime) -> Self {
        let answer = match result {
            Ok(answer) => answer,
            Err(failure @ SendFailure::Forbidden(_)) => return Self::Refused(failure.to_string()),
            Err(failure) => return Self::Retry(failure.to_string(), None),
        };
        match answer.status.as_u16() {
            200..=299 => match ExportResponse::decode(answer.body) {
                Ok(response) => Self::accepted(response.partial_success.unwrap_or_default()),
                Err(_) => Self::Refused(format!(
                    "the receiver answered {} with something other than OTLP",
                    answer.status.as_u16()
                )),
            },
            status @ (429 | 502 | 503 | 504) => {
                let wait = retry_after(&answer.headers, now);
                Self::Retry(format!("the receiver answered {status}"), wait)
            }
            status => Self::Refused(format!("the receiver answered {status}")),
        }
    }

    fn accepted(partial: PartialSuccess) -> Self {
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
        Self::Accepted { rejected, message: partial.error_message }
    }
}

/// Reads seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;
    use http::{HeaderValue, StatusCode};

    use super::*;
    use crate::problem::Problem;

    fn meaning(status: u16, retry_after: Option<&'static str>, body: impl Into<Bytes>) -> Meaning {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = OutboundAnswer { status, headers, body: body.into(), truncated: false };
        Meaning::of(Ok(answer), UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    fn response(rejected_spans: i64, error_message: &str) -> Vec<u8> {
        let error_message = error_message.into();
        let partial_success = Some(PartialSuccess { rejected_spans, error_message });
        ExportResponse { partial_success }.encode_to_vec()
    }

    fn accepted(rejected: u64, message: &str) -> Meaning {
        Meaning::Accepted { rejected, message: message.into() }
    }

    #[test]
    fn spans_are_accepted_all_or_in_part() {
        assert_eq!(meaning(200, None, ""), accepted(0, ""));
        assert_eq!(meaning(202, None, response(0, "")), accepted(0, ""));
        assert_eq!(meaning(200, None, response(3, "too old")), accepted(3, "too old"));
        assert_eq!(meaning(200, None, response(-3, "")), accepted(0, ""));
    }

    #[test]
    fn a_page_in_place_of_an_answer_is_no_success() {
        let Meaning::Refused(reason) = meaning(200, None, "<html>welcome</html>") else { panic!() };
        assert_eq!(reason, "the receiver answered 200 with something other than OTLP");
    }

    #[test]
    fn four_statuses_are_tried_again_after_the_time_that_the_receiver_asks_for() {
        for status in [429, 502, 503, 504] {
            let reason = format!("the receiver answered {status}");
            assert_eq!(meaning(status, None, "x"), Meaning::Retry(reason, None));
        }
        for (value, wait) in [
            ("7", Some(Duration::from_secs(7))),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(Duration::from_secs(10))),
            ("Sun, 06 Nov 1994 08:49:27 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            let reason = "the receiver answered 503".to_owned();
            assert_eq!(meaning(503, Some(value), ""), Meaning::Retry(reason, wait), "{value}");
        }
    }

    #[test]
    fn every_other_status_is_final_and_a_lost_connection_is_not() {
        for status in [301, 400, 401, 404, 413, 500, 501] {
            let reason = format!("the receiver answered {status}");
            assert_eq!(meaning(status, Some("1"), ""), Meaning::Refused(reason));
        }
        for failure in [SendFailure::NotSent("refused".into()), SendFailure::InDoubt("cut".into())]
        {
            let meaning = Meaning::of(Err(failure), UNIX_EPOCH);
            assert!(matches!(meaning, Meaning::Retry(_, None)), "{meaning:?}");
        }
        let forbidden = SendFailure::Forbidden(Problem::new("forbidden-address", "no"));
        assert_eq!(Meaning::of(Err(forbidden), UNIX_EPOCH), Meaning::Refused("no".into()));
    }
}
