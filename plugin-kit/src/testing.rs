//! Hostile requests for the tests of a plugin (feature `testing`).
//!
//! A host receives requests from strangers, so a plugin has to answer every request: it must not
//! panic, and its answer must be safe to show. [`check_receive`] asserts both for one request. The
//! strategies of [`mod@proptest`] in this module generate texts, content types and damaged bodies;
//! the plugin adds a strategy for bodies of its own format.
//!
//! ```
//! use proptest::{collection::vec, prelude::*};
//! use tocsin_plugin_api::prelude::*;
//! use tocsin_plugin_kit::testing::{check_receive, config, content_types, damaged, texts};
//! # #[derive(serde::Deserialize, schemars::JsonSchema)]
//! # struct Options {}
//! # struct PlainText;
//! # impl Integration for PlainText {
//! #     type Options = Options;
//! #     fn new(_: Options) -> Result<Self, OptionsError> { Ok(Self) }
//! #     fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
//! #         let text = tocsin_plugin_kit::body::utf8(request.body())?;
//! #         let Some(title) = tocsin_plugin_kit::text::one_line(text) else {
//! #             return Ok(Received::ignored("no text"));
//! #         };
//! #         Ok(Event::create(tocsin_plugin_kit::text::truncated(&title, 1024)).into())
//! #     }
//! # }
//! # tocsin_plugin_api::export_plugin!(PlainText);
//!
//! proptest! {
//!     #![proptest_config(config())]
//!
//!     # /*
//!     #[test]
//!     # */
//!     fn answers_any_bytes_of_any_type(
//!         content_type in content_types(&["text/plain"]),
//!         body in vec(any::<u8>(), 0..300),
//!     ) {
//!         let mut request = Request::post(&body);
//!         if let Some(content_type) = &content_type {
//!             request = request.with_header("content-type", content_type);
//!         }
//!         check_receive(&PlainText, &request)?;
//!     }
//!
//!     # /*
//!     #[test]
//!     # */
//!     fn answers_damaged_texts(body in damaged(texts(&["critical"]).prop_map(String::into_bytes))) {
//!         check_receive(&PlainText, &Request::post(&body))?;
//!     }
//! }
//! # answers_any_bytes_of_any_type();
//! # answers_damaged_texts();
//! ```

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use tocsin_plugin_api::{Action, Event, Received, Refusal, Request, capability::Receiver};

use crate::{
    characters::is_control_or_bidi,
    text::{TITLE_LIMIT_CHARS, is_blank},
};

/// Longest reason of a refusal that [`check_receive`] accepts, in bytes.
const REASON_LIMIT_BYTES: usize = 1000;

/// Pieces of text on which code that reads text tends to break.
const FRAGMENTS: [&str; 26] = [
    " ",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{1b}[31m",
    "\u{202E}",
    "\u{200D}",
    "\u{FEFF}",
    "\u{2800}",
    "\u{AD}",
    "\u{E0041}",
    "é",
    "\u{301}",
    "漢",
    "🔥",
    "x",
    "\"",
    "\\",
    ",",
    "=",
    "<b>",
    "&amp;",
    "http://",
    "https://x",
    "://",
];

/// Settings for tests that generate requests: 300 cases, and no file that records failures.
/// proptest prints the request that failed; add it to the plugin's fixtures.
pub fn config() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }
}

