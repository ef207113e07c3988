//! Details of an alert, as the text in which they are stored.
//!
//! Nearly all details are stored without ever being looked at in between. So they stay JSON from the plugin
//! to the store, and are read only where a template, a route or a person asks for them.

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use tocsin_plugin_api::Detail;

/// Most details of an alert. Further ones are left out.
const MOST_DETAILS: usize = 100;
/// Most characters of a label. Further ones are cut off.
const LONGEST_LABEL: usize = 1024;
/// Most characters of a value. Further ones are cut off.
const LONGEST_VALUE: usize = 64 * 1024;

/// Bounded list of [`Detail`]s, in the one JSON form that [`serde_json`] writes for it: without spaces, each
/// character in its shortest form, and with no other fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details(Option<Box<str>>);

impl Details {
    /// Takes a JSON text as it is, if it has the form and is within the bounds. Returns none for all other
    /// texts, valid or not.
    pub(crate) fn of_json(json: &str) -> Option<Self> {
        if json == "[]" {
            return Some(Self::default());
        }
        let mut rest = json.strip_prefix('[')?.as_bytes();
        for place in 0..MOST_DETAILS {
            rest = rest.strip_prefix(if place == 0 {
                &b"{\"label\":\""[..]
            } else {
                b",{\"label\":\""
            })?;
            rest = after_string(rest, LONGEST_LABEL)?.strip_prefix(b",\"value\":\"")?;
            rest = after_string(rest, LONGEST_VALUE)?.strip_prefix(b"}")?;
            if rest == b"]" {
                return Some(Self(Some(json.into())));
            }
        }
        None
    }

    /// Returns the JSON; none if there are no details.
    pub fn json(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Returns the list.
    pub fn list(&self) -> Vec<Detail> {
        // The text was written as, or checked to be, the JSON of a list.
        self.json().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }
}

/// Fails for a text that [`Details::of_json`] does not take.
impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(from)?;
        Self::of_json(json.get()).ok_or_else(|| de::Error::custom("another form"))
    }
}

/// Leaves out and cuts off what is beyond the bounds.
impl From<Vec<Detail>> for Details {
    fn from(mut details: Vec<Detail>) -> Self {
        details.truncate(MOST_DETAILS);
        for detail in &mut details {
            cut(&mut detail.label, LONGEST_LABEL);
            cut(&mut detail.value, LONGEST_VALUE);
        }
        if details.is_empty() {
            return Self::default();
        }
        // Strings can always be written as JSON.
        Self(serde_json::to_string(&details).ok().map(Into::into))
    }
}

/// Cuts a text off after that many characters.
pub(crate) fn cut(text: &mut String, characters: usize) {
    // A character has at least one byte, so most texts need no counting.
    if text.len() > characters
        && let Some((end, _)) = text.char_indices().nth(characters)
    {
        text.truncate(end);
    }
}

/// Returns the text after a JSON string whose first quotation mark was read. Returns none if the string has
/// more bytes than that, or an escape sequence where a shorter form would do.
fn after_string(text: &[u8], most_bytes: usize) -> Option<&[u8]> {
    let mut at = 0;
    while at <= most_bytes {
        match text.get(at)? {
            b'"' => return text.get(at + 1..),
            b'\\' => at += escape(text.get(at + 1..)?)?,
            0..0x20 => return None,
            _ => at += 1,
        }
    }
    None
}

