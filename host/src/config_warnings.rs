//! Logs the warnings about the configuration that is in force.
//!
//! Nothing is judged here: the configuration has its warnings, and plugins say which options are secrets.

use crate::{config::ConfigError, host::Host, redaction};

/// Logs one line for each warning. Plugins with options are asked for their schema, which may take some
/// seconds.
pub(crate) fn log(host: &Host) {
    let in_force = host.in_force();
    let config = &in_force.config;
    let mut warnings = config.warnings.clone();
    for integration in in_force.integrations.sorted() {
        // Without a plugin, nobody knows which options are secrets.
        if integration.plugin().is_some() && !integration.settings.section.options.is_empty() {
            let secrets = redaction::secrets_of(integration, &host.libraries);
            warnings.extend(config.warnings_of_options(&integration.name, secrets));
        }
    }
    for warning in warnings.iter().map(ConfigError::sentence) {
        tracing::warn!(event = "config_warning", warning, "the configuration should be looked at");
    }
}
