//! Applies a new configuration and new plugins while the host runs: in one step, or not at all.
//!
//! Reloads are requested by the [watcher](crate::watch), by signals and by the API.

mod changes;
mod drop_ins;

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    config::{ConfigErrors, Listener, LoadedConfig, Server, Tls, change::ConfigChange},
    config_warnings,
    host::{
        Host,
        in_force::{InForce, Plans},
        reloads::{PANICKED, ReloadReason, ReloadResult},
    },
    notify,
    plugin_user::{
        PluginUser, PluginUsers,
        builder::{PluginUserPlan, PluginUserPlans},
        occasion::{Occasion, Resources},
        role::Role,
    },
    problem::on_one_line,
    single_flight::Panicked,
};

impl Host {
    /// Reads the configuration and the plugins again and applies them in one step. Listeners, the store
    /// and the log stay unchanged. Calls during a reload wait for it and then share the next one.
    ///
    /// # Errors
    ///
    /// One sentence if anything is wrong. The host then stays unchanged.
    pub(crate) fn reload(&self, reason: ReloadReason) -> ReloadResult {
        let result = self.reloads.run(reason, |reason| {
            if self.is_stopping() {
                return Err("the host is stopping".into());
            }
            let had_failed = self.reload_problem().is_some();
            let result = self.reload_now(reason).map_err(|error| sentence(&error));
            if had_failed && result.is_ok() {
                tracing::info!(
                    event = "configuration_repaired",
                    "the configuration and the plugins, which could not be applied before, are in force",
                );
            }
            result
        });
        let result = result.unwrap_or_else(|Panicked| Err(PANICKED.into()));
        if !self.is_stopping() {
            self.metrics.reloads.ended(result.is_ok(), Timestamp::now());
        }
        result
    }

    /// Returns the changes that a reload would make. No code of a plugin runs.
    ///
    /// # Errors
    ///
    /// One sentence if the configuration or the plugins folder is wrong.
    pub(crate) fn rehearse_reload(&self) -> ReloadResult {
        self.plan_reload().map_err(|error| sentence(&error))
    }

    /// Tries the files of a plugin again that were set aside or could not be loaded. Returns false if there
    /// are none.
    ///
    /// # Errors
    ///
    /// As for [`reload`](Self::reload), or if the load journal cannot be written.
    pub(crate) fn retry(&self, plugin: &str) -> Result<bool, String> {
        let is_known = self.runtime.retry(plugin).map_err(|error| sentence(&error))?;
        if is_known {
            self.reload(ReloadReason::Requested)?;
        }
        Ok(is_known)
    }

    fn reload_now(&self, reason: ReloadReason) -> anyhow::Result<Vec<ConfigChange>> {
        let present = self.in_force();
        let config = LoadedConfig::read(&present.config.document.path)?;
        if reason == ReloadReason::FileChanged {
            refuse_wiping(&present.config, &config)?;
        }
        let is_stopping = || self.is_stopping();
        let occasion = self.occasion(reason, &is_stopping);
        let (mut next, errors) = present.next(config, occasion)?;
        anyhow::ensure!(!is_stopping(), "the host is stopping");
        if !errors.is_empty() {
            return Err(ConfigErrors::in_order(errors).into());
        }
        let plans = Plans {
            integrations: replaced(&present.integrations, &next.integrations),
            destinations: replaced(&present.destinations, &next.destinations),
        };
        refuse_losses(&present, &plans)?;
        refuse_open_api(&present.config, &next.config)?;
        refuse_invalid_certificates(&present.config, &next.config)?;
        let changes = changes_between(&present, &next.config, &plans);
        keep_what_needs_a_restart(&present.config, &mut next.config);
        let traces = self.traces.configure(&next.config.config.tracing);
        traces.map_err(|problem| anyhow::anyhow!("{problem}"))?;
        notify::prepare(&*self.store, &next);
        drop_ins::log_changes(&present, &next);
        self.put_into_force(next);
        config_warnings::log(self);
        Ok(changes)
    }

    fn plan_reload(&self) -> anyhow::Result<Vec<ConfigChange>> {
        let present = self.in_force();
        let config = LoadedConfig::read(&present.config.document.path)?;
        // Plugins that failed before are not part of the plan, though the reload tries them again.
        let occasion = self.occasion(ReloadReason::FileChanged, &|| false);
        let (plans, errors) = present.plan(&config, occasion)?;
        if !errors.is_empty() {
            return Err(ConfigErrors::in_order(errors).into());
        }
        refuse_losses(&present, &plans)?;
        refuse_open_api(&present.config, &config)?;
        refuse_invalid_certificates(&present.config, &config)?;
        Ok(changes_between(&present, &config, &plans))
    }

    fn occasion<'b>(
        &'b self,
        reason: ReloadReason,
        is_stopping: &'b dyn Fn() -> bool,
    ) -> Occasion<'b> {
        let resources = Resources {
            runtime: &*self.runtime,
            pool: &self.pool,
            notifier_pool: &self.notifier_pool,
            metrics: &self.metrics,
        };
        let retries_failed = reason == ReloadReason::Requested;
        Occasion { resources, is_start: false, retries_failed, is_stopping }
    }
}

