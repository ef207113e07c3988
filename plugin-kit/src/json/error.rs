//! Error in JSON, with the path to the value.

use std::fmt;

use serde_json::value::RawValue;
use tocsin_plugin_api::Refusal;

/// Longest part of a key that is shown, in characters: the sender may choose the key.
const SHOWN_KEY_CHARS: usize = 64;

/// Error in a JSON value: what is wrong, and the path from the body to the value.
///
/// The error begins without a path, where the value is read, and each caller adds its part of the
/// path with [`at_key`](Self::at_key) or [`at_index`](Self::at_index). As a [`Refusal`] it is
/// [`Malformed`](Refusal::Malformed), so `?` works in `receive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Keys and indexes, as in `alerts[0].labels`. Empty for the body itself.
    path: String,
    message: String,
}

impl JsonError {
    /// Makes an error without a path. The message must not quote the value.
    pub fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// Makes the error "is missing" for a member of an object.
    pub fn missing(key: &str) -> Self {
        Self::new("is missing").at_key(key)
    }

    /// Puts a key in front of the path: the object that is read has the value under this key. Of a
    /// long key, only the beginning is shown.
    #[must_use]
    pub fn at_key(self, key: &str) -> Self {
        let shown: String = key.chars().filter(|c| !c.is_control()).take(SHOWN_KEY_CHARS).collect();
        self.behind(&shown)
    }

    /// Puts an index in front of the path: the list that is read has the value at this index.
    #[must_use]
    pub fn at_index(self, index: usize) -> Self {
        self.behind(&format!("[{index}]"))
    }

    /// Returns the path from the body to the value, such as `alerts[0].labels`; empty for the body.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the message, without the path.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Makes the error for a value of another type than expected.
    pub(super) fn other_type(expected: &str, value: &RawValue) -> Self {
        let found = match value.get().as_bytes() {
            [b'"', ..] => "a string",
            [b'[', ..] => "a list",
            [b'{', ..] => "an object",
            [b't' | b'f', ..] => "a boolean",
            [b'n', ..] => "null",
            _ if expected == "a whole number" => "another number",
            _ => "a number",
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    /// Takes over an error of serde, without the position: serde counts from the beginning of the
    /// value, not from the beginning of the body.
    pub(super) fn without_position(error: &serde_json::Error) -> Self {
        let mut message = error.to_string();
        message.truncate(message.rfind(" at line ").unwrap_or(message.len()));
        Self::new(message)
    }

    fn behind(self, step: &str) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Self { path: [step, joint, &self.path].concat(), message: self.message }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the body is wrong: {}", self.message),
            path => write!(f, "`{path}`: {}", self.message),
        }
    }
}

impl std::error::Error for JsonError {}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        Self::malformed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_from_the_body_to_the_value() {
        let empty = || JsonError::new("empty");
        assert_eq!(empty().to_string(), "the body is wrong: empty");
        let error = empty().at_key("x").at_key("labels").at_index(3).at_key("alerts");
        assert_eq!(error.to_string(), "`alerts[3].labels.x`: empty");
        assert_eq!((error.path(), error.message()), ("alerts[3].labels.x", "empty"));
        assert_eq!(empty().at_index(0).at_key("alerts").to_string(), "`alerts[0]`: empty");
        assert_eq!(empty().at_index(1).at_index(0).to_string(), "`[0][1]`: empty");
        assert_eq!(JsonError::missing("status").to_string(), "`status`: is missing");
    }

    #[test]
    fn a_key_of_the_sender_is_shown_without_control_characters_and_not_in_full() {
        let long = "k\u{1b}".repeat(1000);
        let error = JsonError::new("empty").at_key(&long);
        assert_eq!(error.to_string(), format!("`{}`: empty", "k".repeat(64)));
    }

    #[test]
    fn an_error_is_a_malformed_request() {
        let refusal = Refusal::malformed("`a`: is missing");
        assert_eq!(Refusal::from(JsonError::missing("a")), refusal);
    }
}
