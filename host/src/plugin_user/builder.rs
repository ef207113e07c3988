//! Finds, loads and starts the plugin of each user, and keeps users that need not change.
//!
//! If a user's settings are unchanged, it is upgraded to a higher version of its plugin, or to a version
//! that was dropped in after the present file was removed. If the upgrade fails, the present plugin still
//! serves. Requests see the result only after the caller has put it into force.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    PluginAlternatives, PluginState, PluginUser, PluginUsers, Settings, VersionFailure,
    WaitingPlugin, WaitingReason,
    occasion::Occasion,
    role::{NoStart, NoStartReason, PluginCaller, PluginSection, Role, StartOrder},
};
use crate::{
    alert::PluginId,
    call::{CallLimits, RunnablePlugin, StartError},
    config::{ConfigError, LoadedConfig},
    events::bounded_reason,
    plugins::{
        Candidate, Catalog, PLUGIN_MISSING, PLUGIN_REFUSED, admission::AdmittedPlugin,
        library::LoadError,
    },
    problem::{Problem, suggestion},
};

/// Builder of the [`PluginUsers`] of one configuration, from a reading of the plugins folder and from the
/// users in force, which are kept if their settings and plugins did not change.
pub(crate) struct Builder<'b, R: Role> {
    config: &'b LoadedConfig,
    catalog: &'b Catalog,
    /// The users in force.
    present: &'b PluginUsers<R>,
    occasion: Occasion<'b>,
    /// Plugins that did not start in time. Each is tried once, however many users share it.
    timed_out: RefCell<HashMap<StartKey, Duration>>,
}

/// The hash of a plugin and its options.
type StartKey = (String, Vec<u8>);

/// A [`PluginUser`] as it would be built, without starting anything.
pub(crate) struct PluginUserPlan<R: Role> {
    /// The settings of the user.
    pub settings: Settings<R::Section>,
    /// The plugin that would be tried first; none if nothing is started.
    pub plugin: Option<Arc<AdmittedPlugin>>,
    /// The reason why no plugin can serve the user, though one should.
    pub problem: Option<Problem>,
}

/// [`PluginUserPlan`]s by the names of the users.
pub(crate) type PluginUserPlans<R> = BTreeMap<String, PluginUserPlan<R>>;

/// A user, and the versions of its plugin that do not serve it.
type Built<R> = (Arc<PluginUser<R>>, PluginAlternatives);

impl<'b, R: Role> Builder<'b, R> {
    /// Creates a builder.
    pub(crate) fn new(
        config: &'b LoadedConfig,
        catalog: &'b Catalog,
        present: &'b PluginUsers<R>,
        occasion: Occasion<'b>,
    ) -> Self {
        Self { config, catalog, present, occasion, timed_out: RefCell::default() }
    }
}

