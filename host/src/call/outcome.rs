//! The outcome of a request, read from the JSON that a plugin returned.
//!
//! Nearly every outcome has events in the form that plugin-api writes. Such an outcome is read with its
//! details as they are. Any other one is read by plugin-api's own [`Outcome::from_json`], which also says
//! what is wrong with an invalid one: so both ways give the same.

use serde::Deserialize;
use tocsin_plugin_api::{
    error::Malformed,
    outcome::{Outcome, Reply},
};

use crate::alert::Event;

/// An [`Outcome`], with the host's own [`Event`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// See [`Outcome::Events`].
    Events {
        /// At least one event.
        events: Vec<Event>,
        /// The answer to the sender, instead of `{}`.
        reply: Option<Reply>,
    },
    /// See [`Outcome::Ignored`].
    Ignored {
        /// The reason.
        reason: String,
    },
    /// See [`Outcome::Unauthorized`].
    Unauthorized {
        /// The reason, for the operator.
        reason: String,
    },
    /// See [`Outcome::Malformed`].
    Malformed {
        /// The kind of fault.
        kind: Malformed,
        /// The reason, for the sender.
        reason: String,
    },
    /// See [`Outcome::Failed`].
    Failed {
        /// The reason, for the operator.
        reason: String,
    },
}

impl ReadOutcome {
    /// Reads the JSON of an outcome.
    ///
    /// # Errors
    ///
    /// If the JSON is not an outcome that this host knows.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        match serde_json::from_slice(json) {
            Ok(UsualOutcome { events, reply, .. }) if !events.is_empty() => {
                Ok(Self::Events { events, reply })
            }
            _ => Outcome::from_json(json).map(Self::from),
        }
    }
}

impl From<Outcome> for ReadOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Events { events, reply } => {
                Self::Events { events: events.into_iter().map(Event::from).collect(), reply }
            }
            Outcome::Ignored { reason } => Self::Ignored { reason },
            Outcome::Unauthorized { reason } => Self::Unauthorized { reason },
            Outcome::Malformed { kind, reason } => Self::Malformed { kind, reason },
            Outcome::Failed { reason } => Self::Failed { reason },
            _ => Self::Failed {
                reason: "the plugin returned an outcome that this host does not know".into(),
            },
        }
    }
}

