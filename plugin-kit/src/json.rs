//! Reads JSON. Errors name the path to the wrong value, and never quote a value.
//!
//! Values are read on demand: [`Object`] splits one object into its members and leaves their values
//! as they are ([`RawValue`]). A member that nobody asks for can have any shape and any depth, so a
//! new field of a sender causes no error. A key that comes twice is an error as soon as it is asked
//! for, because receivers disagree on which of the two values counts (RFC 8259, section 4).
//!
//! Error messages reach the sender and the log of the operator. For that reason they hold names and
//! types, but no values, which may be secret.
//!
//! ```
//! use tocsin_plugin_kit::json::{JsonError, Object};
//!
//! let body = br#"{"alerts": [{"status": "firing"}, {"status": 7}]}"#;
//! let notification = Object::from_body(body)?;
//! let mut statuses = notification.list("alerts")?.unwrap_or_default().into_iter().enumerate().map(
//!     |(index, alert)| {
//!         let status = Object::read(alert).and_then(|alert| alert.string("status"));
//!         status.map_err(|error| error.at_index(index).at_key("alerts"))
//!     },
//! );
//! assert_eq!(statuses.next(), Some(Ok(Some("firing".into()))));
//! let error = statuses.next().and_then(Result::err).expect("an error");
//! assert_eq!(error.to_string(), "`alerts[1].status`: expected a string, found a number");
//! # Ok::<(), tocsin_plugin_api::Refusal>(())
//! ```

mod error;
mod object;
mod string;

use serde_json::value::RawValue;

pub use self::{
    error::JsonError,
    object::Object,
    string::{string, string_bytes, string_lossy},
};

/// Reads the items of a list.
///
/// # Errors
///
/// If the value has another type.
pub fn list(value: &RawValue) -> Result<Vec<&RawValue>, JsonError> {
    if !value.get().starts_with('[') {
        return Err(JsonError::other_type("a list", value));
    }
    serde_json::from_str(value.get()).map_err(|error| JsonError::without_position(&error))
}

/// Reads a whole number that is not negative.
///
/// # Errors
///
/// If the value is another number or has another type.
pub fn count(value: &RawValue) -> Result<u64, JsonError> {
    value.get().parse().map_err(|_| JsonError::other_type("a whole number", value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).expect("JSON")
    }

    fn error<T>(result: Result<T, JsonError>) -> String {
        result.err().expect("an error").message().to_owned()
    }

    #[test]
    fn a_list_has_items_of_any_type() {
        let items = list(raw(r#"[1, "a", [], {"b": null}]"#)).expect("a list");
        let items: Vec<_> = items.into_iter().map(RawValue::get).collect();
        assert_eq!(items, ["1", r#""a""#, "[]", r#"{"b": null}"#]);
        assert_eq!(error(list(raw("{}"))), "expected a list, found an object");
        assert_eq!(error(list(raw("null"))), "expected a list, found null");
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        assert_eq!(count(raw("0")), Ok(0));
        assert_eq!(count(raw("18446744073709551615")), Ok(u64::MAX));
        for other in ["-1", "1.0", "1e3", "18446744073709551616"] {
            assert_eq!(error(count(raw(other))), "expected a whole number, found another number");
        }
        assert_eq!(error(count(raw("\"1\""))), "expected a whole number, found a string");
    }
}
