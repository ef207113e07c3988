//! The host that already runs with the checked configuration.

use super::listeners;
use crate::{
    api::reload::ReloadReport,
    cli::{
        Connection,
        client::{ApiError, Client, Unreachable},
        reload::DRY_RUN,
    },
    config::{ConfigError, LoadedConfig},
    store,
};

/// The host that runs with a configuration, as far as it answers.
pub(super) struct RunningHost {
    /// The answer of a host that runs with the same file.
    pub(super) report: Option<ReloadReport>,
    /// True if a host uses the store.
    has_store: bool,
    /// The reason why there is no answer of that host.
    pub(super) warning: Option<String>,
}

impl RunningHost {
    /// Asks the host that runs with this configuration, if there is one, for what a reload would change.
    pub(super) fn ask(connection: &Connection, config: &LoadedConfig) -> anyhow::Result<Self> {
        let has_store =
            config.store_config().is_some_and(|config| store::holder(&config).is_some());
        let (report, warning) = match Client::new(connection)?.post::<ReloadReport>(DRY_RUN) {
            Ok(report) => {
                let path = &config.document.path;
                let is_same = std::fs::canonicalize(path).is_ok_and(|path| path == report.config);
                let other = format!(
                    "the running host uses another configuration, `{}`",
                    report.config.display()
                );
                if is_same { (Some(report), None) } else { (None, Some(other)) }
            }
            Err(error) => {
                let reason = why_unknown(&error, config);
                let warning = |reason| format!("cannot tell what a reload would change: {reason}");
                (None, reason.map(warning))
            }
        };
        Ok(Self { report, has_store, warning })
    }

    /// Returns the errors of listeners that this host does not hold itself.
    pub(super) fn listener_errors(&self, config: &LoadedConfig) -> Vec<ConfigError> {
        let held = match &self.report {
            Some(report) => Some(&*report.listening),
            None if self.has_store => None,
            None => Some(&[][..]),
        };
        listeners::errors(config, held)
    }
}

/// Returns the reason why a running host gave no answer, or `None` if no host seems to run.
fn why_unknown(error: &anyhow::Error, config: &LoadedConfig) -> Option<String> {
    if let Some(Unreachable { base, .. }) = error.downcast_ref() {
        let holder = store::holder(&config.store_config()?)?;
        return Some(format!(
            "the store is in use by {holder}, but no host answers at {base}\n\
             hint: if the host's API is elsewhere, name its URL with `--url`"
        ));
    }
    let is_locked_out =
        error.downcast_ref::<ApiError>().is_some_and(|refused| refused.status.as_u16() == 401);
    let hint = if is_locked_out {
        "\nhint: if the tokens in the file have changed since the host read it, name the host with `--url`, and \
         one of its tokens in TOCSIN_ADMIN_TOKEN"
    } else {
        ""
    };
    Some(format!("the running host says: {error:#}{hint}"))
}
