//! The integrations of a configuration, each with the plugin that serves it.
//!
//! All integrations are replaced in one step: a request sees those of one configuration or of the next,
//! never a mixture. [`builder`] decides which plugin serves an integration.

pub(crate) mod builder;
pub(crate) mod plugins_folder;
mod rendering;
mod secrets;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use tocsin_plugin_api::Urgency;

use crate::limits::rate_limit::{OverRate, Rate, RateLimits};
use crate::{
    alert::PluginId,
    call::{BreakerReport, CallLimits, Caller, CallerHealth},
    config::{self, LongDuration},
    limits::line_limit::LineLimits,
    metrics::IntegrationMetrics,
    plugins::{Catalog, admission::AdmittedPlugin},
    problem::Problem,
    request::Terms,
};

/// An endpoint, its settings, and the plugin that serves it.
pub(crate) struct Integration {
    /// The last part of the endpoint's URL.
    pub name: Arc<str>,
    /// The urgency of events for which the plugin found none.
    pub urgency: Urgency,
    /// The rates of the endpoint. They stay unchanged if the plugin is replaced by another version.
    pub rates: Arc<Rates>,
    /// The secrets among the options, found on first use.
    secrets: OnceLock<Vec<String>>,
    /// The plugin, or why there is none.
    pub state: IntegrationState,
    /// The counters of the integration with its plugin.
    pub metrics: Arc<IntegrationMetrics>,
    /// 1 at first, and one more each time that the integration is replaced.
    pub generation: u64,
    /// The time since which this generation is in force.
    pub since: Timestamp,
    /// The settings that it was made from.
    pub settings: Settings,
}

/// The settings of an [`Integration`]. An integration whose settings do not change keeps its instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// The section of the configuration.
    pub section: config::IntegrationConfig,
    /// The limits on the time of calls.
    pub limits: CallLimits,
}

impl From<&config::Plugins> for CallLimits {
    fn from(settings: &config::Plugins) -> Self {
        let slow = Some(settings.slow_call).filter(|slow| !slow.is_zero());
        Self { deadline: settings.call_deadline, slow }
    }
}

/// State of an [`Integration`].
pub(crate) enum IntegrationState {
    /// A plugin receives the webhooks.
    Serving {
        /// The plugin.
        plugin: Arc<AdmittedPlugin>,
        /// The caller of the plugin.
        caller: Caller,
    },
    /// The operator disabled the integration.
    Disabled,
    /// The plugin cannot be used.
    Broken(Problem),
}

/// Rates of requests, records and log lines of one [`Integration`].
pub(crate) struct Rates {
    limits: RateLimits,
    /// Limits the records of refused requests, which anybody can send.
    records_of_refused: RateLimits,
    /// Limits the malformed requests that are kept as they came.
    kept_malformed: RateLimits,
    /// Limits log lines about single requests, by kind.
    pub(crate) lines: LineLimits,
}

/// The most refused requests of an integration that leave a record in a minute.
pub(crate) const REFUSED_RECORDED: NonZeroU32 = NonZeroU32::new(600).unwrap();

/// The most malformed requests of an integration that are kept in a minute.
const MALFORMED_KEPT: NonZeroU32 = NonZeroU32::new(60).unwrap();

impl Rates {
    fn of(section: &config::IntegrationConfig) -> Self {
        let recorded = Rate::per_minute(REFUSED_RECORDED);
        Self {
            limits: RateLimits::new(section.rate_limit, section.sender_rate_limit),
            records_of_refused: RateLimits::new(Some(recorded), None),
            kept_malformed: RateLimits::new(Some(Rate::per_minute(MALFORMED_KEPT)), None),
            lines: LineLimits::default(),
        }
    }

    /// Counts a request of a sender.
    ///
    /// # Errors
    ///
    /// If the request exceeds a rate.
    pub(crate) fn check(&self, sender: Option<IpAddr>) -> Result<(), OverRate> {
        self.limits.check(sender.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
    }

    /// Forgets senders that have been idle for a while.
    pub(crate) fn forget_idle(&self) {
        self.limits.forget_idle();
    }
}

impl Integration {
    /// Counts a refused request, and returns whether it leaves a record.
    pub(crate) fn records_refusal(&self) -> bool {
        self.rates.records_of_refused.check(Ipv4Addr::UNSPECIFIED.into()).is_ok()
    }

    /// Counts a malformed request, and returns whether it is kept.
    pub(crate) fn keeps_malformed(&self) -> bool {
        self.rates.kept_malformed.check(Ipv4Addr::UNSPECIFIED.into()).is_ok()
    }

    /// Returns the options of the plugin.
    pub(crate) fn options(&self) -> serde_json::Value {
        serde_json::Value::Object(self.settings.section.options.clone())
    }

