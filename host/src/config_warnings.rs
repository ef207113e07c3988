//! Logs the warnings about the configuration in force.
//!
//! The warnings come from [`LoadedConfig`], those about options also from the schemas of plugins, and those
//! about routes from the state of the destinations.

use jiff::Timestamp;
use tocsin_plugin_api::notification::Kind;

use crate::{
    config::{ConfigError, LoadedConfig},
    host::{Host, in_force::InForce},
    plugin_user::{
        PluginUsers,
        role::{PluginSection, Role},
    },
};

/// Logs one line for each warning. Asks plugins for their schemas, which may take some seconds.
pub(crate) fn log(host: &Host) {
    let in_force = host.in_force();
    let config = &in_force.config;
    let mut warnings = config.warnings.clone();
    warnings.extend(of_options(config, &in_force.integrations));
    warnings.extend(of_options(config, &in_force.destinations));
    warnings.extend(of_routes(&in_force));
    let certificates = config.certificates(Timestamp::now());
    warnings.extend(certificates.into_iter().filter_map(|certificate| certificate.problem));
    for warning in warnings.iter().map(ConfigError::sentence) {
        tracing::warn!(event = "config_warning", warning, "the configuration has a warning");
    }
}

/// Returns warnings about routes that can lead nowhere as long as their destinations cannot be used, and
/// about news that no plugin of a route's destinations can send.
pub(crate) fn of_routes(in_force: &InForce) -> Vec<ConfigError> {
    let document = &in_force.config.document;
    let mut warnings = Vec::new();
    for (place, route) in in_force.config.config.routes.iter().enumerate() {
        let section = format!("routes[{place}]");
        let destinations =
            || route.to.iter().filter_map(|name| in_force.destinations.by_name.get(name.as_str()));
        if !route.to.is_empty() && destinations().all(|destination| destination.ready().is_none()) {
            let message = "leads only to destinations that are broken or disabled";
            let hint = "`tocsin destinations` says what is wrong with them";
            warnings.push(document.error_at(&[&section, "to"], message).hint(hint));
        }
        let escalates = route.after.is_some() || route.repeat.is_some();
        for destination in destinations().filter(|_| escalates) {
            let (Some(ready), Some(plugin)) = (destination.ready(), destination.plugin()) else {
                continue;
            };
            if !ready.description.kinds.contains(&Kind::Escalated) {
                let key = if route.after.is_some() { "after" } else { "repeat" };
                let message = format!(
                    "plugin `{} {}` of destination `{}` cannot send `{}`",
                    plugin.name,
                    plugin.version,
                    destination.name,
                    Kind::Escalated
                );
                let hint = "leave the destination out of this route";
                warnings.push(document.error_at(&[&section, key], message).hint(hint));
            }
        }
    }
    warnings
}

fn of_options<R: Role>(config: &LoadedConfig, users: &PluginUsers<R>) -> Vec<ConfigError> {
    let mut warnings = Vec::new();
    for user in users.sorted() {
        // Only the plugin knows the options that are secrets.
        if user.plugin().is_some() && !user.settings.section.options().is_empty() {
            warnings.extend(config.warnings_of_options(R::TABLE, &user.name, user.secrets()));
        }
    }
    warnings
}
