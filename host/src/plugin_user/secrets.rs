//! The secrets among the options of a user, found with the schema of its plugin.
//!
//! The [`Redactor`] replaces secrets in text.

use std::{sync::Arc, thread, time::Duration};

use serde_json::Value;

use super::{
    PluginUser,
    role::{PluginCaller, Role},
};
use crate::{
    call::RunnablePlugin, plugins::schema, redaction::Redactor, system::timeout::run_with_timeout,
};

/// The timeout for a plugin to give its schema.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(5);

impl<R: Role> PluginUser<R> {
    /// Returns a [`Redactor`] of the user's [`secrets`](Self::secrets).
    pub(crate) async fn redactor(self: &Arc<Self>) -> Redactor {
        if self.secrets.get().is_none() {
            let user = Arc::clone(self);
            // The plugin may need some time for the schema.
            let found = move || {
                user.secrets();
            };
            // If that thread dies, every option counts as a secret.
            let _ = tokio::task::spawn_blocking(found).await;
        }
        match self.secrets.get() {
            Some(secrets) => Redactor::new(secrets),
            None => Redactor::new(&schema::strings(&self.options())),
        }
    }

    /// Returns the secrets among the options: those that the plugin's schema marks as secrets, or all
    /// options if the plugin gives no schema. The plugin is asked for its schema once, which blocks for
    /// some seconds at most.
    pub(crate) fn secrets(&self) -> &[String] {
        self.secrets.get_or_init(|| match self.caller() {
            Some(caller) => secrets(caller.plugin(), &self.options()),
            None => schema::strings(&self.options()),
        })
    }
}

/// Returns the secrets among the options of a plugin, see [`PluginUser::secrets`].
pub(crate) fn secrets(plugin: &Arc<dyn RunnablePlugin>, options: &Value) -> Vec<String> {
    match options_schema(plugin) {
        Some(schema) => schema::secrets(&schema, options),
        None => schema::strings(options),
    }
}

fn options_schema(plugin: &Arc<dyn RunnablePlugin>) -> Option<Value> {
    let plugin = Arc::clone(plugin);
    let thread = thread::Builder::new().name("plugin-schema".into());
    let ask = move || RunnablePlugin::options_schema(&*plugin).ok();
    let schema = run_with_timeout(SCHEMA_TIMEOUT, thread, Vec::new(), ask);
    serde_json::from_slice(&schema.ok()??).ok()
}