    /// Returns the [`Terms`] for the events of a request that arrives now.
    pub(crate) fn terms(&self, now: Timestamp) -> Terms {
        let section = &self.settings.section;
        Terms {
            default_urgency: self.urgency,
            opens: section.maintenance.at(now).is_none(),
            resolve_after: section.resolve_after.map(|LongDuration(after)| after),
        }
    }

    /// Returns the name and version of the plugin that serves the integration.
    pub(crate) fn plugin(&self) -> Option<&Arc<PluginId>> {
        self.admitted().map(|plugin| &plugin.id)
    }

    /// Returns the plugin that serves the integration.
    pub(crate) fn admitted(&self) -> Option<&Arc<AdmittedPlugin>> {
        match &self.state {
            IntegrationState::Serving { plugin, .. } => Some(plugin),
            IntegrationState::Disabled | IntegrationState::Broken(_) => None,
        }
    }

    /// Returns whether the integration takes webhooks and has no problem.
    pub(crate) fn serves(&self) -> bool {
        self.plugin().is_some() && self.health().problem.is_none()
    }

    /// Returns whether exactly this problem breaks the integration.
    pub(crate) fn is_broken_by(&self, problem: &Problem) -> bool {
        matches!(&self.state, IntegrationState::Broken(present) if present == problem)
    }

    /// Reports the [state](Caller::breaker) of the circuit breaker; none without a plugin.
    pub(crate) fn breaker(&self) -> Option<BreakerReport> {
        match &self.state {
            IntegrationState::Serving { caller, .. } => Some(caller.breaker()),
            IntegrationState::Disabled | IntegrationState::Broken(_) => None,
        }
    }

    /// Reports the [health](Caller::health) of the plugin.
    pub(crate) fn health(&self) -> CallerHealth {
        match &self.state {
            IntegrationState::Serving { caller, .. } => caller.health(),
            IntegrationState::Disabled => CallerHealth::default(),
            IntegrationState::Broken(problem) => {
                CallerHealth { problem: Some(problem.clone()), ..CallerHealth::default() }
            }
        }
    }
}

/// The integrations of one configuration, and the [`Catalog`] that they were made from.
#[derive(Clone, Default)]
pub(crate) struct Integrations {
    /// The integrations by name.
    pub by_name: HashMap<Arc<str>, Arc<Integration>>,
    /// The other versions of each integration's plugin, by the integration's name.
    pub alternatives: HashMap<Arc<str>, PluginAlternatives>,
    /// The contents of the plugins folder.
    pub catalog: Catalog,
}

impl Integrations {
    /// Returns the integrations in the order of their names.
    pub(crate) fn sorted(&self) -> Vec<&Arc<Integration>> {
        let mut sorted: Vec<_> = self.by_name.values().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        sorted
    }

    /// Returns the versions of an integration's plugin that do not serve it.
    pub(crate) fn alternatives_of(&self, name: &str) -> PluginAlternatives {
        self.alternatives.get(name).cloned().unwrap_or_default()
    }
}

/// Versions of an integration's plugin that are in the plugins folder and do not serve it, and the
/// state of the file of the version that does.
#[derive(Clone, Debug, Default)]
pub(crate) struct PluginAlternatives {
    /// The other versions, highest first.
    pub waiting: Vec<WaitingPlugin>,
    /// The number of the first [reading](Catalog::reading) that missed the file of the plugin that
    /// serves. Versions that arrive from then on replace that plugin, even if they are lower.
    pub gone_since: Option<u64>,
    /// The reason why the file of the plugin that serves would be refused now, if the file is still
    /// there.
    pub refused: Option<String>,
}

/// A version of a plugin that is in the [`Catalog`] and does not serve an integration.
#[derive(Clone, Debug)]
pub(crate) struct WaitingPlugin {
    /// The plugin.
    pub plugin: Arc<AdmittedPlugin>,
    /// The time since which its file is there.
    pub since: Timestamp,
    /// The reason why the version does not serve.
    pub reason: WaitingReason,
}

/// Reason why a [`WaitingPlugin`] does not serve an integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WaitingReason {
    /// A higher version serves, or an equal one that was there before.
    NotNeeded,
    /// The integration's `version` excludes it.
    NotAllowed,
    /// The version was tried and failed.
    Failed(VersionFailure),
}

/// The failure of a [`WaitingPlugin`] to replace the one that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionFailure {
    /// The failure, in one sentence.
    pub sentence: String,
    /// True if another try may succeed, though nothing has changed.
    pub is_transient: bool,
}

impl WaitingPlugin {
    /// Returns the failure of the version, if it was tried.
    pub(crate) fn failure(&self) -> Option<&VersionFailure> {
        match &self.reason {
            WaitingReason::Failed(failure) => Some(failure),
            WaitingReason::NotNeeded | WaitingReason::NotAllowed => None,
        }
    }
}
