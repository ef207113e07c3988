//! [`Fields`] of a form.

use tocsin_plugin_kit::form;

use crate::fields::{Field, Fields, Value};

/// Reads the fields of a form. Every sequence of bytes is a form.
pub(crate) fn read(body: &[u8]) -> Fields<'_> {
    let mut fields = Fields::default();
    for field in form::fields(body) {
        match Field::of(&field.name) {
            Some(Field::Token) => fields.put(Field::Token, Value::Bytes(field.bytes())),
            Some(name) => fields.put(name, Value::Text(field.text)),
            None => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_in(body: &str) -> Option<String> {
        read(body.as_bytes()).get(Field::Text).map(str::to_owned)
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(text_in("te%78t=a+b%2Bc%20%c3%A9").as_deref(), Some("a b+c é"));
        assert_eq!(text_in("text=100%").as_deref(), Some("100%"));
        assert_eq!(text_in("text=a=b==").as_deref(), Some("a=b=="));
    }

    #[test]
    fn bad_utf8_becomes_the_replacement_character() {
        let fields = read(b"text=a\xff&user_name=%C3&channel_name=x%C3y");
        assert_eq!(fields.get(Field::Text), Some("a\u{FFFD}"));
        assert_eq!(fields.get(Field::UserName), Some("\u{FFFD}"));
        assert_eq!(fields.get(Field::ChannelName), Some("x\u{FFFD}y"));
    }

    #[test]
    fn names_that_only_resemble_a_field_are_ignored() {
        for body in ["text[]=a", "+text=a", "te%FFxt=a", "Text=a", "=text=a"] {
            assert_eq!(text_in(body), None, "{body}");
        }
    }

    #[test]
    fn a_name_alone_has_an_empty_value() {
        assert_eq!(read(b"text").text(), Ok(""));
        assert_eq!(read(b"&&text=&").text(), Ok(""));
    }

    #[test]
    fn a_form_without_a_text_has_none() {
        assert!(read(b"").text().is_err());
        assert!(read(b"&").text().is_err());
    }

    #[test]
    fn the_token_keeps_its_bytes() {
        let fields = read(b"token=%FF\xFE");
        let bytes = Value::Bytes(vec![0xFF, 0xFE].into());
        assert_eq!(fields.value(Field::Token), Some(&bytes));
    }
}
