//! Finds, loads and starts the plugin of each integration, and keeps what need not change.
//!
//! An integration whose settings are as they were goes over to a higher version of its plugin, or to
//! what was dropped in for a file that is gone; where that fails, what served it goes on. It swaps
//! nothing: until somebody puts the result into force, requests see nothing of it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Failure, Integration, IntegrationState, Integrations, Prospect, Rates, Settings, Waiting,
    WaitingReason, plugins_folder::read_catalog,
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

/// The means of this process to load and call plugins, which outlive every configuration.
#[derive(Clone, Copy)]
pub struct Resources<'b> {
    /// The runtime of the plugins.
    pub runtime: &'b dyn PluginRuntime,
    /// The threads that call plugins.
    pub pool: &'b CallPool,
    /// The counters of the host.
    pub metrics: &'b Metrics,
}

/// Builder of the integrations of one configuration, from the plugins folder as it is now and from the
/// integrations in force, which are kept if nothing of theirs changed.
pub struct Builder<'b> {
    config: &'b LoadedConfig,
    catalog: Catalog,
    /// The integrations in force.
    present: &'b Integrations,
    resources: Resources<'b>,
    /// Whether a version that failed before is tried again.
    retries_failed: bool,
    /// Whether the host starts with these integrations.
    is_start: bool,
    is_stopping: &'b dyn Fn() -> bool,
    /// Plugins that did not start in time. Each is tried once, however many integrations share it.
    timed_out: RefCell<HashMap<Attempt, Duration>>,
}

/// The hash of a plugin and the options that it was given.
type Attempt = (String, Vec<u8>);

/// An integration as it will be, without anything of it being started.
pub struct Planned {
    /// What it will be made from.
    pub settings: Settings,
    /// The plugin that will be tried first; none if nothing is started.
    pub plugin: Option<Arc<AdmittedPlugin>>,
    /// Why nothing can serve it, though something should.
    pub problem: Option<Problem>,
}

/// An integration and its prospect.
type Placed = (Arc<Integration>, Prospect);

impl<'b> Builder<'b> {
    /// Creates a builder, and reads the plugins folder of the configuration. Versions that failed before
    /// are tried again.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] if the folder cannot be listed, or nothing in it can be trusted.
    pub fn new(
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
    pub fn for_start(self) -> Self {
        Self { is_start: true, ..self }
    }

    /// Chooses whether versions that failed before are tried again.
    #[must_use]
    pub fn retry_failed(self, retries_failed: bool) -> Self {
        Self { retries_failed, ..self }
    }

    /// Stops building as soon as the host stops: nobody needs the integrations then.
    #[must_use]
    pub fn stop_if(self, is_stopping: &'b dyn Fn() -> bool) -> Self {
        Self { is_stopping, ..self }
    }
}

impl Builder<'_> {
    /// Makes all integrations. A plugin at fault breaks its own integrations, or is held back where
    /// another version serves. What the operator wrote wrongly is returned beside them. Where the host
    /// is stopping, not all are made.
    pub fn build(self) -> (Integrations, Vec<ConfigError>) {
        let mut built = Integrations::default();
        let mut errors = Vec::new();
        for (name, section) in &self.config.config.integrations {
            if (self.is_stopping)() {
                break;
            }
            match self.place(name, section) {
                Ok((integration, prospect)) => {
                    built.prospects.insert(Arc::clone(&integration.name), prospect);
                    built.by_name.insert(Arc::clone(&integration.name), integration);
                }
                Err(error) => errors.push(error),
            }
        }
        built.catalog = self.catalog;
        (built, errors)
    }

