//! Result of a check for programs, as `tocsin check --json` prints it.

use serde::Serialize;

use super::certificates::CertificateExpiry;
use crate::{
    api::{
        reload::ReloadReport,
        status::{DestinationStatus, IntegrationStatus, PluginStatus},
    },
    config::ConfigError,
    problem::Problem,
};

/// Result of a check.
#[derive(Default, Serialize)]
pub(super) struct CheckReport {
    /// Path of the configuration.
    pub(super) config: String,
    /// True if there are no errors.
    pub(super) is_good: bool,
    /// Reasons why a host would not start, or not do all that the configuration says.
    pub(super) errors: Vec<Finding>,
    /// Places that an operator should look at.
    pub(super) warnings: Vec<Finding>,
    pub(super) integrations: Vec<IntegrationStatus>,
    pub(super) destinations: Vec<DestinationStatus>,
    pub(super) plugins: Vec<PluginStatus>,
    /// Certificates of the listeners that speak TLS.
    pub(super) certificates: Vec<CertificateExpiry>,
    /// Changes that a reload of the running host would make; null if no host runs with this configuration, or
    /// there are errors.
    pub(super) reload: Option<ReloadReport>,
}

/// Error or warning of a check.
#[derive(Serialize)]
pub(super) struct Finding {
    /// Place in the configuration and its key, where the finding is about one.
    #[serde(flatten)]
    place: Option<Place>,
    message: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct Place {
    file: String,
    line: usize,
    column: usize,
    key: String,
}

impl Finding {
    /// Creates a finding from text with a `hint:` line.
    pub(super) fn of_text(text: &str) -> Self {
        // Warnings are one line, on which the hint follows a semicolon.
        let text = text.replacen("; hint: ", "\nhint: ", 1);
        let Problem { message, hint, .. } = Problem::from_text("check", &text);
        Self { place: None, message, hint }
    }
}

impl From<&ConfigError> for Finding {
    fn from(error: &ConfigError) -> Self {
        let (file, line, column) = error.position();
        let place =
            Place { file: file.display().to_string(), line, column, key: error.key().into() };
        let (message, hint) = (error.message().to_owned(), error.remedy().map(str::to_owned));
        Self { place: Some(place), message, hint }
    }
}
