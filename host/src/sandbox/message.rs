//! A request or an attempt that can be sent to a child, stored, changed and shown.
//!
//! A message need not be valid HTTP: it can hold what a host's listener would refuse.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tocsin_plugin_api::{Request, request::Header};

use super::attempt::ScriptedAttempt;

/// A request, or an attempt of a notifier, for one of several instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// The name in reports.
    pub name: String,
    /// The position of the instance that receives it.
    pub options: usize,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, Bytes)>,
    /// The query without its question mark.
    pub query: String,
    /// The body.
    pub body: Body,
    /// The attempt that the instance makes as a notifier, instead of receiving a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Box<ScriptedAttempt>>,
}

/// Bytes, written as base64 in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub Vec<u8>);

/// A body: in full, or described because it is long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// In full.
    Whole(Bytes),
    /// `prefix`, then `count` times `unit`, then `suffix`.
    Repeated {
        /// The start.
        prefix: Bytes,
        /// The repeated part.
        unit: Bytes,
        /// The number of repetitions.
        count: usize,
        /// The end.
        suffix: Bytes,
    },
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Bytes::default())
    }
}

impl Body {
    /// Returns the body in full.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Whole(Bytes(bytes)) => bytes.clone(),
            Self::Repeated { prefix, unit, count, suffix } => {
                [&prefix.0[..], &unit.0.repeat(*count), &suffix.0].concat()
            }
        }
    }

    /// Returns the length of the body in full.
    pub(crate) fn length_bytes(&self) -> usize {
        match self {
            Self::Whole(Bytes(bytes)) => bytes.len(),
            Self::Repeated { prefix, unit, count, suffix } => {
                prefix.0.len() + unit.0.len() * count + suffix.0.len()
            }
        }
    }
}

impl Message {
    /// A message with this name and content type.
    pub(crate) fn new(
        name: impl Into<String>,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let headers = vec![("content-type".into(), Bytes(content_type.into()))];
        let body = Body::Whole(Bytes(body.into()));
        Self { name: name.into(), headers, body, ..Self::default() }
    }

    /// An attempt of the instance at a position, with this name.
    pub(crate) fn of_attempt(
        name: impl Into<String>,
        options: usize,
        attempt: ScriptedAttempt,
    ) -> Self {
        let (name, attempt) = (name.into(), Some(Box::new(attempt)));
        Self { name, options, attempt, ..Self::default() }
    }

    /// Returns the length of the body, or of the answers of the attempt.
    pub(crate) fn length_bytes(&self) -> usize {
        match &self.attempt {
            Some(attempt) => attempt.answers.iter().map(|answer| answer.body.len()).sum(),
            None => self.body.length_bytes(),
        }
    }

    /// Returns the occupation of the plugin with this message, for the end of a sentence.
    pub(crate) fn occupation(&self) -> String {
        let verb = if self.attempt.is_some() { "sending" } else { "receiving" };
        format!("{verb} `{}`", self.name)
    }

    /// Calls a function with the message as the [`Request`] that a plugin receives.
    pub(crate) fn lend<T>(&self, to: impl FnOnce(&Request<'_>) -> T) -> T {
        let body = match &self.body {
            Body::Whole(Bytes(bytes)) => std::borrow::Cow::Borrowed(&bytes[..]),
            repeated => repeated.bytes().into(),
        };
        let headers = self.headers.iter().map(|(name, value)| Header::new(name, &value.0));
        let headers: Vec<_> = headers.collect();
        to(&Request::new("POST", &self.query, &headers, &body))
    }

    /// Returns the message with its body in full, so that [`lend`](Self::lend) allocates no memory for it.
    #[must_use]
    pub(crate) fn whole(mut self) -> Self {
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
