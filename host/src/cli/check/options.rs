//! Compares the options of integrations and destinations with the JSON Schemas of their plugins.
//!
//! A plugin reports only the first error in its options; the schema finds all at once. Only the plugin
//! can check if the options are valid together.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    call::{PluginRuntime, RunnablePlugin},
    cli::offline::OfflineState,
    config::{ConfigError, ConfigErrors, LoadedConfig},
    destination::Notifying,
    integration::Receiving,
    plugin_user::role::{PluginSection, Role},
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
    /// Schemas that cannot be used, and secrets that look wrong, each with its integration or
    /// destination.
    pub(super) warnings: Vec<String>,
}

/// Compares the options of every enabled integration and destination with the schema of its plugin.
pub(super) fn report(offline: &OfflineState) -> OptionsReport {
    let mut report = OptionsReport::default();
    report.add::<Receiving>(offline);
    report.add::<Notifying>(offline);
    report
}

impl OptionsReport {
    fn add<R: Role>(&mut self, offline: &OfflineState) {
        let config = &offline.in_force.config;
        let enabled = R::sections(&config.config).iter().filter(|(_, it)| it.is_enabled());
        for (name, section) in enabled {
            let Some(plugin) = loaded::<R>(offline, section) else { continue };
            match judged(&plugin, section.options()) {
                Ok((faults, secrets)) => {
                    let of_secrets = config.warnings_of_options(R::TABLE, name, &secrets);
                    self.warnings.extend(of_secrets.iter().map(ConfigError::sentence));
                    let key = [R::TABLE, name, "options"];
                    let new =
                        faults.into_iter().filter(|fault| !is_known(&offline.errors, &key, fault));
                    let errors = new.map(|fault| error(config, &key, section.plugin(), fault));
                    self.errors.extend(errors);
                }
                Err(problem) => self.warnings.push(format!(
                    "{} `{name}`: the schema of plugin `{}` {problem}, so the options were \
                     checked by the plugin alone; hint: report it to the plugin's author",
                    R::NOUN,
                    plugin.admitted().id.name
                )),
            }
        }
    }
}

/// Returns the plugin of a section: the highest version that could be loaded.
fn loaded<R: Role>(
    offline: &OfflineState,
    section: &R::Section,
) -> Option<Arc<dyn RunnablePlugin>> {
    let candidates = offline.in_force.catalog.candidates(section.plugin(), section.version());
    let mut plugins = candidates.into_iter().map(|candidate| candidate.plugin);
    plugins.find_map(|plugin| offline.runtime.known(plugin)?.ok())
}

/// Returns the errors in the options, and the values that are secrets. Both the plugin's code and the
/// patterns of its schema run on a thread that is abandoned after [`DEADLINE`].
fn judged(
    plugin: &Arc<dyn RunnablePlugin>,
    options: &Map<String, Value>,
) -> Result<(Vec<Fault>, Vec<String>), String> {
    let (asked, options) = (Arc::clone(plugin), Value::Object(options.clone()));
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

/// Returns true if the plugin itself reported an error at the same key below `options`. A plugin reports a
/// missing key at the table above it, and names the key in its message.
fn is_known(errors: &ConfigErrors, options: &[&str; 3], fault: &Fault) -> bool {
    let key = |path: &[String]| {
        let parts = options.iter().copied();
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

fn error(config: &LoadedConfig, options: &[&str; 3], plugin: &str, fault: Fault) -> ConfigError {
    let path = fault.path.iter().map(String::as_str);
    let key: Vec<_> = options.iter().copied().chain(path).collect();
    let hint = fault.hint.unwrap_or_else(|| format!("see the options of plugin `{plugin}`"));
    config.document.error_at(&key, fault.message).hint(hint)
}
