//! Checks and bounds a plugin's [`Event`]s before they are [stored](crate::store).
//!
//! An event has the fields that its action needs, and no field of unlimited length. The store decides which
//! alert an event opens or changes.

use sha2::{Digest, Sha256};
use tocsin_plugin_api::{Action, outcome::Reply};

use crate::alert::{Event, cut};

/// Most events of one request. A request of more events is refused as a whole.
pub(crate) const MOST_EVENTS: usize = 100_000;
/// Most characters of a title. Further ones are cut off.
pub(crate) const LONGEST_TITLE: usize = 1024;
/// Most characters of a description or a link. Further ones are cut off.
pub(crate) const LONGEST_TEXT: usize = 64 * 1024;
/// Most bytes of a key. A longer key is replaced by its hash, since two keys could be equal once cut.
pub(crate) const LONGEST_KEY: usize = 512;

/// Most bytes of a reason, and of a reply with its content type.
pub(crate) const LONGEST_WORDS_BYTES: usize = 64 * 1024;

/// Cuts a reason that a plugin gave at [`LONGEST_WORDS_BYTES`], and says so at its end.
pub(crate) fn bounded_reason(mut reason: String) -> String {
    let length = reason.len();
    if length > LONGEST_WORDS_BYTES {
        reason.truncate(reason.floor_char_boundary(LONGEST_WORDS_BYTES));
        reason.push_str(&format!("... (cut: the plugin gave {length} bytes)"));
    }
    reason
}

/// Drops a [`Reply`] of more than [`LONGEST_WORDS_BYTES`], and returns a remark for the operator in its
/// place.
pub(crate) fn bounded_reply(reply: Option<Reply>) -> (Option<Reply>, Option<String>) {
    let length = reply.as_ref().map_or(0, |reply| reply.content_type.len() + reply.body.len());
    if length <= LONGEST_WORDS_BYTES {
        return (reply, None);
    }
    let remark = format!(
        "the plugin's reply was not sent: it has {length} bytes, more than {LONGEST_WORDS_BYTES}"
    );
    (None, Some(remark))
}

/// Reason why the events of a request are not stored, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventsError {
    /// The request has more events than [`MOST_EVENTS`].
    #[error("the plugin made {0} events of one request, more than {MOST_EVENTS}")]
    TooMany(usize),
    /// An event lacks a field that its action needs, or has an unknown action.
    #[error("{0}")]
    Unusable(&'static str),
}

/// Checks and bounds the [`Event`]s of one request.
///
/// # Errors
///
/// If there are too many events, or one of them is [unusable](EventsError::Unusable).
pub(crate) fn bounded(mut events: Vec<Event>) -> Result<Vec<Event>, EventsError> {
    if events.len() > MOST_EVENTS {
        return Err(EventsError::TooMany(events.len()));
    }
    events.iter_mut().try_for_each(bound).map_err(EventsError::Unusable)?;
    Ok(events)
}

fn bound(event: &mut Event) -> Result<(), &'static str> {
    match event.action {
        Action::Create if event.title.trim().is_empty() => {
            return Err("the plugin made an alert without a title");
        }
        Action::Acknowledge | Action::Resolve if event.dedup_key.is_none() => {
            return Err("the plugin acknowledges or resolves without a `dedup_key`");
        }
        Action::Create | Action::Acknowledge | Action::Resolve => {}
        _ => return Err("the plugin asks for an action that this host does not know"),
    }
    cut(&mut event.title, LONGEST_TITLE);
    for text in [&mut event.description, &mut event.link] {
        *text = text.take().filter(|text| !text.is_empty());
    }
    for text in [&mut event.description, &mut event.link].into_iter().flatten() {
        cut(text, LONGEST_TEXT);
    }
    for key in [&mut event.dedup_key, &mut event.event_id] {
        // An empty key counts as none: it would join unrelated events in one alert.
        *key = key.take().filter(|key| !key.is_empty()).map(bound_key);
    }
    Ok(())
}

fn bound_key(key: String) -> String {
    if key.len() <= LONGEST_KEY {
        return key;
    }
    let hash: String = Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::Event;

    use super::*;

    fn within_bounds(events: Vec<Event>) -> Result<Vec<crate::alert::Event>, EventsError> {
        bounded(events.into_iter().map(Into::into).collect())
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let event = Event::create("é".repeat(2000)).description("x".repeat(100_000));
        let bounded = within_bounds(vec![event]).expect("it is cut");
        assert_eq!(bounded[0].title, "é".repeat(LONGEST_TITLE));
        assert_eq!(bounded[0].description.as_ref().map(String::len), Some(LONGEST_TEXT));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters_and_says_so() {
        let short = "é".repeat(LONGEST_WORDS_BYTES / 2);
        assert_eq!(bounded_reason(short.clone()), short);
        let long = bounded_reason(format!("x{short}"));
        assert!(long.len() < LONGEST_WORDS_BYTES + 100, "{}", long.len());
        assert!(long.ends_with("é... (cut: the plugin gave 65537 bytes)"), "{}", &long[65_000..]);
    }

    #[test]
    fn a_long_reply_is_not_sent() {
        let reply = |length| Reply { content_type: "text/plain".into(), body: "x".repeat(length) };
        let whole = Some(reply(LONGEST_WORDS_BYTES - 10));
        assert_eq!(bounded_reply(whole.clone()), (whole, None));
        let (none, remark) = bounded_reply(Some(reply(LONGEST_WORDS_BYTES - 9)));
        assert_eq!(none, None);
        insta::assert_snapshot!(remark.unwrap_or_default(), @"the plugin's reply was not sent: it has 65537 bytes, more than 65536");
    }

    #[test]
    fn long_keys_stay_different() {
        let key = |end| format!("{}{end}", "k".repeat(1000));
        let event = |end| Event::create("x").dedup_key(key(end)).event_id("");
        let bounded = within_bounds(vec![event("a"), event("b")]).expect("it is bounded");
        assert_ne!(bounded[0].dedup_key, bounded[1].dedup_key);
        assert!(bounded[0].dedup_key.as_ref().is_some_and(|key| key.starts_with("sha256:")));
        assert_eq!(bounded[0].event_id, None);
    }

    #[test]
    fn refuses_events_without_the_fields_that_their_action_needs() {
        assert!(within_bounds(vec![Event::create(" ")]).is_err());
        assert!(within_bounds(vec![Event::default()]).is_err());
        assert!(
            within_bounds(vec![{
                let mut resolve = Event::resolve("k");
                resolve.dedup_key = None;
                resolve
            }])
            .is_err()
        );
    }

    #[test]
    fn accepts_a_hundred_thousand_events_and_no_more() {
        let events = |count: usize| within_bounds(vec![Event::create("x"); count]);
        assert_eq!(events(100_000).map(|events| events.len()), Ok(100_000));
        let error = events(100_001).expect_err("too many");
        assert_eq!(error, EventsError::TooMany(100_001));
        assert_eq!(
            error.to_string(),
            "the plugin made 100001 events of one request, more than 100000"
        );
    }
}
