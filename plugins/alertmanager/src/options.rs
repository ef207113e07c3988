//! Options table that an operator writes under `[integrations.NAME.options]`, or under
//! `[destinations.NAME.options]`.
//!
//! Only the types of the options are checked here. The file that uses an option checks the option's
//! value.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tocsin_plugin_api::{Secrets, Urgency};

/// Options of one integration, or of one destination if `url` is set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// For a destination, which must have it: base address of the Alertmanager to which alerts are
    /// sent, such as `http://alertmanager:9093`. Beside it, a destination can have `bearer_token` or
    /// `basic_auth`, and no other option. An integration must not have it.
    pub url: Option<String>,

    /// Token that Alertmanager sends (`http_config.authorization.credentials`), or a list of
    /// tokens: of several Alertmanagers, or an old and a new one during a rotation. A notification
    /// without one of the tokens is refused, unless `basic_auth` accepts it. For a destination: the
    /// one token that is sent to Alertmanager.
    pub bearer_token: Option<Secrets>,

    /// User name and password that Alertmanager sends (`http_config.basic_auth`). If `bearer_token`
    /// is set as well, either of the two is accepted. For a destination: the account that is sent to
    /// Alertmanager, in place of `bearer_token`.
    #[serde(deserialize_with = "basic_auth")]
    pub basic_auth: Option<BasicAuth>,

    /// Accepts notifications without authentication: anyone who can reach the endpoint can then
    /// raise and resolve alerts. Required if neither `bearer_token` nor `basic_auth` is set.
    pub unauthenticated: bool,

    /// Names of the annotations for the title; the first that an alert has is used. If an alert has
    /// none of them, its labels `alertname` and `instance` make the title.
    pub title_annotations: Vec<String>,

    /// Names of the annotations for the description; the first that an alert has is used.
    pub description_annotations: Vec<String>,

    /// Name of the label with the severity of an alert, which decides its urgency.
    pub severity_label: String,

    /// Urgencies for values of the severity label, in any case: `urgencies = { p1 = "critical" }`.
    /// These names take precedence over the built-in values.
    pub urgencies: BTreeMap<String, Urgency>,

    /// Makes repeated notifications of a firing alert count: a repeat adds an occurrence to the
    /// alert if it is open. If the alert was resolved (by hand, or because Alertmanager heard
    /// nothing of it for a while), a repeat opens a new alert, which links to the old one. With
    /// `false`, repeats change nothing.
    pub reopen: bool,

    /// Text in front of every key of an alert, 1 to 128 characters. Keeps equal alerts of several
    /// Alertmanagers apart that share the integration. The placeholders `{receiver}` and
    /// `{externalURL}` stand for the fields of those names in a notification.
    #[schemars(length(min = 1, max = 128))]
    pub key_prefix: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: None,
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

/// User name and password of HTTP basic authentication.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// User name. Empty if Alertmanager sends a password alone.
    pub username: String,

    /// Password, never empty, or a list of passwords: an old and a new one during a rotation.
    pub password: Secrets,
}

/// Reads the option `basic_auth` and refuses anything but a table. Other values can contain the
/// password, as in `"user:password"`, and serde's own errors would quote it.
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
    fn an_option_that_is_not_set_has_its_default() {
        let options = read(r#"{"basic_auth": null}"#).expect("options");
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn basic_auth_is_a_table_and_its_errors_quote_nothing() {
        let account = r#"{"basic_auth": {"username": "am", "password": ["old", "new"]}}"#;
        assert!(read(account).expect("options").basic_auth.is_some());
        for other in [r#""am:31337""#, "31337", "-31337", "31337.5", r#"["am", "31337"]"#, "true"] {
            let error = read(&format!(r#"{{"basic_auth": {other}}}"#)).expect_err("not a table");
            assert!(error.contains("expected a table with `username` and `password`"), "{error}");
            assert!(!error.contains("31337"), "{error}");
        }
    }
}
