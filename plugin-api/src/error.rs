//! Errors of a plugin: [`Refusal`] for a request, [`OptionsError`] for its options.
//!
//! The host shows their texts to operators and, for a malformed request, to the sender. So the texts must
//! never hold a secret or the text of a message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The reason why a request cannot become an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender is not authorized: 403. The reason is logged and not shown to the sender, and the host
    /// does not keep the raw request.
    Unauthorized {
        /// The reason, for the operator.
        reason: String,
    },
    /// The request is not in the format that the plugin expects: 400, 413 or 415, depending on `kind`.
    Malformed {
        /// The kind of fault.
        kind: Malformed,
        /// The reason, for the sender.
        reason: String,
    },
    /// The plugin could not translate the request, and the sender is not to blame: 503, which asks the
    /// sender to retry.
    Failed {
        /// The reason, for the operator.
        reason: String,
    },
}

impl Refusal {
    /// [`Unauthorized`](Self::Unauthorized): the sender is not authorized.
    pub fn unauthorized(reason: impl Into<String>) -> Self {
        Self::Unauthorized { reason: reason.into() }
    }

    /// [`Malformed`](Self::Malformed): the request is not in the format that the plugin expects.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { kind: Malformed::BadRequest, reason: reason.into() }
    }

    /// [`Malformed`](Self::Malformed): the plugin does not read bodies of this type.
    pub fn unsupported_media_type(reason: impl Into<String>) -> Self {
        Self::Malformed { kind: Malformed::UnsupportedMediaType, reason: reason.into() }
    }

    /// [`Malformed`](Self::Malformed): the body is larger than the plugin accepts.
    pub fn too_large(reason: impl Into<String>) -> Self {
        Self::Malformed { kind: Malformed::TooLarge, reason: reason.into() }
    }

    /// [`Failed`](Self::Failed): the plugin could not translate the request, and the sender is not to
    /// blame.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }
}

/// The fault of a malformed request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Any other fault: 400.
    #[default]
    BadRequest,
    /// A body of a type that the plugin does not read: 415.
    UnsupportedMediaType,
    /// A body that is larger than the plugin accepts: 413.
    TooLarge,
}

impl Malformed {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooLarge => "too_large",
        }
    }

    /// Returns the fault with this name. A name that only a later version knows counts as a bad request.
    pub(crate) fn from_name(name: &str) -> Self {
        [Self::UnsupportedMediaType, Self::TooLarge]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .unwrap_or_default()
    }

    /// Returns the HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::UnsupportedMediaType => 415,
            Self::TooLarge => 413,
        }
    }
}

/// The reason why a plugin refuses its options. The host shows it to the operator with the name of the
/// integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsError {
    /// The key as a path from the options table, such as `token` or `rules[2].pattern`; empty for the
    /// table as a whole.
    pub path: String,
    /// The fault and what to do about it, without the value of a secret.
    pub message: String,
}

impl OptionsError {
    /// An error in the options table as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self::at("", message)
    }

    /// An error in one key, see [`path`](Self::path).
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
