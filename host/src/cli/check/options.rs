//! Compares the options of integrations with the JSON Schemas of their plugins.
//!
//! A plugin reports only the first error in its options; the schema finds all at once. Only the plugin
//! can check if the options are valid together.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    call::{PluginRuntime, RunnablePlugin},
    cli::offline::OfflineState,
    config::{self, ConfigError, ConfigErrors},
    plugins::{
        schema::secrets,
        validation::{Fault, faults},
    },
};

/// Timeout for a plugin to return its schema, and for the patterns in it to be matched.
const DEADLINE: Duration = Duration::from_secs(5);

/// Findings of all schemas, made by [`report`].
#[derive(Default)]
pub(super) struct OptionsReport {
    /// Errors in options that the plugins themselves did not report.
    pub(super) errors: Vec<ConfigError>,
    /// Schemas that cannot be used, and secrets that look wrong, each with its integration.
    pub(super) warnings: Vec<String>,
}

/// Compares the options of every enabled integration with the schema of its plugin.
pub(super) fn report(offline: &OfflineState) -> OptionsReport {
    let mut report = OptionsReport::default();
    let enabled = offline.in_force.config.config.integrations.iter().filter(|(_, it)| it.enabled);
    for (name, settings) in enabled {
        let Some(plugin) = loaded(offline, settings) else { continue };
        match judged(&plugin, settings) {
            Ok((faults, secrets)) => {
                let of_secrets = offline.in_force.config.warnings_of_options(name, &secrets);
                report.warnings.extend(of_secrets.iter().map(ConfigError::sentence));
                let new =
                    faults.into_iter().filter(|fault| !is_known(&offline.errors, name, fault));
                let errors = new.map(|fault| error(offline, name, &settings.plugin, fault));
                report.errors.extend(errors);
            }
            Err(problem) => report.warnings.push(format!(
                "integration `{name}`: the schema of plugin `{}` {problem}, so the options were \
                 checked by the plugin alone; hint: report it to the plugin's author",
                plugin.admitted().id.name
            )),
        }
    }
    report
}

/// Returns the plugin of an integration: the highest version that could be loaded.
fn loaded(
    offline: &OfflineState,
    settings: &config::IntegrationConfig,
) -> Option<Arc<dyn RunnablePlugin>> {
    let candidates = offline.in_force.catalog.candidates(&settings.plugin, &settings.version);
    let mut plugins = candidates.into_iter().map(|candidate| candidate.plugin);
    plugins.find_map(|plugin| offline.runtime.known(plugin)?.ok())
}

/// Returns the errors in the options, and the values that are secrets. Both the plugin's code and the
/// patterns of its schema run on a thread that is abandoned after [`DEADLINE`].
fn judged(
    plugin: &Arc<dyn RunnablePlugin>,
    settings: &config::IntegrationConfig,
) -> Result<(Vec<Fault>, Vec<String>), String> {
    let (asked, options) = (Arc::clone(plugin), Value::Object(settings.options.clone()));
    let (done, result) = mpsc::channel();
    let spawned = thread::Builder::new().spawn(move || {
        let schema = asked.options_schema().map_err(|error| format!("cannot be read: {error}"));
        let schema = schema.and_then(|json| {
            serde_json::from_slice(&json).map_err(|error| format!("is no JSON: {error}"))
        });
        // After the deadline, the result has no receiver.
        let _ = done.send(schema.and_then(|schema: Value| {
            Ok((faults(&schema, &options)?, secrets(&schema, &options)))
        }));
    });
    spawned
        .map_err(|error| format!("cannot be asked for: the system refuses a thread ({error})"))?;
    result.recv_timeout(DEADLINE).unwrap_or_else(|error| {
        Err(match error {
            mpsc::RecvTimeoutError::Timeout => format!("did not come within {DEADLINE:?}"),
            mpsc::RecvTimeoutError::Disconnected => "cannot be used".into(),
        })
    })
}

/// Returns true if the plugin itself reported an error at the same key. A plugin reports a missing key at
/// the table above it, and names the key in its message.
fn is_known(errors: &ConfigErrors, integration: &str, fault: &Fault) -> bool {
    let key = |path: &[String]| {
        let parts = ["integrations", integration, "options"].into_iter();
        parts.chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
    };
    let (own, table) = match fault.path.split_last() {
        Some((last, above)) => (last.as_str(), key(above)),
        None => ("", String::new()),
    };
    errors.0.iter().any(|error| {
        let says_missing = fault.is_missing
            && error.key() == table
            && error.message().contains(&format!("`{own}`"));
        says_missing || error.key() == key(&fault.path)
    })
}

fn error(offline: &OfflineState, integration: &str, plugin: &str, fault: Fault) -> ConfigError {
    let path = fault.path.iter().map(String::as_str);
    let key: Vec<_> = ["options"].into_iter().chain(path).collect();
    let hint = fault.hint.unwrap_or_else(|| format!("see the options of plugin `{plugin}`"));
    offline.in_force.config.integration_error(integration, &key, fault.message).hint(hint)
}