/// Returns the users of plugins that a reload replaces.
fn replaced<R: Role>(present: &PluginUsers<R>, next: &PluginUsers<R>) -> PluginUserPlans<R> {
    let is_new = |user: &&&Arc<PluginUser<R>>| {
        let before = present.by_name.get(&user.name);
        before.is_none_or(|before| !Arc::ptr_eq(before, user))
    };
    let sorted = next.sorted();
    let plan = |user: &&Arc<PluginUser<R>>| {
        let (settings, plugin) = (user.settings.clone(), user.admitted().cloned());
        let problem = user.health().problem;
        (user.name.to_string(), PluginUserPlan { settings, plugin, problem })
    };
    sorted.iter().filter(is_new).map(plan).collect()
}

fn changes_between(present: &InForce, config: &LoadedConfig, plans: &Plans) -> Vec<ConfigChange> {
    let mut changes = changes::of_settings(&present.config.config, &config.config);
    let (integrations, destinations) = (&present.integrations, &present.destinations);
    changes.extend(changes::of_users(integrations, &config.config, &plans.integrations));
    changes.extend(changes::of_users(destinations, &config.config, &plans.destinations));
    changes
}

/// Keeps the settings of everything that is bound or opened only when the host starts.
fn keep_what_needs_a_restart(present: &LoadedConfig, next: &mut LoadedConfig) {
    let (old, new) = (&present.config, &mut next.config);
    new.server = Server {
        public_url: new.server.public_url.take(),
        body_limit_bytes: new.server.body_limit_bytes,
        body_timeout: new.server.body_timeout,
        hide_integrations: new.server.hide_integrations,
        trusted_proxies: std::mem::take(&mut new.server.trusted_proxies),
        tls: renewed(old.server.tls.as_ref(), new.server.tls.take()),
        ..old.server.clone()
    };
    new.admin.listen = old.admin.listen;
    new.admin.max_connections = old.admin.max_connections;
    new.admin.tls = renewed(old.admin.tls.as_ref(), new.admin.tls.take());
    new.store.url = old.store.url.clone();
    new.log = old.log.clone();
}

/// Returns the new certificate of a listener that has one. Only a restart gives a listener its first one, or
/// takes the last one away.
fn renewed(old: Option<&Tls>, new: Option<Tls>) -> Option<Tls> {
    let old = old?;
    Some(new.unwrap_or_else(|| old.clone()))
}

/// Refuses a reload that would leave an integration or a destination without a plugin, if it has one now.
fn refuse_losses(present: &InForce, plans: &Plans) -> anyhow::Result<()> {
    let mut losses = losses(&present.integrations, &plans.integrations);
    losses.extend(self::losses(&present.destinations, &plans.destinations));
    anyhow::ensure!(losses.is_empty(), "{}", losses.join("; "));
    Ok(())
}

fn losses<R: Role>(present: &PluginUsers<R>, plans: &PluginUserPlans<R>) -> Vec<String> {
    let losses = plans.iter().filter_map(|(name, plan)| {
        let before = present.by_name.get(&**name)?;
        let problem = plan.problem.as_ref().filter(|_| before.serves())?;
        Some(format!("{} `{name}`: {}", R::NOUN, problem.one_line()))
    });
    losses.collect()
}

/// Refuses a changed file that removes all integrations, all destinations or all tokens. A file that a full disk or an
/// unfinished copy cut off between two sections is a valid configuration; an operator has to request such
/// a reload.
fn refuse_wiping(present: &LoadedConfig, next: &LoadedConfig) -> anyhow::Result<()> {
    let (old, new) = (&present.config, &next.config);
    let losses = [
        ("integrations", !old.integrations.is_empty() && new.integrations.is_empty()),
        ("destinations", !old.destinations.is_empty() && new.destinations.is_empty()),
        ("`admin.tokens`", !old.admin.tokens.is_empty() && new.admin.tokens.is_empty()),
    ];
    let losses: Vec<_> = losses.iter().filter(|(_, lost)| *lost).map(|(what, _)| *what).collect();
    anyhow::ensure!(
        losses.is_empty(),
        "`{}` may be cut off: it no longer has {}\n\
         hint: write the file again, or apply it as it is with `tocsin reload` or SIGHUP",
        next.document.path.display(),
        losses.join(" or "),
    );
    Ok(())
}

fn refuse_open_api(present: &LoadedConfig, next: &LoadedConfig) -> anyhow::Result<()> {
    let listen = present.config.admin.listen;
    anyhow::ensure!(
        listen.ip().is_loopback() || !next.config.admin.tokens.is_empty(),
        "`admin.tokens` is empty while the API still listens on {listen}\n\
         hint: keep a token until the host is restarted",
    );
    Ok(())
}

/// Refuses to replace a certificate that is valid by one that is not.
fn refuse_invalid_certificates(present: &LoadedConfig, next: &LoadedConfig) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let present = present.certificates(now);
    let is_valid_now =
        |listener: Listener| present.iter().any(|it| it.listener == listener && !it.is_invalid);
    let lost = next.certificates(now).into_iter();
    let mut lost = lost.filter(|new| new.is_invalid && is_valid_now(new.listener));
    match lost.find_map(|certificate| certificate.problem) {
        Some(problem) => Err(ConfigErrors::from(problem).into()),
        None => Ok(()),
    }
}

/// Returns an error on one line, without details that only an operator may see: readiness shows it.
fn sentence(error: &anyhow::Error) -> String {
    let errors = error.downcast_ref::<ConfigErrors>();
    let text = errors.map_or_else(|| format!("{error:#}"), ConfigErrors::sentence);
    on_one_line(&text)
}
