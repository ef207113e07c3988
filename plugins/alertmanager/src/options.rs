//! What an operator writes under `[integrations.NAME.options]`.
//!
//! It says what may be written; whether it makes sense is judged where it is used, in `new`.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tocsin_plugin_api::{Secrets, Urgency};

/// The options of one integration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The token that Alertmanager shows (`http_config.authorization.credentials`), or a list of
    /// tokens: of several Alertmanagers, or an old and a new one while it is being replaced. A
    /// notification without one of them is refused, unless `basic_auth` lets it in.
    pub bearer_token: Option<Secrets>,

    /// The user name and password that Alertmanager shows (`http_config.basic_auth`). Beside
    /// `bearer_token`, either will do.
    #[serde(deserialize_with = "basic_auth")]
    pub basic_auth: Option<BasicAuth>,

    /// Accepts notifications without looking at who sends them: anyone who can reach the endpoint
    /// can then raise and resolve alerts. Either this, `bearer_token` or `basic_auth` has to be
    /// set.
    pub unauthenticated: bool,

    /// The annotations that make the title: the first of them that an alert has. Where it has none,
    /// the labels `alertname` and `instance` make it.
    pub title_annotations: Vec<String>,

    /// The annotations that make the description: the first of them that an alert has.
    pub description_annotations: Vec<String>,

    /// The label that says how urgent an alert is.
    pub severity_label: String,

    /// What values of that label mean, in any case: `urgencies = { p1 = "critical" }`. They come
    /// before those that are known anyway.
    pub urgencies: BTreeMap<String, Urgency>,

    /// Whether repeats count. A repeated notification that an alert fires then adds an occurrence
    /// to the alert if it is open, and opens a new one, which links to the one before, if it was
    /// resolved: by hand, or because Alertmanager heard nothing of it for a while. With `false`,
    /// repeats change nothing.
    pub reopen: bool,

    /// Text before every key of an alert, 1 to 128 characters, so that equal alerts of several
    /// Alertmanagers that share the integration stay apart. `{receiver}` and `{externalURL}` in it
    /// stand for what a notification says there.
    #[schemars(length(min = 1, max = 128))]
    pub key_prefix: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bearer_token: None,
            basic_auth: None,
            unauthenticated: false,
            title_annotations: vec!["summary".into()],
            description_annotations: vec!["description".into(), "message".into()],
            severity_label: "severity".into(),
            urgencies: BTreeMap::new(),
            reopen: true,
            key_prefix: None,
        }
    }
}

/// A user name and its password, as HTTP's basic authentication has them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user name. It is empty if Alertmanager shows a password alone.
    pub username: String,

    /// The password, never empty, or a list of passwords: an old and a new one while it is being
    /// replaced.
    pub password: Secrets,
}

/// Only a table. What else somebody writes there may hold the password, as in `"user:password"`,
/// and serde's own errors would repeat it.
fn basic_auth<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BasicAuth>, D::Error> {
    from.deserialize_any(TableVisitor)
}

struct TableVisitor;

impl TableVisitor {
    fn refuse<T, E: de::Error>() -> Result<T, E> {
        Err(E::custom("expected a table with `username` and `password`"))
    }
}

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Option<BasicAuth>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with `username` and `password`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        BasicAuth::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Self::refuse()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Self::refuse()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Self::refuse()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Self::refuse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Options, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let options = read(r#"{"basic_auth": null}"#).expect("options");
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn an_account_is_a_table_and_nothing_else() {
        let account = r#"{"basic_auth": {"username": "am", "password": ["old", "new"]}}"#;
        assert!(read(account).expect("options").basic_auth.is_some());
        for other in [r#""am:31337""#, "31337", "-31337", "31337.5", r#"["am", "31337"]"#, "true"] {
            let error = read(&format!(r#"{{"basic_auth": {other}}}"#)).expect_err("no table");
            assert!(error.contains("expected a table with `username` and `password`"), "{error}");
            assert!(!error.contains("31337"), "{error}");
        }
    }
}
