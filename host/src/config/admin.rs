//! `[admin]`: the listener for the API, and the tokens that open it.

use std::{fmt, net::SocketAddr};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tocsin_plugin_api::Secret;

use super::{scope::Scope, tls::Tls};

/// `[admin]`: the listener for the API, metrics and health.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Admin {
    /// Address and port. Default `127.0.0.1:8081`.
    pub listen: SocketAddr,
    /// Most connections that are served at once. On further connections only health checks are
    /// answered. Default 256.
    pub max_connections: usize,
    /// Bearer [tokens](AdminToken), each of which opens the API. Required unless `listen` is loopback.
    pub tokens: Vec<AdminToken>,
    /// Certificate and key of the listener, which then speaks TLS only. Default: none, plain HTTP.
    pub tls: Option<Tls>,
}

impl Default for Admin {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8081));
        Self { listen, max_connections: 256, tokens: Vec::new(), tls: None }
    }
}

/// A bearer token of the API, written alone or as a table with a name.
#[derive(Clone, Debug)]
pub(crate) struct AdminToken {
    /// The user of the token in the histories of alerts. Without a name, histories show the token's place
    /// in the list.
    pub name: Option<String>,
    /// The token.
    pub token: Secret,
    /// The widest of its scopes; none if it opens nothing, which is refused. Default: [`Scope::Admin`].
    pub scope: Option<Scope>,
}

impl AdminToken {
    /// Returns true if name, scope and token are equal. The tokens are compared in constant time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.scope) == (&other.name, other.scope)
            && self.token.matches(other.token.expose().as_bytes())
    }
}

impl<'de> Deserialize<'de> for AdminToken {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TokenVisitor)
    }
}

const EXPECTED: &str = "expected a token, or a table with `name` and `token`";

/// Reads an [`AdminToken`]. Its errors repeat no value, which may be a token of the wrong type.
struct TokenVisitor;

impl<'de> Visitor<'de> for TokenVisitor {
    type Value = AdminToken;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_str<E: de::Error>(self, token: &str) -> Result<AdminToken, E> {
        let token = Secret::deserialize(de::value::StrDeserializer::new(token))?;
        Ok(AdminToken { name: None, token, scope: Some(Scope::Admin) })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AdminToken, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            name: String,
            token: Secret,
            scopes: Option<Vec<Scope>>,
        }
        let Named { name, token, scopes } = Named::deserialize(MapAccessDeserializer::new(map))?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
            return Err(de::Error::custom(
                "the name of a token is 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.` and `@`",
            ));
        }
        let scope = scopes.map_or(Some(Scope::Admin), |scopes| scopes.into_iter().max());
        Ok(AdminToken { name: Some(name), token, scope })
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<AdminToken, E> {
        Err(E::custom(EXPECTED))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<AdminToken, E> {
        Err(E::custom(EXPECTED))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<AdminToken, E> {
        Err(E::custom(EXPECTED))
    }
}
