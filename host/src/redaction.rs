//! Redaction: replaces secrets in text that is shown.
//!
//! Stored requests are not redacted: a replay has to verify their secrets again.

use std::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use memchr::memmem::Finder;

/// The text in place of a secret.
pub(crate) const REDACTED: &str = "[blanked]";

/// Headers whose values are always secrets, whatever the integration.
const SECRET_HEADERS: &[&str] = &["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// Replaces the secrets of one integration in text, in every form in which a sender may have written
/// them.
#[derive(Clone)]
pub(crate) struct Redactor {
    /// Each secret in each form, the longest first.
    forms: Vec<Vec<u8>>,
}

impl Redactor {
    /// Creates a redactor of these secrets; see [`Redactor::text`].
    pub(crate) fn new(secrets: &[String]) -> Self {
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        let mut forms: Vec<_> = secrets.flat_map(|secret| forms(secret)).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    /// Returns a text without the secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// Returns bytes without the secrets.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for form in &self.forms {
            let finder = Finder::new(form);
            let (mut redacted, mut end) = (Vec::new(), 0);
            for start in finder.find_iter(&bytes) {
                redacted.extend_from_slice(&bytes[end..start]);
                redacted.extend_from_slice(REDACTED.as_bytes());
                end = start + form.len();
            }
            if end > 0 {
                redacted.extend_from_slice(&bytes[end..]);
                bytes = redacted;
            }
        }
        bytes
    }

    /// Returns the value of a header without secrets.
    pub(crate) fn header(&self, name: &str, value: &[u8]) -> String {
        if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            return REDACTED.into();
        }
        String::from_utf8_lossy(&self.bytes(value)).into_owned()
    }
}

/// Returns a secret as it is, and as HTML forms, JSON and basic authentication write it.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    let escaped = |space: &str, upper: bool| {
        let mut text = String::new();
        for byte in secret.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-_.*~".contains(&byte);
            // Writing to a string cannot fail.
            let _ = match byte {
                b' ' if !space.is_empty() => write!(text, "{space}"),
                byte if is_plain => write!(text, "{}", char::from(byte)),
                byte if upper => write!(text, "%{byte:02X}"),
                byte => write!(text, "%{byte:02x}"),
            };
        }
        text
    };
    let mut forms = vec![
        secret.to_owned(),
        json,
        BASE64_STANDARD.encode(secret),
        escaped("+", true),
        escaped("", true),
        escaped("+", false),
        escaped("", false),
    ];
    forms.dedup();
    forms.into_iter().map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted_in_every_form() {
        let redactor = Redactor::new(&["a b/\"c".to_owned(), "tok".to_owned(), String::new()]);
        for (text, expected) in [
            ("x=a b/\"c&y", "x=[blanked]&y"),
            ("x=a+b%2F%22c", "x=[blanked]"),
            ("x=a%20b%2f%22c", "x=[blanked]"),
            (r#"{"x":"a b/\"c"}"#, r#"{"x":"[blanked]"}"#),
            ("Basic YSBiLyJj", "Basic [blanked]"),
            ("tok tok", "[blanked] [blanked]"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(redactor.text(text), expected);
        }
    }

    #[test]
    fn headers_that_always_carry_secrets_are_redacted() {
        let redactor = Redactor::new(&[]);
        assert_eq!(redactor.header("Authorization", b"Bearer x"), REDACTED);
        assert_eq!(redactor.header("content-type", b"text/plain"), "text/plain");
    }
}
