//! Finds, loads and starts the plugin of each integration, and keeps integrations that need not change.
//!
//! If an integration's settings are unchanged, it is upgraded to a higher version of its plugin, or to
//! a version that was dropped in after the present file was removed. If the upgrade fails, the present
//! plugin still serves. Requests see the result only after the caller has put it into force.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use tocsin_plugin_api::manifest;

use super::{
    Integration, IntegrationState, Integrations, PluginAlternatives, Rates, Settings,
    VersionFailure, WaitingPlugin, WaitingReason, plugins_folder::read_catalog,
};
use crate::{
    alert::PluginId,
    call::{CallLimits, CallPool, Caller, PluginRuntime, RunnablePlugin, StartError},
    config::{self, ConfigError, ConfigErrors, LoadedConfig},
    events::bounded_reason,
    metrics::{IntegrationMetrics, Metrics},
    plugins::{
        Candidate, Catalog, PLUGIN_MISSING, PLUGIN_REFUSED, admission::AdmittedPlugin,
        library::LoadError,
    },
    problem::Problem,
};

/// The means of this process to load and call plugins, which outlive every configuration and every
/// [`Builder`].
#[derive(Clone, Copy)]
pub(crate) struct Resources<'b> {
    /// The runtime of the plugins.
    pub runtime: &'b dyn PluginRuntime,
    /// The threads that call plugins.
    pub pool: &'b CallPool,
    /// The counters of the host.
    pub metrics: &'b Metrics,
}

/// Builder of the [`Integrations`] of one configuration, from the plugins folder as it is now and from
/// the integrations in force, which are kept if their settings and plugins did not change.
pub(crate) struct Builder<'b> {
    config: &'b LoadedConfig,
    catalog: Catalog,
    /// The integrations in force.
    present: &'b Integrations,
    resources: Resources<'b>,
    /// True if a version that failed before is tried again.
    retries_failed: bool,
    /// True if the host starts with these integrations.
    is_start: bool,
    is_stopping: &'b dyn Fn() -> bool,
    /// Plugins that did not start in time. Each is tried once, however many integrations share it.
    timed_out: RefCell<HashMap<StartKey, Duration>>,
}

/// The hash of a plugin and its options.
type StartKey = (String, Vec<u8>);

/// An [`Integration`] as it would be built, without starting anything.
pub(crate) struct IntegrationPlan {
    /// The settings of the integration.
    pub settings: Settings,
    /// The plugin that would be tried first; none if nothing is started.
    pub plugin: Option<Arc<AdmittedPlugin>>,
    /// The reason why no plugin can serve the integration, though one should.
    pub problem: Option<Problem>,
}

/// An integration, and the versions of its plugin that do not serve it.
type Built = (Arc<Integration>, PluginAlternatives);

impl<'b> Builder<'b> {
    /// Creates a builder, and reads the plugins folder of the configuration. Versions that failed before
    /// are tried again.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] if the folder cannot be listed, or nothing in it can be trusted.
    pub(crate) fn new(
        config: &'b LoadedConfig,
        present: &'b Integrations,
        resources: Resources<'b>,
    ) -> Result<Self, ConfigErrors> {
        Ok(Self {
            config,
            catalog: read_catalog(config, &present.catalog)?,
            present,
            resources,
            retries_failed: true,
            is_start: false,
            is_stopping: &|| false,
            timed_out: RefCell::default(),
        })
    }

    /// Builds for a host that starts: a missing plugin then breaks only its own integrations, unless the
    /// plugin is required.
    #[must_use]
    pub(crate) fn for_start(self) -> Self {
        Self { is_start: true, ..self }
    }

    /// Chooses whether versions that failed before are tried again.
    #[must_use]
    pub(crate) fn retry_failed(self, retries_failed: bool) -> Self {
        Self { retries_failed, ..self }
    }

    /// Stops building as soon as the host stops: the integrations are not needed then.
    #[must_use]
    pub(crate) fn stop_if(self, is_stopping: &'b dyn Fn() -> bool) -> Self {
        Self { is_stopping, ..self }
    }
}

