//! A request that can be sent to a child, kept, changed and shown.
//!
//! It is no HTTP: what a host's listener would refuse can be written here.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tocsin_plugin_api::{Request, request::Header};

/// One request, for one of several instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it is called in a report.
    pub name: String,
    /// Which instance it is for.
    pub options: usize,
    /// Names in lower case.
    pub headers: Vec<(String, Bytes)>,
    /// Without its question mark.
    pub query: String,
    /// The body, or how it is made.
    pub body: Body,
}

/// Bytes that are base64 on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// A body: as it is, or so long that it is only described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// As it is.
    Whole(Bytes),
    /// `prefix`, `count` times `unit`, `suffix`.
    Repeated {
        /// What comes first.
        prefix: Bytes,
        /// What comes often.
        unit: Bytes,
        /// How often.
        count: usize,
        /// What comes last.
        suffix: Bytes,
    },
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Bytes::default())
    }
}

impl Body {
    /// The whole of it.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Whole(Bytes(bytes)) => bytes.clone(),
            Self::Repeated { prefix, unit, count, suffix } => {
                [&prefix.0[..], &unit.0.repeat(*count), &suffix.0].concat()
            }
        }
    }

    /// How long the whole of it is.
    pub fn length_bytes(&self) -> usize {
        match self {
            Self::Whole(Bytes(bytes)) => bytes.len(),
            Self::Repeated { prefix, unit, count, suffix } => {
                prefix.0.len() + unit.0.len() * count + suffix.0.len()
            }
        }
    }
}

impl Message {
    /// A message of that name, with a content type.
    pub fn new(name: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".into(), Bytes(content_type.into()))];
        let body = Body::Whole(Bytes(body.into()));
        Self { name: name.into(), headers, body, ..Self::default() }
    }

    /// Lends it as the request that a plugin sees.
    pub fn lend<T>(&self, to: impl FnOnce(&Request<'_>) -> T) -> T {
        let body = match &self.body {
            Body::Whole(Bytes(bytes)) => std::borrow::Cow::Borrowed(&bytes[..]),
            repeated => repeated.bytes().into(),
        };
        let headers = self.headers.iter().map(|(name, value)| Header::new(name, &value.0));
        let headers: Vec<_> = headers.collect();
        to(&Request::new("POST", &self.query, &headers, &body))
    }

    /// With its body made, so that lending it takes no memory.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.body = Body::Whole(Bytes(self.body.bytes()));
        self
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        BASE64_STANDARD.decode(&*text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}
