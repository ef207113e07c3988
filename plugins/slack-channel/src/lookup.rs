//! Search for a message of a delivery in doubt: requests, and the delivery's id in the metadata of messages.
//!
//! See <https://docs.slack.dev/reference/methods/conversations.history> and
//! <https://docs.slack.dev/reference/methods/conversations.replies>.

use serde_json::Value;
use tocsin_plugin_api::notification::{Notification, Subject, Time};

use crate::message::EVENT_TYPE;

/// Messages of one answer. Slack gives some apps fewer.
pub(crate) const PAGE: u32 = 200;

/// Seconds by which the clocks of host and server may differ.
const CLOCKS_DIFFER: i64 = 300;

/// Returns the timestamp of the message that has the id of a delivery. `except` is the timestamp of a
/// message that does not count.
pub(crate) fn found(answer: &Value, delivery_id: &str, except: Option<&str>) -> Option<String> {
    let mut messages = answer.get("messages")?.as_array()?.iter();
    let found = messages.find(|message| {
        let metadata = &message["metadata"];
        metadata["event_type"] == EVENT_TYPE
            && metadata["event_payload"]["delivery_id"] == delivery_id
            && message["ts"].as_str() != except
    })?;
    Some(found["ts"].as_str()?.to_owned())
}

/// Returns the cursor of the next page.
pub(crate) fn next_page(answer: &Value) -> Option<&str> {
    let cursor = answer.get("response_metadata")?.get("next_cursor")?.as_str()?;
    Some(cursor).filter(|cursor| !cursor.is_empty())
}

/// Returns the time since which the message can be in the channel, in seconds: the delivery's id is a ULID,
/// which begins with the time at which the delivery was made.
pub(crate) fn oldest(notification: &Notification) -> i64 {
    let made =
        ulid_time(&notification.delivery_id).unwrap_or_else(|| match &notification.subject {
            Subject::Alert(alert) => alert.created_at,
            _ => notification.attempted_at.plus_seconds(-24 * 60 * 60),
        });
    made.min(notification.attempted_at).unix_seconds().saturating_sub(CLOCKS_DIFFER).max(0)
}

/// Returns the time in a ULID (<https://github.com/ulid/spec>).
fn ulid_time(id: &str) -> Option<Time> {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if id.len() != 26 || !id.is_ascii() {
        return None;
    }
    let milliseconds = id.bytes().take(10).try_fold(0_i64, |milliseconds, letter| {
        let digit = ALPHABET.iter().position(|known| *known == letter.to_ascii_uppercase())?;
        Some(milliseconds * 32 + i64::try_from(digit).ok()?)
    })?;
    Some(Time::from_unix_milliseconds(milliseconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tocsin_plugin_api::{
        Urgency,
        notification::{Alert, Kind},
    };

    use super::*;

    #[test]
    fn only_the_message_with_the_id_is_found() {
        let message = |ts: &str, kind: &str, id: &str| json!({"ts": ts, "metadata": {"event_type": kind, "event_payload": {"delivery_id": id}}});
        let answer = json!({"ok": true, "messages": [
            {"ts": "5", "text": "hello"},
            message("4", "tocsin_alert", "d2"),
            message("3", "other_app", "d1"),
            message("2", "tocsin_alert", "d1"),
            message("1", "tocsin_alert", "d1"),
        ]});
        assert_eq!(found(&answer, "d1", None).as_deref(), Some("2"));
        assert_eq!(found(&answer, "d1", Some("2")).as_deref(), Some("1"));
        assert_eq!(found(&answer, "d3", None), None);
        assert_eq!(found(&json!({"messages": 7}), "d1", None), None);
    }

    #[test]
    fn the_search_begins_when_the_delivery_was_made() {
        // The example of the specification: 2016-07-30T23:54:10.259Z.
        let made = ulid_time("01ARZ3NDEKTSV4RRFFQ69G5FAV").expect("a ULID");
        assert_eq!(made.unix_milliseconds(), 1_469_922_850_259);
        let news = |id: &str, at: i64| {
            let opened = Time::from_unix_seconds(1000);
            let alert = Alert::new(1, "t", Urgency::Low, opened);
            oldest(&Notification::new(id, Kind::Opened, alert, Time::from_unix_seconds(at)))
        };
        assert_eq!(news("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_600_000_000), 1_469_922_850 - 300);
        assert_eq!(news("no ULID", 1_600_000_000), 700);
        assert_eq!(news("no ULID", 10), 0);
    }
}