impl Builder<'_> {
    /// Builds all integrations. A plugin that fails breaks its own integrations, or is held back if
    /// another version serves. Errors of the configuration are returned beside the integrations. If the
    /// host stops meanwhile, not all integrations are built.
    pub(crate) fn build(self) -> (Integrations, Vec<ConfigError>) {
        let mut built = Integrations::default();
        let mut errors = Vec::new();
        for (name, section) in &self.config.config.integrations {
            if (self.is_stopping)() {
                break;
            }
            match self.build_one(name, section) {
                Ok((integration, alternatives)) => {
                    built.alternatives.insert(Arc::clone(&integration.name), alternatives);
                    built.by_name.insert(Arc::clone(&integration.name), integration);
                }
                Err(error) => errors.push(error),
            }
        }
        built.catalog = self.catalog;
        (built, errors)
    }

    /// Plans what [`build`](Self::build) would change, without running any code of a plugin.
    pub(crate) fn plan(&self) -> (BTreeMap<String, IntegrationPlan>, Vec<ConfigError>) {
        let (mut plans, mut errors) = (BTreeMap::new(), Vec::new());
        for (name, section) in &self.config.config.integrations {
            match self.plan_one(name, section) {
                Ok(Some(plan)) => {
                    plans.insert(name.clone(), plan);
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        (plans, errors)
    }

    fn plan_one(
        &self,
        name: &str,
        section: &config::IntegrationConfig,
    ) -> Result<Option<IntegrationPlan>, ConfigError> {
        let settings = self.settings(section);
        let (mut plugin, mut problem) = (None, None);
        match self.decide(name, &settings) {
            Decision::Keep(_) => return Ok(None),
            Decision::Disable => {}
            Decision::Upgrade { upgrades, .. } => {
                let mut upgrades = upgrades.into_iter();
                let untried =
                    upgrades.find(|one| one.failed.is_none() && self.may_load(one.plugin));
                let Some(untried) = untried else { return Ok(None) };
                plugin = Some(untried.plugin);
            }
            Decision::Start(candidates) => {
                let mut candidates = candidates.into_iter();
                plugin = candidates.find(|one| self.may_load(one.plugin)).map(|one| one.plugin);
                if plugin.is_none() {
                    problem = Some(self.why_nothing_serves(name, section)?);
                }
            }
        }
        let present = self.present.by_name.get(name).filter(|one| one.settings == settings);
        if present.zip(problem.as_ref()).is_some_and(|(one, problem)| one.is_broken_by(problem)) {
            return Ok(None);
        }
        Ok(Some(IntegrationPlan { settings, plugin: plugin.cloned(), problem }))
    }

    /// Returns whether a plugin may be loaded as far as is known.
    fn may_load(&self, plugin: &AdmittedPlugin) -> bool {
        !matches!(self.resources.runtime.known(plugin), Some(Err(_)))
    }

    /// Explains why an integration is broken for which nothing can be loaded.
    fn why_nothing_serves(
        &self,
        name: &str,
        section: &config::IntegrationConfig,
    ) -> Result<Problem, ConfigError> {
        let candidates = self.catalog.candidates(&section.plugin, &section.version);
        let known = candidates.first().and_then(|first| self.resources.runtime.known(first.plugin));
        match known {
            Some(Err(error)) => Ok(error.problem()),
            _ => self.without_candidates(name, section),
        }
    }

    fn settings(&self, section: &config::IntegrationConfig) -> Settings {
        let limits = CallLimits::from(&self.config.config.plugins);
        Settings { section: section.clone(), limits }
    }

    fn build_one(
        &self,
        name: &str,
        section: &config::IntegrationConfig,
    ) -> Result<Built, ConfigError> {
        let settings = self.settings(section);
        let (integration, failures) = match self.decide(name, &settings) {
            Decision::Keep(present) => (present, Vec::new()),
            Decision::Disable => {
                (self.new_integration(name, settings, IntegrationState::Disabled), Vec::new())
            }
            Decision::Upgrade { present, upgrades } => self.upgrade(present, &upgrades),
            Decision::Start(candidates) if candidates.is_empty() => {
                let problem = self.without_candidates(name, section)?;
                (self.broken(name, settings, problem), Vec::new())
            }
            Decision::Start(candidates) => self.start_highest(name, &settings, &candidates)?,
        };
        if self.is_start {
            self.check_required(name, &integration)?;
        }
        let alternatives = self.alternatives(&integration, &failures);
        Ok((integration, alternatives))
    }

    /// Refuses to start without a plugin that is required.
    fn check_required(&self, name: &str, integration: &Integration) -> Result<(), ConfigError> {
        let plugin = &integration.settings.section.plugin;
        match integration.health().problem {
            Some(problem) if self.config.config.plugins.required.contains(plugin) => {
                let message = format!("required by `plugins.required`: {}", problem.message);
                let hint = problem.hint.unwrap_or_else(|| "repair the plugin".into());
                Err(self.config.integration_error(name, &["plugin"], message).hint(hint))
            }
            _ => Ok(()),
        }
    }

    fn decide(&self, name: &str, settings: &Settings) -> Decision<'_> {
        let present = self.present.by_name.get(name);
        let unchanged = present.filter(|present| present.settings == *settings).cloned();
        let section = &settings.section;
        if !section.enabled {
            return unchanged.map_or(Decision::Disable, Decision::Keep);
        }
        let candidates = self.catalog.candidates(&section.plugin, &section.version);
        let Some(present) = unchanged else { return Decision::Start(candidates) };
        let IntegrationState::Serving { plugin, caller } = &present.state else {
            return Decision::Start(candidates);
        };
        // A requested retry starts broken integrations again.
        if self.retries_failed && !present.serves() && !candidates.is_empty() {
            return Decision::Start(candidates);
        }
        let upgrades = self.upgrades(name, plugin, caller.is_started(), &candidates);
        if upgrades.is_empty() {
            return Decision::Keep(present);
        }
        Decision::Upgrade { present, upgrades }
    }

    /// Returns the candidates that may replace a plugin in use: higher versions; if its file is gone,
    /// versions that arrived since; and any other version if the plugin never started.
    fn upgrades<'c>(
        &self,
        name: &str,
        plugin: &AdmittedPlugin,
        is_started: bool,
        candidates: &[Candidate<'c>],
    ) -> Vec<UpgradeCandidate<'c>> {
        let known = self.present.alternatives_of(name);
        let gone_since = self.gone_since(name, plugin);
        let may_replace = |candidate: &&Candidate<'_>| {
            let came_since = gone_since.is_some_and(|gone| candidate.file.arrived >= gone);
            candidate.plugin.sha256 != plugin.sha256
                && (candidate.plugin.version > plugin.version || came_since || !is_started)
        };
        let candidate = |candidate: &Candidate<'c>| {
            let hash = &candidate.plugin.sha256;
            let failed = known.waiting.iter().find(|one| one.plugin.sha256 == *hash);
            let failed = failed.and_then(WaitingPlugin::failure).cloned();
            let failed = failed.filter(|failure| !self.retries_failed && !failure.is_transient);
            UpgradeCandidate { plugin: candidate.plugin, failed }
        };
        candidates.iter().filter(may_replace).map(candidate).collect()
    }

    fn gone_since(&self, name: &str, plugin: &AdmittedPlugin) -> Option<u64> {
        if self.catalog.file_of(plugin).is_some() {
            return None;
        }
        let known = self.present.alternatives.get(name).and_then(|known| known.gone_since);
        Some(known.unwrap_or(self.catalog.reading))
    }

    /// Upgrades an integration to the first candidate that starts, or keeps it.
    fn upgrade(
        &self,
        present: Arc<Integration>,
        upgrades: &[UpgradeCandidate<'_>],
    ) -> (Arc<Integration>, Failures) {
        let mut failures = Failures::new();
        for candidate in upgrades {
            let failure = match &candidate.failed {
                Some(failure) => failure.clone(),
                None => match self.start(&present.name, &present.settings, candidate.plugin) {
                    Ok(integration) => return (integration, failures),
                    Err(error) => {
                        let failure = error.failure();
                        let (integration, version) = (&*present.name, &candidate.plugin.id.version);
                        let sentence = &failure.sentence;
                        tracing::error!(
                            event = "plugin_version_held_back",
                            integration,
                            version,
                            sentence,
                            "a version is held back",
                        );
                        failure
                    }
                },
            };
            failures.push((candidate.plugin.sha256.clone(), failure));
        }
        (present, failures)
    }

    /// Starts the highest version that can be started. If none can, the failure of the highest one
    /// breaks the integration. If one of them served until now, that one's failure does, and no lower
    /// version is tried.
    fn start_highest(
        &self,
        name: &str,
        settings: &Settings,
        candidates: &[Candidate<'_>],
    ) -> Result<(Arc<Integration>, Failures), ConfigError> {
        let served = self.present.by_name.get(name).filter(|present| present.serves());
        let served = served.and_then(|present| present.admitted());
        let served = served.and_then(|plugin| {
            candidates.iter().position(|one| one.plugin.sha256 == plugin.sha256)
        });
        let candidates = served.map_or(candidates, |last| &candidates[..=last]);
        let mut failures = Failures::new();
        let mut decisive = None;
        for candidate in candidates {
            let error = match self.start(name, settings, candidate.plugin) {
                Ok(integration) => return Ok((integration, failures)),
                Err(error) => error,
            };
            failures.push((candidate.plugin.sha256.clone(), error.failure()));
            if decisive.is_none() || served.is_some() {
                decisive = Some(error);
            }
        }
        match decisive {
            Some(NotStarted::Refused(error)) => Err(error),
            Some(NotStarted::Failed { integration, .. }) => Ok((integration, failures)),
            Some(NotStarted::NotLoaded(error)) => {
                Ok((self.broken(name, settings.clone(), error.problem()), failures))
            }
            None => {
                let problem = Problem::new(PLUGIN_MISSING, "has no plugin");
                Ok((self.broken(name, settings.clone(), problem), failures))
            }
        }
    }

    /// Explains why the folder has no usable file for an integration: a problem that breaks the
    /// integration, or an error of the configuration. A plugin that is missing altogether is an error of
    /// the configuration, unless the host starts or the integration had no plugin before either.
    fn without_candidates(
        &self,
        name: &str,
        section: &config::IntegrationConfig,
    ) -> Result<Problem, ConfigError> {
        let missing = self.catalog.why_missing(&section.plugin, &section.version);
        let present = self.present.by_name.get(name);
        let is_known = present.is_some_and(|present| {
            let before = &present.settings.section;
            (&before.plugin, &before.version) == (&section.plugin, &section.version)
                && matches!(present.state, IntegrationState::Broken(_))
        });
        let is_required = self.config.config.plugins.required.contains(&section.plugin);
        let may_break = self.is_start && !is_required || is_known;
        if missing.code == PLUGIN_REFUSED || may_break {
            return Ok(missing);
        }
        let any_version = section.version == semver::VersionReq::STAR;
        let key = if missing.code == PLUGIN_MISSING || any_version { "plugin" } else { "version" };
        let error = self.config.integration_error(name, &[key], missing.message);
        Err(missing.hint.into_iter().fold(error, ConfigError::hint))
    }

    fn start(
        &self,
        name: &str,
        settings: &Settings,
        plugin: &Arc<AdmittedPlugin>,
    ) -> Result<Arc<Integration>, NotStarted> {
        if !plugin.has_capability(manifest::RECEIVE) {
            return Err(NotStarted::Refused(self.cannot_receive(name, &plugin.id)));
        }
        let timeout = settings.limits.start_timeout();
        let loaded = self.resources.runtime.load(plugin, timeout).map_err(|error| {
            tracing::error!(
                event = "plugin_not_loaded",
                integration = name,
                %error,
                "a plugin cannot be loaded",
            );
            NotStarted::NotLoaded(error)
        })?;
        let metrics = Arc::new(self.resources.metrics.integration(name, &plugin.id));
        let (caller, first) = self.start_caller(settings, loaded, &metrics);
        if let Err(StartError::Refused(error)) = &first {
            return Err(NotStarted::Refused(self.options_error(name, &plugin.id, error)));
        }
        let state = IntegrationState::Serving { plugin: Arc::clone(plugin), caller };
        let integration = self.with_metrics(name, settings.clone(), state, metrics);
        let Err(error) = first else { return Ok(integration) };
        let is_transient = matches!(error, StartError::NoThread(_));
        let hint = if is_transient {
            "raise the limit on threads of the host's user, and send the host a SIGHUP"
        } else {
            "report it to the plugin's author, or drop in another version"
        };
        let PluginId { name, version } = &*plugin.id;
        let error = bounded_reason(error.to_string());
        let message = format!("plugin `{name} {version}` {error}");
        let sentence = Problem::new("plugin-not-started", message).with_hint(hint).one_line();
        Err(NotStarted::Failed { sentence, is_transient, integration })
    }

    fn cannot_receive(&self, name: &str, id: &PluginId) -> ConfigError {
        let PluginId { name: plugin, version } = id;
        let message = format!(
            "plugin `{plugin} {version}` receives no webhooks: it only sends notifications"
        );
        self.config.integration_error(name, &["plugin"], message).hint(format!(
            "make it a destination: write `[destinations.{name}]` instead of `[integrations.{name}]`"
        ))
    }

    /// Creates the [`Caller`] of a plugin with its first instance, unless the plugin is known not to
    /// start in time.
    fn start_caller(
        &self,
        settings: &Settings,
        loaded: Arc<dyn RunnablePlugin>,
        metrics: &Arc<IntegrationMetrics>,
    ) -> (Caller, Result<(), StartError>) {
        // A JSON object can always be written.
        let options = serde_json::to_vec(&settings.section.options).unwrap_or_default();
        let attempt = (loaded.admitted().sha256.clone(), options.clone());
        let (pool, limits) = (self.resources.pool, settings.limits);
        let metrics = Arc::clone(&metrics.plugin);
        let known = self.timed_out.borrow().get(&attempt).copied();
        if let Some(timeout) = known {
            let error = StartError::TimedOut(timeout);
            let caller = Caller::not_started(pool, loaded, options, limits, metrics, &error);
            return (caller, Err(error));
        }
        let (caller, first) = Caller::start(pool, loaded, options, limits, metrics);
        if let Err(StartError::TimedOut(timeout)) = &first {
            self.timed_out.borrow_mut().insert(attempt, *timeout);
        }
        (caller, first)
    }

    /// Returns an integration that no plugin can serve: the present one, if it is broken in the same way
    /// already.
    fn broken(&self, name: &str, settings: Settings, problem: Problem) -> Arc<Integration> {
        let present = self.present.by_name.get(name).filter(|one| one.settings == settings);
        match present.filter(|present| present.is_broken_by(&problem)) {
            Some(present) => Arc::clone(present),
            None => self.new_integration(name, settings, IntegrationState::Broken(problem)),
        }
    }

    fn new_integration(
        &self,
        name: &str,
        settings: Settings,
        state: IntegrationState,
    ) -> Arc<Integration> {
        let id = PluginId { name: settings.section.plugin.clone(), version: "none".into() };
        let metrics = Arc::new(self.resources.metrics.integration(name, &id));
        self.with_metrics(name, settings, state, metrics)
    }

    fn with_metrics(
        &self,
        name: &str,
        settings: Settings,
        state: IntegrationState,
        metrics: Arc<IntegrationMetrics>,
    ) -> Arc<Integration> {
        let present = self.present.by_name.get(name);
        let generation = present.map_or(1, |present| present.generation + 1);
        let section = &settings.section;
        let same_rates = present.filter(|present| {
            let old = &present.settings.section;
            old.rate_limit == section.rate_limit
                && old.sender_rate_limit == section.sender_rate_limit
        });
        let rates = same_rates.map(|present| Arc::clone(&present.rates));
        Arc::new(Integration {
            name: name.into(),
            urgency: section.urgency,
            rates: rates.unwrap_or_else(|| Arc::new(Rates::of(section))),
            secrets: OnceLock::new(),
            state,
            metrics,
            generation,
            since: Timestamp::now(),
            settings,
        })
    }

    fn alternatives(&self, integration: &Integration, failures: &Failures) -> PluginAlternatives {
        let section = &integration.settings.section;
        let serves = integration.admitted();
        let waiting = |candidate: &Candidate<'_>| {
            let failure = failures.iter().find(|(hash, _)| *hash == candidate.plugin.sha256);
            let reason = match failure {
                Some((_, failure)) => WaitingReason::Failed(failure.clone()),
                None if section.version.matches(&candidate.plugin.version) => {
                    WaitingReason::NotNeeded
                }
                None => WaitingReason::NotAllowed,
            };
            WaitingPlugin {
                plugin: Arc::clone(candidate.plugin),
                since: candidate.file.since,
                reason,
            }
        };
        let others = self.catalog.versions(&section.plugin).into_iter().filter(|candidate| {
            section.enabled && serves.is_none_or(|one| one.sha256 != candidate.plugin.sha256)
        });
        PluginAlternatives {
            waiting: others.map(|candidate| waiting(&candidate)).collect(),
            gone_since: serves.and_then(|plugin| self.gone_since(&integration.name, plugin)),
            refused: serves.and_then(|plugin| {
                let refusal = self.catalog.file_of(plugin)?.admission.as_ref().err()?;
                Some(refusal.to_string())
            }),
        }
    }

    fn options_error(
        &self,
        name: &str,
        plugin: &PluginId,
        error: &tocsin_plugin_api::OptionsError,
    ) -> ConfigError {
        let path = bounded_reason(error.path.clone());
        let text = bounded_reason(error.message.clone());
        let Problem { message, hint, .. } = Problem::from_text("options-refused", &text);
        let hint = hint.unwrap_or_else(|| format!("see the options of plugin `{}`", plugin.name));
        let key: Vec<_> = path.split('.').filter(|part| !part.is_empty()).collect();
        let key = [&["options"], key.as_slice()].concat();
        let error = self.config.integration_error(name, &key, message);
        let hint = self.config.document.without_secrets(error.key(), &hint);
        error.hint(hint)
    }
}

