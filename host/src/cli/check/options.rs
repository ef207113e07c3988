//! What the plugins' own schemas say of the options of the integrations that use them.
//!
//! A plugin reads its options up to the first message, and its schema may ask for more than it looks
//! at: here everything is said at once. Whether the options make sense is for the plugin alone.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    cli::offline::OfflineState,
    config::{self, ConfigError, ConfigErrors},
    plugins::{
        library::LoadedPlugin,
        schema::secrets,
        validation::{Fault, faults},
    },
};

/// How long a plugin may take to give its schema, and its patterns to be matched.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the schemas say.
#[derive(Default)]
pub(super) struct OptionsReport {
    /// What is wrong with options, and was not said by their plugins.
    pub(super) errors: Vec<ConfigError>,
    /// Schemas that say nothing of use, each with its integration, and what looks wrong with secrets.
    pub(super) warnings: Vec<String>,
}

/// Compares the options of every enabled integration with the schema of its plugin.
pub(super) fn report(offline: &OfflineState) -> OptionsReport {
    let mut report = OptionsReport::default();
    let enabled = offline.config.config.integrations.iter().filter(|(_, it)| it.enabled);
    for (name, settings) in enabled {
        let Some(plugin) = loaded(offline, settings) else { continue };
        match judged(&plugin, settings) {
            Ok((faults, secrets)) => {
                let of_secrets = offline.config.warnings_of_options(name, &secrets);
                report.warnings.extend(of_secrets.iter().map(ConfigError::sentence));
                let new =
                    faults.into_iter().filter(|fault| !is_known(&offline.errors, name, fault));
                let errors = new.map(|fault| error(offline, name, &settings.plugin, fault));
                report.errors.extend(errors);
            }
            Err(problem) => report.warnings.push(format!(
                "integration `{name}`: the schema of plugin `{}` {problem}, so the options were \
                 checked by the plugin alone; hint: report it to the plugin's author",
                plugin.plugin.id.name
            )),
        }
    }
    report
}

/// The plugin that an integration has: the highest version that could be loaded.
fn loaded(
    offline: &OfflineState,
    settings: &config::IntegrationConfig,
) -> Option<Arc<LoadedPlugin>> {
    let candidates = offline.integrations.catalog.candidates(&settings.plugin, &settings.version);
    let mut plugins = candidates.into_iter().map(|candidate| candidate.plugin);
    plugins.find_map(|plugin| offline.libraries.known(plugin)?.ok())
}

/// Gives what is wrong with the options, and those of them that are secrets. Both the plugin's code and
/// the patterns of its schema run on a thread that is left behind if they do not return.
fn judged(
    plugin: &LoadedPlugin,
    settings: &config::IntegrationConfig,
) -> Result<(Vec<Fault>, Vec<String>), String> {
    let (module, options) = (plugin.module, Value::Object(settings.options.clone()));
    let (done, result) = mpsc::channel();
    let spawned = thread::Builder::new().spawn(move || {
        let schema = module.options_schema().map_err(|error| format!("is not there: {error}"));
        let schema = schema.and_then(|json| {
            serde_json::from_slice(&json).map_err(|error| format!("is no JSON: {error}"))
        });
        // Nobody waits any more for what comes too late.
        let _ = done.send(schema.and_then(|schema: Value| {
            Ok((faults(&schema, &options)?, secrets(&schema, &options)))
        }));
    });
    spawned
        .map_err(|error| format!("cannot be asked for: the system gives no thread ({error})"))?;
    result.recv_timeout(DEADLINE).unwrap_or_else(|error| {
        Err(match error {
            mpsc::RecvTimeoutError::Timeout => format!("did not come within {DEADLINE:?}"),
            mpsc::RecvTimeoutError::Disconnected => "cannot be used".into(),
        })
    })
}

/// Whether the plugin complained of the same key. That a key is missing it says of the table.
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
    offline.config.integration_error(integration, &key, fault.message).hint(hint)
}
