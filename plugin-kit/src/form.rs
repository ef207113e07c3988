//! Forms (`application/x-www-form-urlencoded`), decoded by the URL standard
//! (<https://url.spec.whatwg.org/#urlencoded-parsing>).
//!
//! Every sequence of bytes is a form, so no function of this module returns an error: a `%` that
//! begins no valid escape stays as it is, and bad UTF-8 becomes U+FFFD. Brackets in names have no
//! meaning: `text[]` is a name like any other.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, decoded.
    pub name: Cow<'a, str>,
    /// The value, decoded. Bad UTF-8 in it became U+FFFD: compare a token with
    /// [`bytes`](Self::bytes) instead.
    pub text: Cow<'a, str>,
    /// The value as it stands in the body.
    encoded: &'a [u8],
}

impl<'a> Field<'a> {
    /// Returns the exact bytes of the value, decoded.
    ///
    /// Use the exact bytes to compare a token: in [`text`](Self::text), every sequence of bad bytes
    /// looks like U+FFFD, and a token that holds U+FFFD could be matched by bytes that are not that
    /// token.
    ///
    /// ```
    /// use tocsin_plugin_kit::form::fields;
    ///
    /// let token = fields(b"token=a%FF+b").next().expect("a field");
    /// assert_eq!(token.text, "a\u{FFFD} b");
    /// assert_eq!(token.bytes().as_ref(), b"a\xFF b");
    /// ```
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        // `form_urlencoded` returns text only, so the bytes are decoded again with the crate that
        // `form_urlencoded` uses.
        if !self.encoded.iter().any(|byte| matches!(byte, b'+' | b'%')) {
            return Cow::Borrowed(self.encoded);
        }
        let spaced: Vec<u8> =
            self.encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        Cow::Owned(percent_decode(&spaced).collect())
    }
}

/// Returns the fields of a form in their order. Names can repeat.
///
/// ```
/// use tocsin_plugin_kit::form::fields;
///
/// let fields: Vec<_> = fields(b"text=disk+full%21&user").collect();
/// assert_eq!((fields[0].name.as_ref(), fields[0].text.as_ref()), ("text", "disk full!"));
/// assert_eq!((fields[1].name.as_ref(), fields[1].text.as_ref()), ("user", ""));
/// ```
pub fn fields(body: &[u8]) -> impl Iterator<Item = Field<'_>> {
    body.split(|byte| *byte == b'&').filter_map(field)
}

/// Decodes a name with its value. An empty sequence is no field.
fn field(pair: &[u8]) -> Option<Field<'_>> {
    let (name, text) = form_urlencoded::parse(pair).next()?;
    let equals = pair.iter().position(|byte| *byte == b'=');
    let encoded = equals.map_or(&[][..], |at| &pair[at + 1..]);
    Some(Field { name, text, encoded })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names and texts of a form.
    fn pairs(body: &[u8]) -> Vec<(String, String)> {
        fields(body).map(|field| (field.name.into_owned(), field.text.into_owned())).collect()
    }

    /// The text of the first field.
    fn text(body: &str) -> String {
        pairs(body.as_bytes()).remove(0).1
    }

    #[test]
    fn plus_and_escapes_are_decoded() {
        assert_eq!(text("text=a+b%2Bc%20%c3%A9"), "a b+c é");
    }

    #[test]
    fn bad_escapes_stay_as_they_are() {
        for bad in ["100%", "%", "%4", "%zz", "%4g", "%g4", "%%", "a%"] {
            assert_eq!(text(&format!("text={bad}")), bad);
        }
        assert_eq!(text("text=%%41"), "%A");
        assert_eq!(text("text=%+5"), "% 5");
    }

    #[test]
    fn bad_utf8_becomes_the_replacement_character() {
        let pairs = pairs(b"a=a\xff&b=%C3&c=x%C3y");
        let texts: Vec<_> = pairs.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a\u{FFFD}", "\u{FFFD}", "x\u{FFFD}y"]);
    }

    #[test]
    fn the_first_equals_sign_divides() {
        assert_eq!(pairs(b"text=a=b=="), [("text".into(), "a=b==".into())]);
        assert_eq!(pairs(b"=text=a"), [("".into(), "text=a".into())]);
    }

    #[test]
    fn empty_sequences_are_skipped_and_a_name_alone_has_an_empty_value() {
        assert_eq!(pairs(b"&&text=a&b&&"), [("text".into(), "a".into()), ("b".into(), "".into())]);
        assert_eq!(pairs(b""), []);
        assert_eq!(pairs(b"&"), []);
    }

    #[test]
    fn names_are_decoded_and_can_repeat() {
        let names: Vec<_> = fields(b"te%78t=1&text=2&text[]=3&+text=4&te%FFxt=5")
            .map(|field| field.name.into_owned())
            .collect();
        assert_eq!(names, ["text", "text", "text[]", " text", "te\u{FFFD}xt"]);
    }

    #[test]
    fn unescaped_values_are_not_copied() {
        let field = fields(b"text=abc").next().expect("a field");
        assert!(matches!(field.text, Cow::Borrowed("abc")));
        assert!(matches!(field.bytes(), Cow::Borrowed(b"abc")));
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_text_where_it_is_utf8(body in "[a=&%+0-9é]{0,40}") {
            for field in fields(body.as_bytes()) {
                let bytes = field.bytes();
                prop_assert_eq!(String::from_utf8_lossy(&bytes), field.text);
            }
        }
    }
}