/// Decision on an [`Integration`].
enum Decision<'c> {
    /// The integration stays as it is.
    Keep(Arc<Integration>),
    /// The integration is disabled.
    Disable,
    /// The integration may be upgraded to one of these, best first.
    Upgrade { present: Arc<Integration>, upgrades: Vec<UpgradeCandidate<'c>> },
    /// The integration is started with one of these, best first.
    Start(Vec<Candidate<'c>>),
}

/// A [`Candidate`] that may replace the plugin that serves.
struct UpgradeCandidate<'c> {
    plugin: &'c Arc<AdmittedPlugin>,
    /// An earlier failure, because of which the plugin is not tried again.
    failed: Option<VersionFailure>,
}

/// Versions that were tried, by hash, with their failures.
type Failures = Vec<(String, VersionFailure)>;

/// Reason why a plugin does not serve an integration.
enum NotStarted {
    NotLoaded(LoadError),
    Refused(ConfigError),
    Failed { sentence: String, is_transient: bool, integration: Arc<Integration> },
}

impl NotStarted {
    fn failure(&self) -> VersionFailure {
        let (sentence, is_transient) = match self {
            Self::NotLoaded(error) => (error.to_string(), error.is_transient),
            Self::Failed { sentence, is_transient, .. } => (sentence.clone(), *is_transient),
            Self::Refused(error) => (error.sentence(), false),
        };
        VersionFailure { sentence, is_transient }
    }
}
