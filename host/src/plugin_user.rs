//! The users of plugins: integrations and destinations, each with the plugin that serves it.
//!
//! [`builder`] decides which plugin serves a user. A [`Role`] says what the plugin does for its user; the
//! rooms `integration` and `destination` have one each.

pub(crate) mod builder;
pub(crate) mod occasion;
pub(crate) mod plugins_folder;
pub(crate) mod role;
pub(crate) mod secrets;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;

use self::role::{PluginCaller, PluginSection, Role};
use crate::{
    alert::PluginId,
    call::{BreakerReport, CallLimits, CallerHealth},
    config,
    plugins::admission::AdmittedPlugin,
    problem::Problem,
};

/// A section of the configuration that uses a plugin, and the plugin that serves it.
pub(crate) struct PluginUser<R: Role> {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// The settings that it was made from.
    pub settings: Settings<R::Section>,
    /// The plugin, or why there is none.
    pub state: PluginState<R::Caller>,
    /// The counters of the user with its plugin.
    pub metrics: Arc<R::Metrics>,
    /// 1 at first, and one more each time that the user is replaced.
    pub generation: u64,
    /// The time since which this generation is in force.
    pub since: Timestamp,
    /// The parts that depend on the role.
    pub role: R,
    /// The secrets among the options, found on first use.
    secrets: OnceLock<Vec<String>>,
}

/// The settings of a [`PluginUser`]. A user whose settings do not change keeps its instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings<S> {
    /// The section of the configuration.
    pub section: S,
    /// The limits on the time of calls.
    pub limits: CallLimits,
}

impl From<&config::Plugins> for CallLimits {
    fn from(settings: &config::Plugins) -> Self {
        let slow = Some(settings.slow_call).filter(|slow| !slow.is_zero());
        Self { deadline: settings.call_deadline, slow }
    }
}

/// State of a [`PluginUser`].
pub(crate) enum PluginState<C> {
    /// A plugin serves the user.
    Serving {
        /// The plugin.
        plugin: Arc<AdmittedPlugin>,
        /// The caller of the plugin.
        caller: C,
    },
    /// The operator disabled the user.
    Disabled,
    /// The plugin cannot be used.
    Broken(Problem),
}

impl<R: Role> PluginUser<R> {
    /// Returns the options of the plugin.
    pub(crate) fn options(&self) -> serde_json::Value {
        serde_json::Value::Object(self.settings.section.options().clone())
    }

    /// Returns the name and version of the plugin that serves the user.
    pub(crate) fn plugin(&self) -> Option<&Arc<PluginId>> {
        self.admitted().map(|plugin| &plugin.id)
    }

    /// Returns the plugin that serves the user.
    pub(crate) fn admitted(&self) -> Option<&Arc<AdmittedPlugin>> {
        match &self.state {
            PluginState::Serving { plugin, .. } => Some(plugin),
            PluginState::Disabled | PluginState::Broken(_) => None,
        }
    }

    /// Returns the caller of the plugin that serves the user.
    pub(crate) fn caller(&self) -> Option<&R::Caller> {
        match &self.state {
            PluginState::Serving { caller, .. } => Some(caller),
            PluginState::Disabled | PluginState::Broken(_) => None,
        }
    }

    /// Returns whether a plugin serves the user and has no problem.
    pub(crate) fn serves(&self) -> bool {
        self.plugin().is_some() && self.health().problem.is_none()
    }

    /// Returns whether exactly this problem breaks the user.
    pub(crate) fn is_broken_by(&self, problem: &Problem) -> bool {
        matches!(&self.state, PluginState::Broken(present) if present == problem)
    }

    /// Reports the [state](crate::call::Caller::breaker) of the circuit breaker; none without a plugin.
    pub(crate) fn breaker(&self) -> Option<BreakerReport> {
        self.caller().map(PluginCaller::breaker)
    }

    /// Reports the [health](crate::call::Caller::health) of the plugin.
    pub(crate) fn health(&self) -> CallerHealth {
        match &self.state {
            PluginState::Serving { caller, .. } => caller.health(),
            PluginState::Disabled => CallerHealth::default(),
            PluginState::Broken(problem) => {
                CallerHealth { problem: Some(problem.clone()), ..CallerHealth::default() }
            }
        }
    }
}

/// The users with one role in one configuration.
pub(crate) struct PluginUsers<R: Role> {
    /// The users by name.
    pub by_name: HashMap<Arc<str>, Arc<PluginUser<R>>>,
    /// The other versions of each user's plugin, by the user's name.
    pub alternatives: HashMap<Arc<str>, PluginAlternatives>,
}

impl<R: Role> Default for PluginUsers<R> {
    fn default() -> Self {
        Self { by_name: HashMap::new(), alternatives: HashMap::new() }
    }
}

impl<R: Role> Clone for PluginUsers<R> {
    fn clone(&self) -> Self {
        Self { by_name: self.by_name.clone(), alternatives: self.alternatives.clone() }
    }
}

impl<R: Role> PluginUsers<R> {
    /// Returns the users in the order of their names.
    pub(crate) fn sorted(&self) -> Vec<&Arc<PluginUser<R>>> {
        let mut sorted: Vec<_> = self.by_name.values().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        sorted
    }

    /// Returns the versions of a user's plugin that do not serve it.
    pub(crate) fn alternatives_of(&self, name: &str) -> PluginAlternatives {
        self.alternatives.get(name).cloned().unwrap_or_default()
    }
}

/// Versions of a user's plugin that are in the plugins folder and do not serve it, and the state of the
/// file of the version that does.
#[derive(Clone, Debug, Default)]
pub(crate) struct PluginAlternatives {
    /// The other versions, highest first.
    pub waiting: Vec<WaitingPlugin>,
    /// The number of the first [reading](crate::plugins::Catalog::reading) that missed the file of the
    /// plugin that serves. Versions that arrive from then on replace that plugin, even if they are lower.
    pub gone_since: Option<u64>,
    /// The reason why the file of the plugin that serves would be refused now, if the file is still
    /// there.
    pub refused: Option<String>,
}

/// A version of a plugin that is in the [`Catalog`](crate::plugins::Catalog) and does not serve a user.
#[derive(Clone, Debug)]
pub(crate) struct WaitingPlugin {
    /// The plugin.
    pub plugin: Arc<AdmittedPlugin>,
    /// The time since which its file is there.
    pub since: Timestamp,
    /// The reason why the version does not serve.
    pub reason: WaitingReason,
}

/// Reason why a [`WaitingPlugin`] does not serve a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WaitingReason {
    /// A higher version serves, or an equal one that was there before.
    NotNeeded,
    /// The user's `version` excludes it.
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
