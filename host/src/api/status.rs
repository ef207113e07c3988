//! What the host is made of: its integrations, and every file of the plugins folder.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Urgency;
use utoipa::ToSchema;

use crate::http::error::ErrorBody;
use crate::{
    alert::{PluginId, UrgencyName},
    call::{BreakerReport, BreakerState, PluginRuntime},
    config::LoadedConfig,
    host::{Host, InForce},
    integration::{
        Integration, IntegrationState, Integrations, PluginAlternatives, WaitingPlugin,
        WaitingReason,
    },
    plugins::{CatalogFile, admission::AdmittedPlugin},
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
    /// The maintenance that is on, in which no alert opens; null while none is.
    pub maintenance: Option<MaintenanceStatus>,
    /// How many requests it takes, such as `100/s`; null: any.
    pub rate_limit: Option<String>,
    /// How many it takes from each sender's address; null: any.
    pub sender_rate_limit: Option<String>,
    /// After how long without another report its alerts resolve by themselves, such as `1d`; null:
    /// never.
    pub resolve_after: Option<String>,
    /// 1 as the host meets it first, and one more each time that it is replaced: by another version
    /// of its plugin, or because the configuration says something else of it.
    pub generation: u64,
    /// Since when this generation is in force.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Other versions of its plugin that lie in the folder, highest first.
    pub waiting: Vec<WaitingVersion>,
    /// What an operator should know though nothing is wrong, one sentence with a hint.
    pub notice: Option<String>,
    /// Why it can't serve now, one sentence with a hint.
    pub problem: Option<String>,
    /// Whether its plugin is called; none where none serves it.
    pub breaker: Option<BreakerStatus>,
    /// Threads left behind in calls of this version of its plugin that did not return.
    pub stuck_threads: u64,
}

/// A maintenance that is on.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct MaintenanceStatus {
    /// When it ends; null: when the configuration says otherwise.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// What keeps a plugin that fails again and again from being called.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct BreakerStatus {
    /// Whether the plugin is called.
    pub state: BreakerStateName,
    /// How often it failed within the last minute.
    pub failures: usize,
    /// When it is called again, while it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// How often it was left alone since the integration was last set up.
    pub trips: u64,
}

/// Whether a plugin is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerStateName {
    /// It is.
    Closed,
    /// It is left alone for a while: 503.
    Open,
    /// It is called again on trial: the next failure opens the breaker for longer.
    HalfOpen,
}

impl From<BreakerReport> for BreakerStatus {
    fn from(report: BreakerReport) -> Self {
        let BreakerReport { state, retry_at, failures, trips } = report;
        let state = match state {
            BreakerState::Closed => BreakerStateName::Closed,
            BreakerState::Open(_) => BreakerStateName::Open,
            BreakerState::HalfOpen => BreakerStateName::HalfOpen,
        };
        Self { state, failures, retry_at, trips }
    }
}

/// A version of a plugin that lies in the folder and does not serve an integration.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct WaitingVersion {
    /// The version.
    pub version: String,
    /// Its file's name.
    pub file: String,
    /// Since when it lies there.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// `not_needed` where another one serves, `not_allowed` by the integration's `version`, or
    /// `failed`.
    pub reason: String,
    /// What went wrong when it was tried, one sentence.
    pub problem: Option<String>,
}

/// Every file of the plugins folder, by name, and who is served by what.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct PluginList {
    /// The files.
    pub plugins: Vec<PluginStatus>,
    /// The integrations.
    pub integrations: Vec<IntegrationStatus>,
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
    /// `loaded`, `waiting` where another version serves, `held_back` where it was tried and failed,
    /// `unused`, `refused`, or `set_aside`: a host died as it was loaded.
    pub state: String,
    /// Since when the file lies there as it is.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
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
    Json(IntegrationList { integrations: integration_list(&host.in_force()) })
}

/// Lists every file of the plugins folder, and what is wrong with it.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "status", security(("token" = [])),
    responses(
        (status = 200, body = PluginList),
        (status = 401, description = "No token, or another one", body = ErrorBody),
    ))]
pub(super) async fn plugins(State(host): State<Arc<Host>>) -> Json<PluginList> {
    Json(PluginList::of(&host.in_force(), &*host.runtime))
}

impl PluginList {
    /// Both lists, of the same configuration and the same folder.
    pub fn of(in_force: &InForce, runtime: &dyn PluginRuntime) -> Self {
        let plugins = describe_plugins(&in_force.integrations, runtime);
        Self { plugins, integrations: integration_list(in_force) }
    }
}

/// The integrations that are in force.
pub fn integration_list(in_force: &InForce) -> Vec<IntegrationStatus> {
    describe_integrations(&in_force.integrations, &in_force.config)
}

/// The integrations, described.
pub fn describe_integrations(
    integrations: &Integrations,
    config: &LoadedConfig,
) -> Vec<IntegrationStatus> {
    let describe = |integration: &&Arc<Integration>| {
        let endpoint = config.config.server.endpoint(&integration.name);
        describe_integration(
            integration,
            &integrations.alternatives_of(&integration.name),
            endpoint,
        )
    };
    integrations.sorted().iter().map(describe).collect()
}

