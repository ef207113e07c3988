//! From a JSON object to its fields.
//!
//! Fields that are not read are checked for being JSON and for their depth, and otherwise passed
//! over: neither numbers out of range nor lone surrogates in them are an error.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tocsin_plugin_api::Refusal;

use crate::fields::{Field, Fields, Value};

/// How deep arrays and objects may be nested, the outermost object included: what `serde_json`
/// itself allows. It does not count in what it passes over.
const DEPTH_LIMIT: usize = 127;

/// Reads the fields of one JSON object.
///
/// # Errors
///
/// [`Refusal::Malformed`] where the body is anything else. The reason never quotes the body.
pub(crate) fn read(body: &[u8]) -> Result<Fields<'_>, Refusal> {
    let text = str::from_utf8(body).map_err(|_| Refusal::malformed("the body is not UTF-8"))?;
    // serde quotes a value of another type in its error.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Refusal::malformed("the body is not a JSON object"));
    }
    match serde_json::from_str(text) {
        Ok(Object(fields)) => Ok(fields),
        Err(error) => Err(Refusal::malformed(format!("the body is not a JSON object: {error}"))),
    }
}

struct Object<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Key(name)) = map.next_key()? {
            let json = map.next_value::<&'de RawValue>()?.get();
            if json.starts_with(['[', '{']) && depth(json) >= DEPTH_LIMIT {
                return Err(A::Error::custom("nested too deep"));
            }
            if let Some(name) = name {
                let value =
                    value(json).map_err(|_| A::Error::custom("a string has a bad escape"))?;
                fields.put(name, value);
            }
        }
        Ok(Object(fields))
    }
}

/// The key of a field, if it is one that is read.
struct Key(Option<Field>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(Key(Field::of(key)))
    }
}

/// What one JSON value means as a field.
fn value(json: &str) -> Result<Value<'_>, serde_json::Error> {
    Ok(match json.as_bytes() {
        [b'"', ..] => Value::Text(string(json)?),
        [b'[', ..] => Value::Array,
        [b'{', ..] => Value::Object,
        b"null" => Value::Null,
        _ => Value::Literal(json),
    })
}

fn string(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    match inner {
        Some(inner) if memchr::memchr(b'\\', inner.as_bytes()).is_none() => Ok(inner.into()),
        _ => serde_json::from_str::<String>(json).map(Cow::Owned),
    }
}

/// How deep arrays and objects are nested in a JSON value.
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

/// Goes on behind the quotation mark that closes a string.
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
    fn numbers_and_booleans_are_taken_as_they_were_written() {
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
    fn a_string_without_escapes_is_not_copied() {
        assert!(matches!(string(r#""plain""#), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn unknown_fields_of_any_shape_are_ignored() {
        let json = r#"{"a":{"text":["x"]},"b":1e999,"c":"\ud800","d":[[]],"d":null,"text":"x"}"#;
        assert_eq!(get(json, Field::Text).as_deref(), Some("x"));
        assert_eq!(read(json.as_bytes()).expect("an object").refuse_repeated(), Ok(()));
    }

    #[test]
    fn a_read_field_that_comes_twice_is_repeated_even_if_once_null() {
        let fields = read(br#"{"text":null,"te\u0078t":"x"}"#).expect("an object");
        assert_eq!(fields.value(Field::Text), Some(&Value::Repeated));
    }

    #[test]
    fn nesting_has_a_limit_everywhere() {
        let nested = |key: &str, levels: usize| {
            format!(r#"{{"{key}":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        for key in ["unknown", "text", "event"] {
            assert!(read(nested(key, DEPTH_LIMIT - 1).as_bytes()).is_ok());
            assert!(error(nested(key, DEPTH_LIMIT)).contains("nested too deep"));
            assert!(error(nested(key, 300_000)).contains("nested too deep"));
        }
        let brackets_in_a_string = format!(r#"{{"a":["\"{}"]}}"#, "[".repeat(1000));
        assert!(read(brackets_in_a_string.as_bytes()).is_ok());
    }

    #[test]
    fn the_limit_is_that_of_serde_json() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let read = |levels| serde_json::from_str::<serde_json::Value>(&nested(levels)).is_ok();
        assert!(read(DEPTH_LIMIT) && !read(DEPTH_LIMIT + 1));
    }

    #[test]
    fn anything_but_one_object_is_malformed() {
        for other in ["", " ", "null", "[]", "\"{}\"", "1", "token=x", "\u{FEFF}{}"] {
            assert_eq!(error(other), "the body is not a JSON object");
        }
        for broken in ["{", "{}{}", "{} x", "{\"a\":1,}", "{'a':1}", "{a:1}", "{\"a\":\"\n\"}"] {
            assert!(error(broken).starts_with("the body is not a JSON object: "), "{broken}");
        }
        assert_eq!(error(b"{\"text\":\"\xff\"}"), "the body is not UTF-8");
        assert_eq!(
            error(r#"{"text":"\ud800"}"#),
            "the body is not a JSON object: a string has a bad escape at line 1 column 17"
        );
    }

    #[test]
    fn errors_do_not_quote_the_body() {
        for body in [r#""s3cret""#, r#"{"token":"s3cret"} s3cret"#, r#"{"token":s3cret}"#] {
            assert!(!error(body).contains("s3cret"), "{}", error(body));
        }
    }
}
