//! State of a file in the plugins folder.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::manifest;
use utoipa::ToSchema;

use crate::{
    call::PluginRuntime,
    destination::Notifying,
    host::in_force::InForce,
    integration::Receiving,
    plugin_user::{
        PluginUser, PluginUsers,
        role::{PluginSection, Role},
    },
    plugins::{CatalogFile, admission::AdmittedPlugin, verification::Verified},
    problem::nearest,
};

/// State of a file in the plugins folder.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct PluginStatus {
    /// Name of the file.
    pub file: String,
    /// Name of the plugin, if its manifest could be read.
    pub name: Option<String>,
    /// Version of the plugin.
    pub version: Option<String>,
    /// Description in its manifest.
    pub description: Option<String>,
    /// Licence in its manifest.
    pub license: Option<String>,
    /// Version of plugin-api that the plugin was built against.
    pub plugin_api: Option<String>,
    /// Compiler that built the plugin.
    pub rustc: Option<String>,
    /// SHA-256 hash of the file in hex, if the file was admitted.
    pub sha256: Option<String>,
    /// Proof by which the file was verified; null if the configuration asks for none.
    pub verified: Option<VerifiedBy>,
    /// State in short.
    pub state: PluginFileState,
    /// Time at which the file arrived or last changed.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Integrations that the plugin serves.
    pub integrations: Vec<String>,
    /// Destinations that the plugin serves.
    #[serde(default)]
    pub destinations: Vec<String>,
    /// Problem with the file, one sentence with a hint.
    pub problem: Option<String>,
}

/// State of a file in the plugins folder in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PluginFileState {
    /// The plugin is loaded.
    Loaded,
    /// Another version of the plugin serves.
    Waiting,
    /// The plugin was tried and failed, and another version serves.
    HeldBack,
    /// No integration and no destination uses the plugin.
    Unused,
    /// The file was not admitted or could not be loaded.
    Refused,
    /// A host died while it loaded the plugin.
    SetAside,
}

impl PluginFileState {
    /// Returns the name in JSON and on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Waiting => "waiting",
            Self::HeldBack => "held_back",
            Self::Unused => "unused",
            Self::Refused => "refused",
            Self::SetAside => "set_aside",
        }
    }
}

/// Proof by which a plugin was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VerifiedBy {
    /// The lock file or the configuration has its checksum.
    Checksum,
    /// One of the configured keys signed it.
    Signature,
}

impl VerifiedBy {
    /// Returns the name in JSON and on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Signature => "signature",
        }
    }
}

impl From<&Verified> for VerifiedBy {
    fn from(verified: &Verified) -> Self {
        match verified {
            Verified::Checksum => Self::Checksum,
            Verified::Signature(_) => Self::Signature,
        }
    }
}

/// Describes the files of the plugins folder.
pub(crate) fn describe_plugins(
    in_force: &InForce,
    runtime: &dyn PluginRuntime,
) -> Vec<PluginStatus> {
    let files = in_force.catalog.files.iter();
    files.map(|file| describe_plugin(file, in_force, runtime)).collect()
}

fn describe_plugin(
    file: &CatalogFile,
    in_force: &InForce,
    runtime: &dyn PluginRuntime,
) -> PluginStatus {
    let admitted = file.admission.as_ref().ok();
    let integrations = served(&in_force.integrations, admitted);
    let destinations = served(&in_force.destinations, admitted);
    let loaded = admitted.and_then(|plugin| runtime.known(plugin));
    let (state, problem) = match (&file.admission, loaded) {
        (Err(refusal), _) => (PluginFileState::Refused, Some(refusal.to_string())),
        (_, Some(Err(error))) if error.is_set_aside => {
            (PluginFileState::SetAside, Some(error.to_string()))
        }
        (_, Some(Err(error))) => (PluginFileState::Refused, Some(error.to_string())),
        (Ok(plugin), _) if integrations.is_empty() && destinations.is_empty() => {
            describe_unused(plugin, in_force)
        }
        _ => {
            let of_integrations = integrations.iter().map(|integration| integration.health());
            let of_destinations = destinations.iter().map(|destination| destination.health());
            let health = of_integrations.chain(of_destinations);
            let mut problems = health.filter_map(|health| health.problem.or(health.last_failure));
            (PluginFileState::Loaded, problems.next().map(|problem| problem.one_line()))
        }
    };
    let manifest = file.manifest();
    let said = |text: fn(&tocsin_plugin_api::manifest::Manifest) -> &String| {
        manifest.map(text).filter(|text| !text.is_empty()).cloned()
    };
    PluginStatus {
        file: file.file_name.clone(),
        name: said(|manifest| &manifest.name),
        version: said(|manifest| &manifest.version),
        description: said(|manifest| &manifest.description),
        license: said(|manifest| &manifest.license),
        plugin_api: said(|manifest| &manifest.plugin_api),
        rustc: said(|manifest| &manifest.rustc),
        sha256: admitted.map(|plugin| plugin.sha256.clone()),
        verified: admitted.and_then(|plugin| plugin.verified()).map(VerifiedBy::from),
        state,
        since: file.since,
        integrations: names(&integrations),
        destinations: names(&destinations),
        problem,
    }
}

