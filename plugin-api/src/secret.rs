//! [`Secret`] and [`Secrets`]: values that must not be shown. They are redacted when printed, wiped from
//! memory when dropped, and compared in constant time.
//!
//! Secrets deliberately do not implement `Serialize`.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// A secret: a token, a password, a key. A secret that is read from a configuration is never empty.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret with this value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// Returns true if `candidate` is exactly this secret. The duration of the comparison depends only on
    /// the two lengths.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.equals(candidate).into()
    }

    /// Returns the value. Call this function only where the secret has to be passed on.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn equals(&self, candidate: &[u8]) -> Choice {
        self.0.as_bytes().ct_eq(candidate)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Secrets(secrets) = from.deserialize_any(SecretsVisitor { list: false })?;
        // Without `list`, the visitor gives exactly one secret.
        secrets.into_iter().next().ok_or_else(|| de::Error::custom(ONE))
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "format": "password", "writeOnly": true})
    }
}

/// A list of secrets, any of which is valid: for several senders, or for an old and a new token during a
/// change. In a configuration, a single string is a list of one; an empty list is an error.
#[derive(Clone)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// A list of these [secrets](Secret).
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// Returns the secrets in their order, for a notifier that has to pass them on.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Secret> {
        self.0.iter()
    }

    /// Returns true if `candidate` is one of the secrets. Always compares all of them, so that the duration
    /// does not show which one matched.
    pub fn match_any(&self, candidate: &[u8]) -> bool {
        let none = Choice::from(0);
        self.0.iter().fold(none, |found, secret| found | secret.equals(candidate)).into()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} redacted)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SecretsVisitor { list: true })
    }
}

impl JsonSchema for Secrets {
    fn schema_name() -> Cow<'static, str> {
        "Secrets".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = Secret::json_schema(generator);
        json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    }
}

const ONE: &str = "expected a string";
const ONE_OR_MANY: &str = "expected a string or a list of strings";

/// A visitor whose errors do not repeat the value. The errors of serde's own visitors repeat it.
struct SecretsVisitor {
    list: bool,
}

impl SecretsVisitor {
    fn refuse<T, E: de::Error>(&self) -> Result<T, E> {
        Err(E::custom(if self.list { ONE_OR_MANY } else { ONE }))
    }
}

impl<'de> Visitor<'de> for SecretsVisitor {
    type Value = Secrets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Secrets, E> {
        if value.is_empty() {
            return Err(E::custom("a secret must not be empty"));
        }
        Ok(Secrets(vec![Secret::new(value)]))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Secrets, E> {
        self.visit_str(&Zeroizing::new(value))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Secrets, A::Error> {
        if !self.list {
            return self.refuse();
        }
        let mut secrets = Vec::new();
        while let Some(secret) = seq.next_element()? {
            secrets.push(secret);
        }
        if secrets.is_empty() {
            return Err(de::Error::invalid_value(Unexpected::Seq, &"at least one secret"));
        }
        Ok(Secrets(secrets))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secrets, E> {
        self.refuse()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secrets, E> {
        self.refuse()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secrets, E> {
        self.refuse()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secrets, E> {
        self.refuse()
    }

    fn visit_unit<E: de::Error>(self) -> Result<Secrets, E> {
        self.refuse()
    }

    fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Secrets, A::Error> {
        self.refuse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Secrets, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn matches_each_secret_of_a_list_and_nothing_else() {
        let secrets = read(r#"["old", "new"]"#).expect("a list");
        assert!(secrets.match_any(b"old") && secrets.match_any(b"new"));
        for wrong in [&b""[..], b"ol", b"oldd", b"old ", b"Old", b"oldnew"] {
            assert!(!secrets.match_any(wrong), "{wrong:?}");
        }
        assert!(read(r#""one""#).expect("a string").match_any(b"one"));
    }

    #[test]
    fn debug_output_and_errors_do_not_show_the_value() {
        let shown = format!("{:?} {:?}", Secret::new("hunter2"), Secrets::new([Secret::new("x")]));
        assert_eq!(shown, "Secret(redacted) Secrets(1 redacted)");
        for wrong in ["31337", "-31337", "31337.5", "[31337]", r#"{"k":"31337"}"#, "true", "null"] {
            let error = read(wrong).expect_err("not a secret");
            assert!(!error.contains("31337"), "{error}");
            assert!(error.contains("expected a string"), "{error}");
        }
        let error = serde_json::from_str::<Secret>(r#"["31337"]"#).expect_err("a list");
        assert!(error.to_string().starts_with("expected a string"), "{error}");
    }

    #[test]
    fn refuses_an_empty_secret() {
        for empty in [r#""""#, "[]", r#"["a", ""]"#] {
            read(empty).expect_err("empty");
        }
    }
}
