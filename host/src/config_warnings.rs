//! Logs the warnings about the configuration in force.
//!
//! The warnings come from [`LoadedConfig`](crate::config::LoadedConfig), those about options also from the
//! schemas of plugins.

use crate::{config::ConfigError, host::Host};

/// Logs one line for each warning. Asks plugins for their schemas, which may take some seconds.
pub(crate) fn log(host: &Host) {
    let in_force = host.in_force();
    let config = &in_force.config;
    let mut warnings = config.warnings.clone();
    for integration in in_force.integrations.sorted() {
        // Only the plugin knows the options that are secrets.
        if integration.plugin().is_some() && !integration.settings.section.options.is_empty() {
            warnings.extend(config.warnings_of_options(&integration.name, integration.secrets()));
        }
    }
    for warning in warnings.iter().map(ConfigError::sentence) {
        tracing::warn!(event = "config_warning", warning, "the configuration has a warning");
    }
}
