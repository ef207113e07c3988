//! The integrations of a configuration, each with the plugin that serves it.
//!
//! All of them are replaced in one step: a request sees those of one configuration or of the next,
//! never a mixture. It decides nothing on which plugin serves: that is for [`builder`].

pub mod builder;
pub mod plugins_folder;
mod secrets;
mod wording;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use tocsin_plugin_api::Urgency;

use crate::rate_limit::{OverRate, Rate, RateLimits};
use crate::{
    alert::PluginId,
    call::{BreakerReport, CallLimits, Caller, CallerHealth},
    config::{self, LongDuration},
    line_limit::LineLimits,
    metrics::IntegrationMetrics,
    plugins::{Catalog, admission::AdmittedPlugin},
    problem::Problem,
    request::Terms,
};

/// One endpoint and what understands it.
pub struct Integration {
    /// The last part of the endpoint's URL.
    pub name: Arc<str>,
    /// For events whose plugin found none.
    pub urgency: Urgency,
    /// What it takes in a time. A new version of its plugin finds it as it was.
    pub rates: Arc<Rates>,
    /// The secrets among the options, once somebody asked for them.
    secrets: OnceLock<Vec<String>>,
    /// What it can do.
    pub state: IntegrationState,
    /// What is counted of it.
    pub metrics: Arc<IntegrationMetrics>,
    /// 1 as the host meets it first, and one more each time that it is replaced.
    pub generation: u64,
    /// Since when this generation is in force.
    pub since: Timestamp,
    /// What it was made from.
    pub settings: Settings,
}

/// What an integration is made from, beside its plugin: where nothing of it changes, it stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its section of the configuration.
    pub section: config::IntegrationConfig,
    /// How long a call may take.
    pub limits: CallLimits,
}

impl From<&config::Plugins> for CallLimits {
    fn from(settings: &config::Plugins) -> Self {
        let slow = Some(settings.slow_call).filter(|slow| !slow.is_zero());
        Self { deadline: settings.call_deadline, slow }
    }
}

/// What an integration can do.
pub enum IntegrationState {
    /// Its webhooks are judged by this plugin.
    Serving {
        /// Which one.
        plugin: Arc<AdmittedPlugin>,
        /// The caller of the plugin.
        caller: Caller,
    },
    /// The operator switched it off.
    Disabled,
    /// Its plugin cannot be used.
    Broken(Problem),
}

/// What an integration takes in a time.
pub struct Rates {
    limits: RateLimits,
    /// Anybody can send what is refused: not all of it leaves a record.
    records_of_refused: RateLimits,
    /// A rate for malformed requests that are kept as they came.
    kept_malformed: RateLimits,
    /// Lines about single requests, by their kind.
    pub(crate) lines: LineLimits,
}

/// So many requests that are refused leave a record, of an integration in a minute.
pub(crate) const REFUSED_RECORDED: NonZeroU32 = NonZeroU32::new(600).unwrap();

/// So many malformed requests are written as they came, of an integration in a minute.
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

    /// Whether one more request is taken from a sender.
    ///
    /// # Errors
    ///
    /// Where that is too many.
    pub fn check(&self, sender: Option<IpAddr>) -> Result<(), OverRate> {
        self.limits.check(sender.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
    }

    /// Forgets senders of whom nothing was heard for a while.
    pub fn forget_idle(&self) {
        self.limits.forget_idle();
    }
}

impl Integration {
    /// Whether a request that is refused leaves a record, now.
    pub fn records_refusal(&self) -> bool {
        self.rates.records_of_refused.check(Ipv4Addr::UNSPECIFIED.into()).is_ok()
    }

    /// Returns whether another malformed request is kept as it came, now.
    pub(crate) fn keeps_malformed(&self) -> bool {
        self.rates.kept_malformed.check(Ipv4Addr::UNSPECIFIED.into()).is_ok()
    }

    /// What its plugin is given.
    pub(crate) fn options(&self) -> serde_json::Value {
        serde_json::Value::Object(self.settings.section.options.clone())
    }

