//! The occasion on which users of plugins are built: a start, a reload or a check, and its means.

use crate::{
    call::{CallPool, NotifierPool, PluginRuntime},
    metrics::Metrics,
};

/// The means of this process to load and call plugins, which outlive every configuration.
#[derive(Clone, Copy)]
pub(crate) struct Resources<'b> {
    /// The runtime of the plugins.
    pub runtime: &'b dyn PluginRuntime,
    /// The threads on which plugins receive requests.
    pub pool: &'b CallPool,
    /// The threads on which plugins translate notifications.
    pub notifier_pool: &'b NotifierPool,
    /// The counters of the host.
    pub metrics: &'b Metrics,
}

/// The circumstances in which users are built.
#[derive(Clone, Copy)]
pub(crate) struct Occasion<'b> {
    /// The means to load and call plugins.
    pub resources: Resources<'b>,
    /// True if the host starts: a missing plugin then breaks only its own users, unless the plugin is
    /// required.
    pub is_start: bool,
    /// True if a version that failed before is tried again.
    pub retries_failed: bool,
    /// Returns true as soon as the host stops: the users are not needed then.
    pub is_stopping: &'b dyn Fn() -> bool,
}