impl<R: Role> Builder<'_, R> {
    /// Builds all users. A plugin that fails breaks its own users, or is held back if another version
    /// serves. Errors of the configuration are returned beside the users. If the host stops meanwhile,
    /// not all users are built.
    pub(crate) fn build(self) -> (PluginUsers<R>, Vec<ConfigError>) {
        let mut built = PluginUsers::default();
        let mut errors = Vec::new();
        for (name, section) in R::sections(&self.config.config) {
            if (self.occasion.is_stopping)() {
                break;
            }
            match self.build_one(name, section) {
                Ok((user, alternatives)) => {
                    built.alternatives.insert(Arc::clone(&user.name), alternatives);
                    built.by_name.insert(Arc::clone(&user.name), user);
                }
                Err(error) => errors.push(error),
            }
        }
        (built, errors)
    }

    /// Plans what [`build`](Self::build) would change, without running any code of a plugin.
    pub(crate) fn plan(&self) -> (PluginUserPlans<R>, Vec<ConfigError>) {
        let (mut plans, mut errors) = (BTreeMap::new(), Vec::new());
        for (name, section) in R::sections(&self.config.config) {
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
        section: &R::Section,
    ) -> Result<Option<PluginUserPlan<R>>, ConfigError> {
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
        Ok(Some(PluginUserPlan { settings, plugin: plugin.cloned(), problem }))
    }

    /// Returns whether a plugin may be loaded as far as is known.
    fn may_load(&self, plugin: &AdmittedPlugin) -> bool {
        !matches!(self.occasion.resources.runtime.known(plugin), Some(Err(_)))
    }

    /// Explains why a user is broken for which nothing can be loaded.
    fn why_nothing_serves(&self, name: &str, section: &R::Section) -> Result<Problem, ConfigError> {
        let candidates = self.catalog.candidates(section.plugin(), section.version());
        let known = candidates
            .first()
            .and_then(|first| self.occasion.resources.runtime.known(first.plugin));
        match known {
            Some(Err(error)) => Ok(error.problem()),
            _ => self.without_candidates(name, section),
        }
    }

    fn settings(&self, section: &R::Section) -> Settings<R::Section> {
        let limits = CallLimits::from(&self.config.config.plugins);
        Settings { section: section.clone(), limits }
    }

    fn build_one(&self, name: &str, section: &R::Section) -> Result<Built<R>, ConfigError> {
        let settings = self.settings(section);
        let (user, failures) = match self.decide(name, &settings) {
            Decision::Keep(present) => (present, Vec::new()),
            Decision::Disable => (self.new_user(name, settings, PluginState::Disabled), Vec::new()),
            Decision::Upgrade { present, upgrades } => self.upgrade(present, &upgrades),
            Decision::Start(candidates) if candidates.is_empty() => {
                let problem = self.without_candidates(name, section)?;
                (self.broken(name, settings, problem), Vec::new())
            }
            Decision::Start(candidates) => self.start_highest(name, &settings, &candidates)?,
        };
        if self.occasion.is_start {
            self.check_required(name, &user)?;
        }
        let alternatives = self.alternatives(&user, &failures);
        Ok((user, alternatives))
    }

    /// Refuses to start without a plugin that is required.
    fn check_required(&self, name: &str, user: &PluginUser<R>) -> Result<(), ConfigError> {
        let plugin = user.settings.section.plugin();
        match user.health().problem {
            Some(problem) if self.config.config.plugins.required.contains(plugin) => {
                let message = format!("required by `plugins.required`: {}", problem.message);
                let hint = problem.hint.unwrap_or_else(|| "repair the plugin".into());
                Err(self.error(name, &["plugin"], message).hint(hint))
            }
            _ => Ok(()),
        }
    }

    fn decide(&self, name: &str, settings: &Settings<R::Section>) -> Decision<'_, R> {
        let present = self.present.by_name.get(name);
        let unchanged = present.filter(|present| present.settings == *settings).cloned();
        let section = &settings.section;
        if !section.is_enabled() {
            return unchanged.map_or(Decision::Disable, Decision::Keep);
        }
        let candidates = self.catalog.candidates(section.plugin(), section.version());
        let Some(present) = unchanged else { return Decision::Start(candidates) };
        let PluginState::Serving { plugin, caller } = &present.state else {
            return Decision::Start(candidates);
        };
        // A requested retry starts broken users again.
        if self.occasion.retries_failed && !present.serves() && !candidates.is_empty() {
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
            let failed =
                failed.filter(|failure| !self.occasion.retries_failed && !failure.is_transient);
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

    /// Upgrades a user to the first candidate that starts, or keeps it.
    fn upgrade(
        &self,
        present: Arc<PluginUser<R>>,
        upgrades: &[UpgradeCandidate<'_>],
    ) -> (Arc<PluginUser<R>>, Failures) {
        let mut failures = Failures::new();
        for candidate in upgrades {
            let failure = match &candidate.failed {
                Some(failure) => failure.clone(),
                None => match self.start(&present.name, &present.settings, candidate.plugin) {
                    Ok(user) => return (user, failures),
                    Err(error) => {
                        let failure = error.failure();
                        let (owner, version) =
                            (R::owner(&present.name), &candidate.plugin.id.version);
                        let sentence = &failure.sentence;
                        tracing::error!(
                            event = "plugin_version_held_back",
                            integration = owner.integration(),
                            destination = owner.destination(),
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
    /// breaks the user. If one of them served until now, that one's failure does, and no lower
    /// version is tried.
    fn start_highest(
        &self,
        name: &str,
        settings: &Settings<R::Section>,
        candidates: &[Candidate<'_>],
    ) -> Result<(Arc<PluginUser<R>>, Failures), ConfigError> {
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
                Ok(user) => return Ok((user, failures)),
                Err(error) => error,
            };
            failures.push((candidate.plugin.sha256.clone(), error.failure()));
            if decisive.is_none() || served.is_some() {
                decisive = Some(error);
            }
        }
        match decisive {
            Some(NotStarted::Refused(error)) => Err(error),
            Some(NotStarted::Failed { user, .. }) => Ok((user, failures)),
            Some(NotStarted::NotLoaded(error)) => {
                Ok((self.broken(name, settings.clone(), error.problem()), failures))
            }
            None => {
                let problem = Problem::new(PLUGIN_MISSING, "has no plugin");
                Ok((self.broken(name, settings.clone(), problem), failures))
            }
        }
    }

    /// Explains why the folder has no usable file for a user: a problem that breaks the user, or an error
    /// of the configuration. A plugin that is missing altogether is an error of the configuration, unless
    /// the host starts or the user had no plugin before either.
    fn without_candidates(&self, name: &str, section: &R::Section) -> Result<Problem, ConfigError> {
        let missing = self.catalog.why_missing(section.plugin(), section.version());
        let present = self.present.by_name.get(name);
        let is_known = present.is_some_and(|present| {
            let before = &present.settings.section;
            (before.plugin(), before.version()) == (section.plugin(), section.version())
                && matches!(present.state, PluginState::Broken(_))
        });
        let is_required = self.config.config.plugins.required.contains(section.plugin());
        let may_break = self.occasion.is_start && !is_required || is_known;
        if missing.code == PLUGIN_REFUSED || may_break {
            return Ok(missing);
        }
        let any_version = *section.version() == semver::VersionReq::STAR;
        let key = if missing.code == PLUGIN_MISSING || any_version { "plugin" } else { "version" };
        let error = self.error(name, &[key], missing.message);
        Err(missing.hint.into_iter().fold(error, ConfigError::hint))
    }

    fn start(
        &self,
        name: &str,
        settings: &Settings<R::Section>,
        plugin: &Arc<AdmittedPlugin>,
    ) -> Result<Arc<PluginUser<R>>, NotStarted<R>> {
        if !plugin.has_capability(R::CAPABILITY) {
            let Problem { message, hint, .. } = R::incapable(name, &plugin.id);
            let error = self.error(name, &["plugin"], message);
            return Err(NotStarted::Refused(hint.into_iter().fold(error, ConfigError::hint)));
        }
        let timeout = settings.limits.start_timeout();
        let loaded = self.occasion.resources.runtime.load(plugin, timeout).map_err(|error| {
            let owner = R::owner(name);
            tracing::error!(
                event = "plugin_not_loaded",
                integration = owner.integration(),
                destination = owner.destination(),
                %error,
                "a plugin cannot be loaded",
            );
            NotStarted::NotLoaded(error)
        })?;
        let metrics = Arc::new(R::metrics(self.occasion.resources.metrics, name, &plugin.id));
        let serving = |caller| PluginState::Serving { plugin: Arc::clone(plugin), caller };
        let NoStart { reason, caller } = match self.start_caller(name, settings, loaded, &metrics) {
            Ok(caller) => {
                return Ok(self.with_metrics(name, settings.clone(), serving(caller), metrics));
            }
            Err(failure) => failure,
        };
        let error = match reason {
            NoStartReason::NoInstance(StartError::Refused(error)) => {
                return Err(NotStarted::Refused(self.options_error(name, &plugin.id, &error)));
            }
            NoStartReason::Unable(error) => return Err(NotStarted::Refused(error)),
            error => error,
        };
        let is_transient = error.is_transient();
        let hint = if is_transient {
            "raise the limit on threads of the host's user, and send the host a SIGHUP"
        } else {
            "report it to the plugin's author, or drop in another version"
        };
        let PluginId { name: plugin_name, version } = &*plugin.id;
        let error = bounded_reason(error.to_string());
        let message = format!("plugin `{plugin_name} {version}` {error}");
        let problem = Problem::new("plugin-not-started", message).with_hint(hint);
        let sentence = problem.one_line();
        let user = match caller {
            Some(caller) => self.with_metrics(name, settings.clone(), serving(caller), metrics),
            None => self.broken(name, settings.clone(), problem),
        };
        Err(NotStarted::Failed { sentence, is_transient, user })
    }

    /// Starts a plugin for a user, unless the plugin is known not to start in time.
    fn start_caller(
        &self,
        name: &str,
        settings: &Settings<R::Section>,
        plugin: Arc<dyn RunnablePlugin>,
        metrics: &Arc<R::Metrics>,
    ) -> Result<R::Caller, NoStart<R::Caller>> {
        // A JSON object can always be written.
        let options = serde_json::to_vec(settings.section.options()).unwrap_or_default();
        let attempt = (plugin.admitted().sha256.clone(), options.clone());
        let known = self.timed_out.borrow().get(&attempt).copied().map(StartError::TimedOut);
        let (resources, config) = (self.occasion.resources, self.config);
        let order = StartOrder { resources, config, name, settings, plugin, options, metrics };
        let result = R::start(&order, known);
        if let Err(NoStart { reason, .. }) = &result
            && let NoStartReason::NoInstance(StartError::TimedOut(timeout)) = reason
        {
            self.timed_out.borrow_mut().insert(attempt, *timeout);
        }
        result
    }

    /// Returns a user that no plugin can serve: the present one, if it is broken in the same way already.
    fn broken(
        &self,
        name: &str,
        settings: Settings<R::Section>,
        problem: Problem,
    ) -> Arc<PluginUser<R>> {
        let present = self.present.by_name.get(name).filter(|one| one.settings == settings);
        match present.filter(|present| present.is_broken_by(&problem)) {
            Some(present) => Arc::clone(present),
            None => self.new_user(name, settings, PluginState::Broken(problem)),
        }
    }

    fn new_user(
        &self,
        name: &str,
        settings: Settings<R::Section>,
        state: PluginState<R::Caller>,
    ) -> Arc<PluginUser<R>> {
        let id = PluginId { name: settings.section.plugin().to_owned(), version: "none".into() };
        let metrics = Arc::new(R::metrics(self.occasion.resources.metrics, name, &id));
        self.with_metrics(name, settings, state, metrics)
    }

    fn with_metrics(
        &self,
        name: &str,
        settings: Settings<R::Section>,
        state: PluginState<R::Caller>,
        metrics: Arc<R::Metrics>,
    ) -> Arc<PluginUser<R>> {
        let present = self.present.by_name.get(name).map(|present| &**present);
        Arc::new(PluginUser {
            name: name.into(),
            role: R::of(&settings.section, present),
            secrets: OnceLock::new(),
            state,
            metrics,
            generation: present.map_or(1, |present| present.generation + 1),
            since: Timestamp::now(),
            settings,
        })
    }

    fn alternatives(&self, user: &PluginUser<R>, failures: &Failures) -> PluginAlternatives {
        let section = &user.settings.section;
        let serves = user.admitted();
        let waiting = |candidate: &Candidate<'_>| {
            let failure = failures.iter().find(|(hash, _)| *hash == candidate.plugin.sha256);
            let reason = match failure {
                Some((_, failure)) => WaitingReason::Failed(failure.clone()),
                None if section.version().matches(&candidate.plugin.version) => {
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
        let others = self.catalog.versions(section.plugin()).into_iter().filter(|candidate| {
            section.is_enabled() && serves.is_none_or(|one| one.sha256 != candidate.plugin.sha256)
        });
        PluginAlternatives {
            waiting: others.map(|candidate| waiting(&candidate)).collect(),
            gone_since: serves.and_then(|plugin| self.gone_since(&user.name, plugin)),
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
        let hint = hint.unwrap_or_else(|| {
            let meant = suggestion(&message).map(|meant| format!("{meant} "));
            format!("{}see the options of plugin `{}`", meant.unwrap_or_default(), plugin.name)
        });
        let key: Vec<_> = path.split('.').filter(|part| !part.is_empty()).collect();
        let key = [&["options"], key.as_slice()].concat();
        let error = self.error(name, &key, message);
        let hint = self.config.document.without_secrets(error.key(), &hint);
        error.hint(hint)
    }

    /// Creates a [`ConfigError`] at a key of a user.
    fn error(&self, name: &str, key: &[&str], message: impl Into<String>) -> ConfigError {
        self.config.document.error_at(&[&[R::TABLE, name], key].concat(), message)
    }
}

/// Decision on a [`PluginUser`].
enum Decision<'c, R: Role> {
    /// The user stays as it is.
    Keep(Arc<PluginUser<R>>),
    /// The user is disabled.
    Disable,
    /// The user may be upgraded to one of these, best first.
    Upgrade { present: Arc<PluginUser<R>>, upgrades: Vec<UpgradeCandidate<'c>> },
    /// The user is started with one of these, best first.
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

/// Reason why a plugin does not serve a user.
enum NotStarted<R: Role> {
    NotLoaded(LoadError),
    Refused(ConfigError),
    Failed { sentence: String, is_transient: bool, user: Arc<PluginUser<R>> },
}

impl<R: Role> NotStarted<R> {
    fn failure(&self) -> VersionFailure {
        let (sentence, is_transient) = match self {
            Self::NotLoaded(error) => (error.to_string(), error.is_transient),
            Self::Failed { sentence, is_transient, .. } => (sentence.clone(), *is_transient),
            Self::Refused(error) => (error.sentence(), false),
        };
        VersionFailure { sentence, is_transient }
    }
}
