//! [`Fields`] of a JSON object.
//!
//! Fields that are not read must be JSON of a limited depth and are otherwise ignored: a number out
//! of range in them is no error. In the fields that are read, U+FFFD takes the place of half of a
//! surrogate pair, which JavaScript writes if an emoji was cut in two.

use serde_json::value::RawValue;
use tocsin_plugin_api::Refusal;
use tocsin_plugin_kit::json::{self, JsonError, Object};

use crate::fields::{Field, Fields, Value};

/// Most levels of nested arrays and objects, the outermost object included. The limit is that of
/// `serde_json`, which does not apply it to values that it skips.
const DEPTH_LIMIT: usize = 127;

/// Reads the fields of one JSON object.
///
/// # Errors
///
/// [`Refusal::Malformed`] if the body is anything else or nested too deep. The reason never quotes
/// the body.
pub(crate) fn read(body: &[u8]) -> Result<Fields<'_>, Refusal> {
    let mut fields = Fields::default();
    for (key, json) in Object::from_body_lossy(body)?.members() {
        if json.get().starts_with(['[', '{']) && depth(json.get()) >= DEPTH_LIMIT {
            return Err(Refusal::malformed("the body is nested too deep"));
        }
        if let Some(name) = Field::of(key) {
            fields.put(name, value(name, json)?);
        }
    }
    Ok(fields)
}

/// Reads one JSON value as a field.
fn value(name: Field, json: &RawValue) -> Result<Value<'_>, JsonError> {
    Ok(match json.get().as_bytes() {
        [b'"', ..] if name == Field::Token => Value::Bytes(json::string_bytes(json)?),
        [b'"', ..] => Value::Text(json::string_lossy(json)?),
        [b'[', ..] => Value::Array,
        [b'{', ..] => Value::Object,
        b"null" => Value::Null,
        _ => Value::Literal(json.get()),
    })
}

/// Counts the levels of nested arrays and objects in a JSON value.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Skips the rest of a string, with the quotation mark that closes it.
fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(json: &str, name: Field) -> Option<String> {
        read(json.as_bytes()).expect("an object").get(name).map(str::to_owned)
    }

    fn error(json: impl AsRef<[u8]>) -> String {
        match read(json.as_ref()) {
            Err(Refusal::Malformed { reason, .. }) => reason,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("read"),
        }
    }

    #[test]
    fn numbers_and_booleans_keep_their_spelling() {
        for written in ["1656637234966", "1.50", "1e3", "-0", "12345678901234567890123", "true"] {
            let json = format!(r#"{{"timestamp": {written} , "text":"x"}}"#);
            assert_eq!(get(&json, Field::Timestamp).as_deref(), Some(written));
        }
    }

    #[test]
    fn null_arrays_and_objects_are_no_text() {
        for none in ["null", "[]", "{}", r#"["x"]"#, r#"{"user_name":"x"}"#] {
            assert_eq!(get(&format!(r#"{{"user_name":{none}}}"#), Field::UserName), None);
        }
    }

    #[test]
    fn strings_and_keys_are_unescaped() {
        assert_eq!(
            get(r#"{"te\u0078t":"a\n\ud83d\udd25\"b"}"#, Field::Text).as_deref(),
            Some("a\n🔥\"b")
        );
        assert_eq!(get(r#"{"text":"\\"}"#, Field::Text).as_deref(), Some("\\"));
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        for (string, expected) in
            [(r#""db1 down \ud83d""#, "db1 down \u{FFFD}"), (r#""\udd25 down""#, "\u{FFFD} down")]
        {
            let json = format!(r#"{{"text":{string},"user_name":{string}}}"#);
            assert_eq!(get(&json, Field::Text).as_deref(), Some(expected), "{string}");
            assert_eq!(get(&json, Field::UserName).as_deref(), Some(expected), "{string}");
        }
    }

    #[test]
    fn a_key_with_a_lone_surrogate_is_ignored() {
        let json = r#"{"\ud83d":1,"text\udd25":"y","te\u0078t":"x","\ud83d":2}"#;
        assert_eq!(get(json, Field::Text).as_deref(), Some("x"));
        assert_eq!(read(json.as_bytes()).expect("an object").refuse_repeated(), Ok(()));
    }

    #[test]
    fn unknown_fields_of_any_shape_are_ignored() {
        let json = r#"{"a":{"text":["x"]},"b":1e999,"c":"\ud800","d":[[]],"d":null,"text":"x"}"#;
        assert_eq!(get(json, Field::Text).as_deref(), Some("x"));
        assert_eq!(read(json.as_bytes()).expect("an object").refuse_repeated(), Ok(()));
    }

    #[test]
    fn a_field_that_comes_twice_is_repeated_even_if_one_value_is_null() {
        let fields = read(br#"{"text":null,"te\u0078t":"x"}"#).expect("an object");
        assert_eq!(fields.value(Field::Text), Some(&Value::Repeated));
    }

    #[test]
    fn nesting_is_limited_in_every_field() {
        let nested = |key: &str, levels: usize| {
            format!(r#"{{"{key}":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        for key in ["unknown", "text", "event"] {
            assert!(read(nested(key, DEPTH_LIMIT - 1).as_bytes()).is_ok());
            assert_eq!(error(nested(key, DEPTH_LIMIT)), "the body is nested too deep");
            assert_eq!(error(nested(key, 300_000)), "the body is nested too deep");
        }
        let brackets_in_a_string = format!(r#"{{"a":["\"{}"]}}"#, "[".repeat(1000));
        assert!(read(brackets_in_a_string.as_bytes()).is_ok());
    }

    #[test]
    fn the_depth_limit_is_that_of_serde_json() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let read = |levels| serde_json::from_str::<serde_json::Value>(&nested(levels)).is_ok();
        assert!(read(DEPTH_LIMIT) && !read(DEPTH_LIMIT + 1));
    }

    #[test]
    fn a_body_that_is_not_one_object_is_malformed() {
        for other in ["", " ", "null", "[]", "\"{}\"", "1", "token=x", "\u{FEFF}{}"] {
            assert_eq!(error(other), "the body is not a JSON object");
        }
        for broken in
            ["{", "{}{}", "{} x", "{\"a\":1,}", "{'a':1}", "{a:1}", "{\"a\":\"\n\"}", "{\"a\n\":1}"]
        {
            assert!(error(broken).starts_with("the body is not a JSON object: "), "{broken}");
        }
        assert_eq!(error(b"{\"text\":\"\xff\"}"), "the body is not UTF-8");
        for escape in [r"\u12", r"\ud83", r"\uzzzz", r"\x41", r"\U0041", r"\u+041", "\\"] {
            let broken = format!(r#"{{"text":"{escape}"}}"#);
            assert!(error(broken).starts_with("the body is not a JSON object: "), "{escape}");
        }
    }

    #[test]
    fn errors_do_not_quote_the_body() {
        for body in [r#""s3cret""#, r#"{"token":"s3cret"} s3cret"#, r#"{"token":s3cret}"#] {
            assert!(!error(body).contains("s3cret"), "{}", error(body));
        }
    }
}