/// Returns the length of an escape sequence, with its backslash, that has no shorter form.
fn escape(after_backslash: &[u8]) -> Option<usize> {
    match after_backslash {
        [b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'u', b'0', b'0', high @ (b'0' | b'1'), low @ (b'0'..=b'9' | b'a'..=b'f'), ..] => {
            // The control characters that have a letter.
            let has_letter = *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
            (!has_letter).then_some(6)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn detail(label: &str, value: &str) -> Detail {
        Detail { label: label.into(), value: value.into() }
    }

    fn written(details: &[Detail]) -> String {
        serde_json::to_string(details).expect("strings can be written")
    }

    #[test]
    fn the_json_that_plugins_write_is_taken_as_it_is() {
        let control: String =
            (0..0x20_u8).map(char::from).chain("\u{7f}\"\\/é\u{1f600}".chars()).collect();
        for details in [
            vec![detail("Host", "db1")],
            vec![detail("", ""), detail("a", "b"), detail("a", "c")],
            vec![detail(&control, &control)],
            vec![detail(&"l".repeat(LONGEST_LABEL), &"v".repeat(LONGEST_VALUE)); MOST_DETAILS],
        ] {
            let json = written(&details);
            let taken = Details::of_json(&json).expect("it has the form");
            assert_eq!(taken.json(), Some(&*json));
            assert_eq!(taken.list(), details);
            assert_eq!(taken, Details::from(details));
        }
        assert_eq!(Details::of_json("[]"), Some(Details::default()));
        assert_eq!(Details::default().list(), []);
    }

    #[test]
    fn other_forms_are_not_taken() {
        let whole = r#"[{"label":"a","value":"b"}]"#;
        assert!(Details::of_json(whole).is_some());
        for other in [
            "",
            "null",
            "[",
            "[{}]",
            "{}",
            r#" [{"label":"a","value":"b"}]"#,
            r#"[{"label":"a","value":"b"}] "#,
            r#"[{"label": "a","value":"b"}]"#,
            r#"[{"label":"a","value":"b",}]"#,
            r#"[{"label":"a","value":"b"},]"#,
            r#"[{"label":"a","value":"b"}{"label":"a","value":"b"}]"#,
            r#"[{"value":"b","label":"a"}]"#,
            r#"[{"label":"a","value":"b","unit":"s"}]"#,
            r#"[{"label":"a","label":"a","value":"b"}]"#,
            r#"[{"label":"a"}]"#,
            r#"[{"label":"a","value":1}]"#,
            r#"[{"label":"a","value":null}]"#,
            r#"[{"label":"a","value":"b"}"#,
            r#"[{"label":"a","value":"b\"}]"#,
            r#"[{"label":"\/","value":"b"}]"#,
            r#"[{"label":"\u0041","value":"b"}]"#,
            r#"[{"label":"\u001F","value":"b"}]"#,
            r#"[{"label":"\u000a","value":"b"}]"#,
            r#"[{"label":"\ud83d\ude00","value":"b"}]"#,
            "[{\"label\":\"\n\",\"value\":\"b\"}]",
        ] {
            assert_eq!(Details::of_json(other), None, "{other}");
        }
    }

    #[test]
    fn a_list_beyond_the_bounds_is_cut_between_characters() {
        let long = vec![detail(&"é".repeat(2000), &"é".repeat(100_000)); 200];
        assert_eq!(Details::of_json(&written(&long)), None);
        let cut = Details::from(long).list();
        assert_eq!(cut.len(), MOST_DETAILS);
        assert_eq!(cut[0], detail(&"é".repeat(LONGEST_LABEL), &"é".repeat(LONGEST_VALUE)));
        let many = vec![detail("a", "b"); MOST_DETAILS + 1];
        assert_eq!(Details::of_json(&written(&many)), None);
    }

    proptest! {
        /// The scan accepts a text only if reading and writing the text gives the same text.
        #[test]
        fn a_text_that_is_taken_is_the_one_that_would_be_written(
            details in prop::collection::vec((any::<String>(), any::<String>()), 0..4),
            at in any::<prop::sample::Index>(),
            put in prop::option::of(prop::sample::select(vec![
                "\"", "\\", "\\u0000", "\\u0008", "\\n", "\\/", ",", "{", "]", " ", "\u{1}", "é", "",
            ])),
        ) {
            let details: Vec<_> = details.iter().map(|(label, value)| detail(label, value)).collect();
            let mut json = written(&details);
            if let Some(put) = put {
                let at = json.floor_char_boundary(at.index(json.len()));
                let end = json.ceil_char_boundary(at + 1);
                json.replace_range(at..end, put);
            }
            let read = serde_json::from_str::<Vec<Detail>>(&json).ok();
            let is_same = read.as_ref().is_some_and(|read| written(read) == json);
            prop_assert_eq!(Details::of_json(&json).is_some(), is_same, "{}", json);
        }
    }
}
