//! From a form to its fields, by the rules of the URL standard
//! (<https://url.spec.whatwg.org/#urlencoded-parsing>).
//!
//! It gives syntax no meaning that the standard does not know: `text[]` is a key like any other.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};

use crate::fields::{Field, Fields, Value};

/// Reads the fields of a form. Every sequence of bytes is one.
pub(crate) fn read(body: &[u8]) -> Fields<'_> {
    let mut fields = Fields::default();
    let mut start = 0;
    for end in memchr_iter(b'&', body).chain([body.len()]) {
        put(&mut fields, &body[start..end]);
        start = end + 1;
    }
    fields
}

fn put<'a>(fields: &mut Fields<'a>, pair: &'a [u8]) {
    let (key, value) = match memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    };
    match name(key) {
        Some(Field::Token) => fields.put(Field::Token, Value::Bytes(decode(value))),
        Some(name) => fields.put(name, Value::Text(text(decode(value)))),
        None => {}
    }
}

fn name(key: &[u8]) -> Option<Field> {
    Field::of(str::from_utf8(&decode(key)).ok()?)
}

/// Decodes what is percent-encoded. An escape that is none stays as it is.
fn decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    let mut next = memchr2(b'%', b'+', encoded);
    if next.is_none() {
        return Cow::Borrowed(encoded);
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(encoded.len()), encoded);
    while let Some(at) = next {
        let (plain, from_escape) = rest.split_at(at);
        let (byte, after) = unescape(from_escape);
        decoded.extend_from_slice(plain);
        decoded.push(byte);
        rest = after;
        next = memchr2(b'%', b'+', rest);
    }
    decoded.extend_from_slice(rest);
    Cow::Owned(decoded)
}

/// The byte that the `+` or `%` at the beginning stands for, and what follows.
fn unescape(text: &[u8]) -> (u8, &[u8]) {
    match text {
        [b'%', high, low, after @ ..] if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
            (high << 4 | low, after)
        }
        [b'%', after @ ..] => (b'%', after),
        other => (b' ', other.get(1..).unwrap_or_default()),
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => {
            str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
        }
        Cow::Owned(bytes) => Cow::Owned(
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text in a form.
    fn text_in(body: &str) -> Option<String> {
        read(body.as_bytes()).get(Field::Text).map(str::to_owned)
    }

    #[test]
    fn plus_and_escapes_are_decoded() {
        assert_eq!(text_in("text=a+b%2Bc%20%c3%A9").as_deref(), Some("a b+c é"));
    }

    #[test]
    fn bad_escapes_stay_as_they_are() {
        for bad in ["100%", "%", "%4", "%zz", "%4g", "%g4", "%%", "a%"] {
            assert_eq!(text_in(&format!("text={bad}")).as_deref(), Some(bad));
        }
        assert_eq!(text_in("text=%%41").as_deref(), Some("%A"));
        assert_eq!(text_in("text=%+5").as_deref(), Some("% 5"));
    }

    #[test]
    fn bad_utf8_becomes_the_replacement_character() {
        let fields = read(b"text=a\xff&user_name=%C3&channel_name=x%C3y");
        assert_eq!(fields.get(Field::Text), Some("a\u{FFFD}"));
        assert_eq!(fields.get(Field::UserName), Some("\u{FFFD}"));
        assert_eq!(fields.get(Field::ChannelName), Some("x\u{FFFD}y"));
    }

    #[test]
    fn keys_are_decoded_before_they_are_compared() {
        assert_eq!(text_in("te%78t=a").as_deref(), Some("a"));
        assert_eq!(text_in("text[]=a"), None);
        assert_eq!(text_in("+text=a"), None);
        assert_eq!(text_in("te%FFxt=a"), None);
    }

    #[test]
    fn the_first_equals_sign_divides() {
        assert_eq!(text_in("text=a=b==").as_deref(), Some("a=b=="));
        assert_eq!(text_in("=text=a"), None);
    }

    #[test]
    fn a_key_alone_has_an_empty_value() {
        assert_eq!(read(b"text").text(), Ok(""));
        assert_eq!(read(b"&&text=&").text(), Ok(""));
    }

    #[test]
    fn empty_segments_are_skipped() {
        assert_eq!(text_in("&&text=a&&").as_deref(), Some("a"));
        assert!(read(b"").text().is_err());
        assert!(read(b"&").text().is_err());
    }

    #[test]
    fn what_is_not_escaped_is_not_copied() {
        assert!(matches!(decode(b"abc"), Cow::Borrowed(b"abc")));
        assert!(matches!(text(Cow::Borrowed(b"abc")), Cow::Borrowed("abc")));
    }

    #[test]
    fn the_token_keeps_its_bytes() {
        let fields = read(b"token=%FF\xFE");
        let bytes = Value::Bytes(Cow::Owned(vec![0xFF, 0xFE]));
        assert_eq!(fields.value(Field::Token), Some(&bytes));
    }
}
