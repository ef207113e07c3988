//! The role of a plugin: what the host asks of it for a [`PluginUser`].
//!
//! Everything that is the same for every role is in [`builder`](super::builder).

use std::{collections::BTreeMap, fmt, sync::Arc};

use semver::VersionReq;
use serde_json::{Map, Value};

use super::{PluginUser, Settings, occasion::Resources};
use crate::{
    alert::PluginId,
    call::{BreakerReport, CallFailure, Caller, CallerHealth, RunnablePlugin, StartError},
    config::{Config, ConfigError, LoadedConfig},
    metrics::{Metrics, Owner},
    problem::Problem,
};

/// Role of a plugin: the service that it does for a section of the configuration.
pub(crate) trait Role: Sized + Send + Sync + 'static {
    /// The section of the configuration.
    type Section: PluginSection;
    /// The caller of a plugin.
    type Caller: PluginCaller;
    /// The counters of a user with one version of its plugin.
    type Metrics: Send + Sync;

    /// The table of the sections in the configuration.
    const TABLE: &'static str;
    /// The word for a user in messages.
    const NOUN: &'static str;
    /// The capability that the plugin needs.
    const CAPABILITY: &'static str;

    /// Returns the sections of a configuration.
    fn sections(config: &Config) -> &BTreeMap<String, Self::Section>;

    /// Returns a user as the owner of metrics and log lines.
    fn owner(name: &str) -> Owner;

    /// Returns the counters of a user with a version of its plugin.
    fn metrics(metrics: &Metrics, name: &str, plugin: &PluginId) -> Self::Metrics;

    /// Makes the parts of a new user that depend on the role. They may stay those of the present one.
    fn of(section: &Self::Section, present: Option<&PluginUser<Self>>) -> Self;

    /// Says that a plugin lacks the [capability](Self::CAPABILITY).
    fn incapable(name: &str, plugin: &PluginId) -> Problem;

    /// Starts a plugin for a user, unless the plugin is known to fail.
    ///
    /// # Errors
    ///
    /// If the plugin cannot serve the user now.
    fn start(
        order: &StartOrder<'_, Self>,
        known: Option<StartError>,
    ) -> Result<Self::Caller, NoStart<Self::Caller>>;
}

/// A section of the configuration that uses a plugin.
pub(crate) trait PluginSection: Clone + PartialEq + Send + Sync {
    /// Returns the name of the plugin.
    fn plugin(&self) -> &str;

    /// Returns the versions of the plugin that may be used.
    fn version(&self) -> &VersionReq;

    /// Returns whether the plugin is used.
    fn is_enabled(&self) -> bool;

    /// Returns the options of the plugin.
    fn options(&self) -> &Map<String, Value>;
}

/// The caller of a plugin, whatever the plugin is asked for.
pub(crate) trait PluginCaller: Send + Sync {
    /// Returns the plugin that is called.
    fn plugin(&self) -> &Arc<dyn RunnablePlugin>;

    /// Returns whether there has ever been an instance of the plugin.
    fn is_started(&self) -> bool;

    /// Reports the [`CallerHealth`] of the plugin.
    fn health(&self) -> CallerHealth;

    /// Reports the state of the breaker.
    fn breaker(&self) -> BreakerReport;
}

impl<Q, A> PluginCaller for Caller<Q, A>
where
    Self: Send + Sync,
{
    fn plugin(&self) -> &Arc<dyn RunnablePlugin> {
        self.plugin()
    }

    fn is_started(&self) -> bool {
        self.is_started()
    }

    fn health(&self) -> CallerHealth {
        self.health()
    }

    fn breaker(&self) -> BreakerReport {
        self.breaker()
    }
}

/// Order to start a plugin for a user.
pub(crate) struct StartOrder<'o, R: Role> {
    /// The means to call plugins.
    pub resources: Resources<'o>,
    /// The configuration.
    pub config: &'o LoadedConfig,
    /// The name of the user.
    pub name: &'o str,
    /// The settings of the user.
    pub settings: &'o Settings<R::Section>,
    /// The plugin.
    pub plugin: Arc<dyn RunnablePlugin>,
    /// The options of the plugin, a JSON object.
    pub options: Vec<u8>,
    /// The counters.
    pub metrics: &'o Arc<R::Metrics>,
}

/// Failure of a start.
pub(crate) struct NoStart<C> {
    /// The reason.
    pub reason: NoStartReason,
    /// A caller that tries again with the next call, if the role allows that.
    pub caller: Option<C>,
}

/// Reason of a [`NoStart`].
pub(crate) enum NoStartReason {
    /// The plugin gave no instance.
    NoInstance(StartError),
    /// The plugin did not describe itself.
    NoDescription(CallFailure),
    /// The plugin cannot do what the configuration asks of it.
    Unable(ConfigError),
}

impl NoStartReason {
    /// Returns true if another try may succeed, though nothing has changed.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoInstance(StartError::NoThread(_))
                | Self::NoDescription(CallFailure::NoThread(_))
        )
    }
}

impl fmt::Display for NoStartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInstance(error) => error.fmt(f),
            Self::NoDescription(failure) => write!(f, "does not describe itself: {failure}"),
            Self::Unable(error) => f.write_str(&error.sentence()),
        }
    }
}