/// Returns the users that a plugin serves, in the order of their names.
fn served<'u, R: Role>(
    users: &'u PluginUsers<R>,
    plugin: Option<&Arc<AdmittedPlugin>>,
) -> Vec<&'u Arc<PluginUser<R>>> {
    let Some(plugin) = plugin else { return Vec::new() };
    let mut served = users.sorted();
    served.retain(|user| user.admitted().is_some_and(|one| one.sha256 == plugin.sha256));
    served
}

fn names<R: Role>(users: &[&Arc<PluginUser<R>>]) -> Vec<String> {
    users.iter().map(|user| user.name.to_string()).collect()
}

/// Returns the state and the problem of a plugin that serves no integration and no destination.
fn describe_unused(
    plugin: &AdmittedPlugin,
    in_force: &InForce,
) -> (PluginFileState, Option<String>) {
    let integrations = waits_for(plugin, &in_force.integrations);
    let destinations = waits_for(plugin, &in_force.destinations);
    let (held_back, waiting): (Vec<_>, Vec<_>) =
        integrations.into_iter().chain(destinations).partition(Option::is_some);
    if let Some(problem) = held_back.into_iter().next() {
        return (PluginFileState::HeldBack, problem);
    }
    if !waiting.is_empty() {
        return (PluginFileState::Waiting, None);
    }
    let receives = plugin.has_capability(manifest::RECEIVE);
    let unused = match (receives, plugin.has_capability(manifest::NOTIFY)) {
        (true, true) => "is not used by any integration or destination",
        (false, true) => "is not used by any destination",
        _ => "is not used by any integration",
    };
    let name = &plugin.manifest.name;
    let hint = match missing_plugin(in_force, name) {
        Some((place, written)) => {
            format!("{place} names `{written}`, which no plugin is called: did you mean `{name}`?")
        }
        None => format!("enable one with `plugin = \"{name}\"`, or remove the file"),
    };
    (PluginFileState::Unused, Some(format!("{unused}; hint: {hint}")))
}

/// Returns the place of a section that names no plugin of the folder, but one with a similar name, and the
/// name that is written there.
fn missing_plugin(in_force: &InForce, similar: &str) -> Option<(String, String)> {
    missing_plugin_of::<Receiving>(in_force, similar)
        .or_else(|| missing_plugin_of::<Notifying>(in_force, similar))
}

fn missing_plugin_of<R: Role>(in_force: &InForce, similar: &str) -> Option<(String, String)> {
    let plugins = || in_force.catalog.files.iter().filter_map(CatalogFile::manifest);
    let is_missing = |name: &str| plugins().all(|manifest| manifest.name != name);
    let mut sections = R::sections(&in_force.config.config).iter();
    let (name, section) = sections.find(|(_, section)| {
        is_missing(section.plugin()) && nearest(section.plugin(), [similar]).is_some()
    })?;
    let error = in_force.plugin_error::<R>(name, "");
    Some((error.place(), section.plugin().to_owned()))
}

/// Returns an item for each user for which a version waits: the problem of a version that was tried and
/// failed.
fn waits_for<R: Role>(plugin: &AdmittedPlugin, users: &PluginUsers<R>) -> Vec<Option<String>> {
    let mut items = Vec::new();
    for user in users.sorted() {
        let alternatives = users.alternatives_of(&user.name);
        let mut waiting = alternatives.waiting.iter();
        let Some(waiting) = waiting.find(|one| one.plugin.sha256 == plugin.sha256) else {
            continue;
        };
        items.push(waiting.failure().map(|failure| {
            let goes_on = user
                .plugin()
                .map_or_else(String::new, |plugin| format!(", which {plugin} still serves"));
            let (noun, name) = (R::NOUN, &user.name);
            format!("does not serve {noun} `{name}`{goes_on}: {}", failure.sentence)
        }));
    }
    items
}
