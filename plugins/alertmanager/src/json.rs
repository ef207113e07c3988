//! Takes JSON values for what they have to be, and says where one is something else.
//!
//! It never quotes a value, and reads no deeper than it is asked to: what nobody asks for may be of
//! any shape and depth.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tocsin_plugin_api::Refusal;

/// So much of a key is shown: it may be the sender's choice.
const LONGEST_KEY_CHARS: usize = 64;

/// What is wrong with a value, and the way to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// As in `alerts[0].labels`; empty for the value itself.
    path: String,
    problem: String,
}

impl Fault {
    /// A fault of the value itself.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    /// The same, seen from the object that has the value under `key`.
    pub(crate) fn under(self, key: &str) -> Self {
        let shown: String =
            key.chars().filter(|c| !c.is_control()).take(LONGEST_KEY_CHARS).collect();
        self.behind(&shown)
    }

    /// The same, seen from the list that has the value at `index`.
    pub(crate) fn at(self, index: usize) -> Self {
        self.behind(&format!("[{index}]"))
    }

    fn behind(self, step: &str) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Self { path: [step, joint, &self.path].concat(), problem: self.problem }
    }
}

impl From<Fault> for Refusal {
    fn from(Fault { path, problem }: Fault) -> Self {
        match path.as_str() {
            "" => Self::malformed(format!("the body is wrong: {problem}")),
            path => Self::malformed(format!("`{path}`: {problem}")),
        }
    }
}

/// The fields of an object: a struct of optional raw values, or a map of them.
pub(crate) fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Fault> {
    // serde would read a struct from a list, and quote a value of another type.
    if !value.get().starts_with('{') {
        return Err(other_type("an object", value));
    }
    serde_json::from_str(value.get()).map_err(|error| Fault::new(without_position(&error)))
}

/// The items of a list.
pub(crate) fn list(value: &RawValue) -> Result<Vec<&RawValue>, Fault> {
    if !value.get().starts_with('[') {
        return Err(other_type("a list", value));
    }
    serde_json::from_str(value.get()).map_err(|error| Fault::new(without_position(&error)))
}

/// A string; an empty one is none, and so is null.
pub(crate) fn text(value: &RawValue) -> Result<Option<Cow<'_, str>>, Fault> {
    let json = value.get();
    if json == "null" {
        return Ok(None);
    }
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    let inner = inner.ok_or_else(|| other_type("a string", value))?;
    let text = if inner.contains('\\') {
        let unescaped = serde_json::from_str::<String>(json);
        Cow::Owned(unescaped.map_err(|_| Fault::new("has a bad escape"))?)
    } else {
        Cow::Borrowed(inner)
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A whole number that is not negative.
pub(crate) fn count(value: &RawValue) -> Result<u64, Fault> {
    value.get().parse().map_err(|_| other_type("a whole number", value))
}

fn other_type(expected: &str, value: &RawValue) -> Fault {
    let found = match value.get().as_bytes() {
        [b'"', ..] => "a string",
        [b'[', ..] => "a list",
        [b'{', ..] => "an object",
        [b't' | b'f', ..] => "a boolean",
        [b'n', ..] => "null",
        _ if expected == "a whole number" => "another number",
        _ => "a number",
    };
    Fault::new(format!("expected {expected}, found {found}"))
}

/// The place would be counted from the start of the value, which is not that of the body.
fn without_position(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    message.truncate(message.rfind(" at line ").unwrap_or(message.len()));
    message
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).expect("JSON")
    }

    fn problem<T>(result: Result<T, Fault>) -> String {
        result.err().expect("a fault").problem
    }

    type Map<'a> = BTreeMap<String, &'a RawValue>;

    #[test]
    fn a_value_of_another_type_is_told_and_not_quoted() {
        for (json, found) in [
            ("[]", "a list"),
            ("1e999", "a number"),
            ("true", "a boolean"),
            ("null", "null"),
            (r#""s3cret""#, "a string"),
        ] {
            let expected = format!("expected an object, found {found}");
            assert_eq!(problem(object::<Map<'_>>(raw(json))), expected);
        }
        assert_eq!(problem(list(raw("{}"))), "expected a list, found an object");
        assert_eq!(problem(text(raw("-1"))), "expected a string, found a number");
        assert_eq!(problem(count(raw("\"1\""))), "expected a whole number, found a string");
    }

    #[test]
    fn strings_are_unescaped_and_copied_only_for_that() {
        assert!(matches!(text(raw(r#""plain é""#)), Ok(Some(Cow::Borrowed("plain é")))));
        assert_eq!(text(raw(r#""a\n\ud83d\udd25\"""#)), Ok(Some("a\n🔥\"".into())));
        assert_eq!(problem(text(raw(r#""\ud800""#))), "has a bad escape");
    }

    #[test]
    fn empty_and_null_are_no_text() {
        assert_eq!(text(raw(r#""""#)), Ok(None));
        assert_eq!(text(raw("null")), Ok(None));
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        assert_eq!(count(raw("0")), Ok(0));
        assert_eq!(count(raw("18446744073709551615")), Ok(u64::MAX));
        for other in ["-1", "1.0", "1e3", "18446744073709551616"] {
            assert_eq!(problem(count(raw(other))), "expected a whole number, found another number");
        }
    }

    #[test]
    fn what_nobody_asks_for_may_be_of_any_depth() {
        let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(300_000), "]".repeat(300_000));
        assert!(object::<Map<'_>>(raw(&deep)).is_ok());
    }

    #[test]
    fn a_key_with_a_bad_escape_is_a_fault_without_a_place() {
        let fault = problem(object::<Map<'_>>(raw(r#"{"\ud800": 1}"#)));
        assert!(!fault.contains("line"), "{fault}");
    }

    #[test]
    fn the_way_to_a_fault_is_told_from_the_outside() {
        let refusal = |fault: Fault| match Refusal::from(fault) {
            Refusal::Malformed { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal(Fault::new("empty")), "the body is wrong: empty");
        let fault = Fault::new("empty").under("x").under("labels").at(3).under("alerts");
        assert_eq!(refusal(fault), "`alerts[3].labels.x`: empty");
        assert_eq!(refusal(Fault::new("empty").at(0).under("alerts")), "`alerts[0]`: empty");
        let long = "k\u{1b}".repeat(1000);
        assert_eq!(
            refusal(Fault::new("empty").under(&long)),
            format!("`{}`: empty", "k".repeat(64))
        );
    }
}
