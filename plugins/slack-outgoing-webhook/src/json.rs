//! From a JSON object to its fields.
//!
//! Fields that are not read are checked for being JSON and for their depth, and otherwise passed
//! over: numbers out of range in them are no error.
//!
//! A string may hold one half of a surrogate pair: RFC 8259 allows the escape, and JavaScript writes
//! it if an emoji was cut in two. It is no character, so U+FFFD takes its place.

use std::{borrow::Cow, fmt};

use memchr::memchr;
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
    let mut fields = Fields::default();
    if put_object(&mut fields, text, Keys::Text).is_ok() {
        return Ok(fields);
    }
    // A key with a lone surrogate is no reason to refuse the object.
    fields = Fields::default();
    match put_object(&mut fields, text, Keys::Raw) {
        Ok(()) => Ok(fields),
        Err(error) => Err(Refusal::malformed(format!("the body is not a JSON object: {error}"))),
    }
}

/// Reads the fields of one JSON object.
fn put_object<'a>(
    fields: &mut Fields<'a>,
    text: &'a str,
    keys: Keys,
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(ObjectVisitor { fields, keys })?;
    json.end()
}

/// Ways to read keys.
#[derive(Clone, Copy)]
enum Keys {
    /// As text, which is quick and fails on a lone surrogate.
    Text,
    /// As JSON, whose escapes are then resolved here.
    Raw,
}

/// Visitor that fills in fields in place, because a copy of them all takes time.
struct ObjectVisitor<'f, 'a> {
    fields: &'f mut Fields<'a>,
    keys: Keys,
}

impl<'de> Visitor<'de> for ObjectVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = self.keys.next(&mut map)? {
            let json = map.next_value::<&'de RawValue>()?.get();
            if json.starts_with(['[', '{']) && depth(json) >= DEPTH_LIMIT {
                return Err(A::Error::custom("nested too deep"));
            }
            if let Some(name) = name {
                self.fields.put(name, value(name, json));
            }
        }
        Ok(())
    }
}

impl Keys {
    /// Reads the next key.
    fn next<'de, A: MapAccess<'de>>(self, map: &mut A) -> Result<Option<Key>, A::Error> {
        match self {
            Self::Text => map.next_key(),
            Self::Raw => {
                let key = map.next_key::<&'de RawValue>()?;
                Ok(key.map(|key| Key(Field::of(&string(key.get())))))
            }
        }
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

/// Reads one JSON value as a field.
fn value(name: Field, json: &str) -> Value<'_> {
    match json.as_bytes() {
        [b'"', ..] if name == Field::Token => token(json),
        [b'"', ..] => Value::Text(string(json)),
        [b'[', ..] => Value::Array,
        [b'{', ..] => Value::Object,
        b"null" => Value::Null,
        _ => Value::Literal(json),
    }
}

fn string(json: &str) -> Cow<'_, str> {
    let quoted = unquoted(json);
    match unescaped(quoted, "\u{FFFD}".as_bytes()) {
        None => Cow::Borrowed(quoted),
        Some(bytes) => Cow::Owned(
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
    }
}

/// Reads a token. One half of a surrogate pair becomes a byte that no configured token has, so that
/// a damaged token equals none of them, not even one that holds U+FFFD.
fn token(json: &str) -> Value<'_> {
    let quoted = unquoted(json);
    Value::Bytes(unescaped(quoted, b"\xFF").map_or(Cow::Borrowed(quoted.as_bytes()), Cow::Owned))
}

fn unquoted(json: &str) -> &str {
    json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(json)
}

/// Resolves the escapes of a JSON string that was checked for being one, if it has any.
/// `lone_surrogate` stands for each half of a surrogate pair that lacks the other.
fn unescaped(quoted: &str, lone_surrogate: &[u8]) -> Option<Vec<u8>> {
    let mut next = Some(memchr(b'\\', quoted.as_bytes())?);
    let (mut text, mut rest) = (Vec::with_capacity(quoted.len()), quoted.as_bytes());
    while let Some(at) = next {
        let (plain, from_escape) = rest.split_at(at);
        text.extend_from_slice(plain);
        let (character, after) = escape(from_escape);
        match character {
            Some(character) => text.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            None => text.extend_from_slice(lone_surrogate),
        }
        rest = after;
        next = memchr(b'\\', rest);
    }
    text.extend_from_slice(rest);
    Some(text)
}

/// Returns the character that the escape at the beginning stands for, and what follows. A lone
/// surrogate is none.
fn escape(text: &[u8]) -> (Option<char>, &[u8]) {
    if let Some((unit, after)) = utf16_unit(text) {
        let low = utf16_unit(after).filter(|(low, _)| (0xDC00..=0xDFFF).contains(low));
        return match low {
            Some((low, after_low)) if (0xD800..=0xDBFF).contains(&unit) => {
                let scalar = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                (char::from_u32(scalar), after_low)
            }
            _ => (char::from_u32(unit), after),
        };
    }
    let character = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{C}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        // `"`, `\` and `/` stand for themselves.
        Some(other) => char::from(*other),
        None => '\\',
    };
    (Some(character), text.get(2..).unwrap_or_default())
}

/// Returns the number in an escape such as `\u00e9`, and what follows.
fn utf16_unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, after) = text.strip_prefix(b"\\u")?.split_at_checked(4)?;
    let unit = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((unit, after))
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
    fn every_escape_is_resolved_as_serde_json_does() {
        for string in [
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u0041\u00e9\uFFFD\u6f22\u0000""#,
            r#""\ud83d\udd25 \uD83D\uDD25é漢🔥\udbff\udfff""#,
            r#""\\ud83d \\\\u0041""#,
            r#""""#,
        ] {
            let expected: String = serde_json::from_str(string).expect("a string");
            assert_eq!(super::string(string), expected, "{string}");
            let token = token(string);
            assert_eq!(token, Value::Bytes(expected.into_bytes().into()), "{string}");
        }
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        for (string, expected) in [
            (r#""db1 down \ud83d""#, "db1 down \u{FFFD}"),
            (r#""\udd25 down""#, "\u{FFFD} down"),
            (r#""\ud83dx\udd25""#, "\u{FFFD}x\u{FFFD}"),
            (r#""\udd25\ud83d""#, "\u{FFFD}\u{FFFD}"),
            (r#""\ud83d\ud83d\udd25""#, "\u{FFFD}🔥"),
            (r#""\ud83d\u0041""#, "\u{FFFD}A"),
            (r#""\ud83d\n""#, "\u{FFFD}\n"),
            (r#""\ud83d\\udd25""#, "\u{FFFD}\\udd25"),
        ] {
            let json = format!(r#"{{"text":{string},"user_name":{string}}}"#);
            assert_eq!(get(&json, Field::Text).as_deref(), Some(expected), "{string}");
            assert_eq!(get(&json, Field::UserName).as_deref(), Some(expected), "{string}");
        }
    }

    #[test]
    fn a_lone_surrogate_in_a_key_makes_it_an_unknown_one() {
        let json = r#"{"\ud83d":1,"text\udd25":"y","te\u0078t":"x","\ud83d":2}"#;
        assert_eq!(get(json, Field::Text).as_deref(), Some("x"));
        assert_eq!(read(json.as_bytes()).expect("an object").refuse_repeated(), Ok(()));
    }

    #[test]
    fn a_string_without_escapes_is_not_copied() {
        assert!(matches!(string(r#""plain""#), Cow::Borrowed("plain")));
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
