//! JSON object, split into its members.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tocsin_plugin_api::Refusal;

use super::{JsonError, count, list, string, string_lossy};
use crate::body;

/// Members of a JSON object in their order, with values that are not read yet.
///
/// The getters treat `null` as absent, as most senders do, and return an error with the path if a
/// key comes twice or its value has another type.
#[derive(Debug)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads a body that is one object. A key with half of a surrogate pair (`"\ud83d"`) is
    /// refused.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] if the body is anything else. The reason never quotes the body.
    pub fn from_body(body: &'a [u8]) -> Result<Self, Refusal> {
        Self::of_body(body, false)
    }

    /// Reads a body that is one object. In keys, U+FFFD takes the place of each half of a surrogate
    /// pair. Use this function for senders that are written in JavaScript and may cut an emoji in
    /// two.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] if the body is anything else. The reason never quotes the body.
    pub fn from_body_lossy(body: &'a [u8]) -> Result<Self, Refusal> {
        Self::of_body(body, true)
    }

    /// Reads an object that is part of a body.
    ///
    /// # Errors
    ///
    /// If the value has another type, or a key holds half of a surrogate pair.
    pub fn read(value: &'a RawValue) -> Result<Self, JsonError> {
        if !value.get().starts_with('{') {
            return Err(JsonError::other_type("an object", value));
        }
        Self::of_text::<Key<'a>>(value.get()).map_err(|error| JsonError::without_position(&error))
    }

    /// Returns the value of a key, if the key is there and its value is not `null`.
    ///
    /// # Errors
    ///
    /// If the key comes more than once.
    pub fn get(&self, key: &str) -> Result<Option<&'a RawValue>, JsonError> {
        let mut values = self.members().filter(|(name, _)| *name == key).map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() {
            return Err(JsonError::new("is repeated").at_key(key));
        }
        Ok(value.filter(|value| value.get() != "null"))
    }

    /// Returns the string of a key. An empty string counts as absent. See [`string()`].
    ///
    /// # Errors
    ///
    /// If the key comes more than once or its value is no string.
    pub fn string(&self, key: &str) -> Result<Option<Cow<'a, str>>, JsonError> {
        Ok(self.read_with(key, string)?.filter(|text| !text.is_empty()))
    }

    /// Returns the items of the list of a key. See [`list`].
    ///
    /// # Errors
    ///
    /// If the key comes more than once or its value is no list.
    pub fn list(&self, key: &str) -> Result<Option<Vec<&'a RawValue>>, JsonError> {
        self.read_with(key, list)
    }

    /// Returns the object of a key.
    ///
    /// # Errors
    ///
    /// If the key comes more than once or its value is no object.
    pub fn object(&self, key: &str) -> Result<Option<Object<'a>>, JsonError> {
        self.read_with(key, Object::read)
    }

    /// Returns the whole number of a key. See [`count`].
    ///
    /// # Errors
    ///
    /// If the key comes more than once or its value is no whole number.
    pub fn count(&self, key: &str) -> Result<Option<u64>, JsonError> {
        self.read_with(key, count)
    }

    /// Returns keys and values in their order, with `null`s and repeated keys.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    fn read_with<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, JsonError>,
    ) -> Result<Option<T>, JsonError> {
        self.get(key)?.map(read).transpose().map_err(|error| error.at_key(key))
    }

    fn of_body(body: &'a [u8], is_lossy: bool) -> Result<Self, Refusal> {
        let text = body::utf8(body)?;
        // If the body has another type, serde's error would quote the body.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Refusal::malformed("the body is not a JSON object"));
        }
        // Few bodies need the slower way to read keys, so the faster way is tried first.
        let mut object = Self::of_text::<Key<'a>>(text);
        if is_lossy && object.is_err() {
            object = Self::of_text::<LossyKey<'a>>(text);
        }
        object
            .map_err(|error| Refusal::malformed(format!("the body is not a JSON object: {error}")))
    }

    fn of_text<K: Deserialize<'a> + Into<Cow<'a, str>>>(
        text: &'a str,
    ) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let members = json.deserialize_map(MembersVisitor(PhantomData::<K>))?;
        json.end()?;
        Ok(Self { members })
    }
}

/// Number of members for which memory is allocated at once. Most objects have fewer.
const EXPECTED_MEMBERS: usize = 16;

/// Visitor that collects the members of an object, whose keys are read as `K`.
struct MembersVisitor<K>(PhantomData<K>);

impl<'de, K: Deserialize<'de> + Into<Cow<'de, str>>> Visitor<'de> for MembersVisitor<K> {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(EXPECTED_MEMBERS);
        while let Some((key, value)) = map.next_entry::<K, &RawValue>()? {
            members.push((key.into(), value));
        }
        Ok(members)
    }
}

/// Key that is read as text: serde's own [`Cow`] would copy it.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<Key<'a>> for Cow<'a, str> {
    fn from(key: Key<'a>) -> Self {
        key.0
    }
}