    /// What is added to the events of a request that arrives then.
    pub fn terms(&self, now: Timestamp) -> Terms {
        let section = &self.settings.section;
        Terms {
            default_urgency: self.urgency,
            opens: section.maintenance.at(now).is_none(),
            resolve_after: section.resolve_after.map(|LongDuration(after)| after),
        }
    }

    /// The name and version of the plugin that serves it.
    pub fn plugin(&self) -> Option<&Arc<PluginId>> {
        self.admitted().map(|plugin| &plugin.id)
    }

    /// The plugin that serves it.
    pub fn admitted(&self) -> Option<&Arc<AdmittedPlugin>> {
        match &self.state {
            IntegrationState::Serving { plugin, .. } => Some(plugin),
            IntegrationState::Disabled | IntegrationState::Broken(_) => None,
        }
    }

    /// Whether it takes webhooks and nothing is wrong with it.
    pub fn serves(&self) -> bool {
        self.plugin().is_some() && self.health().problem.is_none()
    }

    /// Returns whether exactly this problem breaks the integration.
    pub(crate) fn is_broken_by(&self, problem: &Problem) -> bool {
        matches!(&self.state, IntegrationState::Broken(present) if present == problem)
    }

    /// Whether its plugin is called, and what speaks against it; none without one.
    pub fn breaker(&self) -> Option<BreakerReport> {
        match &self.state {
            IntegrationState::Serving { caller, .. } => Some(caller.breaker()),
            IntegrationState::Disabled | IntegrationState::Broken(_) => None,
        }
    }

    /// How its plugin has fared.
    pub fn health(&self) -> CallerHealth {
        match &self.state {
            IntegrationState::Serving { caller, .. } => caller.health(),
            IntegrationState::Disabled => CallerHealth::default(),
            IntegrationState::Broken(problem) => {
                CallerHealth { problem: Some(problem.clone()), ..CallerHealth::default() }
            }
        }
    }
}

/// All integrations of one configuration, and the folder of plugins as it was then.
#[derive(Clone, Default)]
pub struct Integrations {
    /// The integrations by name.
    pub by_name: HashMap<Arc<str>, Arc<Integration>>,
    /// What the folder holds for each of them, beside what serves it.
    pub prospects: HashMap<Arc<str>, Prospect>,
    /// What lay in the plugins folder.
    pub catalog: Catalog,
}

impl Integrations {
    /// The integrations in the order of their names.
    pub fn sorted(&self) -> Vec<&Arc<Integration>> {
        let mut sorted: Vec<_> = self.by_name.values().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        sorted
    }

    /// What the folder holds for an integration, beside what serves it.
    pub fn prospect(&self, name: &str) -> Prospect {
        self.prospects.get(name).cloned().unwrap_or_default()
    }
}

/// What the plugins folder holds for an integration, beside what serves it.
#[derive(Clone, Debug, Default)]
pub struct Prospect {
    /// Other versions of its plugin, highest first.
    pub waiting: Vec<Waiting>,
    /// The reading of the folder that missed the file of what serves for the first time. What
    /// arrives from then on takes over, whatever its version.
    pub gone_since: Option<u64>,
    /// Why the file of what serves would not be admitted any more, where it is still there.
    pub refused: Option<String>,
}

/// A version of a plugin that lies in the folder and does not serve an integration.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Which one.
    pub plugin: Arc<AdmittedPlugin>,
    /// Since when its file lies there.
    pub since: Timestamp,
    /// Why it does not serve.
    pub reason: WaitingReason,
}

/// Why a version does not serve an integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// A higher one does, or one that was there before.
    NotNeeded,
    /// The integration's `version` leaves it out.
    NotAllowed,
    /// It was tried in vain.
    Failed(Failure),
}

/// Why a version could not take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, one sentence.
    pub sentence: String,
    /// Whether the next try may go better, though nothing has changed.
    pub is_passing: bool,
}

impl Waiting {
    /// What went wrong when it was tried.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.reason {
            WaitingReason::Failed(failure) => Some(failure),
            WaitingReason::NotNeeded | WaitingReason::NotAllowed => None,
        }
    }
}
