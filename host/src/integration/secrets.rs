//! The secrets among the options of an integration, found with the schema of its plugin.
//!
//! The [`Redactor`] replaces secrets in text.

use std::{sync::Arc, thread, time::Duration};

use super::{Integration, IntegrationState};
use crate::{
    call::RunnablePlugin, plugins::schema, redaction::Redactor, system::timeout::run_with_timeout,
};

/// The timeout for a plugin to give its schema.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(5);

impl Integration {
    /// Returns a [`Redactor`] of the integration's secrets: the options that the plugin's schema marks
    /// as secrets, or all options if the plugin gives no schema.
    pub(crate) async fn redactor(self: &Arc<Self>) -> Redactor {
        if self.secrets.get().is_none() {
            let integration = Arc::clone(self);
            // The plugin may need some time for the schema.
            let found = move || {
                integration.secrets();
            };
            // If that thread dies, every option counts as a secret.
            let _ = tokio::task::spawn_blocking(found).await;
        }
        match self.secrets.get() {
            Some(secrets) => Redactor::new(secrets),
            None => Redactor::new(&schema::strings(&self.options())),
        }
    }

    /// Returns the secrets among the options. The plugin is asked for its schema once, which blocks for
    /// some seconds at most.
    pub(crate) fn secrets(&self) -> &[String] {
        self.secrets.get_or_init(|| {
            let options = self.options();
            match self.schema() {
                Some(schema) => schema::secrets(&schema, &options),
                None => schema::strings(&options),
            }
        })
    }

    fn schema(&self) -> Option<serde_json::Value> {
        let IntegrationState::Serving { caller, .. } = &self.state else { return None };
        let plugin = Arc::clone(caller.plugin());
        let thread = thread::Builder::new().name("plugin-schema".into());
        let ask = move || RunnablePlugin::options_schema(&*plugin).ok();
        let schema = run_with_timeout(SCHEMA_TIMEOUT, thread, Vec::new(), ask);
        serde_json::from_slice(&schema.ok()??).ok()
    }
}
