//! The integrations of a configuration, each with the plugin that serves it.
//!
//! All of them are built together and replaced in one step: a request sees those of one
//! configuration or of the next, never a mixture.

use std::{collections::HashMap, sync::Arc};

use tocsin_plugin_api::{Urgency, abi::NewInstanceError};

use crate::{
    alert::PluginId,
    call::{BreakerReport, CallLimits, Caller, CallerHealth, Pool, in_process::InProcess},
    config::{self, ConfigError, LoadedConfig},
    metrics::{IntegrationMetrics, Metrics},
    plugins::{Catalog, Libraries, library::LoadedPlugin},
};

/// One endpoint and what understands it.
pub struct Integration {
    /// The last part of the endpoint's URL.
    pub name: Arc<str>,
    /// For events whose plugin found none.
    pub urgency: Urgency,
    /// What it can do.
    pub state: IntegrationState,
    /// What is counted of it.
    pub metrics: Arc<IntegrationMetrics>,
}

/// What an integration can do.
pub enum IntegrationState {
    /// Its webhooks are judged by this plugin.
    Serving {
        /// Which one.
        plugin: Arc<PluginId>,
        /// How it is called.
        caller: Box<dyn Caller>,
    },
    /// The operator switched it off.
    Disabled,
    /// Its plugin can't be used, and why: one sentence.
    Broken(String),
}

impl Integration {
    /// The plugin that serves it.
    pub fn plugin(&self) -> Option<&Arc<PluginId>> {
        match &self.state {
            IntegrationState::Serving { plugin, .. } => Some(plugin),
            IntegrationState::Disabled | IntegrationState::Broken(_) => None,
        }
    }

    /// Whether it takes webhooks and nothing is wrong with it.
    pub fn serves(&self) -> bool {
        self.plugin().is_some() && self.health().problem.is_none()
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
                CallerHealth { problem: Some(problem.clone()), last_failure: None }
            }
        }
    }
}

/// All integrations of one configuration, and the folder of plugins as it was then.
#[derive(Default)]
pub struct Integrations {
    /// The integrations by name.
    pub by_name: HashMap<Arc<str>, Arc<Integration>>,
    /// What lay in the plugins folder.
    pub catalog: Catalog,
}

impl Integrations {
    /// Finds, loads and starts the plugin of every enabled integration.
    ///
    /// A plugin at fault breaks its own integrations. What the operator wrote wrongly is returned
    /// beside them.
    pub fn build(
        config: &LoadedConfig,
        catalog: Catalog,
        libraries: &Libraries,
        pool: &Pool,
        metrics: &Metrics,
    ) -> (Self, Vec<ConfigError>) {
        let builder = Builder { config, catalog: &catalog, libraries, pool, metrics };
        let (mut by_name, mut errors) = (HashMap::new(), Vec::new());
        for (name, settings) in &config.config.integrations {
            match builder.integration(name, settings) {
                Ok(integration) => {
                    by_name.insert(Arc::clone(&integration.name), Arc::new(integration));
                }
                Err(error) => errors.push(error),
            }
        }
        (Self { by_name, catalog }, errors)
    }

    /// The integrations in the order of their names.
    pub fn sorted(&self) -> Vec<&Arc<Integration>> {
        let mut sorted: Vec<_> = self.by_name.values().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        sorted
    }
}

struct Builder<'b> {
    config: &'b LoadedConfig,
    catalog: &'b Catalog,
    libraries: &'b Libraries,
    pool: &'b Pool,
    metrics: &'b Metrics,
}

impl Builder<'_> {
    fn integration(
        &self,
        name: &str,
        settings: &config::Integration,
    ) -> Result<Integration, ConfigError> {
        let without_plugin = |state| {
            let id = PluginId { name: settings.plugin.clone(), version: "none".into() };
            let metrics = Arc::new(self.metrics.integration(name, &id));
            Integration { name: name.into(), urgency: settings.urgency, state, metrics }
        };
        if !settings.enabled {
            return Ok(without_plugin(IntegrationState::Disabled));
        }
        match self.plugin(name, settings)? {
            Ok(plugin) => self.start(name, settings, plugin),
            Err(problem) => Ok(without_plugin(IntegrationState::Broken(problem))),
        }
    }

    /// The highest version that matches and loads. The inner error is the plugin's fault.
    fn plugin(
        &self,
        name: &str,
        settings: &config::Integration,
    ) -> Result<Result<Arc<LoadedPlugin>, String>, ConfigError> {
        let candidates = self.catalog.candidates(&settings.plugin, &settings.version);
        if candidates.is_empty() {
            let missing = self.catalog.why_missing(&settings.plugin, &settings.version);
            if missing.may_be_refused {
                return Ok(Err(format!("{}; hint: {}", missing.message, missing.hint)));
            }
            let any_version = settings.version == semver::VersionReq::STAR;
            let key = if any_version || missing.message.contains("is named") {
                "plugin"
            } else {
                "version"
            };
            let error = self.config.integration_error(name, &[key], missing.message);
            return Err(error.hint(missing.hint));
        }
        let mut problem = String::new();
        for candidate in candidates {
            match self.libraries.load(candidate) {
                Ok(plugin) => return Ok(Ok(plugin)),
                Err(error) => {
                    tracing::error!(integration = name, %error, "a plugin cannot be loaded");
                    if problem.is_empty() {
                        problem = error.to_string();
                    }
                }
            }
        }
        Ok(Err(problem))
    }

    fn start(
        &self,
        name: &str,
        settings: &config::Integration,
        plugin: Arc<LoadedPlugin>,
    ) -> Result<Integration, ConfigError> {
        let id = Arc::clone(&plugin.plugin.id);
        let metrics = Arc::new(self.metrics.integration(name, &id));
        // A JSON object can always be written.
        let options = serde_json::to_vec(&settings.options).unwrap_or_default();
        let limits = CallLimits::from(&self.config.config.plugins);
        let (caller, first) =
            InProcess::start(self.pool, plugin, options, limits, Arc::clone(&metrics));
        if let Err(NewInstanceError::Refused(error)) = first {
            return Err(self.options_error(name, &id, &error));
        }
        let state = IntegrationState::Serving { plugin: id, caller: Box::new(caller) };
        Ok(Integration { name: name.into(), urgency: settings.urgency, state, metrics })
    }

    fn options_error(
        &self,
        name: &str,
        plugin: &PluginId,
        error: &tocsin_plugin_api::OptionsError,
    ) -> ConfigError {
        let (message, hint) = match error.message.split_once("\nhint: ") {
            Some((message, hint)) => (message, hint.to_owned()),
            None => {
                (error.message.as_str(), format!("see the options of plugin `{}`", plugin.name))
            }
        };
        let key: Vec<_> = error.path.split('.').filter(|part| !part.is_empty()).collect();
        let key = [&["options"], key.as_slice()].concat();
        self.config.integration_error(name, &key, message).hint(hint)
    }
}
