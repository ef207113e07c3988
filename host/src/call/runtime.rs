//! The seam between the host and whatever runs plugins.
//!
//! A runtime turns an admitted plugin into something that answers for its schema, receives requests and
//! translates notifications.
//! Deadlines, the circuit breaker, health and metrics are no part of a runtime:
//! [`Caller`](super::Caller) adds them to any.

use std::{sync::Arc, time::Duration};

use tocsin_plugin_api::{
    Request,
    abi::{CallError, NewInstanceError},
};

use super::outcome::ReadOutcome;
use crate::plugins::{admission::AdmittedPlugin, journal::LoadGuard, library::LoadError};

/// The result of loading a plugin.
pub(crate) type LoadResult = Result<Arc<dyn RunnablePlugin>, LoadError>;

/// A way of running plugins: in this process as [`InProcessRuntime`](super::InProcessRuntime), or
/// elsewhere.
///
/// All methods are called from several threads at a time. [`known`](Self::known) never waits: the API
/// asks for it while another thread loads. The others may block, and are not called by threads that serve
/// requests.
pub(crate) trait PluginRuntime: Send + Sync {
    /// Loads a plugin, or returns the one that was loaded from the same bytes before. The bytes that
    /// are run are the bytes that were admitted, even if another file is at the plugin's path by now.
    ///
    /// # Errors
    ///
    /// If the plugin cannot be loaded, or is not loaded within the timeout. A permanent failure is
    /// remembered: the plugin is not tried again before [`retry`](Self::retry).
    fn load(&self, plugin: &Arc<AdmittedPlugin>, timeout: Duration) -> LoadResult;

    /// Returns the result of loading a plugin; none if it was not tried. Never waits.
    fn known(&self, plugin: &AdmittedPlugin) -> Option<LoadResult>;

    /// Forgets the failures of all plugins with a name, so that the next load tries them again. Returns
    /// false if there were none.
    ///
    /// # Errors
    ///
    /// If that cannot be written down.
    fn retry(&self, name: &str) -> anyhow::Result<bool>;

    /// Notes that the host stops in an orderly way.
    fn close(&self);
}

/// A loaded plugin, before it has options.
///
/// The methods that run the plugin's code, [`options_schema`](Self::options_schema) and
/// [`instance`](Self::instance), may take any time or never return. Callers run them on a thread of
/// their own, with a timeout, and abandon the thread after the timeout; the runtime must stay usable
/// then, for this plugin, too.
pub(crate) trait RunnablePlugin: Send + Sync {
    /// Returns the admitted plugin that was loaded.
    fn admitted(&self) -> &Arc<AdmittedPlugin>;

    /// Asks the plugin for the JSON Schema of its options.
    ///
    /// # Errors
    ///
    /// If the plugin panicked, or its answer is invalid.
    fn options_schema(&self) -> Result<Vec<u8>, CallError>;

    /// Makes an instance with options, a JSON object. Instances are independent: several with the same
    /// options may exist at a time.
    ///
    /// # Errors
    ///
    /// If the plugin refused the options or panicked, or its answer is invalid.
    fn instance(&self, options: &[u8]) -> Result<Box<dyn PluginInstance>, NewInstanceError>;

    /// Notes that the plugin is about to see new options. The note is taken back when the returned guard
    /// is dropped: if the host dies before, the next host sets the plugin aside. A runtime whose plugins
    /// cannot end the host returns none.
    fn begin_start(&self) -> Option<LoadGuard> {
        None
    }
}

/// An instance of a plugin with options.
///
/// [`receive`](Self::receive) and [`call`](Self::call) are called by several threads at a time. They may
/// take any time or never return: the caller gives the call up, abandons the thread, and uses a new
/// instance from then on. An instance must not block other instances meanwhile, and must not panic: it returns a [`CallError`]
/// instead. After an error the instance is closed and not used again.
pub(crate) trait PluginInstance: Send + Sync {
    /// Translates a request. A call must not wait for other calls: the pool decides how many run at a
    /// time.
    ///
    /// # Errors
    ///
    /// If the plugin panicked, or its answer is invalid.
    fn receive(&self, request: &Request<'_>) -> Result<ReadOutcome, CallError>;

    /// Calls the function of any other capability, from JSON to JSON. Neither side's JSON is bounded.
    ///
    /// # Errors
    ///
    /// As for [`receive`](Self::receive), or if the plugin has no such capability or cannot read the input.
    fn call(&self, capability: &str, input: &[u8]) -> Result<Vec<u8>, CallError>;

    /// Ends the instance. May take any time: callers use a thread of their own.
    ///
    /// # Errors
    ///
    /// If the plugin's destructor panicked. The instance is closed even then.
    fn close(self: Box<Self>) -> Result<(), CallError>;
}