fn describe_integration(
    integration: &Integration,
    alternatives: &PluginAlternatives,
    endpoint: String,
) -> IntegrationStatus {
    let problem = integration.health().problem.map(|problem| problem.one_line());
    let state = match &integration.state {
        IntegrationState::Serving { .. } if problem.is_some() => "broken",
        IntegrationState::Serving { .. } => "serving",
        IntegrationState::Disabled => "disabled",
        IntegrationState::Broken(_) => "broken",
    };
    let section = &integration.settings.section;
    IntegrationStatus {
        name: integration.name.to_string(),
        enabled: section.enabled,
        state: state.into(),
        plugin: integration.plugin().map(|plugin| PluginId::clone(plugin)),
        version: section.version.to_string(),
        urgency: integration.urgency,
        endpoint,
        maintenance: section
            .maintenance
            .at(Timestamp::now())
            .map(|until| MaintenanceStatus { until }),
        rate_limit: section.rate_limit.map(|rate| rate.to_string()),
        sender_rate_limit: section.sender_rate_limit.map(|rate| rate.to_string()),
        resolve_after: section.resolve_after.map(|age| age.to_string()),
        generation: integration.generation,
        since: integration.since,
        waiting: alternatives.waiting.iter().map(describe_waiting).collect(),
        notice: notice(integration, alternatives),
        problem,
        breaker: integration.breaker().map(BreakerStatus::from),
        // For a moment, a thread may have come back before it was counted.
        stuck_threads: u64::try_from(integration.metrics.stuck_threads.get()).unwrap_or(0),
    }
}

fn describe_waiting(waiting: &WaitingPlugin) -> WaitingVersion {
    let reason = match &waiting.reason {
        WaitingReason::NotNeeded => "not_needed",
        WaitingReason::NotAllowed => "not_allowed",
        WaitingReason::Failed(_) => "failed",
    };
    let file = waiting.plugin.path.file_name().unwrap_or_default();
    WaitingVersion {
        version: waiting.plugin.id.version.clone(),
        file: file.to_string_lossy().into_owned(),
        since: waiting.since,
        reason: reason.into(),
        problem: waiting.failure().map(|failure| failure.sentence.clone()),
    }
}

/// What serves is not what the folder would give any more.
fn notice(integration: &Integration, alternatives: &PluginAlternatives) -> Option<String> {
    let plugin = integration.plugin()?;
    let goes_on = "it goes on so until it is changed or the host restarted";
    if let Some(refusal) = &alternatives.refused {
        return Some(format!("is served by {plugin}, and {goes_on}; but its file {refusal}"));
    }
    alternatives.gone_since.map(|_| {
        format!(
            "is served by {plugin}, whose file is no longer in the folder; hint: copy the version \
             in that is to serve it, anew if it lies there already, or {goes_on}"
        )
    })
}

/// The files of the plugins folder, described.
pub fn describe_plugins(
    integrations: &Integrations,
    runtime: &dyn PluginRuntime,
) -> Vec<PluginStatus> {
    let files = integrations.catalog.files.iter();
    files.map(|file| describe_plugin(file, integrations, runtime)).collect()
}

fn describe_plugin(
    file: &CatalogFile,
    integrations: &Integrations,
    runtime: &dyn PluginRuntime,
) -> PluginStatus {
    let admitted = file.admission.as_ref().ok();
    let serves = |integration: &&&Arc<Integration>| {
        let serving = integration.admitted().map(|plugin| &plugin.sha256);
        admitted.is_some_and(|plugin| serving == Some(&plugin.sha256))
    };
    let sorted = integrations.sorted();
    let users: Vec<_> = sorted.iter().filter(serves).collect();
    let loaded = admitted.and_then(|plugin| runtime.known(plugin));
    let (state, problem) = match (&file.admission, loaded) {
        (Err(refusal), _) => ("refused", Some(refusal.to_string())),
        (_, Some(Err(error))) if error.is_set_aside => ("set_aside", Some(error.to_string())),
        (_, Some(Err(error))) => ("refused", Some(error.to_string())),
        (Ok(plugin), _) if users.is_empty() => describe_unused(plugin, integrations),
        _ => {
            let health = users.iter().map(|integration| integration.health());
            let mut problems = health.filter_map(|health| health.problem.or(health.last_failure));
            ("loaded", problems.next().map(|problem| problem.one_line()))
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
        since: file.since,
        integrations: users.iter().map(|integration| integration.name.to_string()).collect(),
        problem,
    }
}

/// The state and the problem of a plugin that serves nothing.
fn describe_unused(
    plugin: &AdmittedPlugin,
    integrations: &Integrations,
) -> (&'static str, Option<String>) {
    let mut state = None;
    for integration in integrations.sorted() {
        let alternatives = integrations.alternatives_of(&integration.name);
        let mut waiting = alternatives.waiting.into_iter();
        let Some(waiting) = waiting.find(|one| one.plugin.sha256 == plugin.sha256) else {
            continue;
        };
        if let Some(failure) = waiting.failure() {
            let goes_on = integration
                .plugin()
                .map_or_else(String::new, |plugin| format!(", which goes on with {plugin}"));
            let name = &integration.name;
            let problem =
                format!("does not serve integration `{name}`{goes_on}: {}", failure.sentence);
            return ("held_back", Some(problem));
        }
        state = Some("waiting");
    }
    let hint = format!("enable one with `plugin = \"{}\"`", plugin.manifest.name);
    let unused = format!("is not used by any integration; hint: {hint}, or remove the file");
    state.map_or(("unused", Some(unused)), |state| (state, None))
}
