//! State of an integration.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Urgency;
use utoipa::ToSchema;

use super::place_of_plugin;
use crate::{
    alert::{PluginId, UrgencyName},
    call::{BreakerReport, BreakerState},
    host::in_force::InForce,
    integration::{Integration, IntegrationState, Receiving},
    plugin_user::{PluginAlternatives, WaitingPlugin, WaitingReason},
};

/// State of an [`Integration`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct IntegrationStatus {
    /// Name of the integration.
    pub name: String,
    /// True if the configuration enables the integration.
    pub enabled: bool,
    /// State in short.
    pub state: IntegrationStateName,
    /// The plugin that serves the integration.
    pub plugin: Option<PluginId>,
    /// The versions that the configuration allows.
    pub version: String,
    /// Urgency of events for which the plugin found none.
    #[schema(value_type = UrgencyName)]
    pub urgency: Urgency,
    /// URL to which its sender posts.
    pub endpoint: String,
    /// Maintenance window that is open now, in which no alert opens; null if there is none.
    pub maintenance: Option<MaintenanceStatus>,
    /// Largest rate of requests, such as `100/s`; null if there is no limit.
    pub rate_limit: Option<String>,
    /// Largest rate of requests from one sender's address; null if there is no limit.
    pub sender_rate_limit: Option<String>,
    /// Time without another report after which an alert resolves automatically, such as `1d`; null if
    /// alerts do not.
    pub resolve_after: Option<String>,
    /// Number of times that this host has set up the integration: 1 at first, and one more for each other
    /// version of its plugin and each change of its configuration.
    pub generation: u64,
    /// Start of this generation.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Other versions of its plugin in the folder, highest first.
    pub waiting: Vec<WaitingVersion>,
    /// Notice for the operator though nothing is wrong, one sentence with a hint.
    pub notice: Option<String>,
    /// Reason why the integration cannot serve now, one sentence with a hint.
    pub problem: Option<String>,
    /// Place in the configuration that names the plugin, such as ``tocsin.toml:12:10:
    /// `integrations.ops.plugin` ``, if there is a problem.
    #[serde(default)]
    pub place: Option<String>,
    /// Circuit breaker of its plugin; null if no plugin serves the integration.
    pub breaker: Option<BreakerStatus>,
    /// Number of threads that are stuck in calls of this version of its plugin.
    pub stuck_threads: u64,
}

/// State of an integration in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = IntegrationState)]
pub(crate) enum IntegrationStateName {
    /// A plugin serves the integration.
    Serving,
    /// The configuration disables the integration.
    Disabled,
    /// No plugin can serve the integration now.
    Broken,
}

impl IntegrationStateName {
    /// Returns the name in JSON and on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Disabled => "disabled",
            Self::Broken => "broken",
        }
    }
}

/// Reason why a version of a plugin waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WaitingReason)]
pub(crate) enum WaitingReasonName {
    /// Another version serves.
    NotNeeded,
    /// The integration's `version` excludes this version.
    NotAllowed,
    /// The version was tried and failed.
    Failed,
}

/// Maintenance window that is open.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct MaintenanceStatus {
    /// End of the window; null if it stays open until the configuration changes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// Circuit breaker, which keeps a plugin that fails repeatedly from being called.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct BreakerStatus {
    /// State of the breaker.
    pub state: BreakerStateName,
    /// Number of failures within the last minute.
    pub failures: usize,
    /// Time of the next call while the breaker is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Number of times that the breaker opened since the integration was set up.
    pub trips: u64,
}

/// State of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BreakerStateName {
    /// The plugin is called.
    Closed,
    /// The plugin is not called for a while. Webhooks get 503.
    Open,
    /// The plugin is called again. Another failure opens the breaker for a longer time.
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

/// Version of a plugin in the folder that does not serve the integration.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct WaitingVersion {
    /// The version.
    pub version: String,
    /// Name of its file.
    pub file: String,
    /// Time at which the file arrived.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Reason why the version does not serve.
    pub reason: WaitingReasonName,
    /// Problem that occurred when the version was tried, one sentence.
    pub problem: Option<String>,
}

/// Describes the integrations of a configuration.
pub(crate) fn integration_list(in_force: &InForce) -> Vec<IntegrationStatus> {
    let integrations = &in_force.integrations;
    let describe = |integration: &&Arc<Integration>| {
        let endpoint = in_force.config.config.server.endpoint(&integration.name);
        let place = || place_of_plugin::<Receiving>(in_force, &integration.name);
        let alternatives = integrations.alternatives_of(&integration.name);
        let described = describe_integration(integration, &alternatives, endpoint);
        IntegrationStatus { place: described.problem.as_ref().map(|_| place()), ..described }
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
        IntegrationState::Serving { .. } if problem.is_some() => IntegrationStateName::Broken,
        IntegrationState::Serving { .. } => IntegrationStateName::Serving,
        IntegrationState::Disabled => IntegrationStateName::Disabled,
        IntegrationState::Broken(_) => IntegrationStateName::Broken,
    };
    let section = &integration.settings.section;
    IntegrationStatus {
        name: integration.name.to_string(),
        enabled: section.enabled,
        state,
        plugin: integration.plugin().map(|plugin| PluginId::clone(plugin)),
        version: section.version.to_string(),
        urgency: section.urgency,
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
        place: None,
        breaker: integration.breaker().map(BreakerStatus::from),
        // The count is below zero if a thread returns just before it is counted as stuck.
        stuck_threads: u64::try_from(integration.metrics.plugin.stuck_threads.get()).unwrap_or(0),
    }
}

pub(super) fn describe_waiting(waiting: &WaitingPlugin) -> WaitingVersion {
    let reason = match &waiting.reason {
        WaitingReason::NotNeeded => WaitingReasonName::NotNeeded,
        WaitingReason::NotAllowed => WaitingReasonName::NotAllowed,
        WaitingReason::Failed(_) => WaitingReasonName::Failed,
    };
    let file = waiting.plugin.path.file_name().unwrap_or_default();
    WaitingVersion {
        version: waiting.plugin.id.version.clone(),
        file: file.to_string_lossy().into_owned(),
        since: waiting.since,
        reason,
        problem: waiting.failure().map(|failure| failure.sentence.clone()),
    }
}

/// Returns a notice if the plugin that serves is not the one that the folder now holds.
fn notice(integration: &Integration, alternatives: &PluginAlternatives) -> Option<String> {
    let plugin = integration.plugin()?;
    let until = "until the integration is changed or the host restarts";
    if let Some(refusal) = &alternatives.refused {
        return Some(format!("is served by {plugin} {until}, but its file {refusal}"));
    }
    alternatives.gone_since.map(|_| {
        format!(
            "is served by {plugin}, whose file is no longer in the folder; hint: copy the version \
             that should serve into the folder, again if it is there already; otherwise {plugin} \
             serves {until}"
        )
    })
}