    /// What [`build`](Self::build) would make anew, found out without running anything of a plugin.
    pub fn plan(&self) -> (BTreeMap<String, Planned>, Vec<ConfigError>) {
        let (mut plans, mut errors) = (BTreeMap::new(), Vec::new());
        for (name, section) in &self.config.config.integrations {
            match self.plan_one(name, section) {
                Ok(Some(planned)) => {
                    plans.insert(name.clone(), planned);
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
    ) -> Result<Option<Planned>, ConfigError> {
        let settings = self.settings(section);
        let (mut plugin, mut problem) = (None, None);
        match self.choose(name, &settings) {
            Choice::Stay(_) => return Ok(None),
            Choice::Disable => {}
            Choice::Upgrade { contenders, .. } => {
                let mut contenders = contenders.into_iter();
                let untried =
                    contenders.find(|one| one.failed.is_none() && self.may_load(one.plugin));
                let Some(untried) = untried else { return Ok(None) };
                plugin = Some(untried.plugin);
            }
            Choice::Begin(candidates) => {
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
        Ok(Some(Planned { settings, plugin: plugin.cloned(), problem }))
    }

    /// Whether nothing is known that speaks against loading it.
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

    fn place(
        &self,
        name: &str,
        section: &config::IntegrationConfig,
    ) -> Result<Placed, ConfigError> {
        let settings = self.settings(section);
        let (integration, failures) = match self.choose(name, &settings) {
            Choice::Stay(present) => (present, Vec::new()),
            Choice::Disable => (self.made(name, settings, IntegrationState::Disabled), Vec::new()),
            Choice::Upgrade { present, contenders } => self.upgrade(present, &contenders),
            Choice::Begin(candidates) if candidates.is_empty() => {
                let problem = self.without_candidates(name, section)?;
                (self.broken(name, settings, problem), Vec::new())
            }
            Choice::Begin(candidates) => self.begin(name, &settings, &candidates)?,
        };
        if self.is_start {
            self.check_required(name, &integration)?;
        }
        let prospect = self.prospect(&integration, &failures);
        Ok((integration, prospect))
    }

    /// Refuses to start without a plugin that is required.
    fn check_required(&self, name: &str, integration: &Integration) -> Result<(), ConfigError> {
        let plugin = &integration.settings.section.plugin;
        match integration.health().problem {
            Some(problem) if self.config.config.plugins.required.contains(plugin) => {
                let message = format!("required by `plugins.required`: {}", problem.message);
                let hint = problem.hint.unwrap_or_else(|| "mend the plugin".into());
                Err(self.config.integration_error(name, &["plugin"], message).hint(hint))
            }
            _ => Ok(()),
        }
    }

    fn choose(&self, name: &str, settings: &Settings) -> Choice<'_> {
        let present = self.present.by_name.get(name);
        let unchanged = present.filter(|present| present.settings == *settings).cloned();
        let section = &settings.section;
        if !section.enabled {
            return unchanged.map_or(Choice::Disable, Choice::Stay);
        }
        let candidates = self.catalog.candidates(&section.plugin, &section.version);
        let Some(present) = unchanged else { return Choice::Begin(candidates) };
        let IntegrationState::Serving { plugin, caller } = &present.state else {
            return Choice::Begin(candidates);
        };
        // Whoever asks wants what is broken to be tried anew.
        if self.retries_failed && !present.serves() && !candidates.is_empty() {
            return Choice::Begin(candidates);
        }
        let contenders = self.contenders(name, plugin, caller.is_started(), &candidates);
        if contenders.is_empty() {
            return Choice::Stay(present);
        }
        Choice::Upgrade { present, contenders }
    }

    /// What may take the place of a plugin that is in use: higher versions; where its file is gone,
    /// what came since; and any other where it never started.
    fn contenders<'c>(
        &self,
        name: &str,
        plugin: &AdmittedPlugin,
        is_started: bool,
        candidates: &[Candidate<'c>],
    ) -> Vec<Contender<'c>> {
        let known = self.present.prospect(name);
        let gone_since = self.gone_since(name, plugin);
        let may_follow = |candidate: &&Candidate<'_>| {
            let came_since = gone_since.is_some_and(|gone| candidate.file.arrived >= gone);
            candidate.plugin.sha256 != plugin.sha256
                && (candidate.plugin.version > plugin.version || came_since || !is_started)
        };
        let contender = |candidate: &Candidate<'c>| {
            let hash = &candidate.plugin.sha256;
            let failed = known.waiting.iter().find(|one| one.plugin.sha256 == *hash);
            let failed = failed.and_then(Waiting::failure).cloned();
            let failed = failed.filter(|failure| !self.retries_failed && !failure.is_passing);
            Contender { plugin: candidate.plugin, failed }
        };
        candidates.iter().filter(may_follow).map(contender).collect()
    }

    fn gone_since(&self, name: &str, plugin: &AdmittedPlugin) -> Option<u64> {
        if self.catalog.file_of(plugin).is_some() {
            return None;
        }
        let known = self.present.prospects.get(name).and_then(|known| known.gone_since);
        Some(known.unwrap_or(self.catalog.reading))
    }

    /// Goes over to the first contender that starts, or stays.
    fn upgrade(
        &self,
        present: Arc<Integration>,
        contenders: &[Contender<'_>],
    ) -> (Arc<Integration>, Failures) {
        let mut failures = Failures::new();
        for contender in contenders {
            let failure = match &contender.failed {
                Some(failure) => failure.clone(),
                None => match self.start(&present.name, &present.settings, contender.plugin) {
                    Ok(integration) => return (integration, failures),
                    Err(error) => {
                        let failure = error.failure();
                        let (integration, version) = (&*present.name, &contender.plugin.id.version);
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
            failures.push((contender.plugin.sha256.clone(), failure));
        }
        (present, failures)
    }

    /// Starts the highest version that does. Where none does, the highest one decides what is wrong;
    /// where one of them served until now, that one does, and none below it is tried.
    fn begin(
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
        let mut decides = None;
        for candidate in candidates {
            let error = match self.start(name, settings, candidate.plugin) {
                Ok(integration) => return Ok((integration, failures)),
                Err(error) => error,
            };
            failures.push((candidate.plugin.sha256.clone(), error.failure()));
            if decides.is_none() || served.is_some() {
                decides = Some(error);
            }
        }
        match decides {
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
        let (caller, first) = self.first(settings, loaded, &metrics);
        if let Err(StartError::Refused(error)) = &first {
            return Err(NotStarted::Refused(self.options_error(name, &plugin.id, error)));
        }
        let state = IntegrationState::Serving { plugin: Arc::clone(plugin), caller };
        let integration = self.with_metrics(name, settings.clone(), state, metrics);
        let Err(error) = first else { return Ok(integration) };
        let is_passing = matches!(error, StartError::NoThread(_));
        let hint = if is_passing {
            "raise the limit on threads of the host's user, and send the host a SIGHUP"
        } else {
            "report it to the plugin's author, or drop in another version"
        };
        let PluginId { name, version } = &*plugin.id;
        let error = bounded_reason(error.to_string());
        let message = format!("plugin `{name} {version}` {error}");
        let sentence = Problem::new("plugin-not-started", message).with_hint(hint).one_line();
        Err(NotStarted::Failed { sentence, is_passing, integration })
    }

    /// Has the plugin make its first instance, unless it is known not to come back from that.
    fn first(
        &self,
        settings: &Settings,
        loaded: Arc<dyn RunnablePlugin>,
        metrics: &Arc<IntegrationMetrics>,
    ) -> (Caller, Result<(), StartError>) {
        // A JSON object can always be written.
        let options = serde_json::to_vec(&settings.section.options).unwrap_or_default();
        let attempt = (loaded.admitted().sha256.clone(), options.clone());
        let (pool, limits, metrics) = (self.resources.pool, settings.limits, Arc::clone(metrics));
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

    /// An integration that nothing can serve; the one that is there, if that is so already.
    fn broken(&self, name: &str, settings: Settings, problem: Problem) -> Arc<Integration> {
        let present = self.present.by_name.get(name).filter(|one| one.settings == settings);
        match present.filter(|present| present.is_broken_by(&problem)) {
            Some(present) => Arc::clone(present),
            None => self.made(name, settings, IntegrationState::Broken(problem)),
        }
    }

    fn made(&self, name: &str, settings: Settings, state: IntegrationState) -> Arc<Integration> {
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

    fn prospect(&self, integration: &Integration, failures: &Failures) -> Prospect {
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
            Waiting { plugin: Arc::clone(candidate.plugin), since: candidate.file.since, reason }
        };
        let others = self.catalog.versions(&section.plugin).into_iter().filter(|candidate| {
            section.enabled && serves.is_none_or(|one| one.sha256 != candidate.plugin.sha256)
        });
        Prospect {
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

/// What becomes of an integration.
enum Choice<'c> {
    /// It stays as it is.
    Stay(Arc<Integration>),
    /// It is switched off.
    Disable,
    /// It may go over to one of these, best first.
    Upgrade { present: Arc<Integration>, contenders: Vec<Contender<'c>> },
    /// It is made anew with one of these, best first.
    Begin(Vec<Candidate<'c>>),
}

/// A plugin that may take the place of one that serves.
struct Contender<'c> {
    plugin: &'c Arc<AdmittedPlugin>,
    /// What went wrong when it was tried before, which it is not again.
    failed: Option<Failure>,
}

/// Versions that were tried, by hash, and what went wrong.
type Failures = Vec<(String, Failure)>;

/// Why a plugin does not serve an integration.
enum NotStarted {
    NotLoaded(LoadError),
    Refused(ConfigError),
    Failed { sentence: String, is_passing: bool, integration: Arc<Integration> },
}

impl NotStarted {
    fn failure(&self) -> Failure {
        let (sentence, is_passing) = match self {
            Self::NotLoaded(error) => (error.to_string(), error.is_passing),
            Self::Failed { sentence, is_passing, .. } => (sentence.clone(), *is_passing),
            Self::Refused(error) => (error.sentence(), false),
        };
        Failure { sentence, is_passing }
    }
}
