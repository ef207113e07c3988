//! The role of a plugin that receives webhooks, and the integrations that use such plugins.
//!
//! All integrations are replaced in one step: a request sees those of one configuration or of the next,
//! never a mixture. The room [`plugin_user`](crate::plugin_user) decides which plugin serves an
//! integration.

mod rendering;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::Arc,
};

use jiff::Timestamp;
use semver::VersionReq;
use serde_json::{Map, Value};
use tocsin_plugin_api::manifest;

use crate::limits::rate_limit::{OverRate, Rate, RateLimits};
use crate::{
    alert::PluginId,
    call::{Caller, StartError},
    config::{Config, IntegrationConfig, LongDuration},
    limits::line_limit::LineLimits,
    metrics::{IntegrationMetrics, Metrics, Owner},
    plugin_user::{
        PluginState, PluginUser, PluginUsers,
        role::{NoStart, NoStartReason, PluginSection, Role, StartOrder},
    },
    problem::Problem,
    request::Terms,
};

/// An endpoint, its settings, and the plugin that serves it. Its name is the last part of the endpoint's
/// URL.
pub(crate) type Integration = PluginUser<Receiving>;

/// The integrations of one configuration.
pub(crate) type Integrations = PluginUsers<Receiving>;

/// State of an [`Integration`].
pub(crate) type IntegrationState = PluginState<Caller>;

/// The role of a plugin that receives webhooks for an [`Integration`].
pub(crate) struct Receiving {
    /// The rates of the endpoint. They stay unchanged if the plugin is replaced by another version.
    pub rates: Arc<Rates>,
}

impl Role for Receiving {
    type Section = IntegrationConfig;
    type Caller = Caller;
    type Metrics = IntegrationMetrics;

    const TABLE: &'static str = "integrations";
    const NOUN: &'static str = "integration";
    const CAPABILITY: &'static str = manifest::RECEIVE;

    fn sections(config: &Config) -> &BTreeMap<String, IntegrationConfig> {
        &config.integrations
    }

    fn owner(name: &str) -> Owner {
        Owner::Integration(name.into())
    }

    fn metrics(metrics: &Metrics, name: &str, plugin: &PluginId) -> IntegrationMetrics {
        metrics.integration(name, plugin)
    }

    fn of(section: &IntegrationConfig, present: Option<&Integration>) -> Self {
        let same_rates = present.filter(|present| {
            let old = &present.settings.section;
            old.rate_limit == section.rate_limit
                && old.sender_rate_limit == section.sender_rate_limit
        });
        let rates = same_rates.map(|present| Arc::clone(&present.role.rates));
        Self { rates: rates.unwrap_or_else(|| Arc::new(Rates::of(section))) }
    }

    fn incapable(name: &str, plugin: &PluginId) -> Problem {
        let PluginId { name: plugin, version } = plugin;
        let message = format!(
            "plugin `{plugin} {version}` receives no webhooks: it only sends notifications"
        );
        Problem::new("plugin-incapable", message).with_hint(format!(
            "make it a destination: write `[destinations.{name}]` instead of `[integrations.{name}]`"
        ))
    }

    fn start(
        order: &StartOrder<'_, Self>,
        known: Option<StartError>,
    ) -> Result<Caller, NoStart<Caller>> {
        let (pool, limits) = (order.resources.pool, order.settings.limits);
        let (plugin, options) = (Arc::clone(&order.plugin), order.options.clone());
        let metrics = Arc::clone(&order.metrics.plugin);
        let (caller, first) = match known {
            None => Caller::start(pool, plugin, options, limits, metrics),
            Some(error) => {
                let caller = Caller::not_started(pool, plugin, options, limits, metrics, &error);
                (caller, Err(error))
            }
        };
        match first {
            Ok(()) => Ok(caller),
            Err(error) => {
                Err(NoStart { reason: NoStartReason::NoInstance(error), caller: Some(caller) })
            }
        }
    }
}

impl PluginSection for IntegrationConfig {
    fn plugin(&self) -> &str {
        &self.plugin
    }

    fn version(&self) -> &VersionReq {
        &self.version
    }

    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn options(&self) -> &Map<String, Value> {
        &self.options
    }
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
    fn of(section: &IntegrationConfig) -> Self {
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
    pub(crate) fn check(&self, sender: IpAddr) -> Result<(), OverRate> {
        self.limits.check(sender)
    }

    /// Forgets senders that have been idle for a while.
    pub(crate) fn forget_idle(&self) {
        self.limits.forget_idle();
    }
}

impl Integration {
    /// Counts a refused request, and returns whether it leaves a record.
    pub(crate) fn records_refusal(&self) -> bool {
        self.role.rates.records_of_refused.check(Ipv4Addr::UNSPECIFIED.into()).is_ok()
    }

    /// Counts a malformed request, and returns whether it is kept.
    pub(crate) fn keeps_malformed(&self) -> bool {
        self.role.rates.kept_malformed.check(Ipv4Addr::UNSPECIFIED.into()).is_ok()
    }

    /// Returns the [`Terms`] for the events of a request that arrives now.
    pub(crate) fn terms(&self, now: Timestamp) -> Terms {
        let section = &self.settings.section;
        Terms {
            default_urgency: section.urgency,
            opens: section.maintenance.at(now).is_none(),
            resolve_after: section.resolve_after.map(|LongDuration(after)| after),
        }
    }
}
