//! What the host is made of: its integrations, and every file of the plugins folder.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Urgency;
use utoipa::ToSchema;

use super::error::ErrorBody;
use crate::{
    alert::{PluginId, UrgencyName},
    host::Host,
    integration::{Integration, IntegrationState, Integrations},
    plugins::{CatalogFile, Libraries},
};

/// All integrations, by name.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct IntegrationList {
    /// The integrations.
    pub integrations: Vec<IntegrationStatus>,
}

/// An integration as it is now.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct IntegrationStatus {
    /// Its name.
    pub name: String,
    /// Whether the configuration enables it.
    pub enabled: bool,
    /// `serving`, `disabled` or `broken`.
    pub state: String,
    /// The plugin that serves it.
    pub plugin: Option<PluginId>,
    /// The versions that the configuration allows.
    pub version: String,
    /// For events whose plugin found none.
    #[schema(value_type = UrgencyName)]
    pub urgency: Urgency,
    /// Where its sender posts.
    pub endpoint: String,
    /// Why it can't serve now, one sentence with a hint.
    pub problem: Option<String>,
}

/// Every file of the plugins folder, by name.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct PluginList {
    /// The files.
    pub plugins: Vec<PluginStatus>,
}

/// A file of the plugins folder.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct PluginStatus {
    /// The file's name.
    pub file: String,
    /// The plugin's name, if it could be read.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it says it is.
    pub description: Option<String>,
    /// Its licence.
    pub license: Option<String>,
    /// The plugin-api it was built against.
    pub plugin_api: Option<String>,
    /// The compiler that built it.
    pub rustc: Option<String>,
    /// The hash of the file, if it was admitted.
    pub sha256: Option<String>,
    /// What it was verified by, `checksum` or `signature`; none where the configuration asks for
    /// neither.
    pub verified: Option<String>,
    /// `loaded`, `unused` or `refused`.
    pub state: String,
    /// The integrations that it serves.
    pub integrations: Vec<String>,
    /// What is wrong with it, one sentence with a hint.
    pub problem: Option<String>,
}

/// Lists the integrations.
#[utoipa::path(get, path = "/api/v1/integrations", tag = "status", security(("token" = [])),
    responses(
        (status = 200, body = IntegrationList),
        (status = 401, description = "No token, or another one", body = ErrorBody),
    ))]
pub(super) async fn integrations(State(host): State<Arc<Host>>) -> Json<IntegrationList> {
    Json(IntegrationList { integrations: integration_list(&host) })
}

/// Lists every file of the plugins folder, and what is wrong with it.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "status", security(("token" = [])),
    responses(
        (status = 200, body = PluginList),
        (status = 401, description = "No token, or another one", body = ErrorBody),
    ))]
pub(super) async fn plugins(State(host): State<Arc<Host>>) -> Json<PluginList> {
    Json(PluginList { plugins: plugin_list(&host) })
}

/// The integrations of a running host.
pub fn integration_list(host: &Host) -> Vec<IntegrationStatus> {
    describe_integrations(&host.integrations(), &host.config())
}

/// The plugins of a running host.
pub fn plugin_list(host: &Host) -> Vec<PluginStatus> {
    describe_plugins(&host.integrations(), &host.libraries)
}

/// The integrations, described.
pub fn describe_integrations(
    integrations: &Integrations,
    config: &crate::config::LoadedConfig,
) -> Vec<IntegrationStatus> {
    let describe = |integration: &&Arc<Integration>| {
        let settings = config.config.integrations.get(&*integration.name);
        let problem = integration.health().problem;
        let state = match &integration.state {
            IntegrationState::Serving { .. } if problem.is_some() => "broken",
            IntegrationState::Serving { .. } => "serving",
            IntegrationState::Disabled => "disabled",
            IntegrationState::Broken(_) => "broken",
        };
        IntegrationStatus {
            name: integration.name.to_string(),
            enabled: !matches!(integration.state, IntegrationState::Disabled),
            state: state.into(),
            plugin: integration.plugin().map(|plugin| PluginId::clone(plugin)),
            version: settings.map_or_else(String::new, |settings| settings.version.to_string()),
            urgency: integration.urgency,
            endpoint: config.config.server.endpoint(&integration.name),
            problem,
        }
    };
    integrations.sorted().iter().map(describe).collect()
}

/// The files of the plugins folder, described.
pub fn describe_plugins(integrations: &Integrations, libraries: &Libraries) -> Vec<PluginStatus> {
    let files = integrations.catalog.files.iter();
    files.map(|file| describe_plugin(file, integrations, libraries)).collect()
}

fn describe_plugin(
    file: &CatalogFile,
    integrations: &Integrations,
    libraries: &Libraries,
) -> PluginStatus {
    let admitted = file.admission.as_ref().ok();
    let serves = |integration: &&&Arc<Integration>| {
        admitted.is_some_and(|plugin| integration.plugin() == Some(&plugin.id))
    };
    let sorted = integrations.sorted();
    let users: Vec<_> = sorted.iter().filter(serves).collect();
    let loaded = admitted.and_then(|plugin| libraries.known(plugin));
    let (state, problem) = match (&file.admission, loaded) {
        (Err(refusal), _) => ("refused", Some(refusal.to_string())),
        (_, Some(Err(error))) => ("refused", Some(error.to_string())),
        (Ok(plugin), _) if users.is_empty() => (
            "unused",
            Some(format!(
                "is not used by any integration; hint: enable one with `plugin = \"{}\"`, or remove the file",
                plugin.manifest.name
            )),
        ),
        _ => {
            let health = users.iter().map(|integration| integration.health());
            ("loaded", health.filter_map(|health| health.problem.or(health.last_failure)).next())
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
        verified: admitted
            .and_then(|plugin| plugin.verified())
            .map(|verified| verified.as_str().into()),
        state: state.into(),
        integrations: users.iter().map(|integration| integration.name.to_string()).collect(),
        problem,
    }
}
