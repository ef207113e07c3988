//! Options table that an operator writes under `[destinations.NAME.options]`.
//!
//! Only the types of the options are checked here. The file that uses an option checks the option's
//! value.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tocsin_plugin_api::{Secret, Secrets};

/// Options of one destination.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address to which the news is posted. Records show it, so it must not contain a secret. Required
    /// unless `secret_url` is set.
    pub url: Option<String>,

    /// Address in place of `url` if the address itself is a secret, such as one with a token in its path
    /// or its query. Records show only scheme, host and port.
    pub secret_url: Option<Secret>,

    /// Headers that are sent with every request. Records show them.
    pub headers: BTreeMap<String, String>,

    /// Headers that are sent with every request, with values that records do not show.
    pub secret_headers: BTreeMap<String, Secret>,

    /// Template of the body. Default: a `CloudEvent`.
    pub body: Option<String>,

    /// Content type of the body that the template makes. If it is a type of JSON, a body that is not JSON
    /// is never sent. Default: `application/json`.
    pub content_type: Option<String>,

    /// Key that signs each request by Standard Webhooks, `whsec_` and 24 to 64 bytes in base64, or a list
    /// of up to 8 keys: a new and an old one during a rotation.
    pub secrets: Option<Secrets>,

    /// Token that is sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,

    /// User name and password of HTTP basic authentication, in place of `bearer`.
    #[serde(deserialize_with = "basic_auth")]
    pub basic: Option<BasicAuth>,
}

/// User name and password of HTTP basic authentication.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// User name, which may be empty.
    pub username: String,

    /// Password.
    pub password: Secret,
}

/// Reads the option `basic` and refuses anything but a table. Other values can contain the password, as in
/// `"user:password"`, and serde's own errors would quote it.
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
