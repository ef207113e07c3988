//! The types that every check uses: its [`Settings`], its [`Needs`] and its [`Verdict`].

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use tocsin_plugin_api::testing::{Fixture, NotifierFixture};

/// The plugin to certify, and how thoroughly.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The library.
    pub file: PathBuf,
    /// Requests with the outcome that the plugin has to give for each.
    pub fixtures: Vec<Fixture>,
    /// Notifications with the requests and the verdict that the plugin has to give for each.
    pub notifier_fixtures: Vec<NotifierFixture>,
    /// Options to use instead of those of the fixtures, or of those made from the schema.
    pub options: Option<serde_json::Value>,
    /// The seed of the random numbers.
    pub seed: u64,
    /// The number of random and mutated requests.
    pub requests: usize,
    /// The longest time that a call may take.
    pub deadline: Duration,
    /// The names of the checks to skip.
    pub left_out: Vec<String>,
}

/// The results of earlier checks that a check needs. Each includes those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    File,
    Manifest,
    Library,
    Schema,
    Instance,
}

/// The result of a check in one word. [`Verdict`] adds a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// The check found no fault.
    Passed,
    /// The check found no fault, but something that the author should look at.
    Warned,
    /// The check found a fault.
    Failed,
    /// The check was not made.
    Skipped,
}

impl Status {
    /// Returns the name in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The [`Status`] of a check with its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) message: String,
}

impl Verdict {
    /// A check that passed. The message says what was examined.
    pub(super) fn passed(message: impl Into<String>) -> Self {
        Self { status: Status::Passed, message: message.into() }
    }

    pub(super) fn warned(message: impl Into<String>) -> Self {
        Self { status: Status::Warned, message: message.into() }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { status: Status::Failed, message: message.into() }
    }

    pub(super) fn skipped(message: impl Into<String>) -> Self {
        Self { status: Status::Skipped, message: message.into() }
    }

    /// A check that failed with the first of its faults and the number of the others, or passed if
    /// there are no faults.
    pub(super) fn of_faults(faults: &[String], passed: impl Into<String>) -> Self {
        match faults {
            [] => Self::passed(passed),
            [only] => Self::failed(only),
            [first, rest @ ..] => Self::failed(format!("{first}; and {} more", rest.len())),
        }
    }
}
