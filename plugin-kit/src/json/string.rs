//! JSON strings, and their escapes.
//!
//! RFC 8259 (section 8.2) allows a string to hold one half of a UTF-16 surrogate pair, such as
//! `\ud83d` alone. JavaScript writes such a half if an emoji was cut in two. The half stands for no
//! character, and `serde_json` cannot read a string that has one, so this module resolves the
//! escapes itself.

use std::borrow::Cow;

use memchr::memchr;
use serde_json::value::RawValue;

use super::JsonError;

/// Reads a string.
///
/// # Errors
///
/// If the value has another type, or half of a surrogate pair.
pub fn string(value: &RawValue) -> Result<Cow<'_, str>, JsonError> {
    let quoted = quoted(value)?;
    let bytes = unescaped(quoted, None).map_err(bad_escape)?;
    Ok(text(quoted, bytes))
}

/// Reads a string, with U+FFFD in place of each half of a surrogate pair.
///
/// # Errors
///
/// If the value has another type.
pub fn string_lossy(value: &RawValue) -> Result<Cow<'_, str>, JsonError> {
    let quoted = quoted(value)?;
    let bytes = unescaped(quoted, Some("\u{FFFD}".as_bytes()));
    Ok(text(quoted, bytes.unwrap_or_default()))
}

/// Reads a string as bytes, with the byte `0xFF` in place of each half of a surrogate pair.
///
/// Use the bytes to compare a token: no text contains `0xFF`, so a damaged token equals none. With
/// [`string_lossy`] it could equal a token that contains U+FFFD.
///
/// # Errors
///
/// If the value has another type.
///
/// ```
/// use serde_json::value::RawValue;
/// use tocsin_plugin_kit::json::string_bytes;
///
/// let damaged: &RawValue = serde_json::from_str(r#""a\ud83d""#)?;
/// assert_eq!(string_bytes(damaged)?.as_ref(), b"a\xFF");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn string_bytes(value: &RawValue) -> Result<Cow<'_, [u8]>, JsonError> {
    let quoted = quoted(value)?;
    let bytes = unescaped(quoted, Some(b"\xFF")).map_err(bad_escape)?;
    Ok(bytes.map_or(Cow::Borrowed(quoted.as_bytes()), Cow::Owned))
}

/// Returns the text between the quotation marks of a string, with its escapes.
fn quoted(value: &RawValue) -> Result<&str, JsonError> {
    let inside = value.get().strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    inside.ok_or_else(|| JsonError::other_type("a string", value))
}

fn text(quoted: &str, unescaped: Option<Vec<u8>>) -> Cow<'_, str> {
    match unescaped {
        None => Cow::Borrowed(quoted),
        // The bytes are UTF-8, for they are made of text and characters.
        Some(bytes) => Cow::Owned(
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
    }
}

fn bad_escape(_: LoneSurrogate) -> JsonError {
    JsonError::new("has a bad escape")
}

/// Half of a surrogate pair without the other half.
struct LoneSurrogate;

/// Resolves the escapes of a string that `serde_json` has checked for its syntax; `None` if it has
/// no escape. `replacement` takes the place of each lone surrogate; without a replacement, a lone
/// surrogate is an error.
fn unescaped(quoted: &str, replacement: Option<&[u8]>) -> Result<Option<Vec<u8>>, LoneSurrogate> {
    let Some(first) = memchr(b'\\', quoted.as_bytes()) else { return Ok(None) };
    let (mut next, mut rest) = (Some(first), quoted.as_bytes());
    let mut text = Vec::with_capacity(quoted.len());
    while let Some(at) = next {
        let (plain, from_escape) = rest.split_at(at);
        text.extend_from_slice(plain);
        let (character, after) = escape(from_escape);
        match character {
            Some(character) => text.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            None => text.extend_from_slice(replacement.ok_or(LoneSurrogate)?),
        }
        rest = after;
        next = memchr(b'\\', rest);
    }
    text.extend_from_slice(rest);
    Ok(Some(text))
}

/// Returns the character that the escape at the beginning of a text stands for, and the text after
/// it. A lone surrogate is no character.
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

/// Returns the number in an escape such as `\u00e9`, and the text after it.
fn utf16_unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, after) = text.strip_prefix(b"\\u")?.split_at_checked(4)?;
    let unit = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((unit, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn every_escape_is_resolved_as_serde_json_does() {
        for json in [
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u0041\u00e9\uFFFD\u6f22\u0000""#,
            r#""\ud83d\udd25 \uD83D\uDD25é漢🔥\udbff\udfff""#,
            r#""\\ud83d \\\\u0041""#,
            r#""""#,
        ] {
            let expected: String = serde_json::from_str(json).expect("a string");
            assert_eq!(string(raw(json)).as_deref(), Ok(expected.as_str()), "{json}");
            assert_eq!(string_lossy(raw(json)).as_deref(), Ok(expected.as_str()), "{json}");
            assert_eq!(string_bytes(raw(json)).as_deref(), Ok(expected.as_bytes()), "{json}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_replaced_or_refused() {
        for (json, expected) in [
            (r#""db1 down \ud83d""#, "db1 down \u{FFFD}"),
            (r#""\udd25 down""#, "\u{FFFD} down"),
            (r#""\ud83dx\udd25""#, "\u{FFFD}x\u{FFFD}"),
            (r#""\udd25\ud83d""#, "\u{FFFD}\u{FFFD}"),
            (r#""\ud83d\ud83d\udd25""#, "\u{FFFD}🔥"),
            (r#""\ud83d\u0041""#, "\u{FFFD}A"),
            (r#""\ud83d\n""#, "\u{FFFD}\n"),
            (r#""\ud83d\\udd25""#, "\u{FFFD}\\udd25"),
        ] {
            assert_eq!(string_lossy(raw(json)).as_deref(), Ok(expected), "{json}");
            assert_eq!(string(raw(json)), Err(JsonError::new("has a bad escape")), "{json}");
            let bytes = string_bytes(raw(json)).expect("a string");
            assert!(bytes.contains(&0xFF), "{json}");
        }
    }

    #[test]
    fn a_string_without_escapes_is_not_copied() {
        let plain = raw(r#""plain é""#);
        assert!(matches!(string(plain), Ok(Cow::Borrowed("plain é"))));
        assert!(matches!(string_lossy(plain), Ok(Cow::Borrowed("plain é"))));
        assert!(matches!(string_bytes(plain), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_value_of_another_type_is_named_and_not_quoted() {
        for (json, found) in [
            ("-31337", "a number"),
            ("null", "null"),
            ("true", "a boolean"),
            (r#"["31337"]"#, "a list"),
            (r#"{"a": "31337"}"#, "an object"),
        ] {
            let error = Err(JsonError::new(format!("expected a string, found {found}")));
            assert_eq!(string(raw(json)), error);
            assert_eq!(string_lossy(raw(json)), error);
        }
    }
}
