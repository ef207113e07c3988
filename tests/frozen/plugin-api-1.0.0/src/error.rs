//! How a plugin says no: to a request, and to its options.
//!
//! The texts are shown to operators and, for a malformed request, to the sender. They never carry a
//! secret or the text of a message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why no alert can come of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender is not who they have to be: 403. The reason is logged, the sender does not see
    /// it, and nothing of the request is kept.
    Unauthorized {
        /// Why, for the operator.
        reason: String,
    },
    /// The request makes no sense: 400, 413 or 415 as `kind` says.
    Malformed {
        /// What is wrong with it.
        kind: Malformed,
        /// Why, for the sender.
        reason: String,
    },
    /// The plugin could not do its work: 503, and the sender is asked to try again.
    Failed {
        /// Why, for the operator.
        reason: String,
    },
}

impl Refusal {
    /// The sender is not who they have to be.
    pub fn unauthorized(reason: impl Into<String>) -> Self {
        Self::Unauthorized { reason: reason.into() }
    }

    /// The request makes no sense.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { kind: Malformed::BadRequest, reason: reason.into() }
    }

    /// The body is of a type that the plugin does not read.
    pub fn unsupported_media_type(reason: impl Into<String>) -> Self {
        Self::Malformed { kind: Malformed::UnsupportedMediaType, reason: reason.into() }
    }

    /// The body is larger than the plugin takes.
    pub fn too_large(reason: impl Into<String>) -> Self {
        Self::Malformed { kind: Malformed::TooLarge, reason: reason.into() }
    }

    /// The plugin could not do its work.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }
}

/// What is wrong with a malformed request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Anything but the following: 400.
    #[default]
    BadRequest,
    /// A type of body that the plugin does not read: 415.
    UnsupportedMediaType,
    /// More than the plugin takes: 413.
    TooLarge,
}

impl Malformed {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooLarge => "too_large",
        }
    }

    /// The kind of that name; what a later version may name is a bad request here.
    pub(crate) fn from_name(name: &str) -> Self {
        [Self::UnsupportedMediaType, Self::TooLarge]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .unwrap_or_default()
    }

    /// The HTTP status that says so.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::UnsupportedMediaType => 415,
            Self::TooLarge => 413,
        }
    }
}

/// Why a plugin does not accept its options. Shown to the operator below the integration's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsError {
    /// The key, as a path from the options table: `token`, `rules[2].pattern`. Empty for the table
    /// as a whole.
    pub path: String,
    /// What is wrong and what to do, without the value of a secret.
    pub message: String,
}

impl OptionsError {
    /// An error in the options table as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self::at("", message)
    }

    /// An error in one key.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "`{path}`: {}", self.message),
        }
    }
}

impl std::error::Error for OptionsError {}
