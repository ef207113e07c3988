//! The report of this host: what it is, what it serves, and digests of its configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Instant,
};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    config::LoadedConfig,
    host::in_force::InForce,
    plugin_user::{
        PluginState, PluginUsers,
        role::{PluginSection, Role},
    },
    plugins::admission::AdmittedPlugin,
    store::hosts::{HostReport, ReportedPlugin},
};

/// Keys of the configuration that all hosts on one store should have in common. The others are about the machine,
/// such as addresses and folders.
const COMMON_KEYS: [&str; 4] = ["routes", "delivery", "requests", "retention"];

/// Writer of the [`HostReport`]s of this host.
pub(crate) struct Reporter {
    started: (Timestamp, Instant),
    name: String,
    /// The last report, and what it was made of.
    last: (Weak<InForce>, HostReport),
}

impl Reporter {
    /// Begins with the start of the host.
    pub(crate) fn starting(now: Timestamp, instant: Instant) -> Self {
        let machine = rustix::system::uname();
        let name = format!("{}-{}", machine.nodename().to_string_lossy(), std::process::id());
        Self { started: (now, instant), name, last: (Weak::new(), HostReport::default()) }
    }

    /// Returns the [`HostReport`] about what is in force.
    pub(crate) fn report(&mut self, in_force: &Arc<InForce>, now: Instant) -> HostReport {
        let source = Arc::downgrade(in_force);
        if !self.last.0.ptr_eq(&source) {
            self.last = (source, self.whole(in_force));
        }
        let uptime_seconds = now.saturating_duration_since(self.started.1).as_secs();
        HostReport { uptime_seconds, ..self.last.1.clone() }
    }

    fn whole(&self, in_force: &InForce) -> HostReport {
        let InForce { config, catalog, integrations, destinations } = in_force;
        let admitted = catalog.files.iter().filter_map(|file| file.admission.as_ref().ok());
        let mut plugins: Vec<_> = admitted.map(|plugin| reported(plugin)).collect();
        plugins.sort_unstable();
        HostReport {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started.0,
            uptime_seconds: 0,
            address: config.config.admin.listen.to_string(),
            plugins,
            serves: served(integrations).chain(served(destinations)).collect(),
            settings: settings(config),
        }
    }
}

fn reported(plugin: &AdmittedPlugin) -> ReportedPlugin {
    let (id, sha256) = (&plugin.id, plugin.sha256.clone());
    ReportedPlugin { name: id.name.clone(), version: id.version.clone(), sha256 }
}

/// Returns the enabled users of one role with their plugins.
fn served<R: Role>(
    users: &PluginUsers<R>,
) -> impl Iterator<Item = (String, Option<ReportedPlugin>)> {
    let enabled =
        users.by_name.values().filter(|user| !matches!(user.state, PluginState::Disabled));
    enabled.map(|user| {
        let plugin = user.admitted().map(|plugin| reported(plugin));
        (format!("{}.{}", R::TABLE, user.name), plugin)
    })
}

/// Returns a digest of each part of a configuration that all hosts should have in common. Options count with the
/// values of the variables and files that they refer to.
fn settings(config: &LoadedConfig) -> BTreeMap<String, String> {
    // The text was parsed before, so that an error cannot happen.
    let text = toml::from_str::<toml::Table>(&config.document.text).unwrap_or_default();
    let value = |key: &str| {
        let value = text.get(key).and_then(|value| serde_json::to_value(value).ok());
        value.unwrap_or_default()
    };
    let common = COMMON_KEYS.into_iter().map(|key| (key.to_owned(), value(key)));
    let mut parts: BTreeMap<_, _> = common.filter(|(_, value)| !value.is_null()).collect();
    let config = &config.config;
    add_sections(&mut parts, "integrations", value("integrations"), &config.integrations);
    add_sections(&mut parts, "destinations", value("destinations"), &config.destinations);
    parts.into_iter().map(|(key, value)| (key, digest(&value))).collect()
}

fn add_sections<S: PluginSection>(
    parts: &mut BTreeMap<String, Value>,
    table: &str,
    mut written: Value,
    sections: &BTreeMap<String, S>,
) {
    for (name, section) in sections {
        let mut value = written.get_mut(name).map(Value::take).unwrap_or_default();
        if let Some(value) = value.as_object_mut() {
            value.insert("options".into(), Value::Object(section.options().clone()));
        }
        parts.insert(format!("{table}.{name}"), value);
    }
}

fn digest(value: &Value) -> String {
    // A comparison needs no more. Secrets among the options are not shown by a digest.
    const LENGTH: usize = 8;
    let digest = Sha256::digest(value.to_string());
    digest.iter().take(LENGTH).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str = "
        [server]
        listen = '127.0.0.1:1'
        [integrations.ops]
        plugin = 'demo'
        options = { token = { env = 'TOKEN' }, a = 1 }
        [destinations.x]
        plugin = 'demo'
        [[routes]]
        to = ['x']
    ";

    fn settings_of(text: &str, token: &str) -> BTreeMap<String, String> {
        let env = |_: &str| Some(token.to_owned());
        let config = LoadedConfig::parse(Path::new("tocsin.toml"), text.to_owned(), env);
        settings(&config.expect("a configuration"))
    }

    fn keys_that_differ(text: &str, token: &str) -> Vec<String> {
        let (before, after) = (settings_of(TEXT, "s3cret"), settings_of(text, token));
        let all = before.keys().chain(after.keys());
        let mut differ: Vec<_> =
            all.filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
        differ.sort_unstable();
        differ.dedup();
        differ
    }

    #[test]
    fn the_parts_that_hosts_have_in_common_have_digests() {
        let settings = settings_of(TEXT, "s3cret");
        let keys: Vec<_> = settings.keys().map(String::as_str).collect();
        assert_eq!(keys, ["destinations.x", "integrations.ops", "routes"]);
        assert!(settings.values().all(|digest| digest.len() == 16), "{settings:?}");
    }

    #[test]
    fn a_digest_changes_with_what_is_written_and_with_secrets() {
        let none: [&str; 0] = [];
        assert_eq!(keys_that_differ(TEXT, "s3cret"), none);
        assert_eq!(keys_that_differ(TEXT, "other"), ["integrations.ops"]);
        for (from, to, differs) in [
            ("a = 1", "a = 2", &["integrations.ops"][..]),
            ("listen = '127.0.0.1:1'", "listen = '127.0.0.1:2'", &[]),
            ("to = ['x']", "to = ['x']\nurgency = 'high'", &["routes"]),
            ("[server]", "[retention]\nrecords = '9d'\n[server]", &["retention"]),
            (
                "[destinations.x]",
                "[destinations.y]\nplugin = 'demo'\n[destinations.x]",
                &["destinations.y"],
            ),
            ("token = { env = 'TOKEN' }, a = 1", "a = 1, token = 's3cret'", &[]),
        ] {
            assert_eq!(keys_that_differ(&TEXT.replace(from, to), "s3cret"), differs, "{to}");
        }
    }
}