/// An outcome with events in the form that plugin-api writes. Whatever can be read as this can be read as an
/// [`Outcome`], to the same effect.
#[derive(Deserialize)]
struct UsualOutcome<'j> {
    #[serde(rename = "outcome")]
    _outcome: Events,
    events: Vec<Event>,
    #[serde(default)]
    reply: Option<Reply>,
    /// Field of other outcomes. Without a use, but an outcome in which it is no text is invalid.
    #[serde(default, borrow, rename = "reason")]
    _reason: &'j str,
    /// As the reason.
    #[serde(default, borrow, rename = "kind")]
    _kind: Option<&'j str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Events {
    Events,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tocsin_plugin_api::{Received, Refusal, Urgency};

    use super::*;

    /// Reads an outcome as plugin-api does, for comparison.
    fn as_plugin_api_reads_it(json: &[u8]) -> Result<ReadOutcome, String> {
        Outcome::from_json(json).map(ReadOutcome::from).map_err(|error| error.to_string())
    }

    fn read(json: &[u8]) -> Result<ReadOutcome, String> {
        ReadOutcome::from_json(json).map_err(|error| error.to_string())
    }

    fn is_usual(json: &[u8]) -> bool {
        serde_json::from_slice::<UsualOutcome<'_>>(json).is_ok()
    }

    fn event() -> tocsin_plugin_api::Event {
        tocsin_plugin_api::Event::create("disk \"full\"\n")
            .description("on db1\u{1}")
            .urgency(Urgency::High)
            .dedup_key("k")
            .event_id("e")
            .link("http://db1/")
            .detail("Host", "db1\n")
            .detail("Host", "\u{1f600}")
    }

    #[test]
    fn events_as_plugins_write_them_keep_their_details_unread() {
        let reply = Reply { content_type: "text/plain".into(), body: "done".into() };
        let resolve = tocsin_plugin_api::Event::resolve("k");
        for received in
            [Received::from(event()), Received::events(vec![event(), resolve]).with_reply(reply)]
        {
            let json = Outcome::from(Ok(received)).to_json();
            assert!(is_usual(&json), "{}", String::from_utf8_lossy(&json));
            assert_eq!(read(&json), as_plugin_api_reads_it(&json));
        }
    }

    #[test]
    fn other_outcomes_are_read_as_before() {
        for outcome in [
            Outcome::from(Ok(Received::ignored("bot"))),
            Outcome::from(Err(Refusal::unauthorized("token"))),
            Outcome::from(Err(Refusal::unsupported_media_type("xml"))),
            Outcome::from(Err(Refusal::failed("broken"))),
        ] {
            assert_eq!(read(&outcome.clone().to_json()), Ok(outcome.into()));
        }
    }

    #[test]
    fn events_of_other_programs_are_read_to_the_same_effect() {
        let details = [
            r#"[]"#,
            r#"[ ]"#,
            r#"null"#,
            r#"{}"#,
            r#"[{"value":"b","label":"a"}]"#,
            r#"[{"label":"a","label":"a","value":"b"}]"#,
            r#"[{"label":"a","value":"b","unit":{"label":1e999}}]"#,
            r#"[{"label":"a","value":1e999}]"#,
            r#"[{"label":"\u0041\/","value":"\ud83d\ude00"}]"#,
            r#"[{"label":"\ud83d","value":"b"}]"#,
            r#"[{"label":"a"}]"#,
        ];
        for details in details {
            let json = format!(
                r#"{{"outcome":"events","events":[{{"title":"t","details":{details},"colour":1}}]}}"#
            );
            assert_eq!(read(json.as_bytes()), as_plugin_api_reads_it(json.as_bytes()), "{json}");
        }
        let outcomes = [
            r#"{"outcome":"events"}"#,
            r#"{"outcome":"events","events":[]}"#,
            r#"{"events":[{"title":"t"}]}"#,
            r#"{"outcome":"snoozed","events":[{"title":"t"}]}"#,
            r#"{"outcome":"ignored","reason":"r","events":[{"title":"t"}]}"#,
            r#"{"outcome":"events","events":[{"title":"t"}],"reason":null}"#,
            r#"{"outcome":"events","events":[{"title":"t"}],"reason":"\u0041"}"#,
            r#"{"outcome":"events","events":[{"title":"t"}],"kind":null}"#,
            r#"{"outcome":"events","events":[{"title":"t"}],"kind":1}"#,
            r#"{"outcome":"events","events":[{"title":"t"}],"reply":null}"#,
            r#"{"outcome":"events","events":[{"title":"t"}],"reply":{}}"#,
            r#"{"outcome":"events","events":[{"title":null}]}"#,
            r#"{"outcome":"events","events":[{"title":"t","action":"snooze"}]}"#,
            r#"{"outcome":"events","events":[{"title":"t","urgency":"catastrophic"}]}"#,
            r#"{"outcome":"events","events":[{"title":"t","urgency":null}]}"#,
            r#"{"outcome":"events","events":[{"title":"t","title":"t"}]}"#,
            r#"{"outcome":"events","events":[{"title":"t"}]} x"#,
            r#"[1]"#,
            "",
        ];
        for json in outcomes {
            assert_eq!(read(json.as_bytes()), as_plugin_api_reads_it(json.as_bytes()), "{json}");
        }
        let mut no_utf8 = Outcome::from(Ok(Received::from(event()))).to_json();
        for at in 0..no_utf8.len() {
            let byte = std::mem::replace(&mut no_utf8[at], 0xff);
            assert_eq!(read(&no_utf8), as_plugin_api_reads_it(&no_utf8), "byte {at}");
            no_utf8[at] = byte;
        }
    }

    proptest! {
        #[test]
        fn both_ways_of_reading_agree_on_any_text(
            at in any::<prop::sample::Index>(),
            put in prop::sample::select(vec![
                "\"", "\\", "\\u0000", "\\n", ",", "{", "}", "[", "]", ":", " ", "null", "1", "e", "",
            ]),
        ) {
            let json = Outcome::from(Ok(Received::events(vec![event(), event()]))).to_json();
            let mut json = String::from_utf8(json).expect("JSON is text");
            let at = json.floor_char_boundary(at.index(json.len()));
            let end = json.ceil_char_boundary(at + 1);
            json.replace_range(at..end, put);
            prop_assert_eq!(read(json.as_bytes()), as_plugin_api_reads_it(json.as_bytes()));
        }
    }
}