/// Key that is read as JSON, because `serde_json` reads no text with half of a surrogate pair.
#[derive(Deserialize)]
struct LossyKey<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> From<LossyKey<'a>> for Cow<'a, str> {
    fn from(key: LossyKey<'a>) -> Self {
        string_lossy(key.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Object<'_> {
        Object::from_body(json.as_bytes()).expect("an object")
    }

    fn reason(result: Result<Object<'_>, Refusal>) -> String {
        match result {
            Err(Refusal::Malformed { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn error<T>(result: Result<T, JsonError>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn getters_return_values_of_their_type() {
        let object = object(r#" {"a": "x\n", "b": [1, 2], "c": {"d": 7}, "e": ""} "#);
        assert_eq!(object.string("a"), Ok(Some("x\n".into())));
        assert_eq!(object.list("b").map(|list| list.map(|it| it.len())), Ok(Some(2)));
        let inner = object.object("c").expect("an object").expect("it is there");
        assert_eq!(inner.count("d"), Ok(Some(7)));
        assert_eq!(object.string("e"), Ok(None));
    }

    #[test]
    fn absent_and_null_are_none() {
        let object = object(r#"{"a": null}"#);
        for key in ["a", "b"] {
            assert_eq!(object.string(key), Ok(None));
            assert_eq!(object.count(key), Ok(None));
            assert!(matches!(object.list(key), Ok(None)));
            assert!(matches!(object.object(key), Ok(None)));
        }
    }

    #[test]
    fn a_value_of_another_type_is_named_with_its_path() {
        let object = object(r#"{"a": 1, "b": {"c": []}}"#);
        assert_eq!(error(object.string("a")), "`a`: expected a string, found a number");
        assert_eq!(error(object.list("b")), "`b`: expected a list, found an object");
        assert_eq!(error(object.object("a")), "`a`: expected an object, found a number");
        let inner = object.object("b").expect("an object").expect("it is there");
        let count = inner.count("c").map_err(|error| error.at_key("b"));
        assert_eq!(error(count), "`b.c`: expected a whole number, found a list");
    }

    #[test]
    fn a_repeated_key_is_an_error_once_it_is_asked_for() {
        let object = object(r#"{"a": null, "\u0061": "x", "b": 1, "b": 1, "c": "y"}"#);
        assert_eq!(error(object.string("a")), "`a`: is repeated");
        assert_eq!(error(object.count("b")), "`b`: is repeated");
        assert_eq!(object.string("c"), Ok(Some("y".into())));
        let keys: Vec<_> = object.members().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "a", "b", "b", "c"]);
    }

    #[test]
    fn members_that_are_not_asked_for_can_have_any_shape_and_depth() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let json = format!(
            r#"{{"a": {}, "b": 1e999, "c": "\ud800", "d": "x", "e": {{"f": {}}}}}"#,
            nested(300_000),
            nested(300_000)
        );
        let object = object(&json);
        assert_eq!(object.string("d"), Ok(Some("x".into())));
        assert!(object.object("e").is_ok());
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for other in ["", " ", "null", "[]", "\"{}\"", "1", "token=x", "\u{FEFF}{}"] {
            assert_eq!(
                reason(Object::from_body(other.as_bytes())),
                "the body is not a JSON object"
            );
        }
        assert_eq!(
            reason(Object::from_body(br#"{"a": s3cret}"#)),
            "the body is not a JSON object: expected value at line 1 column 7"
        );
        for broken in [
            "{",
            "{}{}",
            "{} x",
            r#"{"a":1,}"#,
            "{'a':1}",
            "{a:1}",
            "{\"a\":\"\n\"}",
            "{\"a\n\":1}",
            r#"{"a":"\u12"}"#,
            r#"{"a":"\uzzzz"}"#,
            r#"{"a":"\x41"}"#,
            r#"{"a":"\u+041"}"#,
            r#"{"a":"\"}"#,
        ] {
            for result in
                [Object::from_body(broken.as_bytes()), Object::from_body_lossy(broken.as_bytes())]
            {
                let reason = reason(result);
                assert!(
                    reason.starts_with("the body is not a JSON object: "),
                    "{broken}: {reason}"
                );
            }
        }
        assert_eq!(reason(Object::from_body(b"{\"a\":\"\xff\"}")), "the body is not UTF-8");
    }

    #[test]
    fn reasons_do_not_quote_the_body() {
        for body in [
            r#""s3cret""#,
            r#"{"token":"s3cret"} s3cret"#,
            r#"{"token":s3cret}"#,
            r#"{"s3cret":1,}"#,
            r#"{"s3cret\ud800":1}"#,
        ] {
            let reason = reason(Object::from_body(body.as_bytes()));
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_in_a_key_is_refused_or_replaced() {
        let json = r#"{"\ud83d": 1, "te\u0078t": "x", "text\udd25": 2}"#;
        let refused = reason(Object::from_body(json.as_bytes()));
        assert!(refused.starts_with("the body is not a JSON object: "), "{refused}");
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        assert!(error(Object::read(raw)).starts_with("the body is wrong: "));
        let lossy = Object::from_body_lossy(json.as_bytes()).expect("an object");
        assert_eq!(lossy.string("text"), Ok(Some("x".into())));
        let keys: Vec<_> = lossy.members().map(|(key, _)| key).collect();
        assert_eq!(keys, ["\u{FFFD}", "text", "text\u{FFFD}"]);
    }
}