/// Generates texts from the given fragments, from fragments that are hostile to any format, and
/// from random characters. Give the words and marks that mean something in the plugin's format.
pub fn texts(fragments: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let own = if fragments.is_empty() { FRAGMENTS.to_vec() } else { fragments.to_vec() };
    let fragment = prop_oneof![
        4 => select(own).prop_map(str::to_owned),
        4 => select(&FRAGMENTS[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => ".{0,20}",
    ];
    vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

/// Generates texts of up to some 100 KiB, in which a few fragments repeat. See [`texts`] for
/// `fragments`.
pub fn long_texts(fragments: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let fragments = [fragments, &FRAGMENTS].concat();
    (vec(select(fragments), 1..6), 1..3_000_usize)
        .prop_map(|(fragments, times)| fragments.concat().repeat(times))
}

/// Generates values of the header `Content-Type`: none, one of the given ones, or random bytes.
pub fn content_types(supported: &[&'static str]) -> impl Strategy<Value = Option<Vec<u8>>> + use<> {
    let supported: Vec<_> = supported.iter().map(|it| Some(it.as_bytes().to_vec())).collect();
    prop_oneof![
        1 => Just(None),
        2 => select([supported, vec![None]].concat()),
        1 => vec(any::<u8>(), 0..20).prop_map(Some),
    ]
}

/// Damages bodies: inserts up to three random bytes, or cuts the end off.
pub fn damaged(body: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<Index>(), any::<Option<u8>>()), 0..4);
    (body, damage).prop_map(|(mut body, damage)| {
        for (at, byte) in damage {
            let at = at.index(body.len() + 1);
            match byte {
                Some(byte) => body.insert(at, byte),
                None => body.truncate(at),
            }
        }
        body
    })
}

/// Gives a request to a plugin and returns the answer, which the test can check further.
///
/// # Errors
///
/// If the plugin
///
/// - answers the same request differently the second time;
/// - fails ([`Refusal::Failed`]), or gives a reason that is empty, longer than 1,000 bytes or has
///   control characters;
/// - returns no event at all, or an event that is not fit to show: a new alert whose title is
///   blank, has white space at its ends, has control characters or is longer than
///   [`TITLE_LIMIT_CHARS`]; a description that is blank or has control characters other than line
///   feeds and tabs; a detail without a value.
pub fn check_receive<T: Receiver>(
    plugin: &T,
    request: &Request<'_>,
) -> Result<Result<Received, Refusal>, TestCaseError> {
    let answer = plugin.receive(request);
    prop_assert_eq!(&answer, &plugin.receive(request), "the second answer differs");
    match &answer {
        Ok(Received::Events { events, .. }) => {
            prop_assert!(!events.is_empty(), "no events");
            events.iter().try_for_each(check_event)?;
        }
        Err(Refusal::Failed { reason }) => prop_assert!(false, "failed: {reason}"),
        Ok(Received::Ignored { reason })
        | Err(Refusal::Unauthorized { reason } | Refusal::Malformed { reason, .. }) => {
            prop_assert!(!reason.is_empty(), "no reason");
            prop_assert!(reason.len() <= REASON_LIMIT_BYTES, "a reason of {} bytes", reason.len());
            prop_assert!(!reason.chars().any(char::is_control), "{reason:?}");
        }
        Ok(_) | Err(_) => {}
    }
    Ok(answer)
}

fn check_event(event: &Event) -> Result<(), TestCaseError> {
    if event.action == Action::Create {
        let title = &event.title;
        prop_assert!(!is_blank(title), "blank title: {title:?}");
        prop_assert_eq!(title.trim(), title);
        prop_assert!(!title.chars().any(is_control_or_bidi), "{title:?}");
        prop_assert!(title.chars().count() <= TITLE_LIMIT_CHARS, "title too long: {title:?}");
    }
    if let Some(text) = &event.description {
        prop_assert!(!is_blank(text), "blank description: {text:?}");
        let is_shown = |c: char| matches!(c, '\n' | '\t') || !is_control_or_bidi(c);
        prop_assert!(text.chars().all(is_shown), "{text:?}");
    }
    for detail in &event.details {
        prop_assert!(!detail.value.is_empty(), "no value for {:?}", detail.label);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::{Integration, OptionsError};

    use super::*;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct NoOptions {}

    /// Plugin that gives one answer.
    struct Fixed(fn(&[u8]) -> Result<Received, Refusal>);

    impl Integration for Fixed {
        type Options = NoOptions;

        fn new(_: NoOptions) -> Result<Self, OptionsError> {
            Err(OptionsError::new("made in tests only"))
        }

        fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
            self.0(request.body())
        }
    }

    tocsin_plugin_api::export_plugin!(Fixed);

    fn error(answer: fn(&[u8]) -> Result<Received, Refusal>) -> Option<String> {
        let checked = check_receive(&Fixed(answer), &Request::post(b"x"));
        checked.err().map(|error| error.to_string())
    }

    #[track_caller]
    fn assert_error(answer: fn(&[u8]) -> Result<Received, Refusal>, part: &str) {
        let error = error(answer).expect("an error");
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn answers_that_are_fit_to_show_pass() {
        for answer in [
            |_: &[u8]| Ok(Event::create("down").description("a\n\tb").detail("a", "b").into()),
            |_: &[u8]| Ok(Event::resolve("a").into()),
            |_: &[u8]| Ok(Received::ignored("no text")),
            |_: &[u8]| Err(Refusal::unauthorized("no token")),
            |_: &[u8]| Err(Refusal::malformed("no JSON")),
        ] {
            assert_eq!(error(answer), None);
        }
    }

    #[test]
    fn titles_that_are_not_fit_to_show_are_errors() {
        assert_error(|_| Ok(Event::create("").into()), "blank title");
        assert_error(|_| Ok(Event::create("\u{2800}").into()), "blank title");
        assert_error(|_| Ok(Event::create("a ").into()), "");
        assert_error(|_| Ok(Event::create("a\u{202E}b").into()), "202e");
        assert_error(|_| Ok(Event::create("a".repeat(1025)).into()), "title too long");
    }

    #[test]
    fn other_texts_that_are_not_fit_to_show_are_errors() {
        assert_error(|_| Ok(Event::create("a").description(" ").into()), "blank description");
        assert_error(|_| Ok(Event::create("a").description("a\0").into()), "a\\0");
        assert_error(|_| Ok(Event::create("a").detail("b", "").into()), "no value");
        assert_error(|_| Ok(Received::ignored("")), "no reason");
        assert_error(|_| Err(Refusal::malformed("a\u{1b}")), "1b");
        assert_error(|_| Err(Refusal::malformed("a".repeat(1001))), "1001 bytes");
    }

    #[test]
    fn a_failure_and_no_events_at_all_are_errors() {
        assert_error(|_| Err(Refusal::failed("out of ideas")), "out of ideas");
        assert_error(|_| Ok(Received::Events { events: Vec::new(), reply: None }), "no events");
    }

    #[test]
    fn an_answer_that_changes_is_an_error() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let answer = |_: &[u8]| {
            let call = CALLS.fetch_add(1, Ordering::Relaxed);
            Ok(Received::ignored(format!("call {call}")))
        };
        assert_error(answer, "the second answer differs");
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn every_generated_text_can_be_cleaned(
            text in texts(&["critical"]),
            long in long_texts(&["critical"]),
        ) {
            for text in [text, long] {
                let line = crate::text::one_line(&text);
                prop_assert!(line.is_none_or(|line| !is_blank(&line) && !line.contains("  ")));
            }
        }

        #[test]
        fn damage_inserts_at_most_three_bytes(body in damaged(Just(b"{}".to_vec()))) {
            prop_assert!(body.len() <= 5);
        }
    }
}
